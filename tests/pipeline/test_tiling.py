"""Runs tile by tile: the numbers of one piece, with the memory of a tile."""

import itertools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_hookspecs import hookimpl
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.builtin.anomaly import RXDetector
from cuvis_ai_core.data import Cube
from cuvis_ai_core.errors import InvalidNodeError, NodeRunError, PipelineError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.tiling.memory_limit import default_memory, free_memory, machine_memory, parse_memory
from cuvis_ai_core.pipeline.tiling.threads import thread_count
from cuvis_ai_core.pipeline.tiling.windows import cut

Array = Any
CUBE = PortSpec(np.floating, (-1, -1, -1, -1))
_BYTES_PER_VALUE = 64


class Recording(ArrayNode):
    """Notes what it gets."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, cube: Array) -> dict[str, Array]:
        """Double it."""
        self.seen.append(tuple(cube.shape))
        return {"cube": cube * 2}


class PerPixel(Recording):
    """Each pixel for itself."""

    per_pixel = True

    def forward(self, cube: Array) -> dict[str, Array]:
        """Add one."""
        self.seen.append(tuple(cube.shape))
        return {"cube": cube + 1}


class Derived(PerPixel):
    """Computes otherwise than what it derives from, and says nothing of tiles."""

    def forward(self, cube: Array) -> dict[str, Array]:
        """Take the mean away."""
        self.seen.append(tuple(cube.shape))
        return {"cube": cube - cube.mean()}


class Blur(Recording):
    """The mean of a pixel and its neighbours that are there."""

    def __init__(self, reach: int = 1, name: str | None = None) -> None:
        super().__init__(name)
        self.halo = self._reach = reach

    def forward(self, cube: Array) -> dict[str, Array]:
        """Average."""
        self.seen.append(tuple(cube.shape))
        total, count = np.zeros(cube.shape), np.zeros(cube.shape)
        height, width = cube.shape[1:3]
        reach = range(-self._reach, self._reach + 1)
        for down in reach:
            for right in reach:
                rows = slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right))
                back = slice(max(0, -down), height + min(0, -down)), slice(max(0, -right), width + min(0, -right))
                total[:, rows[0], rows[1]] += cube[:, back[0], back[1]]
                count[:, rows[0], rows[1]] += 1
        return {"cube": (total / count).astype(cube.dtype)}


class Liar(Recording):
    """Says that it needs a pixel alone, and counts them."""

    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"count": PortSpec(np.int64, (1,))}
    per_pixel = True

    def forward(self, cube: Array) -> dict[str, Array]:
        """Count."""
        return {"count": np.array([cube[..., 0].size])}


class Gathering(PerPixel):
    """Counts the pixels of the image, with all methods that there are for statistics."""

    def forward(self, cube: Array) -> dict[str, Array]:
        """Add the count."""
        return self.forward_tile(self.tile_statistics(cube), cube)

    def tile_statistics(self, cube: Array) -> dict[str, int]:
        """Count."""
        return {"pixels": cube[..., 0].size}

    def merge_statistics(self, left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        """Add up."""
        return {**left, "pixels": left["pixels"] + right["pixels"]}

    def statistics_complete(self, statistics: dict[str, int]) -> bool:
        """Tell that all tiles count."""
        return False

    def statistics_rough(self, statistics: dict[str, int]) -> bool:
        """Tell that another look is needed, once."""
        return "looks" not in statistics

    def refine_statistics(self, statistics: dict[str, int], cube: Array) -> dict[str, int]:
        """Count again."""
        return {**self.tile_statistics(cube), "looks": 2}

    def forward_tile(self, statistics: dict[str, int], cube: Array) -> dict[str, Array]:
        """Add the count."""
        return {"cube": cube + statistics["pixels"]}


class Told:
    """Keeps what is told of nodes: their starts, and their failures with the errors."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, BaseException | None]] = []

    @hookimpl
    def cuvis_ai_node_started(self, node: str) -> None:
        """Keep it."""
        self.lines.append((node, None))

    @hookimpl
    def cuvis_ai_node_failed(self, node: str, error: BaseException) -> None:
        """Keep it."""
        self.lines.append((node, error))


