"""What published software calls on a pipeline, each in terms of `Pipeline`; `Pipeline` derives from this room."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from cuvis_ai_core.node.torch_modules import is_module
from cuvis_ai_core.pipeline.file.published_keys import in_published_spelling
from cuvis_ai_core.pipeline.published_profiling import ProfiledMethods

if TYPE_CHECKING:
    from cuvis_ai_schemas.pipeline import PipelineConfig

    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry


class PublishedMethods(ProfiledMethods):
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
            strict_weight_loading: Whether every node's weights have to fit; else keys that do are taken, and others are
                logged. A node that refuses a shape is as it was built.
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
            # Published programs hand over a `torch.device` as well.
            "device": str(device or "cpu"),
            "overrides": as_texts(config_overrides or ()),
        }
        weights = Path(weights_path) if weights_path else None
        if strict_weight_loading:
            return cast("Self", load(config_path, weights=weights, **options))
        found = weights or find_weights(Path(config_path))
        pipeline = load(config_path, beside=False, **options)
        if found is not None:
            pipeline._restore_weights_from_checkpoint(found, strict_weight_loading=False)
            pipeline.prepare_inference()
        return cast("Self", pipeline)

    def _restore_weights_from_checkpoint(
        self,
        path: str | Path,
        strict_weight_loading: bool = True,
        device: str | None = None,
    ) -> list[str]:
        """Take over weights, and return the names of nodes that have some, and for which the file has none."""
        from cuvis_ai_core.pipeline.weights.node_weights import apply_fitting
        from cuvis_ai_core.pipeline.weights.weights_file import read_weights

        pipeline = cast("Pipeline", self)
        state = read_weights(Path(path)).state
        given = list(state)
        if strict_weight_loading:
            pipeline.load_state_dict(state)
        else:
            given = apply_fitting(dict(pipeline.nodes.items()), state)
        if device is not None:
            pipeline.to(str(device))
        return [name for name, node in pipeline.nodes.items() if name not in given and _has_state(node)]

    @staticmethod
    def load_trainer_state(checkpoint_path: str | Path, device: str | None = None) -> dict[str, Any]:
        """Return what a file of a training says beside weights: `metadata`, `optimizer_state`, `scheduler_state`.

        Weights of a checkpoint are taken by `load_weights`.

        Args:
            checkpoint_path: The file, as torch wrote it.
            device: Published argument, which changes nothing: tensors are on the CPU.

        Returns:
            The metadata, which may be empty, and what else of the three is there.

        Raises:
            PipelineError: It cannot be read by torch's rules for weights.
        """
        from cuvis_ai_core.pipeline.weights.torch_file import trainer_state

        del device
        return trainer_state(Path(checkpoint_path))

    def save_to_file(
        self,
        config_path: str | Path,
        validate_nodes: bool = True,
        save_weights: bool = True,
        metadata: Any = None,
    ) -> tuple[Path, Path | None]:
        """Write the pipeline file, and weights beside it, as `save` does, in the published spelling.

        Args:
            config_path: The file.
            validate_nodes: Published argument, which changes nothing: what cannot be written is always an error.
            save_weights: Whether weights are written.
            metadata: Laid over the metadata of the pipeline.

        Returns:
            The file, and that of the weights if there is one.

        Raises:
            PipelineError: As `save`.
        """
        from cuvis_ai_core.pipeline.file.lookup import find_weights
        from cuvis_ai_core.pipeline.file.writer import save_pipeline

        del validate_nodes
        pipeline, path = cast("Pipeline", self), Path(config_path).expanduser()
        more = metadata.model_dump() if hasattr(metadata, "model_dump") else dict(metadata or {})
        save_pipeline(
            path, pipeline, None, content=in_published_spelling(pipeline.to_dict()), metadata=more, weights=save_weights
        )
        return path, find_weights(path)

    def serialize(self) -> "PipelineConfig":
        """Return the content of the pipeline file in the published spelling, without metadata that it does not know."""
        from cuvis_ai_schemas.pipeline import PipelineConfig, PipelineMetadata

        content = in_published_spelling(cast("Pipeline", self).to_dict())
        # The schemas' model forbids further keys, which our files may have.
        known = {
            key: content["metadata"].get(key) for key in PipelineMetadata.model_fields.keys() & content["metadata"]
        }
        kept = {key: content[key] for key in ("nodes", "connections")}
        return PipelineConfig.model_validate({**kept, "metadata": known})

    def visualize(self, format: str = "mermaid", output_path: str | Path | None = None, **_: Any) -> str | Path:
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
        # A number, as torch's own `cuda` takes one.
        name = "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
        return cast("Self", cast("Pipeline", self).to(name))

    def cpu(self) -> Self:
        """Move to the CPU, as `to` does."""
        return cast("Self", cast("Pipeline", self).to("cpu"))

    @property
    def torch_layers(self) -> list[Any]:
        """The nodes that are modules of torch."""
        return list(filter(is_module, cast("Pipeline", self).nodes()))

    def parameters(self, *, recurse: bool = True, require_grad: bool | None = None) -> Iterator[Any]:
        """Yield the parameters of all torch nodes, each once.

        Args:
            recurse: Whether those of the modules in a node are among them.
            require_grad: Only those that need a gradient, or only those that need none; by default both.
        """
        named = self.named_parameters(recurse=recurse, require_grad=require_grad)
        # Weights that are tied have several names.
        return iter({id(parameter): parameter for _, parameter in named}.values())

    def named_parameters(
        self, *, recurse: bool = True, require_grad: bool | None = None, sep: str = "."
    ) -> Iterator[tuple[str, Any]]:
        """Yield the parameters of all torch nodes with their names, `node.parameter`.

        Args:
            recurse: As of `parameters`.
            require_grad: As of `parameters`.
            sep: What stands between the name of a node and that of a parameter.
        """
        for name, node in cast("Pipeline", self).nodes.items():
            for key, parameter in node.named_parameters(recurse=recurse) if is_module(node) else ():
                if require_grad is None or parameter.requires_grad == require_grad:
                    yield f"{name}{sep}{key}", parameter

    def freeze_nodes_by_name(self, names: Iterable[str]) -> None:
        """Freeze nodes.

        Raises:
            PipelineError: There is no node of a name; nothing was changed.
        """
        for node in self._named(names):
            node.freeze()

    def unfreeze_nodes_by_name(self, node_names: Iterable[str]) -> None:
        """Unfreeze nodes.

        Raises:
            PipelineError: There is no node of a name; nothing was changed.
        """
        for node in self._named(node_names):
            node.unfreeze()

    def _named(self, names: Iterable[str]) -> list[Any]:
        from cuvis_ai_core._nearest import did_you_mean
        from cuvis_ai_core.errors import PipelineError

        nodes, wanted = cast("Pipeline", self).nodes, list(names)
        for name in wanted:
            if name not in nodes:
                raise PipelineError(
                    f"The pipeline has no node '{name}'.{did_you_mean(name, nodes.keys())}",
                    hint=f"Nodes of this pipeline: {', '.join(nodes.keys())}.",
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

    def prepare_inference(self) -> None:
        """Have nodes make what inference needs of their weights and device, in the order in which they run.

        Loading does so by itself, when all is in its place; a program that gives weights to nodes in other ways calls
        it.

        Raises:
            NodeRunError: A node failed.
        """
        from cuvis_ai_core.pipeline.node_lifecycle import prepare_nodes

        prepare_nodes(cast("Pipeline", self))

    def freeze_structure(self, owner: str) -> None:
        """Refuse `connect` and `add` from now on, until `unfreeze_structure` or `close`.

        `GradientTrainer` does so: a node that joined in later would not be trained, and its weights not be kept.

        Args:
            owner: Who says so, for the error.
        """
        cast("Pipeline", self)._structure_of = owner

    def unfreeze_structure(self) -> None:
        """Allow `connect` and `add` again."""
        cast("Pipeline", self)._structure_of = None

    @property
    def structure_frozen_by(self) -> str | None:
        """Who refuses `connect` and `add`; None where nobody does."""
        return cast("Pipeline", self)._structure_of

    def move_batch_to_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of a batch whose tensors are on the device of the pipeline; all else in it is as it was."""
        import torch

        device = cast("Pipeline", self).device
        return {key: each.to(device) if isinstance(each, torch.Tensor) else each for key, each in batch.items()}


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
