"""Changed files of each kind are read, or are one error of ours: a short part of `tools/fuzz.py`."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from hypothesis import given, settings

ROOT: Final = Path(__file__).resolve().parents[1]
NEEDS: Final = {"coco": "pycocotools", "trainrun": "hydra", "torch": "torch"}
KINDS: Final = (
    *(
        "manifest",
        "lock",
        "policy",
        "bundle",
        "wheel",
        "source",
        "pipeline",
        "trainrun",
        "envi",
        "coco",
        "mask",
        "npy",
        "npz",
        "torch",
    ),
    *("safetensors", "message", "record", "result"),
)


@pytest.fixture(scope="module")
def fuzz(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    """Return the script as a module."""
    return load_tool("fuzz")


def test_every_kind_is_tried(fuzz: ModuleType) -> None:
    """A new kind of file comes with a short run."""
    assert set(KINDS) == fuzz.KINDS.keys()


@pytest.mark.skipif(os.name == "nt" or threading.current_thread() is not threading.main_thread(), reason="signals")
@pytest.mark.parametrize("kind", KINDS)
def test_honest_files_are_read_and_changed_ones_are_no_crash(fuzz: ModuleType, tmp_path: Path, kind: str) -> None:
    """In time, and with nothing but errors of ours."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    sample = fuzz.KINDS[kind][1]()
    assert fuzz.check(kind, sample, tmp_path)

    @settings(max_examples=60, database=None)
    @given(fuzz.files(kind, sample))
    def attempt(content: bytes) -> None:
        fuzz.check(kind, content, tmp_path)

    attempt()
