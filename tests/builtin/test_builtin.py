import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pluggy
import pytest
from cuvis_ai_hookspecs import specs
from cuvis_ai_hookspecs.markers import PROJECT_NAME
from numpy.testing import assert_allclose

from cuvis_ai_core import Pipeline
from cuvis_ai_core.builtin import BUILTIN_NODES, plugin
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.node.ports import read_ports

RANDOM = np.random.default_rng(10)
CUBE = RANDOM.random((2, 5, 6, 4), dtype=np.float32)
CUBE[0, 1, 2, 3] = np.nan
INPUTS = {
    "cube": CUBE,
    "wavelengths": np.asarray([450.0, 550.0, 650.0, 750.0]),
    "reference": RANDOM.random(4, dtype=np.float32),
    "scores": CUBE[..., :1],
}


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def test_editors_know_what_each_node_is_for() -> None:
    """By a category and by tags of its own class, not of one that it comes from."""
    for path in BUILTIN_NODES.values():
        node_class = _load(path)
        assert {"_category", "_tags"} <= set(vars(node_class)), path
        assert node_class.get_category().value != "unspecified"
        assert node_class.get_tags()


def _built(name: str) -> ArrayNode:
    node: ArrayNode = _load(BUILTIN_NODES[name])()
    return node


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_node_table(name: str) -> None:
    """The table names node classes with readable ports."""
    node_class = _load(BUILTIN_NODES[name])
    assert is_node_class(node_class)
    assert node_class.__name__ == name
    for direction in ("INPUT_SPECS", "OUTPUT_SPECS"):
        for port in read_ports(node_class, direction).values():
            assert port.description
            port.sizes(_built(name))


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_array_api_standard(name: str) -> None:
    """Nodes use only the array API standard and give what they give on NumPy."""
    node = _built(name)
    inputs = {port: INPUTS[port] for port in node.INPUT_SPECS}
    strict = node(**{port: array_api_strict.asarray(value) for port, value in inputs.items()})
    plain = node(**inputs)
    assert strict.keys() == plain.keys() == node.OUTPUT_SPECS.keys()
    for port, value in strict.items():
        assert value.__array_namespace__() is array_api_strict
        assert_allclose(np.asarray(value), plain[port], rtol=1e-6)


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_output_sizes(name: str) -> None:
    """Outputs have the sizes that the ports declare."""
    node = _built(name)
    outputs = node(**{port: INPUTS[port] for port in node.INPUT_SPECS})
    for port in read_ports(type(node), "OUTPUT_SPECS").values():
        sizes = port.sizes(node)
        assert len(sizes) == outputs[port.name].ndim
        for declared, found in zip(sizes, outputs[port.name].shape, strict=True):
            assert declared in {-1, found}


@pytest.mark.parametrize("name", BUILTIN_NODES)
@pytest.mark.parametrize("value", [0.5, np.nan])
def test_images_of_one_pixel(name: str, value: float) -> None:
    """Are images, too."""
    node = _built(name)
    given = {port: INPUTS[port] for port in node.INPUT_SPECS}
    outputs = node(**{port: each[:1, :1, :1] * 0 + value if each.ndim > 1 else each for port, each in given.items()})
    assert {value.shape[:3] for value in outputs.values() if value.ndim > 1} == {(1, 1, 1)}


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_inputs_unchanged(name: str) -> None:
    """Inputs are left unchanged."""
    node = _built(name)
    inputs = {port: INPUTS[port].copy() for port in node.INPUT_SPECS}
    node(**inputs)
    for port, value in inputs.items():
        assert value.tobytes() == INPUTS[port].tobytes()


@pytest.mark.parametrize("name", BUILTIN_NODES)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((2, 2, 4), dtype=np.float32), r"got the shape \(2, 2, 4\)"),
        (np.ones((1, 0, 2, 4), dtype=np.float32), r"got the shape \(1, 0, 2, 4\)"),
        (np.ones((1, 2, 2, 4), dtype=np.uint16), "got uint16; it takes floating-point numbers"),
        (np.ones((1, 2, 2, 4), dtype=np.complex64), "got complex64"),
        ([[[[1.0]]]], "got list"),
        (None, "got NoneType"),
    ],
)
def test_no_batch_of_images(name: str, image: Any, message: str) -> None:
    """What is no batch of images is an error that names node and port."""
    node = _built(name)
    first, *others = node.INPUT_SPECS
    with pytest.raises(PortError, match=rf"Node '{name}', input '{first}': {message}") as caught:
        node(**{first: image}, **{port: INPUTS[port] for port in others})
    assert (caught.value.node, caught.value.port) == (name, first)


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_tile_by_tile_the_same_comes_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of whole images, also where the first pixel has no data; tiles may be computed in several threads."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 8)
    node_class = _load(BUILTIN_NODES[name])
    assert node_class.per_pixel
    assert node_class.thread_safe
    inputs = {port: INPUTS[port].copy() for port in node_class.INPUT_SPECS}
    images = next(iter(inputs))
    inputs[images][0, 0, 0] = np.nan
    pipeline = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": name}]})
    tiles: list[int] = []
    found = pipeline.forward_tiled(inputs, progress=lambda done, _: tiles.append(done))
    assert len(tiles) > 3
    expected = node_class()(**inputs)
    assert {port for _, port in found} == expected.keys()
    for port, value in expected.items():
        assert_allclose(np.asarray(found["n", port]), value, rtol=1e-5, err_msg=port)


