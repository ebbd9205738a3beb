import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cuvis_ai_core._printable_text import duration
from cuvis_ai_core.cli.shared import progress
from cuvis_ai_core.cli.shared.plugin_loading import LiveLines, load_plugins, plugin_progress
from cuvis_ai_core.cli.shared.progress import NodeDisplay, TileDisplay
from cuvis_ai_core.errors import PluginLoadError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.plugins.plugin_info import PluginState
from cuvis_ai_core.registry import NodeRegistry


def test_elsewhere_long_states_and_ends_are_plain_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, state and detail, while plugins are loaded; that they are unloaded in the end is of no interest."""
    with plugin_progress() as lines:
        lines.cuvis_ai_plugin_state("adaclip", PluginState.DOWNLOADING, "https://example.org/a.git v0.1.1")
        lines.cuvis_ai_plugin_state("adaclip", PluginState.IMPORTING, "")
        lines.cuvis_ai_plugin_state("adaclip", PluginState.ACTIVE, "Detector")
    lines.cuvis_ai_plugin_state("adaclip", PluginState.UNLOADED, "")
    assert capsys.readouterr() == (
        "",
        "adaclip: downloading https://example.org/a.git v0.1.1\nadaclip: active Detector\n",
    )


def test_on_a_terminal_each_plugin_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The last lines say how each plugin ended, in the order in which they began; brackets are kept.

    What others print meanwhile goes where it belongs.
    """
    terminal = io.StringIO()
    lines = LiveLines(Console(file=terminal, force_terminal=True, width=100, color_system=None))
    lines.cuvis_ai_plugin_state("adaclip", PluginState.DOWNLOADING, "https://example.org/a.git [v1]")
    lines.cuvis_ai_plugin_state("sums", PluginState.DOWNLOADING, "b.git")
    lines.cuvis_ai_plugin_state("adaclip", PluginState.FAILED, "downloading [v1]")
    lines.cuvis_ai_plugin_state("sums", PluginState.ACTIVE, "Sum")
    print("a result")  # noqa: T201
    lines.stop()
    ended = terminal.getvalue()
    lines.cuvis_ai_plugin_state("other", PluginState.UNLOADED, "")
    assert terminal.getvalue() == ended
    assert capsys.readouterr().out == "a result\n"
    last = [line.split() for line in terminal.getvalue().split("\x1b[2K")[-1].splitlines()[:2]]
    assert [line[-4:] for line in last] == [["adaclip", "failed", "downloading", "[v1]"], ["sums", "active", "Sum"]]


