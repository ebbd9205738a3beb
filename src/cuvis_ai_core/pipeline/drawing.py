"""Pictures of a pipeline's graph: PNG and SVG by Graphviz, Markdown with a Mermaid diagram by nothing else."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.node.base import stage_name
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort
from cuvis_ai_core.pipeline.unloaded_nodes import UnloadedNode

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

SUFFIXES: Final = (".png", ".svg", ".md")

_HEAD, _PORT, _OPEN, _LINE = "#cfe2f3", "#f7f7f7", "#fff2cc", "#555555"
_ABSENT: Final = "#e0e0e0"
_DPI: Final = "120"
_DEEPEST, _ROWS = 12, 7
"""A graph with more nodes in a row than the first is folded into columns of about the second."""


@dataclass(frozen=True, slots=True)
class Box:
    """What is shown of a node.

    Attributes:
        key: Its name in the drawing, free of odd signs.
        title: Its name.
        kind: Its class, and the stages where it does not always run.
        inputs: Its input ports.
        outputs: Its output ports.
        open: Names of inputs that must be handed in.
        loaded: Whether its class is loaded; else its ports are those that edges name.
    """

    key: str
    title: str
    kind: str
    inputs: tuple[ResolvedPort, ...]
    outputs: tuple[ResolvedPort, ...]
    open: frozenset[str]
    loaded: bool


def draw_graph(pipeline: "Pipeline", path: Path) -> None:
    """Draw the graph of a pipeline; inputs that must be handed in are yellow, nodes that are not loaded grey.

    Args:
        pipeline: The pipeline.
        path: The picture; its suffix says which kind: `.png`, `.svg` or `.md`.

    Raises:
        PipelineError: The suffix is another one.
        MissingExtraError: The extra `viz` is not installed, or Graphviz is not (`.md` needs neither).
        OSError: The file cannot be written.
    """
    drawers: dict[str, Callable[[Pipeline], str | bytes]] = {
        ".md": markdown,
        ".png": lambda each: _by_graphviz(each, "png"),
        ".svg": lambda each: _by_graphviz(each, "svg"),
    }
    if path.suffix not in drawers:
        raise PipelineError(f"'{path}' is no name of a picture: it ends in {', '.join(SUFFIXES)}.", path=path)
    # Drawn before anything is written: a failing Graphviz leaves the earlier picture.
    write_atomic(path, drawers[path.suffix](pipeline))


def picture(pipeline: "Pipeline", kind: str, attributes: Mapping[str, str] | None = None) -> bytes:
    """Return the graph of a pipeline as `png`, `svg`, `dot` (the words of Graphviz) or `mermaid`.

    Args:
        pipeline: The pipeline.
        kind: One of these, or what else Graphviz draws.
        attributes: Laid over those that Graphviz is given for the graph.

    Raises:
        MissingExtraError: The extra `viz` is not installed, or Graphviz is not (Mermaid needs neither, dot no program).
        PipelineError: Graphviz cannot draw it.
    """
    if kind == "mermaid":
        return mermaid(pipeline).encode()
    if kind == "dot":
        return bytes(_digraph(pipeline, kind, attributes).source.encode())
    return _by_graphviz(pipeline, kind, attributes)


def markdown(pipeline: "Pipeline") -> str:
    """Return a Markdown page with the graph as a Mermaid diagram."""
    return f"# {_heading(pipeline.name)}\n\n```mermaid\n{mermaid(pipeline)}```\n"


def mermaid(pipeline: "Pipeline") -> str:
    """Return the graph as a Mermaid diagram."""
    boxes = _boxes(pipeline)
    lines = ["flowchart TB"]
    lines += [f'  {box.key}["{"<br/>".join(map(_mermaid_text, _box_lines(box)))}"]' for box in boxes.values()]
    lines += [f"  style {box.key} stroke-dasharray: 5 5" for box in boxes.values() if not box.loaded]
    for edge in pipeline.edges:
        dtype = pipeline.outputs[edge.source][edge.source_port]
        label = _mermaid_text(f"{edge.source_port} → {edge.target_port}: {dtype}")
        lines.append(f'  {boxes[edge.source].key} -- "{label}" --> {boxes[edge.target].key}')
    return "\n".join([*lines, ""])


def _boxes(pipeline: "Pipeline") -> dict[str, Box]:
    fed = {(edge.target, edge.target_port) for edge in pipeline.edges}
    boxes: dict[str, Box] = {}
    unloaded = pipeline.unloaded
    for number, name in enumerate(pipeline.order):
        inputs = pipeline.inputs[name]
        needed = {port for port, each in inputs.items() if (name, port) not in fed and not each.port.optional}
        boxes[name] = Box(
            # Names are a stranger's texts: Mermaid and Graphviz read signs in a key as their language.
            key=f"n{number}",
            title=name,
            kind=_kind(pipeline.nodes[name]),
            inputs=tuple(inputs.values()),
            outputs=tuple(pipeline.outputs[name].values()),
            open=frozenset(needed),
            loaded=name not in unloaded,
        )
    return boxes


def _kind(node: object) -> str:
    stages = sorted(map(stage_name, getattr(node, "execution_stages", ()) or ()))
    shown = "" if "always" in stages or not stages else f" ({', '.join(stages)})"
    return f"{type(node).__name__}{shown}" + ", not loaded" * isinstance(node, UnloadedNode)


def _box_lines(box: Box) -> Iterator[str]:
    yield box.title
    yield box.kind
    for port in box.inputs:
        yield f"in {port.port.name}: {port}" + (" (handed in)" if port.port.name in box.open else "")
    for port in box.outputs:
        yield f"out {port.port.name}: {port}"


def _mermaid_text(text: str) -> str:
    """Return a text that Mermaid shows as it is: it has entities of its own for what it would read as marks."""
    line = shown_in_line(" ".join(text.split()))
    # '#' too, since it begins an entity.
    return "".join(f"#{ord(sign)};" if sign in '"#<>&`' else sign for sign in line)


def _heading(text: str) -> str:
    """Return a text that Markdown shows as it is: no link, no picture, no HTML."""
    return re.sub(r"[\\`*_\[\]<>&#!|]", lambda sign: f"&#{ord(sign[0])};", shown_in_line(" ".join(text.split())))


def _escaped(text: str) -> str:
    return escape(shown_in_line(text))


def _digraph(pipeline: "Pipeline", kind: str, attributes: Mapping[str, str] | None = None) -> Any:
    look = {"rankdir": "TB", "nodesep": "0.25", "ranksep": "0.4", "dpi": _DPI if kind == "png" else "72"}
    graph = _graphviz(kind).Digraph(
        graph_attr={**look, **(attributes or {})},
        node_attr={"shape": "plain", "fontname": "Helvetica", "fontsize": "11"},
        edge_attr={"color": _LINE, "arrowsize": "0.6"},
    )
    boxes = _boxes(pipeline)
    columns = _columns(pipeline)
    for column in sorted(set(columns.values())):
        with graph.subgraph(name=f"cluster_{column}", graph_attr={"style": "invis"}) as part:
            for name, box in boxes.items():
                if columns[name] == column:
                    part.node(box.key, _table(box))
    for edge in pipeline.edges:
        graph.edge(
            f"{boxes[edge.source].key}:{_cell_name('o', boxes[edge.source].outputs, edge.source_port)}:s",
            f"{boxes[edge.target].key}:{_cell_name('i', boxes[edge.target].inputs, edge.target_port)}:n",
            # Edges between columns do not rank: else Graphviz would unfold them into one long line.
            constraint=str(columns[edge.source] == columns[edge.target]).lower(),
        )
    return graph


def _by_graphviz(pipeline: "Pipeline", kind: str, attributes: Mapping[str, str] | None = None) -> bytes:
    graphviz = _graphviz(kind)
    try:
        drawn: bytes = _digraph(pipeline, kind, attributes).pipe(format=kind)
    except graphviz.ExecutableNotFound as error:
        raise MissingExtraError(
            f"A picture as {kind} is drawn by Graphviz, and its program 'dot' is not on PATH.",
            hint="Install Graphviz (apt-get install graphviz, brew install graphviz, https://graphviz.org/download), "
            "or draw Markdown: .md",
            extra="viz",
        ) from error
    except graphviz.CalledProcessError as error:
        raise PipelineError(f"Graphviz could not draw '{pipeline.name}': {str(error.stderr)[-300:]}") from error
    # The package's way of refusing a format that it does not list.
    except ValueError as error:
        raise PipelineError(f"Graphviz draws no pictures of the kind '{kind}'.") from error
    return drawn


def _graphviz(kind: str) -> Any:
    try:
        import graphviz
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"A picture as {kind} needs the package 'graphviz', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[viz]'; or draw Markdown: .md",
            extra="viz",
        ) from error
    return graphviz


def _columns(pipeline: "Pipeline") -> dict[str, int]:
    """Return the column of each node: a long pipeline is folded, as a text is into lines."""
    depth = dict.fromkeys(pipeline.order, 0)
    targets: dict[str, list[str]] = {name: [] for name in pipeline.order}
    for edge in pipeline.edges:
        targets[edge.source].append(edge.target)
    for name in pipeline.order:
        for target in targets[name]:
            depth[target] = max(depth[target], depth[name] + 1)
    deepest = max(depth.values()) + 1
    # Columns of about one height: the last one would else have the rest, often a single node.
    rows = deepest if deepest <= _DEEPEST else -(-deepest // -(-deepest // _ROWS))
    return {name: each // rows for name, each in depth.items()}


def _cell_name(side: str, ports: tuple[ResolvedPort, ...], name: str) -> str:
    return f"{side}{[port.port.name for port in ports].index(name)}"


def _table(box: Box) -> str:
    """Return a node as a table: inputs above its name, outputs below."""
    columns = max(len(box.inputs), 1) * max(len(box.outputs), 1)  # which the cells of both rows divide
    above, below = _row("i", box.inputs, columns, box.open), _row("o", box.outputs, columns, frozenset())
    name = f'<B>{_escaped(box.title)}</B><BR/><FONT POINT-SIZE="9">{_escaped(box.kind)}</FONT>'
    head = f'<TR><TD COLSPAN="{columns}" BGCOLOR="{_HEAD if box.loaded else _ABSENT}">{name}</TD></TR>'
    return f'<<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" COLOR="{_LINE}">{above}{head}{below}</TABLE>>'


def _row(side: str, ports: tuple[ResolvedPort, ...], columns: int, needed: frozenset[str]) -> str:
    if not ports:
        return ""
    cells = "".join(
        f'<TD PORT="{side}{number}" COLSPAN="{columns // len(ports)}" '
        f'BGCOLOR="{_OPEN if port.port.name in needed else _PORT}">{_escaped(port.port.name)}'
        f'{" …" * port.port.variadic}<BR/><FONT POINT-SIZE="8" COLOR="{_LINE}">{_escaped(str(port))}</FONT></TD>'
        for number, port in enumerate(ports)
    )
    return f"<TR>{cells}</TR>"
