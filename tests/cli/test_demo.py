"""The demonstration: one command, from an empty folder to a picture."""

import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.cli.demo import workspace as demo_workspace
from cuvis_ai_core.cli.demo.demo_command import demo
from cuvis_ai_core.cli.demo.workspace import VERSIONS, Workspace
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.testing import GitHost


def run_demo(root: Path) -> Result:
    """Run the command and let its errors through."""
    return CliRunner().invoke(
        demo, ["--output-dir", str(root)], catch_exceptions=False, standalone_mode=False, env={"COLUMNS": "250"}
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """Run the demonstration once for several tests: its folder, and what it printed.

    Its own port may be that of an example of the documentation, which another process of these tests serves there.
    """
    root = tmp_path_factory.mktemp("demo") / "output"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_workspace, "PORT", port)
        return Workspace(root), run_demo(root).output


def copy_of(workspace: Workspace, place: Path) -> Workspace:
    """Return a copy of the folder of the demonstration that counts as one that it made."""
    shutil.copytree(workspace.root, place)
    record = place / ".demo.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "folder": place.stat().st_ino}))
    return Workspace(place)


@pytest.fixture
def copied(first: tuple[Workspace, str], tmp_path: Path) -> Workspace:
    """Return a copy of the folder of the demonstration, for a test that changes it: tests run in any order."""
    return copy_of(first[0], tmp_path / "output")


@pytest.fixture
def registries(first: tuple[Workspace, str]) -> Iterator[dict[str, NodeRegistry]]:
    """Load both manifests after the demonstration, when its Git host is gone."""

    class Registry(NodeRegistry):
        """A registry on the plugin cache of the demonstration."""

    Registry.set_cache_dir(first[0].cache)
    with Registry(discover=False) as old, Registry(discover=False) as new:
        old.load_plugins(first[0].manifests["v1.0.0"])
        new.load_plugins(first[0].manifests["v1.1.0"])
        yield {"v1.0.0": old, "v1.1.0": new}


def test_the_table_says_what_was_loaded_from_where(
    first: tuple[Workspace, str], registries: dict[str, NodeRegistry]
) -> None:
    """Each plugin has one row: both tags with their commits, and the two local paths."""
    lines = first[1].splitlines()
    for name in ("spectral_indices", "plain_nodes", "colour_maps"):
        for registry in registries.values():
            info = registry.plugin_info(name)
            target = str(info.target.relative_to(first[0].cache))
            row = next(number for number, line in enumerate(lines) if target in line)
            assert lines[row - 1].split()[0] == name
            assert info.tag is None or info.tag in lines[row - 1]
            assert (info.commit or "")[:8] in lines[row]
            assert lines[row + 1].strip().split(", ") == [path.rpartition(".")[2] for path in info.nodes]


def test_each_pipeline_ran_with_its_own_version(first: tuple[Workspace, str]) -> None:
    """Both classes of one name were alive at once, and gave different results."""
    ran = [line for line in first[1].splitlines() if line.startswith("Ran ")]
    assert [line.split()[-5] for line in ran] == list(VERSIONS)
    assert len({line.split()[-1] for line in ran}) == 2


def test_each_plugin_has_a_target_directory_of_its_own(registries: dict[str, NodeRegistry]) -> None:
    """Two versions have two, and what a plugin brings along lies in its own and not in the environment."""
    old, new = (registries[tag].plugin_info("spectral_indices") for tag in VERSIONS)
    colour_maps = registries["v1.0.0"].plugin_info("colour_maps")
    assert len({old.target, new.target, colour_maps.target}) == 3
    assert (colour_maps.target / "colorcet").is_dir()
    assert not any((Path(folder) / "colorcet").exists() for folder in sys.path)


def test_two_versions_of_one_class_live_side_by_side(
    first: tuple[Workspace, str], registries: dict[str, NodeRegistry]
) -> None:
    """The pipelines give NDVI and SAVI of one cube, and only version 1.1.0 can adjust for soil."""
    batch: dict[Any, Any] = read_cube(first[0].cube, registries["v1.0.0"].cube_readers()).batch()
    results = {
        tag: Pipeline.load(first[0].pipelines[tag], node_registry=registry).forward(batch)
        for tag, registry in registries.items()
    }
    index = {tag: result["vegetation", "index"] for tag, result in results.items()}
    reflectance = results["v1.0.0"]["reflectance", "reflectance"]
    near_infrared, red = (reflectance[..., [np.abs(batch["wavelengths"] - nm).argmin()]] for nm in (800, 670))
    ndvi = (near_infrared - red) / (near_infrared + red)
    savi = 1.5 * (near_infrared - red) / (near_infrared + red + 0.5)
    np.testing.assert_allclose(index["v1.0.0"], ndvi, rtol=1e-4)
    np.testing.assert_allclose(index["v1.1.0"], savi, rtol=1e-4)
    with pytest.raises(PipelineError, match="soil_adjustment"):
        Pipeline.load(first[0].pipelines["v1.1.0"], node_registry=registries["v1.0.0"])


def test_the_picture_is_large_enough_to_look_at(first: tuple[Workspace, str]) -> None:
    """It is a PNG of at least a thousand pixels each way."""
    head = first[0].picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert min(struct.unpack(">II", head[16:])) > 1000


