"""What a lock file says and what it may say, told from files that are written by hand; nothing is installed."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from cuvis_ai_core.errors import LockError, NotAllowedError, PreparationError
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel, Wheels
from cuvis_ai_core.plugins.installing.install_request import Needs
from cuvis_ai_core.plugins.installing.uv_process import UvProgram
from cuvis_ai_core.plugins.lock.locked_versions import LockedVersions
from cuvis_ai_core.plugins.lock.locker import Locker, LockResult
from cuvis_ai_core.plugins.lock.lockfile import (
    Lock,
    LockedPins,
    differences,
    entry_of,
    lock_schema,
    read_lock,
    write_lock,
)
from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin, read_manifest
from cuvis_ai_core.plugins.plugin_info import PluginState

SHA = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
GIT = {"repo": "https://host/x.git", "tag": "v1.0.0", "commit": "a" * 40, "content": "b" * 64, "isolation": "scoped"}
LOCAL: dict[str, Any] = {"path": "echo", "requirements": ["b>=2", "a>=1"], "isolation": "scoped"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return where a manifest may lie, with its lock file beside it."""
    return tmp_path / "plugins.yaml"


@pytest.fixture
def written(manifest: Path) -> Callable[..., Path]:
    """Return a function that writes a lock file of a plugin and what is locked for some platform."""

    def write(entry: Mapping[str, Any] = GIT, pins: Mapping[str, Any] | None = None, where: str = "here") -> Path:
        pins = {"dependencies": {"x": ["a==1"]}, "hashes": {"a==1": [SHA]}} if pins is None else pins
        data = {"version": 1, "plugins": {"x": entry}, "environments": {where: pins}}
        file = manifest.with_suffix(".lock")
        file.write_text(tomli_w.dumps(data))
        return file

    return write


GIVEN = {
    "extras": ["images"],
    "build": ["slow"],
    "python": "3.12",
    "subdirectory": "below",
    "tag": "v2.0.0",
    "repo": "https://elsewhere/x.git",
    "isolation": "process",
}


@pytest.mark.parametrize("key", GIVEN)
def test_whatever_a_manifest_says_otherwise_is_named(manifest: Path, key: str) -> None:
    """What it says more, less, or else; credentials are no difference."""
    plain = {"repo": "https://host/x.git", "tag": "v1.0.0", "provides": ["x.Node"], "isolation": "scoped"}
    more = {"isolation": "process"} if key == "python" else {}  # which goes with nothing else
    before, after = ({**plain, **more, **each} for each in ({}, {key: GIVEN[key]}))
    for there, meant in ((before, after), (after, before)):
        declared = parse_plugin("x", there, base=Path())
        locked = {**GIT, **entry_of(declared, manifest), "isolation": declared.isolation}
        lock = Lock(manifest.with_suffix(".lock"), {"x": locked}, {})
        assert differences(lock, {"x": declared}, manifest) == []
        found = differences(lock, {"x": parse_plugin("x", meant, base=Path())}, manifest)
        assert [each.partition(" of 'x'")[0] for each in found] == [key]
        assert ["not given" in each for each in found] == [key not in there.keys() & meant.keys()]
    secret = parse_plugin("x", {**plain, "repo": "https://me:secret@host/x.git"}, base=Path())
    assert differences(Lock(manifest, {"x": {**GIT}}, {}), {"x": secret}, manifest) == []


@pytest.mark.parametrize(
    ("declared", "locked", "differ"),
    [
        ("auto", {"isolation": "process"}, False),
        ("scoped", {"isolation": "process"}, True),
        ("scoped", {"isolation": "process", "apart_by": "policy"}, False),
        ("process", {"isolation": "scoped", "apart_by": "policy"}, True),
        ("process", {"isolation": "scoped"}, True),
    ],
)
def test_a_process_of_its_own_is_what_was_chosen_or_what_the_policy_asked_for(
    manifest: Path, declared: str, locked: dict[str, str], *, differ: bool
) -> None:
    """Nothing else may be otherwise in the lock file."""
    entry = {"repo": GIT["repo"], "tag": GIT["tag"], "provides": ["x.Node"], "isolation": declared}
    lock = Lock(manifest, {"x": {**GIT, **locked}}, {})
    assert bool(differences(lock, {"x": parse_plugin("x", entry, base=Path())}, manifest)) == differ


