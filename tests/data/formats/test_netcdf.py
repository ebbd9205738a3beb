"""NetCDF files: of EMIT in the structure of its processor, of xarray as it writes them, and the classic format."""

from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.errors import CubeError, MissingExtraError

netcdf4 = pytest.importorskip("netCDF4")
xarray = pytest.importorskip("xarray")
pytest.importorskip("h5py")

READERS = NodeRegistry().cube_readers()
DATA = np.linspace(0.1, 0.9, 4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5)
NM = np.array([381.0, 500.0, 1380.0, 1900.0, 2400.0])


@pytest.mark.parametrize(
    ("numbers", "unit", "found"),
    [
        ([500.0, 510.0], "", [500, 510]),
        ([500.0, 501.0], "", None),
        ([500.0, 501.0], "nm", [500, 501]),
        ([0.5, 0.51], "um", [500, 510]),
        ([500.0, 501.0, 502.0], "", None),
        ([500.0, 501.0, 503.0], "", [500, 501, 503]),
        ([500.0], "", [500]),
        ([1.0, 3.0], "", None),
    ],
)
def test_a_coordinate_may_be_wavelengths_or_numbers_of_bands(
    tmp_path: Path, numbers: list[float], unit: str, found: list[float] | None
) -> None:
    """Those that count on by one, or that are too small, are wavelengths only where a unit says so."""
    with netcdf4.Dataset(tmp_path / "cube.nc", "w") as file:
        for dim, size in (("y", 2), ("x", 2), ("band", len(numbers))):
            file.createDimension(dim, size)
        file.createVariable("cube", "f4", ("y", "x", "band"))[:] = np.ones((2, 2, len(numbers)))
        file.createVariable("band", "f8", ("band",))[:] = numbers
        if unit:
            file["band"].units = unit
    wavelengths = read_cube(tmp_path / "cube.nc", READERS).wavelengths
    assert (None if wavelengths is None else pytest.approx(wavelengths.tolist())) == found


def test_a_single_number_is_no_list_of_bands(tmp_path: Path) -> None:
    """One that is called as wavelengths are says nothing of three bands, and nothing is said of it."""
    with netcdf4.Dataset(tmp_path / "cube.nc", "w") as file:
        for dim, size in (("y", 2), ("x", 2), ("band", 3)):
            file.createDimension(dim, size)
        file.createVariable("cube", "f4", ("y", "x", "band"))[:] = np.ones((2, 2, 3))
        file.createVariable("wavelength", "f8", ())[:] = 500.0
    cube = read_cube(tmp_path / "cube.nc", READERS)
    assert cube.wavelengths is None
    assert "wavelength" not in " ".join(cube.remarks)


def _emit(path: Path, name: str = "reflectance") -> Path:
    """Write a granule as EMIT's converter for the archive does."""
    with netcdf4.Dataset(path, "w", format="NETCDF4") as file:
        for dim, size in (("downtrack", 4), ("crosstrack", 3), ("bands", 5), ("ortho_y", 6), ("ortho_x", 5)):
            file.createDimension(dim, size)
        cube = file.createVariable(
            name, "f4", ("downtrack", "crosstrack", "bands"), fill_value=-9999.0, zlib=True, chunksizes=(2, 3, 5)
        )
        values = DATA.copy()
        values[0, 0] = -9999
        cube[:] = values
        cube.units = "unitless"
        bands = file.createGroup("sensor_band_parameters")
        for key, numbers, unit in (("wavelengths", NM, "nm"), ("fwhm", np.full(5, 8.5), "nm")):
            bands.createVariable(key, "f4", ("bands",))[:] = numbers
            bands[key].units = unit
        if name == "reflectance":
            bands.createVariable("good_wavelengths", "u1", ("bands",))[:] = [1, 1, 0, 0, 1]
        location = file.createGroup("location")
        for key, value in (("lon", -118.0), ("lat", 34.0), ("elev", 100.0)):
            location.createVariable(key, "f8", ("downtrack", "crosstrack"))[:] = value
        for key in ("glt_x", "glt_y"):
            location.createVariable(key, "i4", ("ortho_y", "ortho_x"))[:] = 1
        file.time_coverage_start = "2023-03-16T04:51:33+0000"
        file.geotransform = [-118.5, 0.0005, 0.0, 34.5, 0.0, -0.0005]
        file.spatial_ref = 'GEOGCS["WGS 84"]'
        file.title = "EMIT L2A Estimated Surface Reflectance"
    return path


