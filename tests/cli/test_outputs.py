"""Outputs as files: which are written, in which format, and what is carried along."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.results.npz_writer import Archive
from tests.cli.conftest import Shell

WAVELENGTHS = np.array([500.0, 600.0, 700.0])
PLACE = {
    "crs": "EPSG:32633",
    "transform": np.array([30.0, 0, 500000, 0, -30, 5000000]),
    "acquired": "2024-07-01T10:30:00",
}
GRAPH = {
    "metadata": {"name": "p", "class_names": {"mask": {"mask": {"1": "odd, one"}}}},
    "nodes": [
        {"name": "scaler", "class_name": "MinMaxNormalizer"},
        {"name": "rx", "class_name": "RXDetector"},
        {"name": "mask", "class_name": "QuantileDecider", "params": {"quantile": 0.9}},
        {"name": "colour", "class_name": "WavelengthSelector", "params": {"targets": [700.0, 500.0]}},
    ],
    "edges": [
        {"source": "scaler.cube", "target": "rx.cube"},
        {"source": "rx.scores", "target": "mask.scores"},
        {"source": "scaler.cube", "target": "colour.cube"},
    ],
}


@pytest.fixture
def run(shell: Shell, write_yaml: Callable[..., Path]) -> Callable[..., Any]:
    """Return a function that runs the graph on a cube with wavelengths and a place."""
    pipeline = write_yaml("p.yaml", GRAPH)
    data = np.random.default_rng(1).normal(10, 2, (20, 30, 3)).astype(np.float32)
    data[3, 4] = np.nan
    np.savez("scene.npz", cube=data, wavelengths=WAVELENGTHS, fwhm=WAVELENGTHS / 100, **PLACE)  # type: ignore[arg-type]

    def restore(*options: str) -> Any:
        command = ("--pipeline-path", pipeline, "--cube-path", "scene.npz", "--output-dir", "out", *options)
        return shell("restore-pipeline", *command)

    return restore


def _read(name: str) -> Cube:
    with NodeRegistry() as registry:
        return read_cube(Path("out") / name, registry.cube_readers())


def _arrays() -> dict[str, Any]:
    with np.load("out/outputs.npz") as archive:
        return dict(archive)


def test_only_the_last(run: Callable[..., Any]) -> None:
    """Without a word, the outputs of the last nodes are written, and no cube in between."""
    assert run().exit_code == 0
    assert set(_arrays()) == {"mask.mask", "colour.image", "colour.wavelengths", *PLACE}


def test_keep(run: Callable[..., Any]) -> None:
    """What is asked for is written, and nothing else; an output that is not there is refused before the work."""
    assert run("--keep", "scaler.cube", "--keep", "rx.scores").exit_code == 0
    assert set(_arrays()) == {"scaler.cube", "rx.scores", "wavelengths", "fwhm", *PLACE}
    found = run("--keep", "rx.score")
    assert found.exit_code == 2, found.output
    assert "has no output 'rx.score'. Did you mean 'rx.scores'?" in found.stderr


@pytest.mark.parametrize("options", [(), ("--memory", "1MiB")])
def test_memory(run: Callable[..., Any], options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """With whatever memory, in tiles or in one piece, the same is written."""
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 200 if options else 2**20)
    assert run("--keep", "rx.scores", "--keep", "mask.mask", *options).exit_code == 0
    arrays = _arrays()
    with np.load("scene.npz") as scene:
        spectra = scene["cube"].reshape(-1, 3).astype(float)
    valid = np.isfinite(spectra).all(1)
    centred = spectra - spectra[valid].mean(0)
    expected = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(np.cov(spectra[valid].T)), centred)
    assert_allclose(arrays["rx.scores"].reshape(-1), expected, rtol=1e-4)
    assert arrays["mask.mask"].sum() == 60


def test_wrong_memory(run: Callable[..., Any]) -> None:
    """A size that is none is an error of the command line."""
    found = run("--memory", "plenty")
    assert found.exit_code == 2
    assert "Write it as 2GiB" in found.stderr


@pytest.mark.parametrize(("kind", "suffix"), [("envi", ".hdr"), ("geotiff", ".tif"), ("zarr", ".zarr.zip")])
def test_formats(run: Callable[..., Any], kind: str, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each format comes back by its reader, tile by tile written, with wavelengths and place of the cube."""
    if kind != "envi":
        pytest.importorskip({"geotiff": "rasterio", "zarr": "zarr"}[kind])
    keep = ("--keep", "scaler.cube", "--keep", "rx.scores", "--keep", "mask.mask", "--keep", "colour.image")
    assert run(*keep, "--keep", "colour.wavelengths").exit_code == 0
    expected = _arrays()
    monkeypatch.setattr("cuvis_ai_core.pipeline.tiling.windows._MOST", 200)
    found = run(*keep, "--keep", "colour.wavelengths", "--format", kind)
    assert found.exit_code == 0, found.output
    assert set(_arrays()) == {"colour.wavelengths", *PLACE}
    for name in ("scaler.cube", "rx.scores", "mask.mask", "colour.image"):
        cube = _read(f"{name}{suffix}")
        assert_allclose(np.asarray(cube.data), expected[name][0], rtol=1e-5, err_msg=name)
        assert cube.transform == pytest.approx(tuple(PLACE["transform"]))
        assert "32633" in str(cube.crs)
    assert_array_equal(_read(f"scaler.cube{suffix}").wavelengths, WAVELENGTHS)
    assert_array_equal(_read(f"colour.image{suffix}").wavelengths, [700, 500])
    assert f"rx.scores{suffix}" in found.stdout


