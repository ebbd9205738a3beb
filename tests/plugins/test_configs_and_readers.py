"""Readers of cubes and folders of pipeline files, as plugins answer with them: whose counts, and what is no answer."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import HookError

HINT = "The hooks and what they return: docs/reference/hooks.md"


def answering(hook: str, answer: object) -> Any:
    """Return a plugin object that answers a hook."""
    made = ModuleType("made")
    setattr(made, f"cuvis_ai_{hook}", hookimpl()(lambda: answer))
    return made


def reader(path: Path, **options: object) -> Any:
    """Read nothing, and tell what was asked."""
    return path, options


def test_the_last_that_was_registered_reads_a_format(registry: NodeRegistry) -> None:
    """Before the built-in readers; suffixes are compared in small letters, and paths are imported on use alone."""
    builtin = dict.fromkeys(registry.cube_readers())
    assert {suffix for suffix, _, _ in registry.cube_reader_names()} == set(builtin)
    registry.register_hooks(answering("cube_readers", {".HDR": "gone.module.read", ".new": reader}), "first")
    registry.register_hooks(answering("cube_readers", {".new": f"{__name__}.other", ".npy": reader}), "second")
    names = {suffix: (plugin, path) for suffix, plugin, path in registry.cube_reader_names()}
    assert set(names) == {*builtin, ".new"} == set(registry.cube_readers())
    assert names[".hdr"] == ("first", "gone.module.read")
    assert names[".new"] == ("second", f"{__name__}.other")
    assert names[".npy"] == ("second", f"{__name__}.reader")
    assert registry.cube_readers()[".npy"] is reader
    with pytest.raises(ModuleNotFoundError, match="gone"):
        registry.cube_readers()[".hdr"](Path("x"))
    suffixes = [suffix for suffix, _, _ in registry.cube_reader_names()]
    assert len(suffixes) == len(set(suffixes))


def test_a_reader_that_is_named_gets_what_it_is_asked(registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had been given itself."""
    module = ModuleType("cuvis_test_reading")
    module.read = reader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuvis_test_reading", module)
    registry.register_hooks(answering("cube_readers", {".new": "cuvis_test_reading.read"}), "named")
    found: Any = registry.cube_readers()[".new"](Path("x"), channels=[1])
    assert found == (Path("x"), {"channels": [1]})


@pytest.mark.parametrize(
    ("hook", "answer", "shown", "wanted"),
    [
        ("cube_readers", [".x"], "['.x']", "a mapping of file suffix to reader"),
        ("cube_readers", {"x": "a.b"}, "'x'", "suffixes such as '.hdr'"),
        ("cube_readers", {7: "a.b"}, "7", "suffixes such as '.hdr'"),
        ("cube_readers", {".x": 7}, "7", "readers: callables or their import paths"),
        ("config_dirs", "/x", "'/x'", "a list of paths"),
        ("config_dirs", b"/x", "b'/x'", "a list of paths"),
        ("config_dirs", {"/x": 1}, "{'/x': 1}", "a list of paths"),
        ("config_dirs", 7, "7", "a list of paths"),
        ("config_dirs", ["/x", 7], "7", "a list of paths"),
    ],
)
def test_another_answer_is_an_error_that_names_the_plugin(
    registry: NodeRegistry, hook: str, answer: object, shown: str, wanted: str
) -> None:
    """With what it answered and what it must return."""
    registry.register_hooks(answering(hook, answer), "wrong")
    asked: list[Any] = (
        [registry.config_dirs] if hook == "config_dirs" else [registry.cube_readers, registry.cube_reader_names]
    )
    for ask in asked:
        with pytest.raises(HookError) as caught:
            ask()
        assert caught.value.message == (
            f"Plugin 'wrong': hook cuvis_ai_{hook} answered {shown}; it must return {wanted}."
        )
        assert (caught.value.plugin, caught.value.hook, caught.value.hint) == ("wrong", f"cuvis_ai_{hook}", HINT)


def test_each_folder_of_pipelines_is_there_once(registry: NodeRegistry, tmp_path: Path) -> None:
    """By whatever link it is named, with the plugin that named it; texts and paths are both fine."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    registry.register_hooks(answering("config_dirs", (str(tmp_path / "real"), tmp_path / "other")), "first")
    registry.register_hooks(answering("config_dirs", [tmp_path / "link"]), "second")
    owners = registry.config_owners()
    assert owners == {tmp_path / "link": "second", tmp_path / "other": "first"}
    assert registry.config_dirs() == list(owners)
