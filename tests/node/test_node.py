"""The torch base class: what plugin nodes rely on."""

import copy
import pickle
import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import InputPort, OutputPort, PortSpec

from cuvis_ai_core.errors import InvalidNodeError, MissingExtraError

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import Node  # noqa: E402
from cuvis_ai_core.node.class_checks import construct  # noqa: E402
from cuvis_ai_core.node.node import Node as SameNode  # noqa: E402

CUBE = PortSpec(torch.float32, (-1, -1, -1, -1))


class Scale(Node):
    """The cube times learned gains, plus a learned layer."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE, "offset": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE, "scores": CUBE}
    TRAINABLE_BUFFERS: ClassVar[tuple[str, ...]] = ("gain", "late")

    def __init__(self, bands: int = 3, **base: Any) -> None:
        self.set_before = ["kept"]
        self.gain_before = torch.ones(2)
        super().__init__(bands=bands, **base)
        self.layer = torch.nn.Linear(bands, bands)
        self.register_buffer("gain", torch.ones(bands))
        self.register_buffer("late", None)
        self.register_buffer("mean", torch.empty(0))

    def forward(self, cube: Any, context: Any = None, **_: Any) -> dict[str, Any]:
        """Return the product."""
        return {"cube": cube * self.gain, "scores": cube}

    def statistical_initialization(self, input_stream: Any) -> None:
        """Learn the mean spectrum."""
        self.mean = torch.stack([batch["cube"].mean((0, 1, 2)) for batch in input_stream]).mean(0)


def test_a_constructor_that_forgets_the_base_class_is_told_what_to_write() -> None:
    """Where it breaks by that, and where it does not; what else goes wrong in it is its own error."""

    class Early(Node):
        def __init__(self) -> None:
            self.layer = torch.nn.Linear(2, 2)

        forward = Scale.forward

    class Silent(Node):
        def __init__(self) -> None:
            pass

        forward = Scale.forward

    class Wrong(Node):
        def __init__(self) -> None:
            super().__init__()
            self.nothing.there()

        forward = Scale.forward

    for node_class in (Early, Silent):
        with pytest.raises(InvalidNodeError, match=r"super\(\)\.__init__\(name=name"):
            construct(node_class)
    with pytest.raises(AttributeError, match="nothing"):
        construct(Wrong)


class Plain(Node):
    """Neither learns nor trains."""

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


def test_the_class_is_found_by_both_published_paths() -> None:
    """Plugins import it from the package and from the module."""
    assert Node is SameNode
    assert issubclass(Node, torch.nn.Module)


def test_torch_is_there_where_the_checks_run() -> None:
    """No test of this file is skipped on the Python of CI."""
    assert torch.__version__


def test_importing_the_package_does_not_import_torch() -> None:
    """Only asking for `Node` does."""
    code = (
        "import sys, cuvis_ai_core.node, cuvis_ai_core.pipeline.pipeline, cuvis_ai_core.registry\n"
        "assert 'torch' not in sys.modules\n"
        "cuvis_ai_core.node.Node\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("line", ["from cuvis_ai_core.node import Node", "import cuvis_ai_core.node.node"])
def test_without_torch_the_extra_is_named(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError that says what to install; everything else of the package works."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "cuvis_ai_core.node.node")
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[torch\]") as error:
        exec(line, {})
    assert isinstance(error.value, ImportError)
    assert error.value.extra == "torch"


def test_attributes_set_before_the_base_constructor_survive() -> None:
    """Plain ones and tensors: published nodes do their own work first."""
    node = Scale()
    assert node.set_before == ["kept"]
    assert node.gain_before.shape == (2,)


def test_name_stages_and_hyper_parameters_are_those_of_every_node() -> None:
    """They come as keywords; the name also positionally."""
    node = Scale(bands=4, name="s", execution_stages=["train"])
    assert (node.name, node.hparams) == ("s", {"bands": 4})
    assert node.execution_stages == {"train"}
    assert Plain("p").name == "p"
    assert repr(node) == "Scale(bands=4)"
    with pytest.raises(AttributeError):
        node.name = "other"  # type: ignore[misc]


def test_ports_are_attributes() -> None:
    """By side; and directly, where one side only has the name."""
    node = Scale(name="s")
    assert isinstance(node.inputs.cube, InputPort)
    assert isinstance(node.outputs.cube, OutputPort)
    assert (node.inputs.cube.node, node.inputs.cube.name, node.inputs.cube.spec) == (node, "cube", CUBE)
    assert isinstance(node.scores, OutputPort)
    assert isinstance(node.offset, InputPort)
    assert (list(node.inputs), len(node.outputs), "cube" in node.inputs) == (["cube", "offset"], 2, True)
    assert dir(node.outputs) == ["cube", "scores"]


def test_a_port_that_is_not_meant_or_not_there_is_an_attribute_error() -> None:
    """The message says what to write."""
    node = Scale(name="s")
    with pytest.raises(AttributeError, match=r"write node\.inputs\.cube or node\.outputs\.cube"):
        _ = node.cube
    with pytest.raises(AttributeError, match=r"input side of node 's' has no port 'cub'. Did you mean 'cube'"):
        _ = node.inputs.cub
    with pytest.raises(AttributeError, match=r"has no port 'x'. There are cube, scores"):
        _ = node.outputs.x
    with pytest.raises(AttributeError, match="'Scale' has no attribute or port 'nothing'"):
        _ = node.nothing
    assert not hasattr(node, "reset")


def test_it_is_a_module() -> None:
    """Parameters, buffers, modes and calls are torch's own."""
    node = Scale()
    assert sorted(name for name, _ in node.named_parameters()) == ["layer.bias", "layer.weight"]
    assert sorted(node.state_dict()) == ["gain", "layer.bias", "layer.weight", "mean"]
    assert not node.eval().training
    assert node.to(torch.float64).gain.dtype is torch.float64
    seen: list[Any] = []
    node.register_forward_hook(lambda *_: seen.append("called"))
    assert set(node(cube=torch.ones(1, 1, 1, 3))) == {"cube", "scores"}
    assert seen == ["called"]


