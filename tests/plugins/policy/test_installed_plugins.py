"""Plugins that pip installed take part where the policy allows their distribution; of others it is said why not."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import NodeNotFoundError, NotAllowedError

Put = Callable[[str], Path]


@pytest.fixture
def installed(
    tmp_path: Path, node_source: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], NodeRegistry]:
    """Have two distributions on the path, each with a node class; return a function that opens a registry."""
    site = tmp_path / "site-packages"
    for name in ("good", "bad"):
        info = site / f"cuvis_test_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cuvis-test-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[cuvis_ai.nodes]\n{name.title()}Node = cuvis_test_{name}:{name.title()}Node\n"
        )
        (site / f"cuvis_test_{name}.py").write_text(node_source(f"{name.title()}Node"))
    monkeypatch.syspath_prepend(str(site))
    return lambda: NodeRegistry(discover=True)


def names(registry: NodeRegistry) -> set[str]:
    """Return which of the two classes are known."""
    found = set()
    for name in ("GoodNode", "BadNode"):
        with contextlib.suppress(NodeNotFoundError, NotAllowedError):
            found.add(registry.get(name).__name__)
    return found


def test_what_no_rule_allows_takes_no_part(
    installed: Callable[[], NodeRegistry], policy: Put, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once in each registry, and why; what an edit of the policy allows takes part from then on."""
    with installed() as registry:
        assert names(registry) == {"GoodNode", "BadNode"}
        assert registry.failed_plugins == {}
    path = policy("allow: [{distribution: cuvis-test-good}]")
    with installed() as registry, caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert names(registry) == {"GoodNode"}
        assert [type(error) for error in registry.failed_plugins.values()] == [NotAllowedError]
        said = [record.getMessage() for record in caplog.records if "cuvis-test-bad" in record.getMessage()]
        assert len(said) == 1
        assert f"{path}:1" in said[0]
    policy("allow: [{distribution: 'cuvis-test-*'}]")
    with installed() as registry:
        assert names(registry) == {"GoodNode", "BadNode"}
        assert registry.failed_plugins == {}


def test_an_edit_of_the_policy_counts_from_the_next_load(
    installed: Callable[[], NodeRegistry], policy: Put, local_plugin: Callable[..., Path]
) -> None:
    """What is allowed now is blamed no more, and what is not takes no part any more."""
    here = f"{{path: '{local_plugin()}'}}"
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}
    policy(f"allow: [{here}, {{distribution: cuvis-test-good}}]")
    with installed() as registry:
        assert names(registry) == {"GoodNode"}
        policy(f"allow: [{here}, {{distribution: cuvis-test-bad}}]")
        registry.load_plugin("echo", config)
        assert names(registry) == {"BadNode"}
        assert len(registry.failed_plugins) == 1
        policy(f"allow: [{here}, {{distribution: 'cuvis-test-*'}}]")
        registry.unload_plugin("echo")
        assert names(registry) == {"GoodNode", "BadNode"}
        assert registry.failed_plugins == {}
