"""Stacks of pages as tifffile, ImageJ and OME programs write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.errors import CubeError

tifffile = pytest.importorskip("tifffile")

READERS = NodeRegistry().cube_readers()
DATA = np.arange(7 * 6 * 5, dtype=np.uint16).reshape(7, 6, 5)
NM = [450.0, 500.0, 550.0, 600.0, 650.0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"photometric": "minisblack", "metadata": None},
        {"bigtiff": True, "byteorder": ">"},
        {"compression": "zlib"},
        {"imagej": True},
        {"ome": True, "metadata": {"axes": "CYX"}},
        {"photometric": "minisblack", "planarconfig": "separate"},
    ],
)
def test_pages(tmp_path: Path, options: dict[str, Any]) -> None:
    """Pages are channels: packed or not, in either byte order, of ImageJ or OME, planes of one page too."""
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    tifffile.imwrite(path, DATA.transpose(2, 0, 1), **options)
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.data.dtype == np.uint16
    np.testing.assert_array_equal(cube.data[2:4, 1:3, 1:3], DATA[2:4, 1:3, 1:3])


def test_samples(tmp_path: Path) -> None:
    """Samples of one page that lie together are channels."""
    tifffile.imwrite(tmp_path / "a.tiff", DATA, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_cube(tmp_path / "a.tiff", READERS).data, DATA)


def test_lone_values(tmp_path: Path) -> None:
    """A node that writes into a piece of a mapped file changes no other piece."""
    tifffile.imwrite(tmp_path / "a.tif", DATA, photometric="minisblack", planarconfig="contig")
    cube = read_cube(tmp_path / "a.tif", READERS)
    cube.data[0:1][...] = 0
    np.testing.assert_array_equal(cube.data, DATA)


def test_wavelengths_of_ome(tmp_path: Path) -> None:
    """Emission wavelengths of OME are those of the bands."""
    channels = {"EmissionWavelength": NM, "EmissionWavelengthUnit": ["nm"] * 5}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, DATA.transpose(2, 0, 1), metadata={"axes": "CYX", "Channel": channels})
    cube = read_cube(path, READERS)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM


def test_wavelengths_of_labels(tmp_path: Path) -> None:
    """Lengths in the labels of ImageJ are wavelengths."""
    path = tmp_path / "a.tif"
    labels = [f"LCTF {nm:g} nm" for nm in NM]
    tifffile.imwrite(path, DATA.transpose(2, 0, 1), imagej=True, metadata={"Labels": labels, "axes": "CYX"})
    cube = read_cube(path, READERS)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM


def test_preview(tmp_path: Path) -> None:
    """A small picture behind the stack is no second cube."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(DATA.transpose(2, 0, 1), photometric="minisblack")
        file.write(np.zeros((2, 2, 3), np.uint8), photometric="rgb")
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


@pytest.mark.parametrize(("shape", "axes"), [((3, 5, 7, 6), "TCYX"), ((7, 6), "YX")])
def test_no_cube(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    """A series in time, and a single picture, are errors that name the axes."""
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), metadata={"axes": axes})
    with pytest.raises(CubeError, match=r"is no image with channels: its axes are .*Y 7, X 6"):
        read_cube(path, READERS)


@pytest.mark.parametrize("kept", [0, 4, 60])
def test_damaged(tmp_path: Path, kept: int) -> None:
    """A file that is cut off is one error of ours."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA.transpose(2, 0, 1))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CubeError, match=r"a\.tif'"):
        np.asarray(read_cube(path, READERS).data)


def test_one_of_several_series(tmp_path: Path) -> None:
    """It is had by its number; without one, or by another word, the error says which there are."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, ome=False) as file:
        for number in range(2):
            file.write(DATA.transpose(2, 0, 1) + number, photometric="minisblack", metadata={"axes": "CYX"})
    for number in range(2):
        np.testing.assert_array_equal(read_cube(f"{path}::{number}", READERS).data, DATA + number)
    for asked, says in (
        ("", "of the same size"),
        ("::2", "none of the number '2'"),
        ("::b", "none of the number 'b'"),
        ("::-1", "none of the number '-1'"),
    ):
        with pytest.raises(CubeError, match=rf"has 2 series of images.*{says}\.\n.*from 0 to 1: .*::0") as error:
            read_cube(f"{path}{asked}", READERS)
        assert error.value.path == path


@pytest.mark.parametrize(("kind", "said"), [(0, True), (1, False)])
def test_the_largest_of_several_series(tmp_path: Path, kind: int, *, said: bool) -> None:
    """Of images of several sizes, as of two cameras, it is read, which is said; previews are no images."""
    path = tmp_path / "a.tif"
    small = DATA[:3, :2].transpose(2, 0, 1)
    with tifffile.TiffWriter(path, ome=False) as file:
        for values, each in ((small, kind), (DATA.transpose(2, 0, 1), 0)):
            file.write(values, photometric="minisblack", metadata={"axes": "CYX"}, subfiletype=each)
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    remark = f"The largest of 2 series of images was read; another one is '{path}::0'."
    assert (remark in cube.remarks) == said
    np.testing.assert_array_equal(read_cube(f"{path}::0", READERS).data, DATA[:3, :2])


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        ({"ExcitationWavelength": NM, "ExcitationWavelengthUnit": ["nm"] * 5}, NM),
        ({"EmissionWavelength": [each / 1000 for each in NM], "EmissionWavelengthUnit": ["µm"] * 5}, NM),
        ({"EmissionWavelength": [*NM[:4], None]}, None),
        ({"Name": [f"{each:g} nm" for each in NM]}, NM),
    ],
)
def test_channels_of_ome(tmp_path: Path, channels: dict[str, Any], found: list[float] | None) -> None:
    """Each has its wavelength, in the unit that is named, or a name that says it; where one has none, none has."""
    path = tmp_path / "a.ome.tif"
    about = {key: value for key, value in channels.items() if None not in value}
    tifffile.imwrite(path, DATA.transpose(2, 0, 1), metadata={"axes": "CYX", "Channel": about})
    if not about:  # the library writes no channel without one
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata
        assert text is not None
        parts = text.split("<Channel ")
        given = [f'EmissionWavelength="{each}" ' if each else "" for each in channels["EmissionWavelength"]]
        text = parts[0] + "".join(f"<Channel {a}{b}" for a, b in zip(given, parts[1:], strict=True))
        tifffile.imwrite(path, DATA.transpose(2, 0, 1), description=text.encode(), metadata=None)
    wavelengths = read_cube(path, READERS).wavelengths
    assert wavelengths is None if found is None else wavelengths == pytest.approx(found)


