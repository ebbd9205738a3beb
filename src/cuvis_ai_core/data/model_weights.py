"""Which weights of models the manifests of plugins name: an index for programs that fetch them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from cuvis_ai_core._yaml import load_yaml
from cuvis_ai_core.errors import ManifestError, YamlError

__all__ = ["ModelWeights", "index_json"]

_VERSION: Final = 1
_HOSTS: Final = ("huggingface.co", "us.aws.cdn.hf.co")


class ModelWeights:
    """The weights that manifests name under `weights`, by their names; no plugin is imported."""

    _rows: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def reset(cls) -> None:
        """Forget all of them."""
        cls._rows.clear()

    @classmethod
    def load_manifests(cls, folders: Iterable[str | Path]) -> None:
        """Read the manifests in folders, one file for each plugin.

        Raises:
            ManifestError: A file cannot be read, or two name weights of one name; nothing was kept.
        """
        found: dict[str, dict[str, Any]] = {}
        for folder in folders:
            for file in sorted(Path(folder).glob("*.yaml")):
                for row in _rows_of(file):
                    if row["name"] in found:
                        raise ManifestError(f"{file}: the weights '{row['name']}' are named twice.", path=file)
                    found[row["name"]] = row
        cls._rows |= found

    @classmethod
    def list_payload(cls) -> dict[str, Any]:
        """Return the index as JSON holds it."""
        models = [cls._rows[name] for name in sorted(cls._rows)]
        labels = dict.fromkeys(label for row in models for label in row.get("used_for", ()))
        return {
            "schema_version": _VERSION,
            "used_for_labels": list(labels),
            "weights_hosts": list(_HOSTS),
            "models": models,
        }


def index_json(payload: Mapping[str, Any]) -> str:
    """Return an index as the text of a file, the same each time."""
    return json.dumps(payload, indent=2, ensure_ascii=False) + "\n"


def _rows_of(file: Path) -> list[dict[str, Any]]:
    try:
        content = load_yaml(file).data
    except YamlError as error:
        raise ManifestError(f"{file}: it cannot be read: {error.message}.", path=file) from error
    rows = content.get("weights") if isinstance(content, dict) else None
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("name") for row in rows):
        raise ManifestError(f"{file}: 'weights' is a list of mappings with a 'name'.", path=file, key="weights")
    plugin = content.get("name", file.stem)
    return [{**row, "plugin": plugin, "source": "manifest"} for row in rows]
