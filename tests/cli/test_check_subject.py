"""What is checked: which project is meant, what it provides, and what its wheel has, without building or running it."""

from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING
from cuvis_ai_core.cli.plugins.check.subject import Named, Subject, find
from cuvis_ai_core.cli.plugins.check.trial_run import entry_of, node_paths, provided
from cuvis_ai_core.cli.plugins.check.wheel import compared
from cuvis_ai_core.errors import LocalPathError
from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin

NODES = """\
from cuvis_ai_core.node import ArrayNode
class Leaf(ArrayNode):
    INPUT_SPECS = {}
class Stem(ArrayNode):
    INPUT_SPECS = {}
class _Hidden(ArrayNode):
    INPUT_SPECS = {}
class Helper: ...
"""
CODE = {"src/leaf_index/__init__.py": "from .nodes import Leaf, plugin\n", "src/leaf_index/nodes.py": NODES}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files of a project."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def project(name: str, more: str = "", backend: str = "uv_build") -> str:
    """Return a project file."""
    return (
        f'[build-system]\nrequires = []\nbuild-backend = "{backend}"\n[project]\nname = "{name}"\nversion = "1"\n{more}'
    )


@pytest.mark.parametrize(
    ("folder", "text", "name", "plugin"),
    [
        ("a", project("Leaf-index.x"), "Leaf-index.x", "Leaf_index_x"),
        ("a-b", "", "a-b", "a_b"),
        ("a-b", "[project]\nname = 3\n", "a-b", "a_b"),
        ("a-b", '[project]\nname = ""\n', "a-b", "a_b"),
        ("a-b", "project = 3\n", "a-b", "a_b"),
        ("a-b", "= 3\n", "a-b", "a_b"),
        ("9-leaf", "", "9-leaf", "_9_leaf"),
        ("lambda", "", "lambda", "lambda_"),
    ],
)
def test_the_name_of_a_project(tmp_path: Path, folder: str, text: str, name: str, plugin: str) -> None:
    """That in its project file, else that of its folder; in a manifest it is an identifier."""
    subject = Subject(write(tmp_path / folder, {"pyproject.toml": text} if text else {"x": ""}))
    assert (subject.name, subject.plugin) == (name, plugin)
    parse_plugin(plugin, {"path": str(tmp_path), "provides": ["any.Node"]}, base=tmp_path)
    assert Subject(tmp_path, ("https://host/o/9-leaf.git", "v1")).plugin == "_9_leaf"


def test_what_a_project_provides_is_what_its_own_manifest_says_of_it(tmp_path: Path) -> None:
    """With the line of each; of other plugins in it nothing counts, and neither does what cannot be read."""
    own_entry = "  a:\n    path: ./x/..\n    provides:\n    - m.A\n    - m.B\n"
    manifest = f"plugins:\n{own_entry}  b: {{path: ./x, provides: [m.C]}}\n  c: 3\n"
    more = '[project.entry-points."cuvis_ai.nodes"]\none = "m:A"\ntwo = \'m.b\'\n'
    folder = write(tmp_path, {"plugins.yaml": manifest, "x/y": "", "pyproject.toml": project("m", more)})
    given = Named("m.G", tmp_path / "other.yaml", 7, "g")
    own = [Named("m.A", folder / "plugins.yaml", 5, "a"), Named("m.B", folder / "plugins.yaml", 6, "a")]
    assert Subject(folder, provides=(given,)).provides == (given, *own)
    file = folder / "pyproject.toml"
    assert Subject(folder).entry_points == (Named("m:A", file, 8, "one"), Named("m.b", file, 9, "two"))
    (folder / "plugins.yaml").write_text("plugins: [", encoding="utf-8")
    assert Subject(folder).provides == ()


POINTS = '[project.entry-points."cuvis_ai.nodes"]\n'


