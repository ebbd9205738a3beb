"""Places of outputs in files, and what each format says beside the values: each writer by itself."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.pages.colour_maps import CLASS_COLOURS
from cuvis_ai_core.results import array_storage, geotiff_writer
from cuvis_ai_core.results.array_storage import RawPlace, blocks_of, is_place
from cuvis_ai_core.results.envi_writer import EnviFile
from cuvis_ai_core.results.geotiff_writer import GeoTiffFile
from cuvis_ai_core.results.output_bands import Bands, bands_of
from cuvis_ai_core.results.zarr_writer import ZarrFile

NEEDS = {"raw": "numpy", "envi": "numpy", "geotiff": "rasterio", "zarr": "zarr"}
WRITERS: dict[str, Callable[..., Any]] = {"envi": EnviFile, "geotiff": GeoTiffFile, "zarr": ZarrFile}
NORTH_UP, TURNED = (2.0, 0.0, 10.0, 0.0, -3.0, 20.0), (1.0, 1.0, 10.0, 1.0, -1.0, 20.0)


def scene(height: int = 4, width: int = 5, bands: int = 3, **known: Any) -> Cube:
    """Return a cube of some size."""
    return Cube(np.ones((height, width, bands), np.float32), **known)


def writer(kind: str, folder: Path, shape: tuple[int, ...], dtype: Any, cube: Cube | None = None) -> Any:
    """Return a file of a format that is being written."""
    pytest.importorskip(NEEDS[kind])
    return WRITERS[kind](folder, "x", shape, np.dtype(dtype), cube or scene(*shape[1:3]))


def place(kind: str, folder: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a place in a file of a format, or of raw values behind something else."""
    if kind != "raw":
        return writer(kind, folder, shape, dtype).place
    raw = np.dtype(dtype)
    (folder / "raw").write_bytes(b"head" + bytes(int(np.prod(shape)) * raw.itemsize))
    return RawPlace(folder / "raw", 4, shape, raw)


def reread(path: Path) -> Cube:
    """Return a cube that was written."""
    with NodeRegistry() as registry:
        return read_cube(path, registry.cube_readers())


def numbers(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return values that differ from place to place."""
    values = np.random.default_rng(0).normal(size=shape) * 40 + 50
    return values > 50 if dtype == "bool" else values.astype(dtype)


@pytest.mark.parametrize("kind", NEEDS)
@pytest.mark.parametrize("shape", [(1, 5, 7), (1, 7, 5, 3), (1, 150, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "bool"])
def test_a_place_holds_what_is_written_into_it_tile_by_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shape: tuple[int, ...], dtype: str
) -> None:
    """In any order; it is read back whole, in another type if asked, or part by part."""
    monkeypatch.setattr(array_storage, "_BLOCK", 40)
    monkeypatch.setattr("cuvis_ai_core.results.zarr_writer._PIXELS", 20)
    values = numbers(shape, dtype)
    there = place(kind, tmp_path, shape, dtype)
    assert is_place(there)
    assert not is_place(values)
    assert there.shape == shape
    height, width = shape[1:3]
    for rows in (slice(3, height), slice(0, 3)):
        for columns in (slice(0, 2), slice(2, width)):
            there[:, rows, columns] = values[:, rows, columns]
    assert_array_equal(np.asarray(there), values)
    for _ in range(2):
        assert np.asarray(there).dtype == there.dtype
        found = np.asarray(there, dtype=np.float64)
        assert found.dtype == np.float64
        assert_array_equal(found, values)
        parts = list(blocks_of(there))
        assert max(part.size for part in parts) < values.size or kind == "geotiff" or dtype == "bool"
        assert_array_equal(np.sort(np.concatenate([part.reshape(-1) for part in parts])), np.sort(values, axis=None))
        values = values[:, ::-1].copy()
        there[...] = values
    there[:, 1:3, 0:width] = values[:, 1:3] * 0
    values[:, 1:3] = 0
    assert_array_equal(np.asarray(there), values)


def test_raw_values_of_several_images_are_written_by_tiles(tmp_path: Path) -> None:
    """Each image in its own part of the file; what lies before is not touched."""
    values = numbers((2, 4, 5, 3), "float32")
    there = place("raw", tmp_path, values.shape, "float32")
    for columns in (slice(2, 5), slice(0, 2), slice(0, 5)):
        there[:, 0:4, columns] = values[:, :, columns]
        assert_array_equal(np.asarray(there)[:, :, columns], values[:, :, columns])
    assert (tmp_path / "raw").read_bytes()[:4] == b"head"
    (whole,) = there.blocks()
    assert_array_equal(whole, values.reshape(-1))
    (own,) = blocks_of(values)
    assert own is values


def test_large_rasters_are_read_some_lines_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, also where the lines do not come out even."""
    monkeypatch.setattr(geotiff_writer, "_LINES", 4)
    there = place("geotiff", tmp_path, (1, 10, 3, 2), "uint8")
    there[...] = numbers((1, 10, 3, 2), "uint8")
    parts = list(there.blocks())
    assert [part.shape for part in parts] == [(2, 4, 3), (2, 4, 3), (2, 2, 3)]
    assert_array_equal(np.concatenate(parts, axis=1), np.moveaxis(np.asarray(there)[0], -1, 0))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        ("bool", "uint8"),
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        ("int16", "int16"),
        ("uint32", "uint32"),
        ("int32", "int32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        (">f4", "float32"),
    ],
)
def test_values_come_back_in_their_type_or_the_next_wider_one(
    tmp_path: Path, kind: str, dtype: str, written: str
) -> None:
    """As each format has it; a file without a tile in some place has no data there, or 0."""
    shape = (1, 4, 5, 1)
    out = writer(kind, tmp_path, shape, dtype)
    values = numbers(shape, dtype)
    out.place[:, 0:4, 0:3] = values[:, :, :3]
    empty = np.asarray(out.place)[0, :, 3:]
    assert np.isnan(empty).all() if kind != "envi" and values.dtype.kind == "f" else (empty == 0).all()
    out.place[...] = values
    out.close(Bands("n.p"))
    found = reread(tmp_path / out.file)
    assert found.data.dtype.newbyteorder("=") == np.dtype(
        "float16" if kind == "zarr" and dtype == "float16" else written
    )
    assert_array_equal(np.asarray(found.data), values[0])


