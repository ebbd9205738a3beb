"""Dependencies that cannot be shared: who is refused, what is said, and what does not count as a conflict."""

import fractions
import importlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uv import find_uv_bin

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError
from cuvis_ai_core.plugins.dependencies.alternative_builds import stands_in

MakeWheel = Callable[..., None]
LoadUser = Callable[..., Any]
HostInstall = Callable[[str, str], Path]

DEP = "cuvis-test-dep"
MID = "cuvis-test-mid"


def versions(make: MakeWheel, *numbers: str, **options: Any) -> None:
    """Build some versions of the distribution `cuvis-test-dep`."""
    for number in numbers:
        make(DEP, number, {"cuvis_test_dep/__init__.py": f"VERSION = {number!r}\n"}, **options)


def middle(make: MakeWheel, number: str, *requires: str, **options: Any) -> None:
    """Build a distribution `cuvis-test-mid` that shows which version of the other one it sees."""
    make(
        MID,
        number,
        {"cuvis_test_mid/__init__.py": "from cuvis_test_dep import VERSION\n"},
        requires=requires,
        **options,
    )


def refused(load: LoadUser, *arguments: str, **options: Any) -> DependencyConflictError:
    """Load a plugin that cannot be loaded, and return the conflict."""
    with pytest.raises(PluginLoadError) as caught:
        load(*arguments, **options)
    assert isinstance(caught.value.__cause__, DependencyConflictError)
    return caught.value.__cause__


def test_the_message_says_who_has_what_and_who_asked(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry, tmp_path: Path
) -> None:
    """Of compiled pins that contradict: both plugins, both versions, the target directory, and the way out."""
    versions(wheel, "1.0", "2.0", pure=False)
    load("first", f"{DEP}==1.0")
    conflict = refused(load, "second", f"{DEP}==2.0")
    target = registry.plugin_info("first").target
    assert conflict.message == (
        f"Dependency conflict: package second requires {DEP}==2.0, but 1.0 is installed "
        f"(loaded for first, from {target})."
    )
    assert "isolation: process" in str(conflict)
    assert (conflict.plugin, conflict.requirement, conflict.installed) == ("second", f"{DEP}==2.0", "1.0")
    assert not [name for name in sys.modules if name.endswith("second.nodes")]


def test_what_an_unloaded_plugin_imported_is_said_to_be_there_still(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry
) -> None:
    """Compiled modules cannot be unloaded; the message says that a new process is rid of it."""
    versions(wheel, "1.0", "2.0", pure=False)
    load("first", f"{DEP}==1.0")
    registry.unload_plugin("first")
    assert "for a plugin that is gone; only a new process is rid of it" in str(refused(load, "second", f"{DEP}==2.0"))


@pytest.mark.slow
@pytest.mark.parametrize("pure", [True, False])
def test_targets_that_were_built_on_different_dates(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry, cache: Path, tmp_path: Path, *, pure: bool
) -> None:
    """One has 1.0, the other 1.1, both accept both: whichever is loaded first serves, in either order."""
    versions(wheel, "1.0", pure=pure)
    load("early", f"{DEP}>=1.0")
    versions(wheel, "1.1", pure=pure)
    load("late", f"{DEP}>=1.0")
    assert (registry.plugin_info("late").target / "cuvis_test_dep-1.1.dist-info").is_dir()
    registry.clear_plugins()
    code = (
        "import sys\nfrom cuvis_ai_core import NodeRegistry\nregistry = NodeRegistry(discover=False)\n"
        "for name in sys.argv[1:]:\n"
        f"    config = {{'path': f'{tmp_path}/{{name}}', 'provides': [f'{{name}}.nodes.Echo']}}\n"
        "    registry.load_plugin(name, config)\n"
        "    answers = registry.get(f'{name}.nodes.Echo').answers\n"
        "    print(answers.late(), answers.metadata())\n"
    )
    environment = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache)}
    for order, number in ((["early", "late"], "1.0"), (["late", "early"], "1.1")):
        command = [sys.executable, "-c", code, *order]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [number] * 4


