"""The picture at the end of the demonstration: of the results of its two pipelines."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core.cli.demo.indian_pines import PIXEL_METRES, SUBTITLE, TITLE
from cuvis_ai_core.cli.demo.workspace import GIT_PLUGIN, VERSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Results = Mapping[tuple[str, str], Any]

_NAMES = dict(zip(VERSIONS, ("NDVI", "SAVI, adjusted for soil"), strict=True))
_INDEX_RANGE = (0.0, 0.8)  # one for both versions, so that colours can be compared
_DPI: Final = 150
_SCALE_METRES: Final = 500
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.linewidth": 0.6,
    "text.color": "#222222",
}
_IMAGE: Final = 4 * 145 / _DPI  # inches: four dots for a pixel of the scene
_HEAD, _CELL, _MARGIN = 1.25, _IMAGE + 1.15, 0.35  # a cell is an image, its title and its bar
_STRIP: Final = (0.0, -0.055, 1.0, 0.03)  # below the image, as shares of it: x, y, width, height
_GREY: Final = "#666666"


@dataclass(frozen=True)
class _Panel:
    """One image of the picture.

    Attributes:
        title: What it shows.
        origin: Which node of which plugin computed it.
        image: `[height, width]` of values, or `[height, width, 3]` of red, green, blue from 0 to 1.
        label: What the colour bar measures, with its unit; without a bar, the text in its place.
        colours: Name of the colour map of the image and its bar, or its colours.
        limits: Values at the two ends of the colour bar; without them there is no bar.
    """

    title: str
    origin: str
    image: "NDArray[Any]"
    label: str
    colours: str | Sequence[Sequence[float]] = "grey"
    limits: tuple[float, float] | None = None


def draw_results(results: Mapping[str, Results], colours: Sequence[Sequence[float]], path: Path) -> None:
    """Draw what the pipelines of both versions computed.

    Args:
        results: Version to the results of its pipeline.
        colours: Colours of the anomaly picture, `[step, 3]`.
        path: The PNG file.

    Raises:
        OSError: The file cannot be written.
    """
    first = results[VERSIONS[0]]
    panels = [
        _Panel(
            title="False colour",
            origin="built in: WavelengthSelector",
            image=_stretched(first["false_colour", "image"][0]),
            label="red 850 nm, green 670 nm, blue 550 nm",
        ),
        _Panel(
            title="Anomalies",
            origin="built in: RXDetector, in colours of plugin colour_maps",
            image=first["anomaly_picture", "image"][0],
            colours=colours,
            limits=first["anomaly_picture", "limits"][0].tolist(),
            label="squared Mahalanobis distance from the mean spectrum (no unit)",
        ),
    ]
    panels += [_index_panel(tag, result) for tag, result in results.items()]
    _draw_panels(panels, TITLE, SUBTITLE, path)


def _index_panel(tag: str, result: Results) -> _Panel:
    return _Panel(
        title=f"Vegetation: {_NAMES[tag]}",
        origin=f"plugin {GIT_PLUGIN}, Git tag {tag}",
        image=result["vegetation", "index"][0, :, :, 0],
        colours="YlGn",
        limits=_INDEX_RANGE,
        label="index (no unit)",
    )


def _stretched(image: "NDArray[Any]") -> "NDArray[Any]":
    """Return an image in which each colour runs from 0 to 1, but for 1 % of the pixels at each end."""
    import numpy as np

    low, high = np.percentile(image, (1, 99), axis=(0, 1))
    stretched: NDArray[Any] = np.clip((image - low) / (high - low), 0, 1) ** 0.8
    return stretched


def _draw_panels(panels: Sequence[_Panel], title: str, subtitle: str, path: Path) -> None:
    """Draw panels, two in a row, into a PNG file."""
    from matplotlib import rc_context

    # Not pyplot: it chooses a backend for the whole process, and keeps every figure.
    from matplotlib.figure import Figure

    rows = (len(panels) + 1) // 2
    width, height = 2 * _IMAGE + 3 * _MARGIN, _HEAD + rows * _CELL - 0.35
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        figure.text(_MARGIN / width, 1 - 0.4 / height, title, fontsize=15, fontweight="bold")
        figure.text(_MARGIN / width, 1 - 0.64 / height, subtitle, fontsize=9.5, color=_GREY)
        for index, panel in enumerate(panels):
            row, column = divmod(index, 2)
            left = _MARGIN + column * (_IMAGE + _MARGIN)
            bottom = height - _HEAD - row * _CELL - _IMAGE
            _draw_panel(figure.add_axes((left / width, bottom / height, _IMAGE / width, _IMAGE / height)), panel)
        _draw_scale(figure.axes[0])
        # `savefig` into the file would leave half a picture when it is interrupted.
        picture = io.BytesIO()
        figure.savefig(picture, dpi=_DPI)
    write_atomic(path, picture.getvalue())


def _draw_panel(axes: "Axes", panel: _Panel) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    colours = panel.colours if isinstance(panel.colours, str) else ListedColormap(panel.colours)
    scale = ScalarMappable(Normalize(*(panel.limits or (0, 1))), colours)
    in_colours = panel.image.shape[2:] == (3,)
    axes.imshow(panel.image if in_colours else scale.to_rgba(panel.image), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0, 1.062, panel.title, transform=axes.transAxes, fontsize=11.5, fontweight="bold")
    axes.text(0, 1.018, panel.origin, transform=axes.transAxes, fontsize=8, color=_GREY)
    strip = axes.inset_axes(_STRIP)
    if panel.limits is None:
        strip.set_axis_off()
        strip.text(0, 0.5, panel.label, va="center", fontsize=8.5)
        return
    bar = axes.figure.colorbar(scale, cax=strip, orientation="horizontal")
    bar.set_label(panel.label, fontsize=8.5, labelpad=2)
    bar.outline.set(linewidth=0.4, edgecolor=_GREY)
    strip.tick_params(length=2.5, width=0.6, labelsize=8)


def _draw_scale(axes: "Axes") -> None:
    from matplotlib.patches import Rectangle

    length = _SCALE_METRES / PIXEL_METRES
    height = axes.get_ylim()[0]
    axes.add_patch(Rectangle((4, height - 15), length + 8, 11, facecolor="black", alpha=0.55, linewidth=0))
    axes.plot((8, 8 + length), (height - 6.5,) * 2, color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(8 + length / 2, height - 8.5, f"{_SCALE_METRES} m", color="white", ha="center", fontsize=8)
