"""The wheels of this package that a worker's environment gets: what is in them, and what changes their hash."""

import base64
import hashlib
import importlib.metadata
import json
import os
import platform
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing import host_wheels
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.manifest.manifest_schema import LocalPlugin

VERSION = "1.2"


class Installed:
    """A distribution as the host has it."""

    def __init__(self, name: str) -> None:
        self.version = VERSION
        core = [
            "numpy>=2",
            "pluggy>=1.5",
            "rich",
            "Array_API.compat",
            "cuvis-ai-schemas>=1",
            "torch>2; extra == 'torch'",
        ]
        self.requires = [*core, "numpy<3; extra == 'torch'"] if name == "cuvis-ai-core" else None
        self.metadata = {"Provides-Extra": ["torch"] if name == "cuvis-ai-core" else None}
        self.direct: dict[str, Any] | None = {"dir_info": {"editable": True}}
        self.metadata = type("Metadata", (), {"get_all": lambda _, key, found=self.metadata: found[key]})()

    def read_text(self, name: str) -> str | None:
        """Return what a file of the metadata says."""
        assert name == "direct_url.json"
        return None if self.direct is None else json.dumps(self.direct)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that holds two small packages in place of ours."""
    for package in ("cuvis_ai_core", "cuvis_ai_hookspecs"):
        for name in (
            "__init__.py",
            "sub/data.bin",
            "__pycache__/x.pyc",
            "sub/__pycache__/y.pyc",
            "example_plugins/z.py",
        ):
            file = tmp_path / package / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{package} {name}".encode())
    monkeypatch.setattr(host_wheels, "distribution", Installed)
    monkeypatch.setattr(host_wheels, "_folder", lambda package: tmp_path / package)
    return tmp_path


def test_a_wheel_has_the_running_code_and_the_needs_of_nodes(host: Path) -> None:
    """Each file with its hash, and no bytecode; the same code is the same bytes."""
    wheels = host_wheels.write_wheels(host / "new/wheels")
    assert {name: path.name for name, path in wheels.items()} == {
        "cuvis-ai-core": "cuvis_ai_core-1.2-py3-none-any.whl",
        "cuvis-ai-hookspecs": "cuvis_ai_hookspecs-1.2-py3-none-any.whl",
    }
    assert host_wheels.names() == set(wheels)
    with zipfile.ZipFile(wheels["cuvis-ai-core"]) as wheel:
        found = {name: wheel.read(name) for name in wheel.namelist()}
    info = "cuvis_ai_core-1.2.dist-info"
    record = found.pop(f"{info}/RECORD").decode()
    hashes = {
        name: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        for name, content in found.items()
    }
    lines = [f"{name},sha256={digest},{len(found[name])}\n" for name, digest in hashes.items()]
    assert record == f"{''.join(lines)}{info}/RECORD,,\n"
    assert found == {
        "cuvis_ai_core/__init__.py": b"cuvis_ai_core __init__.py",
        "cuvis_ai_core/sub/data.bin": b"cuvis_ai_core sub/data.bin",
        f"{info}/METADATA": (
            b"Metadata-Version: 2.1\nName: cuvis-ai-core\nVersion: 1.2\nProvides-Extra: torch\n"
            b"Requires-Dist: numpy\nRequires-Dist: pluggy>=1.5\nRequires-Dist: Array_API.compat\n"
            b"Requires-Dist: torch>2; extra == 'torch'\nRequires-Dist: numpy<3; extra == 'torch'\n"
            b"Requires-Dist: cuvis-ai-schemas==1.2\n"
        ),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: cuvis-ai-core\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheels["cuvis-ai-hookspecs"]) as wheel:
        metadata = wheel.read("cuvis_ai_hookspecs-1.2.dist-info/METADATA")
    assert metadata == b"Metadata-Version: 2.1\nName: cuvis-ai-hookspecs\nVersion: 1.2\n"
    written = [path.read_bytes() for path in wheels.values()]
    for folder in ("new/wheels", "new/other wheels"):
        again = host_wheels.write_wheels(host / folder)
        assert [path.read_bytes() for path in again.values()] == written


def test_wheels_of_one_content_have_one_place(host: Path, tmp_path: Path) -> None:
    """Where its path or its time is another, uv unpacks it again; those of other code go a day after their use."""
    store = Store(tmp_path / "cache")
    looked = host_wheels.wheels_in(store, tmp_path / "a", dry=True)
    assert {path.parent for path in looked.values()} == {tmp_path / "a"}
    assert not store.root.exists()
    kept = host_wheels.wheels_in(store, tmp_path / "b")
    (place,) = {path.parent for path in kept.values()}
    assert place.parent == store.host_wheels
    before = {path: path.stat() for path in kept.values()}
    days_ago = time.time() - 2 * 86_400
    for name, when in (("old", days_ago), ("new", time.time()), (place.name, days_ago)):
        (place.parent / name).mkdir(exist_ok=True)
        os.utime(place.parent / name, (when, when))
    for dry in (True, False):
        assert host_wheels.wheels_in(store, tmp_path / "c", dry=dry) == kept
    assert {path: path.stat() for path in kept.values()} == before
    assert sorted(path.name for path in place.parent.iterdir()) == sorted([place.name, "new"])
    # What was altered, or was left half written, is what it should be again.
    core = kept["cuvis-ai-core"]
    whole = core.read_bytes()
    core.write_bytes(b"half")
    assert host_wheels.wheels_in(store, tmp_path / "d", dry=True)["cuvis-ai-core"] == tmp_path / "d" / core.name
    assert host_wheels.wheels_in(store, tmp_path / "d")["cuvis-ai-core"].read_bytes() == whole


def test_the_hash_changes_with_every_file_of_the_wheels(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With names, contents and where each ends, of both packages; not with bytecode."""
    ask = host_wheels.fingerprint.__wrapped__
    found = [ask()]
    assert len(found[0]) == 16
    (host / "cuvis_ai_core/__pycache__/new.pyc").touch()
    assert ask() == found[0]
    for change in (
        lambda: (host / "cuvis_ai_core/sub/data.bin").write_bytes(b"other"),
        lambda: (host / "cuvis_ai_hookspecs/sub/data.bin").write_bytes(b"other"),
        lambda: (host / "cuvis_ai_core/sub/data.bin").rename(host / "cuvis_ai_core/sub/name.bin"),
        lambda: (host / "cuvis_ai_core/sub/name.bin").write_bytes(b"othe"),
        lambda: monkeypatch.setattr(f"{__name__}.VERSION", "1.3"),
    ):
        change()
        found.append(ask())
    assert len(set(found)) == len(found)


