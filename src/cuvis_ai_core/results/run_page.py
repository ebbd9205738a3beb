"""The page of a run, `report.html`: pictures, graph, outputs, times, code and the command, from its record."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from cuvis_ai_core._shown import duration
from cuvis_ai_core.pages.html import Html, element, lines, page, picture, section, table, text

PAGE: Final = "report.html"

_LARGEST: Final = 400_000
"""Bytes of a picture that lies in the page as it is; a larger one is drawn smaller."""

_LONGEST: Final = 1024
"""Pixels of the longer side of such a one."""

_MOST: Final = 40
"""Pictures in a page; the folder has them all."""

_STEP: Final = 44
"""Units from one node of the graph to the next."""


def run_page(
    record: Mapping[str, Any],
    edges: Iterable[tuple[str, str, str]],
    folder: Path,
    seconds: Mapping[str, float],
    command: str,
) -> str:
    """Return the page of a run.

    Args:
        record: What `run.json` holds.
        edges: Source node, target node and ports of each edge.
        folder: Where the pictures of the record lie.
        seconds: How long each part of the work took, in words.
        command: What runs it again, if that is known.
    """
    files: Sequence[Mapping[str, Any]] = record["files"]
    cube = record["cube"]
    warnings = [
        *cube.get("remarks", ()),
        *(f"{each['node']}.{each['port']} is no array" for each in record["left_out"]),
    ]
    parts = [
        *(element("p", warning, class_="bad") for warning in warnings),
        section("Pictures", element("div", *_pictures(files, folder), class_="figures")),
        section("Outputs", table(("output", "file", "dtype", "shape", "least", "greatest"), _outputs(files))),
        section("Graph", _graph([each["name"] for each in record["nodes"]], list(edges))),
        section("Code", table(("node", "class", "from", "version", "tag", "commit"), _code(record["nodes"]))),
        section("Time", table(("part", "time"), [(part, _time(each)) for part, each in seconds.items()])),
        section("Data and files", table(("", "file", "sha256"), _inputs(record))),
    ]
    if command:
        parts.append(section("Run it again", lines(command)))
    name = record["pipeline"]["name"]
    about = f"{cube['file']}, {' x '.join(map(str, cube['shape']))} {cube['dtype']}; {record['date']}; cuvis-ai-core "
    return page(f"{name} on {Path(str(cube['file'])).name}", f"{about}{record['core']['version']}", *parts)


def _pictures(files: Sequence[Mapping[str, Any]], folder: Path) -> Iterable[Html]:
    drawn = [each for each in files if "kind" in each or str(each["file"]).endswith((".png", ".svg"))]
    maps = [each for each in drawn if str(each["file"]).endswith("-map.png")] or drawn
    for each in maps[:_MOST]:
        file = folder / str(each["file"])
        if file.suffix == ".png" and file.is_file():
            port = f"{each['node']}.{each['port']}" if "node" in each else "graph"
            yield picture(*_small(file.read_bytes()), f"{port}: {file.name}")
    if len(maps) > _MOST:
        yield element("p", f"and {len(maps) - _MOST} more in the folder")


def _small(data: bytes) -> tuple[bytes, str]:
    """Return a picture and its kind, drawn smaller if it is large."""
    if len(data) <= _LARGEST:
        return data, "png"
    stream = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((_LONGEST, _LONGEST))
        image.convert("RGB").save(stream, "jpeg", quality=85)
    return stream.getvalue(), "jpeg"


def _outputs(files: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            *(each["key"], each["file"], each["dtype"], " x ".join(map(str, each["shape"])) or "one value"),
            *("-" if each[end] is None else each[end] for end in ("min", "max")),
        )
        for each in files
        if "key" in each
    ]


def _code(nodes: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (
            *(each["name"], each["class"], each.get("repo") or each.get("path") or each.get("distribution") or "-"),
            *(each.get(key) or "-" for key in ("version", "tag")),
            str(each.get("commit") or "-")[:12],
        )
        for each in nodes
    ]


def _inputs(record: Mapping[str, Any]) -> list[tuple[object, ...]]:
    found = ((name, record.get(name)) for name in ("cube", "pipeline", "weights", "plugins"))
    return [(name, each["file"], each["sha256"]) for name, each in found if each]


def _graph(nodes: Sequence[str], edges: Sequence[tuple[str, str, str]]) -> Html:
    """Draw the nodes below each other in running order, with an arc for each edge: no program is needed for it."""
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


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 60 else duration(seconds)  # noqa: PLR2004
