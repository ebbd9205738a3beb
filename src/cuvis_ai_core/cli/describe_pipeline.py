"""One pipeline for people: nodes, ports, edges, and what must be handed in."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.cli.describe_node import note
from cuvis_ai_core.cli.origin import origin_of
from cuvis_ai_core.cli.output import say
from cuvis_ai_core.cli.tables import print_table

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry


def print_pipeline(registry: "NodeRegistry", pipeline: "Pipeline", file: Path) -> None:
    """Print the description of a pipeline."""
    description = " ".join(str(pipeline.metadata.get("description") or "").split())
    say(f"{pipeline.name}: {description}" if description else pipeline.name)
    say(f"{file}\n")
    print_table(("", "node", "class", "plugin"), _node_rows(registry, pipeline), title="Nodes, in running order")
    say()
    print_table(("port", "direction", "type", "note"), _port_rows(pipeline), title="Ports")
    say("\nEdges:" + ("" if pipeline.edges else " none"))
    for edge in pipeline.edges:
        say(f"  {edge}")
    _print_required(pipeline)


def _node_rows(registry: "NodeRegistry", pipeline: "Pipeline") -> Iterator[tuple[str, str, str, str]]:
    for number, name in enumerate(pipeline.order, 1):
        node_class = type(pipeline.nodes[name])
        yield str(number), name, registry.public_path(node_class), str(origin_of(registry, node_class))


def _port_rows(pipeline: "Pipeline") -> Iterator[tuple[str, str, str, str]]:
    for name in pipeline.order:
        for direction, ports in (("in", pipeline.inputs[name]), ("out", pipeline.outputs[name])):
            for resolved in ports.values():
                yield resolved.name, direction, str(resolved), note(resolved.port) or "-"


def _print_required(pipeline: "Pipeline") -> None:
    required = pipeline.required_inputs()
    say("\nTo be handed in:" + ("" if required else " nothing"))
    for resolved in required.values():
        say(f"  {resolved.name}: {resolved}")
    strange = sorted({port for _, port in required} - {"cube", "wavelengths"})
    if strange:
        say(
            f"A cube (--cube-path) gives 'cube' and 'wavelengths' only; {', '.join(map(repr, strange))} needs an edge, "
            "or Python: pipeline.forward(batch=...)."
        )
