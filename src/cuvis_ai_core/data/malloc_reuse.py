"""Memory that one cube leaves behind stays with the process for the next one."""

from typing import Final

import numpy as np

_LARGE: Final = 2**24
"""Bytes from which on an image is read by pieces."""

_COPIES: Final = 4
"""As many as there are of a small image at once: as read, handed out, and what nodes make of it."""

_MOST: Final = 2**25 - 2**16
"""Bytes of the largest block that the C library of Linux learns from."""

_learned = 0


def keep_freed_memory(size: int) -> None:
    """Have the C library keep what an image of a size frees: to get it anew takes as long as reading the image.

    That of Linux gives memory at the end of the heap back to the system beyond twice the largest block that was ever
    freed. So one is asked for and freed, of which no byte is touched. Elsewhere this does nothing.
    """
    global _learned  # noqa: PLW0603 - there is one heap
    if _learned < size < _LARGE:
        _learned = size
        # It is the freeing that the C library learns from (M_MMAP_THRESHOLD, mallopt(3)).
        np.empty(min(_COPIES * size, _MOST), dtype=np.uint8)
