import json
import struct
import sys
import zlib
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
            "images": [{"id": 0, "file_name": "field.png", "height": 4, "width": 6}],
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
    with pytest.raises(AnnotationError, match=r"has no mask for cube 2 of '.*'\..*\nMasks .*: field_2\.png\.$"):
        masks.mask(Cube(CUBE.data, source=CUBE.source, index=2))


def test_wrong_masks(png: Save, tmp_path: Path) -> None:
    """A picture of another size, and what is no picture are no masks."""
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


def test_polygons(coco: Save, caplog: pytest.LogCaptureFixture) -> None:
    """Outlines are filled with their category; a later one covers an earlier one, which is said once of a file."""
    outlines = [
        {"category_id": 3, "segmentation": [[0, 0, 6, 0, 6, 2, 0, 2]]},
        {"category_id": 5, "segmentation": [[2, 0, 4, 0, 4, 4, 2, 4]]},
        {"category_id": 5, "segmentation": [[2, 0, 4, 0, 4, 4, 2, 4]]},
    ]
    images = [_image(0, "field.png"), _image(1, "meadow.png")]
    masks = open_annotations(
        coco(images=images, annotations=[{"image_id": at, **each} for at in range(2) for each in outlines])
    )
    for cube in (CUBE, CUBE, Cube(CUBE.data, source=Path("scenes/meadow.npy"))):
        assert masks.mask(cube).tolist() == [
            [3, 3, 5, 5, 3, 3],
            [3, 3, 5, 5, 3, 3],
            [0, 0, 5, 5, 0, 0],
            [0, 0, 5, 5, 0, 0],
        ]
    (said,) = caplog.messages
    assert "annotations of two classes overlap in 4 pixels of the image 'field.png'" in said


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


def test_empty_runs_are_read(coco: Save) -> None:
    """A text may have a run of no pixels among others, as the one that tools write of a list has."""
    runs = coco_masks.frPyObjects({"size": [4, 6], "counts": [4, 2, 0, 2, 16]}, 4, 6)
    outline = {"size": [4, 6], "counts": runs["counts"].decode()}
    mask = open_annotations(coco({"category_id": 3, "segmentation": outline})).mask(CUBE)
    assert mask.T.tolist() == [[0] * 4, [3] * 4, *([[0] * 4] * 4)]


def test_image_by_name_or_number(coco: Save) -> None:
    """In a file of several cubes an image belongs to that of its number; it may have no annotations."""
    images = [{"id": number, "file_name": name, "height": 4, "width": 6} for number, name in enumerate("ab")]
    annotations = [{"image_id": 1, "category_id": 3, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]]}]
    labels = open_annotations(coco(images=images, annotations=annotations))
    cubes = [
        Cube(CUBE.data, source=Path(name), index=index) for name, index in (("b.npy", 0), ("c.cu3s", 1), ("c.cu3s", 0))
    ]
    assert [int(labels.mask(cube).max()) for cube in cubes] == [3, 3, 0]
    with pytest.raises(
        AnnotationError, match=r"no image for cube 2 of 'c\.cu3s'\.\nIts file_name .* 'c', or its id .* 2"
    ):
        labels.mask(Cube(CUBE.data, source=Path("c.cu3s"), index=2))


