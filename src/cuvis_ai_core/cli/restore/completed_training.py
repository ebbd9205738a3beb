"""A training that has ended in the output directory: it is not done twice, and not replaced by another one unasked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from cuvis_ai_core._untrusted_files import load_yaml, read_json
from cuvis_ai_core.errors import PipelineError, YamlError
from cuvis_ai_core.pipeline.file.reader import parse_config
from cuvis_ai_core.results.folder import OutputFolder
from cuvis_ai_core.results.run_record import RECORD, for_results
from cuvis_ai_core.training.config import TrainRunConfig

_OF_NO_MATTER: Final[dict[str, Any]] = {
    **dict.fromkeys(("name", "tags", "weights", "output_dir", "plugins_path"), True),
    "data": {"num_workers"},
}
"""What changes nothing about the result; the code of plugins is compared by the nodes."""

_SHOWN: Final = 5


def finished_training(
    folder: Path, trainrun: str, config: TrainRunConfig, nodes: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Return the record of a training of the same settings that has ended in a folder, or None where none has.

    Args:
        folder: The output directory.
        trainrun: Name of the trainrun file in it.
        config: What is to be trained.
        nodes: The nodes and the code that they come from.

    Raises:
        click.BadParameter: There is one of other settings.
    """
    record = _record(folder, trainrun)
    if record is not None:
        _refuse(folder, [*_of_settings(folder / trainrun, config), *_of_code(record.get("nodes"), nodes)])
    return record


def refuse_other_settings(folder: Path, trainrun: str, config: TrainRunConfig) -> None:
    """Refuse a folder in which a training of other settings has ended: that needs no node, and none of its libraries.

    Args:
        folder: As of `finished_training`.
        trainrun: As there.
        config: As there.

    Raises:
        click.BadParameter: There is one.
    """
    if _record(folder, trainrun) is not None:
        _refuse(folder, list(_of_settings(folder / trainrun, config)))


def _record(folder: Path, trainrun: str) -> Mapping[str, Any] | None:
    """Return the record of a training that has ended in a folder, or None where none has."""
    record = read_json(folder / RECORD)
    return record if record is not None and "trainrun" in record and (folder / trainrun).is_file() else None


def _refuse(folder: Path, differences: Sequence[str]) -> None:
    if differences:
        more = len(differences) - _SHOWN
        lines = [*differences[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise click.BadParameter(
            f"'{folder}' holds a finished training of other settings; it is not replaced:\n"
            + "".join(f"  {line}\n" for line in lines)
            + "Choose another directory, --override output_dir=..., or replace it with --overwrite.",
            param_hint="output_dir",
        )


def refuse_doubtful(folder: Path, output: OutputFolder) -> None:
    """Refuse to take a finished training for one of the user's own that was not written where it lies, or was changed.

    Raises:
        click.BadParameter: It is such.
    """
    doubts = list(output.doubts())
    if doubts:
        raise click.BadParameter(
            f"'{folder}' says that it holds this training already, which is not believed:\n"
            + "".join(f"  {doubt}\n" for doubt in doubts[:_SHOWN])
            + "Choose another directory, --override output_dir=..., or replace it with --overwrite.",
            param_hint="output_dir",
        )


def _of_settings(file: Path, config: TrainRunConfig) -> Iterator[str]:
    try:
        before = TrainRunConfig.model_validate(load_yaml(file).data)
        if isinstance(before.pipeline, dict):  # it may be in the published spelling
            before = before.model_copy(update={"pipeline": parse_config(before.pipeline).to_dict()})
    except (YamlError, ValidationError, PipelineError):
        yield f"{file.name} of that training cannot be read"
        return
    # The file was written without passwords in addresses; what was given now still has them.
    both = (for_results(each.model_dump(mode="json", exclude=_OF_NO_MATTER)) for each in (before, config))
    old, new = (dict(_flat(each)) for each in both)
    for key in dict.fromkeys((*new, *old)):
        if old.get(key) != new.get(key):
            yield f"{key}: {_shown(old, key)} there, {_shown(new, key)} now"


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            # By name: one node more at the begin would make all those behind it differ.
            named = {str(each.get("name", number)): each for number, each in enumerate(value)}
            yield from _flat(named, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(values: Mapping[str, Any], key: str) -> str:
    return "nothing" if values.get(key) is None else f"{values[key]}"


def _of_code(before: object, now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    recorded = before if isinstance(before, list) else []
    old = {str(each.get("name")): each for each in recorded if isinstance(each, dict)}
    for each in now:
        for key, value in each.items():
            if each["name"] in old and old[each["name"]].get(key) != value:
                yield f"node '{each['name']}': {key} {_shown(old[each['name']], key)} there, {_shown(each, key)} now"