def test_an_environment_is_one_for_each_python_host_and_set_of_pins(tmp_path: Path) -> None:
    """With the hashes of what is locked; the version of Python is that of the manifest, or this one's."""
    plain = LocalPlugin(path=Path(), provides=("m.N",), isolation="process")
    other = LocalPlugin(path=Path(), provides=("m.N",), isolation="process", python="3.14")
    here = ".".join(platform.python_version_tuple()[:2])
    assert [host_wheels.python_version(each) for each in (plain, other)] == [here, "3.14"]
    locked = [None, Choice(("a==1",)), Choice(("a==1",), {"a==1": ("x", "y")}), Choice(("a==1",), {"a==1": ("x",)})]
    folders = [host_wheels.environment_folder(tmp_path, plain, each) for each in locked]
    folders.append(host_wheels.environment_folder(tmp_path, other, None))
    assert len(set(folders)) == len(folders)
    assert {folder.parent for folder in folders} == {tmp_path}
    assert host_wheels.environment_folder(tmp_path, plain, None) == folders[0]
    assert host_wheels.schemas() == f"cuvis-ai-schemas=={importlib.metadata.version('cuvis-ai-schemas')}"


@pytest.mark.parametrize(
    ("direct", "editable"),
    [
        (None, False),
        ({}, False),
        ({"dir_info": {}}, False),
        ({"url": "file:///x", "dir_info": {"editable": True}}, True),
    ],
)
def test_a_folder_that_is_edited_is_named(
    host: Path, monkeypatch: pytest.MonkeyPatch, direct: dict[str, Any] | None, *, editable: bool
) -> None:
    """Only where the core is installed so that it can be edited."""
    core = Installed("cuvis-ai-core")
    core.direct = direct
    monkeypatch.setattr(host_wheels, "distribution", {"cuvis-ai-core": core}.__getitem__)
    assert host_wheels.edited_folder() == (str(host / "cuvis_ai_core") if editable else "")
