from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data import Cube
from cuvis_ai_core.results.output_bands import Bands
from cuvis_ai_core.results.output_files import Outputs
from cuvis_ai_core.results.output_values import as_array, collect, limits
from cuvis_ai_core.results.pictures.picture_types import Meaning
from cuvis_ai_core.results.pictures.png_files import write_pictures


class Tensor:
    """An array of another library, which lives on a GPU and needs gradients."""

    def __init__(self, place: str = "gpu", *, tracked: bool = True) -> None:
        self.place, self.tracked = place, tracked

    def detach(self) -> "Tensor":
        """Return it without gradients."""
        return Tensor(self.place, tracked=False)

    def cpu(self) -> "Tensor":
        """Return it in main memory."""
        return Tensor("cpu", tracked=self.tracked)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.tracked or self.place != "cpu":
            raise TypeError("not here")
        return np.array([1.0, 2.0])


def test_a_tensor_is_brought_to_main_memory() -> None:
    """Outputs of torch nodes are written like any other."""
    array = as_array(Tensor())
    assert array is not None
    assert array.tolist() == [1.0, 2.0]


def test_what_is_no_array_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers, texts and lists become arrays; objects and ragged lists do not; an optional output may lack."""
    values = {
        ("a", "number"): 3,
        ("a", "labels"): ["x", "y"],
        ("b", "model"): {"k": object()},
        ("b", "ragged"): [[1], [2, 3]],
        ("b", "optional"): None,
    }
    results, left_out = collect(values)
    assert [result.name for result in results] == ["a.number", "a.labels"]
    assert left_out == [
        {"node": "b", "port": "model", "type": "dict"},
        {"node": "b", "port": "ragged", "type": "list"},
    ]
    assert caplog.messages == [
        "b.model is of type dict, no array: it is not written.",
        "b.ragged is of type list, no array: it is not written.",
    ]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([np.nan, 2.0, np.inf, -1.0]), (-1.0, 2.0)),
        (np.array([np.nan]), (None, None)),
        (np.array([True]), (1, 1)),
        (np.array([[-7, 3], [9, 0]], np.int16), (-7, 9)),
        (np.array(2.5), (2.5, 2.5)),
        (np.zeros((0, 3)), (None, None)),
        (np.array(["text"]), (None, None)),
    ],
)
def test_limits_are_those_of_the_finite_values(array: Any, expected: tuple[Any, Any]) -> None:
    """JSON knows no NaN and no infinity."""
    assert limits(array) == expected


def test_names_that_fall_together_become_two_files(tmp_path: Path) -> None:
    """Two nodes whose names differ in what a file name cannot hold, or in case only, keep their pictures."""
    mask = np.ones((1, 2, 2), bool)
    outputs = Outputs(tmp_path, "npz", Cube(np.zeros((2, 2, 1))))
    values = {("a b", "m"): mask, ("a/b", "m"): ~mask, ("A_B", "m"): mask, ("a b", "m-map"): mask}
    for address, value in values.items():
        outputs.place(address, value.shape, value.dtype)[...] = value
    results, _ = collect(values)
    records = write_pictures(tmp_path, results, (2, 2), lambda _: Meaning(), outputs.file_of)
    outputs.close({})
    about = {"node": "a b", "port": "m", "shape": [1, 2, 2], "dtype": "bool", "min": 1, "max": 1}
    assert records[0] == {"file": "outputs.npz", "key": "a b.m", **about}
    assert records[len(values)].items() > {"file": "a_b.m-map.png", "kind": "classes", **about}.items()
    pictures = [record["file"] for record in records if record["file"] != "outputs.npz"]
    assert pictures == [
        f"{stem}{kind}.png" for stem in ("a_b.m", "2_a_b.m", "3_A_B.m", "4_a_b.m-map") for kind in ("-map", "")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*pictures, "outputs.npz"})
    with np.load(tmp_path / "outputs.npz") as archive:
        assert sorted(archive) == ["A_B.m", "a b.m", "a b.m-map", "a/b.m"]


def test_the_limits_of_what_lies_in_its_file_are_those_of_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part without any finite value has none."""
    monkeypatch.setattr("cuvis_ai_core.results.array_storage._BLOCK", 16)
    values = np.array([[np.nan, np.nan, np.inf, np.nan, 3, -2, 8, 1, np.nan]], np.float32)
    place = Outputs(tmp_path, "npz", Cube(np.zeros((2, 2, 1)))).place(("n", "p"), values.shape, values.dtype)
    place[...] = values
    assert limits(place) == (-2, 8)
    place[...] = np.full_like(values, np.nan)
    assert limits(place) == (None, None)


