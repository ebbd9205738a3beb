"""Several builds of one library: other distributions that stand for it, and copies of one version with other files.

A package index has one file of a version for a platform. But a dependency may name another by its address; and what a
lock file has by its hash is that file, and no other of the same name and version.
"""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from cuvis_ai_core.plugins.dependencies.distribution import normalised

# Of one library, as PyPI has them: opencv-python-headless, psycopg2-binary, onnxruntime-gpu, cupy-cuda12x.
_BUILD: Final = re.compile(r"(-(headless|binary|cpu|gpu|intel|directml|openvino|rocm|cu\d+|cuda\d*))+$")
"""What the names of builds for other machines end with."""

_MORE: Final = (("opencv-python", "opencv-contrib-python"),)
"""Libraries of which another one is a superset, in the same versions."""


def stands_in(other: str, wanted: str) -> bool:
    """Tell whether one distribution is another build of a second one, or of a superset of it, by normalised names.

    In a plain environment `opencv-python` and `opencv-python-headless` may both be installed, one over the other, and
    both requirements are met by what lies there. A compiled library exists once in a process, so here one serves both.
    """
    library, needed = _BUILD.sub("", other), _BUILD.sub("", wanted)
    return library == needed or (needed, library) in _MORE


def are_one(name: str, one: Path, other: Path) -> bool:
    """Tell whether a distribution has the same files in two target directories; True where that cannot be told."""
    found = [_files(str(folder), name) for folder in (one, other)]
    return None in found or found[0] == found[1]


# Directories are named by their content and never written again, so that an answer holds.
@lru_cache(512)
def _files(folder: str, name: str) -> frozenset[bytes] | None:
    """Return the lines of a record, but for those of metadata: these say how it was installed."""
    try:
        infos = [each for each in os.listdir(folder) if each.endswith(".dist-info")]
        info = next((each for each in infos if normalised(each.partition("-")[0]) == name), None)
        lines = Path(folder, info or "", "RECORD").read_bytes().splitlines()
    except OSError:
        return None
    # Lines have the hash of each file: no file itself is read.
    return frozenset(line for line in lines if b".dist-info/" not in line and b"__pycache__" not in line)