def _observed(last: Any, told: object) -> NodeRunError:
    """Return how a run of two nodes in one thread fails, of which an observer is told."""
    with NodeRegistry() as registry:
        registry.register_hooks(told)
        pipeline = Pipeline("p", node_registry=registry)
        pipeline.connect((PerPixel("first").outputs.cube, last.inputs.cube))
        with pytest.raises(NodeRunError) as caught:
            pipeline.forward_tiled({"cube": np.zeros((1, 5, 4, 2))}, memory=_memory(8, 2, 1))
    return caught.value


def _pipeline(*nodes: Any) -> Pipeline:
    pipeline = Pipeline()
    for first, second in itertools.pairwise(nodes):
        pipeline.connect((first.outputs.cube, second.inputs.cube))
    return pipeline


def _built(text: Mapping[str, Any]) -> Pipeline:
    return Pipeline.from_dict(text)


def _memory(pixels: int, channels: int, threads: int | None = None) -> int:
    """Return the memory in which a tile has so many pixels, in each thread: by default one for each core."""
    return _BYTES_PER_VALUE * pixels * channels * (threads or thread_count())


FIVE: dict[str, Any] = {
    "nodes": [
        {"name": "scaler", "class_name": "MinMaxNormalizer", "params": {"per_channel": True}},
        {"name": "detector", "class_name": "RXDetector"},
        {"name": "decider", "class_name": "QuantileDecider", "params": {"quantile": 0.9}},
        {"name": "angles", "class_name": "SpectralAngleMapper"},
        {"name": "colour", "class_name": "WavelengthSelector", "params": {"targets": [500.0, 600.0]}},
    ],
    "edges": [
        {"from": "scaler.cube", "to": "detector.cube"},
        {"from": "detector.scores", "to": "decider.scores"},
        {"from": "scaler.cube", "to": "colour.cube"},
    ],
}


@st.composite
def _cubes(draw: st.DrawFn) -> Cube:
    """Return a cube of any type, with pixels and bands without data."""
    height, width, channels = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(2, 5))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    data = random.normal(1000, 100, (height, width, channels)) * random.uniform(0.1, 9, channels)
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]))
    data = (data / data.max() * 250).astype(dtype) if dtype == "uint8" else data.astype(dtype)
    if data.dtype.kind == "f":
        missing = draw(st.sampled_from([0.0, 0.1, 0.6]))
        data[random.random(data.shape[:2]) < missing] = np.nan
        if draw(st.booleans()):
            data[..., random.integers(1, channels)] = np.nan
        if draw(st.booleans()):
            data[: height // 2] = np.nan
    good = np.ones(channels, bool)
    good[-1] = channels < 4 or draw(st.booleans())
    return Cube(data, np.linspace(500, 520, channels), good_bands=good)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(_cubes(), st.integers(1, 90), st.randoms(use_true_random=False))
def test_built_in_nodes(cube: Cube, pixels: int, random: Any) -> None:
    """The built-in nodes give tile by tile what they give in one piece: any tiles, types, masks."""
    channels = cube.data.shape[-1]
    reference = np.array([random.uniform(0.5, 2) for _ in range(channels)])
    config = {**FIVE, "nodes": [dict(each) for each in FIVE["nodes"]]}
    config["nodes"][4]["params"] = {"targets": [500.0]}
    pipeline = _built(config)
    keep = ["scaler.cube", "detector.scores", "angles.angles", "colour.image", "colour.wavelengths"]
    whole = pipeline.forward({**cube.batch(), "reference": reference}, keep_ports=keep)
    tiled = pipeline.forward_tiled(
        {**cube.tiles(), "reference": reference}, keep_ports=keep, memory=_memory(pixels, channels)
    )
    assert list(tiled) == list(whole)
    for address, value in whole.items():
        assert tiled[address].dtype == value.dtype
        assert_allclose(tiled[address], value, rtol=1e-5, atol=1e-9, err_msg=str(address))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 30), st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_neighbours(height: int, width: int, pixels: int, reaches: list[int]) -> None:
    """Nodes that look at neighbours get them across the edges of tiles, in a chain too, and none beyond the image."""
    cube = np.random.default_rng(height * 12 + width).normal(size=(1, height, width, 2))
    pipeline = _pipeline(PerPixel("first"), *(Blur(reach, f"blur{number}") for number, reach in enumerate(reaches)))
    expected = pipeline.forward({"cube": cube})
    found = pipeline.forward_tiled({"cube": cube}, keep_ports=list(expected), memory=_memory(pixels, 2))
    for address, value in expected.items():
        assert_allclose(found[address], value, rtol=1e-12)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 500), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_windows(height: int, width: int, pixels: int, chunk: tuple[int, int]) -> None:
    """Windows cover each pixel of an image once, and are as small as is asked for, but for chunks."""
    times = np.zeros((height, width), int)
    for window in cut(height, width, pixels, chunk):
        times[window.slices] += 1
        assert window.size[0] * window.size[1] <= max(pixels, min(chunk[0], height) * min(chunk[1], width))
    assert (times == 1).all()


