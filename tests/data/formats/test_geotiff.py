"""GeoTIFF as rasterio, GDAL's users and the processors of EnMAP and DESIS write it."""

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.errors import CubeError, MissingExtraError

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("tifffile")

READERS = NodeRegistry().cube_readers()
DATA = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
TRANSFORM = (30.0, 0.0, 500000.0, 0.0, -30.0, 5000000.0)
NM = [418.2, 550.1, 850.7, 2200.5]


def _write(path: Path, data: np.ndarray = DATA, **options: Any) -> Path:
    profile = {"driver": "GTiff", "dtype": data.dtype, "crs": "EPSG:32633", "transform": rasterio.Affine(*TRANSFORM)}
    height, width, count = data.shape
    with rasterio.open(path, "w", height=height, width=width, count=count, **(profile | options)) as raster:
        raster.write(data.transpose(2, 0, 1))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interleave": "pixel", "compress": "deflate"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"},
        {"BIGTIFF": "YES"},
    ],
)
def test_pixels_and_place(tmp_path: Path, options: dict[str, Any]) -> None:
    """Bands become channels whatever the layout; coordinate system and transform come along."""
    cube = read_cube(_write(tmp_path / "a.tif", **options), READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.data.dtype == np.int16
    assert cube.transform == TRANSFORM
    assert cube.crs is not None
    assert "UTM zone 33N" in cube.crs
    np.testing.assert_array_equal(cube.data[2:4, 1:3, 1:3], DATA[2:4, 1:3, 1:3])


def test_no_data(tmp_path: Path) -> None:
    """What the file says is "no data" becomes NaN; integers then become floats that hold them."""
    cube = read_cube(_write(tmp_path / "a.tif", nodata=7), READERS)
    assert cube.data.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(cube.data), DATA == 7)


def test_scale(tmp_path: Path) -> None:
    """Scale and offset of each band are applied, and that is said."""
    path = _write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (0.5, 1.0, 1.0, 2.0), (0.0, 0.0, 1.0, 0.0)
    cube = read_cube(path, READERS)
    np.testing.assert_allclose(cube.data, DATA * [0.5, 1, 1, 2] + [0, 0, 1, 0])
    assert cube.remarks == ("Scale and offset of the bands were applied, as the file has them.",)


def test_wavelengths_of_envi(tmp_path: Path) -> None:
    """Wavelengths that a translated ENVI image carries are read in their unit, and its bad bands."""
    path = _write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        listed = ", ".join(f"{nm / 1000:g}" for nm in NM)
        tags = {"wavelength": f"{{{listed}}}", "wavelength_units": "Micrometers", "bbl": "{1, 1, 0, 1}"}
        raster.update_tags(ns="ENVI", **tags, fwhm="{0.01, 0.01, 0.01, 0.02}")
    cube = read_cube(path, READERS)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)
    assert cube.fwhm is not None
    np.testing.assert_allclose(cube.fwhm, [10, 10, 10, 20])
    assert cube.good_bands is not None
    assert cube.good_bands.tolist() == [True, True, False, True]


@pytest.mark.parametrize("where", ["imagery", "bands", "descriptions"])
def test_wavelengths_of_bands(tmp_path: Path, where: str) -> None:
    """Wavelengths may be said of each band: in GDAL's domain of sensors, in tags, or in its description."""
    path = _write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        for band, nm in enumerate(NM, 1):
            if where == "imagery":
                raster.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{nm / 1000:g}", FWHM_UM="0.01")
            elif where == "bands":
                raster.update_tags(band, wavelength=str(nm), wavelength_units="nm")
            else:
                raster.set_band_description(band, f"band {band} ({nm} Nanometers)")
    cube = read_cube(path, READERS)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)


