"""What observers are told of plugins that are loaded together, and when a failure counts as one."""

from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core.plugins.hooks.load_events import Announcing
from cuvis_ai_core.plugins.plugin_info import PluginState

FAILED, OTHER = PluginState.FAILED, PluginState.IMPORTING


@pytest.fixture
def told() -> list[tuple[str, PluginState, str]]:
    """Return what observers are told."""
    return []


@pytest.fixture
def announcing(told: list[tuple[str, PluginState, str]]) -> Announcing:
    """Return what tells of three wanted plugins, of which one may have a process of its own, and one that is not."""
    kinds = {"here": "none", "apart": "auto", "own": "process", "other": "auto"}
    plugins: Any = {name: SimpleNamespace(isolation=kind) for name, kind in kinds.items()}
    return Announcing(lambda *words: told.append(words), plugins, {"here", "apart", "own"})


def test_a_failure_of_what_may_have_a_process_waits(
    announcing: Announcing, told: list[tuple[str, PluginState, str]]
) -> None:
    """Whatever else is told at once; of a plugin that is not wanted nothing is."""
    for name in ("here", "apart", "own", "other"):
        announcing(name, OTHER, "step")
        announcing(name, FAILED, "why")
    assert told == [
        ("here", OTHER, "step"),
        ("here", FAILED, "why"),
        ("apart", OTHER, "step"),
        ("own", OTHER, "step"),
        ("own", FAILED, "why"),
    ]
    told.clear()
    announcing.fail("apart")
    announcing.fail("apart")
    assert told == [("apart", FAILED, "why"), ("apart", FAILED, "")]


def test_a_plugin_that_has_its_process_fails_at_once(
    announcing: Announcing, told: list[tuple[str, PluginState, str]]
) -> None:
    """From then on."""
    announcing("apart", FAILED, "here it cannot live")
    announcing.decide(["apart"])
    announcing("apart", FAILED, "nor there")
    assert told == [("apart", FAILED, "nor there")]
