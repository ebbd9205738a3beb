"""Weights on disk: `<stem>.pt` or `<stem>.safetensors` beside the pipeline file, which hold the state of each node."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._atomic_writes import replacing
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.weights.safetensors_file import read_safetensors, write_safetensors
from cuvis_ai_core.pipeline.weights.stored_arrays import State, Weights
from cuvis_ai_core.pipeline.weights.torch_file import read_checkpoint, read_torch, write_torch

TORCH: Final = ".pt"
SAFETENSORS: Final = ".safetensors"
SUFFIXES: Final = (TORCH, SAFETENSORS)
CHECKPOINT: Final = ".ckpt"


def read_weights(path: Path) -> Weights:
    """Read a file of weights; nothing in it is executed.

    Raises:
        PipelineError: The file cannot be read, or does not have the layout of weights.
        MissingExtraError: It is a `.pt` file, or has numbers that NumPy lacks, and torch is not installed.
    """
    _expect_suffix(path)
    # Not `Path.is_file`, which raises where the path cannot be reached.
    if not os.path.isfile(path):  # noqa: PTH113
        raise PipelineError(f"There is no file of weights '{path}'.", path=path)
    return read_torch(path) if path.suffix == TORCH else read_safetensors(path)


def read_state(path: Path, nodes: Collection[str]) -> State:
    """Read the state of nodes from a file of weights, or from a checkpoint of Lightning.

    Raises:
        PipelineError: As `read_weights` and `read_checkpoint`.
        MissingExtraError: As these.
    """
    return read_checkpoint(path, nodes) if path.suffix == CHECKPOINT else read_weights(path).state


def write_weights(path: Path, state: State, metadata: Mapping[str, Any]) -> None:
    """Write a file of weights, whole or not at all.

    Args:
        path: The file; its suffix says which kind.
        state: Node to key to array of NumPy or torch, on any device.
        metadata: What JSON can hold.

    Raises:
        PipelineError: A value cannot be written, or the suffix is of neither kind.
        MissingExtraError: It is a `.pt` file, and torch is not installed.
        OSError: The file cannot be written; the old one is as it was.
    """
    _expect_suffix(path)
    write = write_torch if path.suffix == TORCH else write_safetensors
    with replacing(path) as file:
        write(file, state, metadata)


def _expect_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise PipelineError(f"'{path}' is no file of weights: these are called .pt or .safetensors.", path=path)
