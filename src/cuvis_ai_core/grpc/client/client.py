"""A client for people: `with Client("localhost:50051") as client: client.load_pipeline("p.yaml"); client.run(cube)`."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cuvis_ai_core.errors import PortError, ServiceError
from cuvis_ai_core.grpc.client.cancellable_calls import waited_for
from cuvis_ai_core.grpc.client.channel import LARGEST, Again, authorization, open_channel
from cuvis_ai_core.grpc.client.training_progress import Progress, progress_of
from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, wire
from cuvis_ai_core.grpc.messages.tensors import to_array, why_not
from cuvis_ai_core.grpc.missing_extra import explain_missing
from cuvis_ai_core.grpc.shared_memory.client_tensors import ClientTensors
from cuvis_ai_core.grpc.shared_memory.lent_memory import Lent

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

_FIELDS: Final = frozenset({"wavelengths", "cube", "mask", "mesu_index", "rgb_image", "frame_id"})
_KINDS: Final = {"statistical": 1, "gradient": 2, "calibration": 3}
_HERE: Final = ("localhost", "127.", "[::1]", "unix:")


class Client:
    """A session on a server; a context manager that closes it.

    Arrays travel by shared memory where client and server are on one machine. What the server refuses is raised here as
    the error that it is there, with the gRPC status in `code`.

    Args:
        address: `host:port`, or `unix:/path`.
        token: Sent as `authorization: Bearer …`.
        root_certificates: PEM of the authorities that the server's certificate is checked with; given, TLS is used.
        certificate: PEM of a client certificate, with its key.
        timeout: Seconds that a call may take; a training may take as long as it does.
        shared_memory: Whether large arrays travel by shared memory; by default where the server is on this machine.

    Raises:
        MissingExtraError: The extra `grpc` is not installed.
        ServiceError: There is no server, or it refuses.
    """

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        token: str | None = None,
        root_certificates: bytes | None = None,
        certificate: tuple[bytes, bytes] | None = None,
        timeout: float = 600.0,
        shared_memory: bool | None = None,
    ) -> None:
        with explain_missing():
            import grpc
        self._wire = wire()
        self._timeout = timeout
        self._address = address
        self._metadata = authorization(token)
        self._channel = open_channel(grpc, address, root_certificates, certificate)
        near = address.startswith(_HERE) if shared_memory is None else shared_memory
        self._tensors = ClientTensors(lambda: self.session_id, LARGEST, near=near)
        self._closed = False
        try:
            self.session_id: str = self._call("CreateSession").session_id
        except BaseException:
            self._channel.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the session; what the server held for it is freed. Once more is no error."""
        if self._closed:
            return
        self._closed = True
        try:
            self._call("CloseSession", session_id=self.session_id)
        # A session that is gone, or a server, is closed already.
        except ServiceError as error:
            if error.code not in {"NOT_FOUND", "UNAVAILABLE"}:
                raise
        finally:
            self._tensors.close()
            self._channel.close()

    def load_plugins(self, manifest: str | Path) -> list[str]:
        """Load the plugins of a manifest of this machine, and return their names; paths in it are the server's.

        Raises:
            ManifestError: The manifest cannot be read.
            ServiceError: Some failed; the text says why, the others stay loaded.
        """
        from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

        plugins = read_manifest(Path(manifest)).plugins
        # Only what was given: defaults are the server's, which may be of another version.
        entries = {name: each.model_dump(mode="json", exclude_unset=True) for name, each in plugins.items()}
        sent = self._wire.messages.PluginManifest(config_bytes=json.dumps({"plugins": entries}).encode())
        answer = self._ask("LoadPlugins", manifest=sent)
        if answer.failed_plugins:
            words = "\n".join(f"{name}: {text}" for name, text in answer.failed_plugins.items())
            raise ServiceError(f"Plugins failed to load on the server.\n{words}", code="FAILED_PRECONDITION")
        return list(answer.loaded_plugins)

    def nodes(self) -> list[str]:
        """Return the full paths of all nodes of the session."""
        answer = self._ask("ListAvailableNodes", metadata=[("cuvis-schemas", "0.14")])
        return [node.full_path for node in answer.nodes]

    def load_pipeline(
        self,
        pipeline: str | Path | Mapping[str, Any],
        *,
        overrides: Sequence[str] = (),
        weights: str | Path | None = None,
    ) -> None:
        """Build a pipeline on the server, from a file of this machine with the weights beside it, or from its content.

        Raises:
            PipelineError: Something in it breaks a rule, here or there.
            NodeNotFoundError: The session has no such node class.
        """
        from cuvis_ai_core.pipeline.file.lookup import find_weights
        from cuvis_ai_core.pipeline.file.overrides import override
        from cuvis_ai_core.pipeline.file.reader import parse_config, read_config

        if isinstance(pipeline, Mapping):
            content = parse_config(override(pipeline, overrides)).to_dict()
        else:
            path = Path(pipeline).expanduser()
            content, weights = read_config(path, overrides).to_dict(), weights or find_weights(path)
        config = self._wire.messages.PipelineConfig(config_bytes=json.dumps(content).encode())
        self._ask("LoadPipeline", pipeline=config)
        if weights is not None:
            self._ask("LoadPipelineWeights", weights_bytes=Path(weights).read_bytes())

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Return what is handed in: name to shape, -1 for any size."""
        specs = self._ask("GetPipelineInputs").input_specs
        return {name: tuple(specs[name].shape) for name in specs}

    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Return what comes out: `node.port` to shape, -1 for any size."""
        specs = self._ask("GetPipelineOutputs").output_specs
        return {name: tuple(specs[name].shape) for name in specs}

    def run(
        self,
        cube: "Cube | NDArray[Any] | None" = None,
        *,
        outputs: Sequence[str] = (),
        **inputs: Any,
    ) -> dict[str, Any]:
        """Run the pipeline once.

        Args:
            cube: A cube, as `read_cube` gives it, or an array `[batch, height, width, channel]`.
            outputs: Those that are wanted, `node.port` or the bare port; by default all.
            inputs: Further inputs by their names; a text is the prompt.

        Returns:
            `node.port` to an array, or to a number.

        Raises:
            PortError: Something does not fit the pipeline, or is missing.
            NodeRunError: A node failed.
        """
        given = _batch_of(cube)
        try:
            return self._run({**given, **inputs}, outputs)
        except ServiceError as error:
            # A loopback address says nothing: a forwarded port, or a container, is another machine's memory.
            if not self._tensors.in_memory or error.code != "UNIMPLEMENTED":
                raise
        self._tensors.in_memory = False  # the two share a machine, and no memory: one of them is in a container
        return self._run({**given, **inputs}, outputs)

    def _run(self, values: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
        told: dict[str, str] = {}
        with self._tensors.call() as lent:
            batch = self._batch(values, lent)
            answer = self._ask(
                "Inference", metadata=self._tensors.metadata(), told=told, inputs=batch, output_specs=outputs
            )
            self._tensors.keep(told)
            arrays = {name: self._tensors.read(name, each, lent) for name, each in answer.outputs.items()}
            return {**arrays, **answer.metrics}

    def empty(self, shape: Sequence[int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return an array to fill and to run: where memory is shared, the server reads it without any copy.

        Args:
            shape: Its sizes.
            dtype: Of its values, which are any until they are written.
        """
        return self._tensors.empty(tuple(shape), dtype)

    def train(
        self, trainrun: Mapping[str, Any] | str | Path | None = None, *, kind: str = "gradient"
    ) -> Generator[Progress, None, None]:
        """Train, and yield how far it is; a caller that stops asking stops the training.

        Args:
            trainrun: The content of a trainrun, or its file on this machine, whose paths are the server's; by default
                what was set before.
            kind: `statistical`, `gradient`, or `calibration` for the thresholds of what is trained already.

        Raises:
            TrainRunError: Something in it breaks a rule.
            TrainingError: The training failed.
        """
        if trainrun is not None:
            self.set_trainrun(trainrun)
        stream = self._stream("Train", trainer_type=_KINDS[kind])
        try:
            with self._errors():
                yield from map(progress_of, stream)
        finally:
            # Else a training that nobody watches would go on to its end.
            stream.cancel()

    def set_trainrun(self, trainrun: Mapping[str, Any] | str | Path) -> None:
        """Say what is trained; a trainrun that brings a pipeline builds it."""
        if not isinstance(trainrun, Mapping):
            from cuvis_ai_core.training.hydra_defaults import compose, load_document

            path = Path(trainrun).expanduser()
            trainrun = compose(path, load_document(path))
        config = self._wire.messages.TrainRunConfig(config_bytes=json.dumps(dict(trainrun)).encode())
        self._ask("SetTrainRunConfig", config=config)

    def training_status(self) -> Progress:
        """Return where the training is, also while it runs."""
        return progress_of(self._ask("GetTrainStatus").latest_progress)

    def stop_training(self) -> bool:
        """Stop the training that is under way, and return whether there is one."""
        return bool(self._ask("StopTrain").accepted)

    def save_pipeline(self, path: str) -> str:
        """Have the server write the pipeline and its weights, and return where."""
        return str(self._ask("SavePipeline", pipeline_path=path).pipeline_path)

    @contextmanager
    def profiled(self) -> Generator[list[dict[str, Any]], None, None]:
        """Take the time of each node of what runs meanwhile; the list has it, in seconds, when the context is left."""
        times: list[dict[str, Any]] = []
        self._ask("SetProfiling", enabled=True, reset=True)
        try:
            yield times
            times.extend(
                {
                    "node": each.node_name,
                    "calls": each.count,
                    "total_seconds": each.total_ms / 1e3,
                    "mean_seconds": each.mean_ms / 1e3,
                }
                for each in self._ask("GetProfilingSummary").node_stats
            )
        finally:
            self._ask("SetProfiling", enabled=False)

    def draw(self, kind: str = "svg") -> bytes:
        """Return a picture of the graph: `png`, `svg`, `dot` or `mermaid`."""
        return bytes(self._ask("GetPipelineVisualization", format=kind).image_data)

    # Messages.

    def _ask(self, name: str, **fields: Any) -> Any:
        return self._call(name, session_id=self.session_id, **fields)

    def _call(
        self,
        name: str,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        told: dict[str, str] | None = None,
        **fields: Any,
    ) -> Any:
        method = self._wire.methods[name]
        call = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        request, given = method.request(**fields), [*self._metadata, *metadata]
        with self._errors():
            if (calls := waited_for.get()) is None:
                answer, ended = call.with_call(request, timeout=self._timeout, metadata=given)
            else:
                ended = calls.add(call.future(request, timeout=self._timeout, metadata=given))
                answer = ended.result()
            if told is not None:
                told.update(ended.trailing_metadata() or ())
            return answer

    def _stream(self, name: str, **fields: Any) -> Any:
        method = self._wire.methods[name]
        call = self._channel.unary_stream(
            f"/{SERVICE}/{name}",
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        stream = call(method.request(session_id=self.session_id, **fields), metadata=self._metadata)
        calls = waited_for.get()
        return stream if calls is None else calls.add(stream)

    def _batch(self, values: Mapping[str, Any], lent: Lent) -> Any:
        batch = self._wire.messages.InputBatch()
        for name, value in values.items():
            if isinstance(value, str):
                batch.text_prompt = value
                continue
            # Before anything is lent: what cannot be sent must not leave memory lent.
            array = to_array(value)
            if array is None:
                raise TypeError(f"'{name}' is {why_not(value)}.")
            self._tensors.write(getattr(batch, name) if name in _FIELDS else batch.extra_inputs[name], array, lent)
        return batch

    def _errors(self) -> Again:
        return Again(self._address)


def _batch_of(cube: Any) -> dict[str, Any]:
    if cube is None or _is_array(cube):
        return {} if cube is None else {"cube": cube}
    if not hasattr(cube, "batch"):
        raise PortError(
            f"Client.run got a {type(cube).__name__} as its cube; that is a Cube, or an array "
            "[batch, height, width, channel].",
            hint="Give inputs by their names: client.run(**inputs).",
            node="",
        )
    return dict(cube.batch())


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")
