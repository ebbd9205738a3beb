"""What uv is given of a plugin's project: what is built of it, under which name, and for which Python."""

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cuvis_ai_core.errors import BuildError, CacheMismatchError, ProjectFileError
from cuvis_ai_core.plugins.cache.checkout_entry import complete, identity
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.installing.project_build import Building
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

Files = dict[str, str]
Build = Callable[..., Building]

COMMIT = "a" * 40


class FakeUv:
    """Builds nothing, and remembers what it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: list[tuple[str, list[str], str | None, Path | None]] = []

    def build_wheel(self, project: Path, *, version: str | None, python: Path | None) -> Path:
        """Note where a project lies, and all that lies around it."""
        place = project.relative_to(self.folder / "source").as_posix()
        copied = (path for path in (self.folder / "source").rglob("*") if path.is_file())
        names = sorted(path.relative_to(self.folder / "source").as_posix() for path in copied)
        self.built.append((place, names, version, python))
        return self.folder / "My_Echo-1.0-py3-none-any.whl"


@pytest.fixture
def local(tmp_path: Path, write_files: Callable[[Path, Files], Path]) -> Build:
    """Return a function that has a local project with some files."""

    def build(files: Files, uv: Any = None, *, own_process: bool = False, **more: Any) -> Building:
        folder = write_files(tmp_path / "mine", files)
        declared = LocalPlugin(path=folder, **{"provides": ("echo.nodes.Echo",), **more})
        return Building("My.Plugin", declared, Source(folder), cast("Uv", uv), own_process=own_process)

    return build


def project(*lines: str) -> Files:
    """Return a project file."""
    return {"pyproject.toml": "\n".join(['[project]\nname = "My_Echo"', *lines])}


def test_a_wheel_is_built_once_of_a_copy(local: Build, tmp_path: Path) -> None:
    """Without what is no code; a local project is told no version."""
    uv = FakeUv(tmp_path / "work")
    files = project() | {"code.py": "", ".venv/x.py": "", "build/x.py": "", "docs/dist/x": "", "docs/a.md": ""}
    building = local(files, uv)
    assert building.is_editable
    for _ in range(2):
        assert building.wheel(Path("own")).name == "My_Echo-1.0-py3-none-any.whl"
    assert uv.built == [(".", ["code.py", "docs/a.md", "pyproject.toml"], None, Path("own"))]


def test_of_a_tag_the_whole_checkout_is_copied(tmp_path: Path, write_files: Callable[[Path, Files], Path]) -> None:
    """Builds read what lies above; without history they are told the version of the tag."""
    below = {f"below/{name}": text for name, text in project().items()}
    checkout = write_files(tmp_path / "checkout", {"LICENSE": "", "build/x": "", ".git/HEAD": f"{COMMIT}\n", **below})
    complete(checkout, COMMIT, identity("echo", "https://host/x.git", "v1.2"))
    declared = GitPlugin(repo="https://host/x.git", tag="v1.2", provides=("echo.nodes.Echo",), subdirectory="below")
    uv = FakeUv(tmp_path / "work")
    building = Building("echo", declared, Source(checkout, COMMIT, ""), cast("Uv", uv), own_process=False)
    building.wheel()
    assert not building.is_editable
    assert uv.built == [("below", ["LICENSE", "below/pyproject.toml", "build/x"], "1.2", None)]
    (checkout / "LICENSE").write_text("another")
    with pytest.raises(CacheMismatchError, match="were changed, added or removed"):
        Building("echo", declared, Source(checkout, COMMIT, ""), cast("Uv", uv), own_process=False)


def test_a_distribution_is_called_as_its_project_says(local: Build, tmp_path: Path) -> None:
    """Else as its wheel, where only a build can tell; where there is no project, as the plugin."""
    building = local(project())
    assert (building.title, building.distribution) == ("My_Echo", "my-echo")
    uv = FakeUv(tmp_path / "work")
    (tmp_path / "mine/pyproject.toml").unlink()
    building = local({"setup.py": ""}, uv)
    assert (building.title, building.distribution, len(uv.built)) == ("My_Echo", "my-echo", 1)
    (tmp_path / "mine/setup.py").unlink()
    with pytest.warns(UserWarning, match=r"has no pyproject\.toml and no setup\.py; it is loaded as having no"):
        building = local({"echo.py": ""})
    assert (building.project, building.title, building.distribution) == (None, "", "my-plugin")


@pytest.mark.parametrize(
    ("files", "called"),
    [
        ({"setup.py": ""}, "no [project] table"),
        (project('dynamic = ["dependencies"]'), "My_Echo"),
        (project("dependencies = []"), ""),
    ],
)
def test_only_what_a_build_has_to_tell_cannot_be_looked_at(
    local: Build, tmp_path: Path, files: Files, called: str
) -> None:
    """A dry run says so; any other builds."""
    local(files, Uv("echo", tmp_path)).refuse_looking()
    dry = local(files, Uv("echo", tmp_path, dry=True))
    if not called:
        dry.refuse_looking()
        return
    said = f"Plugin 'My.Plugin' has dynamic metadata ({called}) and needs building: "
    with pytest.raises(BuildError, match=re.escape(said)):
        dry.refuse_looking()


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (["echo/nodes.py"], "mine"),
        (["echo.py"], "mine"),
        (["src/echo/nodes.py"], "mine/src"),
        (["src/cubes/a.py"], "mine/src"),
        (["src/other.py", "echo.py"], "mine"),
        (["nodes.py"], "mine"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has no pyproject.toml")
def test_modules_of_a_folder_lie_in_it_or_in_its_src(
    local: Build, tmp_path: Path, files: list[str], place: str
) -> None:
    """As one of the declared names says, of data modules too."""
    building = local(dict.fromkeys(files, ""), data_modules={"cubes": "cubes.a.Cubes"})
    assert building.tops == {"echo", "cubes"}
    assert building.search_path() == tmp_path / place


@pytest.mark.parametrize(
    ("files", "is_package"), [(["nodes.py"], True), (["mine/nodes.py"], False), (["mine.py"], False)]
)
@pytest.mark.filterwarnings("ignore:.*has no pyproject.toml")
def test_a_folder_may_be_the_package_itself(
    local: Build, tmp_path: Path, files: list[str], *, is_package: bool
) -> None:
    """Unless what is declared lies in it."""
    building = local(dict.fromkeys(files, ""), provides=("mine.nodes.Echo",))
    assert building.search_path() == (tmp_path if is_package else tmp_path / "mine")


HERE = platform.python_version()


@pytest.mark.parametrize(
    ("asked", "python", "own_process", "accepted"),
    [
        (f"=={HERE}", None, False, True),
        (f"!={HERE}", None, False, False),
        (f"!={HERE}", None, True, False),
        (f"=={HERE}", "3.99", False, True),
        (">=3.99.2", "3.99", True, True),
        ("==3.99.99", "3.99", True, True),
        (">3.99", "3.99", True, True),
        ("<3.99", "3.99", True, False),
        ("==3.99.100", "3.99", True, False),
    ],
)
def test_a_project_says_which_python_it_accepts(
    local: Build,
    asked: str,
    python: str | None,
    own_process: bool,  # noqa: FBT001
    accepted: bool,  # noqa: FBT001
) -> None:
    """In a process of its own it is the one that was chosen, in any of its patch versions; else this one."""
    isolation = {"python": python, "isolation": "process"} if python else {}
    files = project(f'requires-python = "{asked}"')
    if accepted:
        assert local(files, own_process=own_process, **isolation).project is not None
        return
    with pytest.raises(ProjectFileError) as caught:
        local(files, own_process=own_process, **isolation)
    here = f"its environment would have Python {python or HERE}" if own_process else f"this is Python {HERE}"
    assert caught.value.message == f"My_Echo needs Python {asked}, but {here}."
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Name such a Python in the manifest" if own_process else "Run this program")
    assert caught.value.path is not None
    assert caught.value.path.name == "pyproject.toml"


def test_a_pre_release_of_python_counts_as_that_python(local: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody could try a plugin with it."""
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0rc1")
    assert local(project('requires-python = ">=3.98"')).project is not None
    with pytest.raises(ProjectFileError, match=r"this is Python 3\.99\.0rc1"):
        local(project('requires-python = ">=3.99"'))
