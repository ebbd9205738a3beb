"""Thresholds after a training: nodes that can be calibrated are, by what comes out for the data to validate on."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.node.array_libraries import converter_of
from cuvis_ai_core.node.base import overrides
from cuvis_ai_core.node.proxy_nodes import is_elsewhere
from cuvis_ai_core.training.evaluation_mode import evaluating

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

METHOD: Final = "calibrate"
"""A node that has this method takes scores and the mask, changes its own hyper-parameters, and returns a report."""

_SCORES: Final = "logits"
_TARGETS: Final = "mask"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What became of the thresholds of one node.

    Attributes:
        node: Its name.
        report: What the node says; nothing where it was left as it was.
        skipped: Why it was left as it was, in words; empty where it was not.
        reason: The same as a word of the protocol, as in `NO_SCORES`.
    """

    node: str
    report: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""
    reason: str = "NONE"

    @property
    def thresholds(self) -> dict[str, tuple[float, float]]:
        """Name to the value before and after."""
        changed = {name: each for name, each in self.report.items() if isinstance(each, dict) and {*each} >= {"new"}}
        return {name: (float(each.get("old") or 0), float(each["new"])) for name, each in changed.items()}

    @property
    def metrics(self) -> dict[str, float]:
        """What the node measured, by name; integers are what it counted."""
        measured = {name: each for name, each in self.report.items() if not isinstance(each, Integral)}
        return {name: float(each) for name, each in measured.items() if isinstance(each, Real)}

    def record(self) -> dict[str, Any]:
        """Return it as plain values for a record in JSON, which has neither NaN nor infinities."""
        changes = {
            name: {"before": _finite(old), "after": _finite(new)} for name, (old, new) in self.thresholds.items()
        }
        metrics = {name: _finite(each) for name, each in self.metrics.items()}
        return {"thresholds": changes, "metrics": metrics, "skipped": self.skipped or None}

    def words(self) -> str:
        """Return it as a line for people."""
        if self.skipped:
            return f"{self.node}: left as it was: {self.skipped}"
        changes = [f"{name} {old:.6g} -> {new:.6g}" for name, (old, new) in self.thresholds.items()]
        return f"{self.node}: {', '.join(changes) or 'calibrated'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the thresholds of a pipeline.

    Attributes:
        nodes: Each node that can be calibrated.
        frames: How many images were looked at.
        marked: How many of them have marked pixels.
        skipped: Why nothing was done at all, in words; empty where something was.
        reason: The same as a word of the protocol, as in `NO_SPLIT`.
    """

    nodes: tuple[Calibrated, ...] = ()
    frames: int = 0
    marked: int = 0
    skipped: str = ""
    reason: str = "NONE"

    def record(self) -> dict[str, Any]:
        """Return it as plain values for a record in JSON."""
        about = {"images": self.frames, "marked_images": self.marked, "skipped": self.skipped or None}
        return {**about, "nodes": {each.node: each.record() for each in self.nodes}}

    def lines(self) -> list[str]:
        """Return it as lines for people."""
        return [self.skipped] if self.skipped else [each.words() for each in self.nodes]


def calibratable(pipeline: "Pipeline", frozen: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of the nodes that can be calibrated, but for those that are to stay as they are."""
    nodes = pipeline.nodes.items()
    return tuple(name for name, node in nodes if name not in frozen and overrides(type(node), METHOD))


