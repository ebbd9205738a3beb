"""What `importlib.metadata` tells a plugin's code of itself and of what it has for itself."""

from collections.abc import Callable
from importlib import metadata
from importlib.metadata import DistributionFinder
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.importlib_metadata import find_distributions
from cuvis_ai_core.plugins.isolation.scope import Scope

ASKING = """\
from importlib import metadata


class Thing:
    made = "made"


def version(name):
    return metadata.version(name)


def own_version():
    return metadata.version(__package__)


def names(**context):
    return sorted(each.name for each in metadata.distributions(**context) if each.name.startswith("told-"))


def point(name):
    (found,) = metadata.entry_points(group="told.things", name=name)
    return found
"""
POINTS = "[told.things]\nmade = told_own.asking:Thing.made\nmodule = told_own.asking\n"


@pytest.fixture
def own(scope_of: Callable[..., Scope], tmp_path: Path, write_files: Callable[..., Path]) -> Scope:
    """Return a plugin with a dependency of its own; beside it lies what is another plugin's."""
    for place, name, version in (("a", "told-own", "1"), ("a", "told-other", "2"), ("b", "told-lib", "3")):
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        write_files(
            tmp_path / place / folder, {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
        )
    (tmp_path / "a/told_own-1.dist-info/entry_points.txt").write_text(POINTS)
    files = {"told_own/__init__.py": "", "told_own/asking.py": ASKING}
    return scope_of(files, distributions={"told-own": tmp_path / "a", "told-lib": tmp_path / "b"})


def test_a_plugin_finds_itself_and_what_it_has_for_itself(own: Scope, tmp_path: Path) -> None:
    """By any spelling, and by the name of its package; nobody else does, nor it what lies beside."""
    asking: Any = own.import_module("told_own.asking")
    assert [asking.version(name) for name in ("told-own", "Told_Lib")] == ["1", "3"]
    assert asking.own_version() == "1"
    assert asking.names() == ["told-lib", "told-own"]
    assert asking.names(name="told-lib") == ["told-lib"]
    assert asking.names(path=[str(tmp_path / "a")]) == ["told-other", "told-own"]
    for name in ("told-other", "told-none"):
        with pytest.raises(metadata.PackageNotFoundError):
            asking.version(name)
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("told-own")
    context = DistributionFinder.Context(name=f"{own.name}.told_own")
    assert list(find_distributions(context)) == []


def test_an_entry_point_leads_to_the_plugins_own_module(own: Scope) -> None:
    """To what is named in it, or to the module itself; it says whose it is."""
    asking: Any = own.import_module("told_own.asking")
    made, module = asking.point("made"), asking.point("module")
    assert (made.load(), module.load()) == ("made", asking)
    assert (made.name, made.value, made.group) == ("made", "told_own.asking:Thing.made", "told.things")
    assert (made.dist.name, made.dist.version) == ("told-own", "1")
