"""What is asked of uv, word by word, and what is made of its answers."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core._subprocess import Finished
from cuvis_ai_core.errors import BuildError, DependencyNotFoundError, InstallError
from cuvis_ai_core.plugins.cache.wheelhouse import Wheelhouse
from cuvis_ai_core.plugins.installing.uv_commands import Uv

Answers = list[tuple[str, str, int]]

CHANGES = [
    {"name": "a", "version": "1", "action": "installed"},
    {"name": "b", "version": "1", "action": "uninstalled"},
    {"name": "editable", "action": "installed"},
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict[str, Any]], Answers]:
    """Return the calls of uv, and the answers that it is to give; none is a success without words."""
    calls: list[dict[str, Any]] = []
    answers: Answers = []

    def run(words: list[str], **options: Any) -> Finished:
        calls.append({"words": words[1:], **options})
        said, noted, code = answers.pop(0) if answers else ("", "", 0)
        return Finished(code, said, noted)

    monkeypatch.setattr("cuvis_ai_core.plugins.installing.uv_process.run_program", run)
    monkeypatch.delenv("CUVIS_ALLOW_BUILD", raising=False)
    return calls, answers


@pytest.fixture
def uv(tmp_path: Path) -> Callable[..., Uv]:
    """Return what makes uv as one plugin's load uses it."""
    (tmp_path / "work").mkdir()
    return lambda **options: Uv("echo", tmp_path / "work", **options)


def words(call: dict[str, Any], folder: Path) -> str:
    """Return a command, without what depends on this machine."""
    return " ".join(call["words"]).replace(sys.executable, "PYTHON").replace(str(folder), "WORK")


def test_what_is_missing_is_asked_for_word_by_word(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path
) -> None:
    """A stranger's texts stand behind all options; wheels only, unless it is said otherwise; what is new is told."""
    calls, answers = asked
    program = uv()
    json_only = "--dry-run --no-sources --output-format json --preview-features json-output"
    limits = f"-c {Path('WORK/constraints.txt')}"
    for options, command in (
        ({}, f"pip install {json_only} --no-build --python PYTHON {limits} -- a>1 --x"),
        ({"build": True}, f"pip install {json_only} --python PYTHON {limits} -- a>1 --x"),
        (
            {"installed": Path("there")},
            f"pip install {json_only} --no-build --target there --python PYTHON {limits} -- a>1 --x",
        ),
        ({"python": Path("own")}, f"pip install {json_only} --no-build --python own {limits} a>1 --x"),
    ):
        answers.append((json.dumps({"changes": CHANGES}), "", 0))
        assert program.missing(["a>1", "--x"], ["b==1", "c==2"], **options) == ["a==1"]
        assert words(calls[-1], program.folder) == command
        assert (program.folder / "constraints.txt").read_text() == "b==1\nc==2"
    addresses = " + a==1\n + editable @ file:///e(2)\n + far @ git+https://h/f@0#subdirectory=l\n ~ other @ file:///o\n"
    addresses += " + built==2 (from git+https://h/b(1)@0)\n"
    changes = [
        *CHANGES,
        {"name": "far", "action": "installed"},
        {"name": "built", "version": "2", "action": "installed"},
    ]
    answers.append((json.dumps({"changes": changes}), f"Would install 4 packages\n{addresses}", 0))
    far, built = "far @ git+https://h/f@0#subdirectory=l", "built @ git+https://h/b(1)@0"
    assert program.missing(["a>1"], []) == ["a==1", "editable @ file:///e(2)", far, built]
    assert uv(dry=True).missing(["a"], [], build=True) == []
    assert "--no-build --python" in words(calls[-1], program.folder)
    answers.append(("", "warning: The package `a==1` does not have an extra named `x`", 0))
    with pytest.raises(DependencyNotFoundError, match=r"Package a==1 has no extra 'x'\."):
        program.missing(["a[x]"], [])
    answers.append(("", "error: it is broken", 2))
    with pytest.raises(InstallError) as caught:
        program.missing(["a>1", "b"], [])
    assert caught.value.message == "uv could not resolve the plugin's dependencies:\n  error: it is broken"
    assert caught.value.hint == (
        "Try it by hand: uv pip install --dry-run 'a>1' b\nIf that fails too, take another version of the plugin."
    )


