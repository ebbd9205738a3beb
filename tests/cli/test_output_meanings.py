"""What outputs mean for their pictures: names of classes, units, wavelengths, pixels without data."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from numpy.testing import assert_array_equal

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Cube
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.results.node_origin import Origin
from cuvis_ai_core.results.output_metadata import meanings, read_class_names

OUT = ("n", "mask")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"class_names": None}, {}),
        ({"class_names": {"n": {"mask": {"1": "corn", 2: 7}}}}, {OUT: {1: "corn", 2: "7"}}),
        ({"class_names": {"n": {"mask": {}}}}, {OUT: {}}),
    ],
)
def test_names_of_classes(given: Mapping[str, Any], found: Any) -> None:
    """By number, in whatever type a file has them."""
    assert read_class_names(given, {OUT}) == found


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (3, r"metadata\.class_names is 3, no mapping"),
        ({"n": ["mask"]}, r"metadata\.class_names\.n is \['mask'\], no mapping"),
        ({"n": {"mask": "corn"}}, r"metadata\.class_names\.n\.mask is 'corn', no mapping"),
        ({"n": {"mask": {"corn": 1}}}, r"metadata\.class_names\.n\.mask: 'corn' is no class number"),
        ({"n": {"other": {}}}, r"metadata\.class_names: there is no output 'n\.other'"),
    ],
)
def test_what_are_no_names_of_classes(given: Any, problem: str) -> None:
    """The error has the place in the file, and how to write them."""
    with pytest.raises(PipelineError, match=problem) as error:
        read_class_names({"class_names": given}, {OUT})
    assert "Write metadata: {class_names:" in str(error.value.hint)


class Saying(ArrayNode):
    """Says what it is told to say of its bands."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        "mask": PortSpec(np.integer, (-1,), "reflectance [0..1]"),
        "scores": PortSpec(np.floating, (-1,), "a plain word"),
    }

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


def _meaning(cube: Cube, values: Mapping[str, Any], port: str = "mask") -> Any:
    with NodeRegistry() as registry:
        pipeline = Pipeline(node_registry=registry).add(Saying("n"))
        found = {("n", name): value for name, value in values.items()}
        return meanings(registry, pipeline, found, cube, "scene.npy")(("n", port))


def test_units_and_origin() -> None:
    """What a port says before its bracket, the class, where it comes from, and the file."""
    cube = Cube(np.ones((2, 2, 3), np.float32))
    assert _meaning(cube, {}).measures == "reflectance"
    assert _meaning(cube, {}, "scores").measures == "a plain word"
    assert _meaning(cube, {}).origin == "Saying, importable module · scene.npy"


RGB = [450.0, 550.0, 650.0]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"wavelengths": np.array(RGB)}, RGB),
        ({"band_info": {"band_wavelengths_nm": RGB}}, RGB),
        ({"wavelengths": np.array([1.0, 2, 3]), "band_info": {"band_wavelengths_nm": RGB}}, [1, 2, 3]),
        ({"band_info": RGB}, None),
        ({"wavelengths": np.array(RGB[:2])}, None),
        ({"wavelengths": np.array([450.0, np.nan, 650])}, None),
        ({"wavelengths": "red"}, None),
        ({}, None),
    ],
)
def test_wavelengths_of_three_bands(values: Mapping[str, Any], found: Any) -> None:
    """As our nodes say them, or as published ones do; anything else says nothing."""
    told = _meaning(Cube(np.ones((2, 2, 3), np.float32)), values).wavelengths
    assert told == (None if found is None else tuple(found))


def _holes() -> np.ndarray:
    data = np.ones((3, 2, 3), np.float32)
    data[1, 0] = np.nan
    return data


def _bad_band() -> np.ndarray:
    data = _holes()
    data[..., 2] = np.nan
    return data


MISSING = [[False, False], [True, False], [False, False]]


@pytest.mark.parametrize(
    ("data", "good", "missing"),
    [
        (_holes(), None, MISSING),
        (_bad_band(), None, MISSING),
        (_bad_band(), [True, True, False], MISSING),
        (np.ones((3, 2, 3), np.float32), None, None),
        (np.ones((3, 2, 3), np.uint16), None, None),
        (np.full((3, 2, 3), np.nan, np.float32), None, [[True, True]] * 3),
    ],
)
def test_pixels_without_data(data: np.ndarray, good: Any, missing: Any) -> None:
    """Those that lack it in a band that has any; where there are none, nothing is hidden."""
    cube = Cube(data, good_bands=None if good is None else np.array(good))
    found = _meaning(cube, {"mask": np.zeros((3, 2), np.int64)}).no_data
    assert (found is None) == (missing is None)
    if missing is not None:
        assert_array_equal(found, missing)


@pytest.mark.parametrize(("dtype", "hidden"), [("bool", True), ("uint8", True), ("int64", True), ("float32", False)])
def test_pixels_without_data_are_hidden_among_whole_numbers(dtype: str, *, hidden: bool) -> None:
    """Real numbers have NaN for them."""
    found = _meaning(Cube(_holes()), {"mask": np.zeros((3, 2), dtype)})
    assert (found.no_data is not None) == hidden


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (Origin("builtin", version="1"), "built in"),
        (Origin("host"), "importable module"),
        (Origin("git", "belt", "https://x", "v1", "0123456789abcdef", "d", "2.0"), "belt 2.0 (v1 0123456789ab)"),
        (Origin("git", "belt", tag="v1", version="2.0"), "belt 2.0 (v1 )"),
        (Origin("local", "belt", version="2.0"), "belt 2.0 (local)"),
        (Origin("discovered", "belt", version="2.0"), "belt 2.0 (discovered)"),
    ],
)
def test_the_words_of_an_origin(origin: Origin, words: str) -> None:
    """With what makes it that code and no other."""
    assert str(origin) == words