def header(tmp_path: Path, cube: Cube, bands: Bands, *, channels: int = 3, dtype: str = "float32") -> dict[str, str]:
    """Return the header of an ENVI file."""
    out = EnviFile(tmp_path, "x", (1, 4, 5, channels), np.dtype(dtype), cube)
    out.close(bands)
    first, *lines = (tmp_path / out.file).read_text(encoding="utf-8").splitlines()
    assert first == "ENVI"
    return dict(line.split(" = ", 1) for line in lines)


def test_an_envi_header_says_what_the_file_has(tmp_path: Path) -> None:
    """Sizes, order and type of the values; no value where there is none, for real numbers alone."""
    found = header(tmp_path, scene(), Bands("n.p", "some {odd}\nwords"))
    assert found == {
        "description": "{n.p: some (odd) words}",
        "samples": "5",
        "lines": "4",
        "bands": "3",
        "header offset": "0",
        "file type": "ENVI Standard",
        "data type": "4",
        "interleave": "bip",
        "byte order": "0",
        "data ignore value": "nan",
    }
    assert (tmp_path / "x.img").stat().st_size == 4 * 5 * 3 * 4
    assert "data ignore value" not in header(tmp_path, scene(), Bands("n"), dtype="int16")


@pytest.mark.parametrize(
    ("known", "fields"),
    [
        ({"transform": NORTH_UP}, {"map info": "{Arbitrary, 1, 1, 10.0, 20.0, 2.0, 3.0}"}),
        ({"transform": (2.0, 0.5, 10.0, 0.0, -3.0, 20.0)}, {"affine transform": "{2.0, 0.5, 10.0, 0.0, -3.0, 20.0}"}),
        ({"transform": NORTH_UP, "metadata": {"map info": "{UTM, 1, 1}"}}, {"map info": "{UTM, 1, 1}"}),
        ({"crs": 'LOCAL_CS["x"]'}, {"coordinate system string": '{LOCAL_CS["x"]}'}),
        ({"crs": "A", "metadata": {"coordinate system string": ["B", 1]}}, {"coordinate system string": "{B, 1}"}),
        ({"acquired": datetime(2024, 1, 2, tzinfo=UTC)}, {"acquisition time": "2024-01-02T00:00:00+00:00"}),
        ({"metadata": {"acquisition time": "then", "sensor": "x"}}, {"acquisition time": "{then}"}),
        ({"metadata": {"ground_control_points": [[0, 1, 8, 50, 0]], "ground_control_points_crs": "EPSG:4326"}},
         {"geo points": "{1, 2, 50.0, 8.0}"}),
        ({"metadata": {"ground_control_points": [[0, 1, 8, 50, 0]], "ground_control_points_crs": "EPSG:3857"}}, {}),
    ],
)  # fmt: skip
def test_an_envi_header_says_where_and_when_the_cube_was_taken(
    tmp_path: Path, known: dict[str, Any], fields: dict[str, str]
) -> None:
    """As its own header had it, or in the words that ENVI has for it."""
    plain = header(tmp_path, scene(), Bands("n"))
    found = header(tmp_path, scene(**known), Bands("n"))
    assert {key: value for key, value in found.items() if key not in plain} == fields


