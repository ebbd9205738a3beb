"""What running a plugin tells: each class that cannot be imported, built or handed on, with its line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.cli.plugins.check import trial_run
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING
from cuvis_ai_core.cli.plugins.check.subject import Subject

NODES = """\
from cuvis_ai_core.node import ArrayNode, PortSpec
from cuvis_ai_core.errors import InvalidNodeError


class Good(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec("any", (-1,))}
    OUTPUT_SPECS = {}

    def forward(self, cube):
        return {}


class Needs(Good):
    def __init__(self, gain, **kwargs):
        {}["never built"]


class Takes(Good):  # Takes
    def __init__(self, *args, **kwargs):
        super().__init__(**kwargs)
        self.table = lambda: None


class Says(Good):
    def __init__(self, gain=None, **kwargs):
        raise ValueError("give a gain")


class Refuses(Good):  # Refuses
    def __init__(self, gain=None, **kwargs):
        raise InvalidNodeError("the gain is none", hint="Give one.", node="x")


class Breaks(Good):
    def __init__(self, gain=None, **kwargs):
        {}["gain"]  # Breaks


class Hides(Good):
    def __getstate__(self):
        raise InvalidNodeError("no weights yet", node="x")


class Async(Good):
    async def forward(self, cube):  # Async
        return {}
"""


def line(mark: str) -> int:
    """Return the number of the line that has a mark."""
    return next(number for number, text in enumerate(NODES.splitlines(), 1) if text.endswith(f"# {mark}"))


@pytest.fixture
def subject(local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Subject:
    """Return a project with good and bad classes."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path / "cache"))
    folder = local_plugin(package="trial", folder="trial")
    (folder / "src/trial/nodes.py").write_text(NODES, encoding="utf-8")
    return Subject(folder)


def test_each_class_is_built_and_handed_on(subject: Subject) -> None:
    """One that needs a value is not, and one that says what it needs is right; the import has a time."""
    run = trial_run.run(subject, set())
    assert run.nodes == [f"trial.nodes.{name}" for name in re.findall(r"class (\w+)", NODES)]
    assert run.seconds is not None
    assert 0 < run.seconds < 60
    found = [(each.rule, each.level, each.file.name, each.line, each.said.split(": ")[0]) for each in run.findings]
    assert found[:4] == [
        (
            "pickle",
            WARNING,
            "nodes.py",
            line("Takes"),
            "trial.nodes.Takes cannot be pickled, as joblib, multiprocessing and Ray do to hand it on",
        ),
        ("run", ERROR, "nodes.py", line("Refuses"), "the gain is none"),
        ("run", WARNING, "nodes.py", line("Breaks"), "trial.nodes.Breaks cannot be built without parameters"),
        ("run", ERROR, "nodes.py", line("Async"), found[3][4]),
    ]
    assert "'forward' that is 'async'" in found[3][4]
    assert len(found) == 4
    assert [each.cure for each in run.findings[1:3]] == ["Give one.", "If it needs one, give it no default."]


@pytest.mark.parametrize(
    ("wrong", "rules", "count"),
    [(set(), ["run"], 0), ({"trial.nodes.Gone"}, [], 1), ({"trial.nodes.Gone", "trial.nodes.Good"}, None, 8)],
)
def test_what_is_known_to_be_wrong_is_not_told_again(
    subject: Subject, wrong: set[str], rules: list[str] | None, count: int
) -> None:
    """Of the classes that a manifest names; without any other the project's own are run."""
    manifest = "plugins: {a: {path: ., provides: [trial.nodes.Good, trial.nodes.Gone]}}"
    (subject.folder / "plugins.yaml").write_text(manifest, encoding="utf-8")
    run = trial_run.run(Subject(subject.folder), wrong)
    assert rules is None or [each.rule for each in run.findings] == rules
    assert len(run.nodes) == count
    assert (run.seconds is None) == (count == 0)


@pytest.mark.parametrize("wrong", [set(), {"any.Node"}])
def test_a_project_without_nodes_is_told(tmp_path: Path, wrong: set[str]) -> None:
    """Unless what it names is wrong, which was told."""
    (tmp_path / "leaf").mkdir()
    run = trial_run.run(Subject(tmp_path / "leaf"), wrong)
    assert (run.nodes, run.seconds) == ([], None)
    assert [(each.rule, each.level, each.line) for each in run.findings] == [("no-node", ERROR, 1)] * (not wrong)
