"""What a worker tells of node classes, and the classes that its host makes of that: both in this process."""

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from cuvis_ai_schemas.enums import NodeTag
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import HookError, InvalidNodeError
from cuvis_ai_core.node.constructor_keywords import parameters_of
from cuvis_ai_core.node.ports import read_ports
from cuvis_ai_core.plugins.worker.class_descriptions import describe_nodes
from cuvis_ai_core.plugins.worker.proxy_classes import make_class
from cuvis_ai_core.plugins.worker.worker_process import Worker

NODES = '''\
from enum import IntEnum
from pathlib import Path

import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_hookspecs import hookimpl
from cuvis_ai_schemas.enums import NodeTag
from cuvis_ai_schemas.pipeline import PortSpec


class Level(IntEnum):
    HIGH = 3


class Odd(ArrayNode):
    """Has what a declaration may have."""

    INPUT_SPECS = {
        "several": [PortSpec("float32", (-1, "bands"), "the cubes", optional=True)],
        "plain": {"dtype": np.uint8, "shape": [2, 3]},
        "flags": PortSpec(np.bool_, ()),
        "words": PortSpec(str, ()),
        "path": PortSpec(Path, ()),
        "level": PortSpec(Level, ()),
        "of_numpy": PortSpec(np.dtype("int16"), ()),
        "union": PortSpec(int | str, ()),
        "text": PortSpec("np.float32", ()),
    }
    OUTPUT_SPECS = {"out": PortSpec("any", ())}
    EXECUTION_STAGES = ("train",)
    STATE = ("a", "b")
    _tags = frozenset({NodeTag.HYPERSPECTRAL})
    per_pixel = True

    def __init__(
        self,
        one,
        two: "np.ndarray" = None,
        /,
        three: int = 3,
        *rest: Path,
        pair=(1, [2.5, "x"]),
        some=frozenset({"b", "a"}),
        members={8, "1"},
        table={"a": {"b": (1,)}},
        keys={1: 2},
        level=Level.HIGH,
        tag=NodeTag.HYPERSPECTRAL,
        place=Path("x"),
        **kwargs,
    ):
        super().__init__(**kwargs)

    def forward(self, several=None, *, plain, **more):
        """Say nothing."""
        return {}

    def reset(self):
        pass


class Other(ArrayNode):
    INPUT_SPECS = {}
    OUTPUT_SPECS = {}
    halo = 2

    def tile_statistics(self):
        pass

    def forward(self):
        return {}


Again = Odd


class Hooks:
    @property
    def a_model(self):
        raise RuntimeError("a property is no hook")

    @hookimpl
    def cuvis_ai_nodes(self):
        return [f"{__name__}.Other", Again]

    @hookimpl
    def cuvis_ai_config_dirs(self):
        return [Path("/some/configs"), "/more"]

    @hookimpl
    def cuvis_ai_cube_readers(self):
        return {}


hooks = Hooks()
'''

Describe = Callable[..., dict[str, Any]]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module with node classes."""
    name = f"described_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(NODES)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def made(module: str, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that describes a class, sends that as text, and makes a class of it."""
    worker = Worker("p", tmp_path / "python", (), tmp_path)

    def make(name: str, **changes: object) -> Any:
        path = f"{module}.{name}"
        face = json.loads(json.dumps(describe_nodes("p", "", [path])))["classes"][path]
        return make_class(path, {**face, **changes}, worker)

    return make


def real(module: str, name: str) -> Any:
    """Return the class itself."""
    return getattr(sys.modules[module], name)


def test_a_class_has_the_signature_of_the_real_one(made: Callable[..., Any], module: str) -> None:
    """Kinds, defaults, annotations; of what cannot cross there is what people read."""
    found = inspect.signature(made("Odd"))
    declared = inspect.signature(real(module, "Odd"))
    assert list(found.parameters) == list(declared.parameters)
    for name, parameter in declared.parameters.items():
        default = found.parameters[name].default
        assert found.parameters[name].kind is parameter.kind
        if name in {"keys", "level", "place"}:
            assert (repr(default), type(default).__module__) == (repr(parameter.default), make_class.__module__)
        else:
            assert (default, type(default)) == (parameter.default, type(parameter.default))
    assert found.parameters["two"].annotation == "np.ndarray"
    path = f"{Path.__module__}.Path"  # from Python 3.13 on `pathlib._local`
    assert [repr(found.parameters[name].annotation) for name in ("three", "rest")] == ["int", path]
    assert found.parameters["pair"].annotation is found.empty
    assert parameters_of(made("Odd")).keys() == parameters_of(real(module, "Odd")).keys()


def test_sets_are_told_in_one_order(module: str) -> None:
    """Whatever that of the process is: what is remembered of a class is compared."""
    (face,) = describe_nodes("p", "", [f"{module}.Odd"])["classes"].values()
    defaults = {each["name"]: each.get("default") for each in face["signature"]}
    assert defaults["some"] == {"kind": "frozenset", "of": ["a", "b"]}
    assert defaults["members"] == {"kind": "set", "of": ["1", 8]}