WRONG: dict[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]] = {
    "a commit that is too long": ({**GIT, "commit": "a" * 41}, None),
    "a content that is no hash": ({**GIT, "content": "b" * 63}, None),
    "no isolation": ({key: each for key, each in GIT.items() if key != "isolation"}, None),
    "no content": ({key: each for key, each in GIT.items() if key != "content"}, None),
    "no requirements": ({key: each for key, each in LOCAL.items() if key != "requirements"}, None),
    "an unknown key": ({**GIT, "branch": "main"}, None),
    "a text in place of a list": ({**LOCAL, "requirements": "a"}, None),
    "a list in place of a text": ({**GIT, "python": ["3.12"]}, None),
    "a pin without a hash": (GIT, {"dependencies": {"x": ["a==1"]}, "hashes": {}}),
    "a pin with no hashes": (GIT, {"dependencies": {"x": ["a==1"]}, "hashes": {"a==1": []}}),
    "a build without a hash": (GIT, {"dependencies": {}, "hashes": {}, "builds": {"x": ["a==1"]}}),
    "a hash that is too long": (GIT, {"dependencies": {}, "hashes": {"a==1": [f"{SHA}0"]}}),
    "a pin that is an option": (GIT, {"dependencies": {"x": ["--pre"]}, "hashes": {"--pre": [SHA]}}),
    "a build that is none": (GIT, {"dependencies": {}, "hashes": {}, "built": ["a"]}),
    "no hashes": (GIT, {"dependencies": {}}),
}


@pytest.mark.parametrize(("entry", "pins"), WRONG.values(), ids=WRONG)
def test_a_lock_file_that_says_what_none_can_say_is_refused(
    written: Callable[..., Path], manifest: Path, entry: Mapping[str, Any], pins: Mapping[str, Any] | None
) -> None:
    """Each fault by itself; without it the file is read."""
    written(entry, pins)
    with pytest.raises(LockError, match="cannot be read"):
        read_lock(manifest)
    written()
    assert read_lock(manifest) is not None


def test_a_merge_that_is_not_settled_is_said_to_be_one(written: Callable[..., Path], manifest: Path) -> None:
    """With the line, and in place of what it breaks in TOML."""
    file = written()
    said = "<<<<<<< HEAD\nversion = 1\n=======\nversion = 1\n>>>>>>> theirs\n"
    file.write_text(file.read_text().replace("version = 1\n", said))
    with pytest.raises(LockError, match=r"merge conflict .* '<<<<<<<' .*line 1\b"):
        read_lock(manifest)


def test_a_lock_file_is_written_in_one_order_and_where_a_link_leads(manifest: Path, tmp_path: Path) -> None:
    """What is empty is not written; what is read again is the same."""
    (tmp_path / "elsewhere").mkdir()
    manifest.with_suffix(".lock").symlink_to("elsewhere/plugins.lock")
    pins = LockedPins({"y": ("a==1",), "x": ()}, {"b==1": (OTHER,), "a==1": (SHA,)}, (), {"x": ()})
    lock = Lock(manifest.with_suffix(".lock"), {"y": {**GIT}, "x": {**LOCAL}}, {"there": pins, "here": pins})
    write_lock(lock)
    assert manifest.with_suffix(".lock").is_symlink()
    text = (tmp_path / "elsewhere/plugins.lock").read_text()
    places = [
        text.index(each) for each in ("[plugins.x]", "[plugins.y]", "[environments.here.", "[environments.there.")
    ]
    assert places == sorted(places)
    assert text.index('"a==1" =') < text.index('"b==1" =')
    assert "built" not in text
    assert "builds" not in text
    found = read_lock(manifest)
    assert found is not None
    assert (found.plugins, found.environments["here"].hashes) == (lock.plugins, pins.hashes)


def locked(pins: tuple[str, ...], hashes: Mapping[str, tuple[str, ...]], **more: Any) -> LockedVersions:
    """Return what is locked for a plugin `x`."""
    environment = LockedPins({"x": pins}, hashes, **more)
    return LockedVersions(Lock(Path("plugins.lock"), {"x": LOCAL, "y": GIT}, {interpreter(): environment}))