def test_wheels_are_asked_for_with_their_hashes(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv]
) -> None:
    """Of pins alone, for this Python or another."""
    calls, answers = asked
    program = uv(allowed=frozenset({"c", "b"}))
    wheel = "[[packages]]\nname = 'a'\nversion = '1'\nwheels = [{url = 'x', hashes = {sha256 = '1'}}]\n"
    answers.append((wheel, "", 0))
    (found,) = program.wheels(["a==1", "b==2"])
    assert (found.pin, found.hashes) == ("a==1", ("sha256:1",))
    assert (program.folder / "pins.txt").read_text() == "a==1\nb==2"
    options = "--no-deps --only-binary :all: --no-binary=b --no-binary=c --no-sources --no-header --quiet"
    command = f"pip compile {options} --format pylock.toml --python"
    assert words(calls[-1], program.folder) == f"{command} PYTHON {Path('WORK/pins.txt')}"
    assert program.wheels([], "3.12") == []
    assert words(calls[-1], program.folder) == f"{command} 3.12 {Path('WORK/pins.txt')}"


def test_what_authors_took_back_is_asked_for_version_by_version(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv]
) -> None:
    """Two of one package cannot be asked for together; each is asked for once."""
    calls, answers = asked
    program = uv()
    answers += [
        ("", 'warning: `a==2` is yanked (reason: "it leaks")\nwarning: `b==1` is yanked', 0),
        ("", 'warning: `a==1` is yanked (reason: "")', 0),
    ]
    asked_for = ["a==1", "b==1", "a==2", "a==1"]
    assert program.yanked(asked_for) == {
        "a==2": "it leaks",
        "b==1": "without a reason",
        "a==1": "without a reason",
    }
    command = f"pip compile --no-deps --no-build --no-sources --no-header {Path('WORK/asked.txt')}"
    assert [words(call, program.folder) for call in calls] == [command, command]
    assert (program.folder / "asked.txt").read_text() == "a==1"


