"""The first phase of training: nodes that need it learn statistics of the data, streamed."""

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._error_location import place_of, words_of
from cuvis_ai_core.errors import CuvisError, TrainingError, TrainingStoppedError, TrainRunError
from cuvis_ai_core.node.array_libraries import converter, gets_copy, library_of_input
from cuvis_ai_core.pipeline.execution.input_write_errors import line_for_copy, written_by_line
from cuvis_ai_core.pipeline.execution.read_only_inputs import Lent, lend
from cuvis_ai_core.pipeline.execution.value_conversion import as_taken, in_memory, make_cast, without_mask
from cuvis_ai_core.training.batch_step import METRICS, Measuring
from cuvis_ai_core.training.evaluation_mode import evaluating
from cuvis_ai_core.training.named_nodes import names_of
from cuvis_ai_core.training.nan_guard import is_finite
from cuvis_ai_core.training.post_fit import FrameProgress, TrainEvent, TrainHook

if TYPE_CHECKING:
    from threading import Event

    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.training.evaluation import EvaluationSummary

logger = logging.getLogger(__name__)

Batch = Mapping[Any, Any]


class StatisticalTrainer:
    """Initialises nodes from statistics of the data, one after the other in the order in which they run.

    A node that overrides `statistical_initialization` is given a stream of the values at its inputs: for each batch the
    nodes before it run, and nothing is kept. Nodes that have learned already, or whose weights were loaded, are left
    out.

    Args:
        pipeline: The pipeline.
        datamodule: A data module of Lightning, as published software hands it over: batches come from it where none are
            given.
        stop_event: An event that ends the work before the next batch, once it is set.
        metric_nodes: Nodes, or their names, whose metrics `validate` and `test` return; by default all that have some.
        emit: Is told of each node that begins and ends to learn, and after each batch how far it is.

    Raises:
        TrainRunError: There is no such metric node, or it has no output `metrics`.
    """

    def __init__(
        self,
        pipeline: "Pipeline",
        datamodule: Any = None,
        stop_event: "Event | None" = None,
        metric_nodes: Sequence[Any] | None = None,
        emit: "Callable[[TrainEvent], None] | None" = None,
    ) -> None:
        self.pipeline = pipeline
        self.datamodule = datamodule
        self.stop_event = stop_event
        self.emit = emit
        named = _with_metrics(pipeline) if metric_nodes is None else names_of(pipeline, metric_nodes, "metric_nodes")
        self.metric_nodes = Measuring(pipeline, metric_nodes=named).metric_nodes

    @property
    def waiting(self) -> tuple[str, ...]:
        """Names of the nodes that are to be initialised, in the order in which they run."""
        nodes = self.pipeline.nodes
        return tuple(name for name in self.pipeline.order if getattr(nodes[name], "is_to_be_fitted", False))

    def fit(self, batches: Iterable[Batch] | None = None) -> tuple[str, ...]:
        """Initialise all nodes that wait for it.

        Args:
            batches: The data to learn from, gone through once for each node; by default those of the data module.

        Returns:
            Names of the nodes that were initialised.

        Raises:
            TrainRunError: There is no batch.
            TrainingError: A node failed to learn.
            TrainingStoppedError: The event was set.
            PortError: A batch does not fit the pipeline.
            NodeRunError: A node before it failed.
        """
        waiting = self.waiting
        data = self._of_module("fit", "train_dataloader") if batches is None else batches
        # Each by itself: a later one learns from what an earlier one gives once it has learned.
        for name in waiting:
            self._tell(TrainHook.STATISTICAL_NODE_START, name, FrameProgress(0, _total(data)))
            self._fit_node(name, _Watched(self, name, data))
            self._tell(TrainHook.STATISTICAL_NODE_END, name)
        return waiting

    def refuse_stopped(self) -> None:
        """Raise an error if the work is to end.

        Raises:
            TrainingStoppedError: The event was set.
        """
        if self.stop_event is not None and self.stop_event.is_set():
            raise TrainingStoppedError("The training was stopped: its stop_event is set.")

    def _tell(self, hook: TrainHook, node: str, progress: FrameProgress | None = None) -> None:
        if self.emit is not None:
            self.emit(TrainEvent(hook, progress=progress, node=node))

    def told(self, node: str, done: int, total: int) -> None:
        """Tell how many images a node was given."""
        self._tell(TrainHook.STATISTICAL_PROGRESS, node, FrameProgress(done, total))

    def validate(self) -> "EvaluationSummary":
        """Run the pipeline on the data module's batches to validate on, and return what the metric nodes say.

        Raises:
            TrainRunError: There is no data module.
            TrainingStoppedError: The event was set.
            NodeRunError: A node failed.
        """
        return self._run("validate", "val_dataloader", "val")

    def test(self) -> "EvaluationSummary":
        """Run the pipeline on the data module's batches to test on, and return what the metric nodes say.

        Raises:
            TrainRunError: There is no data module.
            TrainingStoppedError: The event was set.
            NodeRunError: A node failed.
        """
        return self._run("test", "test_dataloader", "test")

    def _run(self, stage: str, loader: str, run_stage: str) -> "EvaluationSummary":
        from cuvis_ai_core.training.evaluation import EvaluationSummary, pooled

        frames = 0

        def counted() -> Iterator[Batch]:
            nonlocal frames
            for batch in self._of_module(stage, loader):
                self.refuse_stopped()
                yield batch
                frames += _images_in(batch)

        measuring = Measuring(self.pipeline, metric_nodes=self.metric_nodes)
        found = pooled(measuring, counted(), run_stage).values()
        return EvaluationSummary(found, frames)

    def _of_module(self, stage: str, loader: str) -> Iterable[Batch]:
        if self.datamodule is None:
            raise TrainRunError(
                "There are no batches, and no data module to take them from.",
                hint="Give them: trainer.fit(batches); or StatisticalTrainer(pipeline, datamodule).",
                key="data",
            )
        self.datamodule.prepare_data()
        self.datamodule.setup(stage)
        batches: Iterable[Batch] = getattr(self.datamodule, loader)()
        return batches

    def _fit_node(self, name: str, batches: Iterable[Batch]) -> None:
        node = self.pipeline.nodes[name]
        stream = _Stream(name, self._copied(name), self._inputs(name, batches))
        try:
            with evaluating(self.pipeline):
                node.statistical_initialization(stream)
            stream.refuse_written()
        except CuvisError:
            raise
        except Exception as error:
            place = place_of(error, node)
            written = written_by_line(error, stream.values)
            raise TrainingError(
                f"Node '{name}' ({type(node).__name__}) failed to learn from the data: {words_of(error)}"
                + (f" ({place})" if place else ""),
                hint=written and line_for_copy(*written),
                place=place,
            ) from error
        # A node may ask for no batch; data without one are a mistake.
        if stream.count == 0 and next(iter(batches), None) is None:
            raise TrainRunError(
                f"Node '{name}' is to learn from the data to train on, and there are none.",
                hint="Name the cubes to train on: data.train_ids.",
                key="data",
            )
        node.statistically_initialized = True
        _say_what_is_no_number(name, node, stream)

    def _inputs(self, name: str, batches: Iterable[Batch]) -> Iterator[dict[str, Any]]:
        """Yield the values at the inputs of a node, by port."""
        sources = self._sources(name)
        wanted = [source for several in sources.values() for source in several]
        for batch in batches:
            outputs = self.pipeline.forward(batch, "train", upto_node=name, keep_ports=wanted) if wanted else {}
            yield {
                port: value
                for port, resolved in self.pipeline.inputs[name].items()
                if (value := self._value(name, resolved, sources.get(port), outputs, batch)) is not None
            }

    def _copied(self, name: str) -> list[str]:
        node, ports = self.pipeline.nodes[name], self.pipeline.inputs[name]
        return [port for port, resolved in ports.items() if gets_copy(node, resolved.port)]

    def _sources(self, name: str) -> dict[str, list[tuple[str, str]]]:
        sources: dict[str, list[tuple[str, str]]] = {}
        for edge in self.pipeline.edges:
            if edge.target == name and self.pipeline.nodes[edge.source].should_execute("train"):
                sources.setdefault(edge.target_port, []).append((edge.source, edge.source_port))
        return sources

    def _value(self, name: str, resolved: Any, sources: Any, outputs: Any, batch: Batch) -> Any:
        port = resolved.port
        if sources:
            values = [outputs[source] for source in sources]
            value = values if port.variadic else values[0]
        else:
            keys = ((name, port.name), f"{name}.{port.name}", port.name)
            given = without_mask(next((batch[key] for key in keys if key in batch), None))
            value = as_taken(resolved, in_memory(given) if port.holds_array else given, batch)
        if value is None:
            return None
        cast, library = make_cast(resolved), library_of_input(self.pipeline.nodes[name], port)
        convert = converter(library, self.pipeline.device, port.dtype) if library else lambda each: each
        return [convert(cast(each)) for each in value] if isinstance(value, list) else convert(cast(value))


