"""The trainruns that clients send: checked, and every path in them below a root."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.data.cube_files import find_cube_files
from cuvis_ai_core.data.splits_io import load_splits
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.config_resolution import without_resolvers
from cuvis_ai_core.grpc.server.config_validation import key_of
from cuvis_ai_core.grpc.server.symlink_races import reading
from cuvis_ai_core.pipeline.file.interpolation import filled_in, resolve
from cuvis_ai_core.training.config import DataConfig, ModuleDataConfig, TrainingConfig, TrainRunConfig

if TYPE_CHECKING:
    from cuvis_ai_core.data.readers import Readers
    from cuvis_ai_core.grpc.server.call_context import Call

_PATTERN: Final = frozenset("*?[")
_MOST_READERS: Final = 32
_FILES: Final = ("weights", "initial_weights")


def read_trainrun(call: "Call", content: Mapping[str, Any]) -> TrainRunConfig:
    """Return a trainrun that a client sent, with absolute paths.

    Raises:
        ServiceError: It breaks a rule, or names a file that is not there or may not be used.
    """
    given = dict(filled_in(without_resolvers(content)))
    for key in ("defaults", "hydra", "plugins_path"):
        given.pop(key, None)
    pipeline = given.get("pipeline")
    if isinstance(pipeline, str):
        given["pipeline"] = _pipeline(call, pipeline)
    for key in _FILES:
        if isinstance(given.get(key), str):
            given[key] = str(call.service.roots.file(given[key], call.session.search_paths))
    if isinstance(given.get("data"), Mapping):
        given["data"] = located_data(call, given["data"])
    config: TrainRunConfig = checked(TrainRunConfig, given)
    return config


def located_data(call: "Call", data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section of data with absolute paths.

    Raises:
        ServiceError: A file is not there, or may not be read.
    """

    def located(value: Any) -> Any:
        if isinstance(value, list):
            return [located(each) for each in value]
        return _place(call, value) if isinstance(value, str) else value

    def placed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: placed(each) for key, each in value.items()}
        return str(call.service.roots.readable(value, call.session.search_paths)) if isinstance(value, str) else value

    if isinstance(data.get("splits"), str):
        data = {**data, "splits": _splits(call, data["splits"])}
    if "data_module" in data:
        return dict(data)  # what its params mean is known to the data module alone
    places = {"cubes": located, "cu3s_file_path": located, "annotation_json_path": placed, "masks": placed}
    done = {key: places[key](value) if key in places else value for key, value in data.items()}
    # Each is a process of torch's DataLoader with some hundred megabytes of its own.
    if isinstance(readers := done.get("num_workers"), int) and readers > _MOST_READERS:
        raise ServiceError(f"data.num_workers: a training has up to {_MOST_READERS}.", code="INVALID_ARGUMENT")
    return done


def _splits(call: "Call", place: str) -> Any:
    file = call.service.roots.file(place, call.session.search_paths)
    with reading(call.service.roots, file) as held:
        return load_splits(held).model_dump(mode="json", exclude_defaults=True)


def refuse_data_module(call: "Call", config: TrainRunConfig) -> None:
    """Refuse to train on data of a data module where clients may not have any code of this machine run.

    Raises:
        ServiceError: They may not: the module is imported from the server's environment, and reads what it likes.
    """
    if isinstance(config.data, DataConfig) or call.service.runs_anything:
        return
    raise ServiceError(
        f"data.data_module: this server reads no data by the data module '{config.data.data_module[:60]}': it runs no "
        "code but what its policy names.",
        hint="Name the cubes: data.cubes or data.cu3s_file_path, and train_ids, val_ids, test_ids for 'splits'; "
        "TrainRequest.data takes the place of the data of the trainrun.",
        code="FAILED_PRECONDITION",
    )


def checked(model: Any, content: Mapping[str, Any]) -> Any:
    """Return a section of a trainrun.

    Raises:
        ServiceError: It breaks a rule; each is named.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = [
            f"{key_of(each['loc'])}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)[:5]
        ]
    raise ServiceError("The trainrun breaks a rule: " + "; ".join(found), code="INVALID_ARGUMENT")


def with_sections(call: "Call", config: TrainRunConfig) -> TrainRunConfig:
    """Return a trainrun with the sections that a TrainRequest brings laid over it.

    Raises:
        ServiceError: A section breaks a rule.
    """
    changes: dict[str, Any] = {}
    for name in ("data", "training"):
        content = getattr(call.request, name).config_bytes
        if content:
            data = _json(content, name)
            model = TrainingConfig if name == "training" else ModuleDataConfig if "data_module" in data else DataConfig
            changes[name] = checked(model, located_data(call, data) if name == "data" else data)
    done = config.model_copy(update=changes)
    refuse_data_module(call, done)
    return done


def check_data(call: "Call", data: DataConfig, readers: "Readers") -> None:
    """Refuse data that a pattern or a link found outside of the roots; none is opened.

    Raises:
        ServiceError: There are some.
        CubeError: There are none.
    """
    masks = data.masks.values() if isinstance(data.masks, dict) else [data.masks or data.annotation_json_path]
    places = [*find_cube_files(data.places, readers), *(Path(each) for each in masks if each)]
    real = [call.service.roots.readable(str(place.absolute())) for place in places]
    if call.service.runs_anything:  # and reads what it likes
        return
    for folder in dict.fromkeys(each if each.is_dir() else each.parent for each in real):
        _refuse_links_out(call, folder, deep=folder in real)


def _refuse_links_out(call: "Call", folder: Path, *, deep: bool) -> None:
    """Refuse a folder with a link out: the files of cubes and masks have others beside them, which would be read.

    Raises:
        ServiceError: There is one.
    """
    for parent, inside, files in os.walk(folder):
        for each in (Path(parent, name) for name in (*inside, *files)):
            if each.is_symlink():
                call.service.roots.refuse_outside(each)
        if not deep:
            return


def _pipeline(call: "Call", place: str) -> dict[str, Any]:
    from cuvis_ai_core.grpc.server.config_resolution import SUFFIXES
    from cuvis_ai_core.pipeline.file.reader import read_config

    own = call.service.settings.configs_dir.resolve() / "pipeline"
    file = call.service.roots.file(place, [*call.session.search_paths, own], SUFFIXES)
    with reading(call.service.roots, file) as held:
        return read_config(held).to_dict()


def _place(call: "Call", text: str) -> str:
    """Return the absolute path of a file, a folder, or a pattern."""
    if not _PATTERN.intersection(text):
        return str(call.service.roots.readable(text, call.session.search_paths))
    parts = Path(text).parts
    fixed = next(number for number, part in enumerate(parts) if _PATTERN.intersection(part))
    if ".." in parts[fixed:]:
        raise ServiceError(f"data.cubes: '{text[:200]}' goes back behind a pattern.", code="PERMISSION_DENIED")
    folder = call.service.roots.readable(str(Path(*parts[:fixed])) if fixed else ".", call.session.search_paths)
    return str(folder.joinpath(*parts[fixed:]))


def _json(content: bytes, what: str) -> dict[str, Any]:
    from cuvis_ai_core.grpc.messages.manifest_json import read_json

    plain: dict[str, Any] = json.loads(json.dumps(resolve(without_resolvers(read_json(content, what)))))
    return plain
