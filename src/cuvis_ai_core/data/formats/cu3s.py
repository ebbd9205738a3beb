"""Cubes in session files of Cubert cameras (`.cu3s`), read by the vendor's SDK `cuvis`."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, overload

import numpy as np

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.errors import CubeError, MissingExtraError

PROCESSING_MODES: Final = ("Raw", "DarkSubtract", "Reflectance", "SpectralRadiance")
"""What the SDK can make of a measurement, by its own names."""


class Cu3sFile(Sequence[Cube]):
    """The measurements of a session file, each read when it is asked for and kept by nobody.

    Values are those of the SDK, uint16 or float32: counts for `Raw` and `DarkSubtract`, and for `Reflectance`
    and `SpectralRadiance` what the camera's calibration says. Gaps in the recording are not counted.

    Args:
        path: The file.
        processing_mode: One of `PROCESSING_MODES`, in upper or lower case; by default the cube as it was recorded,
            or, where only frames were recorded, what the SDK makes of them by default.

    Raises:
        MissingExtraError: The package `cuvis` is not installed.
        CubeError: The SDK cannot be loaded or cannot open the file, or there is no such mode.
    """

    def __init__(self, path: Path, processing_mode: str | None = None) -> None:
        self._path = path
        self._mode = None if processing_mode is None else _checked_mode(path, processing_mode)
        self._sdk = _sdk(path)
        with _sdk_errors(path, "cannot be opened"):
            self._session = self._sdk.SessionFile(path)
            self._count: int = self._session.get_size()
        self._context: Any = None

    def __len__(self) -> int:
        return self._count

    @property
    def fps(self) -> float:
        """Measurements in a second, as the camera recorded them.

        Raises:
            CubeError: The SDK cannot tell.
        """
        with _sdk_errors(self._path, "its rate of measurements cannot be read"):
            return float(self._session.fps)

    @overload
    def __getitem__(self, index: int) -> Cube: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Cube]: ...
    def __getitem__(self, index: int | slice) -> Cube | Sequence[Cube]:
        """Read one measurement.

        Raises:
            IndexError: There is no measurement of that number.
            CubeError: The measurement has no cube, or the SDK cannot process it.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._read(index % len(self))

    def _read(self, index: int) -> Cube:
        where = f"measurement {index} cannot be read"
        with _sdk_errors(self._path, where):
            measurement = self._session.get_measurement(index)
            if measurement is None:
                raise CubeError(f"The session file '{self._path}' has no measurement {index}.", path=self._path)
            if self._mode is not None:
                self._process(measurement, index)
            image = measurement.cube
        if image is None or image.array is None:
            raise CubeError(
                f"Measurement {index} of the session file '{self._path}' holds no cube.",
                hint="Give a processing mode, for example Raw.",
                path=self._path,
            )
        wavelengths = None if image.wavelength is None else np.asarray(image.wavelength, dtype=np.float64)
        # `np.asarray` would be a view of what is freed with the measurement.
        return Cube(np.array(image.array), wavelengths, self._path, index)  # a copy: the SDK's memory goes with it

    def _process(self, measurement: Any, index: int) -> None:
        if self._context is None:
            self._context = self._sdk.ProcessingContext(self._session)
            self._context.processing_mode = self._sdk.ProcessingMode[self._mode]
        if not self._context.is_capable(measurement, self._context.get_processing_args()):
            present = [each.name for each in self._sdk.ReferenceType if self._context.has_reference(each)]
            raise CubeError(
                f"Measurement {index} of the session file '{self._path}' cannot be processed to {self._mode}. "
                f"References in the file: {', '.join(present) or 'none'}.",
                hint="Dark subtraction needs a Dark reference, reflectance a White one too. Record them, "
                "or ask for the processing mode Raw.",
                path=self._path,
            )
        self._context.apply(measurement)


def _checked_mode(path: Path, mode: str) -> str:
    by_name = {name.lower(): name for name in PROCESSING_MODES}
    known = by_name.get(str(mode).lower())
    if known is None:
        near = nearest(str(mode).lower(), by_name)
        raise CubeError(
            f"There is no processing mode '{mode}'." + (f" Did you mean '{by_name[near]}'?" if near else ""),
            hint=f"Processing modes: {', '.join(PROCESSING_MODES)}.",
            path=path,
        )
    return known


def _sdk(path: Path) -> ModuleType:
    """Import the SDK, or say which part of it is missing."""
    try:
        with _quiet():
            return _started_sdk()
    except ModuleNotFoundError as error:
        if error.name != "cuvis":
            raise
        raise MissingExtraError(
            f"Reading '{path}' needs the package 'cuvis', which is not installed.",
            hint="Install it with: pip install 'cuvis-ai-core[cu3s]'",
            extra="cu3s",
        ) from error
    # without the native library older releases print a line and leave the process
    except (Exception, SystemExit) as error:
        setting = f"'{os.environ['CUVIS']}'" if "CUVIS" in os.environ else "not set"
        raise CubeError(
            f"'{path}' cannot be read: the Cubert SDK of the package 'cuvis' does not start: {error}",
            hint="It needs the native library libcuvis (Windows: cuvis.dll). Install Cubert's Cuvis SDK, and set the "
            f"environment variable CUVIS to the folder with that library; it is {setting}.",
            path=path,
        ) from error


@cache
def _started_sdk() -> ModuleType:
    import cuvis

    cuvis.init(os.environ.get("CUVIS_SETTINGS", "."), logging.WARNING)
    sdk: ModuleType = cuvis
    return sdk


@contextmanager
def _sdk_errors(path: Path, problem: str) -> Iterator[None]:
    """Turn what the SDK raises into a `CubeError`."""
    try:
        with _quiet():
            yield
    except CubeError:
        raise
    except Exception as error:
        message = getattr(error, "message", None) or error
        text = " ".join(map(str, message)) if isinstance(message, tuple) else str(message)
        raise CubeError(
            f"The session file '{path}': {problem}: {text or type(error).__name__}",
            hint="The words behind the last colon are the SDK's. Open the file in Cubert's own software to compare.",
            path=path,
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the SDK from logging its errors, with a traceback of nothing, to the root logger."""
    root = logging.getLogger()

    # By its file: the SDK logs by the root logger, under no name of its own.
    def by_others(record: logging.LogRecord) -> bool:
        return "cuvis" not in Path(record.pathname).parts

    silent = logging.NullHandler()  # without a handler the root logger would be given one for good
    root.addFilter(by_others)
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeFilter(by_others)
        root.removeHandler(silent)
