"""Wheels that tests make, for uv to find, and a plugin that uses what is in them."""

import base64
import gc
import hashlib
import importlib
import re
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakSet

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.dependencies import live_versions
from cuvis_ai_core.plugins.isolation.calling_plugin import LENT
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.scope import Code, Scope, open_scope

Files = dict[str, str]
MakeWheel = Callable[..., None]
LoadUser = Callable[..., Any]

USER = """
import {module}
from importlib.metadata import version
from importlib import import_module
import sys

class Answers:
    module = {module}
    def direct(self):
        return {module}.VERSION
    def late(self):
        from {module} import VERSION
        return VERSION
    def by_name(self):
        return import_module("{module}").VERSION
    def metadata(self):
        return version("{distribution}")
    def own_metadata(self):
        return version(__name__.split(".")[-2].replace("_", "-"))
    def package_metadata(self):
        return version(__package__)

Echo.answers = Answers()
"""


def _make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    requires: tuple[str, ...] = (),
    pure: bool = True,
) -> None:
    """Write the wheel of a distribution into a folder.

    Args:
        folder: Where it comes to lie.
        name: Name of the distribution.
        version: Its version.
        files: Texts of its files by path.
        requires: Its requirements; extras that they are for are declared.
        pure: Whether its tag is that of a pure-Python wheel.
    """
    tag = "py3-none-any" if pure else f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    needs += "".join(f"Provides-Extra: {each}\n" for each in re.findall(r'extra == "(\w+)"', needs))
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {str(pure).lower()}\nTag: {tag}\n",
    }
    lines = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in content.items()] + [
        f"{info}/RECORD,,"
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-{tag}.whl", "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join(lines) + "\n")


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def make_wheel() -> Callable[..., None]:
    """Return a function that writes a wheel into a folder (see `_make_wheel`)."""
    return _make_wheel


@pytest.fixture
def wheel(make_wheel: MakeWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWheel]:
    """Return a function that builds a wheel which uv finds; what tests import of it is forgotten in the end."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    before = set(sys.modules)

    yield partial(make_wheel, folder)
    for module in set(sys.modules) - before:
        if module.partition(".")[0].startswith("cuvis_test_"):
            del sys.modules[module]
    live_versions._drop_idle()


@pytest.fixture
def load(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> LoadUser:
    """Return a function that loads a local plugin which uses a dependency, and returns its answers."""

    def run(name: str, *requires: str, module: str = "cuvis_test_dep", distribution: str = "cuvis-test-dep") -> Any:
        files = project_files(name, dependencies=requires)
        files[f"src/{name}/nodes.py"] += USER.format(module=module, distribution=distribution)
        folder = write_files(tmp_path / name, files)
        registry.load_plugin(name, {"path": str(folder), "provides": [f"{name}.nodes.Echo"]})
        return registry.get(f"{name}.nodes.Echo").answers  # type: ignore[attr-defined]

    return run


@pytest.fixture
def host_install(
    tmp_path: Path, wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], Path]]:
    """Return a function that installs a built wheel (name, version) into the host environment of this test."""
    site = tmp_path / "host" / "site-packages"
    site.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, version: str) -> Path:
        built = next((tmp_path / "wheels").glob(f"{name.replace('-', '_')}-{version}-*.whl"))
        with zipfile.ZipFile(built) as archive:
            archive.extractall(site)
        importlib.invalidate_caches()
        return site

    yield install
    if sum(_taken_out(name, site) for name in list(sys.modules)):
        gc.collect()


def _taken_out(name: str, site: Path) -> bool:
    """Take a module of the host's environment out; tell whether it has something of a plugin, which lives as long."""
    # Not by `vars`, which has the public name of a plugin's module look for what lies behind.
    known: Any = object.__getattribute__(sys.modules[name], "__dict__")
    if not str(known.get("__file__", "")).startswith(str(site)):
        return False
    del sys.modules[name]
    return LENT in known


@pytest.fixture
def load_code(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> Callable[..., Any]:
    """Return a function that loads a plugin with some code in its module of nodes, and returns that module."""

    def run(name: str, code: str, *requires: str, more: Files | None = None) -> Any:
        files = project_files(name, dependencies=requires) | (more or {})
        files[f"src/{name}/nodes.py"] += code
        folder = write_files(tmp_path / name, files)
        registry.load_plugin(name, {"path": str(folder), "provides": [f"{name}.nodes.Echo"]})
        return sys.modules[registry.get(f"{name}.nodes.Echo").__module__]

    return run


@pytest.fixture
def scope_of(tmp_path: Path, write_files: Callable[[Path, Files], Path]) -> Iterator[Callable[..., Scope]]:
    """Return a function that opens a scope of some files, which lives for as long as the test has it."""
    install_finder()
    opened: WeakSet[Scope] = WeakSet()

    def open_one(files: Files, **more: Any) -> Scope:
        folder = write_files(tmp_path / f"code{len(list(tmp_path.glob('code*')))}", files)
        tops = frozenset(name.partition("/")[0].removesuffix(".py") for name in files)
        code = Code([str(folder)], tops, frozenset(), frozenset(), {}, editable=False)._replace(**more)
        scope = open_scope(uuid4().hex, f"files@{uuid4().hex}", code)
        opened.add(scope)
        return scope

    yield open_one
    for scope in list(opened):
        while scope.held:
            scope.release()
