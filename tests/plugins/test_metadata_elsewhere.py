"""Plugins whose name and needs are not in `[project]`: what pip installs is loaded, whatever the file is called."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main
from cuvis_ai_core.errors import PluginLoadError
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
MakeWheel = Callable[..., None]

_SETUP = """\
from setuptools import setup

setup(name="odd.lab", version="1.0", py_modules=["odd_lab"], install_requires=["cuvis-test-dep<2"])
"""
_CFG = """\
[metadata]
name = odd.lab
version = 1.0
[options]
py_modules = odd_lab
install_requires = cuvis-test-dep<2
"""
_SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
_POETRY = """\
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
[tool.poetry]
name = "odd.lab"
version = "1.0"
description = ""
authors = []
packages = [{include = "odd_lab.py"}]
[tool.poetry.dependencies]
cuvis-test-dep = "<2"
"""
_FLIT = """\
[build-system]
requires = ["flit_core<4"]
build-backend = "flit_core.buildapi"
[tool.flit.metadata]
module = "odd_lab"
dist-name = "odd.lab"
author = "Mira"
requires = ["cuvis-test-dep<2"]
"""
_DYNAMIC = f"""\
{_SETUPTOOLS}
[project]
name = "odd.lab"
version = "1.0"
dynamic = ["dependencies"]
[tool.setuptools]
py-modules = ["odd_lab"]
[tool.setuptools.dynamic]
dependencies = {{file = "needs.txt"}}
"""

KINDS: dict[str, Files] = {
    "setup.py": {"setup.py": _SETUP},
    "setup.cfg": {"setup.cfg": _CFG, "pyproject.toml": _SETUPTOOLS},
    "setup.py beside tools": {"setup.py": _SETUP, "pyproject.toml": "[tool.black]\n"},
    "poetry": {"pyproject.toml": _POETRY},
    "flit": {"pyproject.toml": _FLIT},
    "dynamic": {"pyproject.toml": _DYNAMIC, "needs.txt": "cuvis-test-dep<2\n"},
}
_CODE = '''\
"""Odd."""
__version__ = "1.0"
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec
from cuvis_test_dep import VERSION


class Odd(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1,))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1,))}

    def forward(self, cube):
        return {"cube": cube * np.float32(VERSION)}
'''


@pytest.fixture
def files(wheel: MakeWheel) -> Callable[[str], Files]:
    """Return a function that gives the files of a plugin of a kind; what it needs is there in two versions."""
    for number in ("1.0", "2.0"):
        wheel("cuvis-test-dep", number, {"cuvis_test_dep/__init__.py": f"VERSION = {number!r}\n"})
    return lambda kind: {**KINDS[kind], "odd_lab.py": _CODE}


def version(registry: NodeRegistry) -> float:
    """Return the version of what it was given, as its node has it."""
    return float(registry.get("Odd")()(cube=np.ones(1, np.float32))["cube"][0])


# A folder is installed otherwise in each kind of isolation; of a repository both kinds build the same wheel.
WAYS = [("path", isolation, kind) for isolation in ("scoped", "process") for kind in KINDS]
WAYS += [("git", ("scoped", "process")[number % 2], kind) for number, kind in enumerate(KINDS)]


@pytest.mark.parametrize(
    ("source", "isolation", "kind"),
    [pytest.param(*way, marks=() if way == WAYS[0] else pytest.mark.slow) for way in WAYS],
)
def test_it_is_loaded_with_what_it_needs(
    registry: NodeRegistry,
    files: Callable[[str], Files],
    tmp_path: Path,
    git_host: GitHost,
    write_files: Callable[..., Path],
    kind: str,
    isolation: str,
    source: str,
) -> None:
    """From a tag and from a folder, in this process and in one of its own."""
    if source == "git":
        where = {
            "repo": git_host.add(f"odd-{isolation}-{kind.replace(chr(32), chr(45))}", files(kind), tag="v1.0"),
            "tag": "v1.0",
        }
    else:
        where = {"path": str(write_files(tmp_path / "odd", files(kind)))}
    registry.load_plugin("odd", {**where, "provides": ["odd_lab.Odd"], "isolation": isolation})
    assert version(registry) == 1.0
    info = registry.plugin_info("odd")
    assert (re.sub("[._]", "-", info.distribution), info.version) == ("odd-lab", "1.0")


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["scoped", "process"])
def test_an_extra_that_it_has_not_is_an_error(
    registry: NodeRegistry,
    files: Callable[[str], Files],
    tmp_path: Path,
    write_files: Callable[..., Path],
    isolation: str,
) -> None:
    """It names those that there are; one of them is taken."""
    folder = write_files(tmp_path / "odd", files("setup.py"))
    (folder / "setup.py").write_text(_SETUP.replace("install_requires", "extras_require={'gpu': []}, install_requires"))
    config = {"path": str(folder), "provides": ["odd_lab.Odd"], "isolation": isolation}
    with pytest.raises(PluginLoadError, match=r"has no extra 'gpuu'; it offers: gpu\."):
        registry.load_plugin("odd", {**config, "extras": ["gpuu"]})
    registry.load_plugin("odd", {**config, "extras": ["gpu"]})
    assert version(registry) == 1.0


def test_a_dry_run_does_not_ask_its_back_end(
    files: Callable[[str], Files], tmp_path: Path, write_files: Callable[..., Path], cache: Path
) -> None:
    """It says what only a build can tell."""
    marker = tmp_path / "ran"
    folder = write_files(tmp_path / "odd", files("setup.py"))
    (folder / "setup.py").write_text(f"open({str(marker)!r}, 'w')\n{_SETUP}")
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text("plugins: {odd: {path: odd, provides: [odd_lab.Odd]}}\n")
    found = CliRunner().invoke(main, ["plugins", "lock", "--dry-run", str(manifest)])
    assert found.exit_code != 0
    assert "'odd' has dynamic metadata (no [project] table) and needs building" in found.output
    assert not marker.exists()


@pytest.mark.slow
def test_another_need_in_setup_py_is_installed_at_the_next_load(
    files: Callable[[str], Files], tmp_path: Path, write_files: Callable[..., Path], cache: Path
) -> None:
    """It decides as pyproject.toml does."""
    folder = write_files(tmp_path / "odd", files("setup.py"))
    config = {"path": str(folder), "provides": ["odd_lab.Odd"]}
    with NodeRegistry() as first:
        first.load_plugin("odd", config)
        assert version(first) == 1.0
    (folder / "setup.py").write_text(_SETUP.replace("<2", ">=2"))
    with NodeRegistry() as second:
        second.load_plugin("odd", config)
        assert version(second) == 2.0


@pytest.mark.slow
def test_it_is_locked_and_carried_in_a_bundle(
    files: Callable[[str], Files], tmp_path: Path, git_host: GitHost, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock has the version of what it needs, and another machine loads it from the bundle without the index."""
    manifest, bundle = tmp_path / "plugins.yaml", tmp_path / "odd.tar.gz"
    address = git_host.add("odd-bundle", files("setup.py"), tag="v1.0")
    manifest.write_text(f"plugins: {{odd: {{repo: '{address}', tag: v1.0, provides: [odd_lab.Odd]}}}}\n")
    run("lock", manifest)
    assert "cuvis-test-dep==1.0" in (tmp_path / "plugins.lock").read_text()
    run("bundle", manifest, "-o", bundle)
    monkeypatch.setenv("CUVIS_PLUGINS_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    run("unbundle", bundle, "--accept", "--output-dir", tmp_path / "there")
    with NodeRegistry() as registry:
        registry.load_plugins(tmp_path / "there/plugins.yaml")
        assert version(registry) == 1.0


def run(*words: object) -> None:
    """Run a command about plugins."""
    found = CliRunner().invoke(main, ["plugins", *map(str, words)])
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("text", ["", "[tool.black]\n", _SETUPTOOLS])
def test_what_no_build_can_tell_is_an_error(
    registry: NodeRegistry, tmp_path: Path, write_files: Callable[..., Path], text: str
) -> None:
    """A project file that says nothing of the project, and nothing else does."""
    folder = write_files(tmp_path / "odd", {"pyproject.toml": text, "odd_lab.py": ""})
    with pytest.raises(PluginLoadError, match=r"has no \[project\] table"):
        registry.load_plugin("odd", {"path": str(folder), "provides": ["odd_lab.Odd"]})
