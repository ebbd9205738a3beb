"""Those who look at runs: the hooks, and the profiler that is one of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core.errors import HookError, NodeRunError, PipelineError, PortError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.pipeline.execution import observer_hooks, run
from cuvis_ai_core.pipeline.profiler import Profiler
from cuvis_ai_core.registry import NodeRegistry

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]


class Diary:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    @hookimpl
    def cuvis_ai_pipeline_started(self, pipeline: str, stage: str, nodes: Sequence[str]) -> None:
        """Write."""
        self.lines.append(("started", pipeline, stage, tuple(nodes)))

    @hookimpl
    def cuvis_ai_pipeline_finished(self, pipeline: str, stage: str, seconds: float) -> None:
        """Write."""
        self.lines.append(("finished", pipeline, stage, seconds > 0))

    @hookimpl
    def cuvis_ai_pipeline_failed(self, pipeline: str, stage: str, error: BaseException) -> None:
        """Write."""
        self.lines.append(("failed", pipeline, stage, type(error)))

    @hookimpl
    def cuvis_ai_node_started(self, pipeline: str, node: str, stage: str) -> None:
        """Write."""
        self.lines.append(("node started", pipeline, node, stage))

    @hookimpl
    def cuvis_ai_node_finished(self, pipeline: str, node: str, stage: str, seconds: float) -> None:
        """Write."""
        self.lines.append(("node finished", pipeline, node, stage, seconds > 0))

    @hookimpl
    def cuvis_ai_node_failed(self, pipeline: str, node: str, stage: str, error: BaseException) -> None:
        """Write."""
        self.lines.append(("node failed", pipeline, node, stage, type(error)))


@pytest.fixture
def diary(registry: Any) -> Diary:
    """An observer that is registered."""
    diary = Diary()
    registry.hooks.add(diary, "diary")
    return diary


def test_a_run_is_observed_from_begin_to_end(pipeline_of: PipelineOf, diary: Diary, cube: Any) -> None:
    """Pipeline and nodes, in their order, with the nodes of the stage only."""
    pipeline = pipeline_of(
        {"b": "Scale", "a": "Scale", "t": ("Scale", {"execution_stages": "train"})}, "a.cube -> b.cube"
    )
    answer = pipeline.forward({"cube": cube}, stage="val")
    assert list(answer) == [("a", "cube"), ("b", "cube")]
    assert diary.lines == [
        ("started", "pipeline", "val", ("a", "b")),
        ("node started", "pipeline", "a", "val"),
        ("node finished", "pipeline", "a", "val", True),
        ("node started", "pipeline", "b", "val"),
        ("node finished", "pipeline", "b", "val", True),
        ("finished", "pipeline", "val", True),
    ]


def test_a_failure_is_observed_and_raised(
    pipeline_of: PipelineOf, make_class: MakeClass, diary: Diary, cube: Any
) -> None:
    """The same error as without observers, also for a value that does not fit, and for an interrupt."""
    make_class("Fails", lambda self: self.nothing)
    with pytest.raises(NodeRunError, match="Node 'f' failed in stage 'inference': AttributeError"):
        pipeline_of({"f": "Fails"}).forward({})
    assert [line[0] for line in diary.lines] == ["started", "node started", "node failed", "failed"]
    assert {line[-1] for line in diary.lines[2:]} == {NodeRunError}
    diary.lines.clear()
    with pytest.raises(PortError):
        pipeline_of({"a": "Scale"}).forward({"cube": cube.astype("complex64")})
    assert [line[0] for line in diary.lines] == ["started", "failed"]
    diary.lines.clear()

    def interrupt(self: Any) -> None:
        raise KeyboardInterrupt

    make_class("Interrupted", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline_of({"i": "Interrupted"}).forward({})
    assert diary.lines[-1] == ("failed", "pipeline", "inference", KeyboardInterrupt)


def test_an_observer_that_fails_changes_nothing(
    pipeline_of: PipelineOf, registry: Any, diary: Diary, cube: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the others are told."""

    class Broken:
        @hookimpl
        def cuvis_ai_node_started(self, node: str) -> None:
            raise ValueError(node)

    registry.hooks.add(Broken(), "broken")
    assert list(pipeline_of({"a": "Scale"}).forward({"cube": cube})) == [("a", "cube")]
    assert len(diary.lines) == 4
    assert "Plugin 'broken': hook cuvis_ai_node_started of node 'a' failed: ValueError: a" in caplog.text


def test_observers_come_and_go(pipeline_of: PipelineOf, registry: Any, cube: Any) -> None:
    """Also after the pipeline was built; without any, the plain loop runs."""
    pipeline = pipeline_of({"a": "Scale"})
    diary = Diary()
    registry.hooks.add(diary, "diary")
    pipeline.forward({"cube": cube})
    registry.hooks.remove("diary")
    pipeline.forward({"cube": cube})
    assert len(diary.lines) == 4


