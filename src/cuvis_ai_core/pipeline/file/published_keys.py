"""Keys that published pipeline files spell otherwise."""

from collections.abc import Mapping
from typing import Final

SPELLINGS: Final[Mapping[object, str]] = {
    "class": "class_name",
    "hparams": "params",
    "connections": "edges",
    "from": "source",
    "to": "target",
}
"""Published spelling to ours."""
