"""Checks that hold for every reader of cubes: `check_reader(read, "scene.lab")` in a plugin's tests."""

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvis_ai_core._error_location import words_of
from cuvis_ai_core.data.cube import Cube

_KINDS: Final = "iuf"


class ReaderCheckError(AssertionError):
    """What is wrong with a reader; `faults` has a sentence for each."""

    def __init__(self, reader: str, faults: list[str]) -> None:
        super().__init__(f"{reader}:\n" + "\n".join(f"- {fault}" for fault in faults))
        self.faults = faults


def check_reader(reader: Callable[..., Any], file: str | os.PathLike[str]) -> None:
    """Raise if a reader does not keep what every reader promises.

    It returns a `Cube`, or a sequence of them, the same ones when it is asked again and from another folder; it
    leaves the file as it was, and raises for a file that ends too early, is empty, or is not there.

    Args:
        reader: The reader, which takes a path.
        file: A file that it reads; copies of it, and of those beside it that have its stem, are read.

    Raises:
        ReaderCheckError: With a sentence for each fault.
    """
    faults = list(find_reader_faults(reader, Path(file)))
    if faults:
        raise ReaderCheckError(getattr(reader, "__qualname__", type(reader).__name__), faults)


def find_reader_faults(reader: Callable[..., Any], file: Path) -> Iterator[str]:
    """Yield what is wrong with a reader, a sentence each; the arguments are those of `check_reader`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        for beside in file.parent.glob(f"{glob.escape(file.stem)}.*"):  # some formats are of several files
            if beside.is_file():
                shutil.copyfile(beside, copy.with_name(beside.name))
        shutil.copyfile(file, copy)
        content = copy.read_bytes()
        try:
            first = _cubes(reader(copy))
        except Exception as error:
            yield f"it does not read the file: {words_of(error)}"
            return
        if isinstance(first, str):
            yield first
            return
        kept = [np.array(each.data) for each in first]
        yield from _values(first)
        if copy.read_bytes() != content:
            yield "it changes the file that it reads"
            copy.write_bytes(content)
        yield from _again(reader, copy, kept)
        yield from _broken(reader, copy, content)


def _cubes(found: Any) -> list[Cube] | str:
    if isinstance(found, Cube):
        return [found]
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        return f"it returns an object of class {type(found).__name__}; a reader returns a Cube, or a sequence of them"
    cubes = list(found)
    if not cubes:
        return "it returns no cube"
    others = [type(each).__name__ for each in cubes if not isinstance(each, Cube)]
    return f"it returns a sequence with an object of class {others[0]}, no Cube" if others else cubes


def _values(cubes: list[Cube]) -> Iterator[str]:
    for number, cube in enumerate(cubes):
        which = f"cube {number}" if len(cubes) > 1 else "the cube"
        if cube.data.dtype.kind not in _KINDS:
            yield f"{which} has values of type {cube.data.dtype}, no numbers"
        if cube.wavelengths is None:
            continue
        if len(np.unique(cube.wavelengths)) < len(cube.wavelengths):
            yield f"{which} has a wavelength twice"


def _again(reader: Callable[..., Any], file: Path, kept: list[Any]) -> Iterator[str]:
    try:
        second = _cubes(reader(file))
        same = not isinstance(second, str) and all(
            np.array_equal(each.data, values, equal_nan=values.dtype.kind == "f")
            for each, values in zip(second, kept, strict=True)
        )
    except Exception as error:
        yield f"read again, it fails: {words_of(error)}"
        return
    if not same:
        yield "read again, the cube is another"
    before = Path.cwd()
    os.chdir(file.parent)
    try:
        reader(Path(file.name))
    except Exception as error:
        yield f"given a path relative to the working directory, it fails: {words_of(error)}"
    finally:
        os.chdir(before)


def _broken(reader: Callable[..., Any], file: Path, content: bytes) -> Iterator[str]:
    """A file that is not whole is no smaller cube, and none of zeros."""
    for what, cut in (("half of it", content[: len(content) // 2 - 1]), ("nothing", b"")):
        file.write_bytes(cut)
        try:
            found = _cubes(reader(file))
            if not isinstance(found, str):
                for each in found:
                    np.asarray(each.data)  # which may be read only now
        except Exception:  # noqa: S112 - it says that it cannot, which is right
            continue
        if not isinstance(found, str):
            yield f"of a file that has {what} left it makes a cube all the same, {list(found[0].data.shape)}"
    file.unlink()
    try:
        reader(file)
    except Exception:
        return
    yield "of a file that is not there it makes a cube"
