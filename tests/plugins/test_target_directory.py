"""Which target directory a choice of versions finds, and for which choices it remembers that it was made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store, long_hash
from cuvis_ai_core.plugins.cache.target_entry import Target, read_target, write_marker
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.disk.altered_files import source_stamp
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.installing.target_directory import TargetInstallation
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.manifest.manifest_schema import LocalPlugin

OLD, NEW = Choice(("a==1", "b==1")), Choice(("b==1", "a==2"), {"b==1": ("sha256:0",)})

Made = Callable[..., Target]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of a project."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "echo"\ndependencies = ["a", "b"]\n')
    return folder


@pytest.fixture
def installation(tmp_path: Path, project: Path) -> TargetInstallation:
    """Return the installation of it."""
    declared = LocalPlugin(path=project, provides=("echo.Echo",))
    store = Store(tmp_path / "cache")
    (tmp_path / "work").mkdir()
    place = tmp_path / "echo@0011"
    return TargetInstallation("echo", declared, Source(project), place, store, Uv("echo", tmp_path / "work"))


@pytest.fixture
def made(installation: TargetInstallation, project: Path) -> Made:
    """Return a function that has a target directory with some versions, which was chosen for some keys."""

    def make(choice: Choice, *keys: str, built: bool = False, requires: tuple[str, ...] = ()) -> Target:
        name = long_hash(*sorted(choice.pins), *sorted(sum(choice.hashes.values(), ())))
        stamp = source_stamp(project) if built else ""
        folder = installation.place / (long_hash(name, stamp) if built else name)
        folder.mkdir(parents=True)
        plugin = Distribution("echo", "1", requires)
        built_from = str(project) if built else ""
        write_marker(Target(folder, plugin, (), {}, {}, keys, built_from=built_from, stamp=stamp))
        found = read_target(folder)
        assert found is not None
        return found

    return make


@pytest.mark.parametrize("built", [False, True])
def test_a_choice_is_found_by_its_versions(installation: TargetInstallation, made: Made, *, built: bool) -> None:
    """Whatever the order in which they were chosen; it is remembered, and what was chosen before is forgotten."""
    assert installation.found(OLD, "here") is None
    old, new = made(OLD, "here", "there", built=built), made(NEW, "there", built=built)
    assert installation.found(Choice(("b==1", "a==1")), "here") == old
    assert installation.found(NEW, "here") == new._replace(hosts=("there", "here"))
    assert read_target(new.folder) == new._replace(hosts=("there", "here"))
    assert read_target(old.folder) == old._replace(hosts=("there",))
    assert installation.found(Choice(("a==3",)), "there") is None
    assert read_target(old.folder) == old._replace(hosts=())


def test_the_oldest_of_many_choices_is_forgotten(installation: TargetInstallation, made: Made) -> None:
    """A marker is read at each load, and does not grow without an end."""
    target = made(OLD, *map(str, range(99)))
    for key, hosts in (("99", range(100)), ("100", range(1, 101)), ("1", range(1, 101))):
        found = installation.found(OLD, key)
        assert found is not None
        assert found.hosts == tuple(map(str, hosts))
        assert read_target(target.folder) == found


def test_what_was_built_before_an_edit_is_not_found(
    installation: TargetInstallation, made: Made, project: Path
) -> None:
    """It is what the new one replaces; code that is used where it lies is never out of date."""
    stale = made(OLD, "here", built=True)
    assert installation.outdated(stale) == []
    (project / "code.py").write_text("")
    assert installation.found(OLD, "here") is None
    assert read_target(stale.folder) == stale
    fresh = made(OLD, "here", built=True)
    assert installation.outdated(fresh) == [stale.folder]
    assert installation.outdated(made(NEW, "here")) == []


def test_what_was_installed_before_tells_what_is_needed(
    installation: TargetInstallation, made: Made, project: Path
) -> None:
    """Without a look at the project, unless that was edited since it was built."""
    assert installation.needs() == ("echo", ("a", "b"))
    made(OLD, "here", built=True, requires=("c>1",))
    assert installation.needs() == ("echo", ("c>1",))
    (project / "code.py").write_text("")
    assert installation.needs() == ("echo", ("a", "b"))
