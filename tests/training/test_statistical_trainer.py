from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core import Pipeline
from cuvis_ai_core.data import Batches, Cubes
from cuvis_ai_core.errors import TrainingError, TrainRunError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.training import StatisticalTrainer

torch = pytest.importorskip("torch")

Make = Callable[..., Any]


def test_nodes_learn_from_streamed_data(make_pipeline: Make, batches: Make) -> None:
    """A node that needs it learns from its inputs, batch after batch; the others are left alone."""
    pipeline = make_pipeline()
    before = pipeline.nodes["scores"].linear.weight.clone()
    data = batches(0, 1, 2, 3, 4)
    trainer = StatisticalTrainer(pipeline)
    assert trainer.waiting == ("center",)
    assert trainer.fit(data) == ("center",)
    everything = np.concatenate([batch["cube"].reshape(-1, 3) for batch in data])
    assert torch.allclose(pipeline.nodes["center"].mean, torch.from_numpy(everything.mean(axis=0)), atol=1e-5)
    assert torch.equal(pipeline.nodes["scores"].linear.weight, before)
    assert not trainer.waiting


def test_what_was_learned_stays(make_pipeline: Make, batches: Make) -> None:
    """A node that has learned, or whose weights were loaded, does not learn again."""
    first = make_pipeline()
    StatisticalTrainer(first).fit(batches(0))
    second = make_pipeline()
    second.load_state_dict(first.state_dict())
    assert StatisticalTrainer(second).fit(batches(1)) == ()
    assert torch.equal(second.nodes["center"].mean, first.nodes["center"].mean)


def test_in_running_order(make_pipeline: Make, registry: Any, batches: Make) -> None:
    """A node behind another one learns from what that one makes of the data once it has learned."""
    config = {
        "nodes": [{"name": name, "class_name": "Center"} for name in ("second", "first")],
        "edges": [{"source": "first.cube", "target": "second.cube"}],
    }
    pipeline = Pipeline.from_dict(config, node_registry=registry)
    assert StatisticalTrainer(pipeline).fit(batches(0, 1, 2)) == ("first", "second")
    assert pipeline.nodes["first"].mean.mean() > 1
    assert pipeline.nodes["second"].mean.abs().max() < 1e-5


class Bands(ArrayNode):
    """Learn the wavelengths, which it takes as a published data node does."""

    INPUT_SPECS: ClassVar = {
        "cube": PortSpec(np.uint16, (-1, -1, -1, -1)),
        "wavelengths": PortSpec(np.int32, (-1, -1)),
    }
    OUTPUT_SPECS: ClassVar = {"cube": PortSpec(np.uint16, (-1, -1, -1, -1))}

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Keep what it is given."""
        self.learned = [(batch["cube"].dtype.name, batch["wavelengths"].tolist()) for batch in input_stream]

    def forward(self, cube: Any, wavelengths: Any) -> dict[str, Any]:
        """Return the cube."""
        return {"cube": cube}


def test_wavelengths_of_cubes_for_published_nodes(registry: Any, tmp_path: Any) -> None:
    """A node learns from cubes in files, given as it takes them, and so does one behind it."""
    for number in range(3):
        cube = np.arange(12, dtype=np.int16).reshape(2, 2, 3)
        np.savez(tmp_path / f"{number}.npz", cube=cube, wavelengths=np.array([450.4, 500.5, 611.6]))
    data = Batches(Cubes([tmp_path], registry.cube_readers()), range(3), size=2)
    first, second = Bands(name="first"), Bands(name="second")
    pipeline = Pipeline("bands").add(first, second)
    pipeline.connect((first.outputs.cube, second.inputs.cube))
    assert StatisticalTrainer(pipeline).fit(data) == ("first", "second")
    nm = [450, 500, 612]
    assert first.learned == second.learned == [("uint16", [nm, nm]), ("uint16", [nm])]


def test_evaluation_mode(make_pipeline: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics are learned without dropout and gradients; afterwards modes are as before."""
    pipeline = make_pipeline()
    pipeline.nodes["scores"].train()
    seen: list[Any] = []

    def learn(self: Any, input_stream: Iterable[Mapping[str, Any]]) -> None:
        seen.extend((values["scores"].requires_grad, pipeline.nodes["scores"].training) for values in input_stream)

    monkeypatch.setattr(type(pipeline.nodes["accuracy"]), "statistical_initialization", learn)
    monkeypatch.setattr(type(pipeline.nodes["accuracy"]), "should_execute", lambda *_: True)
    StatisticalTrainer(pipeline).fit(batches(0, 1, size=1))
    assert seen == [(False, False)] * 2
    assert pipeline.nodes["scores"].training