@pytest.mark.parametrize("name", ["WavelengthSelector", "SpectralAngleMapper"])
def test_no_more_tiles_are_looked_at_once_all_bands_have_data(name: str) -> None:
    """In every image."""
    node: Any = _built(name)
    inputs = {port: INPUTS[port] for port in node.INPUT_SPECS}
    none = {**inputs, "cube": np.where(np.arange(2)[:, None, None, None] == 1, np.nan, CUBE)}
    half, whole = node.tile_statistics(**none), node.tile_statistics(**inputs)
    assert (node.statistics_complete(half), node.statistics_complete(whole)) == (False, True)
    assert node.statistics_complete(node.merge_statistics(half, whole))
    assert not node.statistics_complete(node.merge_statistics(half, half))


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_hyper_parameters_rebuild(name: str) -> None:
    """Hyper-parameters build the same node again."""
    node = _built(name)
    again = type(node)(**node.hparams, name="again", execution_stages=["val"])
    assert (again.name, again.hparams, again.should_execute("train")) == ("again", node.hparams, False)


GIVEN: dict[str, dict[str, Any]] = {
    "MinMaxNormalizer": {"per_channel": True, "eps": 0.25},
    "QuantileDecider": {"quantile": 0.25},
    "RXDetector": {"regularization": 0.25},
    "SpectralAngleMapper": {"reference": [1.0, 2.0]},
    "WavelengthSelector": {"targets": [500.0], "tolerance": 5.0},
}


@pytest.mark.parametrize("name", BUILTIN_NODES)
def test_what_is_given_is_kept(name: str) -> None:
    """All that a saved pipeline builds the node of again: hyper-parameters, name and stages."""
    node = _load(BUILTIN_NODES[name])(**GIVEN[name], name="given", execution_stages=["val"])
    assert (node.hparams, node.name) == (GIVEN[name], "given")
    assert (node.should_execute("val"), node.should_execute("train")) == (True, False)


def test_reader_hook() -> None:
    """The module answers the hook, and the readers that it names are there."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(specs)
    manager.register(plugin)
    manager.check_pending()
    (readers,) = manager.hook.cuvis_ai_cube_readers()
    assert {".cu3s", ".hdr", ".npy", ".npz", ".h5", ".he5", ".mat", ".nc", ".tif", ".zarr"} <= set(readers)
    assert all(callable(_load(path)) for path in readers.values())


def test_light_import() -> None:
    """The tables are read without importing NumPy."""
    code = (
        "import sys, cuvis_ai_core.builtin.plugin, cuvis_ai_core.data\n"
        "assert cuvis_ai_core.builtin.BUILTIN_NODES\n"
        "print({'numpy', 'pydantic', 'spectral'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.skipif(not hasattr(np, "__array_namespace_info__"), reason="NumPy follows the standard from 2.1 on")
def test_what_a_run_imports(tmp_path: Path) -> None:
    """Reading a cube and running every built-in node imports no part of NumPy that takes long and is not needed."""
    np.savez(tmp_path / "cube.npz", cube=CUBE[1].repeat(9, -1), wavelengths=np.linspace(400, 1000, 36))
    code = """if True:
        import sys
        from cuvis_ai_core import NodeRegistry, Pipeline
        from cuvis_ai_core.data import read_cube
        with NodeRegistry() as registry:
            nodes = ["MinMaxNormalizer", "RXDetector", "WavelengthSelector"]
            listed = {"nodes": [{"name": each.lower(), "class_name": each} for each in nodes]}
            cube = read_cube(sys.argv[1], registry.cube_readers())
            assert len(Pipeline.from_dict(listed, node_registry=registry).forward(cube.batch())) == 4
        print(*{"numpy.f2py", "numpy.ma", "numpy.testing"} & set(sys.modules))
    """
    command = [sys.executable, "-c", code, str(tmp_path / "cube.npz")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"
