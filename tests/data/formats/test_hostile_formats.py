"""Files of the field's formats that name files elsewhere, or are small on disk and large in memory."""

import json
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.registry import NodeRegistry

CUBE = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)


@pytest.fixture
def read() -> Callable[[Path], Cube]:
    """Return a function that reads a cube with its values."""

    def whole(path: Path) -> Cube:
        cube = read_cube(path, NodeRegistry(discover=False).cube_readers())
        np.asarray(cube.data)
        return cube

    return whole


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Write a file that a cube has no business with, raw and as HDF5."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/key").write_bytes(b"secret" * 10)
    with h5py.File(tmp_path / "home/key.h5", "w") as file:
        file["cube"] = CUBE
    (tmp_path / "scenes").mkdir()
    return tmp_path / "home/key"


@pytest.mark.parametrize("relative", [False, True])
def test_an_external_dataset_of_hdf5_is_not_read(
    read: Any,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    relative: bool,  # noqa: FBT001
) -> None:
    """It would be any file, whatever it is."""
    import h5py

    monkeypatch.chdir(secret.parent)
    with h5py.File("../scenes/x.h5", "w") as file:
        file.create_dataset("cube", (2, 2, 4), "u1", external=[("key" if relative else str(secret), 0, 16)])
    with pytest.raises(CubeError, match=r"in another file, '.*key', which is not read"):
        read(secret.parents[1] / "scenes/x.h5")


def test_a_link_to_another_hdf5_file_is_said(read: Any, secret: Path) -> None:
    """A file that has nothing else is not called empty."""
    import h5py

    with h5py.File(secret.parents[1] / "scenes/x.h5", "w") as file:
        file["cube"] = h5py.ExternalLink("../home/key.h5", "/cube")
        file["wavelengths"] = [400.0, 500.0]
    with pytest.raises(CubeError, match=r"keeps '/cube' in another file, '../home/key.h5', which is not read"):
        read(secret.parents[1] / "scenes/x.h5")


def test_links_and_virtual_datasets_of_hdf5_stay_beside_it(read: Any, secret: Path, tmp_path: Path) -> None:
    """A virtual dataset may be made of files in its own folder; a link there that leads elsewhere is elsewhere."""
    import h5py

    def virtual(source: str) -> Path:
        layout = h5py.VirtualLayout((2, 2, 4), "u1")
        layout[:] = h5py.VirtualSource(source, "cube", shape=(2, 2, 4))
        with h5py.File(tmp_path / "scenes/v.h5", "w") as file:
            file.create_virtual_dataset("cube", layout)
        return tmp_path / "scenes/v.h5"

    (tmp_path / "scenes/linked.h5").symlink_to(f"{secret}.h5")
    for source in (f"{secret}.h5", "../home/key.h5", "linked.h5"):
        with pytest.raises(CubeError, match="which is not read"):
            read(virtual(source))
    with h5py.File(tmp_path / "scenes/part.h5", "w") as file:
        file["cube"] = CUBE
    np.testing.assert_array_equal(np.asarray(read(virtual("part.h5")).data), CUBE)
    with h5py.File(tmp_path / "scenes/l.h5", "w") as file:
        file["cube"] = h5py.ExternalLink(f"{secret}.h5", "/cube")
    with pytest.raises(CubeError):
        read(tmp_path / "scenes/l.h5")


