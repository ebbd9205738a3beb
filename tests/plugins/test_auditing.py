"""What an audit finds out about pins: asked of an index, or why not."""

from pathlib import Path

import pytest

from cuvis_ai_core.errors import InstallError
from cuvis_ai_core.plugins.audit.auditing import Finding, audit
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.lock.lockfile import Lock, LockedPins, write_lock

ADDRESS = "b @ https://host.org/b-1-py3-none-any.whl"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest with a local plugin, and a lock file for this platform."""
    (tmp_path / "own").mkdir()
    file = tmp_path / "plugins.yaml"
    file.write_text("plugins:\n  own:\n    path: own\n    provides: [m.N]\n")
    hashes = {"a==1": (f"sha256:{'a' * 64}",), ADDRESS: (f"sha256:{'b' * 64}",)}
    here = {interpreter(): LockedPins({"own": ("a==1", ADDRESS)}, hashes)}
    entry = {"path": "own", "requirements": ["a", "b"], "isolation": "scoped"}
    write_lock(Lock(tmp_path / "plugins.lock", {"own": entry}, here))
    return file


def test_an_index_is_asked_for_what_comes_from_one(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for addresses; what authors took back is a finding, with their reason."""
    asked: list[list[str]] = []

    def yanked(_: Uv, pins: list[str]) -> dict[str, str]:
        asked.append(pins)
        return {"a==1": "it leaks"}

    monkeypatch.setattr(Uv, "yanked", yanked)
    found = audit(manifest, Store(tmp_path / "cache"), offline=False)
    assert (asked, found.not_asked) == ([["a==1"]], "")
    (plugin,) = found.plugins
    assert [(each.pin, each.yanked) for each in plugin.dependencies] == [("a==1", "it leaks"), (ADDRESS, "")]
    assert Finding("yanked", "a==1 was yanked: it leaks") in plugin.findings


def test_why_an_index_was_not_asked_is_said_in_a_line(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it did not answer, that no connection may be opened, or that nothing is locked."""

    def fails(*_: object) -> None:
        raise InstallError("uv could not ask:\n  more")

    monkeypatch.setattr(Uv, "yanked", fails)
    store = Store(tmp_path / "cache")
    assert audit(manifest, store, offline=False).not_asked == "uv could not ask:"
    assert audit(manifest, store, offline=True).not_asked == "no connection may be opened"
    (tmp_path / "plugins.lock").unlink()
    assert audit(manifest, store, offline=False).not_asked == "nothing is locked"
