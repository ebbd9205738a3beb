"""The JSON Schema of a pipeline file: what an editor is told of nodes and of their parameters."""

from types import SimpleNamespace
from typing import Any, Literal

import pytest

from cuvis_ai_core.errors import NodeNotFoundError
from cuvis_ai_core.pipeline.file.json_schema import pipeline_schema

INTERPOLATED = {"type": "string", "pattern": r"\$\{.+\}"}


class Described:
    """What it does."""

    def __init__(  # type: ignore[no-untyped-def] # one parameter is of no type
        self,
        count: int,
        part: float = 0.5,
        kind: Literal["a", "b"] = "a",
        either: int | None = None,
        strange: int | bytes = 1,
        untyped=(),  # noqa: ANN001 - as many are
        on: bool = True,  # noqa: FBT001, FBT002
        *more: int,
        name: str = "n",
        execution_stages: str = "always",
        **others: Any,
    ) -> None: ...


class Plain:
    """Takes a text."""

    def __init__(self, text: str = "x") -> None: ...


class Registry:
    """Knows two classes by short names, one of which two plugins have, and one that cannot be imported."""

    def nodes(self) -> list[Any]:
        """Return them."""
        rows = [("Described", "p.Described", "p"), ("Plain", "p.Plain", "p"), ("Plain", "q.Plain", "q")]
        rows += [("Plain", "core.Plain", ""), ("Gone", "p.Gone", "p"), ("Own", "core.Own", "")]
        return [SimpleNamespace(name=name, path=path, plugin=plugin) for name, path, plugin in rows]

    def get(self, name: str) -> type:
        """Return a class, by its path where it is of a plugin."""
        assert name in {"p.Described", "p.Plain", "q.Plain", "Plain", "p.Gone", "Own"}
        if name == "p.Gone":
            raise NodeNotFoundError("It is gone.", hint="", node=name)
        return Described if name == "p.Described" else Plain


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Return the schema."""
    registry: Any = Registry()
    return pipeline_schema(registry)


def rule(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a node of a class has to have."""
    rules = schema["$defs"]["NodeConfig"]["allOf"]
    found: list[dict[str, Any]] = [
        each["then"] for each in rules if each.get("if", {}).get("properties") == known(name)
    ]
    assert len(found) == 1
    return found[0]


def known(name: str) -> dict[str, Any]:
    """Return the condition that a node is of a class."""
    return {"class_name": {"const": name}}


def test_names_are_offered_that_mean_one_node(schema: dict[str, Any]) -> None:
    """By their paths all of them; others are taken too, in either spelling of the key."""
    node = schema["$defs"]["NodeConfig"]["properties"]
    names = ["Described", "Own", "core.Own", "core.Plain", "p.Described", "p.Plain", "q.Plain"]
    assert node["class_name"] == node["class"] == {"anyOf": [{"enum": names}, {"type": "string", "minLength": 1}]}
    conditions = [each["if"] for each in schema["$defs"]["NodeConfig"]["allOf"] if "if" in each]
    assert conditions == [{"properties": known(name), "required": ["class_name"]} for name in names]


def test_parameters_are_described_as_the_class_has_them(schema: dict[str, Any]) -> None:
    """With types, defaults and what has to be given; a reference to another place fits any type."""
    params = rule(schema, "p.Described")["properties"]["params"]
    assert rule(schema, "p.Described")["properties"]["hparams"] == params
    assert params["description"] == "What it does."
    assert params["required"] == ["count"]
    one_of = [{"anyOf": [{"type": kind}, INTERPOLATED]} for kind in ("integer", "null")]
    assert params["properties"] == {
        "count": {"anyOf": [{"type": "integer"}, INTERPOLATED]},
        "part": {"anyOf": [{"type": "number"}, INTERPOLATED], "default": 0.5},
        "kind": {"enum": ["a", "b"], "default": "a"},
        "either": {"anyOf": [*one_of, INTERPOLATED], "default": None},
        "strange": {"default": 1},
        "untyped": {},
        "on": {"anyOf": [{"type": "boolean"}, INTERPOLATED], "default": True},
    }


def test_parameters_that_must_be_given_may_be_in_either_spelling(schema: dict[str, Any]) -> None:
    """Where none must be given, neither key has to be there."""
    assert rule(schema, "p.Described")["anyOf"] == [{"required": ["params"]}, {"required": ["hparams"]}]
    assert "anyOf" not in rule(schema, "q.Plain")
    assert "required" not in rule(schema, "q.Plain")["properties"]["params"]