def test_what_is_known_of_a_stack(tmp_path: Path) -> None:
    """Its tags, and what a description in JSON says beside the shape; one that is no mapping says nothing."""
    options: dict[str, Any] = {"photometric": "minisblack", "software": "us", "datetime": "2024:05:06 07:08:09"}
    tifffile.imwrite(tmp_path / "a.tif", DATA.transpose(2, 0, 1), metadata={"sensor": "S"}, **options)
    cube = read_cube(tmp_path / "a.tif", READERS)
    assert {key: cube.metadata.get(key) for key in ("sensor", "Software", "shape")} == {
        "sensor": "S", "Software": "us", "shape": None
    }  # fmt: skip
    assert cube.metadata["DateTime"] == "2024:05:06 07:08:09"
    tifffile.imwrite(tmp_path / "b.tif", DATA.transpose(2, 0, 1), description="[1]", metadata=None, **options)
    assert set(read_cube(tmp_path / "b.tif", READERS).metadata) == {"DateTime", "Software"}


GEO = [(42113, 2, 0, "7", True), (33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0, 0, 0, 100, 200, 0), True)]
"""Tags of GeoTIFF and GDAL: no data, size of a pixel, the upper left corner."""


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "compression": "zlib"},
        {"photometric": "minisblack", "planarconfig": "separate"},
        {"photometric": "minisblack", "planarconfig": "contig"},
    ],
)
def test_stacks_that_have_a_place(tmp_path: Path, options: dict[str, Any]) -> None:
    """Pages with the tags of a GeoTIFF are all read, of which GDAL opens the first: with their place and no data."""
    pytest.importorskip("rasterio")
    data = DATA if options.get("planarconfig") == "contig" else DATA.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", data, extratags=GEO, metadata={"wavelengths": NM}, **options)
    cube = read_cube(tmp_path / "a.tif", READERS)
    np.testing.assert_array_equal(cube.data, np.where(DATA == 7, np.nan, DATA))
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM
    assert cube.transform == (2, 0, 100, 0, -2, 200)
    assert "shape" not in cube.metadata


def test_a_page_of_another_type_is_no_band(tmp_path: Path) -> None:
    """The flags of a raster behind its one band are not read, which is said."""
    pytest.importorskip("rasterio")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in (DATA[..., 0], DATA[..., 0] > 3):
            file.write(pixels, extratags=GEO, photometric="minisblack", metadata=None)
    cube = read_cube(tmp_path / "a.tif", READERS)
    assert cube.data.shape == (*DATA.shape[:2], 1)
    assert "The file has 1 further images of the same size, which were not read." in cube.remarks


def test_scale_and_offset_of_each_page_of_a_stack(tmp_path: Path) -> None:
    """They are those that GDAL wrote into it; a page without any is as it is stored."""
    pytest.importorskip("rasterio")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for band, scale in enumerate(("0.5", "2", None)):
            items = (
                f'<Item name="SCALE" sample="0" role="scale">{scale}</Item><Item name="OFFSET" role="offset">1</Item>'
            )
            about = (42112, 2, 0, f"<GDALMetadata>{items}</GDALMetadata>", True)
            tags = GEO if scale is None else [*GEO, about]
            file.write(DATA[..., band], extratags=tags, photometric="minisblack", metadata=None)
    cube = read_cube(tmp_path / "a.tif", READERS)
    expected = np.where(DATA == 7, np.nan, DATA)[..., :3] * (0.5, 2, 1) + (1, 1, 0)
    np.testing.assert_array_equal(cube.data, expected)
    np.testing.assert_array_equal(cube.data[..., 1:2], expected[..., 1:2])
    assert "Scale and offset of the bands were applied, as the file has them." in cube.remarks


def test_further_images_of_a_raster_are_said(tmp_path: Path) -> None:
    """Where each page has bands of its own, the first one is read; previews and masks are no images."""
    pytest.importorskip("rasterio")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels, kind in ((DATA, 0), (DATA[::2, ::2], 1), (DATA, 0), (DATA, 0)):
            about = {"planarconfig": "contig", "photometric": "minisblack", "subfiletype": kind, "metadata": None}
            file.write(pixels, extratags=GEO, **about)
    cube = read_cube(tmp_path / "a.tif", READERS)
    assert cube.data.shape == DATA.shape
    assert "The file has 2 further images of the same size, which were not read." in cube.remarks
