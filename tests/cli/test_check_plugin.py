"""`cuvis-ai plugins check`: each mistake is told with place and cure; honest projects are clean."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cuvis_ai_core.cli.plugins.check import trial_run
from cuvis_ai_core.testing import GitHost

Shell = Callable[..., Result]
TOP = Path(__file__).parents[2]
BROKEN = sorted(path for path in (TOP / "tests/projects/broken").iterdir() if path.is_dir())
WARNINGS = {"no_docstring", "pinned", "slow_import", "fails_when_built"} | {
    "prints_at_import",
    "shared_default",
    "cannot_be_pickled",
    "tests_in_the_wheel",
}
RUN = {"left_out_of_the_wheel", "slow_import", "fails_at_import", "fails_when_built"} | {
    "cannot_be_pickled",
    "tests_in_the_wheel",
    "circular_import",
    "source_not_found",
}
"""What only a build, or a run, tells."""
LONG = RUN - {"fails_at_import", "circular_import", "cannot_be_pickled"}
"""Those of them that are built."""


@pytest.mark.parametrize(
    "project",
    [pytest.param(each, marks=pytest.mark.slow if each.name in LONG else ()) for each in BROKEN],
    ids=lambda path: path.name,
)
def test_a_mistake_is_told_with_its_line_and_its_cure(shell: Shell, tmp_path: Path, project: Path) -> None:
    """As the author should read it: `expected.txt` of each project; nothing else is said of it."""
    folder = tmp_path / project.name
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("__pycache__"))
    expected = (folder / "expected.txt").read_text(encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", folder, *([] if project.name in RUN else ["--no-run"]))
    assert expected in found.stdout
    assert found.stdout.count(": error: ") == (project.name not in WARNINGS)
    assert found.stdout.count(": warning: ") == (project.name in WARNINGS)
    assert found.exit_code == (project.name not in WARNINGS)
    assert "Traceback" not in found.output


@pytest.mark.slow
@pytest.mark.parametrize(("longest", "said"), [(60.0, r"\d+\.\d"), (0.3, r"0\.3")])
def test_the_library_that_makes_an_import_slow_is_named(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: float, said: str
) -> None:
    """Also one that takes longer than anybody waits for."""
    folder, library = tmp_path / "leaf", tmp_path / "library"
    shutil.copytree(TOP / "tests/projects/broken/slow_import", folder)
    nodes = folder / "src/leaf_index/nodes.py"
    nodes.write_text(nodes.read_text(encoding="utf-8").replace("time.sleep(2.2)", "import tardy_spectra"))
    library.mkdir()
    (library / "tardy_spectra.py").write_text("import time\n\ntime.sleep(0.6)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(library)
    monkeypatch.setenv("PYTHONPATH", str(library))
    monkeypatch.setattr(trial_run, "SLOW", 0.2)
    monkeypatch.setattr(trial_run, "LONGEST", longest)
    found = shell("cuvis-ai", "plugins", "check", folder)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.output
    sys.modules.pop("tardy_spectra", None)
    assert re.search(rf"\('tardy_spectra' alone {said} s, in a process of its own\)", found.stdout), found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [True, False])
def test_what_git_ignores_is_not_missed_in_the_wheel(shell: Shell, tmp_path: Path, *, ignored: bool) -> None:
    """It is no part of the project."""
    folder = tmp_path / "leaf"
    project = TOP / "tests/projects/broken/left_out_of_the_wheel"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("leaves.yaml\n" if ignored else "other.yaml\n", encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", folder)
    assert ("leaves.yaml" in found.stdout) == (not ignored)


@pytest.mark.parametrize("example", sorted(path.name for path in (TOP / "example_plugins").iterdir() if path.is_dir()))
def test_honest_projects_are_clean(shell: Shell, example: str) -> None:
    """Read: the examples."""
    if example == "spectral_classifier":
        pytest.importorskip("torch")
    found = shell("cuvis-ai", "plugins", "check", TOP / "example_plugins" / example, "--no-run")
    assert ": Nothing is wrong; " in found.stdout or (
        example == "old_numpy" and found.stdout.count("numpy") and found.stdout.count(": error: ") == 1
    ), found.stdout
    assert found.exit_code == (example == "old_numpy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "backend"),
    [("array", "uv_build"), ("torch", "hatchling"), ("hooks", "setuptools"), ("reader", "setuptools")],
)
def test_new_projects_are_clean(shell: Shell, kind: str, backend: str) -> None:
    """Of each kind, built and run."""
    if kind == "torch":
        pytest.importorskip("torch")
    shell("cuvis-ai", "plugins", "new", "leaf-index", "--kind", kind, "--build-backend", backend)
    found = shell("cuvis-ai", "plugins", "check", "leaf-index")
    assert found.stdout.startswith("leaf-index: Nothing is wrong; 1 node, imported in "), found.stdout
    assert found.exit_code == 0


def test_a_broken_project_file_is_told_once(shell: Shell) -> None:
    """What follows from it is not."""
    Path("leaf/src/leaf").mkdir(parents=True)
    Path("leaf/src/leaf/__init__.py").write_text("import numpy\n", encoding="utf-8")
    Path("leaf/pyproject.toml").write_text('[project]\nname = "leaf"\nversion =\n', encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", "leaf", "--no-run")
    assert found.exit_code == 1
    assert found.stdout.startswith("pyproject.toml, line 3: error: cannot be read: ")
    assert found.stdout.count(": error: ") == 1


def test_a_program_gets_the_same_as_json(shell: Shell) -> None:
    """Rule, place, sentence and cure of each; and what was measured."""
    found = shell("cuvis-ai", "plugins", "check", TOP / "tests/projects/broken/singular_specs", "--no-run", "--json")
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert said["nodes"] == ["leaf_index.nodes.LeafIndex"]
    assert said["import_seconds"] is said["wheel_bytes"] is None
    (finding,) = said["findings"]
    assert (finding["rule"], finding["level"]) == ("specs-name", "error")
    assert (finding["file"], finding["line"]) == ("src/leaf_index/nodes.py", 12)


def test_what_was_measured_is_told(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """The size of the wheel and the time of the import; a class that is named wrongly does not hinder the others."""
    folder = local_plugin(dependencies=("cuvis-ai-core", "cuvis-ai-schemas", "numpy"))
    manifest = "plugins: {a: {path: ., provides: [echo_plugin.nodes.Echo, echo_plugin.nodes.Ecco]}}"
    (folder / "plugins.yaml").write_text(manifest, encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", folder)
    last = r"echo-plugin: 1 error, 1 warning; 1 node, imported in 0\.\d{1,3} s, wheel of [\d.]+ (bytes|KiB)\.\n"
    assert re.search(f"(?m)^{last}\\Z", found.stdout), found.stdout
    assert found.stdout.count("echo_plugin.nodes.Ecco") == 1
    assert found.exit_code == 1
    nodes = folder / "src/echo_plugin/nodes.py"
    nodes.write_text(nodes.read_text(encoding="utf-8").replace("(ArrayNode):", '(ArrayNode):\n    """Hand on."""\n'))
    (folder / "plugins.yaml").unlink()
    said = json.loads(shell("cuvis-ai", "plugins", "check", folder, "--json").stdout)
    assert (said["folder"], said["nodes"], said["findings"]) == (str(folder), ["echo_plugin.nodes.Echo"], [])
    assert 0 < said["import_seconds"] < 60
    assert 500 < said["wheel_bytes"] < 100_000
    found = shell("cuvis-ai", "plugins", "check", folder, "--no-run")
    assert (found.stdout, found.exit_code) == ("echo-plugin: Nothing is wrong; 1 node.\n", 0)


def test_a_tag_is_checked_as_it_is_fetched(shell: Shell, git_host: GitHost) -> None:
    """By its address, with the tag or the newest one."""
    broken = TOP / "tests/projects/broken"
    url = git_host.add("checked", broken / "no_docstring", tag="v1.0.0")
    git_host.commit("checked", {"README.md": "better"}, tag="v1.1.0")
    for address in (url, f"{url}@v1.0.0"):
        found = shell("cuvis-ai", "plugins", "check", address, "--no-run")
        assert "has no docstring" in found.stdout
        assert found.exit_code == 0
    found = shell("cuvis-ai", "plugins", "check", f"{url}@v9", "--no-run")
    assert found.exit_code == 1
    assert "Tag 'v9' does not exist" in found.stderr


def test_a_plugin_of_a_manifest_is_checked_with_what_it_is_said_to_provide(shell: Shell) -> None:
    """The line is that of this manifest."""
    project = TOP / "tests/projects/broken/no_docstring"
    Path("all.yaml").write_text(
        f"plugins:\n  mine:\n    path: {project}\n    provides:\n      - leaf_index.nodes.Leaf\n", encoding="utf-8"
    )
    found = shell("cuvis-ai", "plugins", "check", "mine", "--plugins-path", "all.yaml", "--no-run")
    assert f"{Path('all.yaml').absolute()}, line 5: error: 'provides' names 'leaf_index.nodes.Leaf'" in found.stdout


def test_what_is_not_there_is_told_with_what_can_be_given(shell: Shell) -> None:
    """Neither folder, address nor plugin."""
    found = shell("cuvis-ai", "plugins", "check", "nowhere")
    assert found.exit_code == 2
    assert "'nowhere' is no folder, no address and no plugin that is installed here." in found.stderr
    assert "Give the folder of a project, URL@TAG" in found.stderr


def test_a_slip_of_the_syntax_is_told_once(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """With file and line; the classes of other modules are looked at all the same."""
    folder = local_plugin(extra='[project.entry-points."cuvis_ai.nodes"]\nEcho = "echo_plugin.nodes:Echo"\n')
    (folder / "src/echo_plugin/other.py").write_text("import json\n\ndef broken(:\n    pass\n", encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", folder, "--no-run")
    assert "src/echo_plugin/other.py, line 3: error: it is no Python: invalid syntax." in found.stdout
    assert found.stdout.count("it is no Python") == 1
    assert "class Echo has no docstring" in found.stdout


def test_tests_within_a_package_are_no_code_of_the_plugin(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """As napari's plugins have them: they may import what only the author has, and print."""
    folder = local_plugin("echo_plugin")
    tests = folder / "src/echo_plugin/_tests"
    tests.mkdir()
    (tests / "test_echo.py").write_text("import pytest\n\nprint(pytest)\n", encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", "--no-run", folder)
    assert "_tests" not in found.stdout
    (folder / "src/echo_plugin/other.py").write_text("import pytest\n\nprint(pytest)\n", encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "check", "--no-run", folder)
    assert found.stdout.count("other.py, line") == 2


@pytest.mark.parametrize("run", [["--no-run"], []])
@pytest.mark.parametrize("what", ["/dev/zero", "pipe", "deep"])
def test_what_nobody_can_read_to_its_end_is_no_part_of_a_project(
    shell: Shell, local_plugin: Callable[..., Path], pipe: Callable[[Path], None], what: str, run: list[str]
) -> None:
    """It is named before anything is read, copied or built."""
    folder = local_plugin()
    place = folder / "src/echo_plugin/data.bin"
    if what == "pipe":
        pipe(place)
    elif what == "deep":
        folder.joinpath("src", *["d"] * 150).mkdir(parents=True)
    else:
        place.symlink_to(what)
    found = shell("cuvis-ai", "plugins", "check", folder, *run)
    assert found.exit_code == 1
    assert ("lies more than 100 folders deep" if what == "deep" else "is no part of a project") in found.output


@pytest.mark.parametrize("value", ["../../elsewhere:Node", "{elsewhere}:Node", "..:x", "a b:c"])
def test_an_entry_point_leads_to_no_folder_elsewhere(
    shell: Shell, local_plugin: Callable[..., Path], tmp_path: Path, value: str
) -> None:
    """It is a name, and no path: nothing is read there."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.py").write_text("class Secret(:")
    told = value.format(elsewhere=tmp_path / "elsewhere")
    folder = local_plugin(extra=f'[project.entry-points."cuvis_ai.nodes"]\nNode = "{told}"\n')
    found = shell("cuvis-ai", "plugins", "check", folder, "--no-run")
    assert found.exit_code == 1
    assert "entry point Node names" in found.output
    assert "secret.py" not in found.output
    assert "bug in cuvis-ai-core" not in found.output


def test_a_module_that_nests_without_end_is_told(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """As one with a mistake."""
    folder = local_plugin()
    (folder / "src/echo_plugin/deep.py").write_text("x = " + "-" * 100_000 + "1\n")
    found = shell("cuvis-ai", "plugins", "check", folder, "--no-run")
    assert "deep.py" in found.output
    assert "bug in cuvis-ai-core" not in found.output
