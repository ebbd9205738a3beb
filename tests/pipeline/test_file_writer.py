"""Files of a pipeline: written, found again, and refused where they do not fit."""

import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core._yaml import parse_yaml
from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.pipeline.file.reader import parse_config
from cuvis_ai_core.pipeline.file.writer import save_pipeline, to_yaml
from cuvis_ai_core.pipeline.weights.weights_file import read_weights, write_weights

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import Node  # noqa: E402

PipelineOf = Callable[..., Pipeline]
CUBE = PortSpec("float32", (-1, -1, -1, -1))


class Mean(ArrayNode):
    """Subtracts a learned mean."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    STATE: ClassVar[tuple[str, ...]] = ("mean", "count")

    mean: Any = None
    count: Any = None

    def statistical_initialization(self, input_stream: Any) -> None:
        """Learn the mean of all values."""
        cubes = [batch["cube"] for batch in input_stream]
        self.mean = np.mean(cubes, axis=(0, 1, 2, 3)).astype(np.float32)
        self.count = np.asarray(len(cubes), dtype=np.int64)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the difference."""
        return {"cube": cube - self.mean}


class Layer(Node):
    """A linear layer, with a buffer that learns."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}

    def __init__(self, bands: int = 3, **base: Any) -> None:
        super().__init__(bands=bands, **base)
        self.layer = torch.nn.Linear(bands, bands)
        self.tied = self.layer
        self.register_buffer("brief", torch.arange(bands, dtype=torch.bfloat16))
        self.register_buffer("part", torch.arange(1000.0)[5:8])
        self.register_buffer("stats", None)

    def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
        """Return what the layer gives."""
        return {"cube": self.layer(cube)}


class Stubborn(Node):
    """Overrides both methods in the ways that published nodes do."""

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(2))

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """Leave the cache out."""
        return {"kept": self.kept}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Take what is there."""
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


@pytest.fixture
def registry(registry: Any) -> Any:
    """A registry that knows the classes of this file, too."""
    registry.classes |= {"Mean": Mean, "Layer": Layer, "Stubborn": Stubborn}
    return registry


@pytest.fixture
def learned(pipeline_of: PipelineOf, cube: Any) -> Pipeline:
    """A pipeline of one node of each kind, each with state."""
    pipeline = pipeline_of({"mean": "Mean", "layer": "Layer", "other": "Stubborn"}, "mean.cube -> layer.cube")
    pipeline.nodes["mean"].statistical_initialization([{"cube": cube}])
    pipeline.nodes["layer"].stats = torch.arange(4)
    pipeline.nodes["other"].kept += 5
    return pipeline


def same(left: Any, right: Any) -> bool:
    """Tell whether two states are equal, dtypes and bits included."""
    return left.keys() == right.keys() and all(
        values.keys() == right[node].keys()
        and all(
            type(value) is type(right[node][key])
            and value.dtype == right[node][key].dtype
            and tuple(value.shape) == tuple(right[node][key].shape)
            and bool((value == right[node][key]).all())
            for key, value in values.items()
        )
        for node, values in left.items()
    )


@pytest.mark.parametrize("weights_format", ["pt", "safetensors"])
def test_a_round_trip_is_exact(
    learned: Pipeline, registry: Any, tmp_path: Path, cube: Any, weights_format: str
) -> None:
    """File, state to the last bit, and results: with arrays of both libraries, bfloat16, tied and partial tensors."""
    file = tmp_path / "deep" / "deeper" / "p.yaml"
    learned.save(file, weights_format=weights_format)
    assert sorted(each.name for each in file.parent.iterdir()) == sorted(["p.yaml", f"p.{weights_format}"])
    again = Pipeline.load(file, node_registry=registry)
    assert again.to_dict() == learned.to_dict()
    assert same(again.state_dict(), learned.state_dict())
    assert again.nodes["mean"].statistically_initialized
    expected, found = learned.forward({"cube": cube}), again.forward({"cube": cube})
    assert all(bool((expected[port] == found[port]).all()) for port in expected)
    assert file.with_suffix(f".{weights_format}").stat().st_size < 4000  # a view does not bring its whole memory


