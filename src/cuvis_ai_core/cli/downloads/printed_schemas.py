"""JSON Schemas of what `download-model` and `dataset` print, for programs that read it."""

from collections.abc import Mapping
from typing import Any, Final

_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "minLength": 1}
_NAMES: Final = {"type": "array", "items": _NAME}
_FLAG: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SIZE: Final = {"type": "integer", "minimum": 1}
_COMMIT: Final = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
_HASH: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_REPOSITORY: Final = {"type": "string", "pattern": "^[^/]+/[^/]+$"}
_MAYBE_COUNT: Final = {"type": ["integer", "null"], "minimum": 0}
_MAYBE_FLAG: Final = {"type": ["boolean", "null"]}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}


def _object(properties: Mapping[str, Any], more: Mapping[str, Any] | None = None, *, closed: bool = True) -> Any:
    """Return the schema of a mapping that has the first properties, and may have the others."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **(more or {})},
        **({"additionalProperties": False} if closed else {}),
    }


def _list(rows: str, item: Any, head: Mapping[str, Any]) -> Any:
    return _object({"schema_version": {"const": 1}, **head, rows: {"type": "array", "items": item}})


_FILE: Final = _object({"path": _NAME, "size_bytes": _SIZE, "sha256": _HASH})
_WEIGHTS: Final = {
    "name": _NAME,
    "display_name": _NAME,
    "summary": _TEXT,
    "used_for": _NAMES,
    "plugin": _NAME,
    "family": _NAME,
    "kind": {"enum": ["weights", "trained_pipeline"]},
    "aux_files": {"type": "array", "items": _FILE},
    "repo_id": _REPOSITORY,
    "filename": _NAME,
    "revision": _COMMIT,
    "sha256": _HASH,
    "size_bytes": _SIZE,
    "total_bytes": _SIZE,
    "license": _NAME,
    "license_file": _MAYBE_TEXT,
    "aliases": _NAMES,
    "selected_by": _MAYBE_TEXT,
    "default": _FLAG,
    "plugin_default": _FLAG,
    "explicit_path_hparams": _NAMES,
    "cache_dir_name": {"type": "string", "pattern": "^models--"},
    "description": _TEXT,
    "source": {"enum": ["plugin", "manifest", "dict"]},
    "pin_mismatch": _FLAG,
}
_THERE: Final = {
    "state": {"enum": ["present", "damaged", "partial", "absent"]},
    "present": _FLAG,
    "path": _NAME,
    "size_bytes_on_disk": _MAYBE_COUNT,
    "size_ok": _MAYBE_FLAG,
    "sha256_ok": _MAYBE_FLAG,
    "aux_ok": _MAYBE_FLAG,
    "partial_bytes": _MAYBE_COUNT,
}
_DATASET: Final = {
    "name": _NAME,
    "display_name": _NAME,
    "summary": _TEXT,
    "repo_id": _REPOSITORY,
    "target_dir": _NAME,
    "revision": _COMMIT,
    "size_bytes": _SIZE,
    "file_count": _SIZE,
    "license": _NAME,
    "tags": _NAMES,
    "camera": _NAME,
    "description": _TEXT,
    "aliases": _NAMES,
}
_DATASET_THERE: Final = {
    "state": {"enum": ["present", "damaged", "incomplete", "outdated", "foreign", "absent"]},
    "present": _FLAG,
    "path": _NAME,
    "bytes_on_disk": _MAYBE_COUNT,
    "files_ok": _MAYBE_FLAG,
}
_PERCENT: Final = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
_FREED: Final = {"freed_bytes": _COUNT}
_EVENTS: Final = [
    _object({"event": {"const": "waiting"}}),
    _object(
        {
            "event": {"const": "progress"},
            "name": _NAME,
            "bytes_done": _MAYBE_COUNT,
            "bytes_total": _MAYBE_COUNT,
            "pct": _PERCENT,
        },
        {"files_done": _COUNT, "files_total": _MAYBE_COUNT},
    ),
    _object({"event": {"const": "verifying"}, "name": _NAME}),
    _object({"event": {"const": "done"}, "name": _NAME, "path": _NAME}),
    _object({"event": {"const": "error"}, "name": _NAME, "message": _NAME}),
]
_SCHEMAS: Final[Mapping[str, Any]] = {
    "dataset_list": _list("datasets", _object(_DATASET), {"tags": _NAMES, "cameras": _NAMES}),
    "dataset_status": _list(
        "datasets",
        _object(_DATASET | _DATASET_THERE, {"downloaded": _FLAG, "stale_files": {"type": "array", "items": _TEXT}}),
        {"data_dir": _NAME},
    ),
    "export": _list(
        "models", _object({"name": _NAME, "exported": _FLAG, "path": _MAYBE_TEXT}, closed=False), {"export_dir": _NAME}
    ),
    "model_list": _list("models", _object(_WEIGHTS), {"used_for_labels": _NAMES, "weights_hosts": _NAMES}),
    "progress_event": {"oneOf": _EVENTS},
    "remove": _object(
        {
            "schema_version": {"const": 1},
            "removed": {
                "type": "array",
                "items": {"oneOf": [_object({key: _NAME} | _FREED) for key in ("name", "dir")]},
            },
        },
        {"cache_dir": _NAME, "data_dir": _NAME},
    ),
    "status": _list(
        "models",
        _object(_WEIGHTS | _THERE, {"downloaded": _FLAG, "imported": _FLAG, "reason": _TEXT}),
        {"cache_dir": _NAME},
    ),
}


def schema_names() -> list[str]:
    """Return the names of the schemas."""
    return list(_SCHEMAS)


def schema(name: str) -> dict[str, Any]:
    """Return one by its name."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **_SCHEMAS[name]}