@pytest.mark.parametrize(
    ("shape", "dtype", "file"),
    [
        ((1, 2, 3), "float32", "n.p.hdr"),
        ((1, 2, 3, 4), "bool", "n.p.hdr"),
        ((1, 2, 3, 0), "float32", "outputs.npz"),
        ((2, 2, 3), "float32", "outputs.npz"),
        ((1, 3, 2), "float32", "outputs.npz"),
        ((1, 2), "float32", "outputs.npz"),
        ((1, 2, 3, 4, 5), "float32", "outputs.npz"),
        ((1, 2, 3), "complex64", "outputs.npz"),
        ((1, 2, 3), "U3", "outputs.npz"),
    ],
)
def test_what_is_no_image_of_the_cubes_size_goes_to_the_archive(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, file: str
) -> None:
    """Whatever format is asked for."""
    outputs = Outputs(tmp_path, "envi", Cube(np.zeros((2, 3, 1))))
    outputs.place(("n", "p"), shape, np.dtype(dtype))[...] = np.zeros(shape, dtype)
    assert outputs.file_of(("n", "p")) == file
    outputs.close({("n", "p"): Bands("n.p")})
    assert (tmp_path / file).is_file()
    assert (tmp_path / "outputs.npz").exists() == (file == "outputs.npz")


def test_an_archive_has_the_lists_of_a_cube_whose_bands_are_in_it(tmp_path: Path) -> None:
    """Its wavelengths and widths; and where its pixels are, whatever is in it."""
    own = np.array([500.0, 600])
    places = {"latitude": np.ones((2, 3)), "longitude": np.ones((3, 2))}
    cube = Cube(np.zeros((2, 3, 2)), own, fwhm=own / 100, metadata=places)
    for name, kind, wavelengths, more in (
        ("own", "npz", cube.wavelengths, {"wavelengths", "fwhm"}),
        ("other", "npz", own + 1, set()),
        ("none", "npz", None, set()),
        ("images", "envi", cube.wavelengths, set()),
    ):
        (tmp_path / name).mkdir()
        outputs = Outputs(tmp_path / name, kind, cube)
        for port, shape in (("image", (1, 2, 3)), ("list", (4,))):
            outputs.place(("n", port), shape, np.dtype("f4"))
        known = {("n", "image"): Bands("n.image", "", wavelengths), ("n", "list"): Bands("n.list")}
        outputs.close(known)
        with np.load(tmp_path / name / "outputs.npz") as archive:
            kept = {"n.list", *({"n.image"} if kind == "npz" else ())}
            assert set(archive) == kept | {"latitude"} | more


def test_files_of_images_whose_names_fall_together(tmp_path: Path) -> None:
    """Each has one of its own, on disks that know no case, too."""
    outputs = Outputs(tmp_path, "envi", Cube(np.zeros((2, 3, 1))))
    addresses = [("a b", "p"), ("a/b", "p"), ("A_B", "p"), ("2_a_b", "p")]
    for address in addresses:
        outputs.place(address, (1, 2, 3), np.dtype("u1"))
    assert [outputs.file_of(address) for address in addresses] == [
        "a_b.p.hdr",
        "2_a_b.p.hdr",
        "3_A_B.p.hdr",
        "2_2_a_b.p.hdr",
    ]
