"""Whether what a server sends as a picture is one, and nothing that a browser would run or fetch."""

import re
from typing import Final
from xml.etree import ElementTree as ET

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_TAGS: Final = frozenset(
    {"svg", "g", "title", "desc", "text", "tspan", "polygon", "polyline", "path", "ellipse", "circle", "rect", "line"}
)
"""What Graphviz draws a graph with; there are no scripts, links, pictures and styles among them."""

_ENTITY: Final = re.compile(rb"<!ENTITY|<\?xml-stylesheet", re.IGNORECASE)
_FENCE: Final = re.compile(rb"^\s*(`{3}|~{3})", re.MULTILINE)
_CLICK: Final = re.compile(rb"^\s*(click|href|%%\{)|javascript:", re.MULTILINE | re.IGNORECASE)


def harmless(content: bytes, kind: str) -> bool:
    """Tell whether a drawing does nothing but show.

    Args:
        content: What was sent.
        kind: `png`, `svg`, or `md` for the words of a Mermaid diagram.
    """
    if kind == "png":
        return content.startswith(_PNG)
    if kind == "md":
        return not _FENCE.search(content) and not _CLICK.search(content)
    # Entities are refused unread: some lines of them stand for gigabytes ("billion laughs").
    if _ENTITY.search(content) or b"\0" in content:  # which would be letters of two bytes
        return False
    try:
        tree = ET.fromstring(content)  # noqa: S314 - without entities it takes no more than it is
    except (ET.ParseError, ValueError):
        return False
    return all(_shows(each) for each in tree.iter())


def _shows(element: "ET.Element[str]") -> bool:
    if not isinstance(element.tag, str):
        return False
    # Without namespaces: `xlink:href` leads elsewhere just as well.
    names = [name.rpartition("}")[2].lower() for name in element.attrib]
    calls = any(name.startswith("on") or name == "href" for name in names)
    fetches = any("url(" in value.lower() for value in element.attrib.values())
    return element.tag.rpartition("}")[2] in _TAGS and not calls and not fetches
