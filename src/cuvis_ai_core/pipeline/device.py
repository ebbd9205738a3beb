"""Where the tensors of a pipeline live."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.node.proxy_nodes import is_elsewhere
from cuvis_ai_core.node.torch_modules import is_module

CPU: Final = "cpu"
AUTO: Final = "auto"


def checked_device(device: str) -> str:
    """Return a device as torch writes it; `auto` is a GPU of CUDA where there is one.

    Raises:
        PipelineError: There is no such device in this machine.
        MissingExtraError: It is another one than the CPU, and torch is not installed.
    """
    if str(device) == AUTO:
        return _best()
    if str(device) == CPU:
        return CPU
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The device '{device}' needs torch, which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[torch]'; or take the device 'cpu'.",
            extra="torch",
        ) from error
    try:
        # Asked of torch by making something there: `torch.device` accepts `cuda:7` where there are no GPUs.
        return str(torch.empty(0, device=device).device)
    # CUDA raises AssertionError where torch was built without it, else RuntimeError.
    except Exception as error:  # each backend has its own
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise PipelineError(
            f"There is no device '{device}': {str(error).partition(chr(10))[0].rstrip('.')}.",
            hint=f"Devices of this machine: {', '.join(there)}.",
        ) from error


def _best() -> str:
    """Return a GPU of CUDA where there is one."""
    try:
        import torch
    except ModuleNotFoundError:
        return CPU
    return "cuda:0" if torch.cuda.is_available() else CPU


def synchronizer(device: str) -> Callable[[], None]:
    """Return what waits until a device has done what it was asked for, so that time can be taken."""
    if device == CPU:
        return lambda: None
    import torch

    # GPUs work while Python goes on: without waiting, a time is that of asking.
    return partial(torch.accelerator.synchronize, torch.device(device))


def move(nodes: Iterable[Any], device: str) -> None:
    """Move the parameters and buffers of torch nodes to a device, those in other processes too."""
    for node in nodes:
        if is_module(node) or is_elsewhere(node):
            node.to(device)