def test_it_can_be_copied_and_pickled() -> None:
    """Ports are asked for by name while nothing is there yet."""
    for node in (copy.deepcopy(Scale(name="s")), pickle.loads(pickle.dumps(Scale(name="s")))):
        assert (node.name, node.gain.tolist()) == ("s", [1, 1, 1])


def test_unfreezing_makes_parameters_of_trainable_buffers_and_freezing_takes_them_back() -> None:
    """Values stay; keys of the state stay; a buffer without a value is left alone."""
    node = Scale()
    assert not node.frozen
    node.freeze()
    assert node.frozen
    assert not any(each.requires_grad for each in node.parameters())
    keys = sorted(node.state_dict())
    node.unfreeze()
    assert not node.frozen
    assert isinstance(node.gain, torch.nn.Parameter)
    assert node.gain.requires_grad
    assert sorted(node.state_dict()) == keys
    node.gain.data += 1
    node.freeze()
    assert not isinstance(node.gain, torch.nn.Parameter)
    assert (node.gain.tolist(), node.gain.requires_grad, node.late) == ([2, 2, 2], False, None)


def test_a_trainable_buffer_of_integers_is_an_error() -> None:
    """It names node and buffer, and nothing has changed."""
    node = Scale(name="s")
    node.late = torch.arange(3)
    with pytest.raises(InvalidNodeError, match=r"Node 's': buffer 'late' .* torch.int64"):
        node.unfreeze()
    assert not isinstance(node.gain, torch.nn.Parameter)


def test_a_node_that_overrides_the_initialization_requires_a_fit() -> None:
    """And knows whether it had one."""
    node = Scale()
    assert node.requires_initial_fit
    assert not node.statistically_initialized
    assert not Plain().requires_initial_fit
    Plain().statistical_initialization([])
    node.statistical_initialization([{"cube": torch.full((1, 2, 2, 3), 5.0)}])
    assert node.mean.tolist() == [5, 5, 5]