def test_without_observers_nothing_of_them_runs(
    pipeline_of: PipelineOf, cube: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of being observable is one question per run."""
    monkeypatch.setattr(observer_hooks, "perf_counter", lambda: pytest.fail("somebody took the time"))
    monkeypatch.setattr(run, "perf_counter", None, raising=False)
    pipeline_of({"a": "Scale"}).forward({"cube": cube})


def test_observers_of_a_registry_see_its_pipelines_only(cube: Any) -> None:
    """Two sessions in one process do not see each other."""
    config = {"metadata": {"name": "p"}, "nodes": [{"name": "n", "class_name": "MinMaxNormalizer"}]}
    with NodeRegistry(discover=False) as mine, NodeRegistry(discover=False) as other:
        diary = Diary()
        mine.register_hooks(diary)
        Pipeline.from_dict(config, node_registry=other).forward({"cube": cube})
        assert diary.lines == []
        Pipeline.from_dict(config, node_registry=mine).forward({"cube": cube})
        assert len(diary.lines) == 4


def test_the_profiler_adds_up_the_time_of_each_node(
    pipeline_of: PipelineOf, registry: Any, make_class: MakeClass, cube: Any
) -> None:
    """Calls, total, mean and share; slowest first; as a table and as JSON."""
    profiler = Profiler()
    assert str(profiler).split() == ["node", "calls", "total", "[ms]", "mean", "[ms]", "share"]
    registry.hooks.add(profiler, "profiler")
    make_class("Slow", lambda self: {"n": sum(range(200_000))}, {}, {"n": {"dtype": int, "shape": ()}})
    pipeline = pipeline_of({"a": "Scale", "slow": "Slow"})
    for _ in range(3):
        pipeline.forward({"cube": cube})
    found = json.loads(json.dumps(profiler.to_dict()))
    slow, fast = found["nodes"]
    assert (slow["node"], fast["node"], slow["pipeline"], found["runs"]) == ("slow", "a", "pipeline", 3)
    assert slow["calls"] == fast["calls"] == 3
    assert slow["mean_seconds"] == pytest.approx(slow["total_seconds"] / 3)
    assert slow["share"] + fast["share"] == pytest.approx(1)
    assert 0.5 < slow["share"] < 1
    assert found["total_seconds"] >= slow["total_seconds"] + fast["total_seconds"]
    headings, first, second = str(profiler).splitlines()
    assert len(headings) == len(first) == len(second)
    assert first.split()[:2] == ["slow", "3"]


def test_nodes_that_failed_are_not_counted(
    pipeline_of: PipelineOf, registry: Any, make_class: MakeClass, cube: Any
) -> None:
    """Those before are; the run is not."""
    profiler = Profiler()
    registry.hooks.add(profiler, "profiler")
    make_class("Fails", lambda self, cube: self.nothing, {"cube": {"dtype": "any", "shape": ()}})
    with pytest.raises(NodeRunError):
        pipeline_of({"a": "Scale", "f": "Fails"}, "a.cube -> f.cube").forward({"cube": cube})
    assert [node for _, node in profiler.times] == ["a"]
    assert profiler.runs == 0


def test_an_observer_that_is_taken_out_is_told_nothing() -> None:
    """What was not put in so is refused."""

    class Watching:
        runs = 0

        @hookimpl
        def cuvis_ai_pipeline_finished(self) -> None:
            """Count."""
            self.runs += 1

    registry, watching = NodeRegistry(discover=False), Watching()
    registry.register_hooks(watching)
    pipeline = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": "MinMaxNormalizer"}]}, node_registry=registry)
    cube = np.ones((1, 2, 2, 3), np.float32)
    pipeline.forward({"cube": cube})
    registry.unregister_hooks(watching)
    pipeline.forward({"cube": cube})
    assert watching.runs == 1
    with pytest.raises(HookError, match="Watching"):
        registry.unregister_hooks(watching)


def test_what_a_pipeline_says_about_itself_is_changed_before_it_is_saved(tmp_path: Path) -> None:
    """The file has it, and nothing but a mapping is taken."""
    pipeline = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": "MinMaxNormalizer"}]})
    pipeline.metadata = {**pipeline.metadata, "name": "other", "tags": ["a"]}
    pipeline.save(tmp_path / "p.yaml")
    assert (
        Pipeline.load(tmp_path / "p.yaml", node_registry=NodeRegistry(discover=False)).metadata
        == pipeline.metadata
        == {"name": "other", "tags": ["a"]}
    )
    with pytest.raises(PipelineError, match="no mapping"):
        pipeline.metadata = "text"  # type: ignore[assignment]


def test_a_step_is_over_when_its_device_is(
    pipeline_of: PipelineOf, diary: Diary, cube: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU still does of it counts for the node that asked for it."""
    monkeypatch.setattr(observer_hooks, "synchronizer", lambda device: lambda: diary.lines.append(("settled", device)))
    pipeline_of({"a": "Scale", "b": "Scale"}).forward({"cube": cube})
    told = [line[0] if line[0] == "settled" else f"{line[0]} {line[2]}" for line in diary.lines[1:-1]]
    steps = (["node started " + name, "settled", "node finished " + name] for name in "ab")
    assert told == [each for step in steps for each in step]


@pytest.mark.parametrize(("monitors", "listens"), [(0, False), (1, True)])
def test_who_monitors_hooks_sees_calls_to_which_nobody_listens(monitors: int, *, listens: bool) -> None:
    """Runs without either are not slowed down by telling nobody."""
    nobody = SimpleNamespace(get_hookimpls=list)
    hooks: Any = SimpleNamespace(hook=SimpleNamespace(**dict.fromkeys(observer_hooks.HOOKS, nobody)))
    hooks.monitored = monitors
    assert bool(observer_hooks.Observers(hooks)) is listens
    assert not observer_hooks.Observers(None)
    assert not observer_hooks.Observers(None).register(object(), "one")
    assert observer_hooks.Observers(None).registered("one") is None
