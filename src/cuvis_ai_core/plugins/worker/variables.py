"""Which environment variables a worker gets: what programs and libraries need, and nothing that lets anybody in.

They are chosen, not inherited wholesale: tokens and credentials of the user are no business of a plugin.
"""

import os
import re
from typing import Final

_KEPT: Final = re.compile(
    r"(PATH|HOME|USER|LOGNAME|SHELL|PWD|TMPDIR|TEMP|TMP|TZ|LANG|LANGUAGE|LC_\w+|TERM|DISPLAY|WAYLAND_DISPLAY"
    r"|XDG_(CACHE|CONFIG|DATA|RUNTIME)_\w+|(DY)?LD_(LIBRARY|PRELOAD|FALLBACK_LIBRARY)\w*|GLIBC_TUNABLES|MALLOC_\w+"
    r"|CUDA_\w+|NVIDIA_\w+|CUDNN_\w+|NCCL_\w+|ROCR?_\w+|HIP_\w+|HSA_\w+|XPU_\w+|ONEAPI_\w+|SYCL_\w+"
    r"|(OMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|KMP|GOTO|TBB|RAYON|NUMBA)_\w+|PYTORCH_\w+|TORCH_(?!\w*TOKEN)\w+"
    r"|(HF|TRANSFORMERS|SENTENCE_TRANSFORMERS)_(HOME|HUB_CACHE|DATASETS_CACHE|HUB_OFFLINE|OFFLINE|CACHE)|MPLBACKEND"
    r"|MPLCONFIGDIR|QT_\w+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|GENICAM_\w+|CUVIS|CUVIS_SETTINGS|CUVIS_OFFLINE"
    r"|(http|https|no|HTTP|HTTPS|NO)_(proxy|PROXY)|SYSTEMROOT)$"
)

_SECRET: Final = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|KEY|AUTH|LICEN[CS]E", re.IGNORECASE)

_USER_IN_ADDRESS: Final = re.compile(r"(^|//)[^/@\s]+@")


def worker_variables() -> dict[str, str]:
    """Return the environment variables of a worker."""
    return {name: value for name, value in os.environ.items() if _is_kept(name, value)}


def _is_kept(name: str, value: str) -> bool:
    # A proxy's address may hold a password.
    return bool(_KEPT.match(name)) and not _SECRET.search(name) and not _USER_IN_ADDRESS.search(value)