def test_what_is_installed_is_known_by_all_that_is_locked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other versions, other files of them, another environment: another place."""
    places = {"x": Path("x")}
    found = {
        locked(pins, hashes).keys(places)["x"]
        for pins, hashes in (
            (("a==1",), {"a==1": (SHA,)}),
            (("a==1",), {"a==1": (OTHER,)}),
            (("a==2",), {"a==2": (SHA,)}),
            (("a==1", "b==1"), {"a==1": (SHA,)}),
        )
    }
    monkeypatch.setattr(host_environment, "fingerprint", lambda: "another")
    found.add(locked(("a==1",), {"a==1": (SHA,)}).keys(places)["x"])
    assert len(found) == 5


def test_requirements_are_those_that_were_locked_in_whatever_order() -> None:
    """A pin that names an address, and a plugin of which nothing is locked here, are refused."""

    def error(versions: LockedVersions, name: str, *requirements: str) -> Exception | None:
        needs = Needs("x", requirements, None, lambda _: None)  # type: ignore[arg-type]  # no uv is asked
        return versions.choose({name: needs}, None, None)[name].error  # type: ignore[arg-type]

    whole = locked(("a==1", "b==2"), {"a==1": (SHA,), "b==2": (SHA,)})
    assert error(whole, "x", "b>=2", "a>=1") is None
    assert "but locked as" in str(error(whole, "x", "a>=1"))
    assert "says nothing about plugin 'y'" in str(error(whole, "y"))
    elsewhere = "a @ https://host/a-1-py3-none-any.whl"
    assert isinstance(
        error(locked((elsewhere, "b==2"), {elsewhere: (SHA,), "b==2": (SHA,)}), "x", *LOCAL["requirements"]), LockError
    )
    with pytest.raises(LockError, match="says nothing about plugin 'y'"):
        whole.environment("y")


def test_what_is_locked_to_be_built_is_asked_of_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would run code to be installed."""
    (tmp_path / "policy.yaml").write_text('allow: [{path: "/**"}]\nrequire: {wheels_only: true}\n')
    tmp_path.chmod(0o700)
    pins = ("a==1",)
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    locked(pins, {"a==1": (SHA,)}).check("x", Source(tmp_path))
    with pytest.raises(NotAllowedError, match="built from source"):
        locked(pins, {"a==1": (SHA,)}, built=pins).check("x", Source(tmp_path))


