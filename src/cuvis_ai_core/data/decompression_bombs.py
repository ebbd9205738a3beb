"""How much packed data may come to: sizes are looked at before contents are unpacked."""

import os
from pathlib import Path
from typing import Final

from cuvis_ai_core._printable_text import bytes_in, shown_size
from cuvis_ai_core.errors import CubeError

LIMIT: Final = "CUVIS_UNPACK_LIMIT"
"""Bytes that one file may unpack to, as `8GiB`; the commands' option `--unpack-limit`."""

_RATIO: Final = 200
"""How much larger than its file what is in it may be; measured values are packed to a half or a tenth."""

_FREE: Final = 256 * 1024**2
"""Bytes that any file may unpack to: scenes of one colour are packed to almost nothing."""


def refuse_bomb(file: Path, unpacked: int) -> None:
    """Refuse a packed file that would come to far more than it is.

    Args:
        file: The file.
        unpacked: Bytes that it says it unpacks to.

    Raises:
        CubeError: It is more than the limit, which the error names.
    """
    packed = file.stat().st_size
    asked = os.environ.get(LIMIT, "").strip()
    # Of the file that is there: what it says of itself is what is doubted.
    most = bytes_in(asked) if asked else max(_FREE, _RATIO * packed)
    if most is None:
        raise CubeError(f"The environment variable {LIMIT} is '{asked}'; it is a size, as 8GiB.", path=file)
    if unpacked > most:
        raise CubeError(
            f"'{file}' has {shown_size(packed)} and would unpack to {shown_size(unpacked)}; the limit is "
            f"{shown_size(most)}.",
            hint=f"If you trust who sent it, raise the limit: --unpack-limit SIZE (or {LIMIT}=SIZE), as 8GiB.",
            path=file,
        )
