"""Under which licences plugins and their dependencies come, as their metadata says."""

from collections.abc import Iterable, Mapping
from email.message import Message
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

_CLASSIFIER: Final = "License :: "

_SHOWN: Final = 80


def licence_of_project(project: Mapping[str, Any]) -> str:
    """Return what the `[project]` table of a pyproject.toml says; "" where it says nothing."""
    # A text since PEP 639, a table before
    said = project.get("license")
    if isinstance(said, str):
        return said
    if isinstance(said, dict) and isinstance(said.get("text"), str):
        return _first_line(said["text"])
    classifiers = project.get("classifiers")
    return _classified(classifiers if isinstance(classifiers, list) else ())


def licence_of(name: str, version: str, folders: Iterable[Path]) -> str:
    """Return the licence of a version of a distribution that is installed; "" where it is not, or says nothing.

    Args:
        name: Its name.
        version: Its version.
        folders: Where it may be installed, beside this environment.
    """
    # A dependency that this environment has too is not installed for the plugin again
    places: list[dict[str, Any]] = [{"path": [*map(str, folders)]}, {}]
    for place in places:
        for found in distributions(name=name, **place):
            # Another version may have another licence
            if found.version == version and (said := _said(found.metadata)):
                return said
    return ""


def _said(metadata: Any) -> str:
    assert isinstance(metadata, Message)
    expression = metadata.get("License-Expression")
    # `License` comes last: many projects put their whole licence's text there
    return expression or _classified(metadata.get_all("Classifier", [])) or _first_line(metadata.get("License", ""))


def _classified(classifiers: Iterable[object]) -> str:
    texts = (each for each in classifiers if isinstance(each, str) and each.startswith(_CLASSIFIER))
    return ", ".join(each.rpartition(" :: ")[2] for each in texts)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:_SHOWN] if lines else ""
