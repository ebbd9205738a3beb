"""A training that has ended in the output directory: taken for the same, or told apart by what is another."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cuvis_ai_core.cli.restore.completed_training import finished_training, refuse_doubtful
from cuvis_ai_core.pipeline.file.reader import parse_config
from cuvis_ai_core.training.config import TrainRunConfig

NODES: list[dict[str, Any]] = [{"name": "a", "class_name": "A", "params": {"x": 1}}, {"name": "b", "class_name": "B"}]
CONFIG: dict[str, Any] = {"name": "run", "pipeline": {"nodes": NODES}, "data": {"cubes": "c.npy"}}
CODE: list[dict[str, Any]] = [
    {"name": "a", "class": "p.A", "version": "1"},
    {"name": "b", "class": "p.B", "version": None},
]


def config(**changes: Any) -> TrainRunConfig:
    """Return the settings of a training."""
    data = {**CONFIG, **changes}
    if isinstance(data["pipeline"], dict):  # as a trainrun is composed
        data["pipeline"] = parse_config(data["pipeline"]).to_dict()
    return TrainRunConfig.model_validate(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a training that has ended."""
    (tmp_path / "run.json").write_text(json.dumps({"trainrun": "t", "nodes": CODE}))
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(config().model_dump(mode="json")))
    return tmp_path


def differences(folder: Path, given: TrainRunConfig, code: Any = CODE) -> list[str]:
    """Return what is said to be another; nothing where the training is the same."""
    try:
        assert finished_training(folder, "t.yaml", given, code) is not None
    except click.BadParameter as error:
        first, *lines, last = error.message.splitlines()
        assert first == f"'{folder}' holds a finished training of other settings; it is not replaced:"
        assert last.endswith("or replace it with --overwrite.")
        return [line.strip() for line in lines]
    return []


@pytest.mark.parametrize("change", ["no record", "of a run", "no trainrun"])
def test_a_folder_without_a_finished_training_has_none(folder: Path, change: str) -> None:
    """Results of a run, or a record alone, are none."""
    if change == "no record":
        (folder / "run.json").unlink()
    elif change == "of a run":
        (folder / "run.json").write_text("{}")
    else:
        (folder / "t.yaml").unlink()
    assert finished_training(folder, "t.yaml", config(), CODE) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "other"},
        {"tags": {"a": "b"}},
        {"weights": "w.pt"},
        {"output_dir": "elsewhere"},
        {"plugins_path": "m.yaml"},
        {"pipeline": {"nodes": [{"name": "a", "class_name": "A", "params": {"x": 1}}, NODES[1]]}},
    ],
)
def test_what_changes_nothing_about_the_result_is_no_difference(folder: Path, changes: dict[str, Any]) -> None:
    """Names, places and words for people."""
    assert differences(folder, config(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss_nodes": ["a"]}, ["loss_nodes: [] there, ['a'] now"]),
        ({"initial_weights": "w.pt"}, ["initial_weights: nothing there, w.pt now"]),
        ({"pipeline": "p.yaml"}, ["pipeline: nothing there, p.yaml now"]),
        ({"pipeline": {"nodes": [NODES[0]]}}, ["pipeline.nodes.b.name: b there, nothing now"]),
        (
            {"pipeline": {"nodes": [{**NODES[0], "params": {"x": 2}}, NODES[1]]}},
            ["pipeline.nodes.a.params.x: 1 there, 2 now"],
        ),
    ],
)
def test_settings_that_differ_are_told_with_both_values(folder: Path, changes: dict[str, Any], said: list[str]) -> None:
    """Nodes by their names."""
    found = differences(folder, config(**changes))
    assert all(any(line.startswith(text) for line in found) for text in said), found


@pytest.mark.parametrize(("count", "lines", "last"), [(5, 5, "f4 nothing"), (6, 6, "and 1 more"), (9, 6, "and 4 more")])
def test_five_differences_are_told_and_how_many_more_there_are(folder: Path, count: int, lines: int, last: str) -> None:
    """All of them would hide what to do."""
    code = [{**CODE[0], **{f"f{number}": number for number in range(count)}}]
    found = differences(folder, config(), code)
    assert len(found) == lines
    assert last in found[-1]
    assert found[0] == "node 'a': f0 nothing there, 0 now"


@pytest.mark.parametrize(
    ("nodes", "code", "said"),
    [
        (CODE, [{**CODE[0], "version": "2"}, CODE[1]], ["node 'a': version 1 there, 2 now"]),
        (CODE, [{**CODE[1], "version": "2"}], ["node 'b': version nothing there, 2 now"]),
        (CODE, [{"name": "new", "class": "p.C"}], []),
        ("odd", CODE, []),
        (["odd", {"name": "a", "class": "p.A", "version": "0"}], CODE, ["node 'a': version 0 there, 1 now"]),
    ],
)
def test_code_that_differs_is_told_by_node(folder: Path, nodes: Any, code: Any, said: list[str]) -> None:
    """Of nodes that were not there the settings tell."""
    (folder / "run.json").write_text(json.dumps({"trainrun": "t", "nodes": nodes}))
    assert differences(folder, config(), code) == said


@pytest.mark.parametrize("text", ["name: [", "name: 3", "{name: n, data: {cubes: c}, pipeline: {nodes: 3}}"])
def test_settings_that_cannot_be_read_are_a_difference(folder: Path, text: str) -> None:
    """What was trained there is not known."""
    (folder / "t.yaml").write_text(text)
    assert differences(folder, config()) == ["t.yaml of that training cannot be read"]


@pytest.mark.parametrize(("count", "told"), [(1, 1), (5, 5), (7, 5)])
def test_a_training_that_is_not_believed_says_why(tmp_path: Path, count: int, told: int) -> None:
    """With five reasons at most; one without any is believed."""

    class Output:
        def __init__(self, count: int) -> None:
            self.count = count

        def doubts(self) -> list[str]:
            return [f"doubt {number}" for number in range(self.count)]

    refuse_doubtful(tmp_path, Output(0))  # type: ignore[arg-type]
    with pytest.raises(click.BadParameter, match="which is not believed") as caught:
        refuse_doubtful(tmp_path, Output(count))  # type: ignore[arg-type]
    assert caught.value.message.count("  doubt ") == told
