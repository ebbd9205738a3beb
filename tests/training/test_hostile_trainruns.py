"""What a trainrun or a pipeline that a stranger sent cannot have read, and how little it can ask for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cuvis_ai_core.cli.restore.restore_trainrun import main as restore_trainrun
from cuvis_ai_core.errors import PipelineError, TrainRunError
from cuvis_ai_core.pipeline.file.interpolation import hide_environment, resolve
from cuvis_ai_core.pipeline.file.reader import parse_config
from cuvis_ai_core.training import read_trainrun

pytest.importorskip("hydra")

REST = "name: t\npipeline: p\ndata: {cubes: x}\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a file below a folder of its own."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.mark.parametrize(
    "default", ["../secret@tags", "../../secret@tags", "data/../../secret@tags", "{root}/secret@tags"]
)
def test_defaults_stay_below_their_folders(write: Any, tmp_path: Path, default: str) -> None:
    """A file elsewhere is not copied into a trainrun, however it is named."""
    write("secret.yaml", "token: 12345")
    write("work/secret.yaml", "token: 12345")
    default = default.format(root=tmp_path)
    file = write("work/configs/run.yaml", f"defaults: [{default}, _self_]\n{REST}")
    with pytest.raises(TrainRunError, match=r"leads out of its folder|cannot be composed"):
        read_trainrun(file)


def test_defaults_of_defaults_and_links_stay_there_too(write: Any, tmp_path: Path) -> None:
    """Whichever file names another, and whatever a link is called."""
    write("secret.yaml", "token: 12345")
    write("configs/data/inner.yaml", "defaults: [../../secret@tags]\ncubes: x\n")
    file = write("configs/run.yaml", "defaults: [data: inner]\nname: t\npipeline: p\n")
    with pytest.raises(TrainRunError, match="leads out of its folder"):
        read_trainrun(file)
    (tmp_path / "configs/linked.yaml").symlink_to(tmp_path / "secret.yaml")
    file = write("configs/run.yaml", f"defaults: [linked@tags, _self_]\n{REST}")
    with pytest.raises(TrainRunError, match=r"leads out of its folder: 'linked' is .*secret\.yaml"):
        read_trainrun(file)


@pytest.mark.parametrize(
    "asked",
    ['"${oc.env:SECRET_OF_MINE}"', '{data: "${oc.env:SECRET_OF_MINE}"}', '"${${a}:SECRET_OF_MINE}"'],
)
@pytest.mark.parametrize("inner", [False, True])
def test_defaults_ask_for_no_variable(write: Any, monkeypatch: pytest.MonkeyPatch, asked: str, *, inner: bool) -> None:
    """Neither those of the file nor those of one that it names: an error of Hydra would say the value."""
    monkeypatch.setenv("SECRET_OF_MINE", "canary")
    write("configs/sub/inner.yaml", f"defaults: [{asked}]\na: oc.env\n")
    file = write("configs/run.yaml", f"defaults: [{'sub/inner' if inner else asked}, _self_]\n{REST}")
    with pytest.raises(TrainRunError) as caught:
        read_trainrun(file)
    assert "canary" not in str(caught.value)
    assert "list of defaults asks for" in str(caught.value)


def test_a_file_may_not_add_folders_to_look_in(write: Any, tmp_path: Path) -> None:
    """Hydra's own key for it has no effect here."""
    write("private/secret.yaml", "token: 12345")
    place = f"hydra: {{searchpath: ['file://{tmp_path / 'private'}', 'pkg://antigravity']}}\n"
    file = write("configs/run.yaml", f"defaults: [secret@tags, _self_]\n{place}{REST}")
    with pytest.raises(TrainRunError, match="cannot be composed"):
        read_trainrun(file)


