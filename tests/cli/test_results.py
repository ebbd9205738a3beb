from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data import Cube
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
    pictures = [record["file"] for record in records if record["file"] != "outputs.npz"]
    assert pictures == [
        f"{stem}{kind}.png" for stem in ("a_b.m", "2_a_b.m", "3_A_B.m", "4_a_b.m-map") for kind in ("-map", "")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*pictures, "outputs.npz"})
    with np.load(tmp_path / "outputs.npz") as archive:
        assert sorted(archive) == ["A_B.m", "a b.m", "a b.m-map", "a/b.m"]
