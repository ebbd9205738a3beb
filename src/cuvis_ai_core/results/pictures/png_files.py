"""The pictures of outputs, as PNG files: a page for people, and beside it what can be read back."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.results.folder import safe_name
from cuvis_ai_core.results.output_values import Address, Result
from cuvis_ai_core.results.pictures.kinds import draw_images, is_picture
from cuvis_ai_core.results.pictures.page_layout import set_page
from cuvis_ai_core.results.pictures.picture_types import Drawn, Meaning

MAP: Final = "-map"
"""Behind the name of a page; a file without it holds the pixels and nothing else."""

_QUICK: Final = 1
"""Of noise, a page becomes as small as with more effort, in half of the time."""


def write_pictures(
    folder: Path,
    results: list[Result],
    image: tuple[int, ...],
    meaning: Callable[[Address], Meaning],
    file_of: Callable[[Address], str],
) -> list[dict[str, Any]]:
    """Write the pictures, and return a record of each output in each file.

    Args:
        folder: Where to write.
        results: What the pipeline gave.
        image: Height and width of the cube.
        meaning: Tells what an output means.
        file_of: Tells in which file an output is.

    Raises:
        OSError: The folder cannot be written.
    """
    about = {result.name: result.record() for result in results}
    records = [
        {"file": file_of((result.node, result.port)), "key": result.name, **about[result.name]} for result in results
    ]
    for result, stem in zip(results, _stems(results), strict=True):
        if not is_picture(result.array, image):
            continue
        known = meaning((result.node, result.port))
        written = save_pictures(folder, stem, np.asarray(result.array), image, result.name, known)
        records += ({**about[result.name], **record} for record in written)
    return records


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


def _stems(results: Iterable[Result]) -> list[str]:
    """Return a begin of file names for each output; two that differ only in case would be one on many disks."""
    stems: list[str] = []
    for result in results:
        name = safe_name(result.name)
        candidates = (name if number == 1 else f"{number}_{name}" for number in count(1))
        stems.append(next(each for each in candidates if not any(_meet(each, stem) for stem in stems)))
    return stems


def _meet(left: str, right: str) -> bool:
    """Tell whether files that begin with the one may have the name of a file that begins with the other."""
    short, long = sorted((left.casefold(), right.casefold()), key=len)
    return long == short or long.startswith(f"{short}-")


def _what(drawn: Drawn) -> str:
    return "colours, pixel by pixel" if drawn.record["kind"] == "colours" else "grey values, pixel by pixel"


def _save(image: Image.Image, path: Path) -> None:
    image.save(path, format="PNG", compress_level=_QUICK)
