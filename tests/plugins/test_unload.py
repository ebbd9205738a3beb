"""What is left after plugins were unloaded: nothing but what somebody still holds."""

import gc
import sys
import weakref
from collections.abc import Callable
from importlib.metadata import MetadataPathFinder
from pathlib import Path
from types import ModuleType

import pytest

from cuvis_ai_core import NodeRegistry, scoped
from cuvis_ai_core.plugins.isolation.private_names import PREFIX
from cuvis_ai_core.plugins.isolation.scope import living_scopes
from cuvis_ai_core.plugins.isolation.unloaded_modules import UnloadedModules
from cuvis_ai_core.plugins.sys_modules_owners import is_owned
from cuvis_ai_core.utils.node_registry import clear_package_modules

pytestmark = pytest.mark.filterwarnings("ignore:.*has no pyproject.toml")


def load(folder: Path) -> NodeRegistry:
    """Load a plugin that is one bare module, into a registry of its own."""
    registry = NodeRegistry(discover=False)
    registry.load_plugin("bare", {"path": str(folder), "provides": ["bare_nodes.Echo"]})
    return registry


def state() -> tuple[int, int, int]:
    """Return how many modules, importers and objects there are."""
    MetadataPathFinder().invalidate_caches()  # it remembers the last 128 folders
    gc.collect()
    clear_package_modules([])  # as every load does, it tidies up after what was collected
    return len(sys.modules), len(sys.path_importer_cache), len(gc.get_objects())


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_a_hundred_contents_leave_nothing(
    cache: Path, tmp_path: Path, node_source: Callable[..., str], *, kept: bool
) -> None:
    """Neither where each is closed before the next is loaded, nor where all are loaded at once."""
    before: tuple[int, int, int] | None = None
    classes: list[weakref.ref[type]] = []
    registries: list[NodeRegistry] = []
    for number in range(120):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "bare_nodes.py").write_text(node_source(version=str(number)))
        registries.append(load(folder))
        classes.append(weakref.ref(registries[-1].get("Echo")))
        assert str(number) == registries[-1].get("Echo").VERSION  # type: ignore[attr-defined]
        if number < 20 or not kept:
            registries.pop().close()
        if number == 19:
            before = state()
    for registry in registries:
        registry.close()
    registries.clear()
    after = state()
    assert before is not None
    assert after[:2] == before[:2]
    # 100 entries of the list above, and what the interpreter keeps for itself.
    assert after[2] - before[2] < 400
    assert not any(reference() for reference in classes)


def test_a_pickle_of_an_unloaded_plugin_does_not_keep_its_modules(
    cache: Path, tmp_path: Path, node_source: Callable[..., str]
) -> None:
    """What was brought back by its private name is let go with the next unload."""
    import pickle

    (tmp_path / "bare_nodes.py").write_text(node_source())
    registry = load(tmp_path)
    echo = registry.get("Echo")
    data = pickle.dumps(echo)
    registry.close()
    assert pickle.loads(data) is echo
    gone = weakref.ref(echo)
    del echo
    (tmp_path / "other").mkdir()
    (tmp_path / "other/bare_nodes.py").write_text(node_source())
    load(tmp_path / "other").close()
    gc.collect()
    assert gone() is None


def test_a_class_that_something_holds_is_revived_with_its_late_imports(
    cache: Path, tmp_path: Path, node_source: Callable[..., str]
) -> None:
    """Where the next load comes while an unloaded plugin's class lives, it is that class; nothing runs twice."""
    (tmp_path / "bare_nodes.py").write_text(
        node_source() + "\nimport sys\nsys.bare_runs = getattr(sys, 'bare_runs', 0) + 1\n"
    )
    try:
        registry = load(tmp_path)
        echo = registry.get("Echo")
        registry.close()
        with load(tmp_path) as again:
            assert again.get("Echo") is echo
        assert sys.bare_runs == 1  # type: ignore[attr-defined]
    finally:
        del sys.bare_runs  # type: ignore[attr-defined]


def test_who_looks_through_all_modules_is_answered() -> None:
    """What stands for a module that is gone has no file; whoever wants something of the module is told."""
    name = f"{PREFIX}gone"
    unloaded = UnloadedModules(ModuleType(name))
    left = unloaded.stand_in(name)
    del unloaded
    assert getattr(left, "__file__", None) is None
    assert left.__name__ == name
    with pytest.raises(ModuleNotFoundError, match="its plugin was unloaded"):
        _ = left.Point


def test_what_is_imported_late_may_import_late_itself(
    cache: Path, tmp_path: Path, node_source: Callable[..., str]
) -> None:
    """An object of an unloaded plugin imports a module, which imports another one of the plugin."""
    package = tmp_path / "late_nodes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("from late_nodes import second\nWHO = second.WHO\n")
    (package / "second.py").write_text("WHO = 'the second'\n")
    late = "\ndef late():\n    from late_nodes import first\n    return first.WHO\n\nEcho.late = staticmethod(late)\n"
    (package / "nodes.py").write_text(node_source() + late)
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("late", {"path": str(tmp_path), "provides": ["late_nodes.nodes.Echo"]})
        echo = registry.get("Echo")
    assert echo.late() == "the second"  # type: ignore[attr-defined]
    assert not [name for name in sys.modules if name.startswith(PREFIX) and ".late_nodes" in name]


def bare(folder: Path, source: str) -> Path:
    """Write a plugin that is one bare module."""
    folder.mkdir(exist_ok=True)
    (folder / "bare_nodes.py").write_text(source)
    return folder


def test_nothing_is_known_of_what_was_unloaded_and_let_go(
    cache: Path, tmp_path: Path, node_source: Callable[..., str]
) -> None:
    """Neither its names, nor what the import system found in its folder."""
    gc.collect()
    before = {scope.name for scope in living_scopes()}  # other tests of this process may hold something of theirs
    for name in ("one", "two"):
        folder = bare(tmp_path / name, node_source("Echo"))
        load(folder).close()
        gc.collect()
        assert not is_owned("bare_nodes")
        assert [scope for scope in living_scopes() if scope.name not in before] == []
        clear_package_modules([])
        assert [each for each in vars(scoped) if each.startswith("bare")] == []
        assert [each for each in sys.path_importer_cache if each.startswith(str(folder))] == []


def test_two_states_of_a_folder_have_names_of_their_own(
    cache: Path, tmp_path: Path, node_source: Callable[..., str]
) -> None:
    """As long as somebody holds something of the first; the one that is loaded goes first where a name is asked for."""
    gc.collect()
    before = {scope.name for scope in living_scopes()}
    folder = bare(tmp_path / "one", node_source("Echo"))
    first = load(folder)
    old = first.get("Echo")
    first.close()
    (folder / "bare_more.py").write_text("")
    with load(folder) as registry:
        new = registry.get("Echo")
        assert new is not old
        assert new.__module__ != old.__module__
        assert [scope.held for scope in living_scopes() if scope.name not in before] == [True, False]
        assert registry.plugin_of(new) is not None
        assert registry.plugin_of(old) is None


def test_a_content_that_is_loaded_again_is_the_one_that_lives(
    cache: Path, tmp_path: Path, node_source: Callable[..., str]
) -> None:
    """While somebody holds something of it; two registries hold it together, and each lets go for itself."""
    folder = bare(tmp_path / "one", node_source("Echo"))
    first, second = load(folder), load(folder)
    held = first.get("Echo")
    assert second.get("Echo") is held
    first.close()
    assert held.__module__ in sys.modules
    second.close()
    assert held.__module__ not in sys.modules
    with load(folder) as third:
        assert third.get("Echo") is held
