"""Which axes of an array with names are height, width and channel."""

import re
from collections.abc import Sequence
from typing import Final

from cuvis_ai_core.data.formats.variable_choice import RANK, Variable

_KINDS: Final = {
    "height": re.compile(
        r"y|ny|yc|rows?|lat|latitude|northing|height|downtrack|along_track|scan(line)?s?|(number_of_)?lines?"
    ),
    "width": re.compile(
        r"x|nx|xc|col(umn)?s?|lon|longitude|easting|width|a?cross_?track|across_track|samples?|pixels(_per_line)?"
    ),
    "channel": re.compile(
        r"(n|\w+_)?(bands?|channels?)|wavelengths?(_\w+)?|wl|wvl|lambda|waves?|spectral|spectrum|c|b"
    ),
}
"""How an axis is named, in small letters."""

_INTERLEAVES: Final = {"bip": (0, 1, 2), "bil": (0, 2, 1), "bsq": (1, 2, 0)}
"""Which axes are height, width and channel, as an attribute `interleave` names it."""


def axes_of(variable: Variable, list_lengths: Sequence[int], remarks: list[str]) -> tuple[int, int, int]:
    """Return which axes are height, width and channel: by their names, else by the length of the lists per band.

    Args:
        variable: The cube.
        list_lengths: How long the lists of the file are that name something of each band.
        remarks: What was assumed is added here.
    """
    axes = _three_axes(variable)
    kinds = {_kind(variable.dims[axis]): axis for axis in axes}
    if None not in kinds and len(kinds) == RANK:
        return kinds["height"], kinds["width"], kinds["channel"]
    stated = _INTERLEAVES.get(str(variable.attrs.get("interleave", "")).lower())
    if stated is not None and not variable.usual:
        return axes[stated[0]], axes[stated[1]], axes[stated[2]]
    channel = kinds.get("channel", _by_length(variable.shape, axes, list_lengths))
    if {"height", "width"} <= kinds.keys():
        channel = next(axis for axis in axes if axis not in {kinds["height"], kinds["width"]})
        if name := variable.dims[channel]:
            remarks.append(f"The axis '{name}' of '{variable.name}' was taken for the channel: the others have names.")
    if channel is None:
        if not variable.usual:
            remarks.append(f"The axes of '{variable.name}' have no names; they were taken for height, width, channel.")
        return axes[0], axes[1], axes[2]
    rest = [axis for axis in axes if axis != channel]
    if kinds.get("height") == rest[1] or kinds.get("width") == rest[0]:
        rest.reverse()
    return rest[0], rest[1], channel


def _three_axes(variable: Variable) -> list[int]:
    """Return the axes that are left without those of one element, the ones that nothing names first."""
    axes = list(range(len(variable.shape)))
    short = [axis for axis in axes if variable.shape[axis] == 1]
    # Sorting is stable: of axes of one element the ones that nothing names go first.
    for axis in sorted(short, key=lambda each: _kind(variable.dims[each]) is not None):
        if len(axes) > RANK:
            axes.remove(axis)
    return axes[::-1] if variable.reversed else axes


def _kind(dim: str) -> str | None:
    return next((kind for kind, names in _KINDS.items() if names.fullmatch(dim.lower())), None)


def _by_length(shape: Sequence[int], axes: Sequence[int], lengths: Sequence[int]) -> int | None:
    fits = [axis for axis in axes if shape[axis] in lengths]
    # A square scene with as many bands as pixels fits twice: then nobody knows.
    return fits[0] if len(fits) == 1 else None
