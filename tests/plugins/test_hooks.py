"""Hooks are pluggy's: order, wrappers, monitoring and the rest mean what pluggy's documentation says they mean.

One thing is added: what an implementation raises names its plugin, and keeps nothing from the others.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pluggy
import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import HookError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.plugins.hooks.manager import contribution

Steps = Generator[None, Any, Any]


class Red(ArrayNode):
    """A node."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {}

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Green(Red):
    """Another one."""


class Blue(Red):
    """A third one."""


GREEN = f"{__name__}.Green"
BLUE = f"{__name__}.Blue"


def plugin(hook: str, function: Callable[..., Any], **options: Any) -> Any:
    """Return a plugin object with one implementation."""
    made = ModuleType("made")
    setattr(made, hook, hookimpl(**options)(function))
    return made


def nodes(*answer: Any, **options: Any) -> Any:
    """Return a plugin object that answers these nodes."""
    return plugin("cuvis_ai_nodes", lambda: list(answer), **options)


@pytest.fixture
def registry() -> Iterator[NodeRegistry]:
    """A registry without discovered plugins."""
    with NodeRegistry(discover=False) as registry:
        yield registry


def owners(registry: NodeRegistry) -> dict[str, str | None]:
    """Return the plugin of each node that is not built in."""
    return {node.name: node.plugin for node in registry.nodes() if node.plugin}


def run(registry: NodeRegistry) -> None:
    """Run a pipeline of one node."""
    config = {"metadata": {"name": "p"}, "nodes": [{"name": "n", "class_name": "MinMaxNormalizer"}]}
    Pipeline.from_dict(config, node_registry=registry).forward({"cube": np.ones((1, 2, 2, 3), np.float32)})


# Order.


def test_the_last_registered_is_called_first_but_for_tryfirst_and_trylast(registry: NodeRegistry) -> None:
    """Observers of a run are told in pluggy's order, wrappers around them."""
    said: list[str] = []

    def observer(name: str, **options: Any) -> None:
        registry.register_hooks(plugin("cuvis_ai_node_started", lambda: said.append(name), **options), name)

    def wrapper(name: str, **options: Any) -> None:
        def around() -> Steps:
            said.append(f"({name}")
            yield
            said.append(f"{name})")

        registry.register_hooks(plugin("cuvis_ai_node_started", around, **options), name)

    observer("first", tryfirst=True)
    observer("one")
    wrapper("new", wrapper=True)
    observer("two")
    observer("last", trylast=True)
    wrapper("old", hookwrapper=True)
    wrapper("outer", wrapper=True, tryfirst=True)
    run(registry)
    assert said == ["(outer", "(old", "(new", "first", "two", "one", "last", "new)", "old)", "outer)"]


