"""Weights that others wrote, or that are rarely kept: what is read of them, given to nodes, and refused."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.file.writer import check_saving
from cuvis_ai_core.pipeline.weights.node_weights import apply_fitting, apply_state
from cuvis_ai_core.pipeline.weights.torch_file import read_checkpoint, savable
from cuvis_ai_core.pipeline.weights.weights_file import read_weights, write_weights

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.numpy")

from cuvis_ai_core.node import Node  # noqa: E402 - needs torch


class Keeper(Node):
    """A layer, a buffer without a size yet, and what is no array."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.layer = torch.nn.Linear(2, 1)
        self.register_buffer("empty", torch.empty(0))
        self.extra: Any = np.arange(3)
        self.ended: list[str] = []

    def get_extra_state(self) -> Any:
        """What is no array of torch."""
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        """Take it."""
        self.extra = state

    def cleanup(self) -> None:
        """Note it."""
        self.ended.append("cleanup")

    def close(self) -> None:
        """Note it."""
        self.ended.append("close")

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


@pytest.mark.parametrize("metadata", [None, [1], "text", 3])
def test_metadata_of_a_pt_file_that_are_none(tmp_path: Path, metadata: Any) -> None:
    """Weights are weights, whatever somebody's file says of itself."""
    torch.save({"state_dict": {"n": {"x": torch.ones(1)}}, "metadata": metadata}, tmp_path / "p.pt")
    assert read_weights(tmp_path / "p.pt").metadata == {}


@pytest.mark.parametrize("text", ["", "[1]", "3", "null", "{", "[" * 100_000])
def test_metadata_of_a_safetensors_file_that_are_none(tmp_path: Path, text: str) -> None:
    """As well."""
    safetensors.save_file({"n.x": np.ones(1)}, tmp_path / "p.safetensors", {"metadata": text})
    found = read_weights(tmp_path / "p.safetensors")
    assert (dict(found.metadata), found.state["n"]["x"].tolist()) == ({}, [1])


def test_metadata_of_any_type_are_texts(tmp_path: Path) -> None:
    """What JSON does not have is written as it is shown."""
    write_weights(tmp_path / "p.safetensors", {"n": {"x": np.ones(1)}}, {"day": dt.date(2024, 1, 2), "seed": 3})
    assert read_weights(tmp_path / "p.safetensors").metadata == {"day": "2024-01-02", "seed": 3}