@pytest.mark.parametrize(
    ("points", "provides", "wrong", "expected"),
    [
        ("", "", set(), ["Leaf", "Stem"]),
        ('L = "leaf_index.nodes:Stem"\n', "", set(), ["Stem", "Leaf"]),
        ('L = "leaf_index.nodes:Leaf"\nM = "leaf_index.nodes:Leaf"\n', "", set(), ["Leaf", "Stem"]),
        ('L = "leaf_index.nodes:plugin"\nM = "leaf_index.nodes:Other"\n', "", set(), ["Leaf", "Stem"]),
        ('L = "leaf_index:Leaf"\n', "", set(), ["<top>.Leaf", "Stem"]),
        ("", "leaf_index.nodes.Stem, leaf_index.nodes.Other", set(), ["Stem", "Other"]),
        ("", "leaf_index.nodes.Stem, leaf_index.nodes.Other", {"leaf_index.nodes.Other"}, ["Stem"]),
        ("", "leaf_index.nodes.Other", {"leaf_index.nodes.Other"}, ["Leaf", "Stem"]),
    ],
)
def test_which_nodes_a_project_provides(
    tmp_path: Path, points: str, provides: str, wrong: set[str], expected: list[str]
) -> None:
    """Those that its manifest names, else those of its entry points and then all others, each once."""
    files = {"pyproject.toml": project("leaf-index", POINTS + points), **CODE}
    files |= {"plugins.yaml": f"plugins: {{a: {{path: ., provides: [{provides}]}}}}"} if provides else {}
    subject = Subject(write(tmp_path, files))
    paths = [f"leaf_index.nodes.{each}".replace("nodes.<top>.", "") for each in expected]
    assert provided(subject, wrong) == paths
    assert node_paths(subject.code) == ["leaf_index.nodes.Leaf", "leaf_index.nodes.Stem"]


@pytest.mark.parametrize(
    ("repo", "below", "entry"),
    [
        (None, "", {"path": "{folder}"}),
        (("https://host/r", "v1"), "", {"repo": "https://host/r", "tag": "v1"}),
        (("https://host/r", "v1"), "a/b", {"repo": "https://host/r", "tag": "v1", "subdirectory": "a/b"}),
    ],
)
def test_the_entry_of_a_project(
    tmp_path: Path, repo: tuple[str, str] | None, below: str, entry: dict[str, str]
) -> None:
    """As a manifest has it: a folder, or a tag and where in its repository the project lies."""
    (tmp_path / "a/b").mkdir(parents=True)
    subject = Subject(tmp_path, repo, below=below)
    shown = {key: value.format(folder=tmp_path.resolve()) for key, value in entry.items()}
    assert entry_of(subject, ["m.A"]) == {**shown, "provides": ["m.A"]}
    assert subject.project_file == tmp_path.resolve() / below / "pyproject.toml"


