from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from spectral.io import envi

from cuvis_ai_core.data.envi import read_envi
from cuvis_ai_core.errors import CubeError

DATA = np.arange(24).reshape(2, 3, 4)
WAVELENGTHS = [400.5, 500.0, 600.0, 700.0]


def _save(folder: Path, data: Any = DATA, **options: Any) -> Path:
    header = folder / "scene.hdr"
    envi.save_image(str(header), np.asarray(data), **{"dtype": np.int16, **options})
    return header


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("byteorder", [0, 1])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_round_trip(tmp_path: Path, interleave: str, byteorder: int, dtype: str) -> None:
    """Images come back as they were saved."""
    header = _save(tmp_path, interleave=interleave, byteorder=byteorder, dtype=dtype)
    cube = read_envi(header)
    assert_array_equal(cube.data, DATA.astype(dtype), strict=True)
    assert (cube.wavelengths, cube.source) == (None, header)


@pytest.mark.parametrize("extension", ["", ".img", ".IMG", ".dat", ".raw", ".bip"])
def test_data_file_names(tmp_path: Path, extension: str) -> None:
    """The data file is found beside its header."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").rename(tmp_path / f"scene{extension}")
    assert_array_equal(read_envi(header).data, DATA)


def test_double_suffix(tmp_path: Path) -> None:
    """A header may carry the whole name of its data file."""
    header = _save(tmp_path).rename(tmp_path / "scene.img.HDR")
    assert_array_equal(read_envi(header).data, DATA)


def test_header_offset(tmp_path: Path) -> None:
    """Bytes before the first value are skipped."""
    header = _save(tmp_path, metadata={"header offset": 7})
    data_file = tmp_path / "scene.img"
    data_file.write_bytes(b"\xff" * 7 + data_file.read_bytes())
    text = header.read_text()
    assert "header offset" in text
    header.write_text(text.replace("header offset = 0", "header offset = 7"))
    assert_array_equal(read_envi(header).data, DATA)


def test_wavelengths(tmp_path: Path) -> None:
    """Wavelengths travel with the cube."""
    metadata = {"wavelength": WAVELENGTHS, "wavelength units": "Nanometers"}
    assert_array_equal(read_envi(_save(tmp_path, metadata=metadata)).wavelengths, WAVELENGTHS)


def test_scale_factor(tmp_path: Path) -> None:
    """Values are divided by the reflectance scale factor."""
    cube = read_envi(_save(tmp_path, metadata={"reflectance scale factor": 10000}))
    assert cube.data.dtype == np.float32
    assert_allclose(cube.data, DATA / 10000, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_ignore_value(tmp_path: Path, dtype: Any) -> None:
    """The value for no data becomes NaN before scaling."""
    data = np.where(DATA == 5, -9999, DATA)
    metadata = {"data ignore value": -9999, "reflectance scale factor": 2}
    cube = read_envi(_save(tmp_path, data, dtype=dtype, metadata=metadata))
    assert_allclose(cube.data, np.where(DATA == 5, np.nan, DATA / 2))


def test_ignore_value_out_of_range(tmp_path: Path) -> None:
    """A value for no data that does not occur changes nothing."""
    cube = read_envi(_save(tmp_path, metadata={"data ignore value": 1e300}))
    assert_array_equal(cube.data, DATA)


def test_nan_pixels(tmp_path: Path) -> None:
    """NaN pixels are read without a warning."""
    data = np.where(DATA == 5, np.nan, DATA)
    assert_array_equal(read_envi(_save(tmp_path, data, dtype=np.float32)).data, data)


def test_missing_data_file(tmp_path: Path) -> None:
    """A missing data file names the places looked at."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").unlink()
    with pytest.raises(CubeError, match=r"(?s)scene\.hdr' has no data file beside it.*\.img, \.dat") as caught:
        read_envi(header)
    assert caught.value.path == header


@pytest.mark.parametrize(
    ("size", "message"),
    [(40, r"48 bytes of data, but '.*scene\.img' has 40: it is truncated"), (50, "has 50")],
)
def test_wrong_size(tmp_path: Path, size: int, message: str) -> None:
    """A data file of another size than described is an error."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").write_bytes(bytes(size))
    with pytest.raises(CubeError, match=message):
        read_envi(header)


def test_giant_image(tmp_path: Path) -> None:
    """A header that claims a giant image takes no memory."""
    header = _save(tmp_path)
    header.write_text(header.read_text().replace("lines = 2", f"lines = {10**12}"))
    with pytest.raises(CubeError, match="it is truncated"):
        read_envi(header)