def test_a_class_has_the_ports_of_the_real_one(made: Callable[..., Any], module: str) -> None:
    """In the form in which they were declared, with dtypes as far as these are known here."""
    found, declared = made("Odd"), real(module, "Odd")
    assert {key: str(port) for key, port in read_ports(found, "INPUT_SPECS").items()} == {
        key: str(port) for key, port in read_ports(declared, "INPUT_SPECS").items()
    }
    specs = found.INPUT_SPECS
    assert specs["several"] == [PortSpec("float32", (-1, "bands"), "the cubes", optional=True)]
    plain = {"dtype": np.uint8, "shape": (2, 3), "description": "", "optional": False, "variadic": False}
    assert specs["plain"] == plain
    assert (specs["flags"].dtype, specs["words"].dtype) == (np.bool_, str)
    assert {name: specs[name].dtype for name in ("path", "level", "of_numpy", "union", "text")} == {
        "path": "Path",
        "level": "Level",
        "of_numpy": "numpy.int16",
        "union": "any",
        "text": "np.float32",
    }


def test_a_class_has_the_metadata_of_the_real_one(made: Callable[..., Any], module: str) -> None:
    """What that has of the base class is no declaration; of tiles what counts from elsewhere."""
    odd, other = made("Odd"), made("Other")
    assert (odd.EXECUTION_STAGES, odd.STATE, odd._tags) == (("train",), ("a", "b"), frozenset({NodeTag.HYPERSPECTRAL}))
    assert (odd.per_pixel, "halo" in vars(odd), "halo" in vars(other)) == (True, False, False)
    assert not {"EXECUTION_STAGES", "_tags", "_category"} & set(vars(other))
    assert (odd.__doc__, odd.forward.__doc__, other.__doc__) == (real(module, "Odd").__doc__, "Say nothing.", None)
    assert ("reset" in vars(odd), "reset" in vars(other)) == (True, False)
    assert odd.reset.__name__ == "reset"


@pytest.mark.parametrize(
    ("node", "torch", "parameters"),
    [
        ("Odd", True, ["self", "several", "plain", "context", "more"]),
        ("Odd", False, ["self", "several", "plain", "more"]),
        ("Other", True, ["self"]),
    ],
)
def test_torch_nodes_that_take_any_keyword_are_given_the_context(
    made: Callable[..., Any], node: str, *, torch: bool, parameters: list[str]
) -> None:
    """As a pipeline does with those of this process."""
    found = inspect.signature(made(node, torch=torch).forward)
    assert list(found.parameters) == parameters
    assert "context" not in parameters or found.parameters["context"].default is None


def test_a_torch_node_that_names_the_context_has_it_once(made: Callable[..., Any]) -> None:
    """Where it stands in its own signature."""
    told = [{"name": "context", "kind": "KEYWORD_ONLY"}, {"name": "more", "kind": "VAR_KEYWORD"}]
    assert list(inspect.signature(made("Odd", torch=True, forward=told).forward).parameters) == ["context", "more"]


def write_distribution(folder: Path, name: str, points: str, group: str = "cuvis_ai.nodes") -> None:
    """Write the metadata of a distribution with entry points."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text(f"[{group}]\n{points}")


def test_entry_points_of_the_plugin_contribute_too(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its distribution alone; a class that is declared twice is there once, as it was declared first."""
    write_distribution(tmp_path / "first", "mine", f"Again = {module}:Again\nhooks = {module}:hooks\n")
    write_distribution(tmp_path / "second", "mine", f"hooks = {module}:nothing\nLevel = {module}:Level\n", "others")
    write_distribution(tmp_path / "third", "theirs", f"Nothing = {module}:Nothing\n")
    write_distribution(tmp_path / "fourth", "mine", "hooks = no.such:hooks\n")
    for each in ("fourth", "third", "second", "first"):
        monkeypatch.syspath_prepend(tmp_path / each)
    told = describe_nodes("p", "mine", [f"{module}.Odd"])
    assert list(told["classes"]) == [f"{module}.Odd", f"{module}.Other"]
    assert told["config_dirs"] == ["/some/configs", "/more"]
    assert told["not_served"] == ["cuvis_ai_cube_readers"]
    assert list(describe_nodes("p", "", [f"{module}.Other"])["classes"]) == [f"{module}.Other"]
    write_distribution(tmp_path / "fifth", "bad", f"Level = {module}:level\n")
    monkeypatch.syspath_prepend(tmp_path / "fifth")
    with pytest.raises(AttributeError, match="level"):
        describe_nodes("p", "bad", [])
    write_distribution(tmp_path / "sixth", "worse", f"level = {module}:Level\n")
    monkeypatch.syspath_prepend(tmp_path / "sixth")
    with pytest.raises(HookError, match="contributes neither a node class nor a hook"):
        describe_nodes("p", "worse", [])


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("{}.Missing", InvalidNodeError, "has no 'Missing'"),
        ("{}.Level", InvalidNodeError, "Level"),
        ("{}.sub.Node", InvalidNodeError, "has no module '{}.sub'; in '{}' it has: none"),
        ("{}x.Node", InvalidNodeError, "the plugin has no module '{}x'; at its top it has: {}"),
        ("importing_{}.Node", ModuleNotFoundError, "No module named 'a_library_of_its_own'"),
    ],
)
def test_a_class_that_is_not_there_is_told_with_what_is(
    module: str, tmp_path: Path, path: str, error: type[Exception], said: str
) -> None:
    """Another module that is missing is none of the plugin's."""
    (tmp_path / f"importing_{module}.py").write_text("import a_library_of_its_own")
    with pytest.raises(error) as caught:
        describe_nodes("p", "", [path.format(module)])
    assert said.format(*[module] * said.count("{}")) in str(caught.value)
