"""Distributions that bring one library under several names: `opencv-python` and `opencv-python-headless`.

In a plain environment both may be installed, one over the other, and both requirements are met by what lies there. A
compiled library exists once in a process, so here one of them serves both.
"""

import re
from typing import Final

_BUILD: Final = re.compile(r"(-(headless|binary|cpu|gpu|intel|directml|openvino|rocm|cu\d+|cuda\d*))+$")
"""What the names of builds for other machines end with."""

_MORE: Final = (("opencv-python", "opencv-contrib-python"),)
"""Libraries of which another one is a superset, in the same versions."""


def stands_in(other: str, wanted: str) -> bool:
    """Tell whether one distribution is another build of a second one, or of a superset of it, by normalised names."""
    library, needed = _BUILD.sub("", other), _BUILD.sub("", wanted)
    return library == needed or (needed, library) in _MORE
