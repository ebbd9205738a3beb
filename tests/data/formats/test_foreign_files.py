"""Files as the field's own libraries write them, in the variants that their users make."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.errors import CubeError

READERS = NodeRegistry(discover=False).cube_readers()
DATA = np.random.default_rng(5).integers(1, 3000, (12, 9, 5)).astype(np.int16)
NM = np.array([450.0, 550.0, 650.0, 850.0, 2200.0])


def _same(cube: Cube, values: Any = DATA, wavelengths: Any = NM) -> Cube:
    """Compare a cube with what is right: whole, in a piece, and with its wavelengths."""
    np.testing.assert_allclose(cube.data, values, rtol=1e-6)
    np.testing.assert_allclose(cube.data[3:7, 2:5, 1:], values[3:7, 2:5, 1:], rtol=1e-6)
    if wavelengths is None:
        assert cube.wavelengths is None
    else:
        assert cube.wavelengths is not None
        np.testing.assert_allclose(cube.wavelengths, wavelengths, rtol=1e-6)
    return cube


# GeoTIFF


def _tif(path: Path, data: Any = DATA, tags: dict[str, Any] | None = None, **options: Any) -> Path:
    rasterio = pytest.importorskip("rasterio")
    height, width, count = data.shape
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)}
    profile = {"driver": "GTiff", "dtype": data.dtype, "height": height, "width": width, "count": count, **place}
    with rasterio.open(path, "w", **(profile | options)) as raster:
        raster.write(data.transpose(2, 0, 1))
        raster.update_tags(**(tags or {}))
    return path


@pytest.mark.parametrize(
    "label",
    [
        *(
            "{:.1f} nm",
            "Band 7: {:.1f}nm",
            "({:.1f} Nanometers)",
            "{:.1f} (nm)",
            "{:.3e} nm",
            "{:,.1f} nm",
            "{:,.0f} nm",
        ),
        *("{:.1f}", "wl={:.1f}", "Rrs_{:.0f}", "wavelength_{:.1f}"),
    ],
)
def test_labels_of_bands(tmp_path: Path, label: str) -> None:
    """Wavelengths are understood as people write them into the descriptions of bands, thousands with a comma too."""
    rasterio = pytest.importorskip("rasterio")
    path = _tif(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        for band, nm in enumerate(NM, 1):
            raster.set_band_description(band, label.format(nm))
    _same(read_cube(path, READERS))


@pytest.mark.parametrize("label", ["B{}", "{}", "band {}", "B{} of 5", "PC {}"])
def test_numbers_of_bands(tmp_path: Path, label: str) -> None:
    """Descriptions that count the bands are no wavelengths."""
    rasterio = pytest.importorskip("rasterio")
    path = _tif(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        for band in raster.indexes:
            raster.set_band_description(band, label.format(band + 100))
    _same(read_cube(path, READERS), wavelengths=None)


@pytest.mark.parametrize(
    "tags",
    [
        {"wavelengths": "[ 450.  550.  650.  850. 2200.]"},
        {"WAVELENGTHS": "450 550 650 850 2200"},
        {"wavelengths_nm": "450;550;650;850;2200"},
        {"Wavelength (um)": "0.45, 0.55, 0.65, 0.85, 2.2"},
        {"center_wavelengths": "{450, 550, 650, 850, 2200}"},
        {"wavelength": "0.45,0.55,0.65,0.85,2.2", "units": "um"},
        {"wavelength": "450,550,650,850,2200", "units": "W m-2 sr-1"},
        {f"Band_{band}": f"{nm} Nanometers" for band, nm in enumerate(NM, 1)},
    ],
)
def test_tags(tmp_path: Path, tags: dict[str, str]) -> None:
    """A list of wavelengths is found under the names that people give it, however its numbers are separated."""
    _same(read_cube(_tif(tmp_path / "a.tif", tags=tags), READERS))


@pytest.mark.parametrize(
    ("key", "text"), [("wavelength", "{} nm"), ("WAVELENGTH_NM", "{}"), ("center_wavelength", "{}")]
)
def test_tags_of_bands(tmp_path: Path, key: str, text: str) -> None:
    """So is the wavelength among the tags of each band."""
    rasterio = pytest.importorskip("rasterio")
    path = _tif(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        for band, nm in enumerate(NM, 1):
            raster.update_tags(band, **{key: text.format(nm)})
    _same(read_cube(path, READERS))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_transparency(tmp_path: Path, count: int) -> None:
    """A band of transparency, as mosaics of drones have it, is no channel: pixels without it have no data."""
    rasterio = pytest.importorskip("rasterio")
    colours = rasterio.enums.ColorInterp
    data = np.concatenate([DATA[..., :count], np.full((12, 9, 1), 255, np.int16)], axis=2).astype(np.uint16)
    data[2:4, ..., count] = 0
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 12, "width": 9, "count": count + 1, "dtype": "uint16"}
    profile["transform"] = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)
    with rasterio.open(path, "w", photometric="MINISBLACK", **profile) as raster:
        raster.colorinterp = [colours.gray] + [colours.undefined] * (count - 1) + [colours.alpha]
        raster.write(data.transpose(2, 0, 1))
    expected = data[..., :count].astype(float)
    expected[2:4] = np.nan
    _same(read_cube(path, READERS), expected, None)


@pytest.mark.parametrize(
    "options",
    [
        {"driver": "COG", "compress": "deflate"},
        {"ENDIANNESS": "BIG", "BIGTIFF": "YES"},
        {"compress": "lzw", "predictor": 2, "interleave": "pixel", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "lerc_zstd", "interleave": "band"},
    ],
)
def test_layouts_of_gdal(tmp_path: Path, options: dict[str, Any]) -> None:
    """GDAL's ways to lay out a file change nothing."""
    cube = _same(read_cube(_tif(tmp_path / "a.tif", nodata=-1, **options), READERS), wavelengths=None)
    assert cube.transform == (30, 0, 5e5, 0, -30, 5e6)


