"""One pipeline for people: nodes, ports, edges, and what must be handed in."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.cli.describe_node import note
from cuvis_ai_core.cli.restore.pipeline_options import Options
from cuvis_ai_core.cli.shared.output import say, say_line
from cuvis_ai_core.cli.shared.tables import print_table
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.plugins.allowed_imports import is_importable
from cuvis_ai_core.plugins.hooks.discovery import is_path
from cuvis_ai_core.results.folder import safe_name
from cuvis_ai_core.results.node_origin import origin_of

NOT_LOADED: Final = "not loaded"
_NO_PORTS: Final = "No node has ports. Nodes declare them in INPUT_SPECS and OUTPUT_SPECS; edges name those of others."

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


def describe_pipeline(registry: "NodeRegistry", given: Options) -> None:
    """Print the description of a pipeline, say what of it is not loaded, and draw it where that is asked for.

    Args:
        registry: Where classes come from.
        given: The options of `restore-pipeline`.

    Raises:
        click.ClickException: The picture cannot be written.
        CuvisError: As of `Pipeline.load` and `Pipeline.draw`.
    """
    with given.load(registry, outline=True) as pipeline:
        _print_pipeline(registry, pipeline, given)
        draw_pipeline(pipeline, given)


def _print_pipeline(registry: "NodeRegistry", pipeline: Pipeline, given: Options) -> None:
    description = " ".join(str(pipeline.metadata.get("description") or "").split())
    say_line(f"{pipeline.name}: {description}" if description else pipeline.name)
    say(f"{pipeline.files and pipeline.files.file}\n")
    print_table(("", "node", "class", "plugin"), _node_rows(registry, pipeline), title="Nodes, in running order")
    say()
    print_table(("port", "direction", "type", "note"), _port_rows(pipeline), title="Ports", empty=_NO_PORTS)
    say("\nEdges:" + ("" if pipeline.edges else " none"))
    for edge in pipeline.edges:
        say_line(f"  {edge}")
    _print_required(pipeline)
    # Quoted for a shell: it is there to be copied.
    command = shlex.join(["restore-pipeline", "--pipeline-path", str(given.pipeline_path)])
    print_unloaded(registry, pipeline, command, given.plugins_path)


def draw_pipeline(pipeline: Pipeline, given: Options) -> None:
    """Draw the graph of a pipeline where that is asked for, and say where it is.

    Raises:
        click.ClickException: The picture cannot be written.
        CuvisError: As `Pipeline.draw`.
    """
    kind, files = given.pipeline_vis_ext, pipeline.files
    if kind is None:
        return
    picture = Path(f"{safe_name(pipeline.name)}-pipeline.{kind}")
    if given.draws_beside and files is not None:
        # Programs of published catalogues look for it there, as `<stem>.<ext>`.
        picture = files.file.with_suffix(f".{kind}")
    try:
        pipeline.draw(picture)
    except OSError as error:
        raise click.ClickException(f"'{picture}' cannot be written: {error.strerror or error}.") from error
    say(f"\nDrawn to {picture}.")


def print_unloaded(registry: "NodeRegistry", pipeline: Pipeline, command: str, manifest: Path | None) -> None:
    """Say which nodes are not loaded, and which command loads them; nothing where all are.

    Args:
        registry: Where classes come from.
        pipeline: The pipeline.
        command: The command that was given, without its manifest.
        manifest: The manifest that was given, or found.
    """
    unloaded = pipeline.unloaded
    if not unloaded:
        return
    named = ", ".join(pipeline.plugins)
    from_plugins = f" of the plugins that the file names ({named})" if named else " of plugins"
    verb = "is" if len(unloaded) == 1 else "are"
    say()
    say_line(f"{len(unloaded)} of {len(pipeline.nodes)} nodes {verb} not loaded: {', '.join(unloaded)}.")
    for node in unloaded.values():
        if node.reason.__cause__ is not None:
            say(f"  {shown_in_line(node.name)}: {node.reason.message}")
        # Looked for, not imported: showing runs nothing on the word of a file.
        elif is_path(node.class_name) and is_importable(node.class_name.rpartition(".")[0]):
            say_line(f"  {node.name}: '{node.class_name}' is imported when the pipeline runs, not to show it")
        elif near := nearest(node.class_name, [entry.name for entry in registry.nodes()]):
            say_line(f"  {node.name}: there is no class '{node.class_name}'; did you mean '{near}'?")
    first = "Load"
    if failed := registry.failed_plugins:
        first = f"{', '.join(failed)} failed to load; mend that, and load"
    elif manifest is not None:
        first = f"'{manifest}' does not provide them; add the plugins that do, and load"
    place = shlex.quote(str(manifest or "plugins.yaml"))
    say_line(f"{first} nodes{from_plugins} with: {command} --plugins-path {place}")


def _node_rows(registry: "NodeRegistry", pipeline: Pipeline) -> Iterator[tuple[str, str, str, str]]:
    unloaded = pipeline.unloaded
    for number, name in enumerate(pipeline.order, 1):
        if name in unloaded:
            yield str(number), name, unloaded[name].class_name, NOT_LOADED
            continue
        node_class = type(pipeline.nodes[name])
        yield str(number), name, registry.public_path(node_class), str(origin_of(registry, node_class))


def _port_rows(pipeline: Pipeline) -> Iterator[tuple[str, str, str, str]]:
    unloaded = pipeline.unloaded
    for name in pipeline.order:
        for direction, ports in (("in", pipeline.inputs[name]), ("out", pipeline.outputs[name])):
            for resolved in ports.values():
                marks = [note(resolved.port), "named by an edge" * (name in unloaded)]
                yield resolved.name, direction, str(resolved), ", ".join(filter(None, marks)) or "-"


def _print_required(pipeline: Pipeline) -> None:
    required = pipeline.required_inputs()
    say("\nTo be handed in:" + ("" if required or pipeline.unloaded else " nothing"))
    for resolved in required.values():
        say_line(f"  {resolved.name}: {resolved}")
    if pipeline.unloaded:
        say("  what nodes that are not loaded take beside their edges: only their classes know")
    strange = sorted({port for _, port in required} - {"cube", "wavelengths"})
    if strange:
        say(
            f"A cube (--cube-path) gives 'cube' and 'wavelengths' only; {', '.join(map(repr, strange))} needs an edge, "
            "or Python: pipeline.forward(batch=...)."
        )