def test_numbers_of_images_count_where_a_file_holds_several_cubes(coco: Save) -> None:
    """An image of another name, whose id is 0, is not that of the only cube of a file."""
    images = [{"id": number, "file_name": name, "height": 4, "width": 6} for number, name in enumerate("ab")]
    labels = open_annotations(coco(images=images))
    several = [(Path("c.npz"), 0), (Path("c.npz"), 1)]
    labels.check(several, several)
    with pytest.raises(AnnotationError, match=r"no image for cube 0 of 'c\.npz'"):
        labels.check(several[:1], several[:1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_channels_that_agree(png: Save, mode: str) -> None:
    """A mask that was saved with several channels is read where they agree."""
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert np.array_equal(open_annotations(png("mask.png", values, mode)).mask(CUBE), values)


def test_colours_without_palette(png: Save, tmp_path: Path) -> None:
    """A mask in colours, in part transparent, or of deep channels is refused, with what to do."""
    colours = np.zeros((4, 6, 4), np.uint8)
    colours[..., 3] = 255
    colours[2, 3] = 200, 0, 0, 255
    with pytest.raises(AnnotationError, match=r"in colours, and no palette file lies beside it; .*\n.*labelmap\.txt"):
        open_annotations(png("rgb.png", colours)).mask(CUBE)
    with pytest.raises(AnnotationError, match="is transparent in places"):
        open_annotations(png("clear.png", np.zeros((4, 6, 4), np.uint8))).mask(CUBE)
    deep = tmp_path / "deep.png"
    rows = b"".join(b"\0" + (300).to_bytes(2, "big") * 18 for _ in range(4))
    deep.write_bytes(_png(6, 4, depth=16, kind=2, rows=rows))
    with pytest.raises(AnnotationError, match="with channels of more than 8 bits"):
        open_annotations(deep).mask(CUBE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nstone:200,0,0::\nold: leaf:0,200,0::\n"),
        ("class_dict.csv", "name, r, g, b\nbackground,0,0,0\nstone,200,0,0\nold: leaf,0,200,0\n"),
        ("class_dict.csv", "name,r,g,b\rbackground,0,0,0\rstone,200,0,0\rold: leaf,0,200,0\r"),
    ],
)
def test_palette_file(png: Save, tmp_path: Path, name: str, text: str) -> None:
    """Colours are classes where a file of a labelling tool beside the masks, or above their folder, says which."""
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[2, 3], colours[0, 1] = (200, 0, 0), (0, 200, 0)
    png("SegmentationClass/field.png", colours)
    (tmp_path / name).write_bytes(text.encode())
    masks = open_annotations(tmp_path / "SegmentationClass")
    mask = masks.mask(CUBE)
    assert (mask[2, 3], mask[0, 1], int(mask.sum())) == (1, 2, 3)
    assert dict(masks.classes) == {0: "background", 1: "stone", 2: "old: leaf"}
    assert "(200, 0, 0) = 1" in masks.remarks[0]
    colours[3, 3] = 1, 2, 3
    png("SegmentationClass/field.png", colours)
    with pytest.raises(AnnotationError, match=r"has the colour \(1, 2, 3\) at row 3, column 3, which .* does not name"):
        open_annotations(tmp_path / "SegmentationClass").mask(CUBE)


@pytest.mark.parametrize(
    ("name", "colour", "number"),
    [
        ("stone", (9, 0, 0), 1),
        ("stone", (1, 0, 0), 1),
        ("stone", (0, 0, 1), 1),
        ("stone", (0, 0, 0), 0),
        ("Background", (9, 0, 0), 0),
    ],
)
def test_the_first_colour_of_a_palette(
    png: Save, tmp_path: Path, name: str, colour: tuple[int, int, int], number: int
) -> None:
    """It is that of the background where it is black or is called so, and else that of class 1."""
    png("field.png", np.full((4, 6, 3), colour, np.uint8))
    text = f"{name}:{','.join(map(str, colour))}::\nleaf:0,255,0::\n"
    (tmp_path / "labelmap.txt").write_text(text, encoding="utf-8")
    labels = open_annotations(tmp_path)
    assert np.unique(labels.mask(CUBE)).tolist() == [number]
    assert labels.classes == {number: name, number + 1: "leaf"}


@pytest.mark.parametrize(
    "text", ["stone:1,2::", "stone:1,2,-1::", "stone:1,2,256::", "stone:1,2,300::", "a:1,2,3::\nb:1,2,3::", "", "stone"]
)
def test_wrong_palettes(png: Save, tmp_path: Path, text: str) -> None:
    """A palette file that breaks a rule is named, with the rule."""
    path = png("field.png", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "labelmap.txt").write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"The palette '.*labelmap\.txt' cannot be read"):
        open_annotations(path)


@pytest.mark.parametrize("kind", [0, 3])
def test_few_bits(tmp_path: Path, kind: int) -> None:
    """A grey value, or a palette number, of 2 or 4 bits is the class, not stretched to 8 bits."""
    for depth, row in ((2, b"\x1b\x10"), (4, b"\x01\x23\x01")):
        (tmp_path / "few.png").write_bytes(_png(6, 4, depth=depth, kind=kind, rows=(b"\0" + row) * 4))
        assert open_annotations(tmp_path / "few.png").mask(CUBE).tolist() == [[0, 1, 2, 3, 0, 1]] * 4


def test_huge_mask(tmp_path: Path) -> None:
    """The size of a mask is looked at before its pixels, which may be made to fill the memory."""
    (tmp_path / "bomb.png").write_bytes(_png(40_000, 4_000, depth=8, kind=0, rows=b""))
    with pytest.raises(AnnotationError, match="are 4000 x 40000 pixels, but cube 0"):
        open_annotations(tmp_path / "bomb.png").mask(CUBE)