def test_the_states_of_a_real_plugin_are_shown(
    registry: NodeRegistry, sum_plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The display is registered as an ordinary observer, and a second time each state is shown once as well."""
    for _ in range(2):
        load_plugins(registry, sum_plugin)
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1] == "sums: active Sum"
        assert lines.count("sums: active Sum") == 1
        registry.unload_plugin("sums")
    assert capsys.readouterr().err == ""


def test_only_the_plugins_that_are_named_are_loaded(
    registry: NodeRegistry, sum_plugin: Path, write_yaml: Callable[..., Path]
) -> None:
    """What is wrong with another plugin of the manifest does not matter."""
    broken = {"path": "not-there", "provides": ["a.B"]}
    good = {"path": "../sums", "provides": ["sum_plugin.nodes.Sum"]}
    manifest = write_yaml("both.yaml", {"plugins": {"broken": broken, "sums": good}})
    load_plugins(registry, manifest, "sums")
    assert registry.list_plugins() == ["sums"]
    with pytest.raises(PluginLoadError):
        load_plugins(registry, manifest, "broken")


def on_a_terminal(module: str, *arguments: str | Path) -> tuple[int, bytes, str]:
    """Run a command with a terminal at stderr alone; return its status, what the terminal shows, and stdout."""
    terminal, end = pty.openpty()
    code = f"from cuvis_ai_core.cli.{module} import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=end, text=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    ) as process:
        os.close(end)
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:  # Linux says so where the other end is closed
            pass
        assert process.stdout is not None
        result = process.stdout.read()
    os.close(terminal)
    return process.returncode, shown, result


def test_a_terminal_is_animated_and_stdout_stays_clean(sum_plugin: Path) -> None:
    """The lines of plugins go to the terminal, and stdout holds the result only."""
    status, shown, result = on_a_terminal("main", "nodes", "show", "Sum", "--plugins-path", sum_plugin)
    assert status == 0
    assert b"sums" in shown
    assert b"active" in shown
    assert b"\x1b[2K" in shown
    assert result.startswith("Sum: ")
    assert "\x1b" not in result


def test_the_node_that_is_at_work_is_shown(registry: NodeRegistry) -> None:
    """With its number among those that run; after the end nothing is shown."""
    lines: list[str] = []
    display = NodeDisplay("Running", lines.append)
    registry.register_hooks(display)
    nodes = [{"name": name, "class_name": "MinMaxNormalizer"} for name in ("first", "second")]
    edges = [{"source": "first.cube", "target": "second.cube"}]
    pipeline = Pipeline.from_dict({"nodes": nodes, "edges": edges}, node_registry=registry)
    pipeline.forward({"cube": np.ones((1, 1, 1, 2), np.float32)})
    assert lines == ["Running: 1 of 2, first", "Running: 2 of 2, second"]
    display.stop()
    pipeline.forward({"cube": np.ones((1, 1, 1, 2), np.float32)})
    assert len(lines) == 2


def test_a_run_on_a_terminal_is_animated(pipeline_file: Path, cube_file: Path) -> None:
    """Reading, running and writing; the results go to stdout."""
    arguments = ("--pipeline-path", pipeline_file, "--cube-path", cube_file)
    status, shown, result = on_a_terminal("restore.restore_pipeline", *arguments)
    assert status == 0
    assert b"Running 2 nodes on cube.npy" in shown
    assert b"\x1b[2K" in shown
    assert "mask.mask" in result


def test_tiles_are_told_with_the_time_that_the_others_take() -> None:
    """Of all but the last one: then the work is done."""
    told: list[str] = []
    display = TileDisplay("Running 2 nodes on scene.hdr", told.append)
    for done in (1, 2, 3):
        display(done, 3)
    assert [line.rpartition(", ")[0] for line in told] == [
        "Running 2 nodes on scene.hdr: tile 1 of 3",
        "Running 2 nodes on scene.hdr: tile 2 of 3",
    ]
    assert all(line.endswith(" s to go") for line in told)


def test_tiles_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as is asked for; the others take as long as those that are done, on the average."""
    times = iter([100.0, 109.9, 110.0, 119.9, 125.0, 140.0])
    monkeypatch.setattr(progress, "time", type("Clock", (), {"monotonic": staticmethod(lambda: next(times))}))
    told: list[str] = []
    display = TileDisplay("Running", told.append, every=10.0)
    for done in (1, 2, 3, 5, 6):
        display(done, 6)
    assert told == [f"Running: tile 2 of 6, {duration(20)} to go", f"Running: tile 5 of 6, {duration(5)} to go"]


def test_a_node_that_was_not_announced_is_the_first() -> None:
    """As one of a pipeline within a node."""
    lines: list[str] = []
    display = NodeDisplay("Running", lines.append)
    display.cuvis_ai_pipeline_started(["a", "b"])
    display.cuvis_ai_node_started("other")
    assert lines == ["Running: 1 of 2, other"]


@pytest.mark.parametrize(("encoding", "sign"), [("utf-8", "⠋"), ("latin-1", "-")])
def test_what_is_animated_can_be_written_in_the_encoding_of_the_terminal(encoding: str, sign: str) -> None:
    """Dots of braille only where it has them."""
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding=encoding)
    lines = LiveLines(Console(file=terminal, force_terminal=True, width=60, color_system=None))
    lines.cuvis_ai_plugin_state("sums", PluginState.DOWNLOADING, "")
    lines.stop()
    terminal.flush()
    assert sign in written.getvalue().decode(encoding)


def test_the_command_tells_tiles_in_lines_where_there_is_no_terminal(
    shell: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not each of them: some seconds lie between two lines."""
    monkeypatch.setattr("cuvis_ai_core.cli.shared.progress._LINE_EVERY", 0.0)
    np.save("large.npy", np.random.default_rng(0).random((300, 200, 50)).astype(np.float32))
    Path("rx.yaml").write_text("nodes:\n  - {name: rx, class_name: RXDetector}\n", encoding="utf-8")
    found = shell("restore-pipeline", "--pipeline-path", "rx.yaml", "--cube-path", "large.npy", "--memory", "1MiB")
    assert "Running 1 nodes on large.npy: tile 1 of " in getattr(found, "stderr")  # noqa: B009
