"""What published software calls on a pipeline, each in terms of `Pipeline`; `Pipeline` derives from this room."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from cuvis_ai_core.node.base import stage_name
from cuvis_ai_core.node.libraries import is_module

if TYPE_CHECKING:
    from cuvis_ai_schemas.pipeline import NodeProfilingStats, PipelineConfig

    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.pipeline.published_timings import Timings
    from cuvis_ai_core.registry import NodeRegistry

_TIMINGS = "published timings"


class PublishedMethods:
    """The published methods of a pipeline. New programs call the methods that these name."""

    __slots__ = ()

    @classmethod
    def load_pipeline(
        cls,
        config_path: str | Path,
        weights_path: str | Path | None = None,
        strict_weight_loading: bool = True,
        device: str | None = None,
        config_overrides: Sequence[str] | Mapping[str, Any] | None = None,
        node_registry: "NodeRegistry | None" = None,
    ) -> Self:
        """Build a pipeline from a file, as `load` does.

        Args:
            config_path: The pipeline file.
            weights_path: The weights; by default those beside it.
            strict_weight_loading: Whether every node's weights have to fit; else what does not is left out.
            device: Where torch nodes compute.
            config_overrides: Each `key.path=value`, or a mapping that is laid over the file.
            node_registry: Where classes come from.

        Raises:
            PipelineError: As `load`.
            NodeNotFoundError: As `load`.
        """
        from cuvis_ai_core.pipeline.file.lookup import find_weights
        from cuvis_ai_core.pipeline.file.overrides import as_texts

        load = cast("type[Pipeline]", cls).load
        options: dict[str, Any] = {
            "node_registry": node_registry,
            "device": str(device or "cpu"),
            "overrides": as_texts(config_overrides or ()),
        }
        weights = Path(weights_path) if weights_path else None
        if strict_weight_loading:
            return cast("Self", load(config_path, weights=weights, **options))
        found = weights or find_weights(Path(config_path))
        pipeline = load(config_path, beside=False, **options)
        if found is not None:
            pipeline._restore_weights_from_checkpoint(found, strict_weight_loading=False)  # noqa: SLF001
        return cast("Self", pipeline)

    def _restore_weights_from_checkpoint(
        self,
        path: str | Path,
        strict_weight_loading: bool = True,
        device: str | None = None,
    ) -> list[str]:
        """Take over weights, and return the names of nodes that have some, and for which the file has none."""
        from cuvis_ai_core.pipeline.weights.node_weights import apply_fitting, apply_state
        from cuvis_ai_core.pipeline.weights.weights_file import read_weights

        pipeline = cast("Pipeline", self)
        state = read_weights(Path(path)).state
        given = list(state)
        if strict_weight_loading:
            apply_state(pipeline.nodes, state, restore=True)
        else:
            given = apply_fitting(pipeline.nodes, state)
        if device is not None:
            pipeline.to(str(device))
        return [name for name, node in pipeline.nodes.items() if name not in given and _has_state(node)]

    def load_trainer_state(self, checkpoint_path: str | Path) -> None:
        """Take over the weights in a checkpoint of Lightning that a training of this pipeline wrote.

        Raises:
            PipelineError: It cannot be read by torch's rules for weights, or does not fit the nodes.
        """
        from cuvis_ai_core.pipeline.weights.node_weights import apply_state
        from cuvis_ai_core.pipeline.weights.weights_file import read_checkpoint

        nodes = cast("Pipeline", self).nodes
        apply_state(nodes, read_checkpoint(Path(checkpoint_path), nodes), restore=True)

    def save_to_file(
        self,
        config_path: str | Path,
        save_weights: bool = True,
        metadata: Any = None,
        **_: Any,
    ) -> tuple[Path, Path | None]:
        """Write the pipeline file, and weights beside it, as `save` does, in the published spelling.

        Args:
            config_path: The file.
            save_weights: Whether weights are written.
            metadata: Laid over the metadata of the pipeline.

        Returns:
            The file, and that of the weights if there is one.

        Raises:
            PipelineError: As `save`.
        """
        from cuvis_ai_core.pipeline.file.lookup import find_weights
        from cuvis_ai_core.pipeline.file.writer import save_pipeline

        pipeline, path = cast("Pipeline", self), Path(config_path).expanduser()
        more = metadata.model_dump() if hasattr(metadata, "model_dump") else dict(metadata or {})
        save_pipeline(path, pipeline, None, content=_published_spelling(pipeline), metadata=more, weights=save_weights)
        return path, find_weights(path)

    def serialize(self) -> "PipelineConfig":
        """Return the content of the pipeline file in the published spelling, without metadata that it does not know."""
        from cuvis_ai_schemas.pipeline import PipelineConfig, PipelineMetadata

        content = _published_spelling(cast("Pipeline", self))
        # The schemas' model forbids further keys, which our files may have.
        known = {
            key: content["metadata"].get(key) for key in PipelineMetadata.model_fields.keys() & content["metadata"]
        }
        kept = {key: content[key] for key in ("nodes", "connections")}
        return PipelineConfig.model_validate({**kept, "metadata": known})

    def visualize(self, format: str = "mermaid", output_path: str | Path | None = None, **_: Any) -> str | Path:  # noqa: A002
        """Draw the graph; options of the published drawings are left alone.

        Args:
            format: `graphviz` or `mermaid` give a text, `render_graphviz` and `render_mermaid` write `output_path`.
            output_path: The picture.

        Returns:
            The text, or the path.

        Raises:
            ValueError: There is no such format, or no path for it.
        """
        from cuvis_ai_core.pipeline.visualizer import drawing_of

        return drawing_of(cast("Pipeline", self), format, output_path)

    def verify(self) -> None:
        """Return: a pipeline is checked whenever something is connected."""

    def cleanup(self) -> None:
        """Have nodes let go of what they hold, as `close` does."""
        cast("Pipeline", self).close()

    def cuda(self, device: int | str | None = None) -> Self:
        """Move to a GPU, as `to` does.

        Raises:
            PipelineError: There is none.
        """
        name = "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
        return cast("Self", cast("Pipeline", self).to(name))

    def cpu(self) -> Self:
        """Move to the CPU, as `to` does."""
        return cast("Self", cast("Pipeline", self).to("cpu"))

    @property
    def torch_layers(self) -> list[Any]:
        """The nodes that are modules of torch."""
        return list(filter(is_module, cast("Pipeline", self).nodes()))

    def parameters(self) -> Iterator[Any]:
        """Yield the parameters of all torch nodes."""
        return (parameter for _, parameter in self.named_parameters())

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Yield them with their names, `node.parameter`."""
        for name, node in cast("Pipeline", self).nodes.items():
            if is_module(node):
                yield from ((f"{name}.{key}", parameter) for key, parameter in node.named_parameters())

    def freeze_nodes_by_name(self, names: Iterable[str]) -> None:
        """Freeze nodes.

        Raises:
            PipelineError: There is no node of a name; nothing was changed.
        """
        for node in self._named(names):
            node.freeze()

    def unfreeze_nodes_by_name(self, names: Iterable[str]) -> None:
        """Unfreeze nodes.

        Raises:
            PipelineError: There is no node of a name; nothing was changed.
        """
        for node in self._named(names):
            node.unfreeze()

    def _named(self, names: Iterable[str]) -> list[Any]:
        from cuvis_ai_core._nearest import did_you_mean
        from cuvis_ai_core.errors import PipelineError

        nodes, wanted = cast("Pipeline", self).nodes, list(names)
        for name in wanted:
            if name not in nodes:
                raise PipelineError(
                    f"The pipeline has no node '{name}'.{did_you_mean(name, nodes)}",
                    hint=f"Nodes of this pipeline: {', '.join(nodes)}.",
                    node=name,
                )
        return [nodes[name] for name in wanted]

    def get_input_specs(self) -> dict[str, dict[str, Any]]:
        """Return the inputs that no edge feeds, by port: `name`, `dtype`, `shape`, `required`, `description`."""
        pipeline = cast("Pipeline", self)
        fed = {(edge.target, edge.target_port) for edge in pipeline.edges}
        return {
            port: _spec(port, each, type(pipeline.nodes[node]).INPUT_SPECS)
            for node, ports in pipeline.inputs.items()
            for port, each in ports.items()
            if (node, port) not in fed
        }

    def get_output_specs(self) -> dict[str, dict[str, Any]]:
        """Return all outputs by `node.port`: `name`, `dtype`, `shape`, `required`, `description`."""
        pipeline = cast("Pipeline", self)
        return {
            f"{node}.{port}": _spec(port, each, type(pipeline.nodes[node]).OUTPUT_SPECS)
            for node, ports in pipeline.outputs.items()
            for port, each in ports.items()
        }

    def set_profiling(self, enabled: bool = True, *, reset: bool = False, **_: Any) -> None:
        """Take the times of nodes from now on, or no longer.

        Args:
            enabled: Whether.
            reset: Whether the times so far are forgotten.
        """
        from cuvis_ai_core.pipeline.published_timings import Timings

        pipeline = cast("Pipeline", self)
        timings = self._timings() or Timings(pipeline.name)
        if reset:
            timings.forget()
        timings.enabled = enabled
        if self._timings() is None:
            pipeline._observe(timings, _TIMINGS)  # noqa: SLF001

    def get_profiling_summary(self, stage: Any = None) -> "list[NodeProfilingStats]":
        """Return the times of nodes, in milliseconds, the slowest first; of one stage, or of all."""
        timings = self._timings()
        wanted = None if stage is None else stage_name(stage)
        return [] if timings is None else timings.summary(wanted)

    def format_profiling_summary(self, stage: Any = None) -> str:
        """Return these times as a table."""
        from cuvis_ai_core.pipeline.published_timings import as_table

        return as_table(self.get_profiling_summary(stage))

    def _timings(self) -> "Timings | None":
        return cast("Pipeline", self)._observed_by(_TIMINGS)  # type: ignore[no-any-return] # noqa: SLF001


def _published_spelling(pipeline: "Pipeline") -> dict[str, Any]:
    """Return the content of the pipeline file with the published keys: `hparams`, `connections`."""
    content = pipeline.to_dict()
    nodes = [{"hparams" if key == "params" else key: value for key, value in each.items()} for each in content["nodes"]]
    renamed = {"connections" if key == "edges" else key: value for key, value in content.items()}
    return {**renamed, "nodes": nodes}


def _has_state(node: Any) -> bool:
    """Tell whether a file could have anything of a node: torch keeps no sums of metrics, and no plain attributes."""
    return bool(getattr(node, "state_dict", dict)())


def _spec(name: str, resolved: Any, declared: Mapping[str, Any]) -> dict[str, Any]:
    spec = declared.get(name)
    # Variadic ports were declared as lists before 0.5 of the schemas.
    spec = spec[0] if isinstance(spec, list) and spec else spec
    description = spec.get("description", "") if isinstance(spec, Mapping) else getattr(spec, "description", "")
    return {
        "name": name,
        "dtype": resolved.port.dtype,
        "shape": list(resolved.sizes),
        "required": not resolved.port.optional,
        "description": description,
    }
