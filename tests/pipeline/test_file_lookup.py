import os
from pathlib import Path

import pytest

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.file.lookup import PipelineFiles, find_pipeline_file, find_weights
from cuvis_ai_core.pipeline.file.reader import EXAMPLE, read_config
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.pipeline.weights.weights_file import write_weights


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """The configuration directory of a plugin with one pipeline."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "anomaly.yaml").touch()
    return folder


def test_a_path_is_a_path(configs: Path) -> None:
    """An existing file needs no directory."""
    assert find_pipeline_file(str(configs / "anomaly.yaml"), list) == configs / "anomaly.yaml"


@pytest.mark.parametrize("name", ["anomaly", "anomaly.yaml"])
def test_a_name_is_looked_up_in_the_directories(configs: Path, name: str) -> None:
    """With or without the suffix."""
    assert find_pipeline_file(name, lambda: [configs / "absent", configs]) == configs / "anomaly.yaml"


def test_a_name_may_have_dots_and_another_suffix(configs: Path) -> None:
    """`v1.2` is a name; `.yml` is YAML, too."""
    (configs / "v1.2.yml").touch()
    assert find_pipeline_file("v1.2", lambda: [configs]) == configs / "v1.2.yml"


def test_the_home_folder_may_be_a_tilde(configs: Path) -> None:
    """As in a shell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(configs))
        patch.setenv("USERPROFILE", str(configs))
        assert find_pipeline_file("~/anomaly.yaml", list) == configs / "anomaly.yaml"


def test_a_file_here_beats_a_name(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the working directory is meant first."""
    (tmp_path / "anomaly.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_pipeline_file("anomaly.yaml", lambda: [configs]) == Path("anomaly.yaml")


def test_an_unknown_name_is_an_error_with_near_names_and_places(configs: Path) -> None:
    """The message lists every directory that was searched."""
    with pytest.raises(PipelineError, match="There is no pipeline file 'anomoly'") as error:
        find_pipeline_file("anomoly", lambda: [configs])
    assert str(configs) in str(error.value)
    assert "Did you mean 'anomaly'?" in str(error.value)


def test_an_unknown_path_is_an_error_with_near_paths(configs: Path) -> None:
    """Names beside the path count as well."""
    with pytest.raises(PipelineError) as error:
        find_pipeline_file(configs / "anomly.yaml", list)
    assert f"Did you mean '{configs / 'anomaly.yaml'}'?" in str(error.value)


def test_without_near_names_the_plugin_may_be_missing(configs: Path) -> None:
    """A name that nothing resembles may belong to a plugin that is not loaded."""
    with pytest.raises(PipelineError, match="or load the plugin first") as error:
        find_pipeline_file("zzz", lambda: [configs])
    assert "Plugins bring: anomaly. " in str(error.value)


def test_a_name_in_the_wrong_case_is_asked_back_first(configs: Path) -> None:
    """However many others are near."""
    for near in ("ANOMALx", "ANOMAL"):
        (configs / f"{near}.yaml").touch()
    with pytest.raises(PipelineError, match="Did you mean 'anomaly' or"):
        find_pipeline_file("ANOMALY", lambda: [configs])


def test_one_name_in_two_plugins_is_an_error(configs: Path, tmp_path: Path) -> None:
    """None of the two is picked silently."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "anomaly.yaml").touch()
    with pytest.raises(PipelineError, match="Several pipelines are named 'anomaly'") as error:
        find_pipeline_file("anomaly", lambda: [configs, other])
    assert str(configs / "anomaly.yaml") in str(error.value)
    assert str(other / "anomaly.yaml") in str(error.value)


def test_a_folder_is_no_pipeline(configs: Path) -> None:
    """The message says what one is."""
    with pytest.raises(PipelineError, match="is a folder"):
        find_pipeline_file(configs, list)


def test_a_pipeline_knows_what_it_was_read_from(tmp_path: Path) -> None:
    """Its file, the weights beside it, and what was laid over; one made of no file knows nothing."""
    file = tmp_path / "scaled.yaml"
    file.write_text("nodes: [{name: scaler, class_name: MinMaxNormalizer}]\n", encoding="utf-8")
    made = Pipeline.load(file)
    assert made.files == PipelineFiles(file)
    write_weights(file.with_suffix(".safetensors"), {}, {})
    changed = Pipeline.load(file, overrides=["metadata.name=other"])
    assert changed.files == PipelineFiles(file, file.with_suffix(".safetensors"), ("metadata.name=other",))
    assert Pipeline.load(file, beside=False).files == PipelineFiles(file)
    assert Pipeline.from_dict(made.to_dict()).files is None


def test_plugins_are_asked_for_their_folders_only_where_a_pipeline_is_given_by_its_name(configs: Path) -> None:
    """What a plugin answers for names changes nothing for a path, and costs it nothing."""

    def ask() -> list[Path]:
        asked.append(configs)
        return asked

    asked: list[Path] = []
    find_pipeline_file(configs / "anomaly.yaml", ask)
    assert not asked
    find_pipeline_file("anomaly", ask)
    assert asked


@pytest.fixture
def owners(tmp_path: Path) -> dict[Path, str]:
    """Return the folders of two plugins, each with a pipeline `anomaly` and one of its own, and of nobody."""
    found = {}
    for plugin in ("one", "two", ""):
        folder = tmp_path / f"of {plugin}"
        folder.mkdir()
        found[folder] = plugin
        for name in ("anomaly", f"only_{plugin}") if plugin else ("plain",):
            (folder / f"{name}.yaml").touch()
    return found


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("one:anomaly", "of one/anomaly.yaml"),
        ("two:anomaly.yaml", "of two/anomaly.yaml"),
        ("only_two", "of two/only_two.yaml"),
        ("plain", "of /plain.yaml"),
    ],
)
def test_a_name_may_say_whose_it_is(owners: dict[Path, str], tmp_path: Path, name: str, file: str) -> None:
    """Where several plugins have one of it."""
    assert find_pipeline_file(name, lambda: owners) == tmp_path / file


