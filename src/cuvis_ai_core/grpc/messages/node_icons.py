"""The icons of nodes, as the installed schemas bring them along."""

from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any


def icon_of(node_class: Any) -> bytes:
    """Return the SVG of the icon that a node class names, else of its category; empty where there is none."""
    named = getattr(node_class, "get_icon_name", None)
    category = getattr(node_class, "get_category", None)
    names = [named() if named else "", str(getattr(category(), "value", "")) if category else "", "unspecified"]
    return next(filter(None, map(_content, names)), b"")


@cache
def _content(name: str) -> bytes:
    if not name.isidentifier():
        return b""
    try:
        folder = files(import_module("cuvis_ai_schemas.extensions.ui.icons"))
        return (folder / f"{name}.svg").read_bytes()
    except (ImportError, OSError):  # older schemas have no icons; another name has none
        return b""
