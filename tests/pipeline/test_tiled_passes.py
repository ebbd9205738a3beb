"""What a run by tiles does in each pass: how large its tiles are, what it keeps, gathers, hands on and tells."""

import gc
import itertools
import weakref
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from threading import Event
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from numpy.testing import assert_allclose, assert_array_equal

from cuvis_ai_core import Pipeline
from cuvis_ai_core.data import Cube
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.tiling.memory_limit import free_memory
from cuvis_ai_core.pipeline.tiling.threads import in_order

Array = Any
CUBE = PortSpec(np.floating, (-1, -1, -1, -1))
_BYTES_PER_VALUE = 64
"""A tile takes so many bytes for each of its values."""


class Whole(ArrayNode):
    """Gets whole images, and notes their sizes."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, cube: Array) -> dict[str, Array]:
        """Add one."""
        self.seen.append(tuple(cube.shape))
        return {"cube": cube + 1}


class Tiled(Whole):
    """Gets tiles."""

    per_pixel = True

    def forward(self, cube: Array) -> dict[str, Array]:
        """Double it."""
        self.seen.append(tuple(cube.shape))
        return {"cube": cube * 2}


class Minus(ArrayNode):
    """The difference of two whole images."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE, "other": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}

    def forward(self, cube: Array, other: Array) -> dict[str, Array]:
        """Subtract."""
        return {"cube": cube - other}