def test_a_name_without_a_node(tmp_path: Path) -> None:
    """A file of a single module is no file of a pipeline."""
    safetensors.save_file({"weight": np.ones(1)}, tmp_path / "p.safetensors")
    with pytest.raises(PipelineError, match=r"holds no weights of a pipeline: 'weight' is not named 'node\.key'"):
        read_weights(tmp_path / "p.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_array_that_is_not_to_be_written_is_saved(tmp_path: Path, suffix: str) -> None:
    """As any other, and without a word."""
    array = np.arange(3.0)
    array.setflags(write=False)
    write_weights(tmp_path / f"p{suffix}", {"n": {"x": array}}, {})
    assert read_weights(tmp_path / f"p{suffix}").state["n"]["x"].tolist() == [0, 1, 2]


def test_the_part_of_a_state_that_can_be_saved() -> None:
    """All keys of all nodes but those that no file holds, which are named."""
    kept, left = savable({"a": {"x": np.ones(1), "y": object(), "z": 3}, "b": {"t": object()}, "c": {"u": "v"}})
    assert {node: list(values) for node, values in kept.items()} == {"a": ["x", "z"], "c": ["u"]}
    assert left == ["a.y", "b.t"]


@pytest.mark.parametrize("nested", [lambda deep: {"a": deep}, lambda deep: [deep], lambda deep: (1, {"b": [deep]})])
def test_what_grows_in_a_mapping_or_a_list_is_refused(tmp_path: Path, nested: Any) -> None:
    """Wherever in a node's state it lies."""
    value = nested(torch.ones(1).expand(200_000_000))
    torch.save({"state_dict": {"n": {"_extra_state": value}}}, tmp_path / "p.pt")
    with pytest.raises(PipelineError, match=r"'n\._extra_state' is no value of a node: it has 200000000 numbers"):
        read_weights(tmp_path / "p.pt")


def test_tensors_of_other_layouts_are_values(tmp_path: Path) -> None:
    """A sparse one has no memory that could be compared with its size."""
    sparse = torch.eye(3).to_sparse()
    torch.save({"state_dict": {"n": {"x": sparse, "y": torch.empty(3, device="meta")}}}, tmp_path / "p.pt")
    found = read_weights(tmp_path / "p.pt").state["n"]
    assert found["x"].to_dense().tolist() == torch.eye(3).tolist()
    assert found["y"].shape == (3,)


def test_the_node_in_a_key_of_lightning(tmp_path: Path) -> None:
    """What stands before it is left away; a key that ends in the name of a node is none of its state."""
    state = {"module.nodes.a.layer.weight": torch.ones(1), "model.a": torch.ones(2), "b.a": torch.ones(3)}
    torch.save({"state_dict": state}, tmp_path / "p.ckpt")
    found = read_checkpoint(tmp_path / "p.ckpt", ["a", "b"])
    assert {node: list(values) for node, values in found.items()} == {"a": ["layer.weight"], "b": ["a"]}
    with pytest.raises(PipelineError, match="holds no weights of this pipeline's nodes"):
        read_checkpoint(tmp_path / "p.ckpt", ["other"])


def test_a_copy_of_the_weights_in_a_checkpoint(tmp_path: Path) -> None:
    """What is nearest to the top is the node's, not a moving average beside it; of two that differ none is chosen."""
    one, other = torch.tensor([1.0, float("nan")]), torch.zeros(2)

    def read(**state: Any) -> Any:
        torch.save(
            {"state_dict": {name.replace("_", "."): value for name, value in state.items()}}, tmp_path / "p.ckpt"
        )
        return read_checkpoint(tmp_path / "p.ckpt", ["net"])["net"]["w"].tolist()[0]

    assert read(net_w=one, ema_net_w=other) == read(ema_net_w=other, net_w=one) == 1
    assert read(model_net_w=one, layers_net_w=one, ema_module_net_w=other) == 1
    with pytest.raises(PipelineError, match=r"two states of node 'net', and they differ: 'model\.net\.\.\.' and 'ema"):
        read(model_net_w=one, ema_net_w=other)


@pytest.mark.parametrize(("other", "fits"), [([1.0, 2.0], True), ([1.0, 3.0], False)])
def test_extra_states_that_a_checkpoint_holds_twice(tmp_path: Path, other: list[float], *, fits: bool) -> None:
    """What `get_extra_state` returned is compared as well, also tensors in it."""
    torch = pytest.importorskip("torch")
    states = {name: {"seen": [torch.tensor(values)]} for name, values in (("p", [1.0, 2.0]), ("q", other))}
    content = {f"{name}.net._extra_state": state for name, state in states.items()}
    torch.save({"state_dict": content}, tmp_path / "p.ckpt")
    if fits:
        assert read_checkpoint(tmp_path / "p.ckpt", ["net"])["net"]["_extra_state"]["seen"][0].tolist() == other
    else:
        with pytest.raises(PipelineError, match="two states of node 'net', and they differ"):
            read_checkpoint(tmp_path / "p.ckpt", ["net"])


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        ({"state_dict": {"n": {"x": torch.ones(1)}}}, {"pickle_protocol": 4}, "it is written in version 4 of pickle"),
        (torch.nn.Linear(1, 1), {}, r"holds torch\.nn\.modules\.linear\.Linear, which may run code"),
    ],
)
def test_what_torch_does_not_read_by_its_rules_is_named(
    tmp_path: Path, content: Any, options: Any, problem: str
) -> None:
    """With the way to a file that it reads."""
    torch.save(content, tmp_path / "p.pt", **options)
    with pytest.raises(PipelineError, match=rf"{problem}.*\nWhere you trust who made it, .*save the weights alone"):
        read_weights(tmp_path / "p.pt")


def test_numbers_on_a_device_come_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was written on a machine with a GPU is read on one without."""
    asked: list[Any] = []
    load = torch.load

    def noting(*arguments: Any, **options: Any) -> Any:
        asked.append((options.get("map_location"), options.get("weights_only")))
        return load(*arguments, **options)

    write_weights(tmp_path / "p.pt", {"n": {"x": np.ones(1)}}, {})
    monkeypatch.setattr(torch, "load", noting)
    read_weights(tmp_path / "p.pt")
    assert asked == [("cpu", True)]


def test_what_a_node_keeps_beside_arrays_comes_back_in_its_type() -> None:
    """An array of NumPy in it is none of torch."""
    first, second = Keeper("n"), Keeper("n")
    second.extra = None
    check_saving(Pipeline().add(first))
    Pipeline().add(second).load_state_dict(Pipeline().add(first).state_dict())
    assert type(second.extra) is np.ndarray
    assert second.extra.tolist() == [0, 1, 2]


def test_a_buffer_that_took_the_size_of_what_was_refused_is_empty_again() -> None:
    """So that a later file may bring another size."""
    node = Keeper("n")
    pipeline = Pipeline().add(node)
    state = node.state_dict()
    with pytest.raises(PipelineError, match="unknown"):
        pipeline.load_state_dict({"n": {**state, "empty": torch.ones(7), "unknown": torch.ones(1)}})
    assert node.empty.shape == (0,)


@pytest.mark.parametrize("before", ["module.", "_orig_mod."])
def test_what_a_wrapper_put_before_all_keys_is_named(before: str) -> None:
    """As DataParallel and torch.compile do, whose weights would fit without it."""
    node = torch.nn.Linear(2, 1)
    state = {f"{before}{key}": value for key, value in node.state_dict().items()}
    with pytest.raises(PipelineError, match=f"they have '{before}weight' for 'weight': take '{before}' away from"):
        apply_state({"net": node}, {"net": state}, restore=False)


def test_what_does_not_fit_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Of a node that is not there, one that keeps nothing, and one that keeps something else."""
    fitting, other = Keeper("fitting"), Keeper("other")
    state = {
        "absent": {"x": torch.ones(1)},
        "stateless": {"x": torch.ones(1)},
        "fitting": fitting.state_dict(),
        "other": {**other.state_dict(), "layer.weight": torch.ones(9, 9)},
    }
    nodes = {"fitting": fitting, "other": other, "stateless": object()}
    assert apply_fitting(nodes, state) == ["fitting"]
    for words in ("no node 'absent' that", "no node 'stateless' that", "'layer.weight' has the shape [9, 9]"):
        assert words in caplog.text