def test_a_copy_that_nobody_uses_asks_for_nothing(wheel: MakeWheel, load: LoadUser) -> None:
    """A target's newer library is not used where a live one serves, so its higher demands do not count."""
    versions(wheel, "1.0", pure=False)
    middle(wheel, "1.0", f"{DEP}>=1.0")
    first = load("first", f"{DEP}", MID, module="cuvis_test_mid", distribution=MID)
    versions(wheel, "1.1", pure=False)
    middle(wheel, "1.1", f"{DEP}>=1.1")
    second = load("second", f"{DEP}", MID, module="cuvis_test_mid", distribution=MID)
    assert (first.direct(), second.direct(), second.metadata()) == ("1.0", "1.0", "1.0")


def test_a_library_is_not_shared_with_another_view_of_a_dependency(wheel: MakeWheel, load: LoadUser) -> None:
    """Where a plugin has a dependency for itself, so it has what builds on it, though the live one would do."""
    versions(wheel, "1.0", "2.0")
    middle(wheel, "1.0", f"{DEP}>=1.0")
    first = load("first", f"{DEP}==1.0", MID, module="cuvis_test_mid", distribution=MID)
    second = load("second", f"{DEP}==2.0", MID, module="cuvis_test_mid", distribution=MID)
    assert (first.direct(), second.direct(), second.late(), first.late()) == ("1.0", "2.0", "2.0", "1.0")


def test_something_compiled_that_can_live_with_what_is_there_is_shared(wheel: MakeWheel, load: LoadUser) -> None:
    """The plugin has the contradicting pure-Python pin for itself; the compiled library sees everybody's."""
    versions(wheel, "1.0", "2.0")
    middle(wheel, "1.0", f"{DEP}>=1.0", pure=False)
    load("first", f"{DEP}==1.0")
    second = load("second", f"{DEP}==2.0", MID)
    assert second.direct() == "2.0"
    assert importlib.import_module("cuvis_test_mid").VERSION == "1.0"


def test_requirements_of_an_extra_count_where_it_is_asked_for(wheel: MakeWheel, load: LoadUser) -> None:
    """`mid[fast]` needs what `mid` does not."""
    versions(wheel, "1.0", "2.0", pure=False)
    middle(wheel, "1.0", f"{DEP}", f'{DEP}>=2.0; extra == "fast"')
    load("first", f"{DEP}==1.0")
    assert load("second", MID, module="cuvis_test_mid", distribution=MID).direct() == "1.0"
    conflict = refused(load, "third", f"{MID}[fast]", module="cuvis_test_mid", distribution=MID)
    assert conflict.message.startswith(f"Dependency conflict: package {MID} requires {DEP}>=2.0, but 1.0 is installed")


def test_what_a_loaded_plugin_takes_from_the_host_is_held(
    wheel: MakeWheel,
    load: LoadUser,
    host_install: HostInstall,
    registry: NodeRegistry,
    local_plugin: Callable[..., Path],
) -> None:
    """Though it has not imported it yet: nobody puts a version in its place that it refuses."""
    versions(wheel, "1.0", "2.0", pure=False)
    host_install(DEP, "1.0")
    folder = local_plugin(dependencies=(f"{DEP}<2",))
    registry.load_plugin("lazy", {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]})
    conflict = refused(load, "second", f"{DEP}==2.0")
    assert conflict.message == (
        f"Dependency conflict: package second requires {DEP}==2.0, but 1.0 is installed "
        f"(in the host environment; echo-plugin, for echo-plugin, requires {DEP}<2)."
    )
    registry.unload_plugin("lazy")
    assert load("second", f"{DEP}==2.0").direct() == "2.0"


def test_what_the_hosts_packages_need_is_held_with_them(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall
) -> None:
    """A plugin that uses a package of the host, and one that would replace what that builds on: the second fails."""
    versions(wheel, "1.0", "2.0", pure=False)
    middle(wheel, "1.0", f"{DEP}<2")
    host_install(DEP, "1.0")
    host_install(MID, "1.0")
    load("uses", MID, module="sys", distribution=MID)
    assert f"{MID}, for uses, requires {DEP}<2" in str(refused(load, "replaces", f"{DEP}==2.0"))


