"""In which turns what is locked is installed: what runs code of its own only once somebody needs it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from cuvis_ai_core.errors import LockError
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.installing.target_directory import TargetInstallation
from cuvis_ai_core.plugins.manifest.manifest_schema import LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.uv_commands import Uv

NEEDS = {"wheel": "", "first": "Requires-Dist: second==2\n", "second": "", "commit": ""}


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a host with nothing installed: to look through all of this one's takes seconds."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages")])


class FakeUv:
    """Installs nothing but metadata, and remembers in which turns."""

    def __init__(self) -> None:
        self.turns: list[tuple[list[str], frozenset[str]]] = []

    def install_locked(
        self, target: Path, hashes: Mapping[str, Any], python: Path | None, *, built: frozenset[str] = frozenset()
    ) -> None:
        """Write the metadata of each pin."""
        assert python is None
        self.turns.append((sorted(hashes), built))
        for pin in hashes:
            name, _, version = pin.replace(" @ git+x", "==1").partition("==")
            info = target / f"{name}-{version}.dist-info"
            info.mkdir(parents=True)
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{NEEDS[name]}"
            (info / "METADATA").write_text(text)


def installed(
    tmp_path: Path, *requirements: str, uv: FakeUv | None = None, **hashes: tuple[str, ...]
) -> list[tuple[list[str], frozenset[str]]]:
    """Install some pins, of which two are built, for some requirements; return the turns."""
    uv = uv or FakeUv()
    declared = LocalPlugin(path=tmp_path, provides=("m.N",))
    source, store = Source(tmp_path), Store(tmp_path / "cache")
    installation = TargetInstallation("echo", declared, source, tmp_path / "x@1", store, cast("Uv", uv))
    versions = {"wheel": "wheel==1", "first": "first==1", "second": "second==2", "commit": "commit @ git+x"}
    pins = {versions[name]: each for name, each in hashes.items()}
    choice = Choice(tuple(pins), pins, built=frozenset({"first", "second"}))
    installation.install_locked(tmp_path / "target", choice, requirements)
    return uv.turns


def test_sources_are_built_once_something_that_is_there_needs_them(tmp_path: Path) -> None:
    """Wheels first; then what the plugin asks for, and what that asks for."""
    turns = installed(tmp_path, "first", "wheel", "commit", second=("b",), first=("a",), wheel=("c",), commit=())
    built = frozenset({"first", "second"})
    assert turns == [
        (["wheel==1"], frozenset()),
        (["commit @ git+x", "first==1"], built),
        (["second==2"], built),
    ]


def test_what_nobody_needs_is_not_built(tmp_path: Path) -> None:
    """A lock file could have any code run; what is there by then stays a temporary folder."""
    with pytest.raises(LockError, match="second"):
        installed(tmp_path, "wheel", second=("b",), wheel=("c",))
    assert not (tmp_path / "target/second-2.dist-info").exists()
    with pytest.raises(LockError, match="wheel"):
        installed(tmp_path / "other", "first", wheel=("c",))


@pytest.mark.parametrize(
    ("requirement", "needs", "turns"),
    [
        ("wheel>1", {}, []),
        ("wheel", {"wheel": "Requires-Dist: first<1\n"}, ["wheel==1"]),
        (
            "wheel",
            {"wheel": "Requires-Dist: first\n", "first": "Requires-Dist: second<2\n"},
            ["wheel==1", "first==1", "second==2"],
        ),
    ],
)
def test_a_version_that_somebody_refuses_ends_it_as_soon_as_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requirement: str, needs: dict[str, str], turns: list[str]
) -> None:
    """What the plugin says is known before anything is fetched, what wheels say before anything is built."""
    for name, each in needs.items():
        monkeypatch.setitem(NEEDS, name, each)
    uv = FakeUv()
    with pytest.raises(LockError, match=r"The lock file has \w+==\d for plugin 'echo', but \w+ needs"):
        installed(tmp_path, requirement, uv=uv, second=("b",), first=("a",), wheel=("c",))
    assert [pins for pins, _ in uv.turns] == [[each] for each in turns]
