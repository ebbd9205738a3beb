"""Local plugins of every common back-end, in folders of any name: loaded, and loaded again after an edit."""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry

Files = dict[str, str]

CORE = """\
#include <Python.h>
static struct PyModuleDef core = {PyModuleDef_HEAD_INIT, "_core", 0, -1, 0};
PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&core); }
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.15)
project(x LANGUAGES C)
find_package(Python COMPONENTS Interpreter Development.Module REQUIRED)
Python_add_library(_core MODULE core.c WITH_SOABI)
install(TARGETS _core DESTINATION mode_plugin)
"""
MESON = """\
project('mode-plugin', 'c')
python = import('python').find_installation(pure: false)
python.extension_module('_core', 'core.c', install: true, subdir: 'mode_plugin')
python.install_sources(['src/mode_plugin/__init__.py', 'src/mode_plugin/nodes.py'], subdir: 'mode_plugin')
"""

BACKENDS: dict[str, tuple[str, str, str]] = {
    "setuptools": ("setuptools>=77", "setuptools.build_meta", ""),
    "hatchling": ("hatchling", "hatchling.build", ""),
    "hatchling, exact": ("hatchling', 'editables", "hatchling.build", "[tool.hatch.build]\ndev-mode-exact = true\n"),
    "pdm": ("pdm-backend", "pdm.backend", ""),
    "pdm, editables": ("pdm-backend", "pdm.backend", "[tool.pdm.build]\neditable-backend = 'editables'\n"),
    "flit": ("flit_core>=3.4", "flit_core.buildapi", ""),
    "poetry": ("poetry-core>=2", "poetry.core.masonry.api", ""),
    "uv": ("uv_build", "uv_build", ""),
}

BUILT: dict[str, tuple[str, str, str]] = {
    "setuptools, renamed": (
        "setuptools>=77",
        "setuptools.build_meta",
        "[tool.setuptools]\npackages = ['mode_plugin']\npackage-dir = {mode_plugin = 'src/other'}\n",
    ),
    "scikit-build-core": ("scikit-build-core", "scikit_build_core.build", ""),
    "meson": ("meson-python", "mesonpy", ""),
}


def project(backend: tuple[str, str, str], node_source: Callable[..., str]) -> Files:
    """Return the files of a plugin that is built by some back-end."""
    requires, name, more = backend
    table = f"[build-system]\nrequires = ['{requires}']\nbuild-backend = '{name}'\n"
    table += "[project]\nname = 'mode-plugin'\nversion = '1.0'\ndescription = 'x'\ndependencies = ['cuvis-ai-core']\n"
    files = {"pyproject.toml": table + more}
    folder = "src/other" if "src/other" in more else "src/mode_plugin"
    files |= {f"{folder}/__init__.py": "'''A plugin.'''\n", f"{folder}/nodes.py": node_source("Echo", "1")}
    if name in {"scikit_build_core.build", "mesonpy"}:
        files |= {"core.c": CORE, "CMakeLists.txt": CMAKE, "meson.build": MESON}
        files[f"{folder}/nodes.py"] += "\nfrom mode_plugin import _core\n"
    return files