def test_a_pipe_is_no_pipeline_file(tmp_path: Path) -> None:
    """It is there, and no other place is looked at."""
    os.mkfifo(tmp_path / "63")
    with pytest.raises(PipelineError, match=r"63 cannot be read: it is a pipe, no file\.\nWrite what it brings into"):
        find_pipeline_file(tmp_path / "63", lambda: pytest.fail("it was looked for elsewhere"))


@pytest.mark.parametrize(
    ("name", "searched", "not_searched"),
    [("one:only_two", ["of one"], ["of two"]), ("three:anomaly", ["of one", "of two"], []), ("/x", ["of one"], [])],
)
def test_a_name_of_a_plugin_is_looked_up_there_alone(
    owners: dict[Path, str], tmp_path: Path, name: str, searched: list[str], not_searched: list[str]
) -> None:
    """Of a plugin that is not loaded, all folders are named."""
    with pytest.raises(PipelineError, match="There is no pipeline file") as error:
        find_pipeline_file(name, lambda: owners)
    assert all(str(tmp_path / each) in error.value.message for each in searched)
    assert not any(str(tmp_path / each) in error.value.message for each in not_searched)


def test_of_one_name_in_two_plugins_it_is_said_whose_each_is(owners: dict[Path, str], tmp_path: Path) -> None:
    """And how to say which is meant; where one is nobody's, or both are of one plugin, a path tells them apart."""
    with pytest.raises(PipelineError) as error:
        find_pipeline_file("anomaly", lambda: owners)
    assert f"\n  {tmp_path / 'of one/anomaly.yaml'} (plugin 'one')" in error.value.message
    assert error.value.hint == "Say whose, as in 'one:anomaly', or give the path of one of them."
    for others in (["one", ""], ["one", "one"]):
        told = dict(zip(list(owners)[:2], others, strict=True))
        with pytest.raises(PipelineError) as error:
            find_pipeline_file("anomaly", lambda told=told: told)  # type: ignore[misc]
        assert error.value.hint == "Give the path of one of them."
        assert "(plugin '')" not in error.value.message
        assert "(plugin 'one')" in error.value.message


@pytest.mark.parametrize(
    ("folders", "name", "said", "hint"),
    [
        (False, "zzz", " none (no plugin brings pipelines)", "Check the path, or load the plugin first."),
        (True, "qqqq", "of one", "Plugins bring: anomaly, only_one, only_two, plain. Check the path"),
        (True, "default", "of one", "Plugins bring: anomaly, only_one, only_two, plain. Check the path"),
        (True, "elsewhere/plian.yaml", "of one", "Did you mean 'plain'?"),
        (True, "ano/mal.yaml", "of one", "Did you mean 'anomaly'?"),
    ],
)
def test_a_name_that_is_not_there_says_which_are(
    owners: dict[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    said: str,
    hint: str,
    *,
    folders: bool,
) -> None:
    """The nearest, also by the last part of a path; files of other kinds are none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of one" / "default.yaml").write_text("Node: {x: 1}\n")
    with pytest.raises(PipelineError) as error:
        find_pipeline_file(name, lambda: owners if folders else {})
    assert said in error.value.message
    assert str(error.value.hint).startswith(hint)


def test_two_files_of_weights_are_told_with_the_way_out(tmp_path: Path) -> None:
    """None of them is picked silently."""
    file = tmp_path / "p.yaml"
    for suffix in (".pt", ".safetensors"):
        file.with_suffix(suffix).touch()
    with pytest.raises(PipelineError, match=r"Two files of weights lie beside .*: p\.pt and p\.safetensors\.") as error:
        find_weights(file)
    assert (error.value.path, error.value.hint) == (
        file,
        "Say which one is meant, as weights=..., or remove the other.",
    )


def test_a_file_that_is_no_yaml_says_where(tmp_path: Path) -> None:
    """By file and line."""
    file = tmp_path / "p.yaml"
    file.write_text("a: 1\nb: [\n")
    with pytest.raises(PipelineError, match=rf"Pipeline file {file}: line \d: ") as error:
        read_config(file)
    assert (error.value.path, error.value.hint) == (file, EXAMPLE)
