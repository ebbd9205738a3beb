"""Who serves a dependency: the host, what another plugin brought, or the plugin's own directory; and for how long."""

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.dependencies import live_versions
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.live_versions import Lease, acquire, find_dependency, replaced, served

LIB = "cuvis-live-lib"
MODULE = "cuvis_live_lib"

Acquire = Callable[..., Lease]


def lib(version: str = "1.0", name: str = LIB, root: str = MODULE, **other: Any) -> Distribution:
    """Return a dependency that has one module."""
    return Distribution(name, version, roots=(root,), **other)


@pytest.fixture
def take(tmp_path: Path) -> Iterator[Acquire]:
    """Return what acquires the dependencies of a plugin, in a directory of its name; all is let go of in the end."""
    with ExitStack() as leases:

        def acquired(plugin: str, *needed: Distribution, asks: tuple[str, ...] = (LIB,)) -> Lease:
            target = tmp_path / plugin
            for each in needed:
                for root in each.roots:
                    file = target.joinpath(*root.split(".")).with_suffix(".py")
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
            lease = acquire(Distribution(plugin, "1", asks), needed, target)
            leases.callback(lease.release)
            return lease

        yield acquired


def place(module: str = MODULE) -> str | None:
    """Return the name of the directory from which a module is served."""
    spec = find_dependency(module, None)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent.name


def holding(name: str = LIB, *, idle: bool = True) -> list[str]:
    """Return the names of the directories that serve a dependency."""
    return [Path(target).name for target in served(name, idle=idle)]


def test_one_version_serves_all_until_the_last_lets_go(take: Acquire, tmp_path: Path) -> None:
    """Whoever came first serves it, also after that plugin is gone; letting go twice is letting go once."""
    first, second = take("first", lib()), take("second", lib(), asks=(f"{LIB}>=1", "other>=2"))
    assert (first.plugin, first.target, first.private, first.replaced) == ("first", tmp_path / "first", (), [])
    assert {name: [(each.who, each.requirement) for each in found] for name, found in second.demands.items()} == {
        LIB: [("second", f"{LIB}>=1")],
        "other": [("second", "other>=2")],
    }
    assert served(LIB) == {str(tmp_path / "first"): [LIB]}
    assert LIB in served()[str(tmp_path / "first")]
    assert served(f"{LIB}-of-nobody") == {}
    first.release()
    first.release()
    assert (holding(), holding(idle=False), place()) == (["first"], ["first"], "first")
    second.release()
    assert (holding(), place()) == ([], None)
    third = take("third", lib())
    assert (place(), third.private) == ("third", ())


