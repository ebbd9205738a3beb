"""Completion markers say what lies in the plugin cache; what somebody else wrote, or another version, says nothing."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import CacheMismatchError
from cuvis_ai_core.plugins.cache import altered_entries, sources
from cuvis_ai_core.plugins.cache.checkout_entry import complete, identity, read_marker
from cuvis_ai_core.plugins.cache.environment_entry import (
    Environment,
    code_stamp,
    described,
    read_environment,
    usable_environment,
    write_environment,
)
from cuvis_ai_core.plugins.cache.sources import Source, cached_source, content_of, put_checkout
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import Target, complete_target, read_target, target_for, write_marker
from cuvis_ai_core.plugins.cache.unsettled_tags import known_commits, settle
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.disk import altered_files
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, parse_plugin

COMMIT = "a" * 40
GIT: dict[str, Any] = {"repo": "https://host/x.git", "tag": "v1.0.0", "provides": ["x.Node"]}


def spoil(marker: Path, **changes: object) -> None:
    """Change what a marker says."""
    marker.write_text(json.dumps(json.loads(marker.read_text()) | changes))


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """Return a target directory with two modules and a marker."""
    folder = tmp_path / "x@0011/pins"
    (folder / "x-1.dist-info").mkdir(parents=True)
    for name in ("x.py", "y.py"):
        (folder / name).write_text("")
    digest = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    (folder / "x-1.dist-info/RECORD").write_text(f"x.py,{digest},0\ny.py,{digest},0\n")
    made = Target(folder, Distribution("x", "1"), (), {"x": "", "y": ""}, {}, ("key",))
    write_marker(made)
    found = read_target(folder)
    assert found is not None
    return found


def test_a_target_directory_is_whole_and_of_this_version_and_was_chosen(target: Target) -> None:
    """All of its modules are there; for another environment, or in other company, it is another one."""
    place, marker = target.folder.parent, target.folder / "cuvis-target.json"
    assert target_for(place, "key") == target
    assert target_for(place, "another") is None
    (target.folder / "y.py").rename(target.folder / "z.py")
    assert complete_target(target.folder) is None
    (target.folder / "z.py").rename(target.folder / "y.py")
    assert complete_target(target.folder) is not None
    spoil(marker, format=99)
    assert read_target(target.folder) is None


def test_a_marker_is_written_anew_only_where_that_is_allowed(target: Target) -> None:
    """A copy of a cache has other times; one that others filled is never written."""
    marker = target.folder / "cuvis-target.json"
    before = marker.read_bytes()
    os.utime(target.folder / "x.py", (1, 1))
    assert target_for(target.folder.parent, "key", write=False) is not None
    assert marker.read_bytes() == before
    found = target_for(target.folder.parent, "key")
    assert found is not None
    assert marker.read_bytes() != before
    assert altered_files.looks_unchanged(target.folder, found.watched)


def test_what_was_built_of_a_project_is_stale_once_that_is_edited(target: Target, tmp_path: Path) -> None:
    """The next load builds it anew."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "code.py").write_text("")
    built = target._replace(built_from=str(project), stamp=altered_files.source_stamp(project))
    write_marker(built)
    assert target_for(target.folder.parent, "key") is not None
    (project / "code.py").write_text("x")
    assert target_for(target.folder.parent, "key") is None


def test_what_is_watched_of_a_target_directory_is_its_own_code_and_what_was_recorded(target: Target) -> None:
    """Of what a plugin needs the records stand for all files."""
    info = target.folder / "dep-1.dist-info"
    info.mkdir()
    (target.folder / "dep.py").write_text("")
    (info / "RECORD").write_text("dep.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")
    assert set(target.watched) == {"x.py", "y.py", "x-1.dist-info/RECORD"}
    write_marker(target._replace(content="", code={"x": "", "y": "/elsewhere"}))
    found = read_target(target.folder)
    assert found is not None
    assert set(found.watched) == {"x.py", "x-1.dist-info/RECORD", "dep-1.dist-info/RECORD"}
    assert found.content != target.content


def test_a_target_directory_that_was_altered_gets_no_new_marker(target: Target) -> None:
    """Whoever notes a choice in it would vouch for what somebody else wrote; other times alone are no edit."""
    marker = target.folder / "cuvis-target.json"
    os.utime(target.folder / "x.py", (1, 1))
    write_marker(target._replace(hosts=("key", "more")))
    found = read_target(target.folder)
    assert found is not None
    assert (found.hosts, found.content) == (("key", "more"), target.content)
    assert altered_files.looks_unchanged(target.folder, found.watched)
    before = marker.read_bytes()
    (target.folder / "x.py").write_text("edited")
    with pytest.raises(CacheMismatchError, match=r"changed, added or removed \(x\.py\)"):
        write_marker(found._replace(hosts=()))
    assert marker.read_bytes() == before


