"""Images that lie on no even grid: what places them comes through to the results, in every format that can hold it."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.data.formats.ground_control_points import points_of
from cuvis_ai_core.results.cube_run import Run

rasterio = pytest.importorskip("rasterio")

HEIGHT, WIDTH, BANDS = 20, 15, 4
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
LATITUDE, LONGITUDE = 50 - 0.01 * ROWS + 0.002 * COLUMNS, 8 + 0.01 * COLUMNS + 0.002 * ROWS
VALUES = np.random.default_rng(0).random((BANDS, HEIGHT, WIDTH), dtype=np.float32)


def written(path: Path, **profile: Any) -> Any:
    """Return a raster that is being written, with values."""
    about = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": BANDS, "dtype": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raster = rasterio.open(path, "w", **about, **profile)
    raster.write(VALUES)
    return raster


def run(cube: Path, kind: str, folder: Path) -> dict[str, Any]:
    """Run a node on a cube, write what it gives as some format, and return what the record says of the cube."""
    with NodeRegistry() as registry:
        file = folder / "p.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text("nodes:\n  - {name: n, class_name: MinMaxNormalizer}\n", encoding="utf-8")
        pipeline = Pipeline.load(file, node_registry=registry)
        keep = ("n.cube",)
        Run(registry=registry, pipeline=pipeline, manifest=None, cube_path=cube, keep=keep, format=kind).write_to(
            folder / kind
        )
    record: dict[str, Any] = json.loads((folder / kind / "run.json").read_text(encoding="utf-8"))["cube"]
    return record


def opened(path: Path) -> Any:
    """Return a raster that GDAL reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rasterio.open(path)


@pytest.mark.parametrize("kind", ["geotiff", "envi"])
def test_ground_control_points_come_through(kind: str, tmp_path: Path) -> None:
    """GDAL finds the same ones in the result; the record says which formats have them."""
    from rasterio.control import GroundControlPoint

    corners = [(0, 0, 8.0, 50.0), (0, WIDTH, 8.4, 50.1), (HEIGHT, 0, 8.1, 49.0), (HEIGHT, WIDTH, 8.5, 49.1)]
    points = [GroundControlPoint(row=row, col=column, x=x, y=y, z=0) for row, column, x, y in corners]
    written(tmp_path / "scene.tif", gcps=points, crs="EPSG:4326").close()
    record = run(tmp_path / "scene.tif", kind, tmp_path / "out")
    assert "4 ground control points" in record["remarks"][0]
    with opened(tmp_path / "out" / kind / ("n.cube.tif" if kind == "geotiff" else "n.cube.img")) as result:
        found, crs = result.gcps
    assert [(each.row, each.col, each.x, each.y) for each in found] == corners
    assert kind == "envi" or crs.to_epsg() == 4326


def test_polynomials_of_a_camera_come_through(tmp_path: Path) -> None:
    """As GDAL keeps them (RPC)."""
    from rasterio.rpc import RPC

    one, none = [1.0] + [0.0] * 19, [0.0] * 20
    numbers = (100, 50, 10, 1, one, none, 24, 24, 8, 1, one, none, 32, 32, 0.5, 0.5)
    with written(tmp_path / "scene.tif") as raster:
        raster.rpcs = RPC(*(each if isinstance(each, list) else float(each) for each in numbers))
    run(tmp_path / "scene.tif", "geotiff", tmp_path / "out")
    with opened(tmp_path / "scene.tif") as before, opened(tmp_path / "out" / "geotiff" / "n.cube.tif") as after:
        assert after.rpcs == before.rpcs
        assert after.rpcs.lat_off == 10.0


