"""The published drawings of a pipeline; `Pipeline.draw` writes the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._deprecated import old_spelling
from cuvis_ai_core.pipeline.drawing import mermaid, picture

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

_FORMATS = ("graphviz", "mermaid", "render_graphviz", "render_mermaid")


class Visualizer:
    """Draws the graph of a pipeline; options of the published drawings that are not named here are left alone.

    Args:
        pipeline: The pipeline.
    """

    def __init__(self, pipeline: "Pipeline") -> None:
        self.pipeline = pipeline

    def to_graphviz(self, graph_attributes: dict[str, str] | None = None, **_: Any) -> str:
        """Return the graph in Graphviz's language.

        Args:
            graph_attributes: Laid over those of the graph: `{"bgcolor": "transparent"}`.

        Raises:
            MissingExtraError: The extra `viz` is not installed.
        """
        return picture(self.pipeline, "dot", graph_attributes).decode()

    def to_mermaid(self, **_: Any) -> str:
        """Return the graph as a Mermaid diagram."""
        return mermaid(self.pipeline).rstrip()

    def render_graphviz(
        self,
        output_path: str | Path,
        format: str | None = None,
        graph_attributes: dict[str, str] | None = None,
        **_: Any,
    ) -> Path:
        """Write a picture.

        Args:
            output_path: Where; without a suffix it gets that of the format.
            format: `png`, `svg` or `pdf`; by default the suffix of the path says so.
            graph_attributes: As for `to_graphviz`.

        Raises:
            MissingExtraError: The extra `viz`, or Graphviz itself, is not installed.
        """
        path = Path(output_path)
        kind = format or path.suffix.removeprefix(".") or "png"
        target = path if path.suffix else path.with_suffix(f".{kind}")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, picture(self.pipeline, kind, graph_attributes))
        return target

    def render_mermaid(self, output_path: str | Path, *, wrap_markdown: bool | None = None, **_: Any) -> Path:
        """Write a Mermaid diagram.

        Args:
            output_path: Where.
            wrap_markdown: Whether it stands in a fence of Markdown; by default where the path ends in `.md`.
        """
        path = Path(output_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self.to_mermaid()
        wrapped = path.suffix == ".md" if wrap_markdown is None else wrap_markdown
        write_atomic(path, f"```mermaid\n{text}\n```\n" if wrapped else f"{text}\n")
        return path


@old_spelling("Pipeline.draw")
# A class of its own: `drawing_of` is no old spelling, and uses the other without a warning.
class PipelineVisualizer(Visualizer):
    """The published name."""

    def __init__(self, pipeline: "Pipeline") -> None:
        super().__init__(pipeline)


def drawing_of(
    pipeline: "Pipeline",
    format: str = "mermaid",
    output_path: str | Path | None = None,
    **options: Any,
) -> str | Path:
    """Draw the graph of a pipeline.

    Args:
        pipeline: The pipeline.
        format: `graphviz` or `mermaid` give a text, `render_graphviz` and `render_mermaid` write a file.
        output_path: That file.
        options: As for the methods of `Visualizer`.

    Returns:
        The text, or the path.

    Raises:
        ValueError: There is no such format, or a path is missing.
        MissingExtraError: What is asked for needs the extra `viz`.
    """
    visualizer = Visualizer(pipeline)
    if format not in _FORMATS:
        raise ValueError(f"There is no drawing '{format}'; there are {', '.join(_FORMATS)}.")
    if format in {"graphviz", "mermaid"}:
        return visualizer.to_graphviz(**options) if format == "graphviz" else visualizer.to_mermaid(**options)
    if output_path is None:
        raise ValueError(f"'{format}' writes a file: give its output_path.")
    if format == "render_graphviz":
        return visualizer.render_graphviz(output_path, **options)
    return visualizer.render_mermaid(output_path, **options)


@old_spelling("Pipeline.draw")
def visualize_pipeline(*args: Any, **kwargs: Any) -> str | Path:
    """Draw the graph of a pipeline, as `drawing_of` does."""
    return drawing_of(*args, **kwargs)