def test_the_home_folder_is_no_folder_of_configurations(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainrun in the downloads takes nothing from the folder above; one in a project does."""
    write("home/.config/secret.yaml", "token: 12345")
    file = write("home/downloads/run.yaml", f"defaults: [.config/secret@tags, _self_]\n{REST}")
    monkeypatch.setenv("HOME", str(file.parents[1]))
    with pytest.raises(TrainRunError, match="cannot be composed"):
        read_trainrun(file)
    write("home/project/data/lentils.yaml", "cubes: x")
    honest = write("home/project/runs/run.yaml", "defaults: [data: lentils]\nname: t\npipeline: p\n")
    assert read_trainrun(honest).config.to_dict()["data"] == {"cubes": ["x"]}


@pytest.mark.parametrize("text", [BOMB, "[" * 5000, "a: 1\n" * 300_000, "a: b\na: c\n"])
def test_files_of_defaults_have_the_limits_of_the_first(write: Any, text: str) -> None:
    """Aliases, depth and size; what is wrong is said with the file."""
    write("configs/data/bomb.yaml", text)
    file = write("configs/run.yaml", "defaults: [data: bomb]\nname: t\npipeline: p\n")
    with pytest.raises(TrainRunError, match=r"bomb\.yaml:"):
        read_trainrun(file)


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:SECRET}",
        "x-${ oc.env : SECRET }",
        "${oc.${part}:SECRET}",
        "${oc.env:${name}}",
        "${oc.decode:'${oc.env:SECRET}'}",
        "${oc.decode:'\\${oc.env:SECRET}'}",
        "${oc.env:SECRET,x}",
    ],
)
def test_only_variables_that_are_allowed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """However the name is put together; with leave the value comes, and never goes into results."""
    monkeypatch.setenv("SECRET", "hunter2-hunter2")
    data = {"part": "env", "name": "SECRET", "value": text}
    with pytest.raises(PipelineError, match="'SECRET', which is not allowed") as caught:
        resolve(data)
    assert "--allow-env SECRET" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("CUVIS_ALLOW_ENV", "OTHER,SECRET")
    found = resolve(data)["value"]
    assert found.endswith("hunter2-hunter2")
    assert "hunter2" not in str(hide_environment({"deep": [found, {"url": f"https://{found}@host"}]}))
    assert resolve(hide_environment({"again": found}))["again"] == found


def test_a_default_stands_for_a_variable_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """That needs no leave; without a default it is an error."""
    monkeypatch.delenv("SECRET", raising=False)
    assert resolve({"a": "${oc.env:SECRET,data}"}) == {"a": "data"}
    with pytest.raises(PipelineError, match="a: Environment variable 'SECRET' not found"):
        resolve({"a": "${oc.env:SECRET}"})


@pytest.mark.parametrize(
    "data",
    [
        {"a": "${a}"},
        {"a": "${b}", "b": ["${a}"]},
        {"a": {"b": "${a}"}},
        {"a": "${..}"},
        {"a": "${oc.create:{x: 1}}"},
        {"a": "${eval:1+1}"},
        {"a": "${oc.env:}"},
        {"a": "${oc.select:1}"},
        {"a": "${" * 60},
        {"a": "${oc.decode:" * 700 + "x" + "}" * 700},
        {"a": "${b}" + "x" * 20_000, "b": 1},
        {f"a{n}": f"${{a{n + 1}}}" for n in range(2000)},
        {"a0": "x" * 100, **{f"a{n}": f"${{a{n - 1}}}" * 9 for n in range(1, 40)}},
        {"a0": ["x"] * 9, **{f"a{n}": [f"${{a{n - 1}}}"] * 9 for n in range(1, 40)}},
        pytest.param(
            {"a0": {"x": "y"}, **{f"a{n}": {"l": f"${{a{n - 1}}}", "r": f"${{a{n - 1}}}"} for n in range(1, 40)}},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_traps_of_interpolations_are_errors(data: Any) -> None:
    """Circles, functions, depth and growth: one error of ours each, at once."""
    with pytest.raises(PipelineError):
        resolve(data)


def test_honest_interpolations() -> None:
    """Relative ones, numbers in lists, whole sections, numbers that stay numbers."""
    data = {
        "root": "/data",
        "n": 3,
        "sub": {"own": "o", "beside": "${.own}", "above": "${..root}/x", "list": ["a", "${.[0]}b"]},
        "copy": "${sub}",
        "second": "${sub.list[1]}",
        "number": "${n}",
        "through": "${copy.above}",
        "plain": "\\${kept}",
        "maybe": "${oc.select:gone,7}",
    }
    found = resolve(data)
    assert found["sub"] == {"own": "o", "beside": "o", "above": "/data/x", "list": ["a", "ab"]} == found["copy"]
    assert (found["second"], found["number"], found["through"]) == ("ab", 3, "/data/x")
    assert (found["plain"], found["maybe"]) == ("${kept}", 7)


def test_a_pipeline_file_has_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read the same way."""
    monkeypatch.setenv("SECRET", "x")
    node = {"name": "n", "class_name": "RXDetector", "params": {"regularization": "${oc.env:SECRET}"}}
    with pytest.raises(PipelineError, match="not allowed"):
        parse_config({"nodes": [node]})


def test_cubes_at_addresses_are_named_when_shown_and_asked_for_when_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends a trainrun to be looked at does not learn who looks."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUVIS_CUBES_DIR", str(tmp_path / "cubes"))
    with fsspec.open("memory://asked/scene.npz", "wb") as file:
        np.savez(file, cube=np.random.default_rng(1).random((6, 6, 3), np.float32))
    nodes = [{"name": "rx", "class_name": "RXDetector"}]
    data = {"cubes": ["memory://asked/scene.npz"]}
    (tmp_path / "t.yaml").write_text(json.dumps({"name": "t", "pipeline": {"nodes": nodes}, "data": data}))
    shown = CliRunner().invoke(restore_trainrun, ["--trainrun-path", "t.yaml"])
    assert "which training asks: memory://asked/scene.npz" in shown.output
    assert not (tmp_path / "cubes").exists()
    trained = CliRunner().invoke(restore_trainrun, ["--trainrun-path", "t.yaml", "--mode", "train"])
    assert trained.exit_code == 0, trained.output
    assert list((tmp_path / "cubes").rglob("scene.npz"))