def test_no_data(make_pipeline: Make, batches: Make) -> None:
    """Without data to train on there is nothing to learn from."""
    with pytest.raises(TrainRunError, match="'center' is to learn from the data to train on, and there are none"):
        StatisticalTrainer(make_pipeline()).fit(batches())


def test_a_node_that_fails(make_pipeline: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a node's own code names the node and keeps the cause."""
    pipeline = make_pipeline()

    def learn(self: Any, input_stream: Iterable[Mapping[str, Any]]) -> None:
        raise RuntimeError("singular matrix")

    monkeypatch.setattr(type(pipeline.nodes["center"]), "statistical_initialization", learn)
    with pytest.raises(
        TrainingError, match=r"Node 'center' \(Center\) failed .* RuntimeError: singular matrix"
    ) as caught:
        StatisticalTrainer(pipeline).fit(batches(0))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_batches_are_not_kept(make_pipeline: Make, batches: Make) -> None:
    """The stream holds one batch at a time."""
    import weakref

    living: list[weakref.ref[Any]] = []

    class Watched:
        def __iter__(self) -> Any:
            for batch in batches(0, 1, 2, 3, size=1):
                assert sum(each() is not None for each in living) <= 1
                living.append(weakref.ref(batch["cube"]))
                yield batch

    StatisticalTrainer(make_pipeline()).fit(Watched())
    assert len(living) == 4


def test_type_of_batches(batches: Make) -> None:
    """The fixture gives what trainers take."""
    assert isinstance(batches(0), Batches)


def test_sources_that_do_not_run_in_training_are_left_out(make_pipeline: Make, registry: Any, batches: Make) -> None:
    """What such a node would hand over is handed in, as in every run of that stage."""
    config = {
        "nodes": [
            {"name": "later", "class_name": "Center", "params": {"execution_stages": ["inference"]}},
            {"name": "center", "class_name": "Center"},
        ],
        "edges": [{"source": "later.cube", "target": "center.cube"}],
    }
    pipeline = Pipeline.from_dict(config, node_registry=registry, allow_untrained=True)
    data = batches(0, 1)
    StatisticalTrainer(pipeline).fit(data)
    everything = np.concatenate([batch["cube"].reshape(-1, 3) for batch in data])
    assert torch.allclose(pipeline.nodes["center"].mean, torch.from_numpy(everything.mean(axis=0)), atol=1e-5)


def test_sources_that_run_in_training_alone_are_there(make_pipeline: Make, registry: Any, batches: Make) -> None:
    """A node learns in the stage of training, from what nodes hand it there."""
    config = {
        "nodes": [
            {"name": "early", "class_name": "Center", "params": {"execution_stages": ["train"]}},
            {"name": "center", "class_name": "Center"},
        ],
        "edges": [{"source": "early.cube", "target": "center.cube"}],
    }
    pipeline = Pipeline.from_dict(config, node_registry=registry, allow_untrained=True)
    pipeline.nodes["early"].mean = torch.full((3,), 100.0)
    pipeline.nodes["early"].statistically_initialized = True
    StatisticalTrainer(pipeline).fit(batches(0, 1))
    assert pipeline.nodes["center"].mean.max() < -90


def test_a_node_that_needs_no_look_at_the_data_learns_all_the_same(
    make_pipeline: Make, batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is initialised, as long as there are data."""
    pipeline = make_pipeline()
    monkeypatch.setattr(type(pipeline.nodes["center"]), "statistical_initialization", lambda *_: None)
    assert StatisticalTrainer(pipeline).fit(batches(0)) == ("center",)
    assert pipeline.nodes["center"].statistically_initialized


def test_a_node_that_writes_into_a_batch_when_all_are_read(
    make_pipeline: Make, batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that it keeps: it is refused too, as others learn from the same."""

    def learn(self: Any, input_stream: Iterable[Mapping[str, Any]]) -> None:
        *_, last = input_stream
        self.total = last["cube"].add_(1)

    pipeline = make_pipeline()
    monkeypatch.setattr(type(pipeline.nodes["center"]), "statistical_initialization", learn)
    with pytest.raises(TrainingError, match="'center' writes into its input 'cube' while it learns"):
        StatisticalTrainer(pipeline).fit(batches(0, 1, size=1))


def test_what_a_node_learns_as_no_number_of_numbers_is_its_own_affair(
    make_pipeline: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Infinity may be a bound that it begins with."""

    def learn(self: Any, _: object) -> None:
        self.mean = torch.full((3,), torch.inf)

    pipeline = make_pipeline()
    monkeypatch.setattr(type(pipeline.nodes["center"]), "statistical_initialization", learn)
    StatisticalTrainer(pipeline).fit(batches(0, 1))
    assert not caplog.text


def test_which_batch_had_the_values_that_were_learned_as_no_numbers(
    make_pipeline: Make, batches: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said with its number, the first of them."""
    data = [dict(batch) for batch in batches(0, 1, 2, 3, size=1)]
    for number in (1, 2):
        data[number]["cube"] = data[number]["cube"] * np.nan
    StatisticalTrainer(make_pipeline()).fit(data)
    assert "'center' (Center) has learned values of 'mean' that are no numbers: so has batch 2 of 4" in caplog.text
    caplog.clear()
    StatisticalTrainer(make_pipeline()).fit(data[:1])
    assert not caplog.text


@pytest.mark.parametrize("write", ["cube", "first"])
def test_a_node_that_learns_writes_into_no_batch(
    make_pipeline: Make, batches: Make, monkeypatch: Any, write: str
) -> None:
    """Neither into the one that it is given, nor later into one that it kept: others learn from the same."""
    pipeline = make_pipeline()

    def learn(self: Any, input_stream: Iterable[Mapping[str, Any]]) -> None:
        first = next(iter(input_stream))["cube"]
        for values in input_stream:
            cube = values["cube"]
            {"cube": cube, "first": first}[write].mul_(0)
        self.mean = first.mean(dim=(0, 1, 2))

    monkeypatch.setattr(type(pipeline.nodes["center"]), "statistical_initialization", learn)
    with pytest.raises(TrainingError, match="Node 'center' writes into its input 'cube' while it learns") as error:
        StatisticalTrainer(pipeline).fit(batches(0, 1, 2))
    assert "cube = cube.clone()" in str(error.value)


class Sees(ArrayNode):
    """Keep what it is to learn from."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    seen: ClassVar[list[Any]] = []

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Keep the batches."""
        self.seen[:] = [values["cube"] for values in input_stream]


def test_nodes_learn_from_what_they_are_given_when_they_run(registry: Any) -> None:
    """What a masked array masks is NaN, and arrays that are read when they are asked for are those of NumPy."""
    xarray = pytest.importorskip("xarray")
    pipeline = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": f"{__name__}.Sees"}]}, node_registry=registry)
    values = np.arange(4, dtype=np.int16).reshape(1, 2, 2, 1)
    given = [np.ma.masked_equal(values, 2), xarray.DataArray(values)]
    StatisticalTrainer(pipeline).fit([{"cube": each} for each in given])
    assert [type(each) for each in Sees.seen] == [np.ndarray] * 2
    np.testing.assert_array_equal(Sees.seen[0].ravel(), [0, 1, np.nan, 3])
    np.testing.assert_array_equal(Sees.seen[1], values.astype(np.float32), strict=True)


class Learns(ArrayNode):
    """Learns nothing, and writes into what it is to learn from."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Subtract a mean."""
        for values in input_stream:
            cube = values["cube"]
            cube -= cube.mean()


def test_an_array_node_that_learns_writes_into_no_batch(registry: Any, batches: Make) -> None:
    """NumPy refuses; the error has the author's line and what to write."""
    nodes = [{"name": "n", "class_name": f"{__name__}.Learns"}]
    pipeline = Pipeline.from_dict({"nodes": nodes}, node_registry=registry)
    data = [*batches(0, 1)]
    before = [batch["cube"].copy() for batch in data]
    with pytest.raises(TrainingError, match=rf"Node 'n' .*{__file__}, line") as error:
        StatisticalTrainer(pipeline).fit(data)
    assert "cube = cube.copy()" in str(error.value)
    assert all(np.array_equal(batch["cube"], each) for batch, each in zip(data, before, strict=True))


class Bias(ArrayNode):
    """Runs with the bias that it is given, and learns a better one, as published heads do."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bias = np.float32(0)
        self._statistically_initialized = True

    def forward(self, cube: Any) -> dict[str, Any]:
        """Add it."""
        return {"cube": cube + self.bias}

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn the mean."""
        self.bias = np.float32(np.mean([values["cube"].mean() for values in input_stream]))

    def state_dict(self) -> dict[str, Any]:
        """Return the bias."""
        return {"bias": self.bias}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take it over."""
        self.bias = state_dict["bias"]


def test_a_node_that_may_run_as_it_was_built_learns_all_the_same(registry: Any, batches: Make) -> None:
    """It runs before it has learned, a training fits it, and what it learned stays."""
    nodes = [{"name": "n", "class_name": f"{__name__}.Bias"}]
    first, second = (Pipeline.from_dict({"nodes": nodes}, node_registry=registry) for _ in range(2))
    data = [*batches(0, 1)]
    assert first.forward(data[0])[("n", "cube")].mean() == pytest.approx(data[0]["cube"].mean())
    assert StatisticalTrainer(first).fit(data) == ("n",)
    assert first.nodes["n"].bias == pytest.approx(np.mean([each["cube"].mean() for each in data]))
    assert StatisticalTrainer(first).waiting == ()
    second.load_state_dict(first.state_dict())
    assert StatisticalTrainer(second).waiting == ()