@pytest.mark.parametrize(
    ("edited", "named"), [("ab", "a.py, b.py"), ("abc", "a.py, b.py, c.py"), ("abcd", "a.py, b.py, c.py, …")]
)
def test_some_of_the_files_that_were_altered_are_named(tmp_path: Path, edited: str, named: str) -> None:
    """Three are enough to know what happened."""
    folder = tmp_path / "x@0011/pins"
    (folder / "x-1.dist-info").mkdir(parents=True)
    empty = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0"
    (folder / "x-1.dist-info/RECORD").write_text("".join(f"{name}.py,{empty}\n" for name in "abcd"))
    for name in "abcd":
        (folder / f"{name}.py").write_text("")
    write_marker(Target(folder, Distribution("x", "1"), (), {"x": ""}, {}, ("key",)))
    found = read_target(folder)
    assert found is not None
    altered_entries.refuse_altered(found)
    for name in edited:
        (folder / f"{name}.py").write_text("edited")
    with pytest.raises(CacheMismatchError, match=re.escape(f"removed ({named}).")) as caught:
        altered_entries.refuse_altered(found)
    assert (caught.value.plugin, caught.value.path) == ("x", folder)


def checkout_of(folder: Path) -> Path:
    """Make what looks like a checkout."""
    (folder / ".git").mkdir(parents=True)
    (folder / ".git/HEAD").write_text(f"{COMMIT}\n")
    (folder / "code.py").write_text("")
    return folder


@pytest.mark.parametrize(
    "wrong", [{"watched": []}, {"commit": None}, {"content": 7}, {"repo": None}, {"tag": 1}, {"name": None}]
)
def test_a_checkout_is_whole_where_its_marker_is(tmp_path: Path, wrong: dict[str, object]) -> None:
    """One that lacks something, or has something else in its place, is none."""
    checkout = checkout_of(tmp_path / "x@v1")
    wanted = identity("x", "https://me:secret@host/x.git", "v1")
    assert wanted["repo"] == "https://host/x.git"
    marker = complete(checkout, COMMIT, wanted)
    assert read_marker(checkout) == marker
    spoil(checkout / ".git/cuvis-checkout.json", **wrong)
    assert read_marker(checkout) is None


def test_a_tag_is_what_somebody_else_than_a_bundle_says_once_anybody_does(tmp_path: Path) -> None:
    """Under whatever name of a plugin; the same tag of another repository says nothing of it."""
    store = Store(tmp_path / "cache")
    url, other = "https://host/x.git", "https://host/y.git"

    def put(name: str, repo: str, commit: str, *, settled: bool) -> None:
        declared = GitPlugin(repo=repo, tag="v1", provides=("x.Node",))
        checkout = checkout_of(tmp_path / f"{name}-{commit[0]}")
        (checkout / ".git/HEAD").write_text(f"{commit}\n")
        put_checkout(name, declared, checkout, commit, store, settled=settled)

    put("a", url, COMMIT, settled=False)
    assert known_commits(url, "v1", store) == {COMMIT: False}
    put("b", url, COMMIT, settled=True)
    put("c", url, COMMIT, settled=False)
    put("d", other, "b" * 40, settled=True)
    assert known_commits(url, "v1", store) == {COMMIT: True}
    assert known_commits(other, "v1", store) == {"b" * 40: True}
    assert known_commits(url, "v2", store) == {}