NAMES = [
    ("field.png", "scenes/field.npy"),
    ("field.jpg", "scenes/field.hdr"),
    ("field", "scenes/field.npy"),
    ("field.npy.png", "scenes/field.npy"),
    ("field.v2.png", "scenes/field.v2.npy"),
    ("field.v2", "scenes/field.v2.npy"),
    ("field.png", "scenes/field.img.hdr"),
    ("images/field.png", "scenes/field.npy"),
    ("C:\\lab\\field.png", "scenes/field.npy"),
    ("1a2b3c4d-field.png", "scenes/field.npy"),
    ("upload/3/1a2b3c4d-my_field.png", "scenes/my field.npy"),
    ("/data/local-files/?d=lab/my%20field.png", "scenes/my field.npy"),
    ("field_png.rf.0123456789abcdef0123456789abcdef.jpg", "scenes/field.npy"),
    ("FIELD.PNG", "scenes/field.npy"),
    ("scenes/field.png", "scenes/field.npy"),
    ("field_2.png", "scenes/field.cu3s#2"),
]


@pytest.mark.parametrize(("name", "cube"), NAMES)
def test_names_of_images(coco: Save, name: str, cube: str) -> None:
    """An image belongs to the cube of its name, as people and labelling tools write it; another one does not."""
    path, _, number = cube.partition("#")
    images = [{"id": 7, "file_name": name, "height": 4, "width": 6}]
    outline = [[0, 0, 6, 0, 6, 4, 0, 4]]
    annotations = [{"image_id": 7, "category_id": 3, "segmentation": outline}]
    labels = open_annotations(coco(images=images, annotations=annotations))
    assert int(labels.mask(Cube(CUBE.data, source=Path(path), index=int(number or 0))).max()) == 3
    with pytest.raises(AnnotationError, match="there is no image for cube 0 of 'scenes/meadow"):
        labels.mask(Cube(CUBE.data, source=Path("scenes/meadow.npy")))


def test_folders_decide(coco: Save, png: Save, tmp_path: Path) -> None:
    """Of images or masks with one name, each belongs to the cube in the folder of its name."""
    images = [{"id": at, "file_name": f"{name}/field.png", "height": 4, "width": 6} for at, name in enumerate("ab")]
    outline = [[0, 0, 6, 0, 6, 4, 0, 4]]
    annotations = [{"image_id": at, "category_id": 3 + 2 * at, "segmentation": outline} for at in range(2)]
    labels = open_annotations(coco(images=images, annotations=annotations))
    cubes = [Cube(CUBE.data, source=Path(f"scenes/{name}/field.npy")) for name in "ab"]
    assert [int(labels.mask(cube).max()) for cube in cubes] == [3, 5]
    with pytest.raises(AnnotationError, match=r"2 images have the name of cube 0 of 'scenes/c/field\.npy'"):
        labels.mask(Cube(CUBE.data, source=Path("scenes/c/field.npy")))
    for number, name in enumerate("ab"):
        (tmp_path / "masks" / name).mkdir(parents=True)
        png(f"masks/{name}/field.png", np.full((4, 6), number + 1, np.uint8))
        (tmp_path / "masks" / name / "._field.png").write_bytes(b"\0")
    masks = open_annotations(tmp_path / "masks")
    assert [int(masks.mask(cube).max()) for cube in cubes] == [1, 2]
    with pytest.raises(AnnotationError, match="has several masks for cube 0 of 'field"):
        masks.mask(Cube(CUBE.data, source=Path("field.npy")))


def test_an_outline_smaller_than_a_pixel(coco: Save, caplog: pytest.LogCaptureFixture) -> None:
    """That it marks nothing is said once."""
    masks = open_annotations(coco({"category_id": 3, "segmentation": [[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]]}))
    for _ in range(2):
        assert not masks.mask(CUBE).any()
    assert len(caplog.messages) == 1
    assert "annotations[0] marks no pixel" in caplog.text


def test_categories_from_zero(coco: Save, caplog: pytest.LogCaptureFixture) -> None:
    """A category of the id 0 keeps a class of its own, which is said, unless it is the background."""
    outlines = [[[0, 0, 3, 0, 3, 4, 0, 4]], [[3, 0, 5, 0, 5, 4, 3, 4]]]
    annotations = [{"image_id": 0, "category_id": at, "segmentation": each} for at, each in enumerate(outlines)]
    categories = [{"id": 0, "name": "stone"}, {"id": 1, "name": "leaf"}]
    labels = open_annotations(coco(annotations=annotations, categories=categories))
    assert labels.mask(CUBE)[0].tolist() == [1, 1, 1, 2, 2, 0]
    assert dict(labels.classes) == {1: "stone", 2: "leaf"}
    assert "0 'stone' = 1, 1 'leaf' = 2" in caplog.text
    caplog.clear()
    categories[0]["name"] = "Background"
    labels = open_annotations(coco(annotations=annotations, categories=categories))
    assert labels.mask(CUBE)[0].tolist() == [0, 0, 0, 1, 1, 0]
    assert (dict(labels.classes), labels.remarks, caplog.text) == ({0: "Background", 1: "leaf"}, (), "")