def test_whole_images_between(caplog: pytest.LogCaptureFixture) -> None:
    """A node that says nothing gets whole images between nodes of tiles; it is warned of beyond the memory."""
    before, whole, after = PerPixel("before"), Recording("whole"), PerPixel("after")
    pipeline = _pipeline(before, whole, after)
    cube = np.arange(2 * 6 * 5 * 3, dtype=np.float32).reshape(2, 6, 5, 3)
    (answer,) = pipeline.forward_tiled({"cube": cube}, memory=_memory(15, 6, 1)).values()
    assert_array_equal(answer, (cube + 1) * 2 + 1, strict=True)
    assert (before.seen, whole.seen, after.seen) == ([(2, 3, 5, 3)] * 2, [(2, 6, 5, 3)], [(2, 3, 5, 3)] * 2)
    alone = _pipeline(Recording("first"), PerPixel("second"))
    with caplog.at_level(logging.WARNING):
        alone.forward_tiled({"cube": cube}, memory=100)
    assert "node 'first' needs the whole image" in caplog.text


def test_derived_class() -> None:
    """A class that derives from one of tiles and computes otherwise gets whole images."""
    node = Derived("node")
    cube = np.arange(30.0).reshape(1, 5, 3, 2)
    pipeline = _pipeline(PerPixel("first"), node)
    (answer,) = pipeline.forward_tiled({"cube": cube}, memory=_memory(3, 2)).values()
    assert node.seen == [(1, 5, 3, 2)]
    assert_allclose(answer, pipeline.forward({"cube": cube})["node", "cube"])


def test_broken_promise() -> None:
    """An output that is no image, and differs from tile to tile, is an error that names the node and the port."""
    pipeline = _pipeline(PerPixel("first"), Liar("liar"))
    with pytest.raises(NodeRunError, match="'liar' says that it is computed by tiles, but its output 'count'"):
        pipeline.forward_tiled({"cube": np.zeros((1, 5, 4, 2))}, memory=_memory(8, 2))


class Pixels:
    """The sum of some pixels."""

    def __init__(self, count: float) -> None:
        self.count = np.array([count, np.nan])


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (float, lambda cube: float(cube.sum())),
        (str, lambda cube: f"sum {cube.sum()}"),
        (list, lambda cube: [cube.sum(), float("nan")]),
        (dict, lambda cube: {"values": {"count": np.array([cube.sum(), np.nan])}}),
        (object, lambda cube: Pixels(cube.sum())),
    ],
)
def test_values_of_any_type_that_differ_from_tile_to_tile(kind: type, count: Callable[[Array], Any]) -> None:
    """Are refused; one that is the same for each is the answer, also where it holds what is no number."""

    class Counting(PerPixel):
        OUTPUT_SPECS: ClassVar = {**PerPixel.OUTPUT_SPECS, "count": PortSpec(kind, ())}
        per_pixel = True
        of_tile = True

        def forward(self, cube: Array) -> dict[str, Any]:
            return {**super().forward(cube), "count": count(cube if self.of_tile else np.zeros(3))}

    node, cube = Counting("counting"), np.arange(40.0).reshape(1, 5, 4, 2)
    pipeline = _pipeline(PerPixel("first"), node)
    with pytest.raises(NodeRunError, match="output 'count' is no image of the tile's size, and differs"):
        pipeline.forward_tiled({"cube": cube}, memory=_memory(8, 2))
    node.of_tile = False
    pipeline.forward_tiled({"cube": cube}, memory=_memory(8, 2))