def _enmap(folder: Path, kind: str = "", count: int = 4) -> Path:
    """Write an image and its metadata as the processor names and builds them."""
    name = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
    bands = "".join(
        f"""<bandID number="{number}"><wavelengthCenterOfBand>{NM[number - 1]}</wavelengthCenterOfBand>
        <FWHMOfBand>{6 + number}.0</FWHMOfBand><GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"""
        for number in range(1, 5)
    )
    (folder / f"{name}-METADATA.XML").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <base><level>L2A</level><temporalCoverage><startTime>2022-07-24T10:45:26.123456Z</startTime>
    <stopTime>2022-07-24T10:45:30Z</stopTime></temporalCoverage></base>
  <specific><bandCharacterisation>{bands}</bandCharacterisation>
    <vnirProductQuality><expectedChannelsList>1,2</expectedChannelsList></vnirProductQuality>
    <swirProductQuality><expectedChannelsList>3,4</expectedChannelsList></swirProductQuality></specific>
</level_X>""",
        encoding="utf-8",
    )
    return _write(folder / f"{name}-SPECTRAL_IMAGE{kind}.TIF", DATA[..., :count], nodata=-32768)


def test_enmap(tmp_path: Path) -> None:
    """Of an EnMAP product the metadata beside it give wavelengths, widths, gain and time."""
    cube = read_cube(_enmap(tmp_path), READERS)
    np.testing.assert_allclose(cube.data, DATA * 1e-4, rtol=1e-6)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)
    assert cube.fwhm is not None
    assert cube.fwhm.tolist() == [7, 8, 9, 10]
    assert cube.acquired == datetime(2022, 7, 24, 10, 45, 26, 123456, UTC)


def test_enmap_detector(tmp_path: Path) -> None:
    """Of level 1B the image of a detector has the bands that the metadata name for it."""
    cube = read_cube(_enmap(tmp_path, "_SWIR", 2), READERS)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM[2:])


def test_enmap_without_metadata(tmp_path: Path) -> None:
    """An image of a product that lies alone is read as any other; one of another name asks for no metadata."""
    image = _enmap(tmp_path)
    other = tmp_path / "scene.tif"
    other.write_bytes(image.read_bytes())
    assert read_cube(other, READERS).wavelengths is None
    next(tmp_path.glob("*.XML")).unlink()
    cube = read_cube(image, READERS)
    assert cube.wavelengths is None
    np.testing.assert_allclose(cube.data, DATA)


@pytest.mark.parametrize("kind", ["", "_VNIR", "_SWIR", "_COG", "_VNIR_COG"])
def test_enmap_names_and_lists(tmp_path: Path, kind: str) -> None:
    """Any image of a product has its metadata; where no list names the bands of a detector, all of them are its."""
    image = _enmap(tmp_path, kind)
    file = next(tmp_path.glob("*.XML"))
    text = file.read_text(encoding="utf-8")
    for listed in ("1,2", "3,4"):
        text = text.replace(f"<expectedChannelsList>{listed}</expectedChannelsList>", "")
    file.unlink()
    file.with_suffix(".xml").write_text(text.replace("<GainOfBand>0.0001</GainOfBand>", ""), encoding="utf-8")
    cube = read_cube(image, READERS)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)
    np.testing.assert_allclose(cube.data, DATA)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:200], "cannot be read"),
        (lambda text: text.replace("418.2", "red"), "cannot be read"),
        (lambda text: text + " " * (1 << 26), "have more than 67108864 bytes"),
    ],
)
def test_enmap_broken_metadata(tmp_path: Path, change: Any, says: str) -> None:
    """They are named, and no image is read without them."""
    image = _enmap(tmp_path)
    file = next(tmp_path.glob("*.XML"))
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(CubeError, match=says) as error:
        read_cube(image, READERS)
    assert error.value.path == file


@pytest.mark.parametrize(("level", "background"), [("L1B", -32768), ("L2A", -32768), ("L2A", 0)])
def test_desis(tmp_path: Path, level: str, background: int) -> None:
    """Its metadata have names of their own, and a gain and an offset for each band; of level 1 it has no place.

    What lies outside the scene has no data; where that is 0, a band of a pixel may well measure it.
    """
    name = f"DESIS-HSI-{level}-DT0483531728_002-20200727T162222-V0220"
    bands = "".join(
        f"""<band><bandNumber>{band}</bandNumber><wavelengthCenterOfBand>{nm}</wavelengthCenterOfBand>
        <wavelengthWidthOfBand>3.{band}</wavelengthWidthOfBand><response>0.1,1,0.1</response>
        <gainOfBand>0.0{band}</gainOfBand><offsetOfBand>-{band}</offsetOfBand></band>"""
        for band, nm in enumerate(NM, 1)
    )
    (tmp_path / f"{name}-METADATA.xml").write_text(
        f"""<hsi_doc><metadata/><base><temporalCoverage><startTime>2020-07-27T16:22:22.1Z</startTime></temporalCoverage>
        </base><specific><interiorOrientation><band><bandNumber>1</bandNumber></band></interiorOrientation>
        <backgroundValue>{background}</backgroundValue>
        <bandCharacterisation>{bands}</bandCharacterisation></specific></hsi_doc>"""
    )
    data = DATA.copy()
    data[0] = background
    data[1, 0, 0] = 0
    options = {} if level == "L2A" else {"crs": None, "transform": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube = read_cube(_write(tmp_path / f"{name}-SPECTRAL_IMAGE.tif", data, interleave="pixel", **options), READERS)
    expected = data * [0.01, 0.02, 0.03, 0.04] - [1.0, 2, 3, 4]
    expected[0] = np.nan
    np.testing.assert_allclose(cube.data, expected, rtol=1e-6, atol=1e-6)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, NM)
    assert cube.fwhm is not None
    np.testing.assert_allclose(cube.fwhm, [3.1, 3.2, 3.3, 3.4])
    assert cube.acquired == datetime(2020, 7, 27, 16, 22, 22, 100000, UTC)
    assert (cube.transform is None) == (level == "L1B")


def test_enmap_misfit(tmp_path: Path) -> None:
    """Metadata of another number of bands are an error, not wavelengths of other bands."""
    with pytest.raises(CubeError, match=r"describe 4 bands, but '.*' has 3"):
        read_cube(_enmap(tmp_path, count=3), READERS)


def test_large_claim(tmp_path: Path) -> None:
    """A sparse file of some bytes that claims a huge image is an error with the limit, and takes no memory."""
    path = tmp_path / "a.tif"
    options = {"tiled": True, "blockxsize": 256, "blockysize": 256, "SPARSE_OK": "TRUE", "BIGTIFF": "YES"}
    options |= {"crs": "EPSG:32633", "transform": rasterio.Affine(*TRANSFORM)}
    with rasterio.open(path, "w", driver="GTiff", height=1 << 18, width=1 << 18, count=200, dtype="float32", **options):
        pass
    with pytest.raises(CubeError, match=r"262144 x 262144 x 200 values.*the limit is the memory that is free"):
        np.asarray(read_cube(path, READERS).data)


def test_large_blocks(tmp_path: Path) -> None:
    """A sparse file of some bytes whose blocks are huge is refused before one of them is filled."""
    path = tmp_path / "a.tif"
    options = {"tiled": True, "blockxsize": 16384, "blockysize": 16384, "SPARSE_OK": "TRUE", "nodata": 0}
    options |= {"crs": "EPSG:32633", "transform": rasterio.Affine(*TRANSFORM)}
    with rasterio.open(path, "w", driver="GTiff", height=32768, width=32768, count=3, dtype="float32", **options):
        pass
    with pytest.raises(CubeError, match=r"would unpack to 3 GiB; the limit is 256 MiB") as caught:
        read_cube(path, READERS)
    assert "--unpack-limit" in str(caught.value)


def test_leads_elsewhere(tmp_path: Path) -> None:
    """A virtual raster under the name of a TIFF opens no other file."""
    other = _write(tmp_path / "other.tif")
    path = tmp_path / "a.jp2"
    path.write_text(
        f"""<VRTDataset rasterXSize="5" rasterYSize="6"><VRTRasterBand dataType="Int16" band="1"><SimpleSource>
        <SourceFilename>{other}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    with pytest.raises(CubeError, match=r"a\.jp2' is not a raster file that can be read"):
        read_cube(path, READERS)