@pytest.mark.slow
def test_small_files_of_large_cubes_name_the_limit(read: Any, tmp_path: Path) -> None:
    """A few kilobytes that are called gigabytes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("cube", (1000, 1000, 1000), "u1", chunks=(100, 100, 100), compression="gzip")
    with pytest.raises(CubeError, match=r"unpack to 954 MiB; the limit is 256 MiB"):
        read(tmp_path / "x.h5")
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"cube": np.zeros((700, 700, 700), np.uint8)}, do_compression=True)
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.mat")
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((300, 1000, 1000), np.uint8), compression="zlib")
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.tif")


class _Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._file), "w")


@pytest.mark.parametrize("dtype", ["<f4", "|O"])
@pytest.mark.parametrize("place", [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}])
def test_pickles_in_zarr_stores_are_not_read(read: Any, tmp_path: Path, dtype: str, place: dict[str, Any]) -> None:
    """Though there is a codec for them."""
    pytest.importorskip("zarr")
    store = tmp_path / "x.zarr"
    store.mkdir()
    about = {"zarr_format": 2, "shape": [2, 2, 2], "chunks": [2, 2, 2], "dtype": dtype, "fill_value": 0, "order": "C"}
    (store / ".zarray").write_text(json.dumps({"compressor": None, "filters": None, **about, **place}))
    (store / "0.0.0").write_bytes(pickle.dumps(_Planted(tmp_path / "ran")))
    with pytest.raises(CubeError):
        read(store)
    assert not (tmp_path / "ran").exists()


def _virtual(place: Path, *sources: tuple[str, str], before: Callable[[Any], object] = lambda _: None) -> Path:
    """Write an HDF5 file whose cube is made of others."""
    import h5py

    with h5py.File(place, "w") as file:
        before(file)
        layout = h5py.VirtualLayout((2, 2, 4), "u1")
        for source, name in sources:
            layout[:] = h5py.VirtualSource(source, name, shape=(2, 2, 4))
        file.create_virtual_dataset("cube", layout)
    return place


def test_parts_of_virtual_datasets_are_judged_as_the_whole(
    read: Any, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part beside the file, or in it, may itself be made of what lies elsewhere."""
    import h5py

    scenes, key = secret.parents[1] / "scenes", f"{secret}.h5"

    def raw(file: Any, name: str = "cube") -> None:
        file.create_dataset(name, (2, 2, 4), "u1", external=[(str(secret), 0, 16)])

    with h5py.File(scenes / "raw.h5", "w") as file:
        raw(file)
    with h5py.File(scenes / "link.h5", "w") as file:
        file["cube"] = h5py.ExternalLink(key, "/cube")
        file["soft"] = h5py.SoftLink("/cube")
    _virtual(scenes / "parts.h5", (key, "cube"))
    monkeypatch.chdir(secret.parent)  # where HDF5 looks for what is not beside a file
    for number, sources in enumerate(
        [
            *([("raw.h5", "cube")], [("link.h5", "cube")], [("link.h5", "soft")], [("parts.h5", "cube")]),
            [("key.h5", "cube")],
        ]
    ):
        with pytest.raises(CubeError, match=r"which is not read|is not beside it"):
            read(_virtual(scenes / f"v{number}.h5", *sources))
    for name, before in (
        ("#refs#/x", lambda file: raw(file, "#refs#/x")),
        ("away/cube", lambda file: file.__setitem__("away", h5py.ExternalLink(key, "/"))),
    ):
        with pytest.raises(CubeError, match="which is not read"):
            read(_virtual(scenes / f"{name[:2]}.h5", (".", name), before=before))


def test_parts_in_parts_are_read_as_far_as_they_end(read: Any, secret: Path, pipe: Callable[[Path], None]) -> None:
    """HDF5 goes round in a circle until it crashes, waits for a pipe, and reads each part as often as it is named."""
    import h5py

    scenes = secret.parents[1] / "scenes"
    with h5py.File(scenes / "part.h5", "w") as file:
        file["cube"] = CUBE
    _virtual(scenes / "two.h5", ("part.h5", "cube"), ("part.h5", "/cube"))
    np.testing.assert_array_equal(np.asarray(read(_virtual(scenes / "three.h5", ("two.h5", "cube"))).data), CUBE)
    _virtual(scenes / "there.h5", ("back.h5", "cube"))
    pipe(scenes / "pipe")
    several = [("level0.h5", "cube")] * 100
    _virtual(scenes / "level0.h5", *[("part.h5", "cube")] * 100)
    _virtual(scenes / "level1.h5", *several)
    for number, sources in enumerate(
        ([("v0.h5", "cube")], [(".", "cube")], [("level1.h5", "cube")] * 10, [("pipe", "cube")])
    ):
        with pytest.raises(CubeError, match=r"made of itself|is not beside it"):
            read(_virtual(scenes / f"v{number}.h5", *sources))
    with pytest.raises(CubeError, match="made of itself"):
        read(_virtual(scenes / "back.h5", ("there.h5", "cube")))


