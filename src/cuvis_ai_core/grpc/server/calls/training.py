"""Training: a trainrun set, trained, watched, stopped, saved, restored."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.manifest_json import read_json
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.call_context import Call, Handler
from cuvis_ai_core.grpc.server.calls.pipelines import save
from cuvis_ai_core.grpc.server.node_state_file import refuse_changed, write_state
from cuvis_ai_core.grpc.server.node_timings import timings_of
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.symlink_races import reading, writing
from cuvis_ai_core.grpc.server.training.capabilities import capabilities
from cuvis_ai_core.grpc.server.training.client_trainruns import check_data, read_trainrun, with_sections
from cuvis_ai_core.grpc.server.training.session_trainings import training_of
from cuvis_ai_core.grpc.server.training.trainer_program import CALIBRATION, GRADIENT, STATISTICAL, Task
from cuvis_ai_core.pipeline.file.lookup import find_weights
from cuvis_ai_core.results.run_record import node_records

if TYPE_CHECKING:
    from cuvis_ai_core.training.config import TrainRunConfig

_PLUGINS: Final = "plugins.yaml"


def set_trainrun(call: Call) -> Any:
    """Set what is trained, and build its pipeline if the session has none."""
    session = call.session
    content = read_json(call.request.config.config_bytes, "trainrun")
    brings_pipeline = content.get("pipeline") is not None
    if brings_pipeline and session.pipeline is not None:
        raise ServiceError(
            "The trainrun brings a pipeline, and the session has one.",
            hint="Leave the pipeline out of the trainrun, or use a new session.",
            code="FAILED_PRECONDITION",
        )
    if not brings_pipeline:
        content = {**content, "pipeline": session.needed_pipeline().to_dict()}
    config = read_trainrun(call, content)
    if brings_pipeline:
        _build(call, session, config)
    session.trainrun = config
    return messages().SetTrainRunConfigResponse(success=True, pipeline_from_config=brings_pipeline)


def train(call: Call) -> Iterator[Any]:
    """Train, and tell of it step by step."""
    from cuvis_ai_core.training.config import DataConfig

    session, service = call.session, call.service
    kind = call.request.trainer_type
    if kind not in {STATISTICAL, GRADIENT, CALIBRATION}:
        raise ServiceError(
            f"There is no trainer of type {kind} here.",
            hint="STATISTICAL is 1, GRADIENT 2, CALIBRATION 3.",
            code="INVALID_ARGUMENT",
        )
    pipeline = session.needed_pipeline()
    config = with_sections(call, _trainrun(session))
    if kind == GRADIENT and config.training is None:
        raise ServiceError("The trainrun has no section 'training'.", code="FAILED_PRECONDITION")
    if isinstance(config.data, DataConfig):
        check_data(call, config.data, session.node_registry.cube_readers())
    # Statistics and thresholds stay in the session; only gradients leave checkpoints.
    results = _results(call, session, config) if kind == GRADIENT else None
    # Counted first: a training that is refused must not leave files.
    with service.training(), tempfile.TemporaryDirectory(prefix="cuvis-training-") as folder:
        task = _task(call, {**config.to_dict(), "pipeline": pipeline.to_dict()}, results, Path(folder))
        yield from training_of(session).run(session, task, call.context)


def get_status(call: Call) -> Any:
    """Say where the training is, also while it runs."""
    return messages().GetTrainStatusResponse(latest_progress=training_of(call.session).latest)


def stop_train(call: Call) -> Any:
    """Stop the training that is under way."""
    accepted = training_of(call.session).stop()
    return messages().StopTrainResponse(
        accepted=accepted, message="The training stops." if accepted else "No training is under way."
    )


def get_capabilities(call: Call) -> Any:  # noqa: ARG001
    """Say which optimizers, schedulers and callbacks there are, and what they take."""
    return capabilities()


def save_trainrun(call: Call) -> Any:
    """Write the trainrun, its plugins and its pipeline, from which RestoreTrainRun and `restore-trainrun` go on."""
    session, request = call.session, call.request
    pipeline, config = session.needed_pipeline(), _trainrun(session)
    from cuvis_ai_core.pipeline.file.writer import to_yaml

    text = request.trainrun_path
    target = call.service.roots.target(text if text.endswith((".yaml", ".yml")) or not text.strip() else f"{text}.yaml")
    beside = target.with_name(f"{target.stem}.pipeline.yaml")
    with writing(call.service.roots, target) as held:
        save(pipeline, held.with_name(beside.name), {})
        weights = find_weights(held.with_name(beside.name))
        if weights is not None and not request.save_weights:
            weights.unlink()
            weights = None
        content = {
            **config.to_dict(),
            "pipeline": pipeline.to_dict(),
            **({"weights": weights.name} if weights else {}),
        }
        if session.plugins:
            content["plugins_path"] = name = f"{target.stem}.{_PLUGINS}"
            entries = {name: each.model_dump(mode="json", exclude_unset=True) for name, each in session.plugins.items()}
            write_atomic(held.with_name(name), to_yaml({"plugins": entries}))
        # The trainrun last: where it is, all that it names is there.
        write_atomic(held, to_yaml(json.loads(json.dumps(content))))
    return messages().SaveTrainRunResponse(
        success=True,
        trainrun_path=str(target),
        pipeline_path=str(beside),
        weights_path=str(target.with_name(weights.name)) if weights else "",
    )


def restore_trainrun(call: Call) -> Any:
    """Build a saved trainrun again, in the session that is named or in a new one."""
    number = call.request.session_id
    session = call.service.sessions.get(number) if number else call.service.sessions.create()
    try:
        with session.turn(call.context.is_active):
            config = _restore(Call(call.service, call.request, call.context, session))
    except BaseException:
        # A session that this call made belongs to nobody if it fails.
        if not number:
            call.service.sessions.close(session.id)
        raise
    trainrun = messages().TrainRunConfig(config_bytes=json.dumps(config.to_dict()).encode())
    return messages().RestoreTrainRunResponse(session_id=session.id, trainrun=trainrun)


def _restore(call: Call) -> "TrainRunConfig":
    from cuvis_ai_core.grpc.server.calls.pipelines import give_weights
    from cuvis_ai_core.grpc.server.calls.plugins import load_manifest
    from cuvis_ai_core.training.trainrun import read_trainrun as read_file

    session, request = call.session, call.request
    path = call.service.roots.file(request.trainrun_path, session.search_paths, (".yaml", ".yml", ""))
    with reading(call.service.roots, path) as held:
        given = read_file(held, config_dirs=[path.parent]).config.to_dict()
    if isinstance(named := given.get("plugins_path"), str):
        load_manifest(call, call.service.roots.file(named, [path.parent]))
    # For this reading alone: what lies beside the file is found, and later calls find as before.
    session.search_paths.insert(0, path.parent)
    try:
        config = read_trainrun(call, given)
    finally:
        session.search_paths.pop(0)
    _build(call, session, config)
    chosen = request.weights_path if request.HasField("weights_path") else config.weights
    if chosen:
        strict = request.strict if request.HasField("strict") else True
        file = call.service.roots.file(chosen, [path.parent])
        with reading(call.service.roots, file) as held:
            give_weights(session.needed_pipeline(), held, strict=strict)
    session.trainrun = config
    return config


def _build(call: Call, session: Session, config: "TrainRunConfig") -> None:
    from cuvis_ai_core.training.trainrun import TrainRun
    from cuvis_ai_core.training.trainrun_pipeline import build_pipeline

    assert isinstance(config.pipeline, dict)
    call.service.check_nodes(session.node_registry, config.pipeline)
    weights = config.initial_weights
    with reading(call.service.roots, Path(weights)) if weights else nullcontext() as held:
        found = config if held is None else config.model_copy(update={"initial_weights": str(held)})
        session.set_pipeline(build_pipeline(TrainRun(found, Path("trainrun.yaml")), session.node_registry))


def _trainrun(session: Session) -> "TrainRunConfig":
    if session.trainrun is None:
        raise ServiceError(
            "The session has no trainrun.", hint="Call SetTrainRunConfig first.", code="FAILED_PRECONDITION"
        )
    found: TrainRunConfig = session.trainrun
    return found


def _task(call: Call, trainrun: Mapping[str, Any], results: Path | None, folder: Path) -> Task:
    """Return what a process is told of a training."""
    session, registry = call.session, call.session.node_registry
    timings = timings_of(session)
    pipeline = session.needed_pipeline()
    refuse_changed(pipeline, session.sources)
    return Task(
        # Plain data: it goes to a process that has none of these classes.
        trainrun=json.loads(json.dumps(trainrun)),
        trainer=call.request.trainer_type,
        state=write_state(pipeline, folder / "begins"),
        nodes=json.loads(json.dumps(node_records(registry, pipeline))),
        plugins={name: each.model_dump(mode="json", exclude_unset=True) for name, each in session.plugins.items()},
        cache_dir=str(registry.get_cache_dir()),
        discover=call.service.discovers,
        results=None if results is None else str(results),
        folder=str(folder),
        base=str(call.service.settings.working_directory),
        skip=timings.skip if timings.enabled else None,
    )


def _results(call: Call, session: Session, config: "TrainRunConfig") -> Path:
    """Return the folder of the results: that of the trainrun, or one that goes with the session."""
    if call.service.roots.write:
        return call.service.roots.target(config.output_dir)
    if "folder" not in session.extras:
        folder = session.extras["folder"] = Path(tempfile.mkdtemp(prefix="cuvis-session-"))
        session.at_end.append(partial(remove_tree, folder))
    found: Path = session.extras["folder"]
    return found


CALLS: Final[Mapping[str, Handler]] = {
    "SetTrainRunConfig": set_trainrun,
    "GetTrainStatus": get_status,
    "StopTrain": stop_train,
    "GetTrainingCapabilities": get_capabilities,
    "SaveTrainRun": save_trainrun,
    "RestoreTrainRun": restore_trainrun,
}

STREAMS: Final[Mapping[str, Callable[[Call], Iterator[Any]]]] = {"Train": train}
