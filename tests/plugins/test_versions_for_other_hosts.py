"""What a lock file names so that it also holds where the host has less installed; uv is asked by a stand-in."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from cuvis_ai_core.errors import InstallError
from cuvis_ai_core.plugins.installing.install_request import Needs
from cuvis_ai_core.plugins.lock.versions_for_other_hosts import SparseHost

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.uv_commands import Uv


class FakeUv:
    """Answers with pins, or an error, and remembers what it was asked."""

    def __init__(self, answer: list[str] | InstallError) -> None:
        self.answer = answer
        self.asked: list[tuple[list[str], list[str], Path]] = []

    def missing(self, requirements: Sequence[str], constraints: Sequence[str], *, installed: Path) -> list[str]:
        """Answer."""
        self.asked.append((list(requirements), list(constraints), installed))
        if isinstance(self.answer, InstallError):
            raise self.answer
        return self.answer


def needs(uv: FakeUv, *requirements: str) -> Needs:
    """Return what a plugin needs."""
    return Needs("echo", requirements, cast("Uv", uv), lambda _: None)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a host that has the core, what it needs, and four other distributions."""
    folder = tmp_path / "site-packages"
    for name in ("cuvis_ai_core-1.0", "pluggy-1.5", "other-2.0", "local-3.0", "built-4.0+cu121"):
        info = folder / f"{name}.dist-info"
        info.mkdir(parents=True)
        distribution, _, version = name.partition("-")
        more = "Requires-Dist: pluggy\n" if distribution == "cuvis_ai_core" else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{more}")
    (folder / "local-3.0.dist-info/direct_url.json").write_text("{}")
    old = folder / "old-5.0.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 5.0\n")
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


@pytest.mark.usefixtures("host")
def test_a_sparse_host_has_what_the_core_needs_and_what_no_index_has(tmp_path: Path) -> None:
    """Described as installed, with the metadata of the host's own."""
    place = tmp_path / "sparse"
    SparseHost(place)
    files = sorted(file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file())
    infos = ["built-4.0+cu121", "cuvis_ai_core-1.0", "local-3.0", "pluggy-1.5"]
    assert files == sorted(f"{info}.dist-info/{name}" for info in infos for name in ("INSTALLER", "METADATA", "RECORD"))
    core = place / "cuvis_ai_core-1.0.dist-info"
    assert (core / "METADATA").read_text().startswith("Metadata-Version: 2.1\nName: cuvis_ai_core\n")
    assert ((core / "RECORD").read_text(), (core / "INSTALLER").read_text()) == ("", "cuvis-ai-core\n")


@pytest.mark.usefixtures("host")
def test_versions_are_those_that_a_plugin_has_here(tmp_path: Path) -> None:
    """What was chosen for it, then the host's; addresses stay, and the packages that cross are not asked about."""
    sparse, uv = SparseHost(tmp_path / "sparse"), FakeUv(["x==1", "y==2"])
    address = "y @ https://host.org/y-2-py3-none-any.whl"
    found = sparse.lacks(needs(uv, "x", address, "numpy"), ["x==1", address, "pluggy==1.6"])
    assert found == ["x==1", address]
    fixed = ["cuvis-ai-core==1.0", "x==1", "pluggy==1.6", "old==5.0", "other==2.0"]
    ((asked, constraints, installed),) = uv.asked
    assert (asked, installed) == (["x", address], tmp_path / "sparse")
    assert (constraints[:3], sorted(constraints)) == (fixed[:3], sorted(fixed))


@pytest.mark.usefixtures("host")
def test_who_asks_for_nothing_lacks_nothing(tmp_path: Path) -> None:
    """And what is no longer to be had stays the host's: what is lacking is what was chosen."""
    sparse, uv = SparseHost(tmp_path / "sparse"), FakeUv(InstallError("other==2.0 is gone"))
    assert sparse.lacks(needs(uv, "numpy"), ["x==1"]) == []
    assert uv.asked == []
    assert sparse.lacks(needs(uv, "x"), ("x==1", "z==1")) == ["x==1", "z==1"]
