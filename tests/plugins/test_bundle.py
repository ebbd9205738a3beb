"""A manifest in one archive: made where there is a network, unpacked where there is none."""

import gzip
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core._work_folder import work_folder
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.errors import BundleError, CuvisError, SourceError, StoreError
from cuvis_ai_core.plugins.bundle.commit_proof import check_out
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter
from cuvis_ai_core.plugins.bundle.unpacking import open_bundle
from cuvis_ai_core.plugins.bundle.wheel_size import check_wheel
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


MakeWheel = Callable[..., None]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, git_host: GitHost, make_wheel: MakeWheel) -> Origin:
    """Bundle plugins with a dependency: one from Git, and a local one below the manifest."""
    return _bundled(tmp_path_factory.mktemp("origin"), git_host, make_wheel, process=False)


@pytest.fixture(scope="module")
def whole_origin(tmp_path_factory: pytest.TempPathFactory, git_host: GitHost, make_wheel: MakeWheel) -> Origin:
    """Bundle one for another process too, whose NumPy is looked through at each opening: half of its time."""
    return _bundled(tmp_path_factory.mktemp("whole"), git_host, make_wheel, process=True)


def _bundled(place: Path, git_host: GitHost, make_wheel: MakeWheel, *, process: bool) -> Origin:
    made = Origin(place / "plugins.tar.gz", place / "work/plugins.yaml", place / "cache", place / "wheels")
    make_wheel(made.wheels, "cuvis-test-dep", "1.0", {"cuvis_test_dep/__init__.py": "VERSION = '1.0'\n"})
    url = git_host.add(f"bundled-{place.name}", project("remote", "hatchling", "hatchling.build"), tag="v1.0.0")
    for name, text in project("local", "uv_build", "uv_build").items():
        path = made.manifest.parent / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (made.manifest.parent / "mine/table.csv").write_text("1,2\n" * 2**16)
    (made.manifest.parent / "mine/.venv").mkdir()
    (made.manifest.parent / "mine/.venv/big").write_text("not carried")
    made.manifest.write_text(
        f"plugins:\n"
        f"  remote: {{repo: '{url}', tag: v1.0.0, provides: [remote_plugin.nodes.Echo]}}\n"
        f"  local: {{path: mine, provides: [local_plugin.nodes.Echo]}}\n"
    )
    if process:
        apart = git_host.add(f"apart-{place.name}", project("apart", "uv_build", "uv_build"), tag="v1.0.0")
        with made.manifest.open("a") as manifest:
            manifest.write(
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
def whole(whole_origin: Origin, tmp_path: Path) -> Path:
    """Return a copy of the bundle with plugins of every kind."""
    return Path(shutil.copy(whole_origin.archive, tmp_path))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python as on another machine: another home, no network, nothing cached, no git.

    Variables can be given, such as the `PATH` that unpacking needs: it has git.
    """
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

    def python(code: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        env = environment | variables
        return subprocess.run(command, cwd=home / "work", env=env, capture_output=True, text=True, check=False)

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


@pytest.mark.slow
def test_everything_loads_on_a_machine_without_network_git_or_cache(
    whole: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Builds of all plugins included; the local plugin comes along, and so does an environment of its own."""
    whole.rename(tmp_path / "another home" / "work" / "plugins.tar.gz")
    unpacked = elsewhere(COMMAND, "plugins", "unbundle", "--accept", "plugins.tar.gz", PATH=os.environ["PATH"])
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


@pytest.mark.slow
def test_a_bundle_is_the_same_when_made_again(
    whole_origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order, times and owners are fixed."""
    monkeypatch.setenv("UV_FIND_LINKS", str(whole_origin.wheels))
    NodeRegistry.set_cache_dir(whole_origin.cache)
    result = run("bundle", whole_origin.manifest, "--output", tmp_path / "again.tar.gz")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again.tar.gz").read_bytes() == whole_origin.archive.read_bytes()


@pytest.mark.slow
def test_unpacking_twice_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    """What is there already is left."""
    for _ in range(2):
        result = run("unbundle", "--accept", bundle, "--output-dir", tmp_path / "out")
        assert result.exit_code == 0, result.output


def test_a_file_that_is_in_the_way_is_not_overwritten(bundle: Path, tmp_path: Path, cache: Path) -> None:
    """It is named, and nothing is unpacked."""
    (tmp_path / "out/mine").mkdir(parents=True)
    (tmp_path / "out/mine/pyproject.toml").write_text("mine")
    result = run("unbundle", "--accept", bundle, "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert "pyproject.toml is in the way" in result.stderr
    assert sorted((tmp_path / "out").rglob("*")) == [tmp_path / "out/mine", tmp_path / "out/mine/pyproject.toml"]
    assert sorted(path.name for path in cache.iterdir()) == [".locks", ".tmp", "README"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files")
def test_a_manifest_is_there_once_all_that_it_names_is(bundle: Path, tmp_path: Path, cache: Path) -> None:
    """Where the disk is full before, nothing of half a file is left; it is unpacked once there is room."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "out"
    with open_bundle(bundle, Store(cache)) as opened:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, before[1]))
        try:
            with pytest.raises(BundleError, match=r"table\.csv cannot be written: File too large"):
                opened.unpack(out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (out / "mine/pyproject.toml").exists()
    assert not (out / "mine/table.csv").exists()
    assert not (out / "plugins.yaml").exists()
    with open_bundle(bundle, Store(cache)) as opened:
        assert opened.unpack(out).plugins == ("remote", "local")
    assert (out / "mine/table.csv").stat().st_size == 2**18


def test_a_plugin_cache_that_takes_no_wheels_gets_no_manifest(bundle: Path, tmp_path: Path, cache: Path) -> None:
    """What a manifest names is in the cache before it: a file lies where the wheels go."""
    out = tmp_path / "out"
    with open_bundle(bundle, Store(cache)) as opened:
        assert opened.wheels
        (cache / ".wheels").write_text("")
        with pytest.raises(StoreError):
            opened.unpack(out)
    assert not out.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files")
def test_an_unpacking_that_was_killed_is_no_hindrance(bundle: Path, tmp_path: Path, cache: Path) -> None:
    """What is half there does not have its name; the next one clears it away, but no living one's."""
    code = """
import resource, signal, sys
from pathlib import Path
from cuvis_ai_core.plugins.bundle.unpacking import open_bundle
from cuvis_ai_core.plugins.cache.store import Store
with open_bundle(Path(sys.argv[1]), Store(Path(sys.argv[2]))) as opened:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, 2**17))
    opened.unpack(Path(sys.argv[3]))
"""
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, bundle, cache, out], check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert (out / "mine/pyproject.toml").exists()
    assert list(out.glob(".unpacking-*"))
    with work_folder(out, ".unpacking-") as living, open_bundle(bundle, Store(cache)) as opened:
        assert opened.unpack(out).plugins == ("remote", "local")
        assert {path.stem for path in out.glob(".*")} == {living.name}
    assert (out / "mine/table.csv").stat().st_size == 2**18


