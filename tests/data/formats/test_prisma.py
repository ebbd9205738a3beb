"""Products of PRISMA, built small in the structure that ASI's processor gives them."""

from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.errors import CubeError

h5py = pytest.importorskip("h5py")

READERS = NodeRegistry().cube_readers()
VNIR = np.arange(1, 1 + 2 * 3 * 5, dtype=np.uint16).reshape(2, 3, 5)
"""Lines, bands, samples."""

SWIR = np.arange(1001, 1001 + 2 * 4 * 5, dtype=np.uint16).reshape(2, 4, 5)


def _product(folder: Path, level: str = "L1") -> Path:
    path = folder / f"PRS_{level}_STD_20210504095954_20210504095959_0001.he5"
    with h5py.File(path, "w") as file:
        swath = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO")
        for name, data in (("VNIR", VNIR), ("SWIR", SWIR)):
            swath.create_dataset(f"Data Fields/{name}_Cube", data=data, chunks=(1, *data.shape[1:]), compression="gzip")
            bands = data.shape[1]
            nm = np.linspace(970, 406, bands) if name == "VNIR" else np.linspace(2497, 943, bands)
            nm[-1] = 0  # a band that was not taken
            part = name.capitalize()
            file.attrs[f"List_Cw_{part}"] = nm.astype(np.float32)
            file.attrs[f"List_Fwhm_{part}"] = np.where(nm > 0, 11, 0).astype(np.float32)
            file.attrs[f"List_Cw_{part}_Flags"] = (nm > 0).astype(np.uint8)
            if level == "L1":
                file.attrs[f"ScaleFactor_{part}"], file.attrs[f"Offset_{part}"] = np.float32(100), np.float32(0.5)
            else:
                file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = np.float32(0), np.float32(2)
        swath["Geolocation Fields/Latitude"] = np.full((2, 5), 45.0)
        swath["Geolocation Fields/Longitude"] = np.full((2, 5), 9.0)
        file["HDFEOS/SWATHS/PRS_L1_PCO/Data Fields/Cube"] = np.zeros((12, 30), np.uint16)
        file.attrs["Product_StartTime"] = np.bytes_("2021-05-04T09:59:54.285")
        file.attrs["Epsg_Code"] = 32632
        corners = {"ULcorner_easting": 500015.0, "ULcorner_northing": 5000045.0}
        corners |= {"LRcorner_easting": 500135.0, "LRcorner_northing": 5000015.0}
        file.attrs.update({f"Product_{key}": value for key, value in corners.items()})
    return path


def _both(cube: Cube) -> np.ndarray:
    return np.asarray(cube.data)


def test_radiance(tmp_path: Path) -> None:
    """Of level 1 both cubes become one, in radiance, bands in the order of the file, axes as images have them."""
    cube = read_cube(_product(tmp_path), READERS)
    stored = np.concatenate([VNIR, SWIR], axis=1).transpose(0, 2, 1)
    np.testing.assert_allclose(_both(cube), stored / 100 - 0.5, rtol=1e-6)
    assert cube.data.dtype == np.float32
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == "2021-05-04T09:59:54.285000"
    assert cube.metadata["latitude"].shape == (2, 5)
    assert (cube.crs, cube.transform) == (None, None)


def test_bands_not_taken(tmp_path: Path) -> None:
    """A band with the wavelength 0 was not taken: it has no data, and the others keep their places."""
    cube = read_cube(_product(tmp_path), READERS)
    assert cube.wavelengths is not None
    assert cube.wavelengths.round().tolist() == [970, 688, 0, 2497, 1979, 1461, 0]
    assert cube.good_bands is not None
    assert cube.good_bands.tolist() == [True, True, False, True, True, True, False]
    assert cube.fwhm is not None
    assert cube.fwhm.tolist() == [11, 11, 0, 11, 11, 11, 0]


def test_reflectance(tmp_path: Path) -> None:
    """Of level 2D values are scaled between the two that the product names, and it lies on a grid of 30 m."""
    path = _product(tmp_path, "L2D")
    with h5py.File(path, "a") as file:
        file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"][0, :, 0] = 0
        file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"][1, 1, 1] = 0
    cube = read_cube(path, READERS)
    assert np.isnan(cube.data[0, 0, :3]).all()  # outside of the scene
    assert cube.data[1, 1, 1] == 0  # dark in one band
    np.testing.assert_allclose(cube.data[1, 2, 4], SWIR[1, 1, 2] * 2 / 65535, rtol=1e-6)
    assert cube.crs == "EPSG:32632"
    assert cube.transform == (30, 0, 500000, 0, -30, 5000060)


@pytest.mark.parametrize(("part", "bands"), [("VNIR", 3), ("swir", 4)])
def test_one_of_them(tmp_path: Path, part: str, bands: int) -> None:
    """One of the two cubes is had by its name."""
    assert read_cube(f"{_product(tmp_path)}::{part}", READERS).data.shape == (2, 5, bands)