def test_emit_reflectance(tmp_path: Path) -> None:
    """Of EMIT L2A come fill values as NaN, bands from their group, the good ones, the time, and where each pixel is."""
    cube = read_cube(_emit(tmp_path / "EMIT_L2A_RFL_001_20230316T045133_2307503_005.nc"), READERS)
    assert np.isnan(cube.data[0, 0]).all()
    np.testing.assert_array_equal(cube.data[1:], DATA[1:])
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)
    assert cube.fwhm is not None
    assert cube.fwhm.tolist() == [8.5] * 5
    assert cube.good_bands is not None
    assert cube.good_bands.tolist() == [True, True, False, False, True]
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == "2023-03-16T04:51:33+00:00"
    assert cube.metadata["latitude"][3, 2] == 34.0
    assert cube.metadata["longitude"].shape == (4, 3)
    assert cube.transform is None  # the one in the file is of the grid that it can be put on


def test_emit_radiance(tmp_path: Path) -> None:
    """Of EMIT L1B, which has no list of good bands, all are good."""
    cube = read_cube(_emit(tmp_path / "EMIT_L1B_RAD_001.nc", "radiance"), READERS)
    assert cube.good_bands is None
    assert cube.data.shape == (4, 3, 5)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "scipy"])
def test_xarray(tmp_path: Path, engine: str) -> None:
    """What xarray writes, packed and with the band in front, comes back in order, in its scale, on its grid."""
    if engine == "h5netcdf":
        pytest.importorskip("h5netcdf")
    coordinates = {"band": np.arange(5), "y": 5000.0 - 10 * np.arange(4), "x": 300.0 + 10 * np.arange(3)}
    array = xarray.DataArray(DATA.transpose(2, 0, 1), coords=coordinates, dims=("band", "y", "x"), name="rfl")
    scene = array.to_dataset().assign_coords(wavelength=("band", NM / 1000, {"units": "micrometer"}))
    scene["spatial_ref"] = ((), 0, {"crs_wkt": 'PROJCS["UTM"]'})
    scene["rfl"].attrs["grid_mapping"] = "spatial_ref"
    scene["rfl"].values[0, 0, 0] = np.nan
    packed = {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -32768}
    path = tmp_path / "scene.nc"
    scene.to_netcdf(path, engine=engine, encoding={"rfl": packed})
    cube = read_cube(path, READERS)
    expected = DATA.copy()
    expected[0, 0, 0] = np.nan
    np.testing.assert_allclose(cube.data, expected, atol=1e-4)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)
    assert (cube.crs, cube.transform) == ('PROJCS["UTM"]', (10, 0, 295, 0, -10, 5005))


def test_axes_of_one(tmp_path: Path) -> None:
    """A time of one step is no axis of the cube."""
    path = tmp_path / "scene.nc"
    xarray.DataArray(DATA[np.newaxis], dims=("time", "y", "x", "band"), name="a").to_netcdf(path)
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


@pytest.mark.parametrize(
    ("units", "value"),
    [
        ("seconds since 2024-05-06", 25_689),
        ("milliseconds since 2024-05-06 07:08:00", 9000),
        ("hours since 2024-05-06T06:08:09Z", 1),
        ("days since 2024-05-05 07:08:09", 1.0),
    ],
)
def test_a_time_of_one_step_says_when(units: str, value: float, tmp_path: Path) -> None:
    """It counts from a moment that its unit names, as CF has it."""
    path = tmp_path / "scene.nc"
    cube = xarray.DataArray(DATA[np.newaxis], dims=("time", "y", "x", "band"), name="a")
    cube.coords["time"] = ("time", [value], {"units": units})
    cube.to_netcdf(path)
    acquired = read_cube(path, READERS).acquired
    assert acquired is not None
    assert acquired.replace(tzinfo=None).isoformat() == "2024-05-06T07:08:09"


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_a_time_of_another_calendar_is_none(calendar: str, tmp_path: Path) -> None:
    """Days of models are no days of images."""
    path = tmp_path / "scene.nc"
    cube = xarray.DataArray(DATA[np.newaxis], dims=("time", "y", "x", "band"), name="a")
    cube.coords["time"] = ("time", [1], {"units": "days since 2024-02-28", "calendar": calendar})
    cube.to_netcdf(path)
    assert read_cube(path, READERS).acquired is None