@pytest.mark.parametrize("name", ["plugins.yaml", "notes.txt", "empty.tar.gz", "folder"])
def test_a_bundle_is_written_over_an_earlier_one_alone(origin: Origin, name: str) -> None:
    """Not over the manifest itself, nor any other file, which are left as they are."""
    place = origin.manifest.with_name(name)
    if name == "folder":
        place.mkdir()
    elif not place.exists():
        place.write_bytes(b"" if "empty" in name else b"mine")
    before = None if place.is_dir() else place.read_bytes()
    try:
        result = run("bundle", origin.manifest, "-o", place)
        assert result.exit_code == 2
        assert (
            "is a folder" in result.stderr if before is None else "is no bundle; it was left as it is" in result.stderr
        )
        assert place.is_dir() if before is None else place.read_bytes() == before
    finally:
        if place != origin.manifest:
            place.rmdir() if before is None else place.unlink()


def test_a_folder_in_place_of_a_bundle_is_told(tmp_path: Path, cache: Path) -> None:
    """And so is a file in place of the folder for the results."""
    result = run("unbundle", tmp_path)
    assert (result.exit_code, f"{tmp_path} is a folder, no bundle." in result.stderr) == (2, True)
    (tmp_path / "file").touch()
    result = run("unbundle", tmp_path / "any.tar.gz", "--output-dir", tmp_path / "file")
    assert (result.exit_code, f"{tmp_path / 'file'} is a file, no folder." in result.stderr) == (2, True)


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
    result = run("unbundle", "--accept", tmp_path / "work/plugins.tar.gz", "--output-dir", tmp_path / "far/away")
    assert result.exit_code == 0
    assert "Warning: plugin 'echo' was not in the bundle" in result.stderr