@pytest.mark.parametrize("way", ["raw", "link"])
@pytest.mark.parametrize("what", ["Data Fields/VNIR_Cube", "Geolocation Fields/Latitude"])
def test_products_of_prisma_keep_all_in_their_file(read: Any, secret: Path, what: str, way: str) -> None:
    """Also their places, which go into results."""
    import h5py

    shape = (4, 4, 4) if "Cube" in what else (4, 4)
    with h5py.File(secret.with_name("raw.h5"), "w") as file:
        file["x"] = np.zeros(shape, "u1")
    place = secret.parents[1] / "scenes/PRS.he5"
    with h5py.File(place, "w") as file:
        swath = file.create_group("HDFEOS/SWATHS/PRS_L1_HCO")
        if way == "raw":
            swath.create_dataset(what, shape, "u1", external=[(str(secret), 0, 64)])
        else:
            swath[what] = h5py.ExternalLink(str(secret.with_name("raw.h5")), "/x")
        if "Cube" not in what:
            swath["Data Fields/VNIR_Cube"] = np.zeros((4, 4, 4), "u2")
        file.attrs.update({key: np.arange(4) + 400.0 for key in ("List_Cw_Vnir", "List_Fwhm_Vnir")})
        file.attrs.update(ScaleFactor_Vnir=1.0, Offset_Vnir=0.0)
    with pytest.raises(CubeError, match="which is not read"):
        read(place)