def test_rioxarray_long_name(tmp_path: Path) -> None:
    """What rioxarray makes NetCDF of keeps the descriptions of bands in `long_name`."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    attrs = {"long_name": [f"{nm:g} nm" for nm in NM], "_FillValue": -9999}
    bands = {"band": np.arange(1, 6)}
    array = xarray.DataArray(DATA.transpose(2, 0, 1), dims=("band", "y", "x"), coords=bands, attrs=attrs)
    array.to_dataset(name="__xarray_dataarray_variable__").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    _same(read_cube(tmp_path / "a.nc", READERS))


# HDF5

_TEXTS = [f"{nm:g}" for nm in NM]


@pytest.mark.parametrize(
    ("name", "values", "attrs"),
    [
        ("wavelengths", _TEXTS, {}),
        ("wavelengths", np.array(_TEXTS, "S"), {}),
        ("metadata/Band_Wavelengths", NM[:, None] / 1000, {"units": np.bytes_("micrometers")}),
        ("Wavelength (nm)", NM, {}),
        ("wavenumber", 1e7 / NM, {}),
        ("bands", np.array(list(zip(NM, NM / 50, strict=True)), [("wavelength", "f8"), ("fwhm", "f8")]), {}),
    ],
)
def test_lists_in_hdf5(tmp_path: Path, name: str, values: Any, attrs: dict[str, Any]) -> None:
    """Lists may be texts, columns of a table, or have their unit in their name."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = DATA
        file.create_dataset(name, data=values).attrs.update(attrs)
    cube = _same(read_cube(tmp_path / "a.h5", READERS))
    assert (cube.fwhm is not None) == (name == "bands")


@pytest.mark.parametrize("value", [", ".join(_TEXTS), _TEXTS, NM])
def test_attributes_in_hdf5(tmp_path: Path, value: Any) -> None:
    """An attribute may be a list, or a text of one; `units` beside it are those of the values."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("cube", data=DATA, chunks=(4, 4, 5), compression="lzf", shuffle=True)
        file["cube"].attrs.update({"wavelength": value, "units": "reflectance"})
    _same(read_cube(tmp_path / "a.h5", READERS))


@pytest.mark.parametrize(("interleave", "axes"), [("bip", (0, 1, 2)), ("BIL", (0, 2, 1)), ("bsq", (2, 0, 1))])
def test_interleave_in_hdf5(tmp_path: Path, interleave: str, axes: tuple[int, ...]) -> None:
    """An attribute `interleave` says which axes are which."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("cube", data=DATA.transpose(axes)).attrs["interleave"] = interleave
    assert not _same(read_cube(tmp_path / "a.h5", READERS), wavelengths=None).remarks


