"""What a notebook shows of a pipeline."""

from typing import TYPE_CHECKING

from cuvis_ai_core.pages.graph_drawing import graph
from cuvis_ai_core.pages.html import Html, element, table

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


def html_of(pipeline: "Pipeline") -> Html:
    """Return the graph of a pipeline, and a table of its nodes: class, hyper-parameters, inputs that are handed in."""
    edges = [
        (each.source, each.target, f"{each.source}.{each.source_port} → {each.target}.{each.target_port}")
        for each in pipeline.edges
    ]
    needed = pipeline.required_inputs()
    rows = [
        (
            name,
            type(pipeline.nodes[name]).__name__,
            # A node class may do without our base classes.
            ", ".join(f"{key}={value!r}" for key, value in getattr(pipeline.nodes[name], "hparams", {}).items()),
            ", ".join(f"{port}: {each}" for (node, port), each in needed.items() if node == name),
        )
        for name in pipeline.order
    ]
    title = element("strong", f"Pipeline '{pipeline.name}'")
    words = table(("node", "class", "hyper-parameters", "handed in"), rows)
    return element("div", title, graph(pipeline.order, edges), words)