class _Watched:
    """Batches, before each of which the work may end, and after each of which somebody is told.

    Args:
        trainer: Who knows.
        node: The node that learns.
        batches: The batches.
    """

    def __init__(self, trainer: StatisticalTrainer, node: str, batches: Iterable[Batch]) -> None:
        self._trainer = trainer
        self._node = node
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        done, total = 0, _total(self._batches)
        for batch in self._batches:
            self._trainer.refuse_stopped()
            yield batch
            done += _images_in(batch)
            self._trainer.told(self._node, done, total)


class _Stream(Iterator[dict[str, Any]]):
    """A stream that knows how many batches were taken from it, and looks whether one of them was written.

    Args:
        node: Name of the node that reads it.
        copied: Names of its inputs of which it gets copies that are its own.
        stream: The batches.
    """

    def __init__(self, node: str, copied: Iterable[str], stream: Iterator[dict[str, Any]]) -> None:
        self._node = node
        self._copied = tuple(copied)
        self._stream = stream
        self._lent: list[Lent] = []
        self._kept: list[tuple[weakref.ref[Any], str, tuple[object, ...]]] = []
        self.values: dict[str, Any] = {}
        self.count = 0
        self.with_holes: list[int] = []

    def __next__(self) -> dict[str, Any]:
        self._refuse([*self._lent, *self._still_there(self._kept[: len(self.values)])])
        self.values = {}  # the batch goes before the next one is made
        self._kept += ((weakref.ref(each.tensor), each.port, each.before) for each in self._lent)
        self._lent = []
        self.values = next(self._stream)
        self.count += 1
        if not all(map(is_finite, self.values.values())):
            self.with_holes.append(self.count)
        self._lent = lend(self.values, self._copied)
        return dict(self.values)

    def refuse_written(self) -> None:
        """Refuse that a batch was written, also one that the node has kept since.

        Raises:
            TrainingError: It was.
        """
        self._refuse([*self._lent, *self._still_there(self._kept)])

    def _still_there(self, kept: Iterable[tuple["weakref.ref[Any]", str, tuple[object, ...]]]) -> Iterator[Lent]:
        """Yield those that the node has kept: to sum up in the first of them is a slip that is often made."""
        for found, port, before in kept:
            tensor = found()
            if tensor is not None:
                yield Lent(port, tensor, before)

    def _refuse(self, lent: Iterable[Lent]) -> None:
        for each in lent:
            if each.is_written:
                raise TrainingError(
                    f"Node '{self._node}' writes into its input '{each.port}' while it learns from the data.",
                    hint=line_for_copy(each.port, each.tensor),
                )


def _say_what_is_no_number(name: str, node: Any, stream: _Stream) -> None:
    """Say where a node that was given values that are no numbers has learned some."""
    learned = node.state_dict() if stream.with_holes and hasattr(node, "state_dict") else {}
    bad = [key for key, value in learned.items() if not is_finite(value)]
    if bad:
        logger.warning(
            "node '%s' (%s) has learned values of '%s' that are no numbers: so has batch %d of %d of the data, and it "
            "does not leave them out",
            *(name, type(node).__name__, bad[0], stream.with_holes[0], stream.count),
        )


def _with_metrics(pipeline: "Pipeline") -> tuple[str, ...]:
    return tuple(name for name, ports in pipeline.outputs.items() if METRICS in ports)


def _images_in(batch: Batch) -> int:
    return next((len(each) for each in batch.values() if getattr(each, "ndim", 0)), 1)


def _total(batches: Any) -> int:
    """Return how many images there are, 0 where nobody knows."""
    data: Any = getattr(batches, "dataset", None) or getattr(batches, "numbers", ())
    return len(data) if hasattr(data, "__len__") else 0