def test_buffers_without_a_value_take_the_loaded_shape() -> None:
    """None and empty ones do, as statistics have before the fit; others must fit."""
    fitted = Scale()
    fitted.late, fitted.mean = torch.arange(2.0), torch.arange(3.0)
    node = Scale()
    node.load_state_dict(fitted.state_dict())
    assert (node.late.tolist(), node.mean.tolist()) == ([0, 1], [0, 1, 2])
    assert node.statistically_initialized
    with pytest.raises(RuntimeError, match="size mismatch for gain"):
        node.load_state_dict({**fitted.state_dict(), "gain": torch.ones(9)})


def test_base_keywords_are_consumed() -> None:
    """Name and stages leave the keywords; nothing or `null` means the default stages."""
    kwargs = {"name": "n", "execution_stages": None, "bands": 3}
    assert Node.consume_base_kwargs(kwargs, {"train"}) == ("n", {"train"})
    assert kwargs == {"bands": 3}
    assert Node.consume_base_kwargs({"execution_stages": ["val"]}, {"train"}) == (None, ["val"])
    assert Node.consume_base_kwargs({}) == (None, None)


def test_a_class_may_declare_its_stages() -> None:
    """Then a node of it, or of a subclass, is given no others, neither when it is built nor later."""
    loss = type("Loss", (Plain,), {"EXECUTION_STAGES": frozenset({"train", "val"})})
    again = type("Again", (loss,), {})
    assert loss().execution_stages == again(execution_stages=None).execution_stages == {"train", "val"}
    assert type("Wider", (loss,), {"EXECUTION_STAGES": ["test"]})().execution_stages == {"test"}
    for stages in ("test", {"train", "val"}, set()):
        with pytest.raises(TypeError, match=r"Node 'n': class Again declares .*EXECUTION_STAGES.*\s.*Leave"):
            again(name="n", execution_stages=stages)
    node = loss()
    with pytest.raises(InvalidNodeError, match="EXECUTION_STAGES"):
        node.execution_stages = {"test"}
    assert node.execution_stages == {"train", "val"}


def test_older_declarations_have_ports_too() -> None:
    """A list means fan-in, a plain dict is a `PortSpec`."""
    specs = {"cubes": [CUBE], "mask": {"dtype": "bool", "shape": (-1, "size"), "unheard_of": 1}}
    node = type("Old", (Plain,), {"INPUT_SPECS": specs})()
    assert node.inputs.cubes.spec == CUBE
    assert node.inputs.mask.spec == PortSpec("bool", (-1, "size"))


def test_cleanup_does_nothing_unless_overridden() -> None:
    """Every node has it, and computes afterwards as before."""
    node = Plain()
    before = dict(vars(node))
    node.cleanup()
    assert dict(vars(node)) == before


def test_a_node_without_forward_cannot_be_made() -> None:
    """Python's own error names what is missing."""
    with pytest.raises(TypeError, match="forward"):
        type("Unfinished", (Node,), {})()


def test_numpy_and_torch_dtypes_are_compared_by_meaning() -> None:
    """The names of ports meet, whatever library declares them."""
    from cuvis_ai_core.node.ports import read_ports

    kinds = {"a": torch.float32, "b": np.float32, "c": "float32", "d": torch.Tensor, "e": np.ndarray, "f": "torch.int8"}
    ports = read_ports(
        type("Kinds", (Plain,), {"INPUT_SPECS": {name: PortSpec(each, (-1,)) for name, each in kinds.items()}}),
        "INPUT_SPECS",
    )
    assert [port.dtype for port in ports.values()] == ["float32", "float32", "float32", "array", "array", "int8"]
    assert [port.library for port in ports.values()] == ["torch", "numpy", None, "torch", "numpy", "torch"]