def test_a_bundle_for_another_platform_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both platforms are named."""
    here = interpreter()
    monkeypatch.setattr(sys.implementation, "_multiarch", "nowhere")
    result = run("unbundle", "--accept", bundle, "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert f"is for {here!r}, but this is {sys.implementation.cache_tag}-nowhere" in result.stderr
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
Refuse = Callable[[Path, str], None]


def members_of(archive: Path) -> Members:
    """Return what is in an archive."""
    with tarfile.open(archive) as tar:
        found = []
        for member in tar:
            file = tar.extractfile(member)
            found.append((member, file.read() if file else b""))
        return found


def write(archive: Path, members: Members, level: int = 0) -> Path:
    """Write an archive; most of what is in bundles is packed already, and to try to pack it takes half a second."""
    with tarfile.open(archive, "w:gz", compresslevel=level) as tar:
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


def changed(members: Members, name: str, change: Callable[[bytes], bytes]) -> Members:
    """Return an archive in which one file is another one."""
    return [file(name, change(data)) if member.name == name else (member, data) for member, data in members]


@pytest.fixture
def untouched(tmp_path: Path, cache: Path) -> Iterator[Refuse]:
    """Return a function that unpacks an archive, and proves that it is refused and leaves nothing."""
    place = tmp_path / "a place of its own"

    def refuse(archive: Path, said: str) -> None:
        place.mkdir()
        store = Store(place / "store")
        before = {path for path in tmp_path.rglob("*") if place not in path.parents}
        with pytest.raises((BundleError, SourceError), match=said) as caught, open_bundle(archive, store) as bundle:
            bundle.unpack(place / "out")
        assert caught.value.hint
        after = {path for path in tmp_path.rglob("*") if place not in path.parents}
        assert after == before
        left = {path.relative_to(place).as_posix() for path in place.rglob("*")}
        assert left <= {"store", "store/.tmp", "store/.locks", "store/README"}

    yield refuse
    assert not Path("/tmp/cuvis-test-evil").exists()


NAMES = [
    "../evil",
    "plugins/mine/../../../evil",
    "plugins/../evil",
    "/tmp/cuvis-test-evil",
    "//tmp/cuvis-test-evil",
    "plugins//evil",
    "./plugins/mine/evil",
    "plugins/mine/./evil",
    "plugins/mine/a\\..\\..\\evil",
    "C:/evil",
    "plugins/mine/c:evil",
    "plugins/mine/nul",
    "plugins/mine/a\nb",
    "plugins/mine/a\x1b]52;c;ZXZpbA==\x07",
    "plugins/mine/dot.",
    "checkouts/remote/nodes.py",
    "checkouts/remote/.git/config",
    "packs/remote.pack/evil",
    "packs/other.pack",
    "packs/remote.idx",
    "plugins/.git/config",
    "plugins/mine/.git/config",
    "plugins/mine/sub/.GIT/config",
    "plugins/evil",
    "plugins/bin/evil",
    "plugins/.config/evil",
    "plugins/mine2/evil",
    "plugins/mine/pyproject.toml/evil",
    "large/evil",
    "wheels/evil.py",
    "wheels/sub/evil.whl",
    "wheels/-r.whl",
    "README",
    ".bashrc",
    "sitecustomize.py",
    "conftest.py",
    "plugins.toml",
    ".targets/remote@1/2/cuvis-target.json",
    ".",
    "..",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_out_or_has_no_place_is_refused(
    bundle: Path, tmp_path: Path, untouched: Refuse, name: str
) -> None:
    """Nothing is written: manifest and lock file have two names, all else has its folder."""
    untouched(
        write(tmp_path / "evil.tar.gz", [*members_of(bundle), file(name)]),
        "not allowed|no place|where it has a folder|belongs to no plugin|in a file",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "member",
    [
        special("plugins/mine/evil", tarfile.LNKTYPE, "/etc/passwd"),
        special("plugins/mine/evil", tarfile.LNKTYPE, "plugins.yaml"),
        special("plugins/mine/evil", tarfile.SYMTYPE, "/etc/passwd"),
        special("plugins/mine/evil", tarfile.SYMTYPE, "pyproject.toml"),
        special("plugins/mine/evil", tarfile.CHRTYPE),
        special("plugins/mine/evil", tarfile.BLKTYPE),
        special("plugins/mine/evil", tarfile.FIFOTYPE),
        special("plugins/mine/evil", tarfile.DIRTYPE),
        special("plugins/mine/evil", tarfile.CONTTYPE),
    ],
    ids=lambda member: f"{member[0].type!r} {member[0].linkname}",
)
def test_links_devices_and_folders_are_refused(
    bundle: Path, tmp_path: Path, untouched: Refuse, member: tuple[tarfile.TarInfo, bytes]
) -> None:
    """Wherever they lead: no archive can write through what another one made."""
    untouched(write(tmp_path / "evil.tar.gz", [*members_of(bundle), member]), "no plain file")


def test_a_sparse_file_is_refused(bundle: Path, tmp_path: Path, untouched: Refuse) -> None:
    """Its size is of its own making."""
    member, _ = file("plugins/mine/evil", b"0\n")
    member.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**40)}
    member.pax_headers["GNU.sparse.map"] = "0,2"
    untouched(write(tmp_path / "evil.tar.gz", [*members_of(bundle), (member, b"0\n")]), "no plain file")


def test_a_file_twice_is_refused(bundle: Path, tmp_path: Path, untouched: Refuse) -> None:
    """The second would be the one that counts."""
    members = members_of(bundle)
    untouched(write(tmp_path / "evil.tar.gz", [*members, members[-1]]), "twice")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda members: members[1:], "does not begin with bundle.json"),
        (lambda members: [], "does not begin with bundle.json"),
        (lambda members: [file("bundle.json", b"{"), *members[1:]], "has format none"),
        (lambda members: [file("bundle.json", b'{"format": 2'), *members[1:]], "cannot be read"),
        (lambda members: [file("bundle.json", b'{"format": 2, "x": ' + b"[" * 60_000), *members[1:]], "cannot be read"),
        (lambda members: [file("bundle.json", b'{"format": 2}' + b" " * 2**20), *members[1:]], "cannot be read"),
        (lambda members: [special("bundle.json", tarfile.SYMTYPE, "/etc/passwd"), *members[1:]], "does not begin"),
        (lambda members: changed(members, "bundle.json", lambda text: text.replace(b"remote", b"../x")), "be read"),
        (lambda members: [each for each in members if each[0].name != "plugins.yaml"], "it has no plugins.yaml"),
        (lambda members: [each for each in members if each[0].name != "plugins.lock"], "it has no plugins.lock"),
        (
            lambda members: changed(
                members, "plugins.lock", lambda text: text.replace(interpreter().encode(), b"cpython-1")
            ),
            "says nothing about",
        ),
        (lambda members: [each for each in members if each[0].name != "packs/remote.pack"], "has no Git objects"),
        (
            lambda members: changed(members, "bundle.json", lambda text: text.replace(b"remote", b"other")),
            "no Git objec",
        ),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(
    bundle: Path, tmp_path: Path, untouched: Refuse, change: Callable[[Members], Members], said: str
) -> None:
    """Whatever is wrong with it, one text and nothing written."""
    untouched(write(tmp_path / "evil.tar.gz", change(members_of(bundle))), said)


def test_an_old_bundle_says_how_to_make_a_new_one(tmp_path: Path, untouched: Refuse) -> None:
    """Its listing may be as long as it likes: no more than its beginning is read."""
    old = b'{"format": 1, "interpreter": "cpython-311-x86_64-linux-gnu", "files": {' + b'"a": 1,' * 10_000_000
    untouched(write(tmp_path / "old.tar.gz", [file("bundle.json", old)]), "has format 1; this version .* reads 2")


def test_other_code_under_a_commit_is_refused(
    bundle: Path, tmp_path: Path, untouched: Refuse, git_host: GitHost
) -> None:
    """Git computes the name of each object from its content: a pack with other files is one of another commit."""
    evil = tmp_path / "evil repository"
    evil.mkdir()

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@x"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=evil, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (evil / "pyproject.toml").write_text("evil")
    git("add", ".")
    git("commit", "-qm", "evil")
    git("repack", "-adfq", "--window=0")
    pack = next((evil / ".git/objects/pack").glob("*.pack")).read_bytes()
    shutil.rmtree(evil)
    members = changed(members_of(bundle), "packs/remote.pack", lambda _: pack)
    untouched(write(tmp_path / "evil.tar.gz", members), "could not check out commit|do not prove")


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 4, 20, 60, -30, -10])
def test_a_pack_with_a_changed_byte_is_refused(bundle: Path, tmp_path: Path, untouched: Refuse, place: int) -> None:
    """Wherever it is."""

    def flip(data: bytes) -> bytes:
        changed_data = bytearray(data)
        changed_data[place] ^= 0x01
        return bytes(changed_data)

    untouched(
        write(tmp_path / "evil.tar.gz", changed(members_of(bundle), "packs/remote.pack", flip)),
        "cannot be used|do not prove|could not check out|has the limit|limit 'files'",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (rb'commit = "[0-9a-f]{40}"', b'commit = "--upload-pack=/bin/false"', "no hash"),
        (rb'commit = "[0-9a-f]{40}"', b'commit = "' + b"4d7a" * 10 + b'"', "could not check out commit 4d7a"),
        (rb'content = "[0-9a-f]{64}"', b'content = "' + b"4d7a" * 16 + b'"', "has other files of plugin"),
        (rb'tag = "v1.0.0"', b'tag = "v1.0.1"', "differ"),
    ],
)
def test_a_lock_file_that_says_otherwise_is_refused(
    bundle: Path, tmp_path: Path, untouched: Refuse, old: bytes, new: bytes, said: str
) -> None:
    """What it names has to be what the objects are."""
    members = changed(members_of(bundle), "plugins.lock", lambda text: re.sub(old, new, text))
    untouched(write(tmp_path / "evil.tar.gz", members), said)


def test_a_wheel_that_the_lock_file_does_not_name_is_refused(
    bundle: Path, tmp_path: Path, untouched: Refuse, make_wheel: Callable[..., None]
) -> None:
    """Neither a new one, nor another under a name that is known."""
    make_wheel(tmp_path / "wheels", "setuptools", "999", {"setuptools/__init__.py": "raise SystemExit('evil')"})
    evil = next((tmp_path / "wheels").iterdir()).read_bytes()
    name = "wheels/setuptools-999-py3-none-any.whl"
    untouched(write(tmp_path / "evil.tar.gz", [*members_of(bundle), file(name, evil)]), "does not name by this hash")


def test_a_wheel_with_the_name_of_another_is_refused(bundle: Path, tmp_path: Path, untouched: Refuse) -> None:
    """The hash has to be the one that is locked for that version."""
    members = changed(members_of(bundle), "wheels/cuvis_test_dep-1.0-py3-none-any.whl", lambda data: data + b"x")
    untouched(write(tmp_path / "evil.tar.gz", members), "does not name by this hash")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, untouched: Refuse, kind: bytes) -> None:
    """Compressed, terabytes of it are a small file."""
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 2**36
    (tmp_path / "evil.tar.gz").write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10_240))
    untouched(tmp_path / "evil.tar.gz", "header of 68719476736 bytes")


def zip_bomb(size: int, *, said: int | None = None) -> bytes:
    """Return a wheel with one file of zeros, and whatever size its directory says."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros", "w") as member:
            for _ in range(size // 2**20):
                member.write(bytes(2**20))
        if said is not None:
            archive.infolist()[0].file_size = said
    return data.getvalue()


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        pytest.param(lambda: zip_bomb(300 * 2**20), "limit 'ratio'", marks=pytest.mark.slow),
        (lambda: zip_bomb(2 * 2**20, said=10), "does not unpack to what it says|cannot be read"),
        (lambda: b"PK\5\6" + b"\0" * 8 + b"\xff\xff\xff\x7f" + b"\0" * 6, "limit 'files'"),
        (lambda: b"no archive", "cannot be read"),
    ],
)
def test_a_wheel_that_unpacks_to_more_than_is_good_is_refused(
    tmp_path: Path, make: Callable[[], bytes], limit: str
) -> None:
    """Before anybody unpacks it; what it says of itself is compared with what comes out."""
    wheel = tmp_path / "cuvis_test_dep-1.0-py3-none-any.whl"
    wheel.write_bytes(make())
    meter = Meter("The bundle", 10**9, Limits())
    with pytest.raises(BundleError, match=limit):
        check_wheel(wheel, meter)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "value"), [("size", "1000"), ("files", "3"), ("depth", "2"), ("name", "20"), ("size", "30k")]
)
def test_a_limit_is_named_and_can_be_raised(bundle: Path, tmp_path: Path, cache: Path, limit: str, value: str) -> None:
    """With an option of the command."""
    result = run("unbundle", "--accept", bundle, "--output-dir", tmp_path / "out", "--limit", f"{limit}={value}")
    assert result.exit_code == 2
    assert f"which is the limit '{limit}'" in result.stderr
    assert f"--limit {limit}=NUMBER" in result.stderr
    assert not (tmp_path / "out").exists()
    result = run("unbundle", "--accept", bundle, "--output-dir", tmp_path / "out", "--limit", f"{limit}=100M")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("limit", ["speed=3", "size=much", "size"])
