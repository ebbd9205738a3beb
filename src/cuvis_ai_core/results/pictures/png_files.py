"""The pictures of outputs, as PNG files: a page for people, and beside it what can be read back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.results.pictures.kinds import draw_images
from cuvis_ai_core.results.pictures.page_layout import set_page
from cuvis_ai_core.results.pictures.picture_types import Drawn, Meaning

MAP: Final = "-map"
"""Behind the name of a page; a file without it holds the pixels and nothing else."""

_QUICK: Final = 1
"""Of noise, a page becomes as small as with more effort, in half of the time."""


def save_pictures(
    folder: Path, stem: str, array: NDArray[Any], image: tuple[int, ...], title: str, meaning: Meaning
) -> Iterator[dict[str, Any]]:
    """Write the pictures of an output, and return a record of each file.

    `<stem>-map.png` is for people. `<stem>.png` has a pixel for each of the image: grey values that are classes, which
    is a mask that can be read back, or colours. Where the batch has several images, `<stem>` ends in their numbers.

    Args:
        folder: Where to write.
        stem: Begin of the file names.
        array: The value of an output port.
        image: Height and width of the cube.
        title: Name of the output.
        meaning: What is known of it.

    Raises:
        OSError: A file cannot be written.
    """
    several = array.shape[:1] > (1,)
    for index, drawn in enumerate(draw_images(array, image, meaning)):
        name = f"{stem}-{index}" if several else stem
        heading = f"{title}, image {index}" if several else title
        record = {"image": index} if several else {}
        _save(set_page(drawn, heading, meaning), folder / f"{name}{MAP}.png")
        yield {"file": f"{name}{MAP}.png", **record, **drawn.record}
        if drawn.exact is not None:
            _save(Image.fromarray(drawn.exact), folder / f"{name}.png")
            yield {"file": f"{name}.png", **record, "shows": _what(drawn)}


def _what(drawn: Drawn) -> str:
    return "colours, pixel by pixel" if drawn.record["kind"] == "colours" else "grey values, pixel by pixel"


def _save(image: Image.Image, path: Path) -> None:
    image.save(path, format="PNG", compress_level=_QUICK)
