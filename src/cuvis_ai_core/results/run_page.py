"""The page of a run, `report.html`: pictures, graph, outputs, times, code and the command, from its record."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from cuvis_ai_core._printable_text import duration
from cuvis_ai_core.pages.graph_drawing import graph
from cuvis_ai_core.pages.html import Html, element, lines, page, picture, section, table

PAGE: Final = "report.html"

_LARGEST: Final = 400_000
"""Bytes of a picture that lies in the page as it is; a larger one is drawn smaller."""

_LONGEST: Final = 1024
"""Pixels of the longer side of such a one."""

_MOST: Final = 40
"""Pictures in a page; the folder has them all."""


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
        section("Graph", graph([each["name"] for each in record["nodes"]], list(edges))),
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
        # JPEG has neither palettes nor transparency.
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


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 60 else duration(seconds)  # noqa: PLR2004
