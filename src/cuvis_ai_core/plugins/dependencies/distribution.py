"""One installed distribution, as far as isolation is concerned."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Distribution(NamedTuple):
    """One installed distribution.

    Attributes:
        name: Normalised name.
        version: Its version.
        requires: Its requirements as declared.
        roots: Dotted names of its outermost packages and modules (`ftfy`, `google.cloud.storage`).
        namespaces: Dotted names of the namespace packages above them (`google`, `google.cloud`).
        pure: Whether its wheel is for any platform.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    pure: bool = True

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Distribution":
        """Build from the fields as plain data, in which tuples are lists."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**fields)


def normalised(name: str) -> str:
    """Return the name of a distribution as requirements compare it (PEP 503)."""
    # Not packaging's `canonicalize_name`: importing it takes longer than the rest of a warm load's look at the host.
    return re.sub(r"[-_.]+", "-", name).lower()