def test_a_limit_that_is_none_is_an_error(bundle: Path, limit: str) -> None:
    """It is named."""
    result = run("unbundle", bundle, "--limit", limit)
    assert result.exit_code == 2
    assert "Invalid value for '--limit'" in result.stderr


def test_an_archive_of_zeros_is_refused_while_it_is_read(bundle: Path, tmp_path: Path, untouched: Refuse) -> None:
    """A gigabyte in a megabyte never lies on the disk."""
    first = members_of(bundle)[0]
    untouched(
        write(tmp_path / "evil.tar.gz", [first, file("plugins/mine/zeros", bytes(100 * 2**20))], level=1),
        "unpacks to more than 100 times .* limit 'ratio'",
    )


def _tree_bomb(levels: int) -> tuple[bytes, str]:
    """Return a pack, and the commit in it: a tree that holds one tree ten times, and so on."""
    objects: list[tuple[int, bytes]] = [(3, b"x")]

    def name(kind: str, text: bytes) -> bytes:
        return hashlib.sha1(f"{kind} {len(text)}\0".encode() + text, usedforsecurity=False).digest()

    last, mode = name("blob", b"x"), b"100644"
    for _ in range(levels):
        tree = b"".join(mode + b" f%d\0" % number + last for number in range(10))
        objects.append((2, tree))
        last, mode = name("tree", tree), b"40000"
    who = "x <x@x> 1700000000 +0000"
    commit = f"tree {last.hex()}\nauthor {who}\ncommitter {who}\n\nbomb\n".encode()
    objects.append((1, commit))
    pack = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")
    for kind, text in objects:
        size, head = len(text), bytearray([kind << 4 | len(text) & 15])
        size >>= 4
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        pack += bytes(head) + zlib.compress(text)
    return pack + hashlib.sha1(pack, usedforsecurity=False).digest(), name("commit", commit).hex()


