"""The hook implementations of the built-in plugin, apart from its node table."""

from collections.abc import Mapping

from cuvis_ai_hookspecs import hookimpl


@hookimpl
def cuvis_ai_cube_readers() -> Mapping[str, str]:
    """Return the readers of Cubert, NumPy and ENVI files, as text: a listing imports no NumPy."""
    return {
        ".cu3s": "cuvis_ai_core.data.cu3s.Cu3sFile",
        ".hdr": "cuvis_ai_core.data.envi.read_envi",
        ".npy": "cuvis_ai_core.data.numpy_files.read_npy",
        ".npz": "cuvis_ai_core.data.numpy_files.read_npz",
    }
