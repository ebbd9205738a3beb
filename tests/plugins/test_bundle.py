"""A manifest in one archive: made where there is a network, unpacked where there is none."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.unpacking import unpack_bundle
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]


def run(*arguments: str | Path) -> Result:
    """Run `cuvis-ai plugins …`."""
    return CliRunner().invoke(cuvis_ai, ["plugins", *map(str, arguments)], prog_name="cuvis-ai")


PYPROJECT = """\
[build-system]
requires = ["{backend}"]
build-backend = "{module}"
[project]
name = "{name}-plugin"
version = "1.0.0"
dependencies = ["cuvis-test-dep", "numpy"]
"""

NODES = """\
import cuvis_test_dep
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec

class Echo(ArrayNode):
    OUTPUT_SPECS = {"dependency": PortSpec(str, ())}

    def forward(self):
        return {"dependency": cuvis_test_dep.VERSION}
"""


def project(name: str, backend: str, module: str) -> Files:
    """Return the files of a plugin with a dependency."""
    return {
        "pyproject.toml": PYPROJECT.format(name=name, backend=backend, module=module),
        f"src/{name}_plugin/__init__.py": "",
        f"src/{name}_plugin/nodes.py": NODES,
        "tools/run.sh": "#!/bin/sh\n",
    }


class Origin(NamedTuple):
    """Where the bundle of these tests was made."""

    archive: Path
    manifest: Path
    cache: Path
    wheels: Path


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, git_host: GitHost, make_wheel: Callable[..., None]) -> Origin:
    """Bundle plugins with a dependency: one from Git, a local one below the manifest, and one for another process."""
    place = tmp_path_factory.mktemp("origin")
    made = Origin(place / "plugins.tar.gz", place / "work/plugins.yaml", place / "cache", place / "wheels")
    make_wheel(made.wheels, "cuvis-test-dep", "1.0", {"cuvis_test_dep/__init__.py": "VERSION = '1.0'\n"})
    url = git_host.add(f"bundled-{place.name}", project("remote", "hatchling", "hatchling.build"), tag="v1.0.0")
    apart = git_host.add(f"apart-{place.name}", project("apart", "uv_build", "uv_build"), tag="v1.0.0")
    for name, text in project("local", "uv_build", "uv_build").items():
        path = made.manifest.parent / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (made.manifest.parent / "mine/.venv").mkdir()
    (made.manifest.parent / "mine/.venv/big").write_text("not carried")
    made.manifest.write_text(
        f"plugins:\n"
        f"  remote: {{repo: '{url}', tag: v1.0.0, provides: [remote_plugin.nodes.Echo]}}\n"
        f"  local: {{path: mine, provides: [local_plugin.nodes.Echo]}}\n"
        f"  apart: {{repo: '{apart}', tag: v1.0.0, provides: [apart_plugin.nodes.Echo], isolation: process}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(place))
        patch.setenv("CUVIS_PLUGINS_DIR", str(made.cache))
        patch.setenv("UV_FIND_LINKS", str(made.wheels))
        result = run("bundle", made.manifest, "-o", made.archive)
    assert result.exit_code == 0, result.output
    assert made.manifest.with_suffix(".lock").is_file()
    return made


@pytest.fixture
def bundle(origin: Origin, tmp_path: Path) -> Path:
    """Return a copy of the bundle."""
    return Path(shutil.copy(origin.archive, tmp_path))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python as on another machine: another home, no network, nothing cached, no git."""
    home = tmp_path / "another home"
    (home / "work").mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "CUVIS_", "PIP_"))}
    environment = kept | {
        "HOME": str(home),
        "UV_CACHE_DIR": str(home / "uv cache"),
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "PATH": str(home),
        "CUVIS_OFFLINE": "1",
        "CUVIS_PLUGIN_DISCOVERY": "0",
    }

    def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, cwd=home / "work", env=environment, capture_output=True, text=True, check=False)

    return python


COMMAND = "from cuvis_ai_core.cli.main import main; main(prog_name='cuvis-ai')"

LOAD = """
import sys
from cuvis_ai_core import NodeRegistry
registry = NodeRegistry()
assert registry.load_plugins(sys.argv[1]) == 3
for name in ("remote", "local", "apart"):
    info, node = registry.plugin_info(name), registry.get(f"{name}_plugin.nodes.Echo")()
    print(name, info.version, node.forward()["dependency"], info.commit)
"""