RUST = {
    "Cargo.toml": """\
[package]
name = "mode-plugin"
version = "1.0.0"
edition = "2021"
[lib]
name = "core"
path = "rust/lib.rs"
crate-type = ["cdylib"]
""",
    "rust/lib.rs": '#[no_mangle]\npub extern "C" fn version() -> i32 { 1 }\n',
    "pyproject.toml": """\
[build-system]
requires = ["maturin>=1.7,<2"]
build-backend = "maturin"
[project]
name = "mode-plugin"
version = "1.0"
description = "x"
dependencies = ["cuvis-ai-core", "cffi"]
[tool.maturin]
bindings = "cffi"
python-source = "src"
module-name = "mode_plugin._core"
""",
}
"""A project whose compiled part needs no crate: none can be fetched in a test."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no Rust compiler")
@pytest.mark.parametrize("where", ["folder", "tag"])
def test_a_plugin_with_a_part_in_rust_is_built_by_maturin(
    tmp_path: Path,
    cache: Path,
    git_host: Any,
    write_files: Callable[[Path, Files], Path],
    node_source: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """In a local folder, where edits of its Python code are seen, and at a tag; without a network for crates."""
    monkeypatch.setenv("CARGO_NET_OFFLINE", "true")
    # The tests have a home of their own, where rustup would look for compilers.
    rustup = Path(shutil.which("cargo") or "").parents[2] / ".rustup"
    if rustup.is_dir() and "RUSTUP_HOME" not in os.environ:
        monkeypatch.setenv("RUSTUP_HOME", str(rustup))
    nodes = node_source("Echo", "1") + "\nfrom mode_plugin import _core\nEcho.RUST = _core.lib.version()\n"
    files = {**RUST, "src/mode_plugin/__init__.py": "", "src/mode_plugin/nodes.py": nodes}
    if where == "folder":
        folder = write_files(tmp_path / "project", files)
        assert load(folder) == "1"
        edited(folder)
        assert load(folder) == "2"
        return
    url = git_host.add("rust", files, tag="v1.0.0")
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("mode", {"repo": url, "tag": "v1.0.0", "provides": ["mode_plugin.nodes.Echo"]})
        assert registry.get("Echo").RUST == 1  # type: ignore[attr-defined]


def load(folder: Path, **more: str) -> object:
    """Load the plugin in a registry of its own, and return the version that its node states."""
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("mode", {"path": str(folder), "provides": ["mode_plugin.nodes.Echo"], **more})
        return getattr(registry.get("Echo"), "VERSION", None)


def edited(folder: Path) -> None:
    """Change the version that the node states."""
    (module,) = folder.glob("src/*/nodes.py")
    module.write_text(module.read_text().replace("VERSION = '1'", "VERSION = '2'"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_local_plugin_stays_where_it_is(
    tmp_path: Path,
    cache: Path,
    write_files: Callable[[Path, Files], Path],
    node_source: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """Whatever its back-end makes of an editable install: edits are seen without a build."""
    folder = write_files(tmp_path / "project", project(BACKENDS[kind], node_source))
    assert load(folder) == "1"
    (installed,) = cache.glob(".targets/*/*")
    edited(folder)
    assert load(folder) == "2"
    assert list(cache.glob(".targets/*/*")) == [installed]
    assert "installed by a build" not in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
@pytest.mark.parametrize("kind", BUILT)
def test_a_local_plugin_whose_import_hook_is_not_understood_is_built(
    tmp_path: Path,
    cache: Path,
    write_files: Callable[[Path, Files], Path],
    node_source: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """Which is said; it is built again after an edit, and what was built before goes."""
    folder = write_files(tmp_path / "project", project(BUILT[kind], node_source))
    with caplog.at_level(logging.WARNING):
        assert load(folder) == "1"
    assert f"{folder} is installed by a build, because" in caplog.text
    caplog.clear()
    assert load(folder) == "1"
    assert caplog.text == ""
    edited(folder)
    assert load(folder) == "2"
    assert len(list(cache.glob(".targets/*/*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hatchling, exact", "pdm, editables", "setuptools"])
def test_a_local_plugin_with_an_import_hook_has_a_process_of_its_own(
    tmp_path: Path, cache: Path, write_files: Callable[[Path, Files], Path], node_source: Callable[..., str], kind: str
) -> None:
    """There the hook itself is at work."""
    folder = write_files(tmp_path / "project", project(BACKENDS[kind], node_source))
    with NodeRegistry(discover=False) as registry:
        entry = {"path": str(folder), "provides": ["mode_plugin.nodes.Echo"], "isolation": "process"}
        registry.load_plugin("mode", entry)
        assert registry.get("Echo").__name__ == "Echo"


FOLDERS = [
    "C# tools", "100%41 done", "a?b", "x=1&y", "a@b[c]", "[old]", "q\"u'o", "back\\slash", "semi;colon", "$HOME",
    "${HOME}", "{x}", "tab\there", "new\nline", "new\n#line", "trail ", " lead", "-dash", "~", "a,b",
    "a:b", "*", "üñí", "e\u0301", "a/./b", "#",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows takes few of these")
@pytest.mark.parametrize("backend", ["uv", "setuptools"])
def test_a_local_plugin_lies_in_a_folder_of_any_name(
    tmp_path: Path,
    cache: Path,
    write_files: Callable[[Path, Files], Path],
    node_source: Callable[..., str],
    backend: str,
) -> None:
    """As people name them, and as they do not."""
    wrong = {}
    for name in FOLDERS if backend == "uv" else FOLDERS[:1] + FOLDERS[13:14]:
        folder = write_files(tmp_path / "in" / name / "plug", project(BACKENDS[backend], node_source))
        try:
            load(folder)
        except Exception as error:  # noqa: BLE001 - all are wanted in one list
            wrong[name] = str(error)
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names as text")
def test_a_local_plugin_lies_in_a_folder_whose_name_is_no_text(
    tmp_path: Path, cache: Path, write_files: Callable[[Path, Files], Path], node_source: Callable[..., str]
) -> None:
    """Its path cannot be written into a file of a back-end: it is built."""
    folder = write_files(tmp_path / os.fsdecode(b"caf\xe9") / "plug", project(BACKENDS["uv"], node_source))
    assert load(folder) == "1"
    edited(folder)
    assert load(folder) == "2"


@pytest.mark.slow
def test_a_plugin_in_a_folder_of_any_name_has_a_process_of_its_own(
    tmp_path: Path, cache: Path, write_files: Callable[[Path, Files], Path], node_source: Callable[..., str]
) -> None:
    """With an extra, which stands beside the path."""
    files = project(BACKENDS["uv"], node_source)
    files["pyproject.toml"] += "[project.optional-dependencies]\nfew = []\n"
    folder = write_files(tmp_path / "C# tools" / "a@b[c]" / "100%41 done" / "new\nline" / "plug", files)
    with NodeRegistry(discover=False) as registry:
        entry = {"path": str(folder), "provides": ["mode_plugin.nodes.Echo"], "isolation": "process", "extras": ["few"]}
        registry.load_plugin("mode", entry)
        assert registry.get("Echo").__name__ == "Echo"
