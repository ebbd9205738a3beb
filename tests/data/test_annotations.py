import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_masks

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Batches, Cube, Cubes, open_annotations
from cuvis_ai_core.errors import AnnotationError, MissingExtraError

CUBE = Cube(np.zeros((4, 6, 2)), source=Path("scenes/field.npy"), index=0)
Save = Callable[..., Path]


@pytest.fixture
def png(tmp_path: Path) -> Save:
    """Return a function that saves a PNG."""

    def save(name: str, values: Any, mode: str | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(np.asarray(values))
        (image.convert(mode) if mode else image).save(path)
        return path

    return save


@pytest.fixture
def coco(tmp_path: Path) -> Save:
    """Return a function that writes a COCO file with one image of 4 x 6 pixels."""

    def save(*annotations: Any, **changes: Any) -> Path:
        content = {
            "images": [{"id": 0, "file_name": "other.png", "height": 4, "width": 6}],
            "categories": [{"id": 3, "name": "stone"}, {"id": 5, "name": "leaf"}],
            "annotations": [{"id": 1, "image_id": 0, **each} for each in annotations],
        }
        path = tmp_path / "labels.json"
        path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
        return path

    return save


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_mask(png: Save, dtype: type) -> None:
    """Grey values of 8 or 16 bits are classes."""
    values: Any = np.arange(24, dtype=dtype).reshape(4, 6) * (10 if dtype is np.uint8 else 2000)
    mask = open_annotations(png("mask.png", values)).mask(CUBE)
    assert mask.dtype == np.int32
    assert np.array_equal(mask, values)


def test_palette(tmp_path: Path) -> None:
    """The numbers of palette entries are classes, not their colours."""
    image = Image.new("P", (6, 4), 2)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "mask.png")
    assert np.unique(open_annotations(tmp_path / "mask.png").mask(CUBE)).tolist() == [2]


def test_masks_by_name(png: Save, tmp_path: Path) -> None:
    """A folder has a mask for each cube, with its number where a file holds several."""
    png("masks/field.png", np.full((4, 6), 1, np.uint8))
    png("masks/field_1.png", np.full((4, 6), 2, np.uint8))
    masks = open_annotations(tmp_path / "masks")
    second = Cube(CUBE.data, source=CUBE.source, index=1)
    assert [int(masks.mask(cube)[0, 0]) for cube in (CUBE, second)] == [1, 2]
    with pytest.raises(AnnotationError, match=r"has no mask for cube 2 of '.*'\.\nMasks .*: field_2\.png\.$"):
        masks.mask(Cube(CUBE.data, source=CUBE.source, index=2))


def test_wrong_masks(png: Save, tmp_path: Path) -> None:
    """A colour picture, one of another size, and what is no picture are no masks."""
    with pytest.raises(AnnotationError, match="a picture of mode RGB; a mask has one grey value"):
        open_annotations(png("rgb.png", np.zeros((4, 6, 3), np.uint8))).mask(CUBE)
    with pytest.raises(AnnotationError, match=r"are 6 x 4 pixels, but cube 0 of '.*field\.npy' is 4 x 6"):
        open_annotations(png("turned.png", np.zeros((6, 4), np.uint8))).mask(CUBE)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(AnnotationError, match="no picture that can be read"):
        open_annotations(broken).mask(CUBE)


def test_no_annotations(tmp_path: Path) -> None:
    """What is not there, or of another kind, is said at once."""
    for name in ("none.png", "none.json", "none"):
        with pytest.raises(AnnotationError, match=f"no annotations at '.*{name}'"):
            open_annotations(tmp_path / name)
    (tmp_path / "labels.csv").write_text("1", encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"labels.csv' is no file of annotations\.\nAnnotations are a COCO file"):
        open_annotations(tmp_path / "labels.csv")


def test_polygons(coco: Save) -> None:
    """Outlines are filled with their category; a later one covers an earlier one."""
    path = coco(
        {"category_id": 3, "segmentation": [[0, 0, 6, 0, 6, 2, 0, 2]]},
        {"category_id": 5, "segmentation": [[2, 0, 4, 0, 4, 4, 2, 4]]},
    )
    assert open_annotations(path).mask(CUBE).tolist() == [
        [3, 3, 5, 5, 3, 3],
        [3, 3, 5, 5, 3, 3],
        [0, 0, 5, 5, 0, 0],
        [0, 0, 5, 5, 0, 0],
    ]