def test_what_a_dependency_put_before_itself_is_found_first(take: Acquire, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenCV does with a folder of its own; below a package only that package's folder counts."""
    target = take("first", lib()).target
    (target / "own").mkdir()
    (target / "own" / f"{MODULE}.py").touch()
    monkeypatch.syspath_prepend(target / "own")
    assert place() == "own"
    spec = find_dependency(MODULE, [])
    assert spec is not None
    assert spec.origin == str(target / f"{MODULE}.py")


def test_what_a_plugin_refuses_is_its_own_or_a_conflict(take: Acquire, tmp_path: Path) -> None:
    """What is compiled exists once in a process; then nothing has changed, and all who have it are named, once."""
    take("first", lib())
    take("first", lib())
    take("second", lib())
    own = take("third", lib("2.0"), asks=(f"{LIB}>=2",))
    assert (own.private, own.demands) == ((lib("2.0"),), {})
    with pytest.raises(DependencyConflictError) as caught:
        take("fourth", lib("2.0", pure=False), asks=(f"{LIB}>=2",))
    assert caught.value.message == (
        f"Dependency conflict: package fourth requires {LIB}>=2, but 1.0 is installed "
        f"(loaded for first, second, from {tmp_path / 'first'})."
    )
    assert (caught.value.plugin, holding(), place()) == ("fourth", ["first"], "first")


def test_what_is_imported_stays_when_its_plugin_is_gone(
    take: Acquire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be had in another version, and in no version where its directory is gone; until its module goes."""
    first = take("first", lib())
    with monkeypatch.context() as imported:
        imported.setitem(sys.modules, MODULE, ModuleType(MODULE))
        first.release()
        assert served(LIB) == {str(tmp_path / "first"): [LIB]}
        assert (holding(), holding(idle=False), place()) == (["first"], [], "first")
        gone = f"(imported from {tmp_path / 'first'} for a plugin that is gone; only a new process is rid of it)."
        with pytest.raises(DependencyConflictError) as caught:
            take("second", lib("2.0", pure=False), asks=(f"{LIB}>=2",))
        assert caught.value.message.endswith(f"second requires {LIB}>=2, but 1.0 is installed {gone}")
        second = take("second", lib(pure=False))
        assert (holding(idle=False), second.private) == (["first"], ())
        second.release()
        shutil.rmtree(tmp_path / "first")
        with pytest.raises(DependencyConflictError) as caught:
            take("third", lib(pure=False))
        assert caught.value.message.endswith(f"third requires {LIB}, but 1.0 is installed {gone}")
    take("fourth", lib("2.0", pure=False))
    assert holding() == ["fourth"]


def test_a_module_that_the_program_imported_is_no_version(take: Acquire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It meets nothing, and is named by its file."""
    module = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    for known, where in ((None, "a namespace package"), ("/host/lib.py", "/host/lib.py")):
        module.__file__ = known
        with pytest.raises(DependencyConflictError) as caught:
            take("first", lib(pure=False))
        assert caught.value.message == (
            f"Dependency conflict: package first requires {LIB}, but another module '{MODULE}', {where}, is installed "
            "(imported by this program)."
        )
    assert take("first", lib()).private == (lib(),)


def test_another_build_that_the_program_imported_is_that_version(
    take: Acquire, host: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of something compiled; of pure Python each distribution is one of its own."""
    host("cuvis-live-unlike", "9")
    host(f"{LIB}-headless", "1.5")
    monkeypatch.setitem(sys.modules, MODULE, ModuleType(MODULE))
    assert take("first", lib("1.0", pure=False), asks=(f"{LIB}<2",)).private == ()
    with pytest.raises(DependencyConflictError, match=r"but 1\.5 is installed \(imported by this program\)"):
        take("second", lib("2.0", pure=False), asks=(f"{LIB}>=2",))
    assert take("third", lib("1.0"), asks=(f"{LIB}<2",)).private == (lib(),)
    host(LIB, "1.2")
    with pytest.raises(DependencyConflictError, match=r"but 1\.2 is installed \(imported by this program\)"):
        take("fourth", lib("2.0", pure=False), asks=(f"{LIB}>=2",))


def test_two_distributions_may_own_one_module(take: Acquire, tmp_path: Path) -> None:
    """The second is its plugin's own; but another build of something compiled serves in its place, which is known."""
    take("first", lib(pure=False, version="1.5"))
    other = take("second", lib(name="cuvis-live-other"), asks=("cuvis-live-other",))
    assert [each.name for each in other.private] == ["cuvis-live-other"]
    with pytest.raises(DependencyConflictError) as caught:
        take("third", lib(name="cuvis-live-other", pure=False), asks=("cuvis-live-other",))
    assert caught.value.message == (
        f"Dependency conflict: package third requires cuvis-live-other==1.0, but {LIB} 1.5 is installed "
        f"(loaded for first, from {tmp_path / 'first'}; it owns the module '{MODULE}' too)."
    )
    headless = f"{LIB}-headless"
    build = take("fourth", lib(name=headless, pure=False), asks=(headless,))
    assert (build.private, build.replaced, holding(headless), holding()) == ((), [headless], [], ["first"])
    assert replaced(headless) == {str(tmp_path / "fourth"): [headless]}
    assert replaced()[str(tmp_path / "fourth")] == [headless]
    assert replaced(LIB) == {}
    assert [each.name for each in take("seventh", lib(name=headless), asks=(headless,)).private] == [headless]
    more = take("fifth", lib(name=headless, pure=False), lib(name="cuvis-live-more", root="cuvis_live_more"), asks=())
    assert (more.replaced, holding("cuvis-live-more")) == ([headless], ["fifth"])
    with pytest.raises(DependencyConflictError, match=f"sixth requires {headless}>=2, but 1.5 is installed"):
        take("sixth", lib("2.0", name=headless, pure=False), asks=(f"{headless}>=2",))
    build.release()
    assert str(tmp_path / "fourth") not in replaced()


def test_one_version_with_other_files_is_another(take: Acquire, tmp_path: Path) -> None:
    """What was locked by its hash is not what somebody else brought."""
    for plugin, digest in (("first", "a"), ("second", "b"), ("third", "a")):
        info = tmp_path / plugin / f"{MODULE}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {LIB}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{MODULE}.py,sha256={digest},0\n")
    take("first", lib())
    assert take("second", lib()).private == (lib(),)
    assert take("third", lib()).private == ()
    with pytest.raises(DependencyConflictError) as caught:
        take("second", lib(pure=False))
    assert caught.value.message == (
        f"Dependency conflict: package second requires {LIB}==1.0, but 1.0 is installed "
        f"(loaded for first, third, from {tmp_path / 'first'}, with other files)."
    )


def test_a_namespace_has_the_portions_of_all_that_serve_it(take: Acquire, tmp_path: Path) -> None:
    """Its modules are found below it, and it goes with the last of them."""
    space = "cuvis_live_space"
    spaces = (space, f"{space}.deep")
    a = take("first", lib(name="cuvis-live-a", root=f"{space}.a", namespaces=(space,)), asks=())
    b = take("second", lib(name="cuvis-live-b", root=f"{space}.deep.b", namespaces=spaces), asks=())

    def portions(name: str) -> list[str]:
        spec = find_dependency(name, None if name == space else [])
        found = [] if spec is None else spec.submodule_search_locations or []
        return [Path(each).relative_to(tmp_path).as_posix() for each in found]

    assert portions(space) == [f"first/{space}", f"second/{space}"]
    assert portions(f"{space}.deep") == [f"second/{space}/deep"]
    spec = find_dependency(f"{space}.deep.b", [])
    assert spec is not None
    assert spec.origin == str(tmp_path / "second" / space / "deep" / "b.py")
    b.release()
    assert (portions(space), portions(f"{space}.deep")) == ([f"first/{space}"], [])
    a.release()
    assert find_dependency(space, None) is None
    assert find_dependency(f"{space}.a", []) is None


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what installs a distribution in the environment of this program."""
    folder = tmp_path / "host"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def install(name: str, version: str, *requires: str) -> None:
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        assert importlib.metadata.version(name) == version

    return install


def test_what_the_host_has_is_left_to_it(take: Acquire, host: Callable[..., None], tmp_path: Path) -> None:
    """Though nobody has imported it; what is compiled serves everybody, unless a plugin or a package refuses it."""
    host(LIB, "1.0")
    host("cuvis-live-user", "1.0", f"{LIB}<2")
    assert take("first", lib("2.0"), asks=(f"{LIB}>=2",)).private == (lib("2.0"),)
    user = take("second", asks=("cuvis-live-user",))
    with pytest.raises(DependencyConflictError) as caught:
        take("third", lib("2.0", pure=False), asks=(f"{LIB}>=2",))
    assert caught.value.message == (
        f"Dependency conflict: package third requires {LIB}>=2, but 1.0 is installed (in the host environment; "
        f"cuvis-live-user, for second, requires {LIB}<2)."
    )
    user.release()
    assert take("third", lib("2.0", pure=False), asks=(f"{LIB}>=2",)).private == ()
    assert holding() == ["third"]
    with pytest.raises(DependencyConflictError) as caught:
        take("fourth", asks=("cuvis-live-user",))
    assert caught.value.message == (
        f"Dependency conflict: package cuvis-live-user requires {LIB}<2, but 2.0 is installed "
        f"(loaded for third, from {tmp_path / 'third'})."
    )


def test_what_a_parent_process_serves_is_served_for_good(
    take: Acquire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever loads here as well and lets go again; what is served already stays where it is."""
    for state in ("_live", "_roots"):
        monkeypatch.setattr(live_versions, state, {})
    more = lib(name="cuvis-live-more", root="cuvis_live_more")
    own = take("own", more, asks=())
    (tmp_path / f"{MODULE}.py").touch()
    live_versions.serve([lib(), more], tmp_path)
    take("first", lib()).release()
    own.release()
    assert served() == {str(tmp_path / "own"): [more.name], str(tmp_path): [LIB]}
    with pytest.raises(DependencyConflictError, match=r"loaded for the process that started this one, from"):
        take("second", lib("2.0", pure=False), asks=(f"{LIB}>=2",))
    spec = find_dependency(MODULE, None)
    assert spec is not None
    assert spec.origin == str(tmp_path / f"{MODULE}.py")
