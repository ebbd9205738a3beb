"""The files that the demonstration writes into its folder."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuvis_ai_core.cli.demo.closing_text import next_steps, print_loaded
from cuvis_ai_core.cli.demo.workspace import LOCAL_PLUGINS, VERSIONS, Workspace
from cuvis_ai_core.cli.demo.written_files import Written
from cuvis_ai_core.data import Cube


def test_a_file_that_was_edited_is_left_as_it_is(tmp_path: Path) -> None:
    """What an earlier run wrote and nobody changed is replaced; what somebody changed, or laid there, is kept."""
    ours, edited, foreign = (tmp_path / name for name in ("ours.yaml", "edited.yaml", "foreign.yaml"))
    first = Written(tmp_path)
    assert not first
    for file in (ours, edited):
        first.write(file, b"first")
    edited.write_bytes(b"mine")
    foreign.write_bytes(b"mine")
    second = Written(tmp_path)
    assert second
    for file in (ours, edited, foreign):
        second.write(file, b"second")
    assert [file.read_bytes() for file in (ours, edited, foreign)] == [b"second", b"mine", b"mine"]
    assert (first.kept, second.kept) == ([], [edited, foreign])


def test_a_folder_is_free_where_nothing_else_can_be_overwritten(tmp_path: Path) -> None:
    """One that is not there, is empty, or was made by an earlier run; a file is left to whoever writes into it."""
    root = tmp_path / "demo"
    assert Workspace(root).is_free()
    root.mkdir()
    assert Workspace(root).is_free()
    (root / "mine").touch()
    assert not Workspace(root).is_free()
    Written(root).note(root / "mine")
    assert Workspace(root).is_free()


def test_what_the_demonstration_lays_down_before_it_runs(tmp_path: Path) -> None:
    """The cube, both pipelines, and the local plugins without their tests; what was edited stays."""
    cube = Cube(np.arange(24, dtype=np.uint16).reshape(2, 3, 4), np.array([500.0, 600, 700, 800]))
    workspace = Workspace(tmp_path / "a" / "demo")
    workspace.write_files(cube)
    found = {each.relative_to(workspace.root).as_posix() for each in workspace.root.rglob("*") if each.is_file()}
    assert {"pipeline.yaml", f"pipeline-{VERSIONS[1]}.yaml", "indian_pines.npz", ".demo.json"} <= found
    assert {f"plugins/{name}/pyproject.toml" for name in LOCAL_PLUGINS} <= found
    assert not [name for name in found if "/tests/" in name or "__pycache__" in name]
    with np.load(workspace.cube) as written:
        assert (written["cube"].tolist(), written["wavelengths"].tolist()) == (
            cube.data[:].tolist(),
            [500, 600, 700, 800],
        )
    edited = workspace.root / "plugins" / LOCAL_PLUGINS[0] / "pyproject.toml"
    edited.write_text("mine")
    again = Workspace(workspace.root)
    again.write_files(cube)
    assert (edited.read_text(), again.written.kept) == ("mine", [edited])


@pytest.mark.parametrize("inside", [True, False])
def test_how_to_go_on_is_written_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, inside: bool
) -> None:
    """With paths from the working directory where that is above, and quotes where they are needed."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path if inside else tmp_path / "elsewhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "restore-pipeline"
    program.touch(mode=0o755)
    root = tmp_path / "my demo"
    begin = "" if inside else f"{tmp_path}/"
    said = next_steps(Workspace(root))
    words = shlex.split(said[said.index("export") : said.index("edit a node")].replace("\\\n", ""))
    assert words == [
        "export",
        f"CUVIS_PLUGINS_DIR={begin}my demo/plugin-cache",
        "restore-pipeline",
        *("--pipeline-path", f"{begin}my demo/pipeline.yaml"),
        *("--plugins-path", f"{begin}my demo/plugins.yaml"),
        *("--cube-path", f"{begin}my demo/indian_pines.npz"),
        *("--output-dir", f"{begin}my demo/results"),
    ]
    assert f"edit a node in '{begin}my demo/plugins/plain_nodes' and run it again" in said


def test_a_program_that_the_shell_does_not_find_is_called_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the interpreter; where it is not there either, by its name."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    workspace = Workspace(tmp_path / "demo")
    assert "\n    restore-pipeline \\\n" in next_steps(workspace)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "restore-pipeline").touch()
    assert f"\n    {tmp_path}/bin/restore-pipeline \\\n" in next_steps(workspace)


def test_what_was_loaded_has_a_row_for_each_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of names and versions, each once; tag and commit, or that it is a local path, and what it has."""
    monkeypatch.setenv("COLUMNS", "200")
    workspace = Workspace(tmp_path)

    def info(name: str, version: str, **more: Any) -> Any:
        target = workspace.cache / f"{name}-{version}"
        nodes = ("pkg.mod.One", "pkg.Two")
        about = {"kind": "git", "source": "http://host/r", "tag": f"v{version}", "commit": "0123456789abcdef"}
        return SimpleNamespace(name=name, version=version, target=target, nodes=nodes, **{**about, **more})

    local = {"kind": "local", "source": str(tmp_path / "plugins/a"), "tag": None, "commit": None}
    loaded = [info("b", "2.0"), info("b", "1.0"), info("b", "2.0"), info("a", "1.0", **local)]
    print_loaded(loaded, workspace)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    words = [[each.strip() for each in line if each.strip()] for line in lines]
    expected = [
        ["a", "local path", "plugins/a"],
        ["a-1.0"],
        ["One, Two"],
        ["b", "v1.0", "http://host/r"],
        ["01234567", "b-1.0"],
        ["One, Two"],
        ["b", "v2.0", "http://host/r"],
        ["01234567", "b-2.0"],
        ["One, Two"],
    ]
    assert [line for line in words if line][-9:] == expected


def test_the_picture_of_the_demonstration_shows_what_was_computed(tmp_path: Path) -> None:
    """Each pixel of the scene as four by four dots in its colour, false colour stretched, indices on one scale."""
    pytest.importorskip("matplotlib")
    from cuvis_ai_core.cli.demo.picture import draw_results

    random = np.random.default_rng(0)
    colour, anomaly = (random.random((1, 145, 145, 3)) for _ in range(2))
    index = {tag: random.random((1, 145, 145, 1)) * 0.8 for tag in VERSIONS}
    results: dict[str, Any] = {
        tag: {
            ("false_colour", "image"): colour,
            ("anomaly_picture", "image"): anomaly,
            ("anomaly_picture", "limits"): np.array([[0.0, 9.0]]),
            ("vegetation", "index"): index[tag],
        }
        for tag in VERSIONS
    }
    draw_results(results, [[0, 0, 0], [1, 1, 1]], tmp_path / "demo.png")
    with Image.open(tmp_path / "demo.png") as image:
        dots = np.asarray(image.convert("RGB")).astype(int)
    low, high = np.percentile(colour[0], (1, 99), axis=(0, 1))
    stretched = np.clip((colour[0] - low) / (high - low), 0, 1) ** 0.8
    import matplotlib as mpl

    shown = [stretched, anomaly[0], *(mpl.colormaps["YlGn"](index[tag][0, ..., 0] / 0.8)[..., :3] for tag in VERSIONS)]
    for panel, (top, left) in zip(shown, ((188, 53), (188, 685), (940, 53), (940, 685)), strict=True):
        middles = dots[top + 2 : top + 580 : 4, left + 2 : left + 580 : 4]
        # Below is the scale, in the first of them.
        assert np.abs(middles[:120] - panel[:120] * 255).max() <= 3
    assert dots[:180].min() < 60, "there is no title"
