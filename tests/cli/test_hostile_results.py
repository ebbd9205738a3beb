"""Results go where results go, replace only what was written as it is, and hold no secrets."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.batch import run_cubes
from cuvis_ai_core.errors import BundleError, OutputError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.plugins.bundle.local_files import files_below
from cuvis_ai_core.results.folder import OutputFolder
from cuvis_ai_core.results.run_record import for_results, run_record
from cuvis_ai_core.training.metrics_csv import write_matrix, write_metrics

Run = Callable[..., Any]


def write(folder: Path, files: dict[str, str]) -> None:
    """Publish some files, with a record."""
    with OutputFolder(folder) as output:
        for name, text in files.items():
            (output.staging / name).write_text(text)
        (output.staging / "run.json").write_text(json.dumps({"files": [{"file": name} for name in files]}))
        output.publish()


def test_a_record_of_a_stranger_removes_nothing(tmp_path: Path) -> None:
    """Whatever files it names, with or without hashes of something else."""
    (tmp_path / "thesis.txt").write_text("years of work")
    named: dict[str, Any] = {"files": [{"file": "thesis.txt"}]}
    for record in (named, named | {"written": {"thesis.txt": "0" * 64}}, named | {"written": ["thesis.txt"]}):
        (tmp_path / "run.json").write_text(json.dumps(record))
        write(tmp_path, {"x": "1"})
        assert (tmp_path / "thesis.txt").read_text() == "years of work"
        (tmp_path / "x").unlink()


def test_what_was_changed_since_is_somebodys_work(tmp_path: Path) -> None:
    """It stays where the next run does not write it, and stops a run that would."""
    write(tmp_path / "out", {"x": "1", "old": "1"})
    (tmp_path / "out/old").write_text("edited")
    write(tmp_path / "out", {"x": "2"})
    assert (tmp_path / "out/old").read_text() == "edited"
    (tmp_path / "out/x").write_text("edited")
    with pytest.raises(OutputError, match="holds 'x', which no earlier run wrote, or which was changed since"):
        write(tmp_path / "out", {"x": "3"})
    assert (tmp_path / "out/x").read_text() == "edited"


def test_a_link_in_the_place_of_a_result_is_not_ours(tmp_path: Path) -> None:
    """Though what it leads to has the content."""
    write(tmp_path / "out", {"x": "1"})
    (tmp_path / "out/x").rename(tmp_path / "elsewhere")
    (tmp_path / "out/x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="holds 'x'"):
        write(tmp_path / "out", {"x": "2"})
    assert (tmp_path / "elsewhere").read_text() == "1"


def test_a_folder_that_is_called_like_a_temporary_one_is_not_removed(tmp_path: Path) -> None:
    """Unless it holds just what a run that was killed leaves."""
    for name in (".out.backup", ".out.linked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years of work")
    (tmp_path / ".out.backup/lock").touch()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".out.link").mkdir()
    (tmp_path / ".out.link/lock").symlink_to(tmp_path / "precious")
    (tmp_path / ".out.notes").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/lock").touch()
    (tmp_path / ".out.shortcut").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "out", {"x": "1"})
    assert (tmp_path / ".out.notes").read_text() == "mine"
    assert (tmp_path / ".out.shortcut/lock").is_file()
    assert (tmp_path / ".out.backup/thesis.txt").read_text() == "years of work"
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["../../evil", "/evil", "CON", "a/b", "n" * 300, "a\0b", "\x1b[31m", "..", "~"])
def test_names_are_no_paths(shell: Run, write_yaml: Run, cube_file: Path, tmp_path: Path, name: str) -> None:
    """Nodes, ports and pipelines are called as they like; files of results are in the folder, and no other is made."""
    nodes = [{"name": name.replace(".", "_"), "class_name": "RXDetector"}]
    file = write_yaml("p.yaml", {"metadata": {"name": name}, "nodes": nodes})
    before = {each for each in tmp_path.rglob("*") if "work" not in each.parts}
    result = shell("restore-pipeline", "--pipeline-path", file, "--cube-path", cube_file)
    assert result.exit_code == 0, result.output
    folders = [each for each in Path().iterdir() if each.is_dir()]
    assert len(folders) == 1
    assert all(each.is_file() for each in folders[0].iterdir())
    assert {each for each in tmp_path.rglob("*") if "work" not in each.parts} == before
    shown = shell("restore-pipeline", "--pipeline-path", file, "--override", f"nodes.0.class_name=lab.{name!r}")
    assert "unexpected" not in shown.output


def test_an_output_folder_with_a_nul_is_refused() -> None:
    """It is no path."""
    with pytest.raises(OutputError, match=r"cannot be written: .*embedded null"), OutputFolder(Path("a\0b")):
        pytest.fail("the work began")


def test_a_record_that_is_a_trap_is_none(tmp_path: Path) -> None:
    """A pipe would be waited for, a deep nest would end the parser."""
    (tmp_path / "out").mkdir()
    record = tmp_path / "out/run.json"
    record.write_text('{"files": ' + "[" * 100_000)
    with pytest.raises(OutputError, match=r"holds 'run\.json'"):
        write(tmp_path / "out", {"x": "1"})
    record.unlink()
    os.mkfifo(record)
    with pytest.raises(OutputError, match=r"holds 'run\.json'"):
        write(tmp_path / "out", {"x": "1"})


def test_no_passwords_in_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those in addresses nor what a file may know of the environment."""
    monkeypatch.setenv("TOKEN", "hunter2-hunter2")
    monkeypatch.setenv("CUVIS_ALLOW_ENV", "TOKEN")
    record = run_record({"overrides": ["tags.a=https://user:secret@host/x", "tags.b=hunter2-hunter2"]}, [], [], [])
    text = json.dumps(record)
    assert "secret" not in text
    assert "hunter2" not in text
    assert record["overrides"] == ["tags.a=https://***@host/x", "tags.b=${oc.env:TOKEN}"]
    assert for_results({"data": ["/data/scene.npz::cube", 3, None]}) == {"data": ["/data/scene.npz::cube", 3, None]}


