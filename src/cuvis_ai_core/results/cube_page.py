"""A page that shows a cube: false colour, single bands, spectra at clicked points, what its file says.

The cube is read line by line, and of each line some pixels are kept, so that the page of a large cube has a bounded
size and takes bounded memory.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.pages.html import Html, element, page, section, table

_LONGEST: Final = 384
"""Pixels of the longer side of pictures."""

_BANDS: Final = 64
"""Bands that the slider has."""

_POINTS: Final = 64
"""Points along the longer side at which there are spectra."""

_RGB_NM: Final = (650.0, 550.0, 450.0)
_FARTHEST_NM: Final = 40.0
"""A band farther from these is no colour that an eye would see there."""

_BINS: Final = 48
_WIDE: Final = "width:min(100%,36rem);display:block;image-rendering:pixelated"
_SCRIPT: Final = files("cuvis_ai_core.pages").joinpath("view.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some pixels of a cube, those in the middle of equal parts.

    Attributes:
        values: float32 `[height, width, channel]`.
        rows: Which rows they are from.
        columns: Which columns.
    """

    values: NDArray[np.float32]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def cube_page(cube: Cube, title: str) -> str:
    """Return a page that shows a cube, which works without a network.

    Args:
        cube: The cube; of one that stays in its file the lines are read one after the other.
        title: Its heading.
    """
    sample = _sampled(cube)
    numbers = _colour_bands(cube)
    shown = _picked(sample.values.shape[2], _BANDS)
    points = _thinned(sample)
    about = f"{' x '.join(map(str, cube.data.shape))} {cube.data.dtype}, height x width x channels"
    return page(
        title,
        about,
        *(element("p", remark, class_="bad") for remark in cube.remarks),
        section("Colours", _clickable(_colours(sample, numbers), numbers, cube), _spectrum()),
        section("Bands", _slider(sample, shown, cube)),
        section("Values", _histogram(sample), table(("", ""), _facts(cube))),
        script=f"const DATA = {_data(points, shown, cube)};\n{_SCRIPT}",
    )


