"""A drawing of a pipeline's graph for a page."""

from collections.abc import Mapping, Sequence
from typing import Final

from cuvis_ai_core.pages.html import Html, element, text

_STEP: Final = 44
"""Units from one node of the graph to the next."""


def graph(nodes: Sequence[str], edges: Sequence[tuple[str, str, str]]) -> Html:
    """Draw the nodes below each other in running order, with an arc for each edge: no program is needed for it."""
    if not nodes:
        return element("p", "no nodes")
    places = {name: number * _STEP + 22 for number, name in enumerate(nodes)}
    height = len(nodes) * _STEP
    boxes = "".join(
        f'<rect x="1" y="{y - 16}" width="258" height="32" rx="4" fill="#e8f1ef" stroke="#00695c"/>'
        f'<text x="12" y="{y + 5}" font-size="14" fill="#1b2126">{text(name)}</text>'
        for name, y in places.items()
    )
    arcs = "".join(
        f'<path d="M260 {places[begin] + 4}C{300 + _reach(places, begin, end)} {places[begin]} '
        f'{300 + _reach(places, begin, end)} {places[end]} 268 {places[end] - 4}" fill="none" stroke="#5a6a70" '
        # A browser shows the title where the pointer rests.
        f'stroke-width="1.5" marker-end="url(#head)"><title>{text(ports)}</title></path>'
        for begin, end, ports in edges
        if begin in places and end in places
    )
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#5a6a70"/></marker></defs>'
    )
    words = "; ".join(ports for _, _, ports in edges) or "no edges"
    drawing = (
        f'<svg viewBox="0 0 420 {height}" style="width:min(100%,26rem)" role="img" aria-label="{text(words)}">'
        f"{head}{boxes}{arcs}</svg>"
    )
    return element("figure", Html(drawing), element("figcaption", words))


def _reach(places: Mapping[str, int], begin: str, end: str) -> int:
    return min(110, abs(places[end] - places[begin]) // 2)
