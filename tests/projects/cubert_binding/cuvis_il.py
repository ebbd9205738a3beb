"""Stands in for the compiled binding of the Cubert SDK, whose native library cannot be had here.

The vendor's package `cuvis` runs on top of it as it is. A session file is an `.npz` archive with `frames` uint16
`[measurement, height, width, channel]`, `wavelengths` in nm, and `references` (names); an array `processed` says that
frames were recorded as cubes, and `fps` at which rate. Processing to `Reflectance` multiplies counts by ten, other modes leave them.
"""

from __future__ import annotations

import itertools
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

cuvis_il: Any = sys.modules[__name__]
status_ok, status_no_measurement, status_error = 0, 1, 2
data_type_unsupported, data_type_image, data_type_gps, data_type_string, data_type_sensor_info = range(5)
calls: list[str] = []
open_sessions: dict[int, Any] = {}

_handles = itertools.count(1)
_constants = itertools.count(100)
_objects: dict[int, Any] = {}
_last_error = [""]


class cuvis_imbuffer_t(SimpleNamespace):  # noqa: N801
    """An image buffer: `array`, `format` (2: uint16), `width`, `height`, `channels`, `wavelength`."""


class cuvis_proc_args_t(SimpleNamespace):  # noqa: N801
    """Arguments of processing."""


def __getattr__(name: str) -> Any:
    """Give every constant of the binding a number of its own; a function that is not here cannot be called."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name.startswith("cuvis_"):
        return type(name, (SimpleNamespace,), {}) if name.endswith("_t") else partial(_not_here, name)
    globals()[name] = next(_constants)
    return globals()[name]


def _not_here(name: str, *arguments: Any) -> int:
    raise NotImplementedError(name)


def _fail(message: str) -> int:
    _last_error[0] = message
    return status_error


def cuvis_get_last_error_msg() -> str:
    return _last_error[0]


def cuvis_init(settings: str, level: int, logfile: str | None) -> int:
    calls.append("init")
    return status_ok


def new_p_int() -> list[int]:
    return [0]


def p_int_value(pointer: list[int]) -> int:
    return pointer[0]


def p_int_assign(pointer: list[int], value: int) -> None:
    pointer[0] = value


def new_p_cuvis_data_type_t() -> list[int]:
    return [0]


def p_cuvis_data_type_t_value(pointer: list[int]) -> int:
    return pointer[0]


def p_unsigned_int_getitem(values: Any, index: int) -> int:
    return int(values[index])


def _keep(value: Any, pointer: list[int]) -> int:
    pointer[0] = next(_handles)
    _objects[pointer[0]] = value
    return status_ok


def cuvis_session_file_load(path: str, pointer: list[int]) -> int:
    if not Path(path).read_bytes().startswith(b"PK"):
        return _fail("not a valid session file")
    with np.load(path) as archive:
        session = {name: archive[name] for name in archive.files}
    status = _keep(session, pointer)
    open_sessions[pointer[0]] = session
    return status


def cuvis_session_file_free(pointer: list[int]) -> None:
    open_sessions.pop(pointer[0])


def cuvis_session_file_get_size(handle: int, kind: int, pointer: list[int]) -> int:
    pointer[0] = len(_objects[handle]["frames"])
    return status_ok


def new_p_double() -> list[float]:
    return [0.0]


def p_double_value(pointer: list[float]) -> float:
    return pointer[0]


def cuvis_session_file_get_fps(handle: int, pointer: list[float]) -> int:
    pointer[0] = float(_objects[handle].get("fps", 0.0))
    return status_ok


def cuvis_session_file_get_mesu(handle: int, number: int, kind: int, pointer: list[int]) -> int:
    session = _objects[handle]
    if number >= len(session["frames"]):
        return status_no_measurement
    calls.append(f"measurement {number}")
    return _keep({"frame": session["frames"][number], "cube": "processed" in session, "session": session}, pointer)


def cuvis_measurement_clear_cube(handle: int) -> int:
    return status_ok


def cuvis_measurement_free(pointer: list[int]) -> None:
    _objects.pop(pointer[0], None)


def cuvis_mesu_metadata_allocate() -> Any:
    zero = dict.fromkeys(("capture_time", "measurement_flags", "factory_calibration", "averages", "distance"), 0)
    text = dict.fromkeys(("path", "comment", "assembly", "serial_number", "product_name", "name"), "")
    session = {"session_info_name": "", "session_info_session_no": 0, "session_info_sequence_no": 0}
    return SimpleNamespace(
        **zero, **text, **session, integration_time=1, measurement_frame_id=0, processing_mode=cuvis_il.Cube_Raw
    )


def cuvis_measurement_get_metadata(handle: int, metadata: Any) -> int:
    return status_ok


def cuvis_mesu_metadata_free(metadata: Any) -> None:
    pass


def cuvis_measurement_get_data_count(handle: int, pointer: list[int]) -> int:
    pointer[0] = int(_objects[handle]["cube"])
    return status_ok


def cuvis_measurement_get_data_info_swig(handle: int, kind: list[int], index: int) -> str:
    kind[0] = data_type_image
    return "cube"


def cuvis_measurement_get_data_image(handle: int, key: str, buffer: Any) -> int:
    measurement = _objects[handle]
    frame = measurement["frame"]
    buffer.height, buffer.width, buffer.channels = frame.shape
    buffer.array, buffer.format, buffer.wavelength = frame, 2, measurement["session"].get("wavelengths")
    return status_ok


def cuvis_read_imbuf_uint16(buffer: Any) -> Any:
    return buffer.array


cuvis_read_imbuf_uint8 = cuvis_read_imbuf_uint32 = cuvis_read_imbuf_float32 = cuvis_read_imbuf_uint16


def cuvis_proc_cont_create_from_session_file(handle: int, references: int, pointer: list[int]) -> int:
    return _keep({"session": _objects[handle], "mode": cuvis_il.Cube_Raw}, pointer)


def cuvis_proc_cont_free(pointer: list[int]) -> None:
    _objects.pop(pointer[0], None)


def cuvis_proc_cont_set_args(handle: int, arguments: Any) -> int:
    _objects[handle]["mode"] = arguments.processing_mode
    return status_ok


def _has(session: dict[str, Any], *names: str) -> bool:
    return set(names) <= set(map(str, session.get("references", ())))


def cuvis_proc_cont_has_reference(handle: int, kind: int, pointer: list[int]) -> int:
    names = {getattr(cuvis_il, f"Reference_{name}"): name for name in ("Dark", "White")}
    pointer[0] = int(_has(_objects[handle]["session"], names.get(kind, "none")))
    return status_ok


def cuvis_proc_cont_is_capable(handle: int, measurement: int, arguments: Any, pointer: list[int]) -> int:
    session, mode = _objects[handle]["session"], arguments.processing_mode
    needs = {cuvis_il.Cube_Reflectance: ("Dark", "White"), cuvis_il.Cube_DarkSubtract: ("Dark",)}
    pointer[0] = int(_has(session, *needs.get(mode, ())))
    return status_ok


def cuvis_proc_cont_apply(handle: int, measurement: int) -> int:
    made = _objects[measurement]
    if made["frame"].max() == np.iinfo(np.uint16).max:
        return _fail("overilluminated")
    if _objects[handle]["mode"] == cuvis_il.Cube_Reflectance:
        made["frame"] = made["frame"] * np.uint16(10)
    made["cube"] = True
    return status_ok