@pytest.mark.parametrize(
    ("order", "over_pixels", "steps", "unit", "wavelengths"),
    [
        ((0, 1, 2), (True, True, False), "even", "µm", 400 + 100 * np.arange(5)),
        ((2, 0, 1), (True, False, False), "even", "nm", [0.4, 0.5, 0.6, 0.7, 0.8]),
        ((0, 1, 2), (True, True, False), "uneven", "nm", NM),
        ((0, 1, 2), (True, True, False), "even", "keV", None),
        ((0, 1, 2), (True, True, False), "even", "_None_", None),
        ((0, 1, 2), (False, False, False), "uneven", "nm", None),
    ],
)
def test_axes_of_hyperspy(
    tmp_path: Path, order: tuple[int, ...], over_pixels: tuple[bool, ...], steps: str, unit: str, wavelengths: Any
) -> None:
    """Images of spectra and stacks of images have a group for each axis: even ones a first value and a step."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        group = file.create_group("Experiments/scene")
        group["data"] = DATA.transpose(order)
        for at, over in enumerate(over_pixels):
            about = {"name": "Wavelength" if order[at] == 2 else "xy"[at % 2], "units": unit, "navigate": over}
            axis = group.create_group(f"axis-{at}")
            axis.attrs.update(
                about | ({} if steps == "uneven" else {"offset": 0.4, "scale": 0.1, "size": DATA.shape[order[at]]})
            )
            if steps == "uneven":
                axis["axis"] = NM if order[at] == 2 else np.arange(DATA.shape[order[at]])
    cube = read_cube(tmp_path / "a.hspy", READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    if wavelengths is None or wavelengths[0] == 0.4:  # no camera sees 0.4 nm
        assert cube.wavelengths is None
    else:
        assert cube.wavelengths is not None
        np.testing.assert_allclose(cube.wavelengths, wavelengths)


@pytest.mark.parametrize(("first", "unit"), [(-1.0, "eV"), (0.0, "eV"), (-1.0, "1/cm")])
def test_losses_of_energy_are_no_wavelengths(tmp_path: Path, first: float, unit: str) -> None:
    """Bands at 0 or below are bands like the others."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        group = file.create_group("Experiments/scene")
        group["data"] = DATA
        for at, over in enumerate((True, True, False)):
            axis = group.create_group(f"axis-{at}")
            axis.attrs.update({"name": "axis", "units": unit, "navigate": over, "offset": first, "scale": 1.0})
    cube = read_cube(tmp_path / "a.hspy", READERS)
    assert (cube.wavelengths, cube.good_bands) == (None, None)
    np.testing.assert_array_equal(cube.batch()["cube"][0], DATA)