def test_locking_again_keeps_what_still_holds_elsewhere_and_no_more(
    manifest: Path, local_plugin: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    """Of a plugin that is locked as it was; of one that changed, or went, nothing is left, no hash either."""
    local_plugin("echo")
    manifest.write_text("plugins: {echo: {path: echo, provides: [echo_plugin.nodes.Echo], isolation: scoped}}\n")
    declared = read_manifest(manifest).plugins
    entry = {"path": "echo", "requirements": list[str](), "isolation": "scoped"}
    pins = LockedPins(
        {"echo": ("a==1",), "gone": ("b==1",)},
        {"a==1": (SHA,), "b==1": (SHA,), "c==1": (SHA,)},
        ("a==1", "b==1"),
        {"echo": ("c==1",), "gone": ("b==1",)},
    )
    lock = Lock(manifest.with_suffix(".lock"), {"echo": entry, "gone": entry}, {"there": pins, interpreter(): pins})
    relock = partial(Locker(Store(cache), lambda *_: None, offline=True).lock, manifest, declared, dry_run=True)
    write_lock(lock)
    found = relock().lock
    assert list(found.plugins) == ["echo"]
    assert found.environments["there"] == LockedPins(
        {"echo": ("a==1",)}, {"a==1": (SHA,), "c==1": (SHA,)}, ("a==1",), {"echo": ("c==1",)}
    )
    assert found.environments[interpreter()] == LockedPins({"echo": ()}, {"c==1": (SHA,)}, (), {"echo": ("c==1",)})
    write_lock(lock._replace(plugins={"echo": {**entry, "requirements": ["a>=0"]}}))
    assert relock().lock.environments["there"] == LockedPins({}, {}, (), {})


def test_the_schema_knows_each_key_and_no_other() -> None:
    """For editors: what the program refuses they show; names are free where they are names."""
    schema = lock_schema()
    assert (schema["type"], schema["additionalProperties"], schema["required"]) == ("object", False, ["version"])
    assert set(schema["properties"]) == {"version", "plugins", "environments"}
    assert schema["properties"]["version"] == {"const": 1}
    plugin = schema["properties"]["plugins"]["additionalProperties"]
    assert plugin["additionalProperties"] is False
    assert plugin["oneOf"] == [{"required": ["repo", "tag", "commit"]}, {"required": ["path"]}]
    assert set(GIT) | set(LOCAL) | set(GIVEN) <= set(plugin["properties"])
    kinds = {key: each["type"] for key, each in plugin["properties"].items()}
    assert {key for key, kind in kinds.items() if kind == "array"} == {"requirements", "extras", "build"}
    assert set(kinds.values()) == {"array", "string"}
    assert re.fullmatch(plugin["properties"]["commit"]["pattern"], "a" * 40)
    assert not re.fullmatch(plugin["properties"]["commit"]["pattern"], "a" * 41)
    pins = schema["properties"]["environments"]["additionalProperties"]
    assert pins["additionalProperties"] is False
    assert set(pins["properties"]) == {"dependencies", "hashes", "builds", "built"}
    by_name = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
    assert [pins["properties"][key] for key in ("dependencies", "hashes", "builds")] == [by_name] * 3
    assert re.fullmatch(pins["properties"]["built"]["items"]["pattern"], "a-b==1.0")
    assert not re.fullmatch(pins["properties"]["built"]["items"]["pattern"], "a-b>=1.0")


def test_nothing_is_begun_for_other_plugins_where_one_cannot_be_read(
    manifest: Path, local_plugin: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No version is chosen and nothing is built for a lock file that cannot come about."""
    local_plugin("echo", dependencies=("cuvis-test-dep",))
    (local_plugin("broken") / "pyproject.toml").write_text("[project\n")
    manifest.write_text(
        "plugins:\n  echo: {path: echo, provides: [echo_plugin.nodes.Echo]}\n"
        "  broken: {path: broken, provides: [echo_plugin.nodes.Echo]}\n"
    )
    asked: list[object] = []
    monkeypatch.setattr(UvProgram, "call", lambda self, *words, **_: asked.append((self, words)))
    locker = Locker(Store(cache), lambda *_: None, offline=True)
    with pytest.raises(PreparationError, match="cannot be locked") as caught:
        locker.lock(manifest, read_manifest(manifest).plugins)
    assert list(caught.value.failed) == ["broken"]
    assert asked == []


def test_what_cannot_be_installed_is_not_locked(
    manifest: Path, local_plugin: Callable[..., Path], cache: Path, write_files: Callable[..., Path]
) -> None:
    """Though versions could be chosen: a lock file is known to work."""
    folder = local_plugin("echo")
    text = (folder / "pyproject.toml").read_text()
    broken = '[build-system]\nrequires = []\nbuild-backend = "broken"\nbackend-path = ["."]\n'
    write_files(folder, {"pyproject.toml": broken + text[text.index("[project]") :], "broken.py": "raise KeyError"})
    manifest.write_text("plugins: {echo: {path: echo, provides: [echo_plugin.nodes.Echo], isolation: scoped}}\n")
    locker = Locker(Store(cache), lambda *_: None, offline=True)
    locker.lock(manifest, read_manifest(manifest).plugins, dry_run=True)
    with pytest.raises(PreparationError, match="cannot be locked; nothing was written") as caught:
        locker.lock(manifest, read_manifest(manifest).plugins)
    assert list(caught.value.failed) == ["echo"]


@pytest.mark.parametrize(
    ("isolation", "processes"), [("scoped", [False]), ("auto", [False, True]), ("process", [True])]
)
def test_a_process_is_tried_for_what_this_one_cannot_have_where_that_is_left_open(
    manifest: Path, local_plugin: Callable[..., Path], cache: Path, isolation: str, processes: list[bool]
) -> None:
    """Once, and for `isolation: auto` alone: `scoped` means here or nowhere."""
    local_plugin("echo", dependencies=("cuvis-ai-core<1",))
    entry = f"{{path: echo, provides: [echo_plugin.nodes.Echo], isolation: {isolation}}}"
    manifest.write_text(f"plugins: {{echo: {entry}}}\n")
    states: list[PluginState] = []
    locker = Locker(Store(cache), lambda _, state, __: states.append(state), offline=True)
    with pytest.raises(PreparationError) as caught:
        locker.lock(manifest, read_manifest(manifest).plugins)
    assert states.count(PluginState.PATH_RESOLVED) == len(processes)
    assert ("the worker process of a plugin" in str(caught.value)) is processes[-1]


def test_of_what_is_locked_the_wheels_are_shown_that_this_host_lacks() -> None:
    """In just that version; one that there is for other systems alone is none of them."""

    def wheels(name: str, pin_version: str, tag: str = "py3-none-any") -> Wheels:
        file = Wheel(f"https://host/{name.replace('-', '_')}-{pin_version}-{tag}.whl", SHA, 7)
        return Wheels(name, pin_version, (file,))

    found = [
        wheels("pluggy", version("pluggy")),
        wheels("pluggy", "0.1"),
        wheels("cuvis-test-gone", "1"),
        wheels("cuvis-test-elsewhere", "1", "cp39-cp39-nowhere"),
    ]
    pins = LockedPins({"x": tuple(each.pin for each in found)}, {})
    lock = Lock(Path("plugins.lock"), {}, {interpreter(): pins, "there": LockedPins({}, {})})
    result = LockResult(lock, {each.pin: each for each in found}, {})
    assert result.environment == pins
    assert [each.name for each in result.missing()] == [
        "pluggy-0.1-py3-none-any.whl",
        "cuvis_test_gone-1-py3-none-any.whl",
    ]
