"""The reference says exactly what there is: hooks, keys, variables, errors, public names."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import cuvis_ai_hookspecs
import pytest
from pydantic import BaseModel

import cuvis_ai_core
import cuvis_ai_core.data
import cuvis_ai_core.grpc
import cuvis_ai_core.node
import cuvis_ai_core.testing
import cuvis_ai_core.training
from cuvis_ai_core import NodeRegistry, Pipeline, errors
from cuvis_ai_core.plugins.builtin_nodes import BuiltinNodes
from cuvis_ai_core.plugins.hooks.discovery import DiscoveredPlugin
from cuvis_ai_core.plugins.loading.published_registry import PublishedRegistry
from cuvis_ai_core.plugins.manifest.manifest_schema import manifest_schema
from cuvis_ai_core.plugins.node_lookup import NodeEntry
from cuvis_ai_core.plugins.plugin_info import PluginInfo, PluginState
from cuvis_ai_core.training.config import DataConfig, TrainingConfig, TrainRunConfig

ROOT = Path(__file__).parents[2]


def reference(name: str) -> str:
    """Return the text of a page of the reference."""
    return (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, as far as the next one of its level."""
    marks = heading.partition(" ")[0]
    _, found, below = text.partition(f"\n{heading}\n")
    assert found, f"there is no '{heading}'"
    return re.split(rf"\n#{{1,{len(marks)}}} ", below)[0]


def rows(text: str) -> Iterator[list[str]]:
    """Return the cells of the rows of all tables whose first cell is code."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.split("|")[1:-1]]


def first_cells(text: str) -> set[str]:
    """Return the names in the first column: what stands in the code, without arguments."""
    return {cells[0].strip("`").partition("(")[0].rpartition(".")[2] for cells in rows(text)}


def test_hooks_are_listed_with_their_exact_arguments() -> None:
    """Every hook has a heading that is its signature, types included, and there are no others."""
    headings = re.findall(r"^## `(.+)`$", reference("hooks"), re.MULTILINE)
    hooks = [name for name in cuvis_ai_hookspecs.__all__ if name.startswith("cuvis_ai_")]
    signatures = {hook: inspect.signature(getattr(cuvis_ai_hookspecs, hook)) for hook in hooks}
    assert sorted(headings) == sorted(f"{hook}{signature}".replace("'", "") for hook, signature in signatures.items())


def test_all_names_of_the_contract_are_in_the_hooks_page() -> None:
    """What `cuvis_ai_hookspecs` exports, and the states that observers are told."""
    text = reference("hooks")
    for name in (*cuvis_ai_hookspecs.__all__, *PluginState):
        assert re.search(rf"`{name}\b", text), name


def test_manifest_keys_are_those_of_the_schema() -> None:
    """No key is missing, none is invented."""
    schema = manifest_schema()
    keys = {key for kind in schema["$defs"].values() for key in kind["properties"]}
    assert first_cells(section(reference("manifest"), "## Keys")) == keys
    assert list(schema["properties"]) == ["plugins"]


@pytest.mark.parametrize(
    ("heading", "section_class"), [("Keys", TrainRunConfig), ("`data`", DataConfig), ("`training`", TrainingConfig)]
)
def test_trainrun_keys_are_those_of_the_schema(heading: str, section_class: type[BaseModel]) -> None:
    """No key is missing, none is invented."""
    text = section(reference("trainrun"), f"## {heading}")
    without_effect = set(re.findall(r"`(\w+)`", text.partition("without effect here:")[2]))
    assert first_cells(text) | without_effect == set(section_class.model_fields)


def test_environment_variables_are_those_of_the_code() -> None:
    """Every variable that the code names is in the table, and the other way round."""
    sources = (ROOT / "src").rglob("*.py")
    used = {name for source in sources for name in re.findall(r"\bCUVIS_[A-Z_]+\b", source.read_text(encoding="utf-8"))}
    text = section(reference("manifest"), "## Environment variables")
    # Those that this package sets itself are named below the table; the vendor's own is not ours to list.
    told = set(re.findall(r"`(CUVIS_[A-Z_]+)`", text.rpartition("|")[2]))
    assert first_cells(text) | told | {"CUVIS_SETTINGS"} == used


def test_the_error_tree_is_the_one_of_the_code() -> None:
    """The page shows the tree of the module's docstring, and the tree is true."""
    tree = re.search(r"^```\n(.*?)^```", reference("errors"), re.MULTILINE | re.DOTALL)
    assert tree is not None
    assert indent(tree[1], "    ") in inspect.cleandoc(errors.__doc__ or "")
    ancestors: list[str] = []
    for line in tree[1].splitlines():
        found = re.match(r"([│├└─ ]*)(\w+)(?: \((\w+)\))?", line)
        assert found is not None, line
        depth = len(found[1]) // 4
        ancestors[depth:] = [found[2]]
        bases = getattr(errors, found[2]).__bases__
        expected = [ancestors[depth - 1] if depth else "Exception", *filter(None, [found[3]])]
        assert [base.__name__ for base in bases] == expected, line


def test_errors_are_listed_with_their_attributes() -> None:
    """Exactly the classes of `errors.py`, each with exactly the attributes that it declares."""
    classes = {
        name: each
        for name, each in vars(errors).items()
        if isinstance(each, type) and each.__module__ == errors.__name__
    }
    listed = {cells[0].strip("`"): re.findall(r"`(\w+)`", cells[1]) for cells in rows(reference("errors"))}
    expected = {name: [key for key in inspect.get_annotations(each) if key != "hint"] for name, each in classes.items()}
    assert listed == expected


@pytest.mark.parametrize(("documented", "parts"), [(NodeRegistry, [BuiltinNodes, PublishedRegistry]), (Pipeline, [])])
def test_methods_are_listed(documented: type, parts: list[type]) -> None:
    """The table of a class has exactly its public names."""
    public = {name for each in (documented, *parts) for name in vars(each) if not name.startswith("_")}
    assert first_cells(section(reference("python"), f"### `{documented.__name__}`")) == public


@pytest.mark.parametrize("documented", [PluginInfo, NodeEntry, DiscoveredPlugin])
def test_fields_are_listed(documented: type) -> None:
    """Where a record is named, its fields follow in their order."""
    text = " ".join(reference("python").split())
    after = re.search(rf"`{documented.__name__}`: ((?:`\w+`[^`;|]*)+)", text)
    assert after is not None
    assert re.findall(r"`(\w+)`", after[1]) == list(inspect.get_annotations(documented))


@pytest.mark.parametrize(
    "module",
    [
        *(cuvis_ai_core, cuvis_ai_core.node, cuvis_ai_core.data, cuvis_ai_core.testing, cuvis_ai_core.training),
        cuvis_ai_core.grpc,
    ],
    ids=lambda each: each.__name__,
)
def test_public_names_are_documented(module: object) -> None:
    """Each page heading is the import that gives the names."""
    headings = re.findall(r"^## `from (\S+) import (.+)`$", reference("python"), re.MULTILINE)
    names = {name: listed.split(", ") for name, listed in headings}
    assert names[module.__name__] == sorted(module.__all__)  # type: ignore[attr-defined]
