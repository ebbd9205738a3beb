"""Where the code of an editable install lies, read from what back-ends wrote."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.installing.editables import UnclearEditableError, editable_code

Files = dict[str, str]
Write = Callable[[Path, Files], Path]


@pytest.fixture
def project(tmp_path: Path, write_files: Write) -> Path:
    """Return the folder of a project with a package, a module and a plain folder."""
    return write_files(tmp_path / "project", {"pkg/__init__.py": "", "mod.py": "", "plain/x.py": "", "no-name.py": ""})


@pytest.fixture
def read(tmp_path: Path, write_files: Write) -> Callable[..., dict[str, Path]]:
    """Return what reads a target directory with some files."""

    def written(files: Files, *wanted: str) -> dict[str, Path]:
        return editable_code(write_files(tmp_path / "target", files), set(wanted))

    return written


def test_a_line_names_a_folder(read: Callable[..., dict[str, Path]], project: Path, tmp_path: Path) -> None:
    """With all modules in it, and the plain folders that are wanted; comments and empty lines say nothing."""
    text = f"# a comment\n\n   \n{project}  \n"
    assert read({"a.pth": text}) == {"pkg": project, "mod": project}
    assert read({"a.pth": text}, "plain", "gone") == {"pkg": project, "mod": project, "plain": project}
    assert read({"a.pth": "../project"}, "mod") == {"pkg": project, "mod": project}
    assert read({"a.pth": f"{tmp_path / 'gone'}\n"}, "plain") == {}


@pytest.mark.skipif(sys.platform == "win32", reason="no folder has such a name there")
def test_a_folder_may_have_blanks_and_line_breaks_in_its_name(
    read: Callable[..., dict[str, Path]], tmp_path: Path, write_files: Write
) -> None:
    """It is that folder before it is anything else."""
    for name in ("with \n break", "with blank "):
        folder = write_files(tmp_path / name, {"m.py": ""})
        assert read({"a.pth": f"{folder}\n"}) == {"m": folder}


def test_the_first_folder_counts(read: Callable[..., dict[str, Path]], project: Path, write_files: Write) -> None:
    """In the order of the files, as on any search path."""
    other = write_files(project.parent / "other", {"mod.py": "", "more.py": ""})
    found = read({"b.pth": str(project), "a.pth": f"{other}\n"})
    assert found == {"mod": other, "more": other, "pkg": project}


def test_files_of_others_say_nothing(read: Callable[..., dict[str, Path]], project: Path) -> None:
    """Those of what is not editable, and those of namespaces, which Python knows by itself."""
    files = {
        "a-nspkg.pth": "import sys, types\n",
        "dep.pth": "import strange_hook\n",
        "dep-1.dist-info/RECORD": "dep.pth,sha256=x,1\ndep.py,,\n",
        "old.pth": "import strange_hook\n",
        "old-1.dist-info/RECORD": "old.pth,,\n",
        "old-1.dist-info/direct_url.json": '{"url": "file:///x", "dir_info": {}}',
        "own.pth": str(project),
        "own-1.dist-info/RECORD": "own.pth,,\n",
        "own-1.dist-info/direct_url.json": '{"url": "file:///x", "dir_info": {"editable": true}}',
    }
    assert read(files) == {"pkg": project, "mod": project}


@pytest.mark.parametrize("line", ["import strange_hook", "import\tstrange_hook; strange_hook.install()"])
def test_a_line_that_runs_something_unknown_is_unclear(read: Callable[..., dict[str, Path]], line: str) -> None:
    """Nothing is run to find out."""
    with pytest.raises(UnclearEditableError) as caught:
        read({"a.pth": f"{line}\n"})
    assert str(caught.value) == f"a .pth file has the line '{line}'"


@pytest.mark.parametrize(
    "hook",
    [
        "OTHER = {{'other': '/x'}}\nMAPPING = {places}",
        "MAPPING: dict[str, str] = {places}\nNAMESPACES: dict[str, list[str]] = {{}}",
        "F.map_module('pkg', '{project}/pkg/__init__.py')\nF.map_module('mod', '{project}/mod.py')\nF.install()",
    ],
)
def test_hooks_say_where_each_module_lies(read: Callable[..., dict[str, Path]], project: Path, hook: str) -> None:
    """Setuptools in a mapping, the library `editables` in calls."""
    places = {"pkg": str(project / "pkg"), "mod": str(project / "mod.py")}
    text = f"import sys\n{hook.format(places=places, project=project.as_posix())}\nraise SystemExit\n"
    found = read(
        {"a.pth": "import __editable___finder; __editable___finder.install()\n", "__editable___finder.py": text}
    )
    assert found == {"pkg": project, "mod": project}


@pytest.mark.parametrize(
    ("mapping", "found"),
    [
        ({"space.deep.pkg": "/p/space/deep/pkg"}, {"space": Path("/p")}),
        ({"space.a": "/p/space/a", "space.b": "/p/space/b.py"}, {"space": Path("/p")}),
        ({"space.a": "/p/space/a", "space.b": "/q/space/b"}, "parts of 'space' lie in /p and in /q"),
        ({"pkg": "/p/src"}, "the package 'pkg' has another name than its folder /p/src"),
        ({"space.pkg": "/p/other/pkg"}, "the package 'space.pkg' has another name than its folder /p/other/pkg"),
        ({}, "its import hook hook.py decides where modules lie"),
    ],
)
def test_a_search_path_has_to_lead_to_each_module(
    read: Callable[..., dict[str, Path]], mapping: dict[str, str], found: dict[str, Path] | str
) -> None:
    """Under its own name, and from one folder."""
    files = {"a.pth": "import hook\n", "hook.py": f"MAPPING = {mapping}\n"}
    if isinstance(found, dict):
        assert read(files) == found
        return
    with pytest.raises(UnclearEditableError) as caught:
        read(files)
    assert str(caught.value) == found


def test_two_hooks_may_not_mean_one_package(read: Callable[..., dict[str, Path]]) -> None:
    """A module would be found in the one, and its neighbours in the other."""
    files = {
        "a.pth": "import one\n",
        "one.py": "MAPPING = {'space.a': '/p/space/a'}\n",
        "b.pth": "import two\n",
        "two.py": "MAPPING = {'space.b': '/q/space/b'}\n",
    }
    with pytest.raises(UnclearEditableError) as caught:
        read(files)
    assert str(caught.value) == "parts of 'space' lie in /p and in /q"
    files["two.py"] = "MAPPING = {'space.b': '/p/space/b'}\n"
    assert read(files) == {"space": Path("/p")}