def test_without_torch_nodes_weights_are_safetensors(pipeline_of: PipelineOf, registry: Any, tmp_path: Path) -> None:
    """In a process that has never imported torch."""
    code = (
        "import sys, numpy as np\n"
        "sys.modules['torch'] = None\n"
        "from safetensors.numpy import save_file\n"
        "from cuvis_ai_core.pipeline.weights.weights_file import read_weights, write_weights\n"
        "from pathlib import Path\n"
        f"path = Path({str(tmp_path / 'p.safetensors')!r})\n"
        "write_weights(path, {'n': {'mean': np.arange(3), 'x.y': np.float32(2)}}, {'about': 1})\n"
        "weights = read_weights(path)\n"
        "assert weights.state['n']['mean'].tolist() == [0, 1, 2] and weights.state['n']['x.y'] == 2, weights\n"
        "assert weights.metadata == {'about': 1}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    pipeline = pipeline_of({"mean": "Mean"})
    pipeline.nodes["mean"].statistical_initialization([{"cube": np.ones((1, 1, 1, 2), np.float32)}])
    pipeline.save(tmp_path / "q.yaml")
    assert (tmp_path / "q.safetensors").is_file()


def test_a_pt_file_without_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading and writing it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    file = tmp_path / "p.pt"
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[torch\]"):
        write_weights(file, {"n": {"x": np.ones(1)}}, {})
    assert not file.exists()
    file.write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[torch\]"):
        read_weights(file)


def test_numbers_that_numpy_lacks_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A safetensors file may hold bfloat16; without torch nobody can say what that is."""
    file = tmp_path / "p.safetensors"
    write_weights(file, {"n": {"x": torch.ones(2, dtype=torch.bfloat16)}}, {})
    assert read_weights(file).state["n"]["x"].dtype is torch.bfloat16
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="holds numbers of a kind that NumPy does not have"):
        read_weights(file)


def test_a_pt_file_has_the_published_layout(learned: Pipeline, tmp_path: Path) -> None:
    """And it holds nothing but weights."""
    learned.save(tmp_path / "p.yaml")
    content = torch.load(tmp_path / "p.pt", weights_only=True)
    assert set(content) == {"state_dict", "metadata"}
    assert sorted(content["state_dict"]) == ["layer", "mean", "other"]
    assert content["state_dict"]["mean"]["count"].item() == 1
    assert content["metadata"]["pipeline"] == "pipeline"
    assert content["metadata"]["cuvis_ai_version"] == version("cuvis-ai-core")


def test_nothing_learned_is_no_file(pipeline_of: PipelineOf, registry: Any, tmp_path: Path) -> None:
    """A pipeline without state has a YAML file only, and weights of an earlier one in its place are gone."""
    file = tmp_path / "p.yaml"
    file.with_suffix(".pt").write_bytes(b"old")
    file.with_suffix(".safetensors").write_bytes(b"old")
    pipeline_of({"mean": "Mean"}).save(file)
    assert [each.name for each in tmp_path.iterdir()] == ["p.yaml"]
    assert not Pipeline.load(file, node_registry=registry).nodes["mean"].statistically_initialized


def test_weights_are_found_beside_the_file_or_named(learned: Pipeline, registry: Any, tmp_path: Path) -> None:
    """Two kinds side by side are ambiguous."""
    learned.save(tmp_path / "p.yaml")
    learned.save(tmp_path / "q.yaml", weights_format="safetensors")
    (tmp_path / "q.safetensors").rename(tmp_path / "p.safetensors")
    with pytest.raises(PipelineError, match=r"Two files of weights lie beside .*p\.pt and p\.safetensors"):
        Pipeline.load(tmp_path / "p.yaml", node_registry=registry)
    again = Pipeline.load(tmp_path / "p.yaml", node_registry=registry, weights=tmp_path / "p.safetensors")
    assert same(again.state_dict(), learned.state_dict())


def test_nodes_with_methods_of_their_own_are_saved_and_loaded(learned: Pipeline, registry: Any, tmp_path: Path) -> None:
    """`state_dict` without arguments, `load_state_dict` that takes what is there."""
    learned.save(tmp_path / "p.yaml")
    node = Pipeline.load(tmp_path / "p.yaml", node_registry=registry).nodes["other"]
    assert (node.kept.tolist(), node.cache.tolist()) == ([5, 5], [0, 0])


STATE = {"mean": {"mean": np.ones(3, np.float32)}}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"layre": {"x": np.ones(1)}}, r"the pipeline has no node 'layre'. Did you mean 'layer'\?"),
        ({"layer": {}}, "they have nothing for node 'layer', which keeps .*layer.weight"),
        ({"layer": {"brief": np.ones(3)}}, r"do not fit node 'layer' \(Layer\): 'part' is missing"),
        ({"layer": {"nothing": np.ones(3)}}, r"do not fit node 'layer' \(Layer\): it keeps no 'nothing'"),
        (
            {"layer": {"layer.weight": np.ones((3, 4))}},
            r"'layer' \(Layer\): 'layer.weight' has the shape \[3, 4\], the node's is \[3, 3\]",
        ),
        ({"mean": {"maen": np.ones(3)}}, r"do not fit node 'mean' \(Mean\): it keeps no 'maen'. Did you mean 'mean'"),
    ],
)
def test_weights_that_do_not_fit_name_node_and_key(learned: Pipeline, changes: Any, problem: str) -> None:
    """And every node is as it was before."""
    before = {
        node: {key: value.copy() if node == "mean" else value.clone() for key, value in values.items()}
        for node, values in learned.state_dict().items()
    }
    wrong: dict[str, Any] = {node: dict(values) for node, values in before.items()}
    wrong["mean"]["mean"] = np.zeros(3, np.float32)
    for node, values in changes.items():
        replaced = {**wrong.get(node, {}), **values} if "missing" not in problem else values
        wrong[node] = replaced if values else {}
    with pytest.raises(PipelineError, match=problem) as error:
        learned.load_state_dict(wrong)
    assert error.value.node in {*changes, "layer"}
    assert same(learned.state_dict(), before)


def test_an_error_of_weights_names_their_file(learned: Pipeline, registry: Any, tmp_path: Path) -> None:
    """Beside node and key."""
    learned.save(tmp_path / "p.yaml")
    content = torch.load(tmp_path / "p.pt", weights_only=True)
    content["state_dict"]["layer"]["brief"] = torch.ones(7)
    torch.save(content, tmp_path / "p.pt")
    with pytest.raises(
        PipelineError, match=r"p\.pt: The weights do not fit node 'layer' .*'brief' has the shape \[7\]"
    ):
        Pipeline.load(tmp_path / "p.yaml", node_registry=registry)
    with pytest.raises(PipelineError, match=r"p\.pt: .*'brief'"):
        learned.load_weights(tmp_path / "p.pt")


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("evil"),))


def broken_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of files of weights, each broken in a way of its own."""
    good = folder / "good.pt"
    torch.save({"state_dict": {"n": {"x": torch.ones(100)}}}, good)
    whole = good.read_bytes()
    for name, content in {"list.pt": [1], "bare.pt": {"x": torch.ones(1)}, "deep.pt": {"state_dict": {"n": 1}}}.items():
        torch.save(content, folder / name)
    with zipfile.ZipFile(folder / "zip.pt", "w") as archive:
        archive.writestr("a", "b")
    return {
        "empty.pt": b"",
        "text.pt": b"no weights",
        "half.pt": whole[: len(whole) // 2],
        "evil.pt": pickle.dumps({"state_dict": {"n": {"x": Evil()}}}),
        "empty.safetensors": b"",
        "text.safetensors": b"no weights at all",
        "huge.safetensors": b"\xff" * 16,
        **{name: (folder / name).read_bytes() for name in ("list.pt", "bare.pt", "deep.pt", "zip.pt")},
    }


def test_a_broken_file_of_weights_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the file, and nothing in the file is run."""
    monkeypatch.chdir(tmp_path)
    for name, content in broken_files(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PipelineError, match=name) as error:
            read_weights(tmp_path / name)
        assert error.value.path == tmp_path / name
    assert not Path("evil").exists()
    np.save("p.npy", np.ones(1))
    with pytest.raises(PipelineError, match="is no file of weights: these are called"):
        read_weights(Path("p.npy"))
    for name in ("none.pt", "n" * 300 + ".pt", "."):
        with pytest.raises(PipelineError, match=r"There is no file of weights|is no file of weights"):
            read_weights(Path(name))


@pytest.mark.parametrize(
    ("suffix", "value", "problem"),
    [
        (".pt", object(), "'x' is of type object"),
        (".pt", np.array(["a"]), "'x' is of dtype str"),
        (".safetensors", [1, 2], "'x' is of type list; .*a .pt file holds more"),
        (".safetensors", np.array([None]), "'x' is of dtype any"),
        (".safetensors", np.ones(1, np.complex128), "'x' is of dtype complex128"),
    ],
)
def test_state_that_cannot_be_saved_is_an_error(tmp_path: Path, suffix: str, value: Any, problem: str) -> None:
    """It names node and key, and the file of before is as it was."""
    file = tmp_path / f"p{suffix}"
    file.write_bytes(b"before")
    with pytest.raises(PipelineError, match=f"The state of node 'n' cannot be saved: {problem}"):
        write_weights(file, {"n": {"x": value}}, {})
    assert file.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_state_may_hold_numbers_and_texts_in_a_pt_file(tmp_path: Path) -> None:
    """Some nodes keep counters and settings there."""
    file = tmp_path / "p.pt"
    values = {"n": {"steps": 3, "names": ["a", {"b": (1.5, None)}], "big": np.ones(2, ">f4")[::-1]}}
    write_weights(file, values, {})
    found = read_weights(file).state["n"]
    assert (found["steps"], found["names"], found["big"].tolist()) == (3, ["a", {"b": (1.5, None)}], [1, 1])


def test_only_a_yaml_file_is_written(pipeline_of: PipelineOf, tmp_path: Path) -> None:
    """A slip in the name, in the format, or a parameter that no YAML holds, is an error, and nothing is written."""
    pipeline = pipeline_of({"a": "Scale"})
    with pytest.raises(PipelineError, match=r"is no name of a pipeline file: it ends in \.yaml"):
        pipeline.save(tmp_path / "p.pt")
    with pytest.raises(PipelineError, match="There is no format of weights 'onnx'"):
        pipeline.save(tmp_path / "p.yaml", weights_format="onnx")
    with pytest.raises(PipelineError, match=r"Node 'a' cannot be written: .*'factor' holds .* type ndarray"):
        pipeline_of({"a": ("Scale", {"factor": np.ones(1)})}).save(tmp_path / "p.yaml")
    assert list(tmp_path.iterdir()) == []


class Kept(ArrayNode):
    """Hands nothing on to its base class but its name."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}

    def __init__(self, bands: Any, gain: Any = 2.0, *, mode: Any = "fast", **rest: Any) -> None:
        super().__init__(rest.pop("name", None))
        self.built_with = (bands, gain, mode, rest)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the cube."""
        return {"cube": cube}


class Special(Kept):
    """Has a constructor of its own, and hands a product on."""

    def __init__(self, factor: int, name: str | None = None) -> None:
        super().__init__([factor, factor + 1], gain=factor * 10, name=name)


def _saved_and_loaded(node: Any, path: Path) -> Any:
    registry: Any = SimpleNamespace(
        get=lambda name: {"Kept": Kept, "Special": Special}[name.rpartition(".")[2]], hooks=None
    )
    registry.config_owners = list
    other = Kept([], name="other")
    Pipeline("p").connect((node.outputs.cube, other.inputs.cube)).save(path)
    return Pipeline.load(path, node_registry=registry).nodes[node.name]


@pytest.mark.parametrize(
    ("build", "written"),
    [
        (lambda: Kept([1, 2], name="n"), ([1, 2], 2.0, "fast", {})),
        (lambda: Kept((1, 2), 3, name="n", mode=Path("a") / "b"), ([1, 2], 3, "a/b", {})),
        (
            lambda: Kept(np.int64(4), gain=np.float32(0.5), name="n", extra={"a": [1]}),
            (4, 0.5, "fast", {"extra": {"a": [1]}}),
        ),
        (lambda: Special(3, "n"), ([3, 4], 30, "fast", {})),
        (lambda: Special(factor=3, name="n"), ([3, 4], 30, "fast", {})),
    ],
    ids=["defaults", "positional", "keywords", "subclass", "subclass by keyword"],
)
def test_what_a_constructor_took_is_written(build: Callable[[], Any], written: Any, tmp_path: Path) -> None:
    """Whatever its author hands on to the base class, and as it was when it was called."""
    assert _saved_and_loaded(build(), tmp_path / "p.yaml").built_with == written


def test_a_parameter_that_changes_later_is_written_as_it_was(tmp_path: Path) -> None:
    """The list that a node was built with may be used for something else."""
    bands = [1, 2]
    node = Kept(bands, name="n")
    bands.append(3)
    assert _saved_and_loaded(node, tmp_path / "p.yaml").built_with[0] == [1, 2]


def test_a_parameter_that_no_file_holds_is_an_error(tmp_path: Path) -> None:
    """It names node, parameter and type, before anything is written; what the author keeps in hparams stands in."""
    node = Kept([{"table": np.ones(2)}], name="n")
    with pytest.raises(PipelineError, match=r"Node 'n' cannot be written: its parameter 'bands' holds .* type ndarray"):
        _saved_and_loaded(node, tmp_path / "p.yaml")
    assert list(tmp_path.iterdir()) == []
    node.hparams["bands"] = [7]
    assert _saved_and_loaded(node, tmp_path / "p.yaml").built_with[0] == [7]


def test_a_copied_node_is_written(tmp_path: Path) -> None:
    """A copy was constructed with what the original was."""
    assert _saved_and_loaded(deepcopy(Special(3, "n")), tmp_path / "p.yaml").built_with[1] == 30


def test_devices_are_checked_before_anything_is_read(
    pipeline_of: PipelineOf, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that this machine lacks is named with those it has; without torch there is the CPU."""
    pipeline = pipeline_of({"layer": "Layer"})
    assert pipeline.to("cpu").device == "cpu"
    for device in ("cudda", "cuda:99"):
        with pytest.raises(PipelineError, match=f"There is no device '{device}'") as error:
            Pipeline.load(tmp_path / "none.yaml", node_registry=registry, device=device)
        assert "Devices of this machine: cpu" in str(error.value)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert pipeline_of({"a": "Scale"}).to("cpu").device == "cpu"
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[torch\]"):
        pipeline.to("cuda")


def test_overrides_in_either_spelling(registry: Any, tmp_path: Path) -> None:
    """A key is found in the file's spelling or in ours, whichever the override uses."""
    file = tmp_path / "p.yaml"
    file.write_text("nodes: [{name: a, class: Scale, hparams: {factor: 3}}]\n", encoding="utf-8")
    for key in ("params", "hparams"):
        pipeline = Pipeline.load(file, node_registry=registry, overrides=[f"nodes.a.{key}.factor=5"])
        assert pipeline.nodes["a"].hparams == {"factor": 5}


def test_overrides_are_laid_over_the_file(registry: Any, tmp_path: Path, cube: Any) -> None:
    """Typed as in YAML, by the name or number of a node; what is written has them."""
    file = tmp_path / "p.yaml"
    file.write_text("metadata: {name: p}\nnodes: [{name: a, class_name: Scale}, {name: b, class: Scale}]")
    overrides = ["nodes.a.params.factor=3", "nodes.1.params.factor=0.5", "metadata.mine.deep=[1, x]"]
    pipeline = Pipeline.load(file, node_registry=registry, overrides=overrides)
    answer = pipeline.forward({"cube": cube})
    np.testing.assert_array_equal(answer["a", "cube"], cube * 3)
    np.testing.assert_array_equal(answer["b", "cube"], cube * 0.5)
    assert pipeline.to_dict()["metadata"] == {"name": "p", "mine": {"deep": [1, "x"]}}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("nodes.a.params.factor", r"'nodes.a.params.factor' is no override"),
        ("=1", "'=1' is no override"),
        ("nodes..x=1", "is no override"),
        ("++nodes.a.params.factor=1", r"begins with Hydra's '\+'"),
        ("nodes.aa.params.factor=1", r"there is no 'nodes.aa'. Did you mean 'a'\?\nThere are: a, b."),
        ("nodes.7.params.factor=1", "there is no 'nodes.7'"),
        ("metadata.name.x=1", "'metadata.name' is 'p', which has no keys"),
        ("nodes.a.params.factor=[1", "the value is no YAML"),
        ("nodes.a.params.factr=1", "has no parameter 'factr'; did you mean 'factor'"),
        ("nodes.a.parms.factor=1", "parms: is an unknown key; did you mean 'params'"),
    ],
)
def test_a_wrong_override_is_one_clear_error(registry: Any, tmp_path: Path, override: str, problem: str) -> None:
    """It names what is nearest."""
    file = tmp_path / "p.yaml"
    file.write_text("metadata: {name: p}\nnodes: [{name: a, class_name: Scale}, {name: b, class_name: Scale}]")
    with pytest.raises(PipelineError, match=problem):
        Pipeline.load(file, node_registry=registry, overrides=[override])


