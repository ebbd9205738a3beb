"""The libraries that read a format: named with their extra where they are missing, their errors made ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from cuvis_ai_core.errors import CubeError, MissingExtraError


def library(name: str, extra: str, file: Path | str) -> Any:
    """Import a library that reads a format.

    Raises:
        MissingExtraError: It is not installed; the error names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        # The library is there, and lacks something itself: its own words tell more than ours.
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f"Reading '{file}' needs the package '{package}', which is not installed.",
            hint=f"Install it with: pip install 'cuvis-ai-core[{extra}]'",
            extra=extra,
        ) from error


@contextmanager
def readable(file: Path, kind: str) -> Iterator[None]:
    """Make one error of whatever a library raises on a damaged file; ours stay as they are."""
    try:
        yield
    except (CubeError, MissingExtraError):
        raise
    # Before all others: it is an Exception too, and the file need not be damaged.
    except MemoryError as error:
        raise CubeError(
            f"The cube '{file}' needs more memory than there is: {error}",
            hint="The sizes in the file may be damaged. If they are right, cut the image into smaller files.",
            path=file,
        ) from error
    # of damaged files libraries let through whatever their parsers meet
    except Exception as error:
        # Decoding texts is done by codecs, too.
        if "codec" in str(error).casefold() and not isinstance(error, UnicodeError):
            raise CubeError(
                f"The values of the cube '{file}' cannot be unpacked: {type(error).__name__}: {error}",
                hint="Install what brings this codec, or write the file with another compression, such as deflate.",
                path=file,
            ) from error
        raise CubeError(
            f"The cube '{file}' is not {kind} that can be read: {type(error).__name__}: {error}",
            hint="The file is damaged, cut off, or of another kind. Copy it again, or give it the right suffix.",
            path=file,
        ) from error
