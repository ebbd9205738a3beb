import shlex
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


def test_nodes_that_are_not_loaded_are_shown_and_drawn(
    shell: Shell, write_yaml: Callable[..., Path], sum_plugin: Path
) -> None:
    """They are marked, and one sentence says which command loads them; with that command they are loaded."""
    nodes = [{"name": "sum", "class_name": "Sum"}, {"name": "mask", "class_name": "QuantileDecidr"}]
    path = write_yaml("my sums.yaml", {"nodes": nodes, "edges": [{"source": "sum.total", "target": "mask.scores"}]})
    found = shell("restore-pipeline", "--pipeline-path", path, "--pipeline-vis-ext", "md")
    assert (found.exit_code, found.stderr) == (0, "")
    rows = [line.split() for line in found.stdout.splitlines()]
    assert ["1", "sum", "Sum", "not", "loaded"] in rows
    assert ["sum.total", "out", "?", "named", "by", "an", "edge"] in rows
    assert (
        "2 of 2 nodes are not loaded: sum, mask.\n"
        "  mask: there is no class 'QuantileDecidr'; did you mean 'QuantileDecider'?\n"
        "Load nodes of plugins with: restore-pipeline --pipeline-path 'my sums.yaml' --plugins-path plugins.yaml\n"
    ) in found.stdout
    assert "Sum, not loaded" in Path("my_sums-pipeline.md").read_text(encoding="utf-8")
    found = shell("restore-pipeline", "--pipeline-path", path, "--plugins-path", sum_plugin)
    assert found.exit_code == 0
    assert "1 of 2 nodes is not loaded: mask." in found.stdout
    assert "'plugins.yaml' does not provide them" in found.stdout


def test_the_command_that_loads_the_rest_can_be_copied(
    shell: Shell, write_yaml: Callable[..., Path], sum_plugin: Path
) -> None:
    """Also where the manifest's name has a blank."""
    path = write_yaml("p.yaml", {"nodes": [{"name": "gone", "class_name": "Gone"}]})
    manifest = sum_plugin.rename(sum_plugin.with_name("my plugins.yaml"))
    found = shell("restore-pipeline", "--pipeline-path", path, "--plugins-path", manifest)
    assert found.exit_code == 0
    command = found.stdout.rstrip("\n").rpartition(" nodes of plugins with: ")[2]
    assert shlex.split(command) == ["restore-pipeline", "--pipeline-path", str(path), "--plugins-path", str(manifest)]
    assert "'my plugins.yaml' does not provide them; add the plugins that do, and load" in found.stdout


def test_wavelengths_are_what_a_cube_gives(shell: Shell, write_yaml: Callable[..., Path]) -> None:
    """An input for them is to be handed in, and needs no edge."""
    node = {"name": "s", "class_name": "WavelengthSelector", "params": {"targets": [650, 550, 450]}}
    found = shell("restore-pipeline", "--pipeline-path", write_yaml("p.yaml", {"nodes": [node]}))
    assert found.exit_code == 0
    assert "\n  s.wavelengths: " in found.stdout
    assert "needs an edge" not in found.stdout


def test_what_is_said_of_a_pipeline_that_is_not_loaded_stays_in_its_line(
    shell: Shell, write_yaml: Callable[..., Path]
) -> None:
    """Its description too; and that nothing is to be handed in nobody knows."""
    metadata = {"name": "p", "description": "two\n   lines"}
    path = write_yaml("p.yaml", {"metadata": metadata, "nodes": [{"name": "gone", "class_name": "Gone"}]})
    found = shell("restore-pipeline", "--pipeline-path", path)
    assert found.exit_code == 0
    assert found.stdout.startswith("p: two lines\n")
    assert "\nTo be handed in:\n  what nodes that are not loaded take" in found.stdout
