"""What an audit finds out about pins: asked of an index, or why not."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import InstallError
from cuvis_ai_core.plugins.audit.auditing import Audit, AuditedDependency, AuditedPlugin, Finding, audit
from cuvis_ai_core.plugins.audit.licences import licence_of, licence_of_project
from cuvis_ai_core.plugins.audit.sbom import write_sbom
from cuvis_ai_core.plugins.cache.policy_status import Standing
from cuvis_ai_core.plugins.cache.sources import content_of, local_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.lock.lockfile import Lock, LockedPins, write_lock
from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

ADDRESS = "b @ https://host.org/b-1-py3-none-any.whl"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest with a local plugin, and a lock file for this platform."""
    (tmp_path / "own").mkdir()
    file = tmp_path / "plugins.yaml"
    file.write_text("plugins:\n  own:\n    path: own\n    provides: [m.N]\n")
    hashes = {"a==1": (f"sha256:{'a' * 64}",), ADDRESS: (f"sha256:{'b' * 64}",)}
    here = {interpreter(): LockedPins({"own": ("a==1", ADDRESS)}, hashes)}
    entry = {"path": "own", "requirements": ["a", "b"], "isolation": "scoped"}
    write_lock(Lock(tmp_path / "plugins.lock", {"own": entry}, here))
    return file


def test_an_index_is_asked_for_what_comes_from_one(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for addresses; what authors took back is a finding, with their reason."""
    asked: list[list[str]] = []

    def yanked(_: Uv, pins: list[str]) -> dict[str, str]:
        asked.append(pins)
        return {"a==1": "it leaks"}

    monkeypatch.setattr(Uv, "yanked", yanked)
    found = audit(manifest, Store(tmp_path / "cache"), offline=False)
    assert (asked, found.not_asked) == ([["a==1"]], "")
    (plugin,) = found.plugins
    assert [(each.pin, each.yanked) for each in plugin.dependencies] == [("a==1", "it leaks"), (ADDRESS, "")]
    assert Finding("yanked", "a==1 was yanked: it leaks") in plugin.findings


def test_why_an_index_was_not_asked_is_said_in_a_line(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it did not answer, that no connection may be opened, or that nothing is locked."""

    def fails(*_: object) -> None:
        raise InstallError("uv could not ask:\n  more")

    monkeypatch.setattr(Uv, "yanked", fails)
    store = Store(tmp_path / "cache")
    assert audit(manifest, store, offline=False).not_asked == "uv could not ask:"
    assert audit(manifest, store, offline=True).not_asked == "no connection may be opened"
    (tmp_path / "plugins.lock").unlink()
    assert audit(manifest, store, offline=False).not_asked == "nothing is locked"


@pytest.mark.parametrize(
    ("text", "licence", "found"),
    [
        (None, "", [("source", "is missing")]),
        ("[project", "", [("source", "cannot be read")]),
        (
            '[project]\nname = "own"\nlicense = "MIT"\ndependencies = ["a", "b<2", "c"]\n',
            "MIT",
            [("bounds", "a has no upper bound"), ("bounds", "c has no upper bound")],
        ),
        (
            '[project]\nname = "own"\ndynamic = ["dependencies"]\n',
            "",
            [("bounds", "only a build can tell what it depends on")],
        ),
    ],
)
def test_a_project_is_read_and_not_built(
    manifest: Path, tmp_path: Path, text: str | None, licence: str, found: list[tuple[str, str]]
) -> None:
    """What its file does not say is a finding."""
    if text is not None:
        (tmp_path / "own/pyproject.toml").write_text(text)
    (plugin,) = audit(manifest, Store(tmp_path / "cache"), offline=True).plugins
    about = [each for each in plugin.findings if each.about in {"source", "bounds"}]
    assert [each.about for each in about] == [about for about, _ in found]
    assert all(said in each.text for each, (_, said) in zip(about, found, strict=True))
    assert plugin.licence == licence
    assert (Finding("licence", "states no licence") in plugin.findings) is not bool(licence)
    assert (plugin.tag, plugin.commit, plugin.age) == (None, None, None)


def test_licences_of_dependencies_are_those_of_what_is_installed_for_a_plugin(manifest: Path, tmp_path: Path) -> None:
    """Where it was loaded before, in this process or another."""
    store, declared = Store(tmp_path / "cache"), read_manifest(manifest).plugins["own"]
    content = content_of(declared, local_source(tmp_path / "own"))
    places = {"a-1": store.targets("own", content) / "x"}
    places["b-2"] = store.environments("own", content) / "y/lib/python3.12/site-packages"
    for name, place in places.items():
        (place / f"{name}.dist-info").mkdir(parents=True)
        (place / f"{name}.dist-info/METADATA").write_text(f"Name: {name[0]}\nVersion: {name[2]}\nLicense: of {name}\n")
    hashes = {"a==1": (f"sha256:{'a' * 64}",), "b==2": (f"sha256:{'b' * 64}",), "c @ git+x": ()}
    pins = LockedPins({"own": tuple(hashes)}, hashes, ("b==2",))
    entry = {"path": "own", "requirements": ["a", "b"], "isolation": "scoped"}
    write_lock(Lock(tmp_path / "plugins.lock", {"own": entry}, {interpreter(): pins}))
    (plugin,) = audit(manifest, store, offline=True).plugins
    assert plugin.dependencies == (
        AuditedDependency("a==1", hashes["a==1"], built=False, licence="of a-1", yanked=""),
        AuditedDependency("b==2", hashes["b==2"], built=True, licence="of b-2", yanked=""),
        AuditedDependency("c @ git+x", (), built=False, licence="", yanked=""),
    )


@pytest.mark.parametrize(
    ("project", "licence"),
    [
        ({"license": "MIT"}, "MIT"),
        ({"license": {"text": " \nBSD\nmore"}}, "BSD"),
        ({"license": {"text": "x" * 100}}, "x" * 80),
        ({"license": {"text": ""}}, ""),
        (
            {"license": {"file": "x"}, "classifiers": ["License :: OSI Approved :: MIT License", "Topic :: X", 7]},
            "MIT License",
        ),
        ({"license": {"text": 7}, "classifiers": ["License :: A", "License :: B"]}, "A, B"),
        ({"classifiers": "License :: A"}, ""),
        ({}, ""),
    ],
)
def test_the_licence_of_a_project_is_what_its_table_says(project: dict[str, Any], licence: str) -> None:
    """In any of the ways in which tables have said so."""
    assert licence_of_project(project) == licence


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License: old\nLicense-Expression: MIT\nClassifier: License :: A\n", "MIT"),
        ("License: old\nClassifier: Topic :: X\nClassifier: License :: A :: B\n", "B"),
        ("License: old\nClassifier: Topic :: X\n", "old"),
        ("", ""),
    ],
)
def test_the_licence_of_what_is_installed_is_what_its_metadata_say(tmp_path: Path, metadata: str, licence: str) -> None:
    """Of that version alone; what this environment has is known too."""
    info = tmp_path / "cuvis_test_licensed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cuvis-test-licensed\nVersion: 1.0\n{metadata}")
    assert licence_of("cuvis-test-licensed", "1.0", [tmp_path]) == licence
    assert licence_of("cuvis-test-licensed", "1.1", [tmp_path]) == ""
    # Older versions of it say the same by a classifier.
    assert licence_of("pytest", version("pytest"), [tmp_path]) in {"MIT", "MIT License"}