def calibrate(pipeline: "Pipeline", batches: Iterable[Mapping[Any, Any]], frozen: Collection[str] = ()) -> Outcome:
    """Have the nodes that can be calibrated choose their thresholds, by scores and masks of data to validate on.

    Nothing that goes wrong here ends a training: what cannot be calibrated stays as it was, and is said.

    Args:
        pipeline: What was trained.
        batches: The data to validate on; their scores are in memory together.
        frozen: Names of nodes that stay as they are.
    """
    names = calibratable(pipeline, frozen)
    masks = [(name, _TARGETS) for name, ports in pipeline.outputs.items() if _is_mask(ports.get(_TARGETS))]
    if not names:
        return Outcome()
    if len(masks) != 1:
        found = ", ".join(".".join(each) for each in masks) or "none"
        skipped = f"thresholds need one output '{_TARGETS}' of booleans in the pipeline; there is {found}"
        return Outcome(skipped=skipped, reason="AMBIGUOUS_MASK")
    sources = {name: _source(pipeline, name) for name in names}
    try:
        values, frames = _collect(pipeline, batches, [masks[0], *filter(None, sources.values())])
    except Exception as error:  # noqa: BLE001 - what was trained stays
        return Outcome(skipped=f"thresholds stay: the pipeline failed: {error}", reason="INFERENCE_FAILED")
    targets = values.get(masks[0])
    if targets is None:
        return Outcome(skipped="thresholds stay: there are no data to validate on", reason="NO_SPLIT")
    marked = int(targets.reshape(len(targets), -1).any(1).sum())
    # A threshold between two classes needs both; libraries answer NaN or raise in one way each.
    if not marked or bool(targets.all()):
        skipped = f"thresholds stay: {'no pixel' if not marked else 'every pixel'} of the data to validate on is marked"
        return Outcome(frames=frames, marked=marked, skipped=skipped, reason="SINGLE_CLASS")
    done = tuple(_calibrated(pipeline, name, source, values, targets) for name, source in sources.items())
    return Outcome(done, frames, marked)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _is_mask(port: Any) -> bool:
    return port is not None and port.port.dtype == "bool"


def _source(pipeline: "Pipeline", name: str) -> tuple[str, str] | None:
    """Return the output that feeds the scores of a node: its input `logits`, or the only one that it has."""
    ports = pipeline.inputs[name]
    wanted = _SCORES if _SCORES in ports else next(iter(ports), None) if len(ports) == 1 else None
    fed = [
        (edge.source, edge.source_port) for edge in pipeline.edges if (edge.target, edge.target_port) == (name, wanted)
    ]
    return fed[0] if len(fed) == 1 else None


def _collect(
    pipeline: "Pipeline", batches: Iterable[Mapping[Any, Any]], ports: list[tuple[str, str]]
) -> tuple[dict[tuple[str, str], Any], int]:
    """Return what outputs gave for all batches, one behind the other, and how many images that are."""
    from cuvis_ai_schemas.enums import ExecutionStage
    from cuvis_ai_schemas.execution import Context

    kept: dict[tuple[str, str], list[Any]] = {}
    with evaluating(pipeline):
        for number, batch in enumerate(batches):
            context = Context(stage=ExecutionStage.VAL, batch_idx=number)
            outputs = pipeline.forward(batch, context=context, keep_ports=list(dict.fromkeys(ports)))
            for port, value in outputs.items():
                if value is not None:
                    kept.setdefault(port, []).append(_kept(value))
    values = {port: _joined(each) for port, each in kept.items()}
    return values, max((len(each) for each in values.values()), default=0)


def _kept(value: Any) -> Any:
    """Return a copy of what a node may write anew for the next batch."""
    # Always a copy: on the CPU `.cpu()` is the tensor itself, and a node may answer with one buffer each time.
    return value.detach().cpu().clone() if hasattr(value, "detach") else value.copy()


def _joined(values: list[Any]) -> Any:
    if hasattr(values[0], "detach"):
        import torch

        return torch.cat(values)
    import numpy as np

    return np.concatenate(values)


def _own(node: Any) -> Callable[[Any], Any]:
    """Return what makes arrays those of a node's library; one in a process of its own has that done there."""
    if is_elsewhere(node):
        return lambda value: value
    return converter_of(node)


def _calibrated(
    pipeline: "Pipeline", name: str, source: tuple[str, str] | None, values: Mapping[tuple[str, str], Any], targets: Any
) -> Calibrated:
    if source is None:
        return Calibrated(name, skipped=f"nothing feeds its input '{_SCORES}'", reason="NOTHING_WIRED")
    scores = values.get(source)
    if scores is None or len(scores) != len(targets):
        return Calibrated(name, skipped=f"'{'.'.join(source)}' gave no scores", reason="NO_SCORES")
    node = pipeline.nodes[name]
    try:
        convert = _own(node)
        report = getattr(node, METHOD)(convert(scores), convert(targets))
        if not isinstance(report, dict):
            return Calibrated(name, skipped="its method 'calibrate' returned no report", reason="NO_REPORT")
        found = Calibrated(name, report)
        found.record()  # raises here, and not after the training, for a threshold that is no number
    except Exception as error:  # noqa: BLE001 - what was trained stays
        return Calibrated(name, skipped=f"{type(error).__name__}: {error}", reason="CALIBRATE_FAILED")
    return found
