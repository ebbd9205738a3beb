"""Pictures of outputs: what is drawn, what is said beside it, and what can be read back."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.data import Cube, open_annotations
from cuvis_ai_core.pages.colour_maps import CLASS_COLOURS, NO_DATA, viridis
from cuvis_ai_core.results.pictures.canvas import Canvas
from cuvis_ai_core.results.pictures.class_maps import count_classes, grey_values
from cuvis_ai_core.results.pictures.kinds import draw_images
from cuvis_ai_core.results.pictures.page_layout import set_page
from cuvis_ai_core.results.pictures.picture_types import Drawn, Meaning
from cuvis_ai_core.results.pictures.png_files import save_pictures
from cuvis_ai_core.results.pictures.text_drawing import letters, lines, printable, width_of
from cuvis_ai_core.results.pictures.tick_labels import labels, number, share, ticks
from cuvis_ai_core.results.pictures.value_scaling import levels

NOTHING_KNOWN = Meaning()


def drawings(array: Any, meaning: Meaning = NOTHING_KNOWN) -> list[Drawn]:
    """Return the drawings of an output of a cube of its size."""
    values = np.asarray(array)
    return list(draw_images(values, values.shape[1:3], meaning))


def only(array: Any, meaning: Meaning = NOTHING_KNOWN) -> Drawn:
    """Return the one drawing of an output."""
    (drawn,) = drawings(array, meaning)
    return drawn


def colours(drawn: Drawn) -> NDArray[np.uint8]:
    """Return the pixels of a drawing in colours."""
    return drawn.palette[drawn.pixels] if drawn.palette.size else drawn.pixels


def texts(drawn: Drawn) -> list[str]:
    """Return the texts of the legend."""
    return [entry.text for entry in drawn.legend]


def save(folder: Path, array: Any, meaning: Meaning = NOTHING_KNOWN) -> list[dict[str, Any]]:
    """Save the pictures of an output."""
    values = np.asarray(array)
    return list(save_pictures(folder, "out", values, values.shape[1:3], "node.port", meaning))


def test_scores_are_stretched_between_percentiles() -> None:
    """From the 2nd to the 98th, in the colours of viridis; the ends stand beside the bar and in the record."""
    scores = np.random.default_rng(0).normal(size=(1, 30, 40, 1))
    drawn = only(scores)
    low, high = np.percentile(scores, (2, 98))
    assert drawn.scale == pytest.approx((low, high))
    assert drawn.record == {
        "kind": "scores",
        "low": pytest.approx(low),
        "high": pytest.approx(high),
        "percentiles": [2, 98],
        "no_data": 0,
    }
    expected = np.clip((scores[0, ..., 0] - low) / (high - low), 0, 1) * 238
    assert np.abs(drawn.pixels - expected).max() <= 0.51
    assert drawn.notes[0].startswith("stretched from the 2nd to the 98th percentile; values from -")
    assert drawn.legend == ()


def test_what_is_not_finite_has_the_colour_of_no_data() -> None:
    """It stretches nothing, and its share is in the legend."""
    drawn = only([[[1.0, 3.0], [np.nan, np.inf]]])
    assert colours(drawn)[1].tolist() == [list(NO_DATA)] * 2
    assert drawn.scale == pytest.approx((1.04, 2.96))
    assert texts(drawn) == ["no data · 50.0 %"]
    nowhere = only(np.full((1, 2, 2, 1), np.nan))
    assert (colours(nowhere) == NO_DATA).all()
    assert (nowhere.scale, texts(nowhere)) == (None, ["no data · 100 %"])


def test_scores_that_hardly_differ_are_shown_from_the_least_to_the_greatest() -> None:
    """One bright pixel of a thousand is seen; a flat map has no bar and says its value."""
    scores = np.zeros((1, 30, 40))
    scores[0, 3, 4] = 5
    drawn = only(scores)
    assert drawn.scale == (0, 5)
    assert drawn.pixels.sum() == 238
    assert drawn.notes[0].startswith("from the least to the greatest")
    flat = only(np.full((1, 2, 2, 1), 3.5))
    assert (flat.scale, flat.notes) == (None, ("every value is 3.5",))


def test_scales_reach_from_the_smallest_to_the_greatest_numbers() -> None:
    """The difference of the ends may be more than a float holds, or next to nothing."""
    assert only([[[-1.7e308, 1.7e308]]]).pixels.tolist() == [[0, 238]]
    assert only(np.array([[[1, 2]]]) * 1e-25).pixels.tolist() == [[0, 238]]
    assert only([[[1000.0, 1000.00000001]]]).pixels.tolist() == [[0, 238]]


def test_colours_without_any_value_are_drawn_as_no_data() -> None:
    """Nothing of them was stretched."""
    drawn = only(np.full((1, 2, 2, 3), np.nan, np.float32), Meaning())
    assert (drawn.pixels == NO_DATA).all()
    assert drawn.notes == ("colours as they are",)
    assert drawn.record["percentiles"] is None
    assert (drawn.record["low"], drawn.record["high"], drawn.record["no_data"]) == ([0, 0, 0], [1, 1, 1], 4)


def test_a_mask_shows_yes_and_no() -> None:
    """With their shares; a pixel of the cube without data is neither."""
    mask = np.array([[[True, False], [False, False]]])
    drawn = only(mask)
    assert texts(drawn) == ["0 no · 75.0 %", "1 yes · 25.0 %"]
    known = Meaning(no_data=np.array([[False, False], [True, False]]))
    drawn = only(mask[..., None], known)
    assert texts(drawn) == ["0 no · 50.0 %", "1 yes · 25.0 %", "no data · 25.0 %"]
    assert colours(drawn).tolist() == [[list(CLASS_COLOURS[0]), [0, 0, 0]], [list(NO_DATA), [0, 0, 0]]]


def test_pixels_without_data_are_those_of_one_image() -> None:
    """Of a batch of several, nobody knows to which they belong."""
    known = Meaning(no_data=np.array([[True, False]]))
    assert [texts(each) for each in drawings(np.zeros((2, 1, 2), bool), known)] == [["0 no · 100 %"]] * 2


def test_classes_have_names_colours_and_shares() -> None:
    """A class has the same colour in every picture, whichever others occur."""
    drawn = only([[[1, 1, 3, 0]]], Meaning(names={1: "corn", 3: "Getränkebäume"}))
    assert texts(drawn) == ["0 · 25.0 %", "1 corn · 50.0 %", "3 Getränkebäume · 25.0 %"]
    assert drawn.record["classes"][2] == {"value": 3, "name": "Getränkebäume", "colour": "#009e73", "share": 0.25}
    assert colours(only([[[3, 2]]]))[0, 0].tolist() == list(CLASS_COLOURS[2])


def test_the_legend_of_many_classes_has_the_largest() -> None:
    """Two hundred lines cannot be read; the last says how many are left out. A thousand values are amounts."""
    drawn = only(np.repeat(np.arange(200), np.arange(200) + 1).reshape(1, -1, 1)[:, :20100])
    assert len(drawn.legend) == 40
    assert texts(drawn)[-1] == "161 more · 64.9 %"
    assert drawn.notes == ("there are more classes than colours: some colours stand for several",)
    assert only(np.arange(1000).reshape(1, 10, 100)).record["kind"] == "scores"


def test_each_colour_is_stretched_and_says_its_wavelength() -> None:
    """Between percentiles; without wavelengths none are claimed."""
    ramp = np.linspace(0, 10, 101).reshape(1, 101, 1)
    image = np.stack([ramp, ramp * 5 + 100, np.full_like(ramp, 7)], axis=-1)
    drawn = only(image, Meaning(wavelengths=(849.7, 670.0, 550.25)))
    assert drawn.record["low"] == pytest.approx([0.2, 101, 7])
    assert drawn.record["high"] == pytest.approx([9.8, 149, 7])
    assert np.abs(drawn.pixels[..., 0] - np.rint(np.clip((ramp[0] - 0.2) / 9.6, 0, 1) * 255)).max() <= 1
    assert texts(drawn) == ["red 849.7 nm", "green 670 nm", "blue 550.2 nm"]
    assert texts(only(image)) == []
    assert only(image).notes[-1] == "of which wavelengths, its node does not say"
    image[0, 3, 0, 1] = np.nan
    assert colours(only(image))[3, 0].tolist() == list(NO_DATA)


def test_colours_that_were_made_to_be_seen_are_kept() -> None:
    """uint8 as it is, and floats that reach exactly from 0 to 1 without a stretch of their own."""
    photo = np.array([[[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [250, 0, 1]]]], np.uint8)
    assert only(photo).pixels.tolist() == photo[0].tolist()
    floats = np.array([[[[0, 0.5, 0.2], [1, 0.5, 0.2]], [[0.4, 0.2, 0.2], [0.6, 0.4, 0.2]]]])
    assert only(floats).pixels.tolist() == np.rint(floats[0] * 255).astype(int).tolist()


def test_only_where_no_class_is_a_pixel_may_lack_data() -> None:
    """What has a class has data, whatever the cube has there."""
    drawn = only([[[0, 0], [2, 2]]], Meaning(no_data=np.array([[True, False], [False, True]])))
    assert texts(drawn) == ["0 · 25.0 %", "2 · 50.0 %", "no data · 25.0 %"]
    assert drawn.pixels.tolist() == [[2, 0], [1, 1]]
    assert drawn.record["no_data"] == 1


@pytest.mark.parametrize(
    ("classes", "lines_shown", "said"), [(31, 31, False), (32, 32, True), (40, 40, True), (41, 40, True)]
)
def test_what_becomes_of_many_classes(classes: int, lines_shown: int, *, said: bool) -> None:
    """Up to 40 have lines; it is said where colours stand for several."""
    drawn = only(np.arange(1, classes + 1).repeat(2).reshape(1, 2, -1))
    assert (len(drawn.legend), bool(drawn.notes)) == (lines_shown, said)


def test_whole_numbers_that_are_amounts_are_scores() -> None:
    """A pixel without data is hidden among them where it has the value 0."""
    amounts = np.arange(1000).reshape(1, 10, 100)
    no_data = np.zeros((10, 100), bool)
    no_data[0, :2] = True
    drawn = only(amounts, Meaning(no_data=no_data))
    assert np.argwhere(drawn.pixels == 239).tolist() == [[0, 0]]
    assert (texts(drawn), drawn.record["no_data"]) == (["no data · 0.1 %"], 1)
    assert only(amounts * 1.0, Meaning(no_data=no_data)).legend == ()
    assert only(amounts, Meaning(no_data=no_data[:, :50])).legend == ()


def test_the_least_and_the_greatest_value_are_told_apart() -> None:
    """In as many digits as that takes."""
    (note,) = only(np.linspace(1e6 + 0.1, 1e6 + 0.9, 100).reshape(1, 10, 10)).notes
    assert note.endswith("values from 1000000.1 to 1000000.9")
    (note,) = only(np.linspace(0.1, 1234.5, 100).reshape(1, 10, 10)).notes
    assert note.endswith("values from 0.1 to 1234")


def test_an_image_of_one_row_is_one_where_the_cube_is() -> None:
    """Else it may be a table."""
    row = np.arange(5.0).reshape(1, 1, 5, 1)
    assert len(list(draw_images(row, (1, 5), NOTHING_KNOWN))) == 1
    assert len(list(draw_images(row.reshape(1, 1, 5), (1, 5), NOTHING_KNOWN))) == 1
    assert len(list(draw_images(np.zeros((1, 3, 5, 1)), (2, 2), NOTHING_KNOWN))) == 1


def test_truth_values_in_three_channels_are_colours() -> None:
    """From black to full, none stretched."""
    drawn = only(np.array([[[[True, False, True], [False, False, False]]]]))
    assert drawn.pixels.tolist() == [[[255, 0, 255], [0, 0, 0]]]
    assert (drawn.record["percentiles"], drawn.notes) == (None, ("colours as they are",))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 2, 2, 4)),
        np.zeros((1, 2, 3)),
        np.zeros((1, 2)),
        np.zeros(()),
        np.zeros((1, 0, 2, 1)),
        np.zeros((1, 1, 5, 1)),
        np.full((1, 2, 2), "text"),
        np.zeros((1, 2, 2), complex),
    ],
)
def test_what_does_not_look_like_an_image_is_left_alone(array: NDArray[Any]) -> None:
    """Other ranks, other channel counts, tables, texts."""
    assert list(draw_images(array, (2, 2), NOTHING_KNOWN)) == []


INTEGERS = st.sampled_from(["bool", "uint8", "uint16", "int32", "int64"])


@pytest.mark.slow
@given(
    INTEGERS.flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=3, max_dims=3, max_side=5),
            elements=None if dtype == "bool" else st.integers(0, 255 if dtype == "uint8" else 65535),
        )
    )
)
def test_a_map_of_classes_reads_back_as_the_same_mask(
    tmp_path_factory: pytest.TempPathFactory, array: NDArray[Any]
) -> None:
    """Of any whole numbers that a PNG can hold, each image of a batch."""
    folder = tmp_path_factory.mktemp("pictures")
    written = [each["file"] for each in save(folder, array) if "-map" not in each["file"]]
    assert len(written) == len(array)
    cube = Cube(np.zeros((*array.shape[1:], 1), np.float32))
    for file, image in zip(written, array, strict=True):
        np.testing.assert_array_equal(open_annotations(folder / file).mask(cube), image)


def test_what_a_png_cannot_hold_is_said(tmp_path: Path) -> None:
    """Negative classes have a picture, and no grey values."""
    assert [each["file"] for each in save(tmp_path, np.array([[[-1, 0], [1, 70000]]]))] == ["out-map.png"]
    assert only([[[-1, 0], [1, 2]]]).notes == ("not written as grey values: a PNG holds 0 to 65535",)


def test_one_huge_value_among_tiny_ones() -> None:
    """What lies far beyond the ends of the scale is the brightest, and no warning is given."""
    scores = np.linspace(0, 1e-300, 100).reshape(1, 10, 10, 1)
    scores[0, 4, 4] = 1e308
    drawn = only(scores)
    assert drawn.pixels[4, 4] == drawn.pixels[9, 9] == drawn.pixels[drawn.pixels < 239].max()
    assert drawn.pixels[0, 0] == 0


TOP = 2**63 - 1


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (np.array([[3, 7], [3, 3]]), {3: 3, 7: 1}),
        (np.array([[True, False]]), {0: 1, 1: 1}),
        (np.array([[True, True]]), {1: 2}),
        (np.array([[-5, -5, -4]], np.int8), {-5: 2, -4: 1}),
        (np.array([[TOP, TOP - 2]]), {TOP - 2: 1, TOP: 1}),
        (np.array([[2 * TOP, 2 * TOP + 1]], np.uint64), {2 * TOP: 1, 2 * TOP + 1: 1}),
        (np.array([[-TOP, TOP]]), None),
        (np.array([[10, 10 + 65535]]), {10: 1, 10 + 65535: 1}),
        (np.array([[10, 10 + 65536]]), None),
        (np.arange(255).reshape(1, 255), dict.fromkeys(range(255), 1)),
        (np.arange(256, dtype=np.uint16).reshape(1, 256), None),
    ],
)
def test_whole_numbers_of_few_values_are_classes(values: NDArray[Any], counts: dict[int, int] | None) -> None:
    """Up to 255 of them, near to each other, wherever they lie; more are amounts."""
    found = count_classes(values)
    assert found == counts
    assert found is None or list(found) == sorted(found)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([[True]]), "uint8"),
        (np.array([[0, 255]]), "uint8"),
        (np.array([[0, 256]]), "uint16"),
        (np.array([[0, 65535]]), "uint16"),
        (np.array([[0, 65536]]), None),
        (np.array([[-1, 3]]), None),
        (np.array([[1.0]]), None),
    ],
)
def test_whole_numbers_that_a_png_holds_are_grey_values(values: NDArray[Any], dtype: str | None) -> None:
    """In 8 bits, where these will do."""
    found = grey_values(values)
    assert (None if found is None else found.dtype.name) == dtype
    assert found is None or (found == values).all()


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (1400, 400)])
@pytest.mark.parametrize("ends", [(-2.0, 3.0), (-1.7e308, 1.7e308), (0.0, 1e-200)])
def test_each_pixel_has_the_level_of_its_place_between_the_ends(
    shape: tuple[int, int], ends: tuple[float, float]
) -> None:
    """Of large images, too, which are gone through some rows at a time."""
    places = np.random.default_rng(0).random(shape)
    values = ends[0] * (1 - places) + ends[1] * places
    values[0, 0] = np.nan
    expected = np.where(np.isnan(values), 200, places * 100)
    assert np.abs(levels(values, *ends, 101, 200) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("ends", [(0.0, 5e-324), (-1.7e308, 1.7e308)])
def test_ends_that_a_float_hardly_holds(ends: tuple[float, float]) -> None:
    """The least and the greatest difference that there is between two numbers have a scale."""
    drawn = only([[[ends[0]], [ends[1]]]])
    assert drawn.pixels.tolist() == [[0], [238]]
    assert set_page(drawn, "n.p", NOTHING_KNOWN).height > 500


@given(arrays(np.float64, (1, 3, 3, 1), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_any_numbers_become_a_page(array: NDArray[np.float64]) -> None:
    """Brighter is never less, whatever the numbers, and no warning is given."""
    drawn = only(array)
    finite = np.isfinite(array[0, ..., 0])
    order = np.argsort(array[0, ..., 0][finite], kind="stable")
    assert (np.diff(drawn.pixels[finite][order].astype(int)) >= 0).all()
    assert (drawn.pixels[~finite] == 239).all()
    assert set_page(drawn, "n.p", NOTHING_KNOWN).width > 500


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (3, 5), (64, 64), (600, 20)])
def test_pages_of_any_shape_can_be_read(shape: tuple[int, int]) -> None:
    """Small images are enlarged, narrow ones widened; no text is cut off at the right."""
    values = np.random.default_rng(0).random((1, *shape))
    known = Meaning("Radiance in W m⁻² sr⁻¹ µm⁻¹", "n: AClassOfAVeryLongNameWithoutAnyBlanks" * 4 + ", built in")
    page = np.asarray(set_page(only(values), "a_node_with_a_long_name.and_its_port" * 3, known).convert("L"))
    assert max(page.shape) >= 512
    assert (page[:, -10:] == 255).all()
    assert (page[-10:] == 255).all()


def test_the_image_on_a_page_has_every_pixel() -> None:
    """Enlarged by a whole number, so that none is larger than another."""
    values = np.random.default_rng(0).integers(0, 5, (1, 60, 50))
    drawn = only(values)
    page = np.asarray(set_page(drawn, "n.p", NOTHING_KNOWN).convert("RGB"))
    expected = colours(drawn).repeat(9, axis=0).repeat(9, axis=1)
    top = next(row for row in range(page.shape[0] - 540) if (page[row : row + 540, 14 : 14 + 450] == expected).all())
    assert top > 14


@pytest.mark.parametrize("values", [np.arange(12.0), np.arange(12) % 3])
def test_pages_of_few_colours_have_a_palette(values: NDArray[Any]) -> None:
    """Of scores and classes; what is in all colours, and of more classes than there is room for, has none."""
    assert set_page(only(values.reshape(1, 3, 4)), "n.p", NOTHING_KNOWN).mode == "P"
    assert set_page(only(np.arange(250).reshape(1, 10, 25)), "n.p", NOTHING_KNOWN).mode == "RGB"
    assert set_page(only(np.arange(36.0).reshape(1, 3, 4, 3)), "n.p", NOTHING_KNOWN).mode == "RGB"


def test_the_page_of_a_large_image_is_not_larger_than_it_need_be() -> None:
    """Its pixels are single dots, its text grows; above 8192 only some rows and columns are shown, and it is said."""
    page = set_page(only(np.random.default_rng(0).random((1, 1500, 1600))), "n.p", NOTHING_KNOWN)
    assert page.width == 1600 + 2 * (1600 // 42)
    assert set_page(only(np.zeros((1, 4, 9000), bool)), "n.p", NOTHING_KNOWN).width < 5000


def test_each_image_of_a_batch_has_its_files(tmp_path: Path) -> None:
    """Numbered from 0, each stretched by itself."""
    records = save(tmp_path, np.arange(8.0).reshape(2, 2, 2, 1))
    assert [(each["file"], each["image"]) for each in records] == [("out-0-map.png", 0), ("out-1-map.png", 1)]
    assert [each["low"] for each in records] == pytest.approx([0.06, 4.06])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0-map.png", "out-1-map.png"]


def test_colours_are_written_pixel_by_pixel_too(tmp_path: Path) -> None:
    """What one draws outlines on has the size of the cube."""
    image = np.random.default_rng(0).random((1, 4, 6, 3))
    records = save(tmp_path, image)
    assert [each["file"] for each in records] == ["out-map.png", "out.png"]
    with Image.open(tmp_path / "out.png") as written:
        assert (written.format, written.size) == ("PNG", (6, 4))
        np.testing.assert_array_equal(np.asarray(written), only(image).pixels)
    assert records[1]["shows"] == "colours, pixel by pixel"
    assert save(tmp_path, np.ones((1, 4, 6), bool))[1]["shows"] == "grey values, pixel by pixel"


def test_the_colours_are_those_of_viridis() -> None:
    """To a step of the 256 of the published table, whose ends and middle are these."""
    found = viridis(256)
    assert found[[0, 255]].tolist() == [[68, 1, 84], [253, 231, 37]]
    matplotlib = pytest.importorskip("matplotlib")
    published = np.array(matplotlib.colormaps["viridis"].colors) * 255
    assert np.abs(found - published).max() <= 1.5


def test_colours_are_told_apart() -> None:
    """No class has the colour of another, of the background, of the page, or of no data."""
    colours = [*CLASS_COLOURS, NO_DATA, (0, 0, 0), (255, 255, 255)]
    assert len(set(colours)) == len(colours) == 34


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 12.3, ["2", "4", "6", "8", "10", "12"]),
        (-1.7e308, 1.7e308, ["-1e308", "0", "1e308"]),
        (0, 2.1e-25, ["0", "5e-26", "1e-25", "1.5e-25", "2e-25"]),
        (1000.0000001, 1000.0000009, ["1000.0000002", "1000.0000004", "1000.0000006", "1000.0000008"]),
        (0, 4e6, ["0", "1e6", "2e6", "3e6", "4e6"]),
        (0, 5e-324, ["0", "5e-324"]),
        (0, 4, ["0", "1", "2", "3", "4"]),
        (0, 0.6, ["0", "0.2", "0.4", "0.6"]),
        (0, 5, ["0", "1", "2", "3", "4", "5"]),
        (-5, 5, ["-4", "-2", "0", "2", "4"]),
        (0, 2100, ["0", "500", "1000", "1500", "2000"]),
        (3.5, 3.5, ["3.5", "3.5"]),
    ],
)
def test_ticks_are_round_numbers_that_differ(low: float, high: float, expected: list[str]) -> None:
    """Of any size, as short as they are right."""
    assert labels(ticks(low, high, 6)) == expected


@example([-1.7976931348623103e308, -1.7976931348623101e308], 3)
@example([87295.47848282935, 87295.4784828294], 3)
@example([9.684728405942659e307, 9.684728405942669e307], 2)
@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2).map(sorted), st.integers(2, 8))
def test_ticks_lie_between_the_ends(ends: list[float], count: int) -> None:
    """As many as are asked for at most, ascending."""
    low, high = ends
    found = ticks(low, high, count)
    assert 2 <= len(found) <= count
    assert found == sorted(found)
    slack = (high / 2 - low / 2) * 1e-9
    assert all(low / 2 - slack <= each / 2 <= high / 2 + slack for each in found)


def test_shares_and_numbers_are_never_rounded_to_nothing() -> None:
    """What is there has a share, and what is not all is not 100 %."""
    assert [share(count, 100_000) for count in (0, 1, 1234, 99_999, 100_000)] == [
        "0 %",
        "< 0.1 %",
        "1.2 %",
        "> 99.9 %",
        "100 %",
    ]
    assert [share(count, 1000) for count in (1, 999)] == ["0.1 %", "99.9 %"]
    assert [number(each) for each in (3.0, 0.12347, 1e9, 123456.0, 1e-7)] == ["3", "0.1235", "1e9", "123456", "1e-7"]
    assert [number(each) for each in (999_999.0, 1e6, -1e6, 1234.56)] == ["999999", "1e6", "-1e6", "1235"]


def test_texts_have_umlauts_and_escapes_for_what_the_font_lacks() -> None:
    """Of Latin, Greek and Cyrillic letters none is lost."""
    assert printable("Gebäude µm λ Ёж m⁻²\n中") == "Gebäude µm λ Ёж m⁻² \\u4e2d"


@pytest.mark.parametrize("text", ["word " * 20 + "w" * 90, "w" * 90, "a  b\nc", ""])
def test_lines_are_as_full_as_they_can_be(text: str) -> None:
    """No wider than the page, with all that the text has; a word is broken where it has no line of its own."""
    found = lines(text, 14, 100)
    assert "".join(found).replace(" ", "") == "".join(text.split())
    assert all(0 < width_of(line, 14) <= 100 for line in found)
    for line, after in pairwise(found):
        begin, blank = (after[0], "") if set(line + after) == {"w"} else (after.split()[0], " ")
        assert width_of(line + blank + begin, 14) > 100 or len(begin) > 20


def test_a_page_says_what_it_shows(draw_text: Callable[[], list[str]]) -> None:
    """Title, origin, numbers of the bar, unit, stretch, no data."""
    values = np.linspace(0, 10, 100).reshape(1, 10, 10)
    values[0, 0, 0] = np.nan
    set_page(only(values), "sam.angles", Meaning("Angles in radians", "sam: SpectralAngleMapper, built in"))
    assert draw_text() == [
        "sam.angles",
        "sam: SpectralAngleMapper, built in",
        *"2468",
        "Angles in radians",
        "no data · 1.0 %",
        "stretched from the 2nd to the 98th percentile; values from 0.101 to 10",
    ]


Box = tuple[int, int, int, int]
Drawings = list[tuple[str, Box, Any]]


@pytest.fixture
def on_page(monkeypatch: pytest.MonkeyPatch) -> Callable[[Drawn, Meaning], tuple[Image.Image, Drawings]]:
    """Return a function that sets a drawing in a page, and answers also where what is drawn."""
    found: Drawings = []
    text, paste, rectangle = Canvas.text, Canvas.paste, Canvas.rectangle

    def noted_text(self: Canvas, left: int, top: int, words: str, grey: int, size: int) -> None:
        cover, before = letters(words, size)
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        box = (left - before + columns[0], top + rows[0], left - before + columns[-1] + 1, top + rows[-1] + 1)
        found.append(("text", box, words))
        text(self, left, top, words, grey, size)

    def noted_paste(self: Canvas, pixels: NDArray[np.uint8], left: int, top: int) -> None:
        found.append(("image", (left, top, left + pixels.shape[1], top + pixels.shape[0]), pixels))
        paste(self, pixels, left, top)

    def noted_rectangle(self: Canvas, box: Box, colour: Any) -> None:
        found.append(("rectangle", box, colour))
        rectangle(self, box, colour)

    monkeypatch.setattr(Canvas, "text", noted_text)
    monkeypatch.setattr(Canvas, "paste", noted_paste)
    monkeypatch.setattr(Canvas, "rectangle", noted_rectangle)

    def set_in_page(drawn: Drawn, meaning: Meaning) -> tuple[Image.Image, Drawings]:
        found.clear()
        return set_page(drawn, "node.port", meaning), list(found)

    return set_in_page


@pytest.mark.parametrize("spare", [0, 200])
def test_a_canvas_shows_what_is_drawn_on_it(spare: int) -> None:
    """By a palette or, where that is too large, in all colours: images of both kinds, rectangles and texts."""
    random = np.random.default_rng(0)
    palette = random.integers(0, 256, (100 + spare, 3)).astype(np.uint8)
    canvas = Canvas((60, 40), palette)
    numbers = random.integers(0, 100, (5, 7)).astype(np.uint8)
    canvas.paste(numbers, 3, 4)
    canvas.rectangle((20, 10, 24, 13), (34, 34, 34))
    red, green, blue = map(int, palette[7])
    canvas.rectangle((30, 10, 34, 13), (red, green, blue))
    image = canvas.image()
    expected = np.full((40, 60, 3), 255)
    expected[4:9, 3:10], expected[10:13, 20:24], expected[10:13, 30:34] = palette[numbers], 34, palette[7]
    assert image.mode == ("RGB" if spare else "P")
    assert (np.asarray(image.convert("RGB")) == expected).all()
    if spare:
        canvas.paste(palette[numbers], 30, 30)
        assert (np.asarray(canvas.image())[30:35, 30:37] == palette[numbers]).all()


@pytest.mark.parametrize("colours", [2, 0])
@pytest.mark.parametrize(("left", "top"), [(-9, 5), (0, 5), (95, 5), (-9, 30)])
def test_a_text_that_leaves_a_page_is_cut_off_there(colours: int, left: int, top: int) -> None:
    """It does not come in again at the other end; inside it is drawn as anywhere."""

    def drawn(left: int, top: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        canvas = Canvas(size, np.zeros((colours, 3), np.uint8))
        canvas.text(left, top, "jWij", 102, 20)
        return np.asarray(canvas.image().convert("L"))

    whole = drawn(left + 50, top + 50, (200, 150))
    assert 95 <= whole.min() <= 110
    part = drawn(left, top, (110, 40))
    assert (part == whole[50:90, 50:160]).all()
    assert (part == 255).any()


def meet(left: Box, right: Box) -> bool:
    """Tell whether two boxes have a dot in common."""
    return all(max(left[axis], right[axis]) < min(left[axis + 2], right[axis + 2]) for axis in (0, 1))


LAYOUTS = [
    (np.where(np.arange(480) % 7, np.arange(480) * 0.37, np.nan).reshape(1, 20, 24), Meaning("Angles", "sam: Mapper")),
    (np.arange(2400.0).reshape(1, 60, 40) - 1200, Meaning("Radiance " * 30, "n: Detector " * 20)),
    (np.arange(6.0).reshape(1, 2, 3) * 1e-4 + 1000, Meaning()),
    (np.arange(700.0).reshape(1, 1, 700), Meaning("Counts")),
    (np.random.default_rng(0).random((1, 700, 600)), Meaning("Scores")),
    (np.arange(11).repeat(13).reshape(1, 11, 13), Meaning("Classes", names={3: "a long name of a class", 5: "y"})),
    (np.arange(200).repeat(2).reshape(1, 20, 20), Meaning("Classes")),
    (np.random.default_rng(0).random((1, 30, 40, 3)) * 3, Meaning("Colours", wavelengths=(650.0, 550.0, 450.0))),
]


@pytest.mark.parametrize(("array", "meaning"), LAYOUTS)
def test_nothing_on_a_page_covers_anything_else(array: NDArray[Any], meaning: Meaning, on_page: Any) -> None:
    """All of it is on the page; the image has an even frame, and so has each sign of the legend."""
    page, found = on_page(only(array, meaning), meaning)
    assert all(left >= 3 and top >= 3 for _, (left, top, _, _), _ in found)
    assert all(right <= page.width - 3 and bottom <= page.height - 3 for _, (_, _, right, bottom), _ in found)
    rectangles = [box for kind, box, _ in found if kind == "rectangle"]
    image = next(box for kind, box, _ in found if kind == "image")
    (frame,) = {abs(int(each)) for each in np.subtract(image, rectangles[0])}
    assert 1 <= frame <= 2
    signs = rectangles[len(rectangles) - 2 * len(only(array, meaning).legend) :]
    assert [tuple(np.subtract(inner, sign)) for sign, inner in zip(signs[::2], signs[1::2], strict=True)] == [
        (1, 1, -1, -1)
    ] * (len(signs) // 2)
    apart = [box for kind, box, _ in found if kind != "rectangle"] + signs[::2]
    dots = np.asarray(page.convert("RGB")).copy()
    for kind, (left, top, right, bottom), what in found:
        if kind == "text":
            assert dots[top:bottom, left:right].min() <= 130, what
        elif kind == "rectangle":
            # A palette has every other grey or so.
            assert np.abs(dots[top, left].astype(int) - what).max() <= 8
    for _, (left, top, right, bottom), _ in found:
        dots[top:bottom, left:right] = 255
    assert (dots == 255).all(), "there is something where nothing was drawn"
    assert not [(a, b) for number, a in enumerate(apart) for b in apart[:number] if meet(a, b)]


@pytest.mark.parametrize(("array", "meaning"), LAYOUTS[:5])
def test_numbers_stand_at_their_places_along_the_colours(array: NDArray[Any], meaning: Meaning, on_page: Any) -> None:
    """The colour above each is that of its value, from the first of the scale to the last."""
    drawn = only(array, meaning)
    assert drawn.scale is not None
    _, found = on_page(drawn, meaning)
    left, top, right, bottom = [box for kind, box, _ in found if kind == "image"][1]
    bar = [pixels for kind, _, pixels in found if kind == "image"][1]
    assert (bar[0, 0], bar[0, -1], (bar == bar[0]).all()) == (0, 238, True)
    marks = [box for kind, box, _ in found if kind == "rectangle" and box[1] == bottom]
    numbers = [
        (box, text) for kind, box, text in found if kind == "text" and top < box[1] < bottom + 3 * (bottom - top)
    ]
    numbers = numbers[: len(marks)]
    assert 2 <= len(marks) <= 6
    for (begin, _, end, below), (box, text) in zip(marks, numbers, strict=True):
        value = levels(np.array([[float(text)]]), *drawn.scale, 239, 255)[0, 0]
        assert abs(int(bar[0, min((begin + end) // 2, right - 1) - left]) - int(value)) <= 2
        assert below <= box[1]
        centre = (box[0] + box[2]) / 2
        assert abs(centre - (begin + end) / 2) <= 4 or min(box[0] - left, right - box[2]) <= 4


@pytest.mark.parametrize(
    ("shape", "size", "note"),
    [
        ((64, 64), (512, 512), ""),
        ((3, 5), (309, 515), ""),
        ((520, 512), (520, 512), ""),
        ((1, 700), (58, 700), "pixels are drawn 1 wide and 58 high"),
        ((700, 1), (700, 58), "pixels are drawn 58 wide and 1 high"),
        ((600, 20), (600, 60), "pixels are drawn 3 wide and 1 high"),
        ((8192, 700), (8192, 700), ""),
        ((8194, 1400), (4097, 700), "only one row and column of 2 is shown"),
    ],
)
def test_the_size_of_an_image_on_a_page(shape: tuple[int, int], size: tuple[int, int], note: str, on_page: Any) -> None:
    """Small ones are enlarged, narrow ones widened, of large ones rows and columns are left out; each is said."""
    values = np.zeros((1, *shape), bool)
    values[0, 0, 0] = True
    _, found = on_page(only(values), NOTHING_KNOWN)
    left, top, right, bottom = next(box for kind, box, _ in found if kind == "image")
    assert (bottom - top, right - left) == size
    said = " ".join(text for kind, _, text in found if kind == "text")
    assert said.endswith(note)
    assert ("are drawn" in said, "is shown" in said) == ("are drawn" in note, "is shown" in note)


def test_a_legend_is_read_down_its_columns(on_page: Any) -> None:
    """Each text stands beside the sign in its colour, all columns below each other."""
    meaning = Meaning(names={number: f"class {number}" for number in range(11)})
    drawn = only(np.arange(11).repeat(13).reshape(1, 11, 13), meaning)
    _, found = on_page(drawn, meaning)
    signs = {box: colour for kind, box, colour in found if kind == "rectangle"}
    beside = {}
    for kind, (left, top, _, bottom), text in found:
        near = [box for box in signs if 0 < left - box[2] < 14 and box[1] <= (top + bottom) / 2 <= box[3]]
        if kind == "text" and near:
            beside[text] = near[-1]
    assert {text: signs[box] for text, box in beside.items()} == {entry.text: entry.colour for entry in drawn.legend}
    read = sorted(beside, key=lambda text: beside[text][:2])
    assert read == [entry.text for entry in drawn.legend]
    lefts, tops = ({box[at] for box in beside.values()} for at in (0, 1))
    assert (len(lefts), len(tops)) == (3, 4)


@pytest.fixture
def draw_text(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return a function that answers which texts were drawn."""
    drawn: list[str] = []
    real = Canvas.text

    def text(self: Any, left: int, top: int, text: str, *rest: Any) -> None:
        drawn.append(text)
        real(self, left, top, text, *rest)

    monkeypatch.setattr(Canvas, "text", text)
    return lambda: drawn