def test_a_turned_envi_image_has_its_rotation(tmp_path: Path) -> None:
    """And the size of its pixels."""
    found = header(tmp_path, scene(transform=TURNED), Bands("n"))["map info"]
    corner, size, turn = (
        found.partition("rotation=")[0].split(", ")[:5],
        found.split(", ")[5:7],
        found.split("rotation=")[1],
    )
    assert corner == ["{Arbitrary", "1", "1", "10.0", "20.0"]
    assert_allclose([*map(float, size), float(turn.strip("}"))], [2**0.5, 2**0.5, 45])


def test_bands_and_classes_in_an_envi_header(tmp_path: Path) -> None:
    """Wavelengths and widths where they are known; of classes all numbers up to the greatest."""
    bands = Bands("n", "", np.array([500.0, 600.125, 700]), np.array([5.0, 6, 7]))
    found = header(tmp_path, scene(), bands)
    assert found["wavelength"] == "{500, 600.125, 700}"
    assert (found["fwhm"], found["wavelength units"]) == ("{5, 6, 7}", "Nanometers")
    assert "fwhm" not in header(tmp_path, scene(), Bands("n", "", np.array([500.0, 600, 700])))
    found = header(tmp_path, scene(), Bands("n", classes={3: "a, b", 1: "corn"}), channels=1, dtype="uint8")
    assert (found["file type"], found["classes"]) == ("ENVI Classification", "4")
    assert found["class names"] == "{Unclassified, corn, class 2, a b}"
    colours = [0, 0, 0, *CLASS_COLOURS[0], *CLASS_COLOURS[1], *CLASS_COLOURS[2]]
    assert found["class lookup"] == f"{{{', '.join(map(str, colours))}}}"
    assert "classes" not in header(tmp_path, scene(), Bands("n", classes={-1: "x", 2: "y"}), channels=1, dtype="int16")
    assert header(tmp_path, scene(), Bands("n", classes={0: "none"}))["class names"] == "{none}"