def test_interpolations_are_resolved(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the file and variables of the environment; overrides come first."""
    monkeypatch.setenv("FACTOR", "7")
    monkeypatch.setenv("CUVIS_ALLOW_ENV", "FACTOR")
    file = tmp_path / "p.yaml"
    file.write_text(
        "metadata: {name: p, factor: 5}\nnodes:\n"
        "  - {name: a, class_name: Scale, params: {factor: '${metadata.factor}'}}\n"
        "  - {name: b, class_name: Scale, params: {factor: '${oc.decode:${oc.env:FACTOR}}'}}\n"
    )
    nodes = Pipeline.load(file, node_registry=registry, overrides=["metadata.factor=6"]).nodes
    assert [node.hparams["factor"] for node in nodes.values()] == [6, 7]
    file.write_text("nodes: [{name: a, class_name: Scale, params: {factor: '${metadata.factr}'}}]")
    with pytest.raises(PipelineError, match=r"p\.yaml: .*factr"):
        Pipeline.load(file, node_registry=registry)


def test_files_without_interpolations_do_not_import_omegaconf() -> None:
    """It takes its time."""
    code = (
        "import sys\nfrom cuvis_ai_core.pipeline.pipeline import Pipeline\n"
        "Pipeline.from_dict({'nodes': [{'name': 'n', 'class_name': 'MinMaxNormalizer'}]})\n"
        "sys.exit(' '.join({'omegaconf', 'torch', 'safetensors'} & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_whatever_a_parameter_is_it_comes_back(value: Any) -> None:
    """Texts that look like numbers, odd signs, numbers of any size: the file says the same as the pipeline."""
    data = {"nodes": [{"name": "n", "class_name": "Scale", "params": {"value": value}}]}
    written = parse_config(data | {"metadata": {"name": value}}).to_dict()
    assert parse_config(parse_yaml(to_yaml(written)).data).to_dict() == written


def test_a_file_has_the_order_that_people_read_it_in(pipeline_of: PipelineOf, tmp_path: Path) -> None:
    """What the pipeline is called, its nodes in their order, each with its name first, and their edges."""
    pipeline_of({"b": "Scale", "a": "Scale"}, "b.cube -> a.cube").save(tmp_path / "p.yaml")
    lines = (tmp_path / "p.yaml").read_text().splitlines()
    keys = [line.partition(":")[0].lstrip("- ") for line in lines]
    assert [key for key in keys if key in {"metadata", "nodes", "edges"}] == ["metadata", "nodes", "edges"]
    assert [line for line in lines if "name: " in line and "class" not in line][-2:] == ["- name: b", "- name: a"]


def test_metadata_that_are_handed_in_are_laid_over_those_of_the_pipeline(registry: Any, tmp_path: Path) -> None:
    """What is said of the same key last counts."""
    content = {"metadata": {"name": "p", "author": "nobody"}, "nodes": [{"name": "a", "class_name": "Scale"}]}
    pipeline = Pipeline.from_dict(content, node_registry=registry)
    pipeline.save_to_file(tmp_path / "p.yaml", metadata={"author": "somebody", "description": "new"})
    metadata = Pipeline.load(tmp_path / "p.yaml", node_registry=registry).to_dict()["metadata"]
    assert {key: metadata.get(key) for key in ("name", "author", "description")} == {
        "name": "p",
        "author": "somebody",
        "description": "new",
    }


def test_values_of_variables_are_written_as_their_names(
    pipeline_of: PipelineOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of results is handed on to others, and so would be what only this machine may know."""
    monkeypatch.setenv("CUVIS_ALLOW_ENV", "SECRET_PLACE")
    monkeypatch.setenv("SECRET_PLACE", "/somewhere/private")
    pipeline = pipeline_of({"a": ("Scale", {"factor": "/somewhere/private/table"})})
    pipeline.save(tmp_path / "p.yaml")
    text = (tmp_path / "p.yaml").read_text()
    assert "private" not in text
    assert "${oc.env:SECRET_PLACE}/table" in text


def test_a_node_that_was_not_initialised_is_not_after_a_load_that_failed(learned: Pipeline, registry: Any) -> None:
    """What had been taken over before the failure is given back, the flag with the values."""
    fresh = Pipeline.from_dict(learned.to_dict(), node_registry=registry, allow_untrained=True)
    state = {name: dict(values) for name, values in learned.state_dict().items()}
    state["layer"]["nothing_of_that_name"] = torch.zeros(2)
    with pytest.raises(PipelineError, match="nothing_of_that_name"):
        fresh.load_state_dict(state)
    assert not fresh.nodes["mean"].statistically_initialized
    assert not fresh.nodes["layer"].statistically_initialized
    assert fresh.nodes["layer"].stats is None


def test_lines_are_of_a_width_that_people_read() -> None:
    """A text is folded at the first blank behind 120 signs; other types than those of YAML are told by name."""
    letters = " ".join("x" * 200)
    assert {len(to_yaml({key: letters}).splitlines()[0]) for key in ("a", "ab")} == {122, 121}
    assert to_yaml({"a": "w" * 58 + " " + "w" * 58}).count("\n") == 1
    with pytest.raises(PipelineError, match="a parameter is of type Fraction, which YAML does not have"):
        to_yaml({"a": [Fraction(1, 2)]})


def test_a_parameter_that_cannot_be_written_is_told_by_node_and_file(pipeline_of: PipelineOf, tmp_path: Path) -> None:
    """For programs too."""
    with pytest.raises(PipelineError) as caught:
        pipeline_of({"a": ("Scale", {"factor": np.ones(1)})}).save(tmp_path / "p.yml")
    assert (caught.value.node, caught.value.path) == ("a", tmp_path / "p.yml")
    pipeline_of({"a": "Scale"}).save(tmp_path / "p.yml")
    assert (tmp_path / "p.yml").is_file()


def test_what_a_file_is_to_say_may_be_handed_in(pipeline_of: PipelineOf, tmp_path: Path) -> None:
    """Instead of what the pipeline says of itself; metadata are laid over that."""
    pipeline = pipeline_of({"a": "Scale"})
    content = {**pipeline.to_dict(), "metadata": {"name": "other", "x": 1}}
    save_pipeline(tmp_path / "p.yaml", pipeline, None, content=content, metadata={"x": 2}, weights=False)
    assert parse_yaml((tmp_path / "p.yaml").read_text()).data["metadata"] == {"name": "other", "x": 2}