def test_damaged(tmp_path: Path) -> None:
    """A classic file that is cut off is an error of ours."""
    path = tmp_path / "scene.nc"
    xarray.DataArray(DATA, dims=("y", "x", "band"), name="a").to_netcdf(path, engine="scipy")
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(CubeError, match=r"scene\.nc' is not a NetCDF file that can be read"):
        read_cube(path, READERS)


def test_without_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the extra."""
    path = tmp_path / "scene.nc"
    path.write_bytes(b"CDF\x01")
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match=r"(?s)package 'scipy'.*cuvis-ai-core\[netcdf\]"):
        read_cube(path, READERS)


def test_pace(tmp_path: Path) -> None:
    """Of ocean colour products axes are named by lines and pixels, wavelengths lie in a group of their own."""
    path = tmp_path / "PACE_OCI.20240401T000000.L2.OC_AOP.nc"
    with netcdf4.Dataset(path, "w") as file:
        for dim, size in (("number_of_lines", 4), ("pixels_per_line", 3), ("wavelength_3d", 5)):
            file.createDimension(dim, size)
        group = file.createGroup("geophysical_data")
        axes = ("number_of_lines", "pixels_per_line", "wavelength_3d")
        values = group.createVariable("Rrs", "i2", axes, fill_value=-32767)
        values.scale_factor, values.add_offset = 2e-6, 0.05
        values.set_auto_maskandscale(False)
        values[:] = np.arange(60).reshape(4, 3, 5)
        bands = file.createGroup("sensor_band_parameters")
        bands.createVariable("wavelength_3d", "f8", ("wavelength_3d",))[:] = NM
        bands["wavelength_3d"].units = "nm"
    cube = read_cube(path, READERS)
    np.testing.assert_allclose(cube.data[1, 2, 3], 28 * 2e-6 + 0.05, rtol=1e-6)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)


def test_pace_of_level_1(tmp_path: Path) -> None:
    """Each part of the sensor has an array, its channels first, and a list of its own."""
    path = tmp_path / "PACE_OCI.20240401T000000.L1B.V3.nc"
    values = {"blue": np.arange(48.0).reshape(4, 3, 4), "red": np.arange(60.0).reshape(5, 3, 4)}
    with netcdf4.Dataset(path, "w") as file:
        for dim, size in (("scans", 3), ("pixels", 4), ("blue_bands", 4), ("red_bands", 5)):
            file.createDimension(dim, size)
        bands = file.createGroup("sensor_band_parameters")
        for part, each in values.items():
            axes = (f"{part}_bands", "scans", "pixels")
            file.createVariable(f"observation_data/rhot_{part}", "f4", axes)[:] = each
            bands.createVariable(f"{part}_wavelength", "f4", axes[:1])[:] = 300 + 100 * np.arange(len(each))
    for part, each in values.items():
        cube = read_cube(f"{path}::rhot_{part}", READERS)
        np.testing.assert_array_equal(cube.data, each.transpose(1, 2, 0))
        assert cube.wavelengths is not None
        np.testing.assert_array_equal(cube.wavelengths, 300 + 100 * np.arange(len(each)))


def test_a_system_without_wkt_is_said(tmp_path: Path) -> None:
    """CF describes a system by numbers, too: which it is is not known then, and it is not left out in silence."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["cube"] = np.zeros((3, 4, 5), dtype=np.float32)
        file["cube"].attrs["grid_mapping"] = "utm"
        file["utm"] = 0
        file["utm"].attrs["grid_mapping_name"] = "transverse_mercator"
    cube = read_cube(tmp_path / "a.nc", READERS)
    assert cube.crs is None
    assert any("(transverse_mercator) is described by attributes" in remark for remark in cube.remarks)