def test_a_project_is_given_by_its_folder_or_its_project_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or by its name, where it is installed from its folder; any other file is none."""
    write(tmp_path / "leaf", {"pyproject.toml": project("leaf"), "setup.py": ""})
    assert find(str(tmp_path / "leaf"), None).folder == tmp_path / "leaf"
    assert find(str(tmp_path / "leaf/pyproject.toml"), None).folder == tmp_path / "leaf"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find("~/leaf", None).folder == tmp_path / "leaf"
    with pytest.raises(click.UsageError, match="is no folder, no address"):
        find(str(tmp_path / "leaf/setup.py"), None)


@pytest.mark.parametrize(
    ("origin", "editable"),
    [
        ('{"url": "file://{folder}/a%20b", "dir_info": {"editable": true}}', True),
        ('{"url": "file://{folder}/a%20b", "dir_info": {}}', False),
        ('{"dir_info": {"editable": true}}', False),
        ("[]", False),
        ("", False),
    ],
)
def test_a_plugin_that_is_installed_is_checked_where_its_project_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str, *, editable: bool
) -> None:
    """By the name of the plugin or of its distribution; of a copy the project is not here."""
    info = tmp_path / "site/sprout_lab-1.2.dist-info"
    write(
        info,
        {
            "METADATA": "Metadata-Version: 2.1\nName: sprout-lab\nVersion: 1.2\n",
            "entry_points.txt": "[cuvis_ai.nodes]\nsprout = sprout_lab:plugin\n",
            "direct_url.json": origin.replace("{folder}", str(tmp_path)),
        },
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delenv("CUVIS_PLUGIN_DISCOVERY", raising=False)
    for name in ("sprout-lab", "sprout"):
        if editable:
            assert find(name, None).folder == tmp_path / "a b"
            continue
        with pytest.raises(LocalPathError, match=r"'sprout-lab' 1\.2 is installed as a copy"):
            find(name, None)
    with pytest.raises(click.UsageError, match="Did you mean 'sprout-lab'"):
        find("sprout-lb", None)


def test_what_a_wheel_lacks(tmp_path: Path) -> None:
    """Modules, pipelines and defaults are errors, data warnings; tests and other languages are no loss."""
    there = ["__init__.py", "kept.yaml"]
    lacked = ["module.py", "p.yaml", "q.yml", "table.csv"]
    nothing = ["fast.pyx", "fast.so", "README.md", "types.pyi", "tests/test_a.py", "tests/p.yaml", "test_b.py"]
    files = {f"src/leaf_index/{name}": "" for name in (*there, *lacked, *nothing)}
    folder = write(tmp_path / "tests/lab", {"pyproject.toml": project("leaf-index"), **files})
    found = compared(Subject(folder), {f"leaf_index/{name}": 1 for name in there}, 100)
    assert [(each.rule, each.file.name, each.level, each.said.split(" is left")[0]) for each in found] == [
        ("wheel", "module.py", ERROR, "this module"),
        ("wheel", "p.yaml", ERROR, "this pipeline or defaults"),
        ("wheel", "q.yml", ERROR, "this pipeline or defaults"),
        ("wheel", "table.csv", WARNING, "this file"),
    ]


@pytest.mark.parametrize(
    ("backend", "cures"),
    [
        (
            "setuptools.build_meta",
            ["Give its folder an __init__.py", 'Write:\n[tool.setuptools.package-data]\nleaf_index = ["b/c.csv"]'],
        ),
        ("hatchling.build", ['Write:\n[tool.hatch.build.targets.wheel]\npackages = ["src/leaf_index"]'] * 2),
        ("uv_build", ["See 'source-exclude', 'wheel-exclude' and 'module-name'"] * 2),
        ("flit_core.buildapi", ["See which files your build back end takes."] * 2),
    ],
)
def test_what_to_do_about_what_a_wheel_lacks(tmp_path: Path, backend: str, cures: list[str]) -> None:
    """By what builds it."""
    files = {"src/leaf_index/a.py": "", "src/leaf_index/b/c.csv": ""}
    subject = Subject(write(tmp_path, {"pyproject.toml": project("leaf-index", backend=backend), **files}))
    for each, cure in zip(compared(subject, {}, 1), cures, strict=True):
        assert each.cure.startswith(cure)


@pytest.mark.parametrize(
    ("backend", "mark", "cure"),
    [
        (
            "setuptools.build_meta",
            "[tool.setuptools.x]",
            'Write:\n[tool.setuptools.packages.find]\ninclude = ["leaf_index*"]',
        ),
        ("hatchling.build", "[tool.hatch.build]", "Let your build back end take the plugin's package alone."),
        ("uv_build", "[build-system]", "Let your build back end take the plugin's package alone."),
    ],
)
def test_folders_that_become_packages_of_many(tmp_path: Path, backend: str, mark: str, cure: str) -> None:
    """One of tests, or of scripts, at the top of a wheel; files of them within the package are no matter."""
    text = project("leaf-index", mark + "\n" if mark not in project("") else "", backend)
    subject = Subject(write(tmp_path, {"pyproject.toml": text, "src/leaf_index/__init__.py": ""}))
    names = ["leaf_index/__init__.py", "leaf_index/tests/x.py", "tests/x.py", "scripts/y.py", "docs/z.md", "test.py"]
    found = compared(subject, dict.fromkeys([*names, "leaf_index-1.dist-info/RECORD"], 1), 1)
    assert [(each.rule, each.level, each.said.split("'")[1], each.cure) for each in found] == [
        ("wheel-top", WARNING, top, cure) for top in ("scripts", "tests")
    ]
    assert {each.line for each in found} == {text.splitlines().index(mark) + 1}


@pytest.mark.parametrize(("size", "told"), [(10 << 20, False), ((10 << 20) + 1, True)])
def test_a_large_wheel_is_told_with_its_largest_file(tmp_path: Path, size: int, *, told: bool) -> None:
    """At its place in the project, where it is there."""
    subject = Subject(write(tmp_path, {"pyproject.toml": project("leaf-index"), "src/leaf_index/w.bin": ""}))
    for name, file in (("leaf_index/w.bin", "w.bin"), ("made/x.bin", "pyproject.toml")):
        found = compared(subject, {"leaf_index/w.bin": 1, "z": 2, name: 9 << 20}, size)
        sized = [each for each in found if each.rule == "size"]
        assert [(each.level, each.file.name) for each in sized] == [(WARNING, file)] * told
        assert all("the wheel has 10 MiB, of which this file is 9 MiB" in each.said for each in sized)
