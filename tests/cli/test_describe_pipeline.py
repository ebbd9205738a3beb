from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Shell = Callable[..., Result]


def test_a_pipeline_is_shown_in_running_order(shell: Shell, pipeline_file: Path) -> None:
    """Name, description, nodes with class and plugin, ports with types, edges, and what must be handed in."""
    found = shell("restore-pipeline", "--pipeline-path", pipeline_file)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("find anomalies: Scores and a mask\nanomalies.yaml\n")
    rows = [line.split() for line in found.stdout.splitlines()]
    first = rows.index(["1", "rx", "cuvis_ai_core.builtin.anomaly.RXDetector", "built", "in"])
    assert rows[first + 1] == ["2", "mask", "cuvis_ai_core.builtin.decision.QuantileDecider", "built", "in"]
    assert ["mask.mask", "out", "bool", "[*,", "*,", "*,", "1]", "-"] in rows
    assert "\nEdges:\n  rx.scores -> mask.scores\n" in found.stdout
    assert found.stdout.endswith("\nTo be handed in:\n  rx.cube: floating [*, *, *, *]\n")


def test_an_input_that_no_cube_gives_is_pointed_out(shell: Shell, write_yaml: Callable[..., Path]) -> None:
    """The reader learns why this pipeline cannot be run with --cube-path."""
    path = write_yaml("p.yaml", {"nodes": [{"name": "mask", "class_name": "QuantileDecider"}]})
    found = shell("restore-pipeline", "--pipeline-path", path)
    assert found.exit_code == 0
    assert "\nEdges: none\n" in found.stdout
    assert "'scores' needs an edge, or Python: pipeline.forward(batch=...)." in found.stdout


def test_nodes_of_plugins_are_shown_with_their_plugin(
    shell: Shell, write_yaml: Callable[..., Path], sum_plugin: Path
) -> None:
    """By the public path, never by a private name."""
    path = write_yaml("p.yaml", {"nodes": [{"name": "sum", "class_name": "Sum"}]})
    found = shell("restore-pipeline", "--pipeline-path", path, "--plugins-path", sum_plugin)
    assert found.exit_code == 0
    rows = [line.split() for line in found.stdout.splitlines()]
    assert ["1", "sum", "sum_plugin.nodes.Sum", "sums", "1.0.0", "(local)"] in rows