def test_a_tag_of_which_only_a_bundle_tells_is_asked_for_where_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody can be asked that is said, and what the bundle brought is used."""
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    store, declared = Store(tmp_path / "cache"), GitPlugin.model_validate(GIT)
    for settled in (False, True):
        checkout = checkout_of(tmp_path / f"checkout-{settled}")
        name = f"x{settled}"
        put_checkout(name, declared, checkout, COMMIT, store, settled=settled)
        source = cached_source(name, declared, store)
        assert source is not None
        assert source.unsettled == (None if settled else (GIT["repo"], GIT["tag"]))
        caplog.clear()
        settle(name, source)
        said = f"plugin '{name}': nobody but a bundle says that tag v1.0.0 of https://host/x.git is commit {COMMIT} ("
        assert [each.getMessage().startswith(said) for each in caplog.records] == ([] if settled else [True])
        assert cached_source(name, declared, store) == source


def test_what_is_installed_is_known_by_all_that_decides_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repository, tag, commit, folder, extras, interpreter; not by credentials, nor by where the checkout lies."""
    checkout = tmp_path / "checkout"
    (checkout / "below").mkdir(parents=True)

    def content(source: Source | None = None, **more: object) -> str:
        return content_of(parse_plugin("x", {**GIT, **more}, base=Path()), source or Source(checkout, COMMIT, ""))

    plain = content()
    others = [
        content(repo="https://host/y.git"),
        content(tag="v1.0.1"),
        content(Source(checkout, "b" * 40, "")),
        content(subdirectory="below"),
        content(extras=["images"]),
        content(extras=["below"]),
    ]
    assert content(repo="https://me:secret@host/x.git") == plain
    (tmp_path / "copy").mkdir()
    assert content(Source(tmp_path / "copy", COMMIT, "")) == plain
    monkeypatch.setattr(sources, "interpreter", lambda: "another")
    assert len({plain, content(), *others}) == 8


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Return an environment with a plugin, this package and something else, and its marker."""
    packages = tmp_path / "environment/lib/python3.11/site-packages"
    for name, version in (("x", "1"), ("cuvis_ai_core", "2"), ("cuvis_ai_hookspecs", "2"), ("other", "3")):
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("")
    made = described(tmp_path / "environment", "X")
    made.python.parent.mkdir(exist_ok=True)
    made.python.write_text("")
    write_environment(made)
    return made


def test_an_environment_is_one_of_this_version_whose_python_is_there(environment: Environment, tmp_path: Path) -> None:
    """What it has is pinned, but for the plugin and what it imports of this package."""
    store, folder = Store(tmp_path), environment.folder
    assert (environment.distribution, environment.version, environment.pins) == ("x", "1", ("other==3",))
    assert usable_environment(folder, store) == read_environment(folder) == environment
    environment.python.unlink()
    assert usable_environment(folder, store) is None
    environment.python.write_text("")
    spoil(folder / "cuvis-environment.json", format=99)
    assert read_environment(folder) is None


@pytest.mark.parametrize(
    ("distribution", "needed"), [("x", ["numpy>=1", "a ; extra == 'b'"]), ("other", []), ("gone", []), ("", [])]
)
def test_an_environment_tells_what_its_plugin_needs(
    environment: Environment, distribution: str, needed: list[str]
) -> None:
    """As its metadata have it; who has no project needs nothing."""
    metadata = environment.packages / "x-1.dist-info/METADATA"
    needs = "".join(f"Requires-Dist: {each}\n" for each in ("numpy>=1", "a ; extra == 'b'"))
    metadata.write_text(metadata.read_text() + needs)
    assert environment._replace(distribution=distribution).requirements() == needed


def test_the_marker_of_an_environment_is_kept_where_it_may_not_be_written(
    environment: Environment, tmp_path: Path
) -> None:
    """It is looked at closely each time."""
    marker = environment.folder / "cuvis-environment.json"
    before = marker.read_bytes()
    for record in environment.packages.glob("*/RECORD"):
        os.utime(record, (1, 1))
    assert usable_environment(environment.folder, Store(tmp_path), write=False) is not None
    assert marker.read_bytes() == before
    assert usable_environment(environment.folder, Store(tmp_path)) is not None
    assert marker.read_bytes() != before


def resize(file: Path) -> None:
    """Give a file another size, at the same time."""
    file.write_text("xx")
    os.utime(file, (1, 1))


EDITS: dict[str, Callable[[Path], object]] = {
    "its size": resize,
    "its time": lambda file: os.utime(file, (5, 5)),
    "its name": lambda file: file.rename(file.with_name("other.py")),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_of_code_beside_an_environment_is_seen(
    environment: Environment, tmp_path: Path, edit: Callable[[Path], object]
) -> None:
    """By any file of it, but for those of an environment in it."""
    project = tmp_path / "project"
    (project / ".venv").mkdir(parents=True)
    (project / "code.py").write_text("x")
    os.utime(project / "code.py", (1, 1))
    edited = environment._replace(editable=str(project))
    assert code_stamp(environment) == ""
    before = code_stamp(edited)
    (project / ".venv/code.py").write_text("")
    assert code_stamp(edited) == before
    edit(project / "code.py")
    assert code_stamp(edited) != before