@pytest.mark.slow
def test_a_package_of_the_host_is_refused_where_what_it_needs_was_replaced(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall
) -> None:
    """The same two plugins in the other order."""
    versions(wheel, "1.0", "2.0", pure=False)
    middle(wheel, "1.0", f"{DEP}<2")
    host_install(DEP, "1.0")
    host_install(MID, "1.0")
    load("replaces", f"{DEP}==2.0")
    conflict = refused(load, "uses", MID, module="sys", distribution=MID)
    assert conflict.message.startswith(f"Dependency conflict: package {MID} requires {DEP}<2, but 2.0 is installed")
    assert "loaded for replaces" in conflict.message


def test_two_compiled_distributions_that_own_one_module_are_a_clash(wheel: MakeWheel, load: LoadUser) -> None:
    """Of two libraries with a module of one name one can be live; the message names both."""
    versions(wheel, "1.0", pure=False)
    wheel(f"{DEP}-fork", "3.0", {"cuvis_test_dep/__init__.py": "VERSION = '3.0'\n"}, pure=False)
    load("first", DEP)
    conflict = refused(load, "second", f"{DEP}-fork", distribution=f"{DEP}-fork")
    assert conflict.message.startswith(
        f"Dependency conflict: package second requires {DEP}-fork==3.0, but {DEP} 1.0 is installed"
    )
    assert "it owns the module 'cuvis_test_dep' too" in conflict.message


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(DEP, f"{DEP}-headless"), (f"{DEP}-headless", DEP)])
def test_another_build_of_a_compiled_library_serves_both(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry, first: str, second: str
) -> None:
    """As `opencv-python` and its headless twin do where pip installs both; each reads its own metadata."""
    for name, version in ((first, "1.0"), (second, "1.1")):
        wheel(name, version, {"cuvis_test_dep/__init__.py": f"VERSION = {version!r}\n"}, pure=False)
    one = load("one", first, distribution=first)
    two = load("two", f"{second}>=1,<2", distribution=second)
    assert (one.direct(), two.direct(), two.late(), two.metadata()) == ("1.0", "1.0", "1.0", "1.1")
    registry.unload_plugin("one")
    three = load("three", first, distribution=first)
    assert (two.late(), three.direct()) == ("1.0", "1.0")


def test_another_build_in_a_version_that_is_refused_is_a_clash(wheel: MakeWheel, load: LoadUser) -> None:
    """A build for other machines is no way around a version."""
    versions(wheel, "1.0", pure=False)
    wheel(f"{DEP}-headless", "3.0", {"cuvis_test_dep/__init__.py": "VERSION = '3.0'\n"}, pure=False)
    load("first", DEP)
    conflict = refused(load, "second", f"{DEP}-headless>=2", distribution=f"{DEP}-headless")
    assert conflict.message.startswith(f"Dependency conflict: package second requires {DEP}-headless>=2, but 1.0")
    assert "loaded for first" in conflict.message


def test_another_build_that_the_program_has_imported_serves_a_plugin(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall
) -> None:
    """The program works with `opencv-python`, its plugin asks for the headless one."""
    versions(wheel, "1.0", pure=False)
    wheel(f"{DEP}-headless", "1.1", {"cuvis_test_dep/__init__.py": "VERSION = '1.1'\n"}, pure=False)
    host_install(DEP, "1.0")
    importlib.import_module("cuvis_test_dep")
    plugin = load("second", f"{DEP}-headless>=1", distribution=f"{DEP}-headless")
    assert (plugin.direct(), plugin.late(), plugin.metadata()) == ("1.0", "1.0", "1.1")


@pytest.mark.parametrize("imported", [True, False])
def test_a_twin_in_the_host_stays_the_hosts(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall, *, imported: bool
) -> None:
    """A pure-Python twin is the plugin's own, whether the program has imported its version already or not."""
    versions(wheel, "1.0")
    wheel(f"{DEP}-headless", "3.0", {"cuvis_test_dep/__init__.py": "VERSION = '3.0'\n"})
    host_install(DEP, "1.0")
    if imported:
        importlib.import_module("cuvis_test_dep")
    plugin = load("second", f"{DEP}-headless", distribution=f"{DEP}-headless")
    assert (plugin.direct(), plugin.late(), plugin.metadata()) == ("3.0", "3.0", "3.0")
    assert importlib.import_module("cuvis_test_dep").VERSION == "1.0"


