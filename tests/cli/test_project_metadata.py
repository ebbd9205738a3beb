"""What a project says of itself, compared with its code and with what is installed: each mistake with its line.

Each is told with the line that has the mark `# here`, or with the first of its file.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cuvis_ai_core.cli.plugins.check import project_metadata
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding
from cuvis_ai_core.cli.plugins.check.subject import Subject

BUILD = '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
PROJECT = f'{BUILD}[project]\nname = "leaf-index"\nversion = "1.0.0"\n'
POINTS = f'{PROJECT}[project.entry-points."cuvis_ai.nodes"]\n'
CODE = {
    "src/leaf_index/__init__.py": "from .nodes import Leaf\nplugin = object()\n",
    "src/leaf_index/nodes.py": "class Leaf: ...\nclass Leaves: ...\nclass _Hidden: ...\n",
    "src/leaf_index/empty.py": "",
    "src/leaf_index/open.py": "from .nodes import *\n",
}


def project(folder: Path, files: Mapping[str, str]) -> Subject:
    """Write the files of a project."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Subject(folder)


def looked_at(folder: Path, pyproject: str, files: Mapping[str, str] | None = None) -> list[Finding]:
    """Return what is wrong with a project, each at the marked line of its file, or at the first one."""
    subject = project(folder, {"pyproject.toml": pyproject, **(CODE if files is None else files)})
    found = list(project_metadata.look_at(subject))
    for each in found:
        lines = each.file.read_text(encoding="utf-8").splitlines()
        marked = [number for number, line in enumerate(lines, 1) if line.endswith("# here")]
        assert each.line in (marked or [1]), each
    return found


@pytest.mark.parametrize(
    ("pyproject", "rule", "level", "said"),
    [
        (PROJECT, "", "", ""),
        (BUILD, "project-file", WARNING, "there is no [project] table"),
        (f'{BUILD}[project]  # here\nname = "leaf-index"\n', "project-file", ERROR, "[project] has no version"),
        (f'{BUILD}[project]\nname = "leaf-index"\ndynamic = ["version"]\n', "", "", ""),
        (
            f'{BUILD}[project]  # here\nname = "leaf-index"\ndynamic = ["readme"]\n',
            "project-file",
            ERROR,
            "[project] has",
        ),
        (PROJECT.removeprefix(BUILD), "build-system", WARNING, "there is no [build-system]"),
        (f'{PROJECT}requires-python = ">=3.11"\n', "", "", ""),
        (
            f'{PROJECT}requires-python = ">=3.99"  # here\n',
            "requires-python",
            ERROR,
            "it needs Python >=3.99, but this",
        ),
        (f'{PROJECT}dependencies = ["a>>1"]  # here\n', "project-file", ERROR, "has an invalid dependency 'a>>1'"),
    ],
)
def test_the_project_file(tmp_path: Path, pyproject: str, rule: str, level: str, said: str) -> None:
    """Name, version, what builds it, and for which Python."""
    found = [each for each in looked_at(tmp_path, pyproject) if each.rule != "no-code"]
    assert [(each.rule, each.level) for each in found] == [(rule, level)] * bool(rule)
    assert "".join(each.said for each in found).startswith(said)


def test_what_is_no_toml_is_told_with_the_line_that_its_reader_says(tmp_path: Path) -> None:
    """It is in its words alone."""
    subject = project(tmp_path, {"pyproject.toml": f"{PROJECT}x =\n", **CODE})
    assert [(each.rule, each.line) for each in project_metadata.look_at(subject) if each.rule != "no-code"] == [
        ("project-file", len(PROJECT.splitlines()) + 1)
    ]


GROUP = 'L = "leaf_index:Leaf"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[project.entry-points."cuvis_ai.nodes"]\n{GROUP}', ""),
        (f"[project.entry-points.console_scripts]\n{GROUP}", ""),
        ('[project.entry-points]\n"cuvis_ai.node" = 3  # here\n', "the entry-point group 'cuvis_ai.node' is one that"),
        (f'[project.entry-points."CUVIS_AI.nodes"]  # here\n{GROUP}', "the entry-point group 'CUVIS_AI.nodes' is one"),
        (f"[project.entry-points.cuvis_ai.node]  # here\n{GROUP}", "the entry-point group 'cuvis_ai.node' is one that"),
        (f"[project.entry-points.cuvis_ai_nodes]  # here\n{GROUP}", "the entry-point group 'cuvis_ai_nodes' is one"),
        (f"[project.entry-points.cuvis_ai.nodes]  # here\n{GROUP}", "the name of the entry-point group has a dot, and"),
        ("entry-points = 3\n", ""),
    ],
)
def test_the_group_of_entry_points(tmp_path: Path, text: str, said: str) -> None:
    """One that is nearly that of plugins; others are not ours."""
    found = looked_at(tmp_path, PROJECT + text)
    assert [(each.rule, each.level) for each in found] == [("entry-point-group", ERROR)] * bool(said)
    assert "".join(each.said for each in found).startswith(said)