def test_by_path(tmp_path: Path) -> None:
    """By its path a cube is had as it is stored."""
    cube = read_cube(f"{_product(tmp_path)}::/HDFEOS/SWATHS/PRS_L1_HCO/Data Fields/VNIR_Cube", READERS)
    np.testing.assert_array_equal(cube.data, VNIR)


def test_without_scale(tmp_path: Path) -> None:
    """A product without a scale is an error that names what is missing, not wrong radiance."""
    path = _product(tmp_path)
    with h5py.File(path, "a") as file:
        del file.attrs["ScaleFactor_Swir"]
    with pytest.raises(CubeError, match=r"has no scale of its SWIR values: .*ScaleFactor_Swir"):
        read_cube(path, READERS)


def test_lists_of_another_length(tmp_path: Path) -> None:
    """Wavelengths for another number of bands are an error that says how many there are."""
    path = _product(tmp_path)
    with h5py.File(path, "a") as file:
        file.attrs["List_Cw_Vnir"] = [1.0, 2.0]
    with pytest.raises(CubeError, match=r"has 2 values in its attribute 'List_Cw_Vnir' for 3 bands"):
        read_cube(path, READERS)


SWATHS = "HDFEOS/SWATHS"


@pytest.mark.parametrize(
    ("corners", "transform"),
    [
        ((500000.0, 5000060.0, 500150.0, 5000000.0), (30, 0, 500000, 0, -30, 5000060)),
        ((500000.0, 5000060.0, 500151.0, 4999999.0), (30.2, 0, 500000, 0, -30.5, 5000060)),
        ((500015.0, 5000045.0, 500134.0, 5000015.0), (30, 0, 500000, 0, -30, 5000060)),
        ((), None),
    ],
)
def test_corners_are_middles_of_pixels_or_outer_ends(
    tmp_path: Path, corners: tuple[float, ...], transform: tuple[float, ...] | None
) -> None:
    """The size of a pixel tells which; without corners an image has its system and no place."""
    path = _product(tmp_path, "L2D")
    with h5py.File(path, "a") as file:
        for at, key in enumerate(("ULcorner_easting", "ULcorner_northing", "LRcorner_easting", "LRcorner_northing")):
            del file.attrs[f"Product_{key}"]
            if corners:
                file.attrs[f"Product_{key}"] = corners[at]
    cube = read_cube(path, READERS)
    assert cube.crs == "EPSG:32632"
    assert cube.transform is None if transform is None else cube.transform == pytest.approx(transform)


def test_level_2_without_a_grid(tmp_path: Path) -> None:
    """Of level 2C values begin at the least that the product names, 0 is a value, and there is no place on a map."""
    path = _product(tmp_path, "L2C")
    with h5py.File(path, "a") as file:
        file.attrs["L2ScaleVnirMin"], file.attrs["L2ScaleVnirMax"] = 1.0, 3.0
        file[f"{SWATHS}/PRS_L2C_HCO/Data Fields/VNIR_Cube"][0, :, 0] = 0
    cube = read_cube(f"{path}::VNIR", READERS)
    np.testing.assert_allclose(cube.data[0, 0], [1, 1, 1])
    np.testing.assert_allclose(cube.data[1, 2, 1], VNIR[1, 1, 2] * 2 / 65535 + 1, rtol=1e-6)
    assert (cube.crs, cube.transform) == (None, None)


def test_what_a_product_may_lack(tmp_path: Path) -> None:
    """Flags of bands, which are good then; one of the cubes; the coregistered ones; places under their usual names."""
    path = _product(tmp_path)
    with h5py.File(path, "a") as file:
        file.move(f"{SWATHS}/PRS_L1_HCO", f"{SWATHS}/PRS_L1_HRC")
        swath = file[f"{SWATHS}/PRS_L1_HRC"]
        file[f"{SWATHS}/PRS_L1_HCO/Data Fields/Cloud_Mask"] = np.zeros((2, 5), np.uint8)
        del file.attrs["List_Cw_Vnir_Flags"], swath["Data Fields/SWIR_Cube"]
        swath.move("Geolocation Fields/Latitude", "Geolocation Fields/Latitude_VNIR")
        del swath["Geolocation Fields/Longitude"]
        swath["Geolocation Fields/Longitude"] = np.zeros((5, 2))
    cube = read_cube(path, READERS)
    np.testing.assert_allclose(cube.data, VNIR.transpose(0, 2, 1) / 100 - 0.5, rtol=1e-6)
    assert cube.good_bands is not None
    assert cube.good_bands.tolist() == [True, True, False]
    assert cube.metadata["latitude"].shape == (2, 5)
    assert "longitude" not in cube.metadata
    with pytest.raises(CubeError, match=r"has no cube 'SWIR_Cube' in PRS_L1_HRC"):
        read_cube(f"{path}::SWIR", READERS)