@given(pixels=st.lists(st.booleans(), min_size=24, max_size=24), compressed=st.booleans())
def test_runs(tmp_path_factory: pytest.TempPathFactory, pixels: list[bool], *, compressed: bool) -> None:
    """Runs, written out or compressed, give back the pixels that they were made of."""
    drawn = np.asfortranarray(np.array(pixels, dtype=np.uint8).reshape(4, 6))
    counts: Any = coco_masks.encode(drawn)["counts"].decode()
    if not compressed:
        flat = drawn.ravel(order="F").tolist()
        edges = [0, *(at for at in range(1, 24) if flat[at] != flat[at - 1]), 24]
        counts = [0] * flat[0] + [end - start for start, end in pairwise(edges)]
    path = tmp_path_factory.mktemp("coco") / "labels.json"
    content = {
        "images": [{"id": 7, "file_name": "pictures/field.png", "height": 4, "width": 6}],
        "categories": [{"id": 2, "name": "stone"}],
        "annotations": [{"image_id": 7, "category_id": 2, "segmentation": {"size": [4, 6], "counts": counts}}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    assert np.array_equal(open_annotations(path).mask(CUBE), drawn * 2)


def test_image_by_name_or_number(coco: Save) -> None:
    """An image belongs to the cube of its name, and else to that of its number; it may have no annotations."""
    images = [{"id": number, "file_name": name, "height": 4, "width": 6} for number, name in enumerate("ab")]
    annotations = [{"image_id": 1, "category_id": 3, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]]}]
    labels = open_annotations(coco(images=images, annotations=annotations))
    cubes = [Cube(CUBE.data, source=Path(name), index=index) for name, index in (("b.npy", 0), ("c.cu3s", 1), ("a", 1))]
    assert [int(labels.mask(cube).max()) for cube in cubes] == [3, 3, 0]
    with pytest.raises(
        AnnotationError, match=r"no image for cube 2 of 'c\.cu3s'\.\nIts file_name .* 'c', or its id .* 2"
    ):
        labels.mask(Cube(CUBE.data, source=Path("c.cu3s"), index=2))


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        (None, r"annotations\[0\]\.segmentation is no outline"),
        ([[0, 0, 1, 1]], "is no outline"),
        ([["0", 0, 1, 1, 2, 2]], "is no outline"),
        ({"size": [6, 4], "counts": [24]}, r"size is \[6, 4\], its image \[4, 6\]"),
        ({"size": [4, 6], "counts": [20]}, "no runs that add up to 4 x 6 pixels"),
        ({"size": [4, 6], "counts": [-1, 25]}, "no runs that add up"),
        ({"size": [4, 6], "counts": None}, "no runs that add up"),
        ({"size": [4, 6], "counts": "zzzz"}, "cannot be drawn: Invalid RLE"),
        ({"size": [4, 6], "counts": "5"}, "counts do not cover 4 x 6 pixels"),
    ],
)
def test_wrong_outlines(coco: Save, segmentation: Any, says: str) -> None:
    """An outline that breaks a rule is named, with the rule."""
    with pytest.raises(AnnotationError, match=says):
        open_annotations(coco({"category_id": 3, "segmentation": segmentation})).mask(CUBE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": None}, "has no list 'images'"),
        ({"images": [{"id": "x"}]}, r"images\[0\]\.id is 'x'; it is an integer from 0"),
        ({"images": ["x"]}, r"images\[0\]\.id is None"),
        ({"annotations": [{"image_id": 9, "category_id": 3}]}, r"annotations\[0\] has the image_id 9, which is not in"),
        ({"annotations": [{"image_id": 0, "category_id": 9}]}, "has the category_id 9, which is not in"),
    ],
)
def test_wrong_files(coco: Save, changes: dict[str, Any], says: str) -> None:
    """A list that is missing, or an id that is none, is named when the file is opened."""
    with pytest.raises(AnnotationError, match=says):
        open_annotations(coco(**changes))


def test_no_json(tmp_path: Path) -> None:
    """What is no JSON is said to be none."""
    (tmp_path / "labels.json").write_text("{", encoding="utf-8")
    with pytest.raises(AnnotationError, match="cannot be read: Expecting property name"):
        open_annotations(tmp_path / "labels.json")


def test_size_of_the_image(coco: Save) -> None:
    """An image of another size than its cube is refused."""
    path = coco(images=[{"id": 0, "height": 3, "width": 6}])
    with pytest.raises(AnnotationError, match="are 3 x 6 pixels, but cube 0"):
        open_annotations(path).mask(CUBE)


def test_missing_extra(coco: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pycocotools the error names the extra."""
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[train\]"):
        open_annotations(coco())


def test_masks_in_batches(png: Save, tmp_path: Path) -> None:
    """A batch has the masks of its cubes."""
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.zeros((4, 6, 2)))
        png(f"masks/{number}.png", np.full((4, 6), number + 1, np.uint8))
    with NodeRegistry(discover=False) as registry:
        cubes = Cubes(str(tmp_path / "*.npy"), registry.cube_readers())
        (batch,) = Batches(cubes, [1, 0], open_annotations(tmp_path / "masks"), size=2)
    assert batch["mask"].shape == (2, 4, 6)
    assert batch["mask"][:, 0, 0].tolist() == [2, 1]
