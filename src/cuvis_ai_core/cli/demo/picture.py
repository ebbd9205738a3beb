"""From the results of the two pipelines to the panels of the picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.cli.demo.figure import Panel, draw_panels
from cuvis_ai_core.cli.demo.scene import SUBTITLE, TITLE
from cuvis_ai_core.cli.demo.workspace import GIT_PLUGIN, VERSIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Results = Mapping[tuple[str, str], Any]

_NAMES = dict(zip(VERSIONS, ("NDVI", "SAVI, adjusted for soil"), strict=True))
_INDEX_RANGE = (0.0, 0.8)  # one for both versions, so that colours can be compared


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
        Panel(
            title="False colour",
            origin="built in: WavelengthSelector",
            image=_stretched(first["false_colour", "image"][0]),
            label="red 850 nm, green 670 nm, blue 550 nm",
        ),
        Panel(
            title="Anomalies",
            origin="built in: RXDetector, in colours of plugin colour_maps",
            image=first["anomaly_picture", "image"][0],
            colours=colours,
            limits=first["anomaly_picture", "limits"][0].tolist(),
            label="squared Mahalanobis distance from the mean spectrum (no unit)",
        ),
    ]
    panels += [_index_panel(tag, result) for tag, result in results.items()]
    draw_panels(panels, TITLE, SUBTITLE, path)


def _index_panel(tag: str, result: Results) -> Panel:
    return Panel(
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