@pytest.mark.parametrize(("kind", "suffix"), [("envi", ".hdr"), ("geotiff", ".tif"), ("zarr", ".zarr.zip")])
@pytest.mark.parametrize(
    "place",
    [
        {},
        {"transform": np.array([2.0, 0, 10, 0, -3, 20])},
        {"transform": np.array([2.0, 0, 10, 0, -3, 20]), "crs": "EPSG:32633"},
        {"transform": np.array([1.0, 1.0, 10, 1.0, -1.0, 20]), "crs": "EPSG:32633"},
        {"transform": np.array([2.0, 0.5, 10, 0, -3, 20]), "crs": "EPSG:32633"},
        {"crs": "EPSG:32633", "acquired": "2024-07-01T10:30:00"},
    ],
    ids=["nowhere", "arbitrary", "north up", "turned", "sheared", "a system alone"],
)
def test_places_come_back(
    shell: Shell, write_yaml: Callable[..., Path], kind: str, suffix: str, place: dict[str, Any]
) -> None:
    """Whatever of a place is known, and nothing that is not."""
    if kind != "envi":
        pytest.importorskip({"geotiff": "rasterio", "zarr": "zarr"}[kind])
    nodes = [{"name": "scaler", "class_name": "MinMaxNormalizer"}]
    np.savez("scene.npz", cube=np.random.default_rng(1).random((4, 5, 3), np.float32), **place)
    command = ("--pipeline-path", write_yaml("p.yaml", {"nodes": nodes}), "--cube-path", "scene.npz")
    found = shell("restore-pipeline", *command, "--output-dir", "out", "--format", kind)
    assert found.exit_code == 0, found.output
    cube = _read(f"scaler.cube{suffix}")
    wanted = place.get("transform")
    if kind == "envi" and wanted is not None and wanted[1] and not wanted[3]:  # for which its header has no words
        assert "affine transform = {2.0, 0.5, 10.0, 0.0, -3.0, 20.0}" in Path("out/scaler.cube.hdr").read_text()
        wanted = None
    assert cube.transform == (None if wanted is None else pytest.approx(tuple(wanted)))
    assert ("32633" in str(cube.crs)) == ("crs" in place)
    assert (cube.acquired is not None) == ("acquired" in place and kind != "geotiff")
    assert_allclose(np.asarray(cube.data), _values_of("scene.npz"), rtol=1e-6)


def _values_of(file: str) -> Any:
    with np.load(file) as scene:
        data = scene["cube"]
    return (data - data.min()) / (data.max() - data.min())


def test_a_zarr_output_is_a_grid_for_xarray(run: Callable[..., Any]) -> None:
    """Its pixels have their middles as coordinates, and its coordinate system is no second image."""
    zarr: Any = pytest.importorskip("zarr")
    xarray: Any = pytest.importorskip("xarray")
    assert run("--keep", "scaler.cube", "--format", "zarr").exit_code == 0
    store = zarr.storage.ZipStore("out/scaler.cube.zarr.zip", mode="r")
    with xarray.open_dataset(store, engine="zarr", consolidated=False) as found:
        assert set(found.data_vars) == {"cube"}
        assert "32633" in found.coords["spatial_ref"].attrs["crs_wkt"]
        width, _, left, _, height, top = PLACE["transform"]
        assert_allclose(found.x, left + width * (np.arange(found.sizes["x"]) + 0.5))
        assert_allclose(found.y, top + height * (np.arange(found.sizes["y"]) + 0.5))
        assert_array_equal(found.wavelength, WAVELENGTHS)


def test_classes_in_envi(run: Callable[..., Any]) -> None:
    """A map of classes has their names and colours in its header."""
    assert run("--format", "envi").exit_code == 0
    header = Path("out/mask.mask.hdr").read_text(encoding="utf-8")
    assert "description = {mask.mask: Scores above the quantile}" in header
    assert "file type = ENVI Classification" in header
    assert "class names = {Unclassified, odd  one}".replace("  ", " ") in header
    assert "class lookup = {" in header


def test_a_format_that_is_not_installed(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A format whose library is missing names the extra before the work."""
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    found = run("--format", "geotiff")
    assert found.exit_code != 0
    assert "pip install 'cuvis-ai-core[geotiff]'" in found.stderr
    assert not Path("out").exists()


_SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(st.lists(st.tuples(_SHAPES, st.sampled_from(["bool", "<f4", ">i2", "U3", "complex64"])), max_size=4))
def test_archive(tmp_path_factory: pytest.TempPathFactory, members: list[tuple[Any, str]]) -> None:
    """An archive holds what was written into its places, in whatever order, by all who read archives."""
    file = tmp_path_factory.mktemp("archive") / "a.npz"
    archive = Archive(file)
    arrays = {f"ä{number}": np.ones(shape, dtype) for number, (shape, dtype) in enumerate(members)}
    places = {name: archive.place(name, array.shape, array.dtype) for name, array in arrays.items()}
    for name in reversed(places):
        places[name][...] = arrays[name]
    archive.close()
    with np.load(file) as found:
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert_array_equal(found[name], array, strict=True)
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None


def test_parts_of_an_image(tmp_path: Path) -> None:
    """An image is written window by window, and read back whole or part by part."""
    image = np.arange(2 * 5 * 7 * 3, dtype=np.float32).reshape(2, 5, 7, 3)
    place = Archive(tmp_path / "a.npz").place("x", image.shape, image.dtype)
    for rows in (slice(3, 5), slice(0, 3)):
        for columns in (slice(0, 4), slice(4, 7)):
            place[:, rows, columns] = image[:, rows, columns]
    assert_array_equal(np.asarray(place), image, strict=True)
    assert_array_equal(np.concatenate(list(place.blocks())), image.reshape(-1))
    place[:, 1:3, 0:7] = np.zeros((2, 2, 7, 3))
    assert np.asarray(place)[:, 1:3].max() == 0