def test_it_says_how_to_go_on(first: tuple[Workspace, str]) -> None:
    """The last lines are a command on the files that were written."""
    place = first[0]
    for path in (place.cube, place.manifests["v1.0.0"], place.pipelines["v1.0.0"], place.cache):
        assert str(path) in first[1]
        assert path.exists()


def test_a_second_run_finds_everything_in_the_plugin_cache(copied: Workspace) -> None:
    """Nothing is fetched or installed again, though the Git host is a new one."""
    run_demo(copied.root)  # its address is another one where the demonstration has a port of its own

    def files() -> dict[Path, int]:
        paths = (path for path in copied.cache.rglob("*") if ".records" not in path.parts)  # of loads, not of files
        return {path: path.stat().st_ino for path in paths}

    before = files()
    assert run_demo(copied.root).exit_code == 0
    assert files() == before


def test_an_edited_example_is_loaded_anew(
    first: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an edit of the example plugin its tag is another commit; the old checkout is not used."""
    shutil.copytree(demo_workspace.example_plugins(), tmp_path / "edited")
    (tmp_path / "edited" / "spectral_indices" / "NEWS").write_text("edited\n")
    copy_of(first[0], tmp_path / "output")
    monkeypatch.setattr(demo_workspace, "example_plugins", lambda: tmp_path / "edited")
    run_demo(tmp_path / "output")
    assert (tmp_path / "output" / "plugin-cache" / "spectral_indices@v1.0.0" / "NEWS").exists()


def test_the_plugin_cache_of_the_user_is_not_touched(
    copied: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins of a Git host that vanishes stay in the folder of the demonstration."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path / "user"))
    run_demo(copied.root)
    assert not (tmp_path / "user").exists()
    assert NodeRegistry._store().root != copied.cache


def test_what_was_edited_is_never_overwritten(first: tuple[Workspace, str], tmp_path: Path) -> None:
    """A pipeline, a node of a local plugin, a manifest, the picture, the repository: all stay, and that is said."""
    place = copy_of(first[0], tmp_path / "output")
    node = place.root / "plugins/plain_nodes/src/cuvis_ai_plain_nodes/reflectance.py"
    edited = (place.pipelines["v1.0.0"], place.manifests["v1.1.0"], node, place.picture)
    for path in edited:
        path.write_bytes(path.read_bytes() + b"\n# mine\n")
    tag = place.root / "git-host/spectral-indices.git/refs/tags/mine"
    tag.write_bytes(tag.with_name("v1.0.0").read_bytes())
    other = place.pipelines["v1.1.0"]
    other.unlink()
    said = run_demo(place.root).output
    for path in edited:
        assert path.read_bytes().endswith(b"\n# mine\n")
        assert f"Kept as it is, since it was edited: {path}\n" in said
    assert tag.exists()
    assert other.exists()
    assert said.count("Kept as it is") == len(edited)


def test_a_taken_port_is_no_obstacle(tmp_path: Path) -> None:
    """If another program listens where the last run served, another port is used."""
    place = Workspace(tmp_path)
    with GitHost(tmp_path / "other") as other:
        place.manifests["v1.0.0"].write_text(f"repo: http://127.0.0.1:{other.port}/x.git")
        place.written.note(place.manifests["v1.0.0"])
        with place.served() as commits:
            assert str(other.port) not in place.manifests["v1.0.0"].read_text()
            assert len(set(commits.values())) == 2


def test_an_interrupted_run_closes_its_git_host(tmp_path: Path) -> None:
    """After Ctrl-C nobody listens any more."""
    place = Workspace(tmp_path)
    with pytest.raises(KeyboardInterrupt), place.served():
        raise KeyboardInterrupt
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", place._last_port())) != 0


def test_a_folder_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    """The message names the option and the path; the exit status is that of wrong usage."""
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(demo, ["--output-dir", str(tmp_path / "file" / "output")])
    assert result.exit_code == 2
    assert "Error: Invalid value for --output-dir" in result.output
    assert str(tmp_path / "file" / "output") in result.output


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    """A folder with a manifest of the user's own is refused and left as it is."""
    (tmp_path / "plugins.yaml").write_text("plugins: {}")
    result = CliRunner().invoke(demo, ["--output-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "choose a new or an empty folder" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["plugins.yaml"]


@pytest.mark.parametrize("package", ["matplotlib", "tensorly"])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Without the extra, the error gives the command that installs it, and nothing is written."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cuvis-ai-core\[demo\]'"):
        run_demo(tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_help_loads_nothing_heavy() -> None:
    """The help of the command appears without NumPy, matplotlib, git or pydantic."""
    script = (
        "import sys\n"
        "from cuvis_ai_core.cli.demo.demo_command import demo\n"
        "demo(['--help'], standalone_mode=False)\n"
        "print({'numpy', 'matplotlib', 'git', 'pydantic', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("record", [{}, {"folder": 1}, {"folder": None}])
def test_a_folder_that_somebody_sent_is_not_that_of_an_earlier_run(tmp_path: Path, record: dict[str, object]) -> None:
    """Its plugins would be loaded as if the demonstration had written them."""
    (tmp_path / "plugins" / "plain_nodes").mkdir(parents=True)
    (tmp_path / ".demo.json").write_text(json.dumps({"demo.png": "0", **record}))
    result = CliRunner().invoke(demo, ["--output-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds other files" in result.output