def test_what_is_installed_is_named_whole(
    asked: tuple[list[dict[str, Any]], Answers],
    uv: Callable[..., Uv],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without dependencies into a directory, with them into an environment; what is locked has its hashes.

    What is built has what memory it likes, and sees the user's keys only where something comes from a repository.
    """
    calls, _ = asked
    monkeypatch.setenv("SSH_AUTH_SOCK", "/x/agent")
    carried = Wheelhouse(tmp_path / "dependencies", tmp_path / "builds")
    carried.dependencies.mkdir()
    wheel = carried.dependencies / "b-2-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    program = uv(wheelhouse=carried)
    target, python = tmp_path / "target", Path("own")
    program.install(target, ["a==1", *Uv.editable(tmp_path / "a b"), *Uv.editable(tmp_path, "x[y]")])
    program.install(target, ["a==1"], python)
    digest = f"sha256:{hashlib.sha256(b'a wheel').hexdigest()}"
    locked = {"a==1": ("sha256:1", "sha256:2"), "b==2": ("sha256:3", digest), "c @ git+x": (), "b==3": (digest,)}
    program.install_locked(target, locked, python, built=frozenset({"a"}))
    program.install_with_needs(python, target, ["a"])
    program.install_with_needs(python, target, ["a"], build=True)
    program.add_to_environment(python, ["a", "--b"])
    found = [words(call, program.folder).replace(str(target), "TARGET") for call in calls]
    here = tmp_path.as_uri()
    locked_only = "--require-hashes --only-binary :all: --no-binary=a"
    assert found == [
        f"pip install --no-sources --no-deps --target TARGET --python PYTHON a==1 -e {here}/a%20b -e x[y] @ {here}",
        "pip install --no-sources --no-deps --python own a==1",
        f"pip install --no-sources --no-deps --python own {locked_only} -r {Path('WORK/locked.txt')}",
        "pip install --no-sources --no-deps --python own c @ git+x",
        "pip install --no-sources --no-build --python own a",
        "pip install --no-sources --python own a",
        "pip install --no-build --python own -- a --b",
    ]
    limit = 4 * 2**30
    assert [call["memory"] for call in calls] == [0, limit, 0, 0, limit, limit, limit]
    assert ["SSH_AUTH_SOCK" in call["env"] for call in calls] == [False, True, False, True, True, True, True]
    assert (program.folder / "locked.txt").read_text().splitlines() == [
        "a==1 --hash=sha256:1 --hash=sha256:2",
        f"b @ {wheel.as_uri()} --hash=sha256:3 --hash={digest}",
        f"b==3 --hash={digest}",
    ]


@pytest.mark.parametrize(("name", "shown"), [("", "."), ("x", "."), ("x[y,z]", ".[y,z]")])
def test_a_project_with_a_number_sign_in_its_path_is_named_from_within(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path, name: str, shown: str
) -> None:
    """To uv the sign is the end of an address; a wheel with one keeps its own."""
    calls, _ = asked
    program, project = uv(), tmp_path / "C# mine"
    program.install(tmp_path / "target", ["a==1", *Uv.editable(project, name), "b==1"])
    assert calls[-1]["words"][-4:] == ["a==1", "-e", shown, "b==1"]
    assert calls[-1]["cwd"] == project
    wheel = f"a @ {(tmp_path / 'C#/a.whl').as_uri()}"
    program.install(tmp_path / "target", [wheel, *Uv.editable(tmp_path / "mine", name)])
    assert wheel in calls[-1]["words"]
    assert calls[-1]["cwd"] == program.folder


@pytest.mark.parametrize(
    ("file", "names"),
    [("pyproject.toml", True), ("setup.cfg", True), ("setup.py", True), ("requirements.txt", True), ("notes", False)],
)
def test_a_build_that_needs_a_repository_has_what_opens_it(
    asked: tuple[list[dict[str, Any]], Answers],
    uv: Callable[..., Uv],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    names: bool,  # noqa: FBT001
) -> None:
    """As one of the files of its project says, that is built or used where it lies."""
    calls, _ = asked
    monkeypatch.setenv("SSH_AUTH_SOCK", "/x/agent")
    project = tmp_path / "my project"
    project.mkdir()
    program = uv()
    (program.folder / "wheel").mkdir()
    (program.folder / "wheel/a-1-py3-none-any.whl").touch()
    for said in (False, names):
        (project / file).write_text("a @ git+ssh://git@host/a\n" if said else "a\n")
        program.install(tmp_path / "target", Uv.editable(project, "x"))
        program.build_wheel(project, version=None)
        assert ["SSH_AUTH_SOCK" in call["env"] for call in calls[-2:]] == [said and names] * 2


@pytest.mark.parametrize(
    ("what", "shown"), [(["a==1", "WORK/a.whl", "b @ file:WORK/b.whl"], "a==1"), (["WORK/a.whl"], ".")]
)
def test_what_can_be_tried_by_hand_is_there_by_then(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path, what: list[str], shown: str
) -> None:
    """It names nothing that lies in a temporary folder."""
    _, answers = asked
    answers.append(("", "error: it is broken", 2))
    program = uv()
    with pytest.raises(InstallError) as caught:
        program.install(tmp_path / "target", [each.replace("WORK", str(program.folder)) for each in what])
    assert caught.value.hint == (
        f"Try it by hand: uv pip install --no-deps --target EMPTY_FOLDER {shown}\n"
        "If that fails too, take another version of the plugin."
    )


@pytest.mark.parametrize("offline", [False, True])
def test_what_came_altered_from_a_cache_is_installed_again(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path, *, offline: bool
) -> None:
    """From the index, or where that may not be asked, without the cache."""
    calls, _ = asked
    info = tmp_path / "target/a-1.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text("a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\na-1.dist-info/RECORD,,\n")
    (tmp_path / "target/a.py").write_text("changed")
    program = uv(offline=offline)
    program.install(tmp_path / "target", ["a==1"])
    first, second = (" ".join(call["words"]) for call in calls)
    same = f"--no-sources --no-deps --target {tmp_path / 'target'} --python {sys.executable} a==1"
    assert (first, second) == (
        f"{'--offline ' * offline}pip install {same}",
        f"{'--offline ' * offline}pip install --reinstall {'--no-cache' if offline else '--refresh'} {same}",
    )


def test_a_build_is_told_its_version_and_has_what_memory_it_likes(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path
) -> None:
    """What builds nothing has a limit; a dry run builds nothing."""
    calls, _ = asked
    program = uv()
    (program.folder / "wheel").mkdir()
    built = program.folder / "wheel/a-1-py3-none-any.whl"
    built.touch()
    project = tmp_path / "project"
    for version, python in (("1.2", None), (None, Path("own"))):
        assert program.build_wheel(project, version=version, python=python) == built
        place = f"--out-dir {Path('WORK/wheel')} {project}"
        assert words(calls[-1], program.folder) == f"build --wheel --no-sources --python {python or 'PYTHON'} {place}"
        tools = ("SETUPTOOLS_SCM_PRETEND_VERSION", "PDM_BUILD_SCM_VERSION", "PBR_VERSION")
        assert {calls[-1]["env"].get(name) for name in tools} == {version}
        assert (calls[-1]["memory"], calls[-1]["cwd"]) == (0, program.folder)
    project.mkdir()
    (project / "setup.cfg").write_text("[options]\ninstall_requires = a @ git+https://host/a\n")
    assert program.build_wheel(project, version=None) == built
    assert calls[-1]["memory"] == 0
    program.missing(["a"], [])
    assert calls[-1]["memory"] == 4 * 2**30
    uv(allowed=frozenset({"a"})).missing(["a"], [])
    assert calls[-1]["memory"] == 0
    with pytest.raises(BuildError, match=r"^Plugin 'echo' needs building: only its build back-end"):
        uv(dry=True).build_wheel(project, version=None)
    assert len(calls) == 5


def test_offline_builds_find_what_was_carried_along(
    asked: tuple[list[dict[str, Any]], Answers],
    uv: Callable[..., Uv],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside what the user's own variable names; where only names of packages are listed, nothing is looked for."""
    calls, _ = asked
    monkeypatch.setenv("UV_FIND_LINKS", "mine,,yours")
    program = uv(offline=True, wheelhouse=Wheelhouse(tmp_path / "dependencies", tmp_path / "builds"))
    links = f"--find-links=mine --find-links=yours --find-links={tmp_path / 'builds'}"
    program.missing(["a"], [])
    assert " ".join(calls[-1]["words"]).startswith(f"--offline pip install {links} --dry-run")
    (program.folder / "wheel").mkdir()
    (program.folder / "wheel/a.whl").touch()
    program.build_wheel(tmp_path, version=None)
    assert " ".join(calls[-1]["words"]).startswith(f"--offline build {links} --wheel")
    program.make_environment(tmp_path / "env")
    assert words(calls[-1], tmp_path) == (
        f"--offline venv --relocatable --no-project --no-python-downloads --python PYTHON {Path('WORK/env')}"
    )


def test_an_environment_is_made_and_looked_at(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path
) -> None:
    """Its Python is named; what is in it, and what is wrong with it, is what uv says, without its notes."""
    calls, answers = asked
    program, python = uv(), Path("own")
    made = program.make_environment(tmp_path / "env", "3.12")
    assert made == tmp_path / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    assert words(calls[-1], tmp_path).endswith(f"--no-python-downloads --python 3.12 {Path('WORK/env')}")
    answers.append((json.dumps([{"name": "a", "version": "1"}, {"name": "b", "version": "2"}]), "", 0))
    assert program.installed(python) == ["a==1", "b==2"]
    assert words(calls[-1], tmp_path) == "pip list --format json --python own"
    notes = "Using Python 3.12\nThe package `a` requires `b`\nThe package `c` needs `d`\nFound 2"
    answers += [("", notes, 1), ("", notes, 0)]
    assert program.problems(python) == "The package `a` requires `b` The package `c` needs `d`"
    assert program.problems(python) == ""
    assert words(calls[-1], tmp_path) == "pip check --python own"
    assert calls[-1]["memory"] == 4 * 2**30


def test_a_python_that_is_not_there_is_told_from_one_that_fails(
    asked: tuple[list[dict[str, Any]], Answers], uv: Callable[..., Uv], tmp_path: Path
) -> None:
    """With those that are there, sorted and once each; what fails for this interpreter is said as it is."""
    _, answers = asked
    program = uv()
    listed = [{"version_parts": {"major": 3, "minor": minor}} for minor in (12, 9, 12)]
    answers += [("", "error: No interpreter found for Python 3.14", 2), (json.dumps(listed), "", 0)]
    with pytest.raises(InstallError, match=r"^Python 3\.14 is not installed here\. Installed are: 3\.9, 3\.12\.\n"):
        program.make_environment(tmp_path / "env", "3.14")
    answers += [("", "error: No interpreter found for Python 3.14", 2), ("[]", "", 0)]
    with pytest.raises(InstallError, match=r"Installed are: none\.\n"):
        program.make_environment(tmp_path / "env", "3.14")
    answers.append(("", "error: the shim fails", 2))
    with pytest.raises(InstallError) as caught:
        program.make_environment(tmp_path / "env", "3.14")
    assert caught.value.message == (
        "Python 3.14 cannot be used: uv could not make a virtual environment with it:\n  error: the shim fails"
    )
    answers.append(("", "error: No interpreter found", 2))
    with pytest.raises(InstallError, match=r"^uv could not make a virtual environment:"):
        program.make_environment(tmp_path / "env")