@pytest.mark.parametrize("halo", [-1, 1.5, True])
def test_wrong_halo(halo: Any) -> None:
    """A halo that is no number of pixels is refused."""
    node = Blur(name="blur")
    node.halo = halo
    with pytest.raises(InvalidNodeError, match=r"'blur'.*halo is .*; it is a number of pixels"):
        _pipeline(PerPixel("first"), node).forward_tiled({"cube": np.zeros((1, 5, 4, 2))})


def test_missing_methods() -> None:
    """Of the three methods for statistics none may be missing."""

    class Half(PerPixel):
        def tile_statistics(self, cube: Array) -> float:
            return float(cube.max())

        def forward(self, cube: Array) -> dict[str, Array]:
            return {"cube": cube}

    with pytest.raises(InvalidNodeError, match="it has tile_statistics, but no method merge_statistics"):
        _pipeline(PerPixel("first"), Half("half")).forward_tiled({"cube": np.zeros((1, 5, 4, 2))})


def test_one_piece() -> None:
    """What is no larger than a tile runs in one piece, and so does everything in other stages."""
    node = PerPixel("node")
    pipeline = _pipeline(node, PerPixel("second"))
    cube = np.zeros((1, 6, 5, 3))
    pipeline.forward_tiled({"cube": cube})
    pipeline.forward_tiled({"cube": cube}, stage="val", memory=100)
    assert node.seen == [(1, 6, 5, 3)] * 2


class Shown(ArrayNode):
    """Shows images, and has no outputs."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {}

    def forward(self, cube: Array) -> dict[str, Array]:
        """Return nothing."""
        del cube
        return {}


def test_what_a_node_without_outputs_is_given_is_a_last_output() -> None:
    """Published pipelines end in nodes that log or show: their results are those before."""
    first, second = PerPixel("a"), PerPixel("b")
    pipeline = _pipeline(first, second, Shown("shown"))
    assert pipeline.last_outputs() == (("b", "cube"),)
    assert list(pipeline.forward_tiled({"cube": np.zeros((1, 2, 2, 2))})) == [("b", "cube")]
    pipeline.connect((first.outputs.cube, Shown("early").inputs.cube))
    assert pipeline.last_outputs() == (("b", "cube"),)


class Noting(ArrayNode):
    """Answers words about a cube, and no array."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"notes": PortSpec(list, ())}

    def forward(self, cube: Array) -> dict[str, list[str]]:
        """Note its shape."""
        return {"notes": [str(cube.shape)]}


def test_what_feeds_only_nodes_without_arrays_is_last() -> None:
    """Metrics and pictures for a monitor take no result away; what lies before an array is none."""
    pipeline = Pipeline("monitored")
    first, second, notes, end = PerPixel("first"), PerPixel("second"), Noting("notes"), Shown("end")
    pipeline.connect((first.outputs.cube, second.inputs.cube), (second.outputs.cube, notes.inputs.cube))
    pipeline.connect((second.outputs.cube, end.inputs.cube), (first.outputs.cube, Noting("aside").inputs.cube))
    assert set(pipeline.last_outputs()) == {("second", "cube"), ("notes", "notes"), ("aside", "notes")}


def test_last_outputs() -> None:
    """Without a word of what to keep, only the outputs of the last nodes are answered."""
    pipeline = _built(FIVE)
    last = [("decider", "mask"), ("angles", "angles"), ("colour", "image"), ("colour", "wavelengths")]
    assert set(pipeline.last_outputs()) == set(last)
    assert list(_pipeline(PerPixel("a"), PerPixel("b")).forward_tiled({"cube": np.zeros((1, 2, 2, 2))})) == [
        ("b", "cube")
    ]