NAMES = [
    ("leaf_index.nodes:Leaf", "leaf_index.nodes.Leaf", "", ""),
    ("leaf_index:Leaf", "leaf_index.Leaf", "", ""),
    ("leaf_index.open:Any", "leaf_index.open.Any", "", ""),
    ("leaf_index:plugin.inner", "leaf_index.plugin.inner", "", ""),
    ("leaf_index.open:any.inner", "leaf_index.open.any.inner", "", ""),
    (
        "leaf_index:Leaves",
        "leaf_index.Leaves",
        "but module 'leaf_index' has no 'Leaves'",
        "Write: leaf_index.nodes{}Leaves\nOr in __init__.py: from leaf_index.nodes import Leaves",
    ),
    (
        "leaf_index.nodes:Laef",
        "leaf_index.nodes.Laef",
        "but module 'leaf_index.nodes' has no 'Laef'",
        "Write: leaf_index.nodes.Leaf",
    ),
    (
        "leaf_index.nodes:Other",
        "leaf_index.nodes.Other",
        "but module 'leaf_index.nodes' has no 'Other'",
        "It has: Leaf, Leaves, _Hidden.",
    ),
    ("leaf_index.empty:X", "leaf_index.empty.X", "but module 'leaf_index.empty' has no 'X'", "It has: no class."),
    (
        "leaf_index.nods:Leaf",
        "leaf_index.nods.Leaf",
        "but there is no module 'leaf_index.nods'",
        "Write: leaf_index.nodes.Leaf",
    ),
    (
        "leaf_index.x.y:Leaf",
        "leaf_index.x.y.Leaf",
        "but there is no module 'leaf_index.x'",
        "It has: empty, nodes, open.",
    ),
    (
        "leaf_indx.nodes:Leaf",
        "leaf_indx.nodes.Leaf",
        "but there is no module 'leaf_indx'",
        "Write: leaf_index.nodes.Leaf",
    ),
    ("other:Leaf", "other.Leaf", "but there is no module 'other'", "It has: leaf_index."),
]


@pytest.mark.parametrize(("point", "path", "said", "cure"), NAMES)
def test_what_is_named_is_there(tmp_path: Path, point: str, path: str, said: str, cure: str) -> None:
    """By entry points and by `provides`; else what was meant, or what there is."""
    (tmp_path / "points").mkdir()
    mark = "  # here" * bool(said)
    found = looked_at(tmp_path / "points", f'{POINTS}Other = "leaf_index.nodes"\nL = "{point}"{mark}\n')
    shown = f"entry point L names '{path}', {said}"
    assert [(each.said, each.cure) for each in found] == [(shown, cure.format(":"))] * bool(said)
    manifest = f"plugins:\n  a:\n    path: .\n    provides:\n    - leaf_index.nodes.Leaves\n    - {path}{mark}\n"
    found = looked_at(tmp_path / "provides", PROJECT, {"plugins.yaml": manifest, **CODE})
    assert [(each.said, each.cure) for each in found] == [
        (f"'provides' names '{path}', {said}", cure.format("."))
    ] * bool(said)


def test_a_module_is_no_class(tmp_path: Path) -> None:
    """Of an entry point it may have hooks; in `provides` its classes are told."""
    points = f'{POINTS}L = "leaf_index.nodes"\nM = "leaf_index.nodes:Leaf [extra]"\n'
    assert looked_at(tmp_path / "points", points) == []
    for module, classes in (
        ("nodes", "leaf_index.nodes.Leaf, leaf_index.nodes.Leaves"),
        ("empty", "leaf_index.empty.TheClass"),
    ):
        manifest = f"plugins: {{a: {{path: ., provides: [leaf_index.{module}]}}}}"
        (found,) = looked_at(tmp_path / module, PROJECT, {"plugins.yaml": manifest, **CODE})
        assert found.said == f"'provides' names 'leaf_index.{module}', which is a module, no class"
        assert found.cure == f"Write one of: {classes}"


def test_a_manifest_that_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    """That of the first mistake."""
    manifest = "plugins:\n  a:\n    path: .\n    provides: [leaf_index.nodes.Leaf]\n    isolation: 3  # here\n"
    (found,) = looked_at(tmp_path, PROJECT, {"plugins.yaml": manifest, **CODE})
    assert (found.rule, found.level, "3 is no isolation" in found.said) == ("manifest", ERROR, True)