def test_a_bill_says_where_each_part_comes_from(tmp_path: Path) -> None:
    """Commit or address, what was built, and hashes; what several plugins need stands there once."""
    pytest.importorskip("cyclonedx")
    shared = AuditedDependency("a==1", ("sha256:0", "sha256:1"), built=True, licence="MIT", yanked="")
    commit = AuditedDependency("b @ git+https://host/b@01", (), built=False, licence="", yanked="")
    file = AuditedDependency("c @ https://host/c.whl", ("sha256:2",), built=False, licence="", yanked="")
    standing = Standing("private", "policy.yaml:1", "unsigned", "")
    plugins = (
        AuditedPlugin("x", "https://host/x", "v1", "ff", 1, standing, "BSD", (shared, commit), ()),
        AuditedPlugin("y", "/y", None, None, None, standing, "", (shared, file), ()),
    )
    write_sbom(Audit(tmp_path / "plugins.yaml", Lock(tmp_path, {}, {}), plugins, ""), tmp_path / "bill.json")
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["type"]) == (
        "plugins.yaml",
        "application",
    )
    found = {each["name"]: each for each in bill["components"]}
    assert sorted(each["name"] for each in bill["components"]) == ["a", "b", "c", "x", "y"]
    assert {name: each["purl"] for name, each in found.items()} == {
        "a": "pkg:pypi/a@1",
        "b": "pkg:pypi/b?vcs_url=git%2Bhttps://host/b%4001",
        "c": "pkg:pypi/c?download_url=https://host/c.whl",
        "x": "pkg:generic/x@v1?vcs_url=git%2Bhttps://host/x%40ff",
        "y": "pkg:generic/y",
    }
    assert {name: each["licenses"][0]["license"]["name"] for name, each in found.items() if "licenses" in each} == {
        "a": "MIT",
        "x": "BSD",
    }
    told = {
        name: {each["name"].partition(":")[2]: each["value"] for each in found[name].get("properties", [])}
        for name in "abx"
    }
    assert told == {
        "a": {"built from source": "true", "hash 1": "sha256:0", "hash 2": "sha256:1"},
        "b": {},
        "x": {"kind": "private", "source": "https://host/x", "signature": "unsigned"},
    }
    refs = {name: each["bom-ref"] for name, each in found.items()}
    needs = {each["ref"]: sorted(each.get("dependsOn", [])) for each in bill["dependencies"]}
    assert needs["manifest"] == sorted([refs["x"], refs["y"]])
    assert needs[refs["x"]] == sorted([refs["a"], refs["b"]])
    assert needs[refs["y"]] == sorted([refs["a"], refs["c"]])