@pytest.mark.parametrize(("most", "times"), [(2**20, 1), (100, 2)])
def test_what_is_kept_for_a_later_pass_has_a_bound(monkeypatch: pytest.MonkeyPatch, most: int, times: int) -> None:
    """However much memory there is, a large value is computed again in place of being kept."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 200)
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run._MOST_SPARE", most)
    first, detector = PerPixel("first"), RXDetector(name="detector")
    pipeline = Pipeline()
    pipeline.connect((first.outputs.cube, detector.inputs.cube))
    cube = np.random.default_rng(3).normal(size=(1, 20, 30, 3)).astype(np.float32)
    pipeline.forward_tiled({"cube": cube}, memory=2**30)
    assert sum(shape[1] * shape[2] for shape in first.seen) == times * 20 * 30


def test_torch_nodes() -> None:
    """Torch nodes get tiles as tensors, in threads without gradients as well."""
    torch: Any = pytest.importorskip("torch")
    from cuvis_ai_core.node import Node

    modes: list[bool] = []

    class Layer(Node):
        INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": PortSpec(torch.float32, (-1, -1, -1, 3))}
        OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": PortSpec(torch.float32, (-1, -1, -1, 2))}
        per_pixel = True
        thread_safe = True

        def __init__(self, name: str | None = None) -> None:
            super().__init__(name)
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, cube: Any) -> dict[str, Any]:
            modes.append(torch.is_inference_mode_enabled())
            return {"cube": self.layer(cube)}

    pipeline = _pipeline(Layer("layer"), PerPixel("last"))
    cube = np.random.default_rng(1).normal(size=(1, 7, 5, 3)).astype(np.float32)
    keep = ["layer.cube", "last.cube"]
    whole = pipeline.forward({"cube": cube}, keep_ports=keep)
    found = pipeline.forward_tiled({"cube": cube}, keep_ports=keep, memory=_memory(10, 3))
    for address in whole:
        assert isinstance(found[address], np.ndarray)
        # Torch may add in another order for another number of rows: values near zero then differ by what the sum had.
        assert_allclose(found[address], whole[address], rtol=1e-6, atol=1e-6)
    assert set(modes) == {True}


def test_places_of_answers() -> None:
    """Answers are written tile by tile into places that the caller makes."""
    places: dict[Any, NDArray[Any]] = {}

    def into(address: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        return places.setdefault(address, np.zeros(shape, dtype))

    cube = Cube(np.random.default_rng(2).normal(size=(8, 7, 3)), np.array([500.0, 510, 520]))
    told: list[tuple[int, int]] = []
    pipeline = _built({"nodes": FIVE["nodes"][:4], "edges": FIVE["edges"][:2]})
    answers = pipeline.forward_tiled(
        {**cube.tiles(), "reference": np.ones(3)},
        keep_ports=["detector.scores", "decider.mask"],
        memory=_memory(14, 3),
        into=into,
        progress=lambda *at: told.append(at),
    )
    assert answers.keys() == places.keys()
    assert all(answers[each] is places[each] for each in places)
    expected = pipeline.forward({**cube.batch(), "reference": np.ones(3)})
    assert_allclose(places["detector", "scores"], expected["detector", "scores"], rtol=1e-9)
    assert_array_equal(places["decider", "mask"], expected["decider", "mask"])
    assert told[-1][0] == told[-1][1]


def test_an_error_in_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that fails in a tile fails as in one piece."""

    def fail(self: PerPixel, cube: Array) -> dict[str, Array]:
        raise ValueError("no way")

    monkeypatch.setattr(PerPixel, "forward", fail)
    with pytest.raises(NodeRunError, match="Node 'first' failed in stage 'inference': ValueError: no way"):
        _pipeline(PerPixel("first"), PerPixel("b")).forward_tiled(
            {"cube": np.zeros((1, 5, 4, 2))}, memory=_memory(4, 2)
        )