def test_truth_values(tmp_path: Path) -> None:
    """A mask of three axes is no cube, and the error names its type."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = DATA > 5
    with pytest.raises(
        CubeError, match=r"no arrays of three dimensions with real numbers.*\(12 x 9 x 5 of type bool\)"
    ):
        read_cube(tmp_path / "a.h5", READERS)


# NetCDF


@pytest.mark.parametrize(
    "attrs",
    [
        {"missing_value": np.array([DATA[1, 1, 1], DATA[2, 2, 2]])},
        {"valid_range": np.array([10, 2000], "i2")},
        {"valid_min": np.int16(100), "scale_factor": 0.5},
        {"valid_max": np.int16(100)},
        {"_Unsigned": "true", "valid_max": np.int16(-3)},
    ],
)
def test_validity(tmp_path: Path, attrs: dict[str, Any]) -> None:
    """What is valid, and whether integers have a sign, is as netCDF4 reads it."""
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in zip(("y", "x", "band"), DATA.shape, strict=True):
            file.createDimension(name, size)
        variable = file.createVariable("rfl", "i2", ("y", "x", "band"))
        variable.set_auto_maskandscale(False)
        variable[:] = DATA * np.int16(20) if "_Unsigned" in attrs else DATA
        variable.setncatts(attrs)
    with netcdf.Dataset(tmp_path / "a.nc") as file:
        expected = np.ma.filled(np.ma.asarray(file["rfl"][:]).astype(float), np.nan)
    _same(read_cube(tmp_path / "a.nc", READERS), expected, None)


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_never_written(tmp_path: Path, kind: Any) -> None:
    """Floats that nobody wrote are no data, not 1e37."""
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "a.nc", "w", format=kind) as file:
        for name, size in zip(("y", "x", "band"), DATA.shape, strict=True):
            file.createDimension(name, size)
        file.createVariable("rfl", "f4", ("y", "x", "band"))[:5] = DATA[:5]
    expected = DATA.astype(float)
    expected[5:] = np.nan
    _same(read_cube(tmp_path / "a.nc", READERS), expected, None)


def test_cdf5(tmp_path: Path) -> None:
    """NetCDF with 64-bit data of the classic kind is refused by name, with what converts it."""
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "a.nc", "w", format="NETCDF3_64BIT_DATA") as file:
        for name, size in zip(("y", "x", "band"), DATA.shape, strict=True):
            file.createDimension(name, size)
        file.createVariable("rfl", "i2", ("y", "x", "band"))[:] = DATA
    with pytest.raises(CubeError, match=r"(?s)a\.nc' is NetCDF of the format CDF-5.*nccopy"):
        read_cube(tmp_path / "a.nc", READERS)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "scipy", "zarr2", "zarr3"])
@pytest.mark.parametrize("dims", list(permutations(("y", "x", "wavelength"))))
def test_xarray(tmp_path: Path, engine: str, dims: tuple[str, ...]) -> None:
    """What xarray packs and writes in any order of axes comes back: values, bands, place, time."""
    xarray = pytest.importorskip("xarray")
    values = DATA / 1000
    values[3] = np.nan
    array = xarray.DataArray(values, dims=("y", "x", "wavelength"), name="rfl").transpose(*dims)
    scene = array.to_dataset().assign_coords(
        wavelength=("wavelength", NM / 1000, {"units": "um"}),
        fwhm=("wavelength", NM / 50000),
        y=100.0 - np.arange(12),
        x=3.0 + np.arange(9),
        time=np.datetime64("2024-05-06T07:08:09", "ns"),
    )
    packed = {"rfl": {"dtype": "i2", "scale_factor": 1e-3, "_FillValue": -1}}
    if engine.startswith("zarr"):
        pytest.importorskip("zarr")
        path = tmp_path / "a.zarr"
        scene.to_zarr(path, zarr_format=int(engine[-1]), encoding=packed, consolidated=engine == "zarr2")
    else:
        pytest.importorskip({"netcdf4": "netCDF4"}.get(engine, engine))
        path = tmp_path / "a.nc"
        scene.to_netcdf(path, engine=engine, encoding=packed)
    cube = _same(read_cube(path, READERS), values)
    assert cube.fwhm is not None
    np.testing.assert_allclose(cube.fwhm, NM / 50)
    assert cube.transform == (1, 0, 2.5, 0, -1, 100.5)
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == "2024-05-06T07:08:09"


@pytest.mark.parametrize("bands", [NM, [f"{nm:g} nm" for nm in NM]])
def test_band_coordinate(tmp_path: Path, bands: Any) -> None:
    """The coordinate of the axis of bands may be wavelengths, as numbers or as texts, whatever it is called."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    array = xarray.DataArray(DATA.transpose(2, 0, 1), dims=("band", "y", "x"), coords={"band": bands}, name="rfl")
    array.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    _same(read_cube(tmp_path / "a.nc", READERS))


# Zarr


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_pyramid_of_ome(tmp_path: Path, version: str) -> None:
    """Of a pyramid as OME describes it the image in full resolution is read, its axes by their names."""
    zarr = pytest.importorskip("zarr")
    old = version == "0.4"
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if old else 3)
    for name, level in (("s0", DATA.transpose(2, 0, 1)), ("s1", DATA.transpose(2, 0, 1)[:, ::2, ::2])):
        root.create_array(name, shape=level.shape, dtype=level.dtype)[...] = level
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scales = [{"version": version, "axes": axes, "datasets": [{"path": "s0"}, {"path": "s1"}]}]
    root.attrs.update({"multiscales": scales} if old else {"ome": {"version": version, "multiscales": scales}})
    _same(read_cube(tmp_path / "a.zarr", READERS), wavelengths=None)
    assert read_cube(f"{tmp_path / 'a.zarr'}::s1", READERS).data.size == DATA[::2, ::2].size


