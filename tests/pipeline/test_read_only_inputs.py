"""What a node is given is not its own: if it writes into it, that is an error, and nobody reads what it wrote."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvis_ai_core.errors import NodeRunError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import Node  # noqa: E402

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]
Write = Callable[[Any], object]

CUBE = PortSpec(np.float32, (-1, -1, -1, -1))
TENSOR = PortSpec(torch.float32, (-1, -1, -1, -1))
LARGE = (1, 60, 60, 20)


def _through_a_view(cube: Any) -> None:
    flat = cube.reshape(-1)
    flat[flat < 5] = 7


def _in_place(cube: Any) -> None:
    cube *= 0


OF_NUMPY: dict[str, Write] = {
    "operator": _in_place,
    "index": lambda cube: cube.__setitem__((0, 0), 9),
    "view": _through_a_view,
    "out": lambda cube: np.add(cube, 1, out=cube),
    "method": lambda cube: cube.fill(9),
    "library": lambda cube: np.random.default_rng(0).shuffle(cube, axis=3),
    "no copy": lambda cube: np.copyto(cube, 9),
}
OF_TORCH: dict[str, Write] = {
    "operator": _in_place,
    "index": lambda cube: cube.__setitem__((0, 0), 9),
    "view": _through_a_view,
    "out": lambda cube: torch.add(cube, 1, out=cube),
    "method": lambda cube: cube.mul_(0),
    "past the count": lambda cube: cube.data.mul_(0),
    "as an array": lambda cube: np.negative(cube.numpy(), out=cube.numpy()),
    "form": lambda cube: cube.squeeze_(0),
}


class Add(Node):
    """One more, of tensors."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": TENSOR}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": TENSOR}

    def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
        """Return the sum."""
        return {"cube": cube + 1}


def writer(base: type, write: Write) -> type:
    """Return a node class that writes into its input, and returns something else."""

    def forward(self: Any, cube: Any) -> dict[str, Any]:
        made = cube + 0
        write(cube)
        return {"cube": made}

    port = TENSOR if base is Node else CUBE
    return type("Writer", (base,), {"INPUT_SPECS": {"cube": port}, "OUTPUT_SPECS": {"cube": port}, "forward": forward})


def filled(shape: tuple[int, ...]) -> Any:
    """Return a cube of different numbers."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def refused(pipeline: Pipeline, given: Any, **how: Any) -> NodeRunError:
    """Return the error of a run."""
    with pytest.raises(NodeRunError) as error:
        pipeline.forward({"cube": given}, **how)
    return error.value


@pytest.mark.parametrize("kind", OF_NUMPY)
def test_what_a_caller_handed_in_stays_as_it_was(pipeline_of: PipelineOf, registry: Any, kind: str) -> None:
    """NumPy refuses the write itself; the error has the author's line, who else has the array, and what to write."""
    registry.classes["Writer"] = writer(ArrayNode, OF_NUMPY[kind])
    cube = filled((1, 3, 3, 4))
    error = refused(pipeline_of({"w": "Writer", "b": "Scale"}), cube)
    assert (error.node, error.port) == ("w", "cube")
    assert error.readers == ("whoever handed in 'cube'", "node 'b'")
    assert f"Node 'w' writes into its input 'cube' ({__file__}, line " in error.message
    assert "cube = cube.copy()" in str(error.hint)
    np.testing.assert_array_equal(cube, filled(cube.shape))


def test_neighbours_in_memory_have_not_the_same_values(pipeline_of: PipelineOf, registry: Any) -> None:
    """Parts of one array that touch, and do not overlap, are those of others."""
    registry.classes["Writer"] = writer(ArrayNode, OF_NUMPY["operator"])
    pipeline = pipeline_of({"w": "Writer", "b": "Scale", "c": "Scale"})
    whole = filled((3, 3, 3, 4))
    with pytest.raises(NodeRunError) as error:
        pipeline.forward({"b.cube": whole[:1], "w.cube": whole[1:2], "c.cube": whole[2:]})
    assert error.value.readers == ("whoever handed in 'w.cube'",)


