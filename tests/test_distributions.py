"""What is released: the same bytes each time, what is needed and nothing else, one version."""

import hashlib
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from cuvis_ai_core.cli.demo.workspace import GIT_PLUGIN, LOCAL_PLUGINS

ROOT = Path(__file__).parents[1]
PROJECTS = {"cuvis_ai_core": ROOT, "cuvis_ai_hookspecs": ROOT / "hookspecs"}
DEMO = "cuvis_ai_core/cli/demo/example_plugins/"
BESIDE_PACKAGES = {"cuvis_ai_core_children.pth"}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build both distributions twice, each time from a fresh clone."""
    folders = []
    for number in range(2):
        folder = tmp_path_factory.mktemp(f"build{number}")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "clone")], check=True)
        for project in ("", "hookspecs"):
            place = folder / "clone" / project
            subprocess.run([find_uv_bin(), "build", "-q", "--out-dir", str(folder / "dist"), str(place)], check=True)
        folders.append(folder / "dist")
    return folders


@pytest.mark.slow
def test_two_builds_are_the_same_bytes(builds: list[Path]) -> None:
    """Of wheels and source distributions; who builds a tag can compare."""
    first, second = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.*") if path.name[0] != "."}
        for folder in builds
    )
    assert len(first) == 4
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("package", PROJECTS)
def test_a_wheel_has_the_package_whole_and_nothing_else(builds: list[Path], package: str) -> None:
    """Every file of the package that git knows, its type marker, the licence; no tests, no caches."""
    source = PROJECTS[package] / "src"
    listed = subprocess.run(
        ["git", "ls-files", package], cwd=source, capture_output=True, text=True, check=True
    ).stdout.split()
    (wheel,) = builds[0].glob(f"{package}-*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert set(listed) <= inside
    assert f"{package}/py.typed" in inside
    extra = inside - set(listed) - BESIDE_PACKAGES
    assert {name.removeprefix(DEMO).partition("/")[0] for name in extra} <= {GIT_PLUGIN, *LOCAL_PLUGINS}
    assert not [name for name in inside - _of_git(extra) if re.search(r"__pycache__|\.pyc$|(^|/)tests/", name)]


def _of_git(names: set[str]) -> set[str]:
    """Return the files of the demonstration's Git plugin, which is a whole repository."""
    return {name for name in names if name.startswith(f"{DEMO}{GIT_PLUGIN}/")}


def test_the_version_is_the_same_wherever_it_is_said() -> None:
    """The project file says it; the citation repeats it, as its format asks."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == version