def test_a_saved_pipeline_asks_for_the_variable_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file it came from."""
    monkeypatch.setenv("QUANTILE_TOKEN", "hunter2-hunter2")
    monkeypatch.setenv("CUVIS_ALLOW_ENV", "QUANTILE_TOKEN")
    node = {"name": "n", "class_name": "QuantileDecider"}
    about = {"name": "p", "key": "${oc.env:QUANTILE_TOKEN}"}
    pipeline = Pipeline.from_dict({"metadata": about, "nodes": [node]})
    assert pipeline.metadata["key"] == "hunter2-hunter2"
    pipeline.save(tmp_path / "p.yaml")
    assert "key: ${oc.env:QUANTILE_TOKEN}" in (tmp_path / "p.yaml").read_text()
    assert Pipeline.load(tmp_path / "p.yaml").metadata["key"] == "hunter2-hunter2"


def test_a_variable_is_allowed_on_the_command_line(
    shell: Run, write_yaml: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For this command alone."""
    monkeypatch.setenv("QUANTILE", "0.5")
    params = {"quantile": "${oc.decode:${oc.env:QUANTILE}}"}
    file = write_yaml("p.yaml", {"nodes": [{"name": "n", "class_name": "QuantileDecider", "params": params}]})
    refused = shell("restore-pipeline", "--pipeline-path", file)
    assert (refused.exit_code, "--allow-env QUANTILE" in refused.output) == (2, True), refused.output
    shown = shell("restore-pipeline", "--pipeline-path", file, "--allow-env", "QUANTILE")
    assert shown.exit_code == 0, shown.output
    assert "CUVIS_ALLOW_ENV" not in os.environ


def test_a_second_run_of_a_pipeline_replaces_the_first(shell: Run, pipeline_file: Path, cube_file: Path) -> None:
    """Honest use: the record knows all that the first one wrote, pictures included."""
    arguments = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--output-dir", "out")
    assert shell(*arguments, "--profile").exit_code == 0
    first = {file.name for file in Path("out").iterdir()}
    again = shell(*arguments)
    assert again.exit_code == 0, again.output
    assert first - {file.name for file in Path("out").iterdir()} == {"profile.json"}
    written = json.loads(Path("out/run.json").read_text())["written"]
    assert written.keys() == {file.name for file in Path("out").iterdir()} - {"run.json"}
    assert np.load("out/outputs.npz")