@pytest.mark.parametrize(
    ("files", "rules"),
    [
        (CODE, []),
        ({}, ["no-code"]),
        (
            {"src/leaf_index/__init__.py": "", "src/leaf_index/deep/x.py": "", "src/leaf_index/deep/y.py": ""},
            ["init-missing"],
        ),
        ({"src/leaf_index/x.py": "", "src/leaf_index/deep/y.py": ""}, ["init-missing"] * 2),
        ({"src/leaf_index/__init__.py": "", "src/leaf_index/tests/x.py": "", "src/leaf_index/data/x.csv": ""}, []),
        ({"src/leaf_index/__init__.py": "", "src/leaf_index/deep/__init__.py": ""}, []),
        ({"src/leaf_index/types.py": "", "src/leaf_index/__init__.py": ""}, []),
        ({"leaf_index.py": "import types\n"}, []),
    ],
)
def test_folders_with_modules_are_packages(tmp_path: Path, files: dict[str, str], rules: list[str]) -> None:
    """Each is told once; tests and data need be none."""
    found = looked_at(tmp_path, PROJECT, files)
    assert [(each.rule, each.level) for each in found] == [(rule, ERROR) for rule in rules]
    assert all("touch src/leaf_index/" in each.cure for each in found if each.rule == "init-missing")


def test_a_package_that_is_called_like_a_module_of_python(tmp_path: Path) -> None:
    """A module within one may be."""
    files = {"src/types/__init__.py": "", "src/types/json.py": ""}
    (found,) = looked_at(tmp_path, PROJECT.replace("leaf-index", "types"), files)
    assert (found.rule, found.cure) == ("taken-name", "Rename its folder, as to my_types.")


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ('dependencies = ["numpy>=1.26"]', []),
        ('dependencies = ["rich==1.0"]  # here', ["pinned"]),
        ("dependencies = ['rich===1.0']  # here", ["pinned"]),
        ('dependencies = [\n"pluggy",\n"rich == 1.0",  # here\n]', ["pinned"]),
        ('dependencies = ["rich==1.*", "idna>=1,<2"]', []),
        ('dependencies = ["numpy<1.20"]  # here', ["requirements"]),
        ('[project.optional-dependencies]\nx = ["rich==1.0"]  # here', ["pinned"]),
    ],
)
def test_requirements_that_only_one_version_or_none_meets(tmp_path: Path, lines: str, rules: list[str]) -> None:
    """Those of extras, too."""
    found = looked_at(tmp_path, f"{PROJECT}{lines}\n")
    assert [each.rule for each in found] == rules
    assert [each.level for each in found] == [WARNING if rule == "pinned" else ERROR for rule in rules]
    for each in found:
        words = (
            "Write bounds: rich>=1.0"
            if each.rule == "pinned"
            else "Widen its bounds, so that this version suits, too. Let"
        )
        assert each.cure.startswith(words)


@pytest.mark.parametrize(
    ("dependencies", "level"),
    [
        ("[]", ERROR),
        ('["cuvis-ai-core"]', ERROR),
        ('["cuvis-ai-core", "cuvis-ai-core[tiff]"]', ""),
        ('["Tifffile"]', ""),
        ('["a", "A[b]", "a[c]"]', ERROR),
    ],
)
def test_what_is_imported_is_listed(tmp_path: Path, dependencies: str, level: str) -> None:
    """Or what is listed brings it; what is not installed here, of Python, of the project or its tests need not be."""
    pytest.importorskip("tifffile")
    files = {
        "src/leaf_index/__init__.py": "import json\nimport leaf_index\nimport nowhere_at_all\n",
        "src/leaf_index/test_x.py": "import tifffile\n",
        "src/leaf_index/x.py": f"import os, tifffile{'  # here' * bool(level)}\nfrom tifffile import imread\n",
        "src/leaf_index/y.py": "import tifffile\n",
    }
    found = looked_at(tmp_path, f"{PROJECT}dependencies = {dependencies}\n", files)
    assert [(each.rule, each.level) for each in found] == [("unlisted", level)] * bool(level)
    assert [each.file.name for each in found] == ["x.py"] * bool(level)


@pytest.mark.parametrize(
    ("lines", "count"), [("dependencies = []", 1), ('dynamic = ["dependencies"]', 0), ('dynamic = ["readme"]', 1)]
)
def test_what_is_always_there_is_listed_with_its_bounds(tmp_path: Path, lines: str, count: int) -> None:
    """As a warning; what only a build tells is not known."""
    files = {"src/leaf_index/__init__.py": "import numpy  # here\n"}
    found = looked_at(tmp_path, f"{PROJECT}{lines}\n", files)
    assert [(each.rule, each.level, each.cure) for each in found] == [
        ("unlisted", WARNING, 'Write into dependencies: "numpy"')
    ] * count


def test_requirements_may_need_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second of two brings is listed by the first, and the search for it ends."""
    for name, needed in (("ring-one", "ring-two"), ("ring-two", "ring-one")):
        info = tmp_path / "site" / f"{name.replace('-', '_')}-1.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\nRequires-Dist: {needed}\n"
        (info / "METADATA").write_text(text, encoding="utf-8")
        (info / "top_level.txt").write_text(f"{name.replace('-', '_')}_code\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    files = {"src/leaf_index/__init__.py": "import ring_two_code\n"}
    assert looked_at(tmp_path / "listed", f'{PROJECT}dependencies = ["ring-one"]\n', files) == []
    (found,) = looked_at(tmp_path / "unlisted", f"{PROJECT}dependencies = []\n", files)
    assert found.cure == 'Write into dependencies: "ring-two"'