def raster(tmp_path: Path, cube: Cube, bands: Bands, *, channels: int = 3, dtype: str = "float32") -> Any:
    """Return a GeoTIFF that was written, opened."""
    rasterio = pytest.importorskip("rasterio")
    out = GeoTiffFile(tmp_path, "x", (1, 4, 5, channels), np.dtype(dtype), cube)
    out.place[...] = numbers((1, 4, 5, channels), dtype)
    out.close(bands)
    return rasterio.open(tmp_path / "x.tif")


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_what_a_geotiff_says_of_its_bands(tmp_path: Path) -> None:
    """Output, description, wavelengths and widths, when it was taken; no value where there is none."""
    cube = scene(acquired=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
    bands = Bands("n.p", "words", np.array([500.0, 600.125, 700]), np.array([5.0, 6, 7]))
    with raster(tmp_path, cube, bands) as found:
        assert (found.count, found.height, found.width, found.profile["interleave"]) == (3, 4, 5, "pixel")
        assert found.tags()["TIFFTAG_DATETIME"] == "2024:01:02 03:04:05"
        assert (found.tags()["output"], found.tags()["description"]) == ("n.p", "words")
        assert found.descriptions == ("500 nm", "600.125 nm", "700 nm")
        assert found.tags(2) == {"wavelength": "600.125", "wavelength_units": "Nanometers", "fwhm": "6"}
        assert np.isnan(found.nodata)
    with raster(tmp_path, scene(), Bands("n", "", np.array([500.0, 600, 700])), dtype="uint16") as found:
        assert found.tags(1) == {"wavelength": "500", "wavelength_units": "Nanometers"}
        assert found.nodata is None
        assert "TIFFTAG_DATETIME" not in found.tags()


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_classes_of_a_geotiff_have_names_and_colours(tmp_path: Path, dtype: str) -> None:
    """Colours where a byte holds the numbers."""
    classes = {1: "corn", 255: "grass", 256: "more", -1: "less"}
    with raster(tmp_path, scene(), Bands("n", classes=classes), channels=1, dtype=dtype) as found:
        assert {f"class_{number}": name for number, name in classes.items()}.items() <= found.tags(1).items()
        if dtype == "uint8":
            table = found.colormap(1)
            assert [table[1][3], table[255][3]] == [255, 255]
            assert table[1] != table[255]
        else:
            with pytest.raises(ValueError, match="color"):
                found.colormap(1)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_where_a_geotiff_lies(tmp_path: Path) -> None:
    """By its transform and system, or by points and theirs; a system that nobody knows is none."""
    with raster(tmp_path, scene(transform=TURNED, crs="EPSG:32633"), Bands("n")) as found:
        assert (tuple(found.transform)[:6], found.crs.to_epsg()) == (TURNED, 32633)
    points = {"ground_control_points": [[1, 2, 8, 50, 3]], "ground_control_points_crs": "EPSG:4326"}
    with raster(tmp_path, scene(crs="EPSG:32633", metadata=points), Bands("n")) as found:
        (point,), system = found.gcps
        assert (point.col, point.row, point.x, point.y, point.z) == (1, 2, 8, 50, 3)
        assert system.to_epsg() == 4326
    with raster(tmp_path, scene(crs="nowhere"), Bands("n")) as found:
        assert found.crs is None


def store(
    tmp_path: Path, cube: Cube, bands: Bands, shape: tuple[int, ...] = (1, 4, 5, 3), dtype: str = "float32"
) -> Any:
    """Return a Zarr store that was written, opened."""
    zarr: Any = pytest.importorskip("zarr")
    out = ZarrFile(tmp_path, "x", shape, np.dtype(dtype), cube)
    out.close(bands)
    return zarr.open_group(zarr.storage.ZipStore(tmp_path / out.file, mode="r"), mode="r")


def test_what_a_zarr_store_says_of_its_image(tmp_path: Path) -> None:
    """Names of its axes, wavelengths and widths as coordinates, description, time, classes."""
    cube = scene(acquired=datetime(2024, 1, 2, tzinfo=UTC))
    bands = Bands("n.p", "words", np.array([500.0, 600, 700]), np.array([5.0, 6, 7]), {2: "two words", 1: "corn"})
    found = store(tmp_path, cube, bands)
    assert sorted(found.array_keys()) == ["cube", "fwhm", "wavelength"]
    assert dict(found["cube"].attrs) == {
        "output": "n.p",
        "long_name": "words",
        "coordinates": "fwhm",
        "time_coverage_start": "2024-01-02T00:00:00+00:00",
        "flag_values": [1, 2],
        "flag_meanings": "corn two_words",
    }
    assert found["cube"].metadata.dimension_names == ("y", "x", "wavelength")
    assert found["wavelength"][...].tolist() == [500, 600, 700]
    assert (found["fwhm"].metadata.dimension_names, dict(found["fwhm"].attrs)) == (("wavelength",), {"units": "nm"})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.zarr.zip"]
    plain = store(tmp_path, scene(), Bands("n"), (1, 4, 5), "bool")
    assert dict(plain["cube"].attrs) == {"output": "n", "long_name": ""}
    assert plain["cube"].metadata.dimension_names == ("y", "x")
    assert (str(plain["cube"].dtype), plain["cube"].metadata.fill_value) == ("uint8", 0)


def test_where_a_zarr_store_lies(tmp_path: Path) -> None:
    """Its system and transform as GDAL has them, and the middles of its pixels or all their places."""
    found = store(tmp_path, scene(transform=NORTH_UP, crs="EPSG:32633"), Bands("n"))
    assert dict(found["spatial_ref"].attrs) == {
        "crs_wkt": "EPSG:32633",
        "GeoTransform": "10.0 2.0 0.0 20.0 0.0 -3.0",
    }
    assert found["spatial_ref"].shape == ()
    assert (found["cube"].attrs["grid_mapping"], found["cube"].attrs["coordinates"]) == ("spatial_ref", "spatial_ref")
    assert found["x"][...].tolist() == [11, 13, 15, 17, 19]
    assert found["y"][...].tolist() == [18.5, 15.5, 12.5, 9.5]
    assert (dict(found["x"].attrs), dict(found["y"].attrs)) == ({"axis": "X"}, {"axis": "Y"})
    assert (found["x"].metadata.dimension_names, found["y"].metadata.dimension_names) == (("x",), ("y",))
    found = store(tmp_path, scene(transform=TURNED), Bands("n"))
    assert sorted(found.array_keys()) == ["cube", "spatial_ref"]
    assert dict(found["spatial_ref"].attrs) == {"GeoTransform": "10.0 1.0 1.0 20.0 1.0 -1.0"}
    for transform in ((1.0, 0.0, 10.0, 1.0, -1.0, 20.0), (1.0, 1.0, 10.0, 0.0, -1.0, 20.0)):
        assert "x" not in store(tmp_path, scene(transform=transform), Bands("n"))
    assert "x" not in store(tmp_path, scene(crs="EPSG:4326"), Bands("n"))
    places = {"latitude": np.arange(20.0).reshape(4, 5), "longitude": np.arange(20.0).reshape(4, 5) + 1}
    found = store(tmp_path, scene(metadata=places), Bands("n"))
    assert found["cube"].attrs["coordinates"] == "latitude longitude"
    assert_array_equal(found["longitude"][...], places["longitude"])
    assert dict(found["latitude"].attrs) == {"units": "degrees_north"}
    assert found["latitude"].metadata.dimension_names == ("y", "x")
    found = store(tmp_path, scene(metadata={"latitude": np.zeros((3, 5))}), Bands("n"))
    assert sorted(found.array_keys()) == ["cube"]


def test_the_same_values_are_the_same_bytes(tmp_path: Path) -> None:
    """A store has no time of its writing."""
    pytest.importorskip("zarr")
    for name in "ab":
        (tmp_path / name).mkdir()
        out = ZarrFile(tmp_path / name, "x", (1, 4, 5), np.dtype("float32"), scene())
        out.place[...] = numbers((1, 4, 5), "float32")
        assert [each.suffix for each in (tmp_path / name).iterdir()] != [], "it is written beside, on the same disk"
        out.close(Bands("n"))
    assert (tmp_path / "a/x.zarr.zip").read_bytes() == (tmp_path / "b/x.zarr.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a/x.zarr.zip") as packed:
        assert {each.date_time[0] for each in packed.infolist()} == {1980}
        assert json.loads(packed.read("cube/zarr.json"))["fill_value"] == "NaN"


@pytest.mark.parametrize(
    ("port", "shape", "values", "wavelengths", "fwhm"),
    [
        ("cube", (1, 4, 5, 3), {}, [101, 102, 103], [4, 5, 6]),
        ("cube", (1, 4, 5, 2), {}, None, None),
        ("cube", (1, 4, 5), {}, None, None),
        ("image", (1, 4, 5, 3), {}, None, None),
        ("image", (1, 4, 5, 3), {"wavelengths": [7, 8, 9]}, [7, 8, 9], None),
        ("cube", (1, 4, 5, 3), {"wavelengths": [7.0, 8.0, 9.0]}, [7, 8, 9], None),
        ("image", (1, 4, 5), {"wavelengths": [7]}, [7], None),
        ("image", (1, 4, 5, 3), {"wavelengths": [7, 8]}, None, None),
        ("image", (1, 4, 5, 3), {"wavelengths": ["a", "b", "c"]}, None, None),
    ],
)
def test_which_wavelengths_an_output_has(
    port: str, shape: tuple[int, ...], values: dict[str, Any], wavelengths: Any, fwhm: Any
) -> None:
    """Those that its node answers beside it; those of the cube where it is one of as many bands."""
    cube = scene(wavelengths=np.array([101.0, 102, 103]), fwhm=np.array([4.0, 5, 6]))
    known = Bands("n.p", "words", classes={1: "corn"})
    found = bands_of(("n", port), shape, {("n", name): each for name, each in values.items()}, cube, known)
    assert (found.name, found.description, found.classes) == ("n.p", "words", {1: "corn"})
    assert (None if found.wavelengths is None else found.wavelengths.tolist()) == wavelengths
    assert (None if found.fwhm is None else found.fwhm.tolist()) == fwhm