def test_a_temporary_folder_of_a_stranger_takes_nothing_and_lays_nothing_down(tmp_path: Path) -> None:
    """It came in an archive with the content of a file that is known, and with another one instead."""
    vetted = tmp_path / "plugins.yaml"
    for beside, name in ((tmp_path, "first"), (tmp_path / "out", "out"), (tmp_path, "third")):
        left = beside / f".{name}.evil"
        for folder in (tmp_path / "elsewhere", left / "old"):
            folder.mkdir(parents=True, exist_ok=True)
        (left / "lock").touch()
        (beside / vetted.name).write_text("vetted")
        (left / "old" / vetted.name).write_text("evil")
        (left / "old/.profile").write_text("evil")
        written = {vetted.name: hashlib.sha256(b"vetted").hexdigest()}
        new = tmp_path / "elsewhere" if name == "third" else left / "new"
        new.mkdir(exist_ok=True)
        (new / "run.json").write_text(json.dumps({"files": [], "written": written, "folder": 1}))
        if name == "third":
            (left / "new").symlink_to(new)
        write(tmp_path / name, {"x": "1"})
        assert (beside / vetted.name).read_text() == "vetted"
        assert not (beside / ".profile").exists()
        # Of a copied folder these may be all that there is.
        assert (left / "old" / vetted.name).read_text() == "evil"


@pytest.mark.parametrize("link", [".cuvis-batch", ".cuvis-batch/failed", ".cuvis-batch/logs/local-0.log", "a"])
def test_many_cubes_are_not_written_through_links(tmp_path: Path, link: str, cube_file: Path, write_yaml: Run) -> None:
    """A folder that came in an archive would have files elsewhere replaced, renamed or laid down."""
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    for name in ("job.json", "run.json"):
        (elsewhere / name).write_text("mine")
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(elsewhere)
    for name in ("a/one.npz", "two.npz"):
        (tmp_path / "cubes" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cube_file, tmp_path / "cubes" / name)
    pipeline = write_yaml("p.yaml", {"metadata": {"name": "p"}, "nodes": [{"name": "rx", "class_name": "RXDetector"}]})
    with pytest.raises(OutputError, match=f"has a link, '{link}'"):
        run_cubes(pipeline, str(tmp_path / "cubes/**/*.npz"), out)
    assert {each.name: each.read_text() for each in elsewhere.iterdir()} == dict.fromkeys(
        ("job.json", "run.json"), "mine"
    )


@pytest.mark.parametrize("name", ["cubes.csv", "report.html", "run.json"])
def test_many_cubes_replace_no_summary_of_somebody(tmp_path: Path, name: str, cube_file: Path, write_yaml: Run) -> None:
    """What lies there before the first run is somebody's."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    pipeline = write_yaml("p.yaml", {"metadata": {"name": "p"}, "nodes": [{"name": "rx", "class_name": "RXDetector"}]})
    with pytest.raises(OutputError, match=f"holds '{name}', which no run on many cubes wrote"):
        run_cubes(pipeline, cube_file, tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_rights_of_files_elsewhere_stay(tmp_path: Path) -> None:
    """A link in a folder that nobody may write into is not taken for what it leads to when the folder is removed."""
    (tmp_path / "mine").touch(0o640)
    (tmp_path / "folder/locked").mkdir(parents=True)
    (tmp_path / "folder/locked/link").symlink_to("../../mine")
    (tmp_path / "folder/locked").chmod(0o555)
    code = """if True:
        import os, pathlib, shutil
        from cuvis_ai_core._folder_removal import remove_tree
        os.getuid() or os.setuid(65534)  # root may write everywhere
        remove_tree(pathlib.Path("folder"))
    """
    for place in (tmp_path, *tmp_path.rglob("*")):
        if os.getuid() == 0:
            os.lchown(place, 65534, 65534)
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert "Error: [Errno" in ended.stderr  # it cannot be removed
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_names_in_tables_are_no_formulas(tmp_path: Path, text: str) -> None:
    """A spreadsheet would compute them, and a terminal obey them."""
    write_matrix(tmp_path / "m.csv", np.eye(2), [text, "\x1b]52;c;x\x07"])
    write_metrics(tmp_path / "e.csv", [{text: -1.0, "epoch": 0}])
    for file in ("m.csv", "e.csv"):
        cells = [cell for row in csv.reader((tmp_path / file).read_text().splitlines()) for cell in row]
        assert "-1.0" in cells or file == "m.csv"
        assert f"'{text}" in cells
        assert text not in cells
        assert "\x1b" not in "".join(cells)


def test_a_pipe_in_a_project_is_not_waited_for(local_plugin: Run, pipe: Run) -> None:
    """Neither where it is looked for mistakes nor where it is carried elsewhere."""
    project = local_plugin() / "pyproject.toml"
    project.unlink()
    pipe(project)
    command = [sys.executable, "-m", "cuvis_ai_core", "plugins", "check", "--no-run", str(project.parent)]
    assert subprocess.run(command, check=False, capture_output=True, timeout=50).returncode == 1
    with pytest.raises(BundleError, match="is a pipe, a socket or a device"):
        list(files_below(project.parent))