# MATLAB


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"cube": DATA, "wavelength": NM}},
        {"scene": {"hs": {"DataCube": DATA, "Wavelength": NM[:, None]}}},
        {"rad": DATA, "meta": {"lambda": NM}},
        {"rad": DATA, "nm": NM},
        {"rad": DATA.transpose(2, 0, 1), "wavelengths": NM},
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_structures_of_matlab(tmp_path: Path, content: dict[str, Any], packed: bool) -> None:  # noqa: FBT001
    """Fields of structures are arrays like others; the axis that alone is as long as the wavelengths is the channel."""
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", content, do_compression=packed)
    _same(read_cube(tmp_path / "a.mat", READERS))


def test_field_of_matlab(tmp_path: Path) -> None:
    """Of several fields one is asked for by its path, with dots as in MATLAB or slashes as in version 7.3."""
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"data": {"rad": DATA, "rfl": DATA + 1}})
    for name in ("data.rfl", "data/rfl"):
        _same(read_cube(f"{tmp_path / 'a.mat'}::{name}", READERS), DATA + 1, None)


def test_packed_structure_of_matlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How large a packed structure is, is known before it is unpacked."""
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"data": {"cube": np.zeros((100, 100, 20))}}, do_compression=True)
    monkeypatch.setenv("CUVIS_UNPACK_LIMIT", "1MiB")
    monkeypatch.setattr(scipy_io, "loadmat", None)
    with pytest.raises(CubeError, match=r"would unpack to 1\.5\d* MiB; the limit is 1 MiB"):
        read_cube(tmp_path / "a.mat", READERS)


# TIFF stacks


def test_pages_one_by_one(tmp_path: Path) -> None:
    """Pages that were written one after the other are the bands, their wavelengths in their descriptions."""
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for nm, band in zip(NM, DATA.transpose(2, 0, 1), strict=True):
            file.write(band, description=f"{nm:g} nm", contiguous=False)
    _same(read_cube(tmp_path / "a.tif", READERS))


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"axes": "CYX", "wavelengths": NM.tolist()}},
        {"imagej": True, "metadata": {"axes": "CYX", "Labels": [f"{nm:g}" for nm in NM]}},
        {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": [f"{nm:g} nm" for nm in NM]}}},
        {"description": '{"wavelengths": [450, 550, 650, 850, 2200]}', "compression": "zlib"},
    ],
)
def test_labels_of_stacks(tmp_path: Path, options: dict[str, Any]) -> None:
    """Wavelengths of a stack are where tifffile's users put them."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", DATA.transpose(2, 0, 1), photometric="minisblack", **options)
    _same(read_cube(tmp_path / "a.tif", READERS))


def test_array_as_it_was(tmp_path: Path) -> None:
    """An array of height, width, channel has pages of lines for tifffile: wavelengths tell, else it is said."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", DATA, photometric="minisblack", metadata={"wavelengths": NM.tolist()})
    _same(read_cube(tmp_path / "a.tif", READERS))
    tifffile.imwrite(tmp_path / "b.tif", DATA, photometric="minisblack")
    assert read_cube(tmp_path / "b.tif", READERS).remarks == ("The 12 pages of 9 x 5 pixels were taken for bands.",)


# ENVI


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
def test_envi_of_gdal(tmp_path: Path, interleave: str) -> None:
    """GDAL keeps wavelengths in the names of bands, and turns the image as its transform says."""
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.img"
    turned = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6) @ rasterio.Affine.rotation(20)
    _tif(path, driver="ENVI", interleave=interleave, transform=turned)
    with rasterio.open(path, "r+") as raster:
        for band, nm in enumerate(NM, 1):
            raster.set_band_description(band, f"{nm} Nanometers")
    cube = _same(read_cube(path, READERS))
    with rasterio.open(path) as raster:
        assert cube.transform is not None
        np.testing.assert_allclose(cube.transform, tuple(raster.transform)[:6])
    assert "The wavelengths are those in the names of the bands." in cube.remarks


def test_no_bands_of_a_piece(tmp_path: Path) -> None:
    """A piece without bands, lines or columns is empty, whatever the file."""
    cube = read_cube(_tif(tmp_path / "a.tif"), READERS)
    assert cube.data[:, :, 5:].shape == (12, 9, 0)
    assert cube.data[3:3, 1].shape == (0, 5)