def test_pickles_are_refused_whatever_the_library_allows(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old versions allow them, and new ones by a variable: here behind another filter, in the list of wavelengths."""
    pytest.importorskip("zarr")
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    about = {"zarr_format": 2, "compressor": None, "fill_value": 0, "order": "C"}
    lists: dict[str, Any] = {
        "shape": [4],
        "chunks": [4],
        "dtype": "|O",
        "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}],
    }
    cube: dict[str, Any] = {"shape": [2, 2, 4], "chunks": [2, 2, 4], "dtype": "|u1", "filters": None}
    for name, content in ({"cube": cube, "wavelengths": lists}).items():
        (tmp_path / "x.zarr" / name).mkdir(parents=True)
        (tmp_path / "x.zarr" / name / ".zarray").write_text(json.dumps({**about, **content}))
    (tmp_path / "x.zarr/.zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / "x.zarr/cube/0.0.0").write_bytes(CUBE.tobytes())
    (tmp_path / "x.zarr/wavelengths/0").write_bytes(pickle.dumps(_Planted(tmp_path / "ran")))
    with pytest.raises(CubeError, match="is packed as pickles"):
        read(tmp_path / "x.zarr")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["c/0/0/0", "zarr.json"])
def test_stores_of_zarr_have_plain_files(read: Any, tmp_path: Path, pipe: Callable[[Path], None], name: str) -> None:
    """A pipe is not waited for."""
    zarr = pytest.importorskip("zarr")
    store = tmp_path / "x.zarr"
    zarr.create_array(store, data=CUBE, chunks=CUBE.shape)
    np.testing.assert_array_equal(np.asarray(read(store).data), CUBE)
    if name == "zarr.json":  # else it is no store
        (store / ".zgroup").write_text('{"zarr_format": 2}')
    (store / name).unlink()
    pipe(store / name)
    with pytest.raises(CubeError, match=f"'{name}': it is a pipe, no file"):
        read(store)


@pytest.mark.slow
def test_zipped_stores_of_zarr_are_known_by_size_before_they_are_read(read: Any, tmp_path: Path) -> None:
    """Metadata are read whole."""
    pytest.importorskip("zarr")
    with zipfile.ZipFile(tmp_path / "x.zarr.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", b" " * 2**28 + b"{}")
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.zarr.zip")


_OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a"><Image
ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="4" SizeY="4" SizeC="2" SizeZ="1"
SizeT="1"><Channel ID="Channel:0" SamplesPerPixel="1"/><Channel ID="Channel:1" SamplesPerPixel="1"/>
<TiffData FirstC="0" IFD="0" PlaneCount="1"><UUID FileName="x.ome.tif">urn:uuid:a</UUID></TiffData>
<TiffData FirstC="1" IFD="0" PlaneCount="1"><UUID FileName="{}">urn:uuid:b</UUID></TiffData></Pixels></Image></OME>"""


def test_images_of_ome_have_their_parts_beside_them(read: Any, tmp_path: Path, pipe: Callable[[Path], None]) -> None:
    """They may be in several files; none of them is elsewhere, or a pipe."""
    tifffile = pytest.importorskip("tifffile")
    scenes = tmp_path / "scenes"
    (scenes / "more").mkdir(parents=True)
    secret = np.full((4, 4), 83, np.uint8)
    for place in (tmp_path, scenes / "more", scenes):
        tifffile.imwrite(place / "part.tif", secret)
    pipe(scenes / "pipe")
    (scenes / "link.tif").symlink_to(tmp_path / "part.tif")
    for name in (str(tmp_path / "part.tif"), "../part.tif", "more/part.tif", "link.tif", "pipe", "part.tif"):
        path = scenes / "x.ome.tif"
        tifffile.imwrite(path, np.zeros((4, 4), np.uint8), description=_OME.format(name), metadata=None)
        if name == "part.tif":
            assert np.asarray(read(path).data)[..., 1].min() == 83
        else:
            with pytest.raises(CubeError, match=f"in another file, '{re.escape(name)}', which is not read"):
                read(path)


_VIRTUAL = """<VRTDataset rasterXSize="4" rasterYSize="4"><Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata>
<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"><SourceFilename>{}</SourceFilename></VRTRasterBand>
</VRTDataset>"""


def test_rasters_have_rasters_of_their_own_beside_them(read: Any, secret: Path, pipe: Callable[[Path], None]) -> None:
    """A mask that is virtual would be any file, or an address; a pipe would be waited for."""
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("tifffile")
    path = secret.parents[1] / "scenes/x.tif"

    def write(place: Path, bands: int) -> None:
        about = {"driver": "GTiff", "count": bands, "height": 4, "width": 4, "dtype": "uint8"}
        with rasterio.open(place, "w", transform=rasterio.Affine(1, 0, 9, 0, -1, 9), **about) as file:
            file.write(np.ones((bands, 4, 4), np.uint8))

    write(path, 3)
    mask = path.with_name("x.tif.msk")
    mask.write_text(_VIRTUAL.format(secret))
    with pytest.raises(CubeError, match=r"'x\.tif\.msk' beside it, .* begins like no raster"):
        read(path)
    mask.unlink()
    write(mask, 1)
    (path.parent / "y.txt").write_text("another one's")
    assert np.asarray(read(path).data).shape == (4, 4, 3)
    for name in ("x.tif.aux.xml", "METADATA.DIM", "x.IMD"):
        pipe(path.with_name(name))
        with pytest.raises(CubeError, match="is a pipe or a device, no file"):
            read(path)
        path.with_name(name).unlink()


@pytest.mark.slow
def test_variables_of_matlab_are_as_large_as_they_say(read: Any, tmp_path: Path) -> None:
    """SciPy unpacks what the parts of a variable say, whatever is said of the whole."""
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"cube": np.zeros((4, 4, 4), np.uint8)}, do_compression=False)
    plain = (tmp_path / "x.mat").read_bytes()
    inner, size = bytearray(plain[128 : -64 - 8]), 2**28
    packed = zlib.compress(bytes(inner) + struct.pack("<II", 2, size) + bytes(size), 9)
    (tmp_path / "x.mat").write_bytes(plain[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(CubeError, match="unpacks to more than the"):
        read(tmp_path / "x.mat")