def swath(path: Path) -> Path:
    """Write an image as EMIT's are: the place of each pixel, and a table for a grid beside it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["reflectance"] = VALUES.transpose(1, 2, 0)
        for place, values in (("lat", LATITUDE), ("lon", LONGITUDE)):
            file[f"location/{place}"] = values
        file["location/glt_x"] = file["location/glt_y"] = np.ones((30, 25), dtype=np.int32)
        file["sensor_band_parameters/wavelengths"] = np.linspace(400, 700, BANDS)
        file.attrs["geotransform"] = [8.0, 0.01, 0.0, 50.0, 0.0, -0.01]
    return path


@pytest.mark.parametrize(("kind", "name"), [("geotiff", "n.cube.tif"), ("envi", "n.cube.img")])
def test_swaths_get_control_points(kind: str, name: str, tmp_path: Path) -> None:
    """Of the places of all pixels some, at their centres; the transform is that of the grid and not of the image."""
    run(swath(tmp_path / "scene.nc"), kind, tmp_path / "out")
    with opened(tmp_path / "out" / kind / name) as result:
        assert result.transform.is_identity
        points = result.gcps[0]
    assert len(points) == 11 * 11
    for each in points:
        row, column = int(each.row - 0.5), int(each.col - 0.5)
        assert (each.x, each.y) == pytest.approx((LONGITUDE[row, column], LATITUDE[row, column]))


def test_swaths_keep_the_place_of_each_pixel(tmp_path: Path) -> None:
    """In an archive as `latitude` and `longitude`, in Zarr as coordinates that xarray knows, beside the wavelengths."""
    zarr, xarray = pytest.importorskip("zarr"), pytest.importorskip("xarray")
    cube = swath(tmp_path / "scene.nc")
    for kind in ("npz", "zarr"):
        run(cube, kind, tmp_path / "out")
    with np.load(tmp_path / "out" / "npz" / "outputs.npz") as archive:
        np.testing.assert_array_equal(archive["latitude"], LATITUDE)
        np.testing.assert_array_equal(archive["longitude"], LONGITUDE)
        np.testing.assert_array_equal(archive["wavelengths"], np.linspace(400, 700, BANDS))
    with zarr.storage.ZipStore(tmp_path / "out" / "zarr" / "n.cube.zarr.zip", mode="r") as store:
        found = xarray.open_zarr(store, consolidated=False)
        np.testing.assert_array_equal(found["cube"].coords["longitude"], LONGITUDE)
        assert found["latitude"].attrs["units"] == "degrees_north"


# of a pixel of 10 m: turned by 30 degrees; and sheared, which no map info says
TURNED = (10 * 0.75**0.5, -5.0, 500000.0, -5.0, -10 * 0.75**0.5, 4600000.0)
SHEARED = (10.0, 3.0, 500000.0, 0.0, -10.0, 4600000.0)


@pytest.mark.parametrize("numbers", [TURNED, SHEARED])
def test_turned_images_stay_turned_in_envi(numbers: tuple[float, ...], tmp_path: Path) -> None:
    """As a rotation, which GDAL and this core read; what is none is said by itself."""
    from rasterio.transform import Affine

    written(tmp_path / "scene.tif", crs="EPSG:32632", transform=Affine(*numbers)).close()
    run(tmp_path / "scene.tif", "envi", tmp_path / "out")
    header = (tmp_path / "out" / "envi" / "n.cube.hdr").read_text(encoding="utf-8")
    if numbers == SHEARED:
        assert "map info" not in header
        assert f"affine transform = {{{', '.join(map(repr, numbers))}}}" in header
        return
    with opened(tmp_path / "out" / "envi" / "n.cube.img") as result:
        assert tuple(result.transform)[:6] == pytest.approx(numbers)
        assert result.crs.to_epsg() == 32632
        assert np.isnan(result.nodata)
    record = run(tmp_path / "out" / "envi" / "n.cube.hdr", "npz", tmp_path / "again")
    assert record["transform"] == pytest.approx(numbers)


@pytest.mark.parametrize(("known", "found"), [(0, None), (2, None), (3, 3), (4, 4)])
def test_a_plane_needs_three_points(known: int, found: int | None) -> None:
    """Of the latitudes and longitudes of pixels those that are known; fewer than three place nothing."""
    latitude = np.full((2, 2), np.nan)
    latitude.ravel()[:known] = [50, 49, 48, 47][:known]
    cube = Cube(np.ones((2, 2, 1)), metadata={"latitude": latitude, "longitude": np.ones((2, 2))})
    points = points_of(cube)
    assert (None if points is None else len(points.rows)) == found


@pytest.mark.parametrize("crs", ["EPSG:32601", "EPSG:32633", "EPSG:32760", "EPSG:4326", "EPSG:3035", "OGC:CRS84"])
def test_systems_with_a_name_are_known_in_envi(crs: str, tmp_path: Path) -> None:
    """A cube may have the name of its system alone, which no program finds in an ENVI header."""
    transform = (0.01, 0.0, 9.0, 0.0, -0.01, 50.0)
    np.savez(tmp_path / "scene.npz", cube=VALUES.transpose(1, 2, 0), crs=crs, transform=np.array(transform))
    run(tmp_path / "scene.npz", "envi", tmp_path / "out")
    with opened(tmp_path / "out" / "envi" / "n.cube.img") as result:
        assert result.crs == rasterio.crs.CRS.from_user_input(crs)
        assert tuple(result.transform)[:6] == pytest.approx(transform)
    known = read_cube(tmp_path / "out" / "envi" / "n.cube.hdr", NodeRegistry(discover=False).cube_readers()).crs
    assert rasterio.crs.CRS.from_user_input(known) == rasterio.crs.CRS.from_user_input(crs)