@pytest.mark.parametrize("shape", [(1, 3, 3, 4), LARGE])
@pytest.mark.parametrize("kind", OF_TORCH)
@pytest.mark.parametrize("how", [{}, {"stage": "train"}, {"keep_ports": ["b.cube"]}])
def test_a_tensor_that_was_written_is_an_error(
    pipeline_of: PipelineOf, registry: Any, kind: str, shape: tuple[int, ...], how: dict[str, Any]
) -> None:
    """Whoever made it, with gradients and without, and also past what torch counts."""
    registry.classes |= {"Writer": writer(Node, OF_TORCH[kind]), "Add": Add}
    pipeline = pipeline_of({"a": "Add", "w": "Writer", "b": "Add"}, "a.cube -> w.cube", "a.cube -> b.cube")
    for cube in (filled(shape), torch.from_numpy(filled(shape))):
        error = refused(pipeline, cube, **how)
        assert (error.node, error.port) == ("w", "cube")
        assert {"node 'a'", "node 'b'"} <= set(error.readers)
        assert "cube = cube.clone()" in str(error.hint)


@pytest.mark.parametrize("base", [ArrayNode, Node])
def test_the_only_reader_does_not_write_into_an_answer(pipeline_of: PipelineOf, registry: Any, base: type) -> None:
    """What the node before it answers would be another value than it computed."""
    registry.classes |= {"Writer": writer(base, _in_place), "Add": Add}
    first = "Scale" if base is ArrayNode else "Add"
    error = refused(pipeline_of({"a": first, "w": "Writer"}, "a.cube -> w.cube"), filled((1, 3, 3, 4)))
    assert error.readers == ("node 'a'", "the result 'a.cube'")


def test_a_view_of_what_others_read_is_theirs(pipeline_of: PipelineOf, registry: Any, make_class: MakeClass) -> None:
    """A node may return a part of its input, or all of it; nodes behind it cannot write into that either."""
    registry.classes["Writer"] = writer(ArrayNode, _in_place)
    make_class(
        "Part",
        lambda self, cube: {"part": cube[..., :2], "all": cube, "again": cube},
        {"cube": CUBE},
        {"part": CUBE, "all": CUBE, "again": CUBE},
    )
    cube = filled((1, 3, 3, 4))
    answer = pipeline_of({"p": "Part", "s": "Scale"}, "p.part -> s.cube").forward({"cube": cube})
    np.testing.assert_array_equal(answer["s", "cube"], cube[..., :2] * 2)
    np.testing.assert_array_equal(answer["p", "again"], cube)
    pipeline = pipeline_of({"p": "Part", "w": "Writer", "s": "Scale"}, "p.part -> w.cube", "p.all -> s.cube")
    assert "node 's'" in refused(pipeline, cube).readers
    np.testing.assert_array_equal(cube, filled(cube.shape))


def test_a_part_of_an_array_becomes_a_tensor_without_a_copy(
    pipeline_of: PipelineOf, registry: Any, make_class: MakeClass
) -> None:
    """That it was lent to the node that took the part costs nothing."""
    seen: list[Any] = []

    def look(self: Any, cube: Any) -> dict[str, Any]:
        seen.append(cube)
        return {"cube": cube}

    registry.classes["Add"] = type("Look", (Add,), {"forward": look})
    make_class("Part", lambda self, cube: {"cube": cube[..., :2]}, {"cube": CUBE}, {"cube": CUBE})
    cube = filled((1, 3, 3, 4))
    pipeline_of({"p": "Part", "a": "Add"}, "p.cube -> a.cube").forward({"cube": cube})
    assert seen[0].data_ptr() == cube.ctypes.data