@pytest.mark.parametrize("imported", [True, False])
def test_a_program_keeps_its_own_module_of_a_dependencys_name(
    wheel: MakeWheel, load: LoadUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, imported: bool
) -> None:
    """A user's own package in the working directory is the program's, the dependency the plugin's."""
    versions(wheel, "1.0")
    (tmp_path / "script/cuvis_test_dep").mkdir(parents=True)
    (tmp_path / "script/cuvis_test_dep/__init__.py").write_text("VERSION = 'mine'")
    monkeypatch.syspath_prepend(str(tmp_path / "script"))
    if imported:
        importlib.import_module("cuvis_test_dep")
    plugin = load("first", DEP)
    assert (plugin.direct(), plugin.late(), plugin.metadata()) == ("1.0", "1.0", "1.0")
    assert importlib.import_module("cuvis_test_dep").VERSION == "mine"


def test_an_empty_folder_of_a_dependencys_name_is_nothing(
    wheel: MakeWheel, load: LoadUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a folder of data: the dependency is shared as if it were not there."""
    versions(wheel, "1.0")
    (tmp_path / "script/cuvis_test_dep").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "script"))
    assert load("first", DEP).late() == "1.0"
    assert importlib.import_module("cuvis_test_dep").VERSION == "1.0"


def test_a_program_that_imported_a_compiled_dependencys_name(
    wheel: MakeWheel, load: LoadUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exists once, so the message says which file stands in the way."""
    versions(wheel, "1.0", pure=False)
    (tmp_path / "script").mkdir()
    own = tmp_path / "script/cuvis_test_dep.py"
    own.write_text("VERSION = 'mine'")
    monkeypatch.syspath_prepend(str(own.parent))
    importlib.import_module("cuvis_test_dep")
    assert f"but another module 'cuvis_test_dep', {own}, is installed" in str(refused(load, "first", DEP))


def test_a_dependency_whose_cache_was_cleared_is_not_relied_on(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry
) -> None:
    """What is imported still, but whose files are gone, serves nobody who comes new."""
    wheel(DEP, "1.0", {"cuvis_test_dep/__init__.py": "VERSION = '1.0'\n", "cuvis_test_dep/late.py": ""})
    load("first", DEP)
    target = registry.plugin_info("first").target
    registry.unload_plugin("first")
    shutil.rmtree(target)
    second = load("second", DEP)
    assert second.module.__file__.startswith(str(registry.plugin_info("second").target))


@pytest.mark.parametrize("pure", [True, False])
def test_a_dependency_with_the_name_of_a_standard_module_changes_nothing(
    wheel: MakeWheel, load: LoadUser, *, pure: bool
) -> None:
    """Backports ship such modules; the standard library comes first, for plugin and program."""
    sys.modules.pop("graphlib", None)
    files = {
        "graphlib.py": "raise AssertionError('imported')",
        "cuvis_test_dep.py": "import graphlib\nVERSION = graphlib.TopologicalSorter and '1.0'",
    }
    wheel(DEP, "1.0", files, pure=pure)
    plugin = load("first", DEP)
    assert plugin.direct() == "1.0"
    assert importlib.import_module("cuvis_test_dep").VERSION == "1.0"
    assert importlib.import_module("graphlib").TopologicalSorter


@pytest.mark.parametrize("change", ["installed", "upgraded", "removed"])
def test_a_host_that_changed_after_the_target_was_built(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall, registry: NodeRegistry, change: str
) -> None:
    """The next load is resolved against the host as it is: what suits is shared, what is missing installed."""
    versions(wheel, "1.0", "2.0")
    versions_before = {"installed": None, "upgraded": "1.0", "removed": "2.0"}[change]
    site = host_install(DEP, versions_before) if versions_before else Path()
    load("first", f"{DEP}>=2.0")
    registry.unload_plugin("first")
    sys.modules.pop("cuvis_test_dep", None)
    if change == "removed":
        for folder in site.iterdir():
            shutil.rmtree(folder)
        importlib.invalidate_caches()
    else:
        site = host_install(DEP, "2.0")
        shutil.rmtree(site / "cuvis_test_dep-1.0.dist-info", ignore_errors=True)
    plugin = load("first", f"{DEP}>=2.0")
    assert (plugin.direct(), plugin.late(), plugin.metadata()) == ("2.0", "2.0", "2.0")
    assert plugin.module.__file__.startswith(str(site)) == (change != "removed")


def test_real_compiled_libraries_contradict(load: LoadUser, registry: NodeRegistry) -> None:
    """Two versions of a library with compiled code, as the index has them: the first goes on working."""
    first = load("first", "ujson==5.10.0", module="ujson", distribution="ujson")
    conflict = refused(load, "second", "ujson==5.11.0", module="ujson", distribution="ujson")
    assert "requires ujson==5.11.0, but 5.10.0 is installed (loaded for first" in conflict.message
    assert first.metadata() == "5.10.0"
    assert importlib.import_module("ujson").dumps({"a": 1}) == '{"a":1}'


LOAD = """
import json, sys
from cuvis_ai_core import NodeRegistry
NodeRegistry.set_cache_dir(sys.argv[1])
with NodeRegistry(discover=False) as registry:
    for name, folder in json.loads(sys.argv[2]).items():
        try:
            registry.load_plugin(name, {"path": folder, "provides": [f"{name}.nodes.Echo"]})
        except Exception as error:
            print(error)
        print(registry.list_plugins())
"""


def test_torch_is_never_installed_for_a_plugin_of_a_host_without_it(
    tmp_path: Path, wheel: MakeWheel, project_files: Callable[..., dict[str, str]], write_files: Callable[..., Path]
) -> None:
    """Neither for one that requires it nor for one whose dependency does; both are told which extra has it."""
    wheel("torch", "2.9", {"torch/__init__.py": ""})
    wheel(DEP, "1.0", {"cuvis_test_dep/__init__.py": ""}, requires=("torch",))
    venv.create(tmp_path / "host", symlinks=True)
    python = tmp_path / "host" / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
    (site,) = (tmp_path / "host").rglob("site-packages")
    for entry in Path(np.__file__).parents[1].iterdir():  # this environment without torch
        if not entry.name.startswith(("torch", "functorch")):
            (site / entry.name).symlink_to(entry)
    python.with_name(Path(find_uv_bin()).name).symlink_to(find_uv_bin())
    plugins = {
        name: str(write_files(tmp_path / name, project_files(name, dependencies=(needs,))))
        for name, needs in (("direct", "torch"), ("by_way", DEP))
    }
    command = [str(python), "-c", LOAD, str(tmp_path / "cache"), json.dumps(plugins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.count("needs torch, which is not installed here") == 2, done.stdout + done.stderr
    assert done.stdout.count("pip install 'cuvis-ai-core[torch]'") == 2
    assert done.stdout.count("[]") == 2


@pytest.mark.parametrize(
    ("other", "wanted", "answer"),
    [
        ("opencv-python", "opencv-python-headless", True),
        ("faiss-cpu", "faiss-gpu-cu12", True),
        ("psycopg2-binary", "psycopg2", True),
        ("opencv-contrib-python-headless", "opencv-python", True),
        ("opencv-python", "opencv-contrib-python", False),
        ("scikit-learn", "scikit-image", False),
    ],
)
def test_what_counts_as_a_build_of_a_library(other: str, wanted: str, answer: bool) -> None:  # noqa: FBT001
    """Another machine's, or one with more in it."""
    assert stands_in(other, wanted) is answer


ONCE = """
import fractions
VERSION = "{version}"
if hasattr(fractions, "cuvis_test_registered"):
    raise TypeError("Couldn't build proto file: registered already")
fractions.cuvis_test_registered = True
"""


def test_a_second_copy_that_cannot_be_imported_is_a_conflict(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that registers itself once in a process (protobuf's messages, jax) says so; the error names the way."""
    for version in ("1.0", "2.0"):
        wheel("cuvis-test-dep", version, {"cuvis_test_dep/__init__.py": ONCE.format(version=version)})
    host_install("cuvis-test-dep", "1.0")
    monkeypatch.setattr(fractions, "cuvis_test_registered", None, raising=False)
    monkeypatch.delattr(fractions, "cuvis_test_registered")
    importlib.import_module("cuvis_test_dep")
    words = r"but 1\.0 is installed .*\ncuvis-test-dep 2\.0, .* cannot be imported like that: TypeError: Couldn't build"
    with pytest.raises(PluginLoadError, match=words) as caught:
        load("first", "cuvis-test-dep==2.0")
    assert isinstance(caught.value.__cause__, DependencyConflictError)
    assert "isolation: process" in str(caught.value.hint)