class LessFirst(Tiled):
    """Takes the very first value away, which it knows after one tile."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.looks = 0

    def forward(self, cube: Array) -> dict[str, Array]:
        """Subtract."""
        return {"cube": cube - cube[0, 0, 0, 0]}

    def tile_statistics(self, cube: Array) -> float:
        """Look at the first value."""
        self.looks += 1
        return float(cube[0, 0, 0, 0])

    def merge_statistics(self, left: float, right: float) -> float:
        """Keep that of the tile that came first."""
        return left

    def statistics_complete(self, statistics: float) -> bool:
        """No other tile has another."""
        return True

    def forward_tile(self, statistics: float, cube: Array) -> dict[str, Array]:
        """Subtract."""
        return {"cube": cube - statistics}


class Refining(LessFirst):
    """Looks at the image three times."""

    def tile_statistics(self, cube: Array) -> tuple[int, float]:  # type: ignore[override]
        """Look for the first time."""
        self.looks += 1
        return 1, float(cube.max())

    def merge_statistics(self, left: Any, right: Any) -> Any:
        """The largest."""
        return max(left, right)

    def statistics_complete(self, statistics: Any) -> bool:
        """All tiles count."""
        return False

    def statistics_rough(self, statistics: Any) -> bool:
        """Look again, twice."""
        return bool(statistics[0] < 3)

    def refine_statistics(self, statistics: Any, cube: Array) -> Any:
        """Look again."""
        self.looks += 1
        return statistics[0] + 1, float(cube.max())

    def forward_tile(self, statistics: Any, cube: Array) -> dict[str, Array]:
        """Subtract the largest."""
        return {"cube": cube - statistics[1]}


def _chain(*nodes: Any) -> Pipeline:
    pipeline = Pipeline()
    for first, second in itertools.pairwise(nodes):
        pipeline.connect((first.outputs.cube, second.inputs.cube))
    return pipeline


def _image(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape)


def _memory(pixels: int, channels: int, threads: int = 1) -> int:
    return _BYTES_PER_VALUE * pixels * channels * threads


# How large tiles are


@pytest.mark.parametrize(("safe", "lines"), [(True, 2), (False, 8)])
def test_threads_share_the_memory(*, safe: bool, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where four tiles are computed at once, each has a quarter of what one would have."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run.thread_count", lambda: 4)
    first, last = Tiled("first"), Tiled("last")
    first.thread_safe = last.thread_safe = safe
    _chain(first, last).forward_tiled({"cube": np.zeros((1, 24, 5, 2))}, memory=_memory(40, 2))
    assert set(first.seen) == {(1, lines, 5, 2)}


@pytest.mark.parametrize(("halo", "tiles"), [(0, 16), (1, 4)])
def test_tiles_are_larger_where_neighbours_are_needed(halo: int, tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is memory: what lies around a tile is computed twice."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 16)
    first = Tiled("first")
    first.halo = halo
    _chain(first, Tiled("last")).forward_tiled({"cube": np.zeros((1, 16, 16, 1))}, memory=2**30)
    assert len(first.seen) == tiles


class Stored:
    """A dataset of a file in pieces of 4 lines and 6 columns."""

    chunks = (4, 6, 2)
    shape = (12, 12, 2)
    dtype = np.dtype(np.float64)

    def __getitem__(self, key: Any) -> Array:
        return _image(*self.shape)[key]


def test_tiles_of_a_file_are_of_whole_pieces_of_it() -> None:
    """No piece is read twice."""
    first = Tiled("first")
    image = Cube(Stored()).tiles()["cube"]  # type: ignore[arg-type]
    pipeline = _chain(first, Tiled("last"))
    (found,) = pipeline.forward_tiled({"cube": image}, memory=_memory(60, 2)).values()
    assert set(first.seen) == {(1, 4, 12, 2)}
    assert_array_equal(found, _image(*Stored.shape)[np.newaxis] * 4)


@pytest.mark.parametrize("lazy", [False, True])
def test_the_image_is_what_most_cubes_have_or_the_one_in_a_file(*, lazy: bool) -> None:
    """What else of four axes is handed in is no image, and is the same for each tile."""
    first, second, other = Tiled("first"), Tiled("second"), Tiled("other")
    pipeline = Pipeline()
    for node in (other, first, second):
        pipeline.connect((node.outputs.cube, Tiled(f"after_{node.name}").inputs.cube))
    image = Cube(Stored()).tiles()["cube"] if lazy else np.zeros((1, 12, 12, 2))  # type: ignore[arg-type]
    batch = {"other.cube": np.zeros((1, 1, 1, 2)), "first.cube": image}
    batch["second.cube"] = np.zeros((1, 1, 1, 2)) if lazy else np.zeros((1, 12, 12, 2))
    pipeline.forward_tiled(batch, memory=_memory(60, 2))
    assert set(other.seen) == {(1, 1, 1, 2)}
    assert set(first.seen) == {(1, 4 if lazy else 5, 12, 2), *([] if lazy else [(1, 2, 12, 2)])}


def test_the_largest_image_says_how_large_a_tile_is() -> None:
    """Of two that have other numbers of channels."""
    large, pipeline = Tiled("large"), _chain(Tiled("small"), Tiled("last"))
    pipeline.connect((large.outputs.cube, Tiled("end").inputs.cube))
    pipeline.forward_tiled(
        {"small.cube": np.zeros((1, 8, 5, 1)), "large.cube": np.zeros((1, 8, 5, 4))}, memory=_memory(10, 4)
    )
    assert set(large.seen) == {(1, 2, 5, 4)}


# What is kept


def test_a_whole_value_stays_until_its_last_whole_reader() -> None:
    """A node for whole images reads, after a pass, what another one made before it."""
    first, tiled, last = Whole("first"), Tiled("tiled"), Minus("last")
    pipeline = Pipeline()
    pipeline.connect((first.outputs.cube, last.inputs.other), (tiled.outputs.cube, last.inputs.cube))
    cube = _image(1, 6, 5, 2)
    (found,) = pipeline.forward_tiled({"first.cube": cube, "tiled.cube": cube}, memory=_memory(10, 2)).values()
    assert_allclose(found, cube * 2 - (cube + 1))


def test_a_whole_value_goes_after_its_last_reader() -> None:
    """What nobody reads any more takes no memory in the next pass."""
    made: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    class Noting(Whole):
        def forward(self, cube: Array) -> dict[str, Array]:
            made.append(weakref.ref(answer := cube + 1))
            return {"cube": answer}

    class Looking(Tiled):
        def forward(self, cube: Array) -> dict[str, Array]:
            gc.collect()
            alive.append(made[0]() is not None)
            return {"cube": cube}

        per_pixel = True

    pipeline = _chain(Noting("first"), Tiled("tiled"), Whole("second"), Looking("looking"))
    pipeline.forward_tiled({"cube": _image(1, 6, 5, 2)}, memory=_memory(10, 2))
    assert alive == [False] * 3


@pytest.mark.parametrize(("spare", "computed"), [(0, 4), (960, 3), (2000, 2)])
def test_values_for_a_later_pass_share_what_is_spare(
    spare: int, computed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two values of 960 bytes: both are kept, one, or none, and what is not kept is computed again."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run._MOST_SPARE", spare)
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 20)
    first, second = Tiled("first"), Tiled("second")
    pipeline = Pipeline()
    pipeline.connect(
        (first.outputs.cube, LessFirst("a").inputs.cube), (second.outputs.cube, LessFirst("b").inputs.cube)
    )
    for node in ("a", "b"):
        monkeypatch.setattr(pipeline.nodes[node].__class__, "statistics_complete", lambda *_: False)
    pipeline.forward_tiled({"cube": np.zeros((1, 12, 5, 2))}, memory=2**20)
    assert sum(shape[1] for shape in first.seen + second.seen) == computed * 12


def test_what_is_spare_is_a_part_of_the_memory_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """With little memory a value is computed again, and not kept."""
    monkeypatch.setattr(LessFirst, "statistics_complete", lambda *_: False)
    first = Tiled("first")
    _chain(first, LessFirst("last")).forward_tiled({"cube": np.zeros((1, 12, 5, 2))}, memory=_memory(10, 2))
    assert sum(shape[1] for shape in first.seen) == 2 * 12


# What is gathered


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("spare", [0, 2**20])
def test_statistics_that_are_complete_end_their_pass(
    *, beside: bool, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more tiles are looked at, unless others need them; and nothing is kept of a pass that was not gone through."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run._MOST_SPARE", spare)
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 20)
    last = LessFirst("last")
    pipeline = _chain(Tiled("first"), last)
    keep = ["last.cube", "first.cube"] if beside else ["last.cube"]
    cube = _image(1, 8, 5, 2)
    found = pipeline.forward_tiled({"cube": cube}, keep_ports=keep, memory=2**30)
    # Later: the memory of the right answer must not be there to be taken for an array that nobody has filled.
    expected = pipeline.forward({"cube": cube}, keep_ports=keep)
    for address, value in expected.items():
        assert_allclose(found[address], value)
    assert last.looks == (4 if beside else 1)


def test_a_rough_look_is_followed_by_others_and_progress_counts_them() -> None:
    """As many as the node asks for; the tiles that are done are never more than there are."""
    told: list[tuple[int, int]] = []
    node = Refining("node")
    cube = _image(1, 8, 5, 2)
    pipeline = _chain(Tiled("first"), node)
    (found,) = pipeline.forward_tiled(
        {"cube": cube}, memory=_memory(10, 2), progress=lambda *at: told.append(at)
    ).values()
    assert_allclose(found, cube * 2 - (cube * 2).max())
    assert node.looks == 3 * 4
    assert [done for done, _ in told] == list(range(1, 4 * 4 + 1))
    assert all(done <= total for done, total in told)
    assert told[-1] == (16, 16)


# What nodes and callers are told


@pytest.mark.parametrize("pixels", [10, 1000])
def test_the_context_reaches_nodes(pixels: int) -> None:
    """In tiles and in one piece, and nodes for whole images between."""
    heard: list[Any] = []

    class Listening(Whole):
        def forward(self, cube: Array, context: Any) -> dict[str, Array]:  # type: ignore[override]
            heard.append(context)
            return {"cube": cube}

    class ListeningTiled(Listening):
        per_pixel = True

        def forward(self, cube: Array, context: Any) -> dict[str, Array]:  # type: ignore[override]
            return super().forward(cube, context)

    context = SimpleNamespace(stage="inference", batch_idx=7)
    _chain(ListeningTiled("first"), Listening("last")).forward_tiled(
        {"cube": _image(1, 8, 5, 2)}, context=context, memory=_memory(pixels, 2)
    )
    assert heard
    assert all(each is context for each in heard)


class Counting(Tiled):
    """Says a number that is the same for each tile, and a word."""

    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        "cube": CUBE,
        "number": PortSpec(np.floating, (1,)),
        "word": PortSpec(dict, ()),
    }
    per_pixel = True

    def forward(self, cube: Array) -> dict[str, Any]:
        """Answer."""
        return {"cube": cube, "number": np.ones(1), "word": {"said": "so"}}


@pytest.mark.parametrize("into", [False, True])
def test_what_is_the_same_for_each_tile_is_an_answer(*, into: bool) -> None:
    """Arrays lie in their place, what is none is answered as it is."""
    places: dict[Any, Array] = {}
    pipeline = _chain(Tiled("first"), Counting("last"))
    found = pipeline.forward_tiled(
        {"cube": _image(1, 8, 5, 2)},
        memory=_memory(10, 2),
        into=(lambda address, shape, dtype: places.setdefault(address, np.zeros(shape, dtype))) if into else None,
    )
    assert found["last", "word"] == {"said": "so"}
    assert_array_equal(found["last", "number"], np.ones(1))
    assert places.keys() == ({("last", "cube"), ("last", "number")} if into else set())


def test_what_differs_in_its_type_differs_from_tile_to_tile() -> None:
    """Ones of another precision are other values, which one array cannot hold as they were."""

    class Changing(Counting):
        per_pixel = True

        def forward(self, cube: Array) -> dict[str, Any]:
            self.seen.append(())
            return {**super().forward(cube), "number": np.ones(1, "f4" if len(self.seen) % 4 else "f8")}

    with pytest.raises(Exception, match="its output 'number' is no image of the tile's size, and differs"):
        _chain(Tiled("first"), Changing("last")).forward_tiled({"cube": _image(1, 8, 5, 2)}, memory=_memory(10, 2))


def test_a_place_is_written_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has one place to write at."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run.thread_count", lambda: 4)
    inside, most = [0], [0]

    class File:
        def __setitem__(self, key: Any, value: Any) -> None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            gc.collect(0)  # whoever waits is let in, if anybody lets them
            Event().wait(0.002)
            inside[0] -= 1

    first, last = Tiled("first"), Tiled("last")
    first.thread_safe = last.thread_safe = True
    _chain(first, last).forward_tiled(
        {"cube": np.zeros((1, 16, 5, 2))}, memory=_memory(10, 2, 4), into=lambda *_: File()
    )
    assert most == [1]


def test_what_is_set_for_a_run_is_set_in_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in one piece: a variable of the context that whoever calls is in."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run.thread_count", lambda: 2)
    variable, heard = ContextVar("variable", default=""), set[str]()

    class Hearing(Tiled):
        per_pixel = thread_safe = True

        def forward(self, cube: Array) -> dict[str, Array]:
            heard.add(variable.get())
            return {"cube": cube}

    variable.set("said")
    _chain(Hearing("first"), Hearing("last")).forward_tiled({"cube": np.zeros((1, 8, 5, 2))}, memory=_memory(10, 2, 2))
    assert heard == {"said"}


def test_threads_of_blas_wait_for_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tiles are computed at once, each computes with one thread."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.tiled_run.thread_count", lambda: 2)
    counts: set[int] = set()

    class Counted(Tiled):
        per_pixel = thread_safe = True

        def forward(self, cube: Array) -> dict[str, Array]:
            counts.update(each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas")
            return {"cube": cube @ np.eye(2)}

    with threadpoolctl.threadpool_limits(3):
        _chain(Counted("first"), Counted("last")).forward_tiled(
            {"cube": np.zeros((1, 8, 5, 2))}, memory=_memory(10, 2, 2)
        )
    assert counts <= {1}


@pytest.mark.parametrize("threads", [1, 3])
def test_few_tiles_are_begun_before_they_are_asked_for(threads: int) -> None:
    """What comes is in order, and at most two for each thread wait for whoever asks."""
    begun: list[int] = []

    def windows() -> Iterator[Any]:
        for number in range(50):
            begun.append(number)
            yield number

    for count, found in enumerate(in_order(lambda window: {0: window}, windows(), threads)):
        assert found == {0: count}
        assert len(begun) <= count + 1 + 2 * threads


def test_the_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ulimit -v` leaves it, where that is less than what the machine has."""
    resource = pytest.importorskip("resource")
    psutil = pytest.importorskip("psutil")
    limit = psutil.Process().memory_info().vms + 2**24
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert free_memory() <= 2**24