def test_a_tree_that_holds_itself_many_times_is_refused(tmp_path: Path) -> None:
    """Git would write ten billion files of a pack of some hundred bytes."""
    pack, commit = _tree_bomb(10)
    (tmp_path / "x.pack").write_bytes(pack)
    meter = Meter("The bundle", len(pack), Limits())
    with pytest.raises(SourceError, match="it would be more than 200000 files"):
        check_out("x", tmp_path / "x.pack", commit, tmp_path / "out", "https://a.org/x", meter, None)
    assert [each.name for each in (tmp_path / "out").iterdir()] == [".git"]


def test_what_is_no_archive_or_damaged_is_refused(bundle: Path, tmp_path: Path, untouched: Refuse) -> None:
    """Cut short, as by an interrupted copy."""
    data = bundle.read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(data[: len(data) // 2])
    untouched(tmp_path / "cut.tar.gz", "cannot be read|is not whole")


def test_a_damaged_end_is_noticed(bundle: Path, tmp_path: Path, untouched: Refuse) -> None:
    """There stands the checksum of all."""
    data = bytearray(bundle.read_bytes())
    data[-6] ^= 1
    (tmp_path / "bad.tar.gz").write_bytes(data)
    untouched(tmp_path / "bad.tar.gz", "cannot be read")


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


UNPACK_AND_DIE = """
import os, signal, sys
count, stop = 0, sys.argv[2]
FILES = ("unpacking.py", "tar_reader.py", "local_files.py", "sources.py", "store.py", "_atomic_writes.py")
def strike(frame, event, argument):
    global count
    if frame.f_code.co_filename.endswith(FILES):
        count += 1
        if os.path.exists("plugins.yaml") if stop == "manifest" else count == int(stop):
            os.kill(os.getpid(), signal.SIGKILL)
from cuvis_ai_core.plugins.bundle.unpacking import open_bundle
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.registry import NodeRegistry
from pathlib import Path
sys.settrace(strike)  # which hears calls alone, as it asks for no more
with open_bundle(Path(sys.argv[1]), Store(NodeRegistry.get_cache_dir())) as bundle:
    bundle.unpack(Path("."))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_manifest_is_the_last_that_an_unpacking_writes(
    whole: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Whoever is killed as soon as it is there has all that it names."""
    ended = elsewhere(UNPACK_AND_DIE, whole, "manifest", PATH=os.environ["PATH"])
    assert ended.returncode == -9, ended.stderr
    loaded = elsewhere(LOAD, "plugins.yaml")
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_unpacking_leaves_nothing_half(
    whole: Path, elsewhere: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A kill at each step; the next unpacking works, and whatever is published before is whole."""
    killed = 0
    for stop in range(20, 4000, 193):
        ended = elsewhere(UNPACK_AND_DIE, whole, stop, PATH=os.environ["PATH"])
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
        killed += 1
        manifest = tmp_path / "another home/work/plugins.yaml"
        if manifest.exists():
            assert elsewhere(LOAD, "plugins.yaml").returncode == 0
            break
    assert killed > 2
    unpacked = elsewhere(COMMAND, "plugins", "unbundle", "--accept", whole, PATH=os.environ["PATH"])
    assert unpacked.returncode == 0, unpacked.stderr
    loaded = elsewhere(LOAD, "plugins.yaml")
    assert loaded.returncode == 0, loaded.stderr
    store = tmp_path / "another home/.cuvis_plugins"
    assert list((store / ".tmp").iterdir()) == []


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def small_origin(
    tmp_path_factory: pytest.TempPathFactory,
    own_world: Callable[[], AbstractContextManager[None]],
    git_host: GitHost,
    project_files: Callable[..., Files],
) -> tuple[Path, str, str]:
    """Bundle one plugin from Git; return the folder of manifest, lock file and bundle, its address and commit."""
    place = tmp_path_factory.mktemp("small")
    git_host.add(place.name, {"first.txt": "first"})
    commit = git_host.commit(place.name, project_files(version="1.0.0"), tag="v1.0.0")
    manifest, url = place / "plugins.yaml", git_host.url(place.name)
    manifest.write_text(f"plugins:\n  echo: {{repo: '{url}', tag: v1.0.0, provides: [echo_plugin.nodes.Echo]}}\n")
    with own_world():
        NodeRegistry.set_cache_dir(place / "cache")
        result = run("bundle", manifest, "-o", place / "small.tar.gz")
    assert result.exit_code == 0, result.output
    return place, url, commit


@pytest.fixture
def small(
    small_origin: tuple[Path, str, str], tmp_path: Path, cache: Path, git_host: GitHost
) -> Iterator[tuple[Path, str]]:
    """Return the bundle of one plugin from Git, and its address; the cache is another one than where it was made."""
    place, url, commit = small_origin
    (tmp_path / "made here").mkdir()
    for name in ("plugins.yaml", "plugins.lock"):
        shutil.copy(place / name, tmp_path / "made here")
    NodeRegistry.set_cache_dir(tmp_path / "another cache")
    yield Path(shutil.copy(place / "small.tar.gz", tmp_path)), url
    moved_back = ["git", "-C", str(git_host.root / f"{name_of(url)}.git"), "tag", "-f", "v1.0.0", commit]
    subprocess.run(moved_back, check=True, capture_output=True)


def name_of(url: str) -> str:
    """Return the name of a repository at the Git host."""
    return url.rpartition("/")[2].removesuffix(".git")


def empty(folder: Path) -> bool:
    """Tell whether nothing lies in a plugin cache."""
    return {path.name for path in folder.glob("*")} <= {".locks", ".tmp", "README"}


def test_nothing_is_believed_that_nobody_accepted(small: tuple[Path, str], tmp_path: Path) -> None:
    """Without a terminal it takes an option; what would be trusted is shown before."""
    archive, url = small
    result = run("unbundle", archive, "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    for shown in (url, "v1.0.0", "the repository", "would have you trust"):
        assert shown in result.stdout
    assert re.search(r"\b[0-9a-f]{40}\b", result.stdout)
    assert "--accept" in result.stderr
    assert empty(tmp_path / "another cache")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("answer", "status"), [("n", 2), ("y", 0)])
def test_on_a_terminal_it_is_asked(
    small: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    """No is the default."""
    monkeypatch.setattr("cuvis_ai_core.cli.plugins.unbundle._is_terminal", lambda: True)
    arguments = ["plugins", "unbundle", str(small[0]), "--output-dir", str(tmp_path / "out")]
    result = CliRunner().invoke(cuvis_ai, arguments, input=f"{answer}\n", prog_name="cuvis-ai")
    assert "Put these into the plugin cache?" in result.stderr
    assert result.exit_code == status, result.output
    assert (tmp_path / "out").exists() == (status == 0)


@pytest.mark.parametrize("beside", [True, False])
def test_a_lock_file_of_ones_own_that_agrees_needs_no_question(
    small: tuple[Path, str], tmp_path: Path, *, beside: bool
) -> None:
    """It lies where the bundle goes, or is named; what it says, builds included, is what is unpacked."""
    (tmp_path / "out").mkdir()
    own = tmp_path / "made here/plugins.lock"
    options: list[str | Path] = ["--lock", own] if not beside else []
    if beside:
        shutil.copy(own, tmp_path / "out")
    result = run("unbundle", small[0], "--output-dir", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins(tmp_path / "out/plugins.yaml") == 1


def test_a_lock_file_that_says_less_is_no_agreement(small: tuple[Path, str], tmp_path: Path) -> None:
    """What builds run is code as well."""
    own = tmp_path / "made here/plugins.lock"
    own.write_text(re.sub(r"(?s)\[environments\.[^\]]*\.builds\].*", "", own.read_text()))
    result = run("unbundle", small[0], "--output-dir", tmp_path / "out", "--lock", own)
    assert result.exit_code == 2
    assert "the build of plugin 'echo' are not those" in result.stderr or "the build of" in result.stderr
    result = run("unbundle", small[0], "--output-dir", tmp_path / "out", "--lock", tmp_path / "none.lock")
    assert result.exit_code == 2
    assert "There is no lock file" in result.stderr


def other_commit(git_host: GitHost, url: str) -> str:
    """Move a tag of a repository to a new commit."""
    commit = git_host.commit(name_of(url), {"more.txt": "moved"})
    git_host.tag(name_of(url), "v1.0.0", force=True)
    return commit


def test_the_repository_says_which_commit_a_tag_is(small: tuple[Path, str], tmp_path: Path, git_host: GitHost) -> None:
    """A consistent bundle with another commit is refused, whatever is accepted."""
    commit = other_commit(git_host, small[1])
    result = run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert f"the repository says that it is at {commit}" in result.stderr
    assert empty(tmp_path / "another cache")


def test_a_lock_file_of_ones_own_settles_a_tag(small: tuple[Path, str], tmp_path: Path) -> None:
    """Under whatever name the plugin is locked; accepting does not help."""
    own = tmp_path / "made here/plugins.lock"
    own.write_text(re.sub(r'commit = "[0-9a-f]{40}"', f'commit = "{"4d7a" * 10}"', own.read_text()))
    result = run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out", "--lock", own)
    assert result.exit_code == 2
    assert f"has it at {'4d7a' * 10}" in result.stderr
    assert empty(tmp_path / "another cache")


@pytest.mark.slow
def test_what_is_in_the_cache_is_not_replaced(small: tuple[Path, str], tmp_path: Path, git_host: GitHost) -> None:
    """A second archive with another commit of the same tag is refused, offline too, also for another name."""
    result = run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    first = (tmp_path / "another cache/echo@v1.0.0/.git/HEAD").read_text()
    other_commit(git_host, small[1])
    manifest = tmp_path / "made here/plugins.yaml"
    manifest.with_suffix(".lock").unlink()
    manifest.write_text(manifest.read_text().replace("echo:", "again:"))
    NodeRegistry.set_cache_dir(tmp_path / "third cache")
    assert run("bundle", manifest, "-o", tmp_path / "second.tar.gz").exit_code == 0
    NodeRegistry.set_cache_dir(tmp_path / "another cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUVIS_OFFLINE", "1")
        result = run("unbundle", tmp_path / "second.tar.gz", "--accept", "--output-dir", tmp_path / "out2")
    assert result.exit_code == 2
    assert "the plugin cache has it at" in result.stderr
    assert (tmp_path / "another cache/echo@v1.0.0/.git/HEAD").read_text() == first


@pytest.mark.slow
def test_a_tag_that_only_a_bundle_tells_is_asked_for_as_soon_as_somebody_can_be(
    small: tuple[Path, str], tmp_path: Path, git_host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline it is said; a load without a lock file, and `lock`, ask; a lock file that was accepted says it."""
    commit = other_commit(git_host, small[1])
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    result = run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "nobody but the bundle" in result.stderr
    monkeypatch.delenv("CUVIS_OFFLINE")
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins(tmp_path / "out/plugins.yaml") == 1
    (tmp_path / "out/plugins.lock").unlink()
    with NodeRegistry(discover=False) as registry, pytest.raises(ExceptionGroup) as caught:
        registry.load_plugins(tmp_path / "out/plugins.yaml")
    assert f"is at commit {commit}, but a bundle brought it as" in str(caught.value.exceptions[0])
    result = run("lock", tmp_path / "out/plugins.yaml")
    assert result.exit_code != 0
    assert not (tmp_path / "out/plugins.lock").exists()


def test_a_tag_that_the_repository_confirms_later_is_settled(
    small: tuple[Path, str], tmp_path: Path, git_host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once."""
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    assert run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out").exit_code == 0
    monkeypatch.delenv("CUVIS_OFFLINE")
    (tmp_path / "out/plugins.lock").unlink()
    asked = [git_host.requests]
    for _ in range(2):
        with NodeRegistry(discover=False) as registry:
            assert registry.load_plugins(tmp_path / "out/plugins.yaml") == 1
        asked.append(git_host.requests)
    assert asked[0] < asked[1] == asked[2]


@pytest.mark.slow
def test_wheels_of_a_bundle_serve_nobody_else(
    tmp_path: Path,
    git_plugin: Callable[..., str],
    cache: Path,
    make_wheel: Callable[..., None],
    local_plugin: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bundle that is unpacked has a tool for builds that another plugin asks for as well: that one fails offline."""
    wheels = tmp_path / "wheels"
    tool = "def build_wheel(*_): raise SystemExit('canary')\nbuild_editable = build_wheel\n"
    make_wheel(wheels, "cuvis-test-backend", "999", {"cuvis_test_backend.py": tool})
    make_wheel(wheels, "cuvis-test-dep", "1.0", {"cuvis_test_dep.py": ""})
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    url = git_plugin("1.0.0", dependencies=("cuvis-test-dep",))
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(f"plugins:\n  echo: {{repo: '{url}', tag: v1.0.0, provides: [echo_plugin.nodes.Echo]}}\n")
    archive = tmp_path / "x.tar.gz"
    assert run("bundle", manifest, "-o", archive).exit_code == 0
    # Whoever makes a bundle may write what he likes into its lock file.
    evil = next(wheels.glob("cuvis_test_backend*")).read_bytes()
    pin = f'"cuvis-test-backend==999" = ["sha256:{hashlib.sha256(evil).hexdigest()}"]\n'.encode()
    members = changed(members_of(archive), "plugins.lock", lambda text: _with_build(text, pin))
    members.append(file("wheels/cuvis_test_backend-999-py3-none-any.whl", evil))
    NodeRegistry.set_cache_dir(tmp_path / "another cache")
    result = run("unbundle", write(archive, members), "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    shutil.rmtree(wheels)
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    victim = local_plugin("victim", package="victim_plugin")
    project_file = victim / "pyproject.toml"
    project_file.write_text(project_file.read_text().replace("uv_build", "cuvis_test_backend"))
    with NodeRegistry(discover=False) as registry, pytest.raises(CuvisError) as caught:
        registry.load_plugin("victim", {"path": str(victim), "provides": ["victim_plugin.nodes.Echo"]})
    assert "canary" not in str(caught.value)


def _with_build(text: bytes, pin: bytes) -> bytes:
    text = re.sub(rb"(\.hashes\]\n)", lambda match: match[1] + pin, text)
    return re.sub(rb"(\.builds\]\necho = \[)", rb'\1"cuvis-test-backend==999", ', text)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["json", "numpy", "sitecustomize", "conftest"])
def test_a_local_plugin_in_the_place_of_a_module_is_refused(
    tmp_path: Path, cache: Path, local_plugin: Callable[..., Path], folder: str
) -> None:
    """Whoever runs Python there would import it."""
    local_plugin(f"work/{folder}")
    manifest = tmp_path / "work/plugins.yaml"
    manifest.write_text(f"plugins:\n  echo: {{path: {folder}, provides: [echo_plugin.nodes.Echo]}}\n")
    assert run("bundle", manifest).exit_code == 0
    result = run("unbundle", "--accept", tmp_path / "work/plugins.tar.gz", "--output-dir", tmp_path / "out")
    assert result.exit_code == 2
    assert "in place of the module" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_bundle_has_two_names_whatever_its_manifest_was_called(
    tmp_path: Path, cache: Path, local_plugin: Callable[..., Path]
) -> None:
    """And links in a local plugin are the files that they lead to; one that leads out is refused."""
    folder = local_plugin("work/mine")
    (folder / "link.txt").symlink_to("pyproject.toml")
    manifest = tmp_path / "work/.bashrc.yaml"
    manifest.write_text("plugins:\n  echo: {path: mine, provides: [echo_plugin.nodes.Echo]}\n")
    assert run("bundle", manifest, "-o", tmp_path / "x.tar.gz").exit_code == 0
    assert run("unbundle", tmp_path / "x.tar.gz", "--accept", "--output-dir", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mine", "plugins.lock", "plugins.yaml"]
    assert (tmp_path / "out/mine/link.txt").read_text() == (folder / "pyproject.toml").read_text()
    assert not (tmp_path / "out/mine/link.txt").is_symlink()
    (folder / "secret.txt").symlink_to("/etc/passwd")
    result = run("bundle", manifest, "-o", tmp_path / "y.tar.gz")
    assert result.exit_code == 2
    assert "is a link that leads to /etc/passwd" in result.stderr


@pytest.mark.slow
def test_files_are_not_put_among_others_nor_through_links(
    tmp_path: Path, cache: Path, local_plugin: Callable[..., Path]
) -> None:
    """A folder of the name of a local plugin that is there already stays as it is."""
    local_plugin("work/mine")
    (tmp_path / "work/plugins.yaml").write_text("plugins:\n  echo: {path: mine, provides: [echo_plugin.nodes.Echo]}\n")
    assert run("bundle", tmp_path / "work/plugins.yaml", "-o", tmp_path / "x.tar.gz").exit_code == 0
    for number, prepare in enumerate((_with_file, _with_link)):
        out = tmp_path / f"out{number}"
        out.mkdir()
        prepare(out)
        result = run("unbundle", tmp_path / "x.tar.gz", "--accept", "--output-dir", out)
        assert result.exit_code == 2
        assert "is in the way" in result.stderr
        assert [path.name for path in out.iterdir()] == ["mine"]
        assert not (out / "mine/pyproject.toml").exists()


def _with_file(out: Path) -> None:
    (out / "mine").mkdir()
    (out / "mine/thesis.txt").write_text("mine")


def _with_link(out: Path) -> None:
    (out.parent / "elsewhere").mkdir()
    (out / "mine").symlink_to(out.parent / "elsewhere")


@pytest.mark.slow
def test_no_password_is_in_a_bundle(tmp_path: Path, cache: Path, project_files: Callable[..., Files]) -> None:
    """Nor in the lock file; whoever unpacks it has none of it."""
    with GitHost(tmp_path / "host", require_password=True) as host:
        url = host.add("private", project_files(), tag="v1").replace("://", f"://{host.user}:{host.password}@")
        manifest = tmp_path / "plugins.yaml"
        entry = f"{{repo: '{url}', tag: v1, provides: [echo_plugin.nodes.Echo]}}"
        manifest.write_text(f"plugins:\n  echo: {entry}\n")
        result = run("bundle", manifest, "-o", tmp_path / "x.tar.gz")
    assert result.exit_code == 0, result.output
    assert all(b"secret" not in data for _, data in members_of(tmp_path / "x.tar.gz"))
    assert b"secret" not in (tmp_path / "x.tar.gz").read_bytes()


@pytest.mark.slow
def test_the_policy_of_the_machine_holds_for_local_plugins_of_a_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are known by the folder that they would come into: nothing is written where it may not be loaded from."""
    text = next(data.decode() for about, data in members_of(bundle) if about.name == "plugins.yaml")
    hosts = sorted(set(re.findall(r"http://[^/\s]+", text)))
    policy = tmp_path / "policy.yaml"
    monkeypatch.setenv("CUVIS_POLICY", str(policy))
    rules = "".join(f'  - {{repo: "{host}/*", kind: private}}\n' for host in hosts)
    policy.write_text(f"allow:\n{rules}")
    result = run("unbundle", bundle, "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code != 0
    assert "policy.yaml" in result.stderr
    assert "local" in result.stderr
    assert not (tmp_path / "out").exists()
    policy.write_text(f'allow:\n{rules}  - {{path: "{tmp_path}/out/*", kind: private}}\n')
    result = run("unbundle", bundle, "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, result.output


def test_the_policy_of_the_machine_holds_for_bundles(
    small: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it allows is shown with its kind; what it does not allow is refused, whatever is accepted."""
    policy = tmp_path / "policy.yaml"
    monkeypatch.setenv("CUVIS_POLICY", str(policy))
    policy.write_text('allow:\n  - {repo: "https://github.com/our-lab/*", kind: private}\n')
    result = run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code != 0
    assert "policy.yaml" in result.stderr
    assert empty(tmp_path / "another cache")
    address = small[1].rpartition("/")[0]
    policy.write_text(f'allow:\n  - {{repo: "{address}/*", kind: private}}\n')
    result = run("unbundle", small[0], "--accept", "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "private" in result.stdout
    assert "unsigned" in result.stdout


def test_a_wheel_may_have_its_directory_described_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As large archives have (ZIP64): its size is then the bound of how much there can be in it."""
    wheel = tmp_path / "cuvis_test_dep-1.0-py3-none-any.whl"
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x.py", "")
    content = bytearray(wheel.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 12 : end + 20] = b"\xff" * 8
    wheel.write_bytes(content)
    check_wheel(wheel, Meter("The bundle", 10**9, Limits()))


def test_a_source_that_unpacks_to_more_than_is_good_is_refused(tmp_path: Path) -> None:
    """As wheels are, before anybody builds it."""
    source = write(tmp_path / "cuvis_test_dep-1.0.tar.gz", [file("x-1.0/zeros", bytes(100 * 2**20))], level=1)
    with pytest.raises(BundleError, match="limit 'ratio'"):
        check_wheel(source, Meter("The bundle", 10**9, Limits()))
    source = write(source, [file("x-1.0/setup.py", b"x"), special("x-1.0/link", tarfile.SYMTYPE, "setup.py")])
    check_wheel(source, Meter("The bundle", 10**9, Limits()))
    source.write_bytes(b"no archive")
    with pytest.raises(BundleError, match="cannot be read"):
        check_wheel(source, Meter("The bundle", 10**9, Limits()))
