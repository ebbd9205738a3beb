"""Who may write what a policy is made of: what everybody may write proves nothing."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def writable_by_all(*places: Path) -> Path | None:
    """Return what everybody may write, of some files and folders: one of them, what is in it, or where it lies.

    Raises:
        OSError: One cannot be looked at.
    """
    # Windows has lists of rights, of which `st_mode` tells nothing.
    if os.name != "posix":
        return None
    return next((each for place in places for each in _deciding(place) if _is_open(each)), None)


def _deciding(place: Path) -> Iterator[Path]:
    yield place
    real = Path(os.path.realpath(place))
    # Whoever may write a folder replaces what lies in it: a link in the one, what it leads to in the other.
    yield from {place.absolute().parent, real.parent}
    if real.is_dir():
        yield from real.iterdir()


def _is_open(place: Path) -> bool:
    mode = place.stat().st_mode
    # In a folder such as /tmp nobody replaces what others have there.
    kept = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    return bool(mode & stat.S_IWOTH) and not kept
