"""The lists of what plugins contribute, as tables and as JSON, and the schemas of files."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

Shell = Callable[..., Result]
TOP = Path(__file__).parents[2]
INDICES = f"""\
plugins:
  indices:
    path: {TOP / "example_plugins/spectral_indices"}
    provides: [cuvis_ai_spectral_indices.band_depth.BandDepth]
"""


@pytest.fixture
def manifest(shell: Shell) -> Path:
    """Return a manifest with a plugin that has hooks."""
    del shell
    Path("plugins.yaml").write_text(INDICES, encoding="utf-8")
    return Path("plugins.yaml")


def listed(shell: Shell, *command: str | Path) -> dict[str, Any]:
    """Return what a list says to programs."""
    found = shell("cuvis-ai", *command, "--json")
    assert found.exit_code == 0, found.stderr
    said: dict[str, Any] = json.loads(found.stdout)
    assert said.keys() == {"kind", "items", "notes"}
    return said


def test_every_list_has_one_shape_for_programs(shell: Shell, manifest: Path) -> None:
    """What, its items by the headings, and notes; what is not known is null."""
    for command in ("nodes", "pipelines", "readers", "hooks", "plugins"):
        said = listed(shell, command, "list", "--plugins-path", manifest)
        assert said["kind"] == command
        assert said["items"]
        assert len({tuple(item) for item in said["items"]}) == 1
    assert listed(shell, "plugins", "cache", "list")["kind"] == "cache"
    (plugin,) = listed(shell, "plugins", "list", "--plugins-path", manifest)["items"]
    assert (plugin["name"], plugin["state"], plugin["tag"]) == ("indices", "local", None)


def test_nodes_that_only_code_knows_are_listed_once_it_is_loaded(shell: Shell, manifest: Path) -> None:
    """With `--load`; without, a note says so."""
    without = listed(shell, "nodes", "list", "--plugins-path", manifest)
    assert "NormalizedDifferenceIndex" not in [item["name"] for item in without["items"]]
    assert without["notes"]
    loaded = listed(shell, "nodes", "list", "--load", "--plugins-path", manifest)
    (found,) = [item for item in loaded["items"] if item["name"] == "NormalizedDifferenceIndex"]
    assert found["plugin"] == "indices"


def test_pipelines_readers_and_hooks_are_listed_with_whose_they_are(shell: Shell, manifest: Path) -> None:
    """Built-in ones too."""
    found = shell("cuvis-ai", "pipelines", "list", "--plugins-path", manifest)
    assert " default  indices  " in found.stdout
    readers = {item["suffix"]: item for item in listed(shell, "readers", "list")["items"]}
    assert readers[".npy"]["plugin"] == "built in"
    assert readers[".npy"]["reader"] == "cuvis_ai_core.data.numpy_files.read_npy"
    hooks = {item["hook"]: item for item in listed(shell, "hooks", "list", "--plugins-path", manifest)["items"]}
    assert "indices" in hooks["cuvis_ai_nodes"]["plugins"]
    assert hooks["cuvis_ai_node_failed"]["plugins"] is None
    assert "No plugin brings a pipeline along." in shell("cuvis-ai", "pipelines", "list").stdout


def schema(shell: Shell, kind: str, *more: str | Path) -> Any:
    """Return a validator by the schema of a kind of file."""
    jsonschema = pytest.importorskip("jsonschema")
    found = shell("cuvis-ai", "schema", kind, *more)
    assert found.exit_code == 0, found.stderr
    said = json.loads(found.stdout)
    jsonschema.Draft202012Validator.check_schema(said)
    return jsonschema.Draft202012Validator(said)


def test_the_schema_of_a_pipeline_knows_nodes_and_their_parameters(shell: Shell, manifest: Path) -> None:
    """Files of ours and published spellings are valid; a slip is not."""
    valid = schema(shell, "pipeline", "--plugins-path", manifest)
    files = [TOP / "src/cuvis_ai_core/cli/demo/files/pipeline.yaml"]
    files += (TOP / "example_plugins").glob("*/src/*/configs/*.yaml")
    files += [TOP / "example_plugins/spectral_classifier/indian_pines/pipeline/classifier.yaml"]
    files += [TOP / "tests/projects/published_catalogue/configs/pipeline/belt.yaml"]
    for file in files:
        assert list(valid.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))) == [], file
    node = {"name": "mask", "class_name": "QuantileDecider", "params": {"quantile": 0.5}}
    assert valid.is_valid({"nodes": [node]})
    assert valid.is_valid({"nodes": [{**node, "params": {"quantile": "${oc.env:Q}"}}]})
    assert not valid.is_valid({"nodes": [{**node, "params": {"quantile": [1]}}]})
    assert not valid.is_valid({"nodes": [{**node, "parms": {}}]})
    assert not valid.is_valid({"nodes": [{"name": "d", "class_name": "BandDepth", "params": {"centre_nm": [1]}}]})
    assert not valid.is_valid({"nodes": [node], "edges": [{"source": "a.b"}]})
    names = valid.schema["$defs"]["NodeConfig"]["properties"]["class_name"]["anyOf"][0]["enum"]
    assert {"RXDetector", "BandDepth", "NormalizedDifferenceIndex"} <= set(names)


def test_the_schema_of_a_trainrun_takes_whole_and_composed_files(shell: Shell) -> None:
    """With the pipeline in it, or by its name."""
    pytest.importorskip("cuvis_ai_schemas")
    valid = schema(shell, "trainrun")
    composed = TOP / "example_plugins/spectral_classifier/indian_pines/trainrun.yaml"
    assert list(valid.iter_errors(yaml.safe_load(composed.read_text(encoding="utf-8")))) == []
    whole = {"name": "x", "pipeline": {"nodes": [{"name": "rx", "class_name": "RXDetector"}]}, "data": {"cubes": ["a"]}}
    assert valid.is_valid(whole)
    assert not valid.is_valid({"name": "x", "data": {}})
    assert not valid.is_valid({**whole, "data": {"cubs": ["a"]}})
    assert not valid.is_valid({**whole, "pipeline": {"nodes": [{"name": "rx"}]}})


@pytest.mark.slow
def test_the_schemas_of_manifest_and_lock_take_what_is_written(shell: Shell, manifest: Path) -> None:
    """The lock is TOML, and read as such."""
    import tomllib

    assert schema(shell, "manifest").is_valid(yaml.safe_load(INDICES))
    assert shell("cuvis-ai", "plugins", "lock", manifest).exit_code == 0
    locked = tomllib.loads(Path("plugins.lock").read_text(encoding="utf-8"))
    valid = schema(shell, "lock")
    assert list(valid.iter_errors(locked)) == []
    assert not valid.is_valid({**locked, "plugins": {"x": {"commit": "no"}}})


def test_a_schema_is_written_with_the_line_for_an_editor(shell: Shell) -> None:
    """As editors with the YAML language server read it."""
    found = shell("cuvis-ai", "schema", "manifest", "-o", "plugins.schema.json")
    assert found.stdout.endswith("# yaml-language-server: $schema=plugins.schema.json\n")
    assert json.loads(Path("plugins.schema.json").read_text(encoding="utf-8"))["$schema"]


@pytest.mark.slow
def test_a_folder_of_repositories_is_served(shell: Shell, tmp_path: Path, interruptible: None) -> None:
    """Working ones too; until Ctrl-C, which is no error."""
    made = shell("cuvis-ai", "plugins", "new", "leaf-index")
    assert made.exit_code == 0
    git = ["git", "-C", "leaf-index", "-c", "user.name=me", "-c", "user.email=me@example.org"]
    for command in (["add", "-A"], ["commit", "-qm", "First"], ["tag", "v0.1.0"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    code = "from cuvis_ai_core.cli.main import main; main(prog_name='cuvis-ai')"
    command = [sys.executable, "-c", code, "git-host", ".", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        url = host.stdout.readline().strip()
        try:
            assert url.endswith("/leaf-index.git")
            found = shell("cuvis-ai", "plugins", "add", url)
            assert found.exit_code == 0, found.stderr
            assert "Added 'leaf_index', v0.1.0 of http://127.0.0.1" in found.stdout
        finally:
            host.send_signal(signal.SIGINT)
        assert host.wait(20) == 0
    (tmp_path / "nothing").mkdir()
    nothing = shell("cuvis-ai", "git-host", tmp_path / "nothing")
    assert nothing.exit_code == 2
    assert "There is no Git repository in" in nothing.stderr