@pytest.mark.parametrize("kept", [0, 4, 300])
def test_damaged(tmp_path: Path, kept: int) -> None:
    """A file that is cut off is one error of ours, when it is opened or when its pixels are read."""
    path = _write(tmp_path / "a.tif", np.zeros((60, 50, 4), np.int16))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CubeError, match=r"a\.tif' is not a (TIFF|raster) file that can be read"):
        np.asarray(read_cube(path, READERS).data)


def test_without_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the extra."""
    path = _write(tmp_path / "a.tif")
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"(?s)package 'rasterio'.*cuvis-ai-core\[geotiff\]"):
        read_cube(path, READERS)


def test_erdas(tmp_path: Path) -> None:
    """An image of ERDAS has the suffix of ENVI's data files and no header: it is known by what it begins with."""
    np.testing.assert_array_equal(read_cube(_write(tmp_path / "a.img", driver="HFA"), READERS).data, DATA)


def test_jpeg_2000(tmp_path: Path) -> None:
    """JPEG 2000 is read without loss where it was written so."""
    path = tmp_path / "a.jp2"
    data = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3)
    _write(path, data, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    np.testing.assert_array_equal(read_cube(path, READERS).data, data)


@pytest.mark.parametrize(
    ("whole", "each", "found"),
    [
        ({}, {"wavelength": "{nm} nm", "fwhm": "10", "bbl": "{good}"}, (NM, [10] * 4, [False, True, True, True])),
        ({"bbl": "1 0 1 1"}, {"wavelength": "{nm}", "bbl": "0"}, (NM, None, [True, False, True, True])),
        ({"wavelength_units": "um"}, {"wavelength": "{um}"}, (NM, None, None)),
        ({"wavelength": ", ".join(map(str, NM)), "fwhm": "1 2 3"}, {"wavelength": "1"}, (NM, None, None)),
        ({"wavelength": "400, 500"}, {}, (None, None, None)),
    ],
)
def test_tags_of_the_file_and_of_its_bands(
    tmp_path: Path, whole: dict[str, str], each: dict[str, str], found: tuple[Any, Any, Any]
) -> None:
    """A list of the file counts before tags of bands; one of another length is none."""
    path = _write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(**whole, acquired="2024-05-06T07:08:09Z")
        for band, nm in enumerate(NM, 1):
            raster.update_tags(
                band, **{key: text.format(nm=nm, um=nm / 1000, good=band - 1) for key, text in each.items()}
            )
    cube = read_cube(path, READERS)
    lists = [None if given is None else given.tolist() for given in (cube.wavelengths, cube.fwhm, cube.good_bands)]
    assert lists == [None if given is None else pytest.approx(given) for given in found]
    assert cube.acquired == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_bands_that_do_not_all_say_their_wavelength_say_none(tmp_path: Path) -> None:
    """Nor those that say it in different units."""
    for number, texts in enumerate((["400 nm", "500 nm", "600 nm"], ["400 nm", "500 nm", "600 nm", "0.7 um"])):
        path = _write(tmp_path / f"{number}.tif")
        with rasterio.open(path, "r+") as raster:
            for band, text in enumerate(texts, 1):
                raster.update_tags(band, wavelength=text)
        assert read_cube(path, READERS).wavelengths is None


def test_a_raster_has_one_image(tmp_path: Path) -> None:
    """Another one cannot be asked for; where it has no place, that is none and not the corner of the world."""
    path = _write(tmp_path / "a.tif", nodata=-1)
    with pytest.raises(CubeError, match=r"has no array 'b'.*\n.*Leave '::b' away"):
        read_cube(f"{path}::b", READERS)
    unknown = rasterio.Affine.identity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = _write(tmp_path / "b.tif", nodata=-1, transform=unknown)
    assert read_cube(path, READERS).transform is None