@pytest.fixture
def scenes(tmp_path: Path) -> Cubes:
    """Return two cubes of 4 x 6 pixels, in two folders: `a/field.npy` and `b/meadow.npy`."""
    for name in ("a/field.npy", "b/meadow.npy"):
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / name, np.zeros((4, 6, 2)))
    with NodeRegistry(discover=False) as registry:
        return Cubes(str(tmp_path / "?/*.npy"), registry.cube_readers())


def _image(key: int, name: str) -> dict[str, Any]:
    return {"id": key, "file_name": name, "height": 4, "width": 6}


def test_image_without_cube(coco: Save, scenes: Cubes) -> None:
    """An annotated image that matches no cube is an error, even where its id is the number of one."""
    annotations = [{"image_id": 0, "category_id": 3, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]]}]
    images = [_image(0, "feild.png"), _image(1, "field.png"), _image(2, "meadow.png")]
    with pytest.raises(AnnotationError, match=r"annotated image 'feild\.png' matches no cube\.\nDid you mean 'field'"):
        Batches(scenes, [0], open_annotations(coco(images=images, annotations=annotations)))
    annotations[0]["image_id"] = 1
    assert len(Batches(scenes, [0, 1], open_annotations(coco(images=images, annotations=annotations)))) == 2


def test_image_for_several_cubes(coco: Save, png: Save, tmp_path: Path) -> None:
    """One image or mask that would serve several cubes is an error, where these are asked for."""
    for name in "ab":
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "field.npy", np.zeros((4, 6, 2)))
    png("masks/field.png", np.zeros((4, 6), np.uint8))
    with NodeRegistry(discover=False) as registry:
        cubes = Cubes(str(tmp_path / "?/field.npy"), registry.cube_readers())
    for place in (coco(images=[_image(0, "field.png")]), tmp_path / "masks", tmp_path / "masks/field.png"):
        annotations = open_annotations(place)
        with pytest.raises(
            AnnotationError, match=r"would serve several cubes: cube 0 of '.*a/field\.npy' and cube 0 of"
        ):
            Batches(cubes, [0, 1], annotations)
        assert len(Batches(cubes, [1], annotations)) == 1


def test_doubled_ids(coco: Save) -> None:
    """Two images, or two categories, of one id are refused."""
    for key in ("images", "categories"):
        doubled = [{"id": 1, "name": "a", "file_name": "a", "height": 4, "width": 6}] * 2
        with pytest.raises(AnnotationError, match=rf"{key}\[1\] has the id 1, which another one of them has too"):
            open_annotations(coco(**{key: doubled}))


def _png(width: int, height: int, *, depth: int, kind: int, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(12))) if kind == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        (None, r"^The COCO file '[^']*': annotations\[0\]\.segmentation is no outline"),
        ([[0, 0, 1, 1]], "is no outline"),
        ([["0", 0, 1, 1, 2, 2]], "is no outline"),
        ({"size": [6, 4], "counts": [24]}, r"size is \[6, 4\], its image \[4, 6\]"),
        ({"size": [4, 6], "counts": [20]}, r"annotations\[0\].segmentation: The runs have 20 pixels together"),
        ({"size": [4, 6], "counts": [-1, 25]}, "neither a text nor a list of integers from 0"),
        ({"size": [4, 6], "counts": None}, "neither a text nor a list"),
        ({"size": [4, 6], "counts": "zzzz"}, "Runs of pixels are"),
        ({"size": [4, 6], "counts": "5"}, "The runs have 5 pixels together, and the picture 4 x 6 = 24"),
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
    with pytest.raises(AnnotationError, match="is no JSON: Expecting property name"):
        open_annotations(tmp_path / "labels.json")


def test_size_of_the_image(coco: Save) -> None:
    """An image of another size than its cube is refused."""
    path = coco(images=[_image(0, "field.png") | {"height": 3}])
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


@pytest.mark.parametrize("name", ["scene.png", "scene.json"])
def test_pointers_of_git_lfs_are_no_broken_annotations(tmp_path: Path, name: str) -> None:
    """They say how the file is to be had."""
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(AnnotationError, match=f"{name}' is a pointer of Git LFS") as error:
        open_annotations(tmp_path / name).mask(Cube(np.zeros((3, 4, 5)), source=Path("scene.npy")))
    assert error.value.hint == "Fetch its content: git lfs pull"