@pytest.mark.parametrize("error", [ValueError("no way"), SystemExit("no way")], ids=["error", "exit"])
@pytest.mark.parametrize(
    "method",
    [
        "tile_statistics",
        "merge_statistics",
        "statistics_complete",
        "statistics_rough",
        "refine_statistics",
        "forward_tile",
    ],
)
def test_an_error_with_statistics(method: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever method for statistics fails, the error names node, stage and line, and observers see the node fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Gathering, method, fail)
    failure = _observed(Gathering("last"), told := Told())
    words = f"{type(error).__name__}: no way"
    assert failure.message.startswith(f"Node 'last' failed in stage 'inference': {words} ({__file__}, line ")
    assert (failure.node, failure.__cause__) == ("last", error)
    assert told.lines[-2:] == [("last", None), ("last", failure)]


def test_observers_of_a_broken_promise() -> None:
    """Observers see a node fail whose output differs from tile to tile."""
    failure = _observed(Liar("liar"), told := Told())
    assert "differs from tile to tile" in failure.message
    assert [line for line in told.lines if line[1] is not None] == [("liar", failure)]


def test_runs_are_those_of_tiles() -> None:
    """Statistics that are put together are no further runs of their node, for those who count them."""
    with NodeRegistry() as registry:
        registry.register_hooks(told := Told())
        pipeline = Pipeline("p", node_registry=registry)
        pipeline.connect((PerPixel("first").outputs.cube, Gathering("last").inputs.cube))
        (answer,) = pipeline.forward_tiled({"cube": np.zeros((1, 4, 4, 2))}, memory=_memory(8, 2, 1)).values()
    assert_array_equal(answer, np.full((1, 4, 4, 2), 17.0))
    looks = 3  # for the count, the second count, and the answer
    assert [node for node, _ in told.lines].count("last") == looks * len(cut(4, 4, 8))


def test_observers() -> None:
    """Observers see one run of the pipeline, and each tile of its nodes."""
    from cuvis_ai_core.pipeline.profiler import Profiler

    with NodeRegistry() as registry:
        registry.register_hooks(profiler := Profiler())
        pipeline = Pipeline("p", node_registry=registry)
        pipeline.connect(((first := PerPixel("first")).outputs.cube, PerPixel("b").inputs.cube))
        pipeline.forward_tiled({"cube": np.zeros((1, 6, 4, 2))}, memory=_memory(8, 2))
    assert (profiler.runs, profiler.times["p", "first"].calls) == (1, len(first.seen))


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2 * 2**30), ("1.5 GB", 1_500_000_000), ("512m", 512_000_000), ("3000000", 3_000_000)]
)
def test_memory(text: str, size: int) -> None:
    """A size of memory is written with a unit or without."""
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "3", "1 PB"])
def test_wrong_memory(text: str) -> None:
    """What is no size of memory is refused, with an example."""
    with pytest.raises(PipelineError, match="Write it as 2GiB") as caught:
        parse_memory(text)
    assert text in str(caught.value)


def test_default_memory() -> None:
    """Without a word, a quarter of the free memory is used."""
    import psutil

    assert 2**20 <= default_memory() <= psutil.virtual_memory().total / 4


def test_the_memory_of_a_control_group_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it may have, less what it has; a run asks for the least that there is to be even where nothing is left."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.memory_limit._GROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{2**24}\n")
    (tmp_path / "memory.current").write_text(f"{2**23}\n")
    assert (machine_memory(), free_memory(), default_memory()) == (2**24, 2**23, 2**21)
    (tmp_path / "memory.current").write_text(f"{2**25}\n")
    assert (free_memory(), default_memory()) == (0, 2**20)
    assert parse_memory("1MiB") == 2**20


@pytest.mark.parametrize("pixels", [4, 1000])
def test_an_answer_of_one_piece_is_written_to_its_place_too(pixels: int) -> None:
    """Whether or not the image is larger than a tile, the place that was made holds all of it."""
    places: dict[Any, NDArray[Any]] = {}
    cube = np.random.default_rng(1).normal(size=(1, 5, 4, 2))
    _pipeline(PerPixel("first"), Recording("last")).forward_tiled(
        {"cube": cube},
        memory=_memory(pixels, 2),
        into=lambda address, shape, dtype: places.setdefault(address, np.zeros(shape, dtype)),
    )
    assert_allclose(places["last", "cube"], (cube + 1) * 2)
