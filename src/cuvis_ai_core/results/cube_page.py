"""A page that shows a cube: false colour, single bands, spectra at clicked points, what its file says.

The cube is read line by line, and of each line some pixels are kept, so that the page of a large cube has a bounded
size and takes bounded memory.
"""

import base64
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.cube_preview import Sample, band_name, colour_bands, sampled
from cuvis_ai_core.pages.html import Html, element, page, section, table
from cuvis_ai_core.pages.image_encoding import encoded, levels

_BANDS: Final = 64
"""Bands that the slider has."""

_POINTS: Final = 64
"""Points along the longer side at which there are spectra."""

_BINS: Final = 48
_WIDE: Final = "width:min(100%,36rem);display:block;image-rendering:pixelated"
_SCRIPT: Final = files("cuvis_ai_core.pages").joinpath("view.js").read_text(encoding="utf-8")


def cube_page(cube: Cube, title: str) -> str:
    """Return a page that shows a cube, which works without a network.

    Args:
        cube: The cube; of one that stays in its file the lines are read one after the other.
        title: Its heading.
    """
    sample = sampled(cube)
    numbers = colour_bands(cube)
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


def _thinned(sample: Sample) -> Sample:
    step = max(1, -(-max(sample.values.shape[:2]) // _POINTS))
    return Sample(sample.values[::step, ::step], sample.rows[::step], sample.columns[::step])


def _picked(count: int, most: int) -> list[int]:
    return sorted({int(number) for number in np.linspace(0, count - 1, min(count, most)).round()})


def _colours(sample: Sample, numbers: Sequence[int]) -> bytes:
    return encoded(np.stack([levels(sample.values[..., band]) for band in numbers], axis=-1))


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _clickable(data: bytes, numbers: Sequence[int], cube: Cube) -> Html:
    colours = zip(("red", "green", "blue"), numbers, strict=True)
    names = ", ".join(f"{colour} {band_name(cube, band)}" for colour, band in colours)
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


def _slider(sample: Sample, shown: Sequence[int], cube: Cube) -> Html:
    first = _address(encoded(levels(sample.values[..., shown[0]]), "jpeg"), "jpeg")
    image = Html(f'<img id="band" src="{first}" alt="One band in grey values" style="{_WIDE}">')
    control = Html(
        f'<input id="slider" type="range" min="0" max="{len(shown) - 1}" value="0" aria-label="Band" style="{_WIDE}">'
    )
    caption = element("figcaption", band_name(cube, shown[0]), id="name")
    pictures = [_address(encoded(levels(sample.values[..., band]), "jpeg"), "jpeg") for band in shown]
    # Browsers do not run a script of this type, and base64 has no `</script>` in it that would end it.
    kept = Html(f'<script type="application/json" id="bands">{json.dumps(pictures)}</script>')
    return element("figure", image, control, caption, kept)


def _histogram(sample: Sample) -> Html:
    finite = sample.values[np.isfinite(sample.values)]
    if not finite.size:
        return element("p", "No value is finite.")
    counts, edges = np.histogram(finite, bins=_BINS)
    heights = [100 * count / counts.max() for count in counts]
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
        known = cube.wavelengths[cube.wavelengths > 0]  # at least one, as a cube has
        facts.append(("wavelengths", f"{known.min():.1f} to {known.max():.1f} nm"))
    if cube.fwhm is not None:
        facts.append(("full width at half maximum", f"{np.nanmin(cube.fwhm):.2f} to {np.nanmax(cube.fwhm):.2f} nm"))
    if cube.good_bands is not None:
        facts.append(("bands without data", int((~cube.good_bands).sum())))
    facts += [
        (name, value) for name, value in (("place", cube.crs), ("transform", cube.transform)) if value is not None
    ]
    if cube.acquired is not None:
        facts.append(("taken", cube.acquired.isoformat(sep=" ")))
    return facts + [(str(name), _brief(value)) for name, value in list(cube.metadata.items())[:100]]


def _brief(value: Any) -> str:
    words = str(value)
    return words if len(words) <= 300 else f"{words[:300]} …"  # noqa: PLR2004


def _data(points: Sample, shown: Sequence[int], cube: Cube) -> str:
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
        "names": [band_name(cube, band) for band in shown],
    }
    return json.dumps(data)
