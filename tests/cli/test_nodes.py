from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import Result
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.cli.describe_node import note, parameter_lines, summary
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.ports import Port
from cuvis_ai_core.registry import NodeRegistry

Shell = Callable[..., Result]


def test_the_palette_has_the_built_in_nodes(shell: Shell) -> None:
    """Each with its full path."""
    found = shell("cuvis-ai", "nodes", "list")
    assert found.exit_code == 0
    rows = {tuple(line.split()) for line in found.stdout.splitlines()}
    assert ("RXDetector", "built", "in", "cuvis_ai_core.builtin.anomaly.RXDetector") in rows


def test_the_palette_has_what_a_manifest_declares_without_loading_it(
    shell: Shell, write_yaml: Callable[..., Path]
) -> None:
    """The plugin need not even be there."""
    manifest = write_yaml("plugins.yaml", {"plugins": {"sums": {"path": "not-there", "provides": ["a.nodes.Sum"]}}})
    found = shell("cuvis-ai", "nodes", "list", "--plugins-path", manifest)
    assert (found.exit_code, found.stderr) == (0, "")
    assert ["Sum", "sums", "a.nodes.Sum"] in [line.split() for line in found.stdout.splitlines()]


def test_a_built_in_node_is_shown_with_ports_and_parameters(shell: Shell) -> None:
    """Summary, path, ports with type and description, hyper-parameters with defaults."""
    found = shell("cuvis-ai", "nodes", "show", "WavelengthSelector")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("WavelengthSelector: Pick the bands nearest to given wavelengths")
    assert "Path:   cuvis_ai_core.builtin.color.WavelengthSelector\nPlugin: built in\n" in found.stdout
    rows = [line.split() for line in found.stdout.splitlines()]
    assert ["wavelengths", "number", "[*]", "-", "Centre", "of", "each", "band", "in", "nm", "[channel]"] in rows
    assert any(row[:6] == ["image", "floating", "[*,", "*,", "*,", "target_count]"] for row in rows)
    assert found.stdout.endswith("  tolerance: float = 20.0\n")


def test_a_node_of_a_local_plugin_is_loaded_and_shown(shell: Shell, sum_plugin: Path) -> None:
    """With the plugin that it comes from and its version; progress goes to stderr."""
    found = shell("cuvis-ai", "nodes", "show", "sum_plugin.nodes.Sum", "--plugins-path", sum_plugin)
    assert found.exit_code == 0
    assert "Path:   sum_plugin.nodes.Sum\nPlugin: sums 1.0.0 (local)\n" in found.stdout
    assert found.stderr.endswith("sums: active Sum\n")


def test_only_the_plugin_that_declares_the_node_is_loaded(shell: Shell, write_yaml: Callable[..., Path]) -> None:
    """A built-in node needs no plugin; a node of a broken one says why it cannot be shown."""
    manifest = write_yaml("plugins.yaml", {"plugins": {"sums": {"path": "not-there", "provides": ["a.nodes.Sum"]}}})
    assert shell("cuvis-ai", "nodes", "show", "RXDetector", "--plugins-path", manifest).exit_code == 0
    found = shell("cuvis-ai", "nodes", "show", "Sum", "--plugins-path", manifest)
    assert found.exit_code == 1
    assert "Error: Failed to load plugin 'sums'" in found.stderr


def test_a_node_that_nobody_declares_is_looked_for_in_all_plugins(shell: Shell, sum_plugin: Path) -> None:
    """A plugin may bring more than it declares; if not, the answer names what is near."""
    found = shell("cuvis-ai", "nodes", "show", "Summ", "--plugins-path", sum_plugin)
    assert found.exit_code == 2
    assert "Error: Node 'Summ' not found in registry.\nDid you mean 'Sum'?" in found.stderr


class Bare:
    """A node class without any help of ours.

    With a second paragraph.
    """

    INPUT_SPECS: dict[str, PortSpec] = {}  # noqa: RUF012 - as plugins write it
    OUTPUT_SPECS = {"x": PortSpec(np.float32, ())}  # noqa: RUF012

    def forward(self) -> dict[str, float]:
        """Return one."""
        return {"x": 1.0}


class Undocumented(ArrayNode):  # noqa: D101
    pass


def test_only_the_first_paragraph_of_its_own_docstring_is_the_summary() -> None:
    """That of a base class says nothing about a node."""
    assert summary(Bare) == "A node class without any help of ours."
    assert summary(Undocumented) == ""


def test_name_and_stages_are_no_hyper_parameters() -> None:
    """They stand beside the hyper-parameters in a pipeline file."""
    assert parameter_lines(Bare) == []
    assert parameter_lines(NodeRegistry.get("RXDetector")) == ["regularization: float = 0.0"]


def test_what_is_special_about_a_port_is_noted() -> None:
    """An optional port, one that takes several edges, one that is both."""
    assert note(Port("a", "float32", ())) == ""
    assert note(Port("a", "float32", (), optional=True)) == "optional"
    assert note(Port("a", "float32", (), optional=True, variadic=True)) == "optional, takes several edges"