def test_of_two_readers_of_one_suffix_that_of_the_first_answer_is_taken(registry: NodeRegistry) -> None:
    """The last registered one, but for tryfirst; a plugin that asks to be the last leaves built-in readers alone."""
    builtin = registry.cube_readers()[".hdr"]

    def reader(name: str, suffix: str, **options: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = lambda path: path  # noqa: E731
        registry.register_hooks(plugin("cuvis_ai_cube_readers", lambda: {suffix: function}, **options), name)
        return function

    first = reader("first", ".one", tryfirst=True)
    reader("second", ".one")
    reader("third", ".two")
    fourth = reader("fourth", ".two")
    reader("fifth", ".hdr", trylast=True)
    found = registry.cube_readers()
    assert (found[".one"], found[".two"]) == (first, fourth)
    assert found[".hdr"].__code__ is builtin.__code__
    sixth = reader("sixth", ".hdr")
    assert registry.cube_readers()[".hdr"] is sixth


# Wrappers.


def test_a_wrapper_takes_nodes_away_and_adds_some_and_each_stays_with_its_plugin(registry: NodeRegistry) -> None:
    """What it made anew of the others' answers is still theirs; what it added is its own."""

    def change() -> Steps:
        answers = yield
        kept = [[node for node in answer if node is not Red] for answer in answers]
        return [*kept, [BLUE]]

    registry.register_hooks(nodes(Red), "red")
    registry.register_hooks(nodes(Red, GREEN), "green")
    registry.register_hooks(plugin("cuvis_ai_nodes", change, wrapper=True), "changing")
    assert owners(registry) == {"Green": "green", "Blue": "changing"}
    assert (registry.get("Green"), registry.get("Blue")) == (Green, Blue)


@pytest.mark.parametrize("style", ["wrapper", "hookwrapper"])
def test_a_wrapper_may_put_all_answers_into_one(registry: NodeRegistry, style: str) -> None:
    """In both styles; the raw call returns what the wrapper made, and the registry knows whose each node is."""

    def new() -> Steps:
        return [list(chain(*(yield)))]

    def old() -> Steps:
        outcome = yield
        outcome.force_result([list(chain(*outcome.get_result()))])

    registry.register_hooks(nodes(Red, GREEN), "one")
    registry.register_hooks(nodes(BLUE), "two")
    around = plugin("cuvis_ai_nodes", new if style == "wrapper" else old, **{style: True})
    registry.register_hooks(around, "flat")
    (answer,) = registry.hooks.hook.cuvis_ai_nodes()
    assert answer[:3] == [BLUE, Red, GREEN]
    assert owners(registry) == {"Red": "one", "Green": "one", "Blue": "two"}


def test_an_answer_that_a_wrapper_adds_to_the_list_is_its_own(registry: NodeRegistry) -> None:
    """The list may be changed where it is; the outer wrapper only hands it on."""

    def adding() -> Steps:
        answers = yield
        answers.append([BLUE])
        return answers

    def passing() -> Steps:
        return (yield)

    registry.register_hooks(nodes(Red), "red")
    registry.register_hooks(plugin("cuvis_ai_nodes", adding, wrapper=True), "adding")
    registry.register_hooks(plugin("cuvis_ai_nodes", passing, wrapper=True), "passing")
    assert owners(registry) == {"Red": "red", "Blue": "adding"}


def test_what_an_inner_wrapper_added_is_its_own_where_an_outer_one_writes_all_anew(registry: NodeRegistry) -> None:
    """As what plugins answered is theirs."""

    def adding() -> Steps:
        return [*(yield), [BLUE]]

    def anew() -> Steps:
        return [list(chain(*(yield)))]

    registry.register_hooks(nodes(Red), "red")
    registry.register_hooks(plugin("cuvis_ai_nodes", adding, wrapper=True), "adding")
    registry.register_hooks(plugin("cuvis_ai_nodes", anew, wrapper=True), "anew")
    assert owners(registry) == {"Red": "red", "Blue": "adding"}


def test_equal_answers_of_two_plugins_stay_those_of_two(registry: NodeRegistry) -> None:
    """Also where a wrapper wrote them anew: two versions of one plugin name their nodes alike."""

    def anew() -> Steps:
        return [list(answer) for answer in (yield)]

    registry.register_hooks(nodes(GREEN), "one")
    registry.register_hooks(nodes(GREEN), "two")
    registry.register_hooks(plugin("cuvis_ai_nodes", anew, wrapper=True), "anew")
    assert sorted(node.plugin for node in registry.nodes() if node.plugin) == ["one", "two"]


def test_a_wrapper_changes_the_readers_and_the_folders(registry: NodeRegistry) -> None:
    """The three questions are asked in one way."""

    def merged() -> Steps:
        return [{suffix: reader for answer in (yield) for suffix, reader in answer.items() if suffix != ".npy"}]

    def more() -> Steps:
        return [*(yield), [Path("/more")]]

    registry.register_hooks(plugin("cuvis_ai_cube_readers", merged, wrapper=True), "merged")
    registry.register_hooks(plugin("cuvis_ai_config_dirs", lambda: [Path("/mine")]), "mine")
    registry.register_hooks(plugin("cuvis_ai_config_dirs", more, wrapper=True), "more")
    assert ".hdr" in registry.cube_readers()
    assert ".npy" not in registry.cube_readers()
    assert registry.config_owners() == {Path("/mine"): "mine", Path("/more"): "more"}


def test_a_wrapper_that_returns_no_answers_is_an_error_with_its_name(registry: NodeRegistry) -> None:
    """As one that forgets to return."""

    def forgetful() -> Steps:
        yield

    registry.register_hooks(nodes(Red), "red")
    registry.register_hooks(plugin("cuvis_ai_nodes", forgetful, wrapper=True), "forgetful")
    with pytest.raises(
        HookError, match="Plugin 'forgetful': its wrapper of hook cuvis_ai_nodes handed on None"
    ) as told:
        registry.nodes()
    assert told.value.plugin == "forgetful"
    assert "answers = yield; return answers" in str(told.value)


def test_a_wrapper_that_answers_wrongly_is_an_error_with_its_name(registry: NodeRegistry) -> None:
    """As one that returns nodes where a list of lists belongs."""
    registry.register_hooks(nodes(GREEN), "green")

    def flat() -> Steps:
        return [node for answer in (yield) for node in answer]

    registry.register_hooks(plugin("cuvis_ai_nodes", flat, wrapper=True), "flat")
    with pytest.raises(HookError, match="Plugin 'flat': hook cuvis_ai_nodes answered"):
        registry.nodes()


# What fails.


def _before() -> Steps:
    raise ValueError("before")
    yield


def _after() -> Steps:
    yield
    raise ValueError("after")


def _never() -> Steps:
    return [[BLUE]]
    yield


def _twice() -> Steps:
    yield
    yield


@pytest.mark.parametrize("style", ["wrapper", "hookwrapper"])
@pytest.mark.parametrize(
    ("function", "words"),
    [(_before, "ValueError: before"), (_after, "ValueError: after"), (_never, "not yield"), (_twice, "second time")],
)
def test_a_broken_wrapper_takes_nothing_from_the_others(
    registry: NodeRegistry,
    style: str,
    function: Callable[..., Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call of the hook answers as without it; the registry, asked for nodes, says whose fault it is."""
    expected = registry.hooks.hook.cuvis_ai_nodes()
    for name in ("one", "two"):
        registry.register_hooks(plugin("cuvis_ai_nodes", function, **{style: True}), name)
    assert registry.hooks.hook.cuvis_ai_nodes() == expected
    assert "Plugin 'one': hook cuvis_ai_nodes failed: " in caplog.text
    assert caplog.text.count(words) >= 2
    with pytest.raises(HookError, match=words) as told:
        registry.nodes()
    assert told.value.plugin in {"one", "two"}
    assert told.value.hook == "cuvis_ai_nodes"


def test_a_broken_answer_takes_nothing_from_the_others(
    registry: NodeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain call goes on with the next one and logs; a generator that fails half-way is a broken answer too."""

    def half() -> Iterator[str]:
        yield BLUE
        raise OSError("half-way")

    def leaving() -> list[str]:
        raise SystemExit(3)

    registry.register_hooks(nodes(Red), "red")
    registry.register_hooks(plugin("cuvis_ai_nodes", half), "half")
    registry.register_hooks(plugin("cuvis_ai_nodes", leaving), "leaving")
    registry.register_hooks(nodes(GREEN), "green")
    assert registry.hooks.hook.cuvis_ai_nodes()[:2] == [[GREEN], [Red]]
    assert "Plugin 'half': hook cuvis_ai_nodes failed: OSError: half-way" in caplog.text
    with pytest.raises(HookError, match="Plugin 'leaving': hook cuvis_ai_nodes failed: SystemExit: 3"):
        registry.nodes()
    registry.hooks.unregister(name="leaving")
    with pytest.raises(HookError, match="OSError: half-way") as told:
        registry.nodes()
    assert isinstance(told.value.__cause__, OSError)
    assert f"{__file__}, line" in str(told.value.place)


def test_an_interrupt_goes_through_observers_and_their_wrappers(registry: NodeRegistry) -> None:
    """A wrapper sees it, may clean up, and hands it on; one that fails at that does not hide it."""
    seen: list[str] = []

    def cleaning() -> Steps:
        try:
            return (yield)
        finally:
            seen.append("cleaned")

    def failing() -> Steps:
        try:
            return (yield)
        except KeyboardInterrupt as error:
            raise ValueError("other") from error

    def interrupt() -> None:
        raise KeyboardInterrupt

    registry.register_hooks(plugin("cuvis_ai_node_started", interrupt), "interrupting")
    registry.register_hooks(plugin("cuvis_ai_node_started", cleaning, wrapper=True), "cleaning")
    registry.register_hooks(plugin("cuvis_ai_node_started", failing, wrapper=True), "failing")
    with pytest.raises(KeyboardInterrupt):
        run(registry)
    assert seen == ["cleaned"]


def test_a_generator_answers_as_a_list_does(registry: NodeRegistry) -> None:
    """Nothing to say is None, as everywhere in pluggy."""

    def some() -> Iterator[Any]:
        yield Red
        yield GREEN

    registry.register_hooks(plugin("cuvis_ai_nodes", some), "some")
    registry.register_hooks(plugin("cuvis_ai_nodes", lambda: None), "silent")
    assert owners(registry) == {"Red": "some", "Green": "some"}


# Names and options.


def test_an_implementation_may_have_another_name(registry: NodeRegistry) -> None:
    """With `specname`, also one that begins with an underscore."""

    class Named:
        @hookimpl(specname="cuvis_ai_nodes")
        def _mine(self) -> list[str]:
            return [GREEN]

    registry.register_hooks(Named(), "named")
    assert owners(registry) == {"Green": "named"}


class _Fixed:
    @staticmethod
    @hookimpl(specname="cuvis_ai_nodes")
    def mine() -> list[str]:
        return [GREEN]

    @cached_property
    def model(self) -> object:
        raise RuntimeError("a property is no hook")


class _OfTheClass:
    @classmethod
    @hookimpl(specname="cuvis_ai_nodes")
    def mine(cls) -> list[str]:
        return [GREEN]


@pytest.mark.parametrize("loaded", [_Fixed(), _Fixed, _OfTheClass(), _OfTheClass])
def test_an_implementation_may_be_a_static_method_or_of_the_class(registry: NodeRegistry, loaded: object) -> None:
    """What an entry point names so contributes hooks, whatever they are called."""
    registry.register_hooks(contribution(loaded), "named")
    assert owners(registry) == {"Green": "named"}


def test_a_hook_that_there_is_not_may_be_optional(registry: NodeRegistry) -> None:
    """Of a later version of the contract, perhaps; without the word it is an error, of the plugin that has it."""
    unknown = plugin("cuvis_ai_tiles", lambda: None)
    registry.register_hooks(plugin("cuvis_ai_tiles", lambda: None, optionalhook=True), "later")
    with pytest.raises(HookError, match=r"Plugin 'misspelt': unknown hook 'cuvis_ai_tiles'"):
        registry.register_hooks(unknown, "misspelt")
    assert not registry.hooks.has_plugin("misspelt")
    registry.hooks.register(unknown, "elsewhere")
    registry.register_hooks(nodes(Red), "red")
    assert owners(registry) == {"Red": "red"}


def test_arguments_may_have_defaults_where_pluggy_hands_them_over(registry: NodeRegistry) -> None:
    """What pluggy passes on arrives, guarded or not."""
    seen: list[Any] = []

    def started(node: str, stage: str) -> None:
        seen.append((node, stage))

    registry.register_hooks(plugin("cuvis_ai_node_started", started), "started")
    run(registry)
    assert seen == [("n", "inference")]


def test_a_hook_without_its_mark_is_refused(registry: NodeRegistry) -> None:
    """Nobody would ask it."""
    made: Any = ModuleType("made")
    made.cuvis_ai_nodes = list
    with pytest.raises(HookError, match="Plugin 'made': hook cuvis_ai_nodes is not marked with @hookimpl") as told:
        registry.register_hooks(made, "made")
    assert (told.value.plugin, told.value.hook) == ("made", "cuvis_ai_nodes")
    assert not registry.hooks.has_plugin("made")


def test_what_an_entry_point_names_contributes_nodes_or_hooks() -> None:
    """A class itself, or what has implementations; all else is an error."""
    hooks = nodes(GREEN)
    found: Any = contribution(Red)
    assert (found.cuvis_ai_nodes(), contribution(hooks)) == ([Red], hooks)
    for other, words in ((int, "class 'builtins.int'"), (logging, "module 'logging'"), (3, "an object of class")):
        with pytest.raises(HookError, match=f"^{words}.* contributes neither a node class nor a hook"):
            contribution(other)


# The manager.


def test_what_a_user_registers_in_the_manager_counts_at_once(registry: NodeRegistry) -> None:
    """And what is unregistered or blocked there is gone."""
    mine = nodes(Red)
    assert owners(registry) == {}
    assert registry.hooks.register(mine, "mine") == "mine"
    assert owners(registry) == {"Red": "mine"}
    assert registry.get("Red") is Red
    assert registry.hooks.unregister(mine) is mine
    assert owners(registry) == {}
    registry.hooks.register(mine, "mine")
    registry.hooks.set_blocked("mine")
    assert owners(registry) == {}
    with pytest.raises(HookError, match="Plugin 'mine': that name is blocked"):
        registry.register_hooks(mine, "mine")
    registry.hooks.unblock("mine")
    registry.register_hooks(mine, "mine")
    assert owners(registry) == {"Red": "mine"}
    assert (registry.hooks.get_plugin("mine"), registry.hooks.get_name(mine)) == (mine, "mine")


def test_some_plugins_may_be_left_out_of_a_call(registry: NodeRegistry) -> None:
    """`subset_hook_caller` takes the objects that were registered."""
    one, two = nodes(Red), nodes(GREEN)
    registry.register_hooks(one, "one")
    registry.register_hooks(two, "two")
    subset = registry.hooks.subset_hook_caller("cuvis_ai_nodes", [one])
    assert subset() == [[GREEN], *registry.hooks.hook.cuvis_ai_nodes()[2:]]


def test_a_call_may_have_extra_implementations(registry: NodeRegistry) -> None:
    """`call_extra` adds functions for one call."""
    registry.register_hooks(nodes(Red), "red")
    found = registry.hooks.hook.cuvis_ai_nodes.call_extra([lambda: [GREEN]], {})
    assert found[:2] == [[GREEN], [Red]]


def test_monitoring_sees_every_call_also_without_observers(registry: NodeRegistry) -> None:
    """As pluggy's tracing does, until it is undone."""
    before: list[tuple[str, Any]] = []
    after: list[tuple[str, Any]] = []
    undo = registry.hooks.add_hookcall_monitoring(
        lambda hook_name, hook_impls, kwargs: before.append((hook_name, kwargs.get("node"))),
        lambda outcome, hook_name, hook_impls, kwargs: after.append((hook_name, outcome.get_result())),
    )
    run(registry)
    asked = [("cuvis_ai_cube_readers", None), ("cuvis_ai_nodes", None)]
    assert [each for each in before if each not in asked] == [
        ("cuvis_ai_pipeline_started", None),
        ("cuvis_ai_node_started", "n"),
        ("cuvis_ai_node_finished", "n"),
        ("cuvis_ai_pipeline_finished", None),
    ]
    assert ("cuvis_ai_node_finished", []) in after
    undo()
    before.clear()
    run(registry)
    assert before == []


def test_tracing_says_what_was_called(registry: NodeRegistry) -> None:
    """`enable_tracing` is pluggy's."""
    lines: list[str] = []
    registry.hooks.trace.root.setwriter(lines.append)
    undo = registry.hooks.enable_tracing()
    registry.register_hooks(nodes(Red), "red")
    registry.nodes()
    undo()
    assert any("finish cuvis_ai_nodes --> [[" in line for line in lines)


def test_programs_may_have_hooks_of_their_own(registry: NodeRegistry) -> None:
    """With first results, and historic ones; what they raise is not ours to keep."""
    spec, impl = pluggy.HookspecMarker("cuvis_ai"), hookimpl

    class Specs:
        @spec(firstresult=True)
        def lab_choose(self, size: int) -> Any:
            """Choose."""

        @spec(historic=True)
        def lab_ready(self, size: int) -> None:
            """Be ready."""

    class Lab:
        seen: ClassVar[list[int]] = []

        @impl
        def lab_choose(self, size: int) -> int | None:
            if size < 0:
                raise ValueError(size)
            return size or None

        @impl
        def lab_ready(self, size: int) -> None:
            self.seen.append(size)

    hooks = registry.hooks
    hooks.add_hookspecs(Specs)
    hooks.hook.lab_ready.call_historic(kwargs={"size": 7})
    registry.register_hooks(plugin("lab_choose", lambda: "other"), "other")
    registry.register_hooks(Lab(), "lab")
    assert Lab.seen == [7]
    assert hooks.hook.lab_choose(size=3) == 3
    assert hooks.hook.lab_choose(size=0) == "other"
    with pytest.raises(ValueError, match="-1"):
        hooks.hook.lab_choose(size=-1)


def test_a_failed_observer_is_logged_with_its_traceback(
    registry: NodeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """At level ERROR, with what it was told."""

    def failing(node: str) -> None:
        raise KeyError(node)

    registry.register_hooks(plugin("cuvis_ai_node_started", failing), "broken")
    run(registry)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


def test_an_observer_that_fails_each_time_shows_its_traceback_once(
    registry: NodeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Later failures of the same kind at the same place are a line each, which says so."""

    def failing(node: str) -> None:
        if len(caplog.records) == 4:
            raise KeyError(node)
        raise (ValueError if len(caplog.records) == 2 else KeyError)(node)

    registry.register_hooks(plugin("cuvis_ai_node_started", failing), "broken")
    for _ in range(6):
        run(registry)
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    shown = [each.exc_info[0] if each.exc_info else None for each in errors]
    assert shown == [KeyError, None, ValueError, None, KeyError, None]
    assert [each.getMessage().endswith("(as before)") for each in errors] == [each is None for each in shown]


@pytest.mark.filterwarnings("ignore:.*PluginState is an old spelling:DeprecationWarning")
def test_states_of_plugins_are_found_where_authors_were_told_to_import_them() -> None:
    """The old place has the same class, and nothing else."""
    from cuvis_ai_core.plugins.hooks import manager
    from cuvis_ai_core.plugins.plugin_info import PluginState

    assert manager.PluginState is PluginState
    assert not hasattr(manager, "Nothing")
