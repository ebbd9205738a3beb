"""`splits.json`: which samples are trained on, validated on and tested on, in a file of its own."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._untrusted_files import read_file
from cuvis_ai_core.errors import MissingExtraError, TrainRunError

__all__ = ["load_splits", "save_splits", "split_config", "universe_hash"]


def load_splits(path: str | Path) -> Any:
    """Return the `DataSplitConfig` of a file.

    Raises:
        TrainRunError: It cannot be read, or breaks a rule.
    """
    try:
        content = json.loads(read_file(Path(path)))
    # The reader of JSON calls itself for each level.
    except (OSError, ValueError, RecursionError) as error:
        raise TrainRunError(f"Splits file {path}: it cannot be read: {error}", path=Path(path)) from error
    try:
        return split_config(content)
    except TrainRunError as error:
        error.message = f"Splits file {path}: {error.message}"
        raise


def save_splits(splits: Any, path: str | Path) -> None:
    """Write a `DataSplitConfig`, without what is left at its default; folders are made.

    Raises:
        OSError: The file cannot be written.
    """
    content = splits.model_dump(mode="json", exclude_defaults=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(Path(path), json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def universe_hash(refs: Iterable[Any]) -> str:
    """Return the SHA-256 of the identities of samples in their order, each with a line feed behind it."""
    return hashlib.sha256("".join(f"{each.uid}\n" for each in refs).encode()).hexdigest()


def split_config(splits: Any) -> Any:
    """Return the `DataSplitConfig` that is given as one, as a mapping, or as the path of a file.

    Raises:
        TrainRunError: It breaks a rule.
        MissingExtraError: The installed schemas know no splits.
    """
    from pydantic import ValidationError

    try:
        from cuvis_ai_schemas.training.data import DataSplitConfig
    except ImportError as error:
        raise MissingExtraError(
            "Splits of data are of newer schemas than those that are installed.",
            hint="pip install 'cuvis-ai-schemas>=0.10'",
            extra="schemas",
        ) from error
    if isinstance(splits, str | Path):
        return load_splits(splits)
    try:
        if isinstance(splits, DataSplitConfig):
            return splits
        return DataSplitConfig.model_validate(_with_promises(splits, DataSplitConfig.model_fields))
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)[:5]]
        raise TrainRunError(f"splits: {'; '.join(found)}", key="data.splits") from error


def _with_promises(splits: Any, known: Collection[str]) -> Any:
    """Return splits with a promise in the place of `leakage_check`, which schemas before 0.9 have for it.

    Args:
        splits: What a file or a program says.
        known: What splits of the installed schemas may say.
    """
    if not isinstance(splits, Mapping) or "leakage_check" not in splits or "leakage_check" in known:
        return splits
    severity, declared = splits["leakage_check"], splits.get("constraints") or []
    # YAML reads `off` as a truth value.
    promises = [] if severity == "off" or severity is False else [{"kind": "no_split_overlap", "severity": severity}]
    rest = {key: value for key, value in splits.items() if key != "leakage_check"}
    return {**rest, "constraints": [*declared, *promises] if isinstance(declared, list) else declared}