def test_lists_and_mappings_are_lent_too(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """A node that empties its list empties no other's; the arrays in it cannot be written."""
    anything = {"dtype": object, "shape": ()}

    def take(self: Any, found: Any) -> dict[str, Any]:
        found["names"].append("x")
        return {"count": found.pop("arrays").pop().sum()}

    make_class("Take", take, {"found": anything}, {"count": anything})

    def zero(self: Any, found: Any) -> dict[str, Any]:
        _in_place(found["arrays"][0])
        return {"count": 0}

    make_class("Zero", zero, {"found": anything}, {"count": anything})
    found: dict[str, Any] = {"arrays": [np.ones(3)], "names": ["a"]}
    answer = pipeline_of({"a": "Take", "b": "Take"}).forward({"found": found})
    assert (answer["a", "count"], answer["b", "count"], found["names"]) == (3, 3, ["a"])
    with pytest.raises(NodeRunError, match="writes into its input 'found'"):
        pipeline_of({"z": "Zero"}).forward({"found": found})
    assert found["arrays"][0].sum() == 3


def test_a_node_that_fails_to_write_elsewhere_is_not_accused(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """Into an array of its own that nobody can write."""

    def forward(self: Any, cube: Any) -> dict[str, Any]:
        own = np.broadcast_to(np.float32(1), cube.shape)
        own[0] = 2
        return {"cube": own}

    make_class("Own", forward, {"cube": CUBE}, {"cube": CUBE})
    with pytest.raises(
        NodeRunError, match="failed in stage 'inference': ValueError: assignment destination is read-only"
    ):
        pipeline_of({"o": "Own"}).forward({"cube": filled((1, 2, 2, 3))})


def test_a_torch_node_has_arrays_of_numpy_to_itself(pipeline_of: PipelineOf, registry: Any) -> None:
    """It makes tensors of them, for which torch takes only what can be written; the caller's stay."""

    class Tensors(Add):
        INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": TENSOR, "wavelengths": PortSpec(np.int32, (-1,))}

        def forward(self, cube: Any, wavelengths: Any) -> dict[str, Any]:  # type: ignore[override]
            torch.from_numpy(wavelengths).mul_(0)
            return {"cube": cube + 1}

    registry.classes["Tensors"] = Tensors
    wavelengths = np.array([400, 500, 600], np.int32)
    pipeline_of({"t": "Tensors"}).forward({"cube": filled((1, 2, 2, 3)), "wavelengths": wavelengths})
    assert wavelengths.tolist() == [400, 500, 600]


def test_observed_runs_lend_as_well(pipeline_of: PipelineOf, registry: Any) -> None:
    """Somebody who looks changes nothing of this."""

    class Looking:
        def cuvis_ai_node_started(self, node: str) -> None:
            """Look."""

    from cuvis_ai_hookspecs import hookimpl

    Looking.cuvis_ai_node_started = hookimpl(Looking.cuvis_ai_node_started)  # type: ignore[method-assign]
    registry.hooks.register(Looking(), "looking")
    registry.classes["Writer"] = writer(ArrayNode, _in_place)
    assert refused(pipeline_of({"w": "Writer"}), filled((1, 2, 2, 3))).port == "cube"


def test_a_masked_array_that_a_node_returns_becomes_a_plain_one(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """With NaN where it is masked, as one that is handed in: the next node and the results see no value below."""
    make_class("Mask", lambda self, cube: {"cube": np.ma.masked_equal(cube, 2)}, {"cube": CUBE}, {"cube": CUBE})
    answer = pipeline_of({"m": "Mask", "s": "Scale"}, "m.cube -> s.cube").forward({"cube": filled((1, 2, 2, 1))})
    for node, factor in (("m", 1), ("s", 2)):
        assert type(answer[node, "cube"]) is np.ndarray
        np.testing.assert_array_equal(answer[node, "cube"].ravel(), np.array([0, 1, np.nan, 3]) * factor)


@pytest.mark.parametrize(
    "make",
    [
        lambda cube: cube.transpose(1, 2)[:, ::2],
        lambda cube: cube[:1].expand(3, *cube.shape[1:]),
        lambda cube: torch.complex(cube, cube + 1).conj(),
        lambda cube: torch.complex(cube, cube + 1).conj().imag,
        lambda cube: cube.bfloat16(),
        lambda cube: cube > 5,
        lambda cube: cube.to_sparse(),
        lambda cube: cube[:0],
    ],
)
def test_any_tensor_is_lent_as_it_is(pipeline_of: PipelineOf, registry: Any, make: Callable[[Any], Any]) -> None:
    """Whatever its memory looks like, the next node has the same values."""
    seen: list[Any] = []
    anything = {"value": PortSpec(torch.Tensor, (-1, -1, -1, -1))}

    class Make(Node):
        INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": TENSOR}
        OUTPUT_SPECS: ClassVar[dict[str, Any]] = anything

        def forward(self, cube: Any) -> dict[str, Any]:
            return {"value": make(cube + 0)}

    class Look(Node):
        INPUT_SPECS: ClassVar[dict[str, Any]] = anything

        def forward(self, value: Any) -> dict[str, Any]:
            seen.append(value)
            return {}

    registry.classes |= {"Make": Make, "Look": Look}
    cube = torch.from_numpy(filled(LARGE))
    pipeline_of({"m": "Make", "l": "Look"}, "m.value -> l.value").forward({"cube": cube})
    expected, (found,) = make(cube), seen
    assert (found.dtype, found.shape, found.layout) == (expected.dtype, expected.shape, expected.layout)
    assert torch.equal(*(each.to_dense() if each.is_sparse else each for each in (found, expected)))


def test_readers_of_a_tensor_without_memory_of_its_own(pipeline_of: PipelineOf, registry: Any) -> None:
    """Of what lies elsewhere, as on a GPU or sparse, the graph tells who has it."""
    anything = {"value": PortSpec(torch.Tensor, (-1, -1, -1, -1))}

    class Sparse(Add):
        OUTPUT_SPECS: ClassVar[dict[str, Any]] = anything

        def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
            return {"value": cube.to_sparse()}

    class Zero(Node):
        INPUT_SPECS: ClassVar[dict[str, Any]] = anything

        def forward(self, value: Any) -> dict[str, Any]:
            value.mul_(0)
            return {}

    registry.classes |= {"Sparse": Sparse, "Zero": Zero}
    error = refused(pipeline_of({"s": "Sparse", "z": "Zero"}, "s.value -> z.value"), filled((1, 2, 2, 3)), stage="val")
    assert error.readers == ("node 's'", "the result 's.value'")


@pytest.mark.parametrize("size", [2, 200])
def test_a_tensor_that_gave_up_its_memory_crashes_nothing(pipeline_of: PipelineOf, registry: Any, size: int) -> None:
    """As wrappers do that load weights when they are needed: it has a shape, and no values."""

    class Empty(Add):
        def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
            made = cube + 1
            made.untyped_storage().resize_(0)
            return {"cube": made}

    registry.classes |= {"Empty": Empty, "Shape": type("Shape", (Add,), {"forward": lambda self, cube: {"cube": cube}})}
    pipeline = pipeline_of({"e": "Empty", "s": "Shape"}, "e.cube -> s.cube")
    for _ in range(20):  # nothing compared with nothing is nothing, each time
        assert pipeline.forward({"cube": filled((1, size, size, 3))})["s", "cube"].shape == (1, size, size, 3)


def test_a_disk_that_is_read_only_is_no_write_into_an_input(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """Nor is an exception whose text cannot be shown anything else than a failure."""

    class OddError(ValueError):
        def __str__(self) -> str:
            raise RuntimeError

    for error in (OSError(30, "Read-only file system"), OddError()):

        def forward(self: Any, cube: Any, error: Exception = error) -> dict[str, Any]:
            raise (cube.sum(), error)[1]

        make_class("Save", forward, {"cube": CUBE})
        with pytest.raises(NodeRunError, match="Node 's' failed in stage 'inference'"):
            pipeline_of({"s": "Save"}).forward({"cube": filled((1, 2, 2, 3))})


def _terms(base: type, act: Callable[[Any], Any]) -> type:
    """Return a node class that makes something of the sum of a cube and of what comes by edges."""
    port: Any = np.float32 if base is ArrayNode else torch.float32

    def forward(self: Any, cube: Any, terms: Any = ()) -> dict[str, Any]:
        return {"out": act([cube, *terms])}

    specs = {"cube": PortSpec(port, (3,)), "terms": {"dtype": port, "shape": (3,), "optional": True, "variadic": True}}
    return type(
        "Terms",
        (base,),
        {"INPUT_SPECS": specs, "OUTPUT_SPECS": {"out": PortSpec(port, (3,))}, "forward": forward},
    )


class Classes:
    """A registry of three classes: a sum, a view of what came last, and one that writes into one of its inputs."""

    def __init__(self, base: type, write: Write, which: int) -> None:
        self._classes = {
            "Sum": _terms(base, lambda terms: sum(terms[1:], terms[0] + 1)),
            "View": _terms(base, lambda terms: terms[-1][:]),
            "Write": _terms(base, lambda terms: (sum(terms[1:], terms[0] + 1), write(terms[which % len(terms)]))[0]),
        }

    def get(self, name: str) -> type:
        """Return the class of that name."""
        return self._classes[name]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Graphs of up to seven nodes, one of which writes into what it is given."""
    count = draw(st.integers(1, 7))
    pairs = [(source, target) for target in range(count) for source in range(target)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    kinds = [draw(st.sampled_from(["Sum", "View"])) for _ in range(count)]
    kinds[draw(st.integers(0, count - 1))] = "Write"
    nodes = [{"name": f"n{number}", "class_name": kind} for number, kind in enumerate(kinds)]
    edges = [{"source": f"n{source}.out", "target": f"n{target}.terms"} for source, target in chosen]
    return {"nodes": nodes, "edges": edges}


@pytest.mark.parametrize("base", [ArrayNode, pytest.param(Node, marks=pytest.mark.slow)])
@settings(max_examples=150)
@given(graphs(), st.data())
def test_a_write_is_an_error_or_changes_nothing(base: type, config: dict[str, Any], data: st.DataObject) -> None:
    """Whatever the graph, the way of writing and the input: all others answer as if it had not been, or nobody does."""
    writes = OF_NUMPY if base is ArrayNode else OF_TORCH
    one = {name: writes[name] for name in ("operator", "view", "out", "method")}
    write = data.draw(st.sampled_from([*one.values(), lambda _: None]))
    registry: Any = Classes(base, write, data.draw(st.integers(0, 3)))
    kept = data.draw(st.sampled_from([None, ["n0.out"]]))
    as_if: Any = Classes(base, lambda _: None, 0)
    cube = np.array([1.0, 2, 3], np.float32)
    handed = cube.copy() if base is ArrayNode or data.draw(st.booleans()) else torch.from_numpy(cube.copy())
    expected = Pipeline.from_dict(config, node_registry=as_if).forward({"cube": cube.copy()}, keep_ports=kept)
    try:
        answer = Pipeline.from_dict(config, node_registry=registry).forward({"cube": handed}, keep_ports=kept)
    except NodeRunError as error:
        answer = {}
        refused = "writes into its input" in str(error)
    else:
        refused = False
    if refused:
        return
    assert np.array_equal(handed, cube)
    assert {name: value.tolist() for name, value in answer.items()} == {
        name: value.tolist() for name, value in expected.items()
    }