@pytest.mark.parametrize("unbuilt", [False, True])
def test_keys_that_a_node_keeps_are_taken_beside_others(caplog: pytest.LogCaptureFixture, *, unbuilt: bool) -> None:
    """The others are named; a buffer that has no size yet, or is None, takes the one it is given."""
    node, learned = Keeper("n"), Keeper("n")
    learned.empty = torch.ones(3)
    if unbuilt:
        node.register_buffer("empty", None)
    assert apply_fitting({"n": node}, {"n": {**learned.state_dict(), "more": torch.ones(1)}}) == ["n"]
    assert torch.equal(node.layer.weight, learned.layer.weight)
    assert node.empty.tolist() == [1, 1, 1]
    assert node.statistically_initialized
    assert "fit node 'n' (Keeper) in part: it keeps no 'more'" in caplog.text
    assert "left out" not in caplog.text


def test_a_node_that_is_not_given_all_it_keeps_does_not_count_as_given(caplog: pytest.LogCaptureFixture) -> None:
    """What it is given it takes, and what is missing is named."""
    node = Keeper("n")
    bias = node.layer.bias.detach().clone()
    assert apply_fitting({"n": node}, {"n": {"layer.weight": torch.full((1, 2), 7.0)}}) == []
    assert node.layer.weight.tolist() == [[7, 7]]
    assert torch.equal(node.layer.bias, bias)
    assert not node.statistically_initialized
    assert "in part: it was not given 'empty', '_extra_state', 'layer.bias'" in caplog.text


def test_what_an_array_node_is_not_given_it_keeps(caplog: pytest.LogCaptureFixture) -> None:
    """An attribute that is missing is what it was; one that is None takes what comes."""

    class Two(ArrayNode):
        STATE = ("mean", "scale", "offset")
        mean: Any = None
        scale: Any = None
        offset: Any = None

        def forward(self) -> dict[str, Any]:
            return {}

    node = Two("n")
    node.scale = np.full(2, 5.0)
    assert apply_fitting({"n": node}, {"n": {"mean": np.ones(2), "more": np.ones(1)}}) == []
    assert (node.mean.tolist(), node.scale.tolist(), node.offset) == ([1, 1], [5, 5], None)
    assert "in part: it keeps no 'more'; it was not given 'scale'" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"layer.weight": torch.ones(9, 9)},
        {"layer.weight": torch.ones(9, 9), "more": torch.ones(1)},
        {"layer.weight": torch.ones(9, 9), "layer.bias": None},
    ],
)
def test_a_node_that_refuses_weights_has_its_old_ones(values: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """All of them, where only one shape is another."""
    node = Keeper("n")
    weight, bias = (each.detach().clone() for each in node.layer.parameters())
    given = {**node.state_dict(), "layer.bias": torch.full((1,), 7.0), "empty": torch.ones(3), **values}
    given = {key: value for key, value in given.items() if value is not None}
    assert apply_fitting({"n": node}, {"n": given}) == []
    assert torch.equal(node.layer.weight, weight)
    assert torch.equal(node.layer.bias, bias)
    assert node.empty.shape == (0,)
    assert not node.statistically_initialized
    assert "weights are left out: " in caplog.text
    assert "'layer.weight' has the shape [9, 9]" in caplog.text


def test_nodes_are_cleaned_up_and_then_closed() -> None:
    """In the order of the published core."""
    node = Keeper("n")
    Pipeline().add(node).close()
    assert node.ended == ["cleanup", "close"]