def _sampled(cube: Cube) -> _Sample:
    height, width, channels = cube.data.shape
    step = max(1, -(-max(height, width) // _LONGEST))
    rows, columns = (np.arange(step // 2, size, step) for size in (height, width))
    if not rows.size:
        rows = np.array([height // 2])
    if not columns.size:
        columns = np.array([width // 2])
    values = np.empty((len(rows), len(columns), channels), np.float32)
    for number, row in enumerate(rows):
        values[number] = np.asarray(cube.data[int(row) : int(row) + 1])[0, columns]
    if cube.good_bands is not None:
        values[..., ~np.asarray(cube.good_bands, dtype=bool)] = np.nan
    return _Sample(values, rows, columns)


def _thinned(sample: _Sample) -> _Sample:
    step = max(1, -(-max(sample.values.shape[:2]) // _POINTS))
    return _Sample(sample.values[::step, ::step], sample.rows[::step], sample.columns[::step])


def _colour_bands(cube: Cube) -> list[int]:
    """Return the bands of red, green and blue; where the cube has none of these, the last, middle and first one."""
    channels = cube.data.shape[2]
    if cube.wavelengths is not None:
        nearest = [int(np.abs(cube.wavelengths - wanted).argmin()) for wanted in _RGB_NM]
        distances = [abs(cube.wavelengths[band] - wanted) for band, wanted in zip(nearest, _RGB_NM, strict=True)]
        if max(distances) <= _FARTHEST_NM:
            return nearest
    return [channels - 1, channels // 2, 0]


def _picked(count: int, most: int) -> list[int]:
    return sorted({int(number) for number in np.linspace(0, count - 1, min(count, most)).round()})


def _colours(sample: _Sample, numbers: Sequence[int]) -> bytes:
    return _encoded(np.stack([_levels(sample.values[..., band]) for band in numbers], axis=-1))


def _levels(band: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return grey values from the 2nd to the 98th percentile of what is finite."""
    finite = band[np.isfinite(band)]
    if not finite.size:
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(finite, (2, 98))
    scaled = (band - low) / (high - low) if high > low else np.full_like(band, 0.5)
    return np.asarray(np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0) * 255).astype(np.uint8)


def _encoded(image: NDArray[np.uint8], kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **({"quality": 85} if kind == "jpeg" else {}))
    return stream.getvalue()


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _band_name(cube: Cube, band: int) -> str:
    if cube.wavelengths is None or cube.wavelengths[band] <= 0:
        return f"band {band}"
    return f"band {band}, {cube.wavelengths[band]:.1f} nm"


def _clickable(data: bytes, numbers: Sequence[int], cube: Cube) -> Html:
    colours = zip(("red", "green", "blue"), numbers, strict=True)
    names = ", ".join(f"{colour} {_band_name(cube, band)}" for colour, band in colours)
    image = Html(
        f'<img id="colours" src="{_address(data, "png")}" alt="False colour: {names}" tabindex="0" style="{_WIDE}">'
    )
    caption = element("figcaption", f"{names}; from the 2nd to the 98th percentile. Click a point for its spectrum.")
    return element("figure", image, caption)


def _spectrum() -> Html:
    drawing = Html(
        f'<svg id="spectrum" viewBox="0 0 640 240" role="img" aria-label="Spectra of clicked points" '
        f'style="{_WIDE}"></svg>'
    )
    return element("figure", drawing, element("figcaption", "No point was clicked.", id="clicked"))


def _slider(sample: _Sample, shown: Sequence[int], cube: Cube) -> Html:
    first = _address(_encoded(_levels(sample.values[..., shown[0]]), "jpeg"), "jpeg")
    image = Html(f'<img id="band" src="{first}" alt="One band in grey values" style="{_WIDE}">')
    control = Html(
        f'<input id="slider" type="range" min="0" max="{len(shown) - 1}" value="0" aria-label="Band" style="{_WIDE}">'
    )
    caption = element("figcaption", _band_name(cube, shown[0]), id="name")
    pictures = [_address(_encoded(_levels(sample.values[..., band]), "jpeg"), "jpeg") for band in shown]
    kept = Html(f'<script type="application/json" id="bands">{json.dumps(pictures)}</script>')
    return element("figure", image, control, caption, kept)


def _histogram(sample: _Sample) -> Html:
    finite = sample.values[np.isfinite(sample.values)]
    if not finite.size:
        return element("p", "No value is finite.")
    counts, edges = np.histogram(finite, bins=_BINS)
    tallest = max(int(counts.max()), 1)
    heights = [100 * count / tallest for count in counts]
    bars = "".join(
        f'<rect x="{number * 10}" y="{100 - height:.1f}" width="9" height="{height:.1f}"/>'
        for number, height in enumerate(heights)
    )
    drawing = Html(
        f'<svg viewBox="0 0 {_BINS * 10} 100" role="img" aria-label="Histogram" fill="#00695c" '
        f'preserveAspectRatio="none" style="height:6rem;width:100%">{bars}</svg>'
    )
    caption = f"How often which value occurs, from {edges[0]:.4g} to {edges[-1]:.4g}, in the pixels of this page"
    return element("figure", drawing, element("figcaption", caption))


def _facts(cube: Cube) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("file", cube.source or "-"), ("values", str(cube.data.dtype))]
    if cube.wavelengths is not None:
        known = cube.wavelengths[cube.wavelengths > 0]
        facts.append(("wavelengths", f"{known.min():.1f} to {known.max():.1f} nm" if known.size else "-"))
    if cube.fwhm is not None:
        facts.append(("full width at half maximum", f"{np.nanmin(cube.fwhm):.2f} to {np.nanmax(cube.fwhm):.2f} nm"))
    if cube.good_bands is not None:
        facts.append(("bands without data", int((~np.asarray(cube.good_bands, dtype=bool)).sum())))
    facts += [
        (name, value) for name, value in (("place", cube.crs), ("transform", cube.transform)) if value is not None
    ]
    if cube.acquired is not None:
        facts.append(("taken", cube.acquired.isoformat(sep=" ")))
    return facts + [(str(name), _brief(value)) for name, value in list(cube.metadata.items())[:100]]


def _brief(value: Any) -> str:
    words = str(value)
    return words if len(words) <= 300 else f"{words[:300]} …"  # noqa: PLR2004


def _data(points: _Sample, shown: Sequence[int], cube: Cube) -> str:
    """Return the spectra of the points as whole numbers of 16 bits, 65535 where there is no data."""
    finite = points.values[np.isfinite(points.values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    bands = _picked(points.values.shape[2], 256)
    scaled = (points.values[..., bands] - low) / ((high - low) or 1.0) * 65534
    packed = np.where(np.isfinite(scaled), scaled, 65535).round().astype("<u2")
    if cube.wavelengths is not None and (cube.wavelengths[bands] > 0).all():
        axis, unit = cube.wavelengths[bands].round(2).tolist(), "nm"
    else:
        axis, unit = [float(band) for band in bands], "band"
    data = {
        "points": base64.b64encode(packed.tobytes()).decode(),
        "rows": points.rows.tolist(),
        "columns": points.columns.tolist(),
        "size": list(cube.data.shape[:2]),
        "axis": axis,
        "unit": unit,
        "low": low,
        "high": high,
        "names": [_band_name(cube, band) for band in shown],
    }
    return json.dumps(data)