def test_everything_loads_on_a_machine_without_network_git_or_cache(
    bundle: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Builds of all plugins included; the local plugin comes along, and so does an environment of its own."""
    bundle.rename(tmp_path / "another home/work/plugins.tar.gz")
    unpacked = elsewhere(COMMAND, "plugins", "unbundle", "plugins.tar.gz")
    assert unpacked.returncode == 0, unpacked.stderr
    assert "Unpacked 3 plugins; their manifest is plugins.yaml." in unpacked.stdout
    for _ in range(2):
        loaded = elsewhere(LOAD, "plugins.yaml")
        assert loaded.returncode == 0, loaded.stderr
        assert [line.split()[:3] for line in loaded.stdout.splitlines()] == [
            ["remote", "1.0.0", "1.0"],
            ["local", "1.0.0", "1.0"],
            ["apart", "1.0.0", "1.0"],
        ]
    work, store = tmp_path / "another home/work", tmp_path / "another home/.cuvis_plugins"
    assert not (work / "mine/.venv").exists()
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=store / "remote@v1.0.0", capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_a_bundle_is_the_same_when_made_again(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order, times and owners are fixed."""
    monkeypatch.setenv("UV_FIND_LINKS", str(origin.wheels))
    NodeRegistry.set_cache_dir(origin.cache)
    result = run("bundle", origin.manifest, "--output", tmp_path / "again.tar.gz")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again.tar.gz").read_bytes() == origin.archive.read_bytes()


def test_unpacking_twice_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    """What is there already is left."""
    for _ in range(2):
        result = run("unbundle", bundle, "--output-dir", tmp_path / "out")
        assert result.exit_code == 0, result.output


def test_a_file_that_is_in_the_way_is_not_overwritten(bundle: Path, tmp_path: Path, cache: Path) -> None:
    """It is named, and nothing is unpacked."""
    (tmp_path / "out/mine").mkdir(parents=True)
    (tmp_path / "out/mine/pyproject.toml").write_text("mine")
    result = run("unbundle", bundle, "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert "pyproject.toml is in the way" in result.stderr
    assert sorted((tmp_path / "out").rglob("*")) == [tmp_path / "out/mine", tmp_path / "out/mine/pyproject.toml"]
    assert sorted(path.name for path in cache.iterdir()) == [".locks", ".tmp", "README"]


def test_a_local_plugin_beside_the_manifest_is_named_and_left_out(
    tmp_path: Path, cache: Path, local_plugin: Callable[..., Path]
) -> None:
    """Where it is to lie is said on both machines."""
    local_plugin("echo")
    (tmp_path / "work").mkdir()
    manifest = tmp_path / "work/plugins.yaml"
    manifest.write_text("plugins:\n  echo: {path: ../echo, provides: [echo_plugin.nodes.Echo]}\n")
    result = run("bundle", manifest)
    assert result.exit_code == 0, result.output
    assert "Warning: plugin 'echo' is not in the bundle" in result.stderr
    result = run("unbundle", tmp_path / "work/plugins.tar.gz", "--output-dir", tmp_path / "far/away")
    assert result.exit_code == 0
    assert "Warning: plugin 'echo' was not in the bundle" in result.stderr


def test_a_bundle_for_another_platform_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both platforms are named."""
    here = interpreter()
    monkeypatch.setattr(sys.implementation, "_multiarch", "nowhere")
    result = run("unbundle", bundle, "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert f"is for {here}, but this is {sys.implementation.cache_tag}-nowhere" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_differs_from_its_lock_is_not_bundled(bundle: Path, origin: Origin, cache: Path) -> None:
    """The old bundle stays."""
    before = bundle.read_bytes()
    manifest = bundle.with_name("plugins.yaml")
    manifest.write_text(origin.manifest.read_text().replace("tag: v1.0.0", "tag: v2"))
    shutil.copy(origin.manifest.with_suffix(".lock"), bundle.parent)
    result = run("bundle", manifest, "-o", bundle)
    assert result.exit_code == 2
    assert "differ" in result.stderr
    assert bundle.read_bytes() == before


def test_a_plugin_that_cannot_be_fetched_leaves_no_archive(tmp_path: Path, cache: Path, git_host: GitHost) -> None:
    """No part of one either."""
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(f"plugins:\n  gone: {{repo: '{git_host.url('gone')}', tag: v1, provides: [a.B]}}\n")
    result = run("bundle", manifest)
    assert result.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["plugins.yaml"]


Members = list[tuple[tarfile.TarInfo, bytes]]


def members_of(archive: Path) -> Members:
    """Return what is in an archive."""
    with tarfile.open(archive) as tar:
        found = []
        for member in tar:
            file = tar.extractfile(member)
            found.append((member, file.read() if file else b""))
        return found


def write(archive: Path, members: Members) -> Path:
    """Write an archive."""
    with tarfile.open(archive, "w:gz") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return archive


def file(name: str, data: bytes = b"evil") -> tuple[tarfile.TarInfo, bytes]:
    """Return a plain file for an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """Return something that is no plain file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b""


def with_listing(members: Members, change: Callable[[dict[str, Any]], None]) -> Members:
    """Return an archive whose listing was changed."""
    listing = json.loads(members[0][1])
    change(listing)
    return [file("bundle.json", json.dumps(listing).encode()), *members[1:]]


def listed(data: bytes = b"evil") -> Mapping[str, Any]:
    """Return the entry of a file in a listing."""
    return {"size": len(data), "hash": hashlib.sha256(data).hexdigest()}


@pytest.fixture
def untouched(tmp_path: Path, cache: Path) -> Iterator[Callable[[Path, str], None]]:
    """Return a function that unpacks an archive, and proves that it is refused and leaves nothing."""
    place = tmp_path / "a place of its own"

    def refuse(archive: Path, said: str) -> None:
        place.mkdir()
        store = Store(place / "store")
        before = {path for path in tmp_path.rglob("*") if place not in path.parents}
        with pytest.raises(BundleError, match=said) as caught:
            unpack_bundle(archive, place / "out", store)
        assert caught.value.hint
        after = {path for path in tmp_path.rglob("*") if place not in path.parents}
        assert after == before
        left = {path.relative_to(place).as_posix() for path in place.rglob("*")}
        assert left <= {"store", "store/.tmp", "store/.locks", "store/README"}

    yield refuse
    assert not Path("/tmp/cuvis-test-evil").exists()


NAMES = [
    "../evil",
    "checkouts/remote/../../../evil",
    "checkouts/../evil",
    "/tmp/cuvis-test-evil",
    "//tmp/cuvis-test-evil",
    "checkouts//evil",
    "./checkouts/remote/evil",
    "checkouts/remote/./evil",
    "checkouts/remote/a\\..\\..\\evil",
    "C:/evil",
    "checkouts/remote/c:evil",
    "checkouts/remote/nul",
    "checkouts/remote/a\nb",
    "checkouts/remote/dot.",
    "checkouts/remote/.git/config",
    "checkouts/remote/.git/hooks/post-checkout",
    "checkouts/remote/.git/objects/info/alternates",
    "checkouts/remote/.git/commondir",
    "checkouts/remote/.GIT/config",
    "checkouts/remote/sub/.git/config",
    "checkouts/remote",
    "checkouts/not-a-name/file",
    "checkouts/.git/config",
    "plugins/.git/config",
    "plugins/mine/.git/config",
    "plugins/evil",
    "plugins/bin/evil",
    "plugins/.config/evil",
    "plugins/mine2/evil",
    "wheels/evil.py",
    "wheels/sub/evil.whl",
    "README",
    ".targets/remote@1/2/cuvis-target.json",
    "",
    ".",
    "..",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_out_or_has_no_place_is_refused(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None], name: str
) -> None:
    """Listed or not, nothing is written."""
    members = members_of(bundle)
    evil = with_listing(members, lambda listing: listing["files"].update({name: listed()}))
    untouched(
        write(tmp_path / "evil.tar.gz", [*evil, file(name)]),
        "not allowed|no place|files below it|does not list|belongs to no plugin",
    )


LINKS = [
    ("checkouts/remote/link", "/etc/passwd"),
    ("checkouts/remote/link", "../../../../etc"),
    ("checkouts/remote/link", "../local"),
    ("checkouts/remote/sub/link", "../../x"),
    ("checkouts/remote/link", "sub/../../x"),
    ("checkouts/remote/.git/HEAD", "x"),
    ("plugins/mine/link", "../../x"),
    ("plugins/link", "mine"),
    ("wheels/a.whl", "/etc/passwd"),
    ("checkouts/remote/link", ""),
    ("checkouts/remote/link", "a\\b"),
]


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_a_link_that_leads_out_is_refused(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None], name: str, link: str
) -> None:
    """Listed as what it is."""
    members = [each for each in members_of(bundle) if each[0].name != name]
    evil = with_listing(members, lambda listing: listing["files"].update({name: {"link": link}}))
    untouched(
        write(tmp_path / "evil.tar.gz", [*evil, special(name, tarfile.SYMTYPE, link)]), "link that|no place|not allowed"
    )


def test_nothing_is_written_through_a_link(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None]
) -> None:
    """A link and files below it cannot both be."""
    members = members_of(bundle)

    def change(listing: dict[str, Any]) -> None:
        listing["files"] |= {"checkouts/remote/a": {"link": "b"}, "checkouts/remote/a/evil": listed()}

    evil = with_listing(members, change)
    link = special("checkouts/remote/a", tarfile.SYMTYPE, "b")
    untouched(write(tmp_path / "evil.tar.gz", [*evil, link, file("checkouts/remote/a/evil")]), "files below it")


@pytest.mark.parametrize(
    "member",
    [
        special("checkouts/remote/evil", tarfile.LNKTYPE, "/etc/passwd"),
        special("checkouts/remote/evil", tarfile.LNKTYPE, "plugins.yaml"),
        special("checkouts/remote/evil", tarfile.SYMTYPE, "/etc/passwd"),
        special("checkouts/remote/evil", tarfile.CHRTYPE),
        special("checkouts/remote/evil", tarfile.BLKTYPE),
        special("checkouts/remote/evil", tarfile.FIFOTYPE),
        special("checkouts/remote/evil", tarfile.DIRTYPE),
        file("checkouts/remote/evil", b"longer than what is listed"),
        file("checkouts/remote/evil", b"ev1l"),
    ],
    ids=lambda member: f"{member[0].type!r} {member[0].linkname}",
)
def test_what_is_not_as_it_is_listed_is_refused(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None], member: tuple[tarfile.TarInfo, bytes]
) -> None:
    """Hard links, devices, pipes, folders, another size or hash."""
    evil = with_listing(members_of(bundle), lambda listing: listing["files"].update({member[0].name: listed()}))
    untouched(write(tmp_path / "evil.tar.gz", [*evil, member]), "not what it lists|not the hash")


def test_a_file_twice_or_missing_is_refused(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None]
) -> None:
    """Also one that other file systems would take for the same."""
    members = members_of(bundle)
    untouched(write(tmp_path / "evil.tar.gz", [*members, members[-1]]), "lists once")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda members: members[:-1], "is not whole"),
        (lambda members: members[1:], "does not begin with a listing"),
        (lambda members: [], "does not begin with a listing"),
        (lambda members: [file("bundle.json", b"{"), *members[1:]], "listing that cannot be read"),
        (lambda members: [file("bundle.json", b"[" * 100_000), *members[1:]], "listing that cannot be read"),
        (lambda members: [special("bundle.json", tarfile.SYMTYPE, "/etc/passwd"), *members[1:]], "does not begin"),
        (lambda members: with_listing(members, lambda listing: listing.update(format=2)), "has format 2"),
        (lambda members: with_listing(members, lambda listing: listing.update(lock="../x.lock")), "do not belong"),
        (lambda members: with_listing(members, lambda listing: listing["files"].clear()), "no manifest"),
        (
            lambda members: with_listing(
                members, lambda listing: listing["files"].update({"CHECKOUTS/x": listed(), "checkouts/X": listed()})
            ),
            "no place",
        ),
        (
            lambda members: with_listing(
                members,
                lambda listing: listing.update(
                    interpreter="cpython-311-darwin",
                    files=listing["files"] | {"checkouts/remote/a": listed(), "checkouts/remote/A": listed()},
                ),
            ),
            "where case does not count",
        ),
        (
            lambda members: with_listing(
                members, lambda listing: listing["files"].update({"checkouts/remote/a": {"size": -1, "hash": ""}})
            ),
            "not understood",
        ),
        (
            lambda members: with_listing(
                members,
                lambda listing: listing["files"].update({"checkouts/remote/a": {**listed(), "size": 2**60}}),
            ),
            "MB are free",
        ),
    ],
)
def test_a_listing_that_cannot_be_is_refused(
    bundle: Path,
    tmp_path: Path,
    untouched: Callable[[Path, str], None],
    change: Callable[[Members], Members],
    said: str,
) -> None:
    """Whatever is wrong with it, one text and nothing written."""
    untouched(write(tmp_path / "evil.tar.gz", change(members_of(bundle))), said)


def test_changed_code_of_a_plugin_is_refused_though_the_listing_agrees(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None]
) -> None:
    """The lock file has the hash of the checkout."""
    name = "checkouts/remote/src/remote_plugin/nodes.py"
    members = [file(name) if each[0].name == name else each for each in members_of(bundle)]
    evil = with_listing(members, lambda listing: listing["files"].update({name: listed()}))
    untouched(write(tmp_path / "evil.tar.gz", evil), "other files of plugin 'remote'")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_would_fill_the_memory_is_refused(
    tmp_path: Path, untouched: Callable[[Path, str], None], kind: bytes
) -> None:
    """Compressed, terabytes of it are a small file."""
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 2**36
    (tmp_path / "evil.tar.gz").write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10_240))
    untouched(tmp_path / "evil.tar.gz", "header of 68719476736 bytes")


def test_what_is_no_archive_or_damaged_is_refused(
    bundle: Path, tmp_path: Path, untouched: Callable[[Path, str], None]
) -> None:
    """Cut short, as by an interrupted copy."""
    data = bundle.read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(data[: len(data) // 2])
    untouched(tmp_path / "cut.tar.gz", "cannot be read|is not whole")


@pytest.mark.parametrize(
    "data", [b"", b"no archive", gzip.compress(b"no archive", mtime=0), gzip.compress(b"\0" * 10_240, mtime=0)]
)
def test_other_files_are_no_bundles(tmp_path: Path, cache: Path, data: bytes) -> None:
    """One text for each."""
    (tmp_path / "x.tar.gz").write_bytes(data)
    result = run("unbundle", tmp_path / "x.tar.gz", "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: The bundle" in result.stderr
    assert not (tmp_path / "out").exists()
    result = run("unbundle", tmp_path / "nowhere.tar.gz")
    assert result.exit_code == 2
    assert "There is no bundle" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_unpacking_leaves_nothing_half(
    bundle: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A kill at each step; the next unpacking works, and whatever is published before is whole."""
    kill = """
import os, signal, sys
count, stop = 0, int(sys.argv[2])
def strike(frame, event, argument):
    global count
    if event == "call" and frame.f_code.co_filename.endswith(("unpacking.py", "sources.py", "store.py", "_files.py")):
        count += 1
        if count == stop:
            os.kill(os.getpid(), signal.SIGKILL)
from cuvis_ai_core.plugins.bundle.unpacking import unpack_bundle
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.registry import NodeRegistry
from pathlib import Path
sys.setprofile(strike)
unpack_bundle(Path(sys.argv[1]), Path("."), Store(NodeRegistry.get_cache_dir()))
"""
    killed = 0
    for stop in range(20, 4000, 97):
        ended = elsewhere(kill, bundle, stop)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
        killed += 1
        manifest = tmp_path / "another home/work/plugins.yaml"
        if manifest.exists():
            assert elsewhere(LOAD, "plugins.yaml").returncode == 0
            break
    assert killed > 2
    unpacked = elsewhere(COMMAND, "plugins", "unbundle", bundle)
    assert unpacked.returncode == 0, unpacked.stderr
    loaded = elsewhere(LOAD, "plugins.yaml")
    assert loaded.returncode == 0, loaded.stderr
    store = tmp_path / "another home/.cuvis_plugins"
    assert list((store / ".tmp").iterdir()) == []


def test_a_local_plugin_that_needs_more_than_is_locked_is_not_bundled(origin: Origin, tmp_path: Path) -> None:
    """It would be refused where it is unpacked; here it can be locked anew."""
    work = tmp_path / "work"
    shutil.copytree(origin.manifest.parent, work)
    project_file = work / "mine/pyproject.toml"
    project_file.write_text(project_file.read_text().replace('"numpy"', '"numpy>=1.20"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUVIS_PLUGINS_DIR", str(origin.cache))
        patch.setenv("UV_FIND_LINKS", str(origin.wheels))
        result = run("bundle", work / "plugins.yaml")
    assert result.exit_code == 2, result.output
    assert "The requirements of plugin 'local' are" in " ".join(result.output.split())
