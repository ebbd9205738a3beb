"""Which weights of models the manifests of plugins name: an index for programs that fetch them."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeGuard

from cuvis_ai_core._reading import load_yaml
from cuvis_ai_core._shown import shown_in_line
from cuvis_ai_core.errors import ManifestError, YamlError

__all__ = ["ModelWeights", "index_json"]

_VERSION: Final = 1
_LABELS: Final = (
    "Point expansion",
    "Propagation",
    "Text prompts",
    "Segment everything",
    "Anomaly detection",
    "Zero-shot",
    "Backbone",
    "Trained pipeline",
)
"""What published programs sort weights by, in their order; others come behind."""
_MOST_BYTES: Final = 1 << 63
_TEXTS: Final = ("name", "display_name", "plugin", "family", "repo_id", "sha256", "selected_by")
_HOSTS: Final = ("huggingface.co", "us.aws.cdn.hf.co")
_LEFT_OUT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "name": "",
        "display_name": "",
        "summary": "",
        "used_for": [],
        "plugin": "",
        "family": None,
        "kind": "weights",
        "aux_files": [],
        "repo_id": None,
        "filename": None,
        "revision": None,
        "sha256": None,
        "size_bytes": None,
        "total_bytes": 0,
        "license": None,
        "license_file": None,
        "aliases": [],
        "selected_by": None,
        "default": False,
        "plugin_default": False,
        "explicit_path_hparams": [],
        "cache_dir_name": None,
        "description": "",
    }
)
"""The keys of a row in their order, with what stands there where a manifest says nothing."""


class ModelWeights:
    """The weights that manifests name under `weights`, by their names; no plugin is imported."""

    _rows: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def reset(cls) -> None:
        """Forget all of them."""
        cls._rows.clear()

    @classmethod
    def load_manifests(cls, plugins_dirs: Iterable[str | Path]) -> None:
        """Read the manifests in folders, one file for each plugin.

        Raises:
            ManifestError: A file cannot be read, or two name weights of one name; nothing was kept.
        """
        found: dict[str, dict[str, Any]] = {}
        for folder in plugins_dirs:
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
        labels = dict.fromkeys([*_LABELS, *(label for row in models for label in row["used_for"])])
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
    plugin = content.get("name", file.stem)
    if not isinstance(rows, list) or not all(map(_is_row, rows)) or not _is_text(plugin):
        raise ManifestError(
            f"{file}: 'weights' is a list of mappings with a 'name'; 'used_for', 'aux_files' and 'aliases' are lists, "
            "names are texts without control characters, sizes are whole numbers, and files are named by paths within "
            "their repository.",
            path=file,
            key="weights",
        )
    return [_row(row, plugin) for row in rows]


def _row(given: Mapping[str, Any], plugin: str) -> dict[str, Any]:
    """Return a row as published programs read it: what a manifest leaves out, and what follows from the rest."""
    row = {**_LEFT_OUT, **{key: value for key, value in given.items() if value is not None}}
    repository = str(row["repo_id"] or "")
    sizes = [row["size_bytes"] or 0, *(each.get("size_bytes") or 0 for each in row["aux_files"])]
    return {
        **row,
        "plugin": plugin,
        "family": row["family"] or repository.rpartition("/")[2] or plugin,
        "total_bytes": sum(sizes),
        "plugin_default": bool(row["default"]) or row["selected_by"] is None,
        "cache_dir_name": f"models--{repository.replace('/', '--')}" if repository else None,
        "source": "manifest",
        "pin_mismatch": False,
    }


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not row.get("name") or not _has_files(row):
        return False
    lists = [row.get(key) or [] for key in ("used_for", "aux_files", "aliases", "explicit_path_hparams")]
    if not all(isinstance(each, list) for each in lists) or not all(isinstance(each, dict) for each in lists[1]):
        return False
    texts = [row.get(key) for key in _TEXTS if row.get(key) is not None]
    return all(map(_is_text, [*texts, *lists[0], *lists[2]])) and all(map(_has_files, lists[1]))


def _has_files(row: Mapping[str, Any]) -> bool:
    """Tell whether what a row names are files of a repository, and their size is one."""
    files = [row[key] for key in ("filename", "path", "revision") if row.get(key) is not None]
    size = row.get("size_bytes") or 0
    return isinstance(size, int) and size < _MOST_BYTES and all(map(_is_inside, files))


def _is_inside(name: object) -> bool:
    """Tell whether a text is a path that leads to nothing above where it begins, on whichever system."""
    return _is_text(name) and not re.match("[A-Za-z]:", name) and not {"..", ""} & set(re.split(r"[/\\]", name))


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and shown_in_line(value) == value
