"""Whatever the shell carries: variables that steer other programs, a folder that is gone, rights, and no home."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]

pytestmark = pytest.mark.slow

BACKEND = """\
import json, locale, os, sys, tempfile, zipfile

def build_wheel(folder, *arguments):
    seen = {"path": sys.path, "locale": locale.getpreferredencoding(), "temporary": tempfile.gettempdir()}
    name = "echo_plugin-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("echo_plugin/__init__.py", "")
        wheel.write("src/echo_plugin/nodes.py", "echo_plugin/nodes.py")
        wheel.writestr("echo_plugin/seen.json", json.dumps({**seen, "variables": dict(os.environ)}))
        info = "echo_plugin-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: echo-plugin\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

build_editable = build_wheel
"""

LOAD = """\
import importlib.resources, json, os, sys
if "--lost" in sys.argv:
    os.mkdir("lost")
    os.chdir("lost")
    os.rmdir("../lost")
from cuvis_ai_core import NodeRegistry
with NodeRegistry(discover=False) as registry:
    registry.load_plugin("echo", {"provides": ["echo_plugin.nodes.Echo"], **json.loads(sys.argv[1])})
    node = registry.get("Echo")
    module = sys.modules[node.__module__]
    print(importlib.resources.files(module.__package__).joinpath("seen.json").read_text())
"""


@pytest.fixture
def source(git_host: GitHost, tmp_path: Path, project_files: Callable[..., Files]) -> dict[str, str]:
    """Return the source of a plugin whose build writes down what it sees."""
    project = '[build-system]\nrequires = ["small-needed"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = project_files() | {"backend.py": BACKEND}
    files["pyproject.toml"] = (
        project + '[project]\nname = "echo-plugin"\nversion = "1.0"\ndependencies = ["small-needed"]\n'
    )
    return {"repo": git_host.add(f"shells-{tmp_path.name}", files, tag="v1"), "tag": "v1"}


def load(
    source: dict[str, str], cache: Path, variables: dict[str, str], *options: str, umask: int = -1, home: bool = True
) -> dict[str, dict[str, str]]:
    """Load a plugin in a process of its own, and return what its build saw."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    quick = {"UV_CACHE_DIR": os.environ["UV_CACHE_DIR"], "UV_NO_INDEX": "1"} if "UV_FIND_LINKS" in variables else {}
    env = {**kept, "CUVIS_PLUGINS_DIR": str(cache), **quick, **variables}
    if not home:
        del env["HOME"]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(source), *options],
        env=env,
        cwd=cache.parent,
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, dict[str, str]] = json.loads(done.stdout)
    return seen


@pytest.fixture
def needed(tmp_path: Path, make_wheel: Callable[..., None]) -> Path:
    """Return a folder with the wheel that the plugin and its build need."""
    make_wheel(tmp_path / "wheels", "small-needed", "1.0", {"small_needed.py": "VERSION = '1.0'"})
    return tmp_path / "wheels"


OTHERS = {
    "a robot's workspace": {"PYTHONPATH": "{other}", "AMENT_PREFIX_PATH": "{other}", "ROS_DISTRO": "noetic"},
    "warnings as errors": {
        "PYTHONWARNINGS": "error",
        "PYTHONDEVMODE": "1",
        "PYTHONVERBOSE": "1",
        "PYTHONOPTIMIZE": "2",
    },
    "another environment": {"VIRTUAL_ENV": "{other}", "CONDA_PREFIX": "{other}", "CONDA_DEFAULT_ENV": "base"},
    "settings of uv": {
        **{
            f"UV_{name}": "1"
            for name in ("NO_BINARY", "SYSTEM_PYTHON", "NO_BUILD", "REQUIRE_HASHES", "NO_BUILD_ISOLATION")
        },
        **{f"UV_{name}": "{other}" for name in ("TARGET", "PREFIX", "PYTHON", "PROJECT", "CONSTRAINT", "WORKING_DIR")},
    },
    "settings of pip": {
        **{f"PIP_{name}": "1" for name in ("USER", "REQUIRE_VIRTUALENV", "NO_INDEX", "NO_DEPS", "REQUIRE_HASHES")},
        **{f"PIP_{name}": "{other}" for name in ("TARGET", "PREFIX", "PYTHON", "CONSTRAINT")},
    },
    "settings of builds": {
        "SETUPTOOLS_USE_DISTUTILS": "stdlib",
        "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_OTHER": "9",
        "SETUPTOOLS_ENABLE_FEATURES": "legacy-editable",
        "SOURCE_DATE_EPOCH": "0",
        "HATCH_BUILD_HOOKS_ENABLE": "1",
    },
    "a hook of git": {
        **{
            f"GIT_{name}": "{other}"
            for name in ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "CEILING_DIRECTORIES")
        },
        "GIT_CONFIG_PARAMETERS": "'core.bare'='true'",
        "GIT_TRACE": "1",
    },
    "a library that is loaded first": {"LD_PRELOAD": "{other}/nowhere.so", "LD_AUDIT": "", "LD_DEBUG": ""},
    "what opens doors": {"GITHUB_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x", "TWINE_PASSWORD": "x", "LAB_KEY": "x"},
}


@pytest.mark.parametrize(
    "kinds", [("warnings as errors",), (*(kind for kind in OTHERS if kind != "warnings as errors"),)], ids=len
)
def test_a_build_does_not_see_what_is_meant_for_others(
    source: dict[str, str], tmp_path: Path, needed: Path, kinds: tuple[str, ...]
) -> None:
    """It works as in a shell without these; the packages of others are not on its path."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "small_needed.py").write_text("raise SystemExit('that of others')\n")
    variables = {name: value.format(other=other) for kind in kinds for name, value in OTHERS[kind].items()}
    seen = load(source, tmp_path / "cache", variables | {"UV_FIND_LINKS": str(needed)})
    assert not variables.items() & seen["variables"].items()
    assert str(other) not in seen["path"]


def test_a_python_home_of_others_does_not_reach_a_build(source: dict[str, str], tmp_path: Path, needed: Path) -> None:
    """This interpreter may need one, which is its own."""
    seen = load(source, tmp_path / "cache", {"PYTHONHOME": sys.base_prefix, "UV_FIND_LINKS": str(needed)})
    assert "PYTHONHOME" not in seen["variables"]


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LANG": "de_DE.ISO-8859-1"}, {"LC_ALL": "tr_TR"}])
def test_a_build_reads_texts_as_utf8(
    source: dict[str, str], tmp_path: Path, needed: Path, locale: dict[str, str]
) -> None:
    """Also from a cron job."""
    seen = load(source, tmp_path / "cache", locale | {"UV_FIND_LINKS": str(needed)})
    assert str(seen["locale"]).lower() == "utf-8"


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_a_plugin_loads_whatever_rights_new_files_get(
    source: dict[str, str], tmp_path: Path, needed: Path, umask: int
) -> None:
    """And again from the cache."""
    for _ in range(2):
        load(source, tmp_path / "cache", {"UV_FIND_LINKS": str(needed)}, umask=umask)


def test_a_plugin_loads_without_a_home(source: dict[str, str], tmp_path: Path, needed: Path) -> None:
    """As from a service."""
    load(source, tmp_path / "cache", {"UV_FIND_LINKS": str(needed)}, home=False)


def test_a_plugin_loads_where_the_home_cannot_be_written(source: dict[str, str], tmp_path: Path, needed: Path) -> None:
    """What uv keeps goes elsewhere then."""
    variables = {"HOME": "/proc/nobody", "UV_FIND_LINKS": str(needed), "UV_CACHE_DIR": "", "XDG_CACHE_HOME": ""}
    load(source, tmp_path / "cache", variables)


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_plugin_loads_where_there_is_no_folder_for_temporary_files(
    source: dict[str, str], tmp_path: Path, needed: Path, folder: str
) -> None:
    """The build has one that is known to be there, on the disk of the plugin cache."""
    (tmp_path / "file").write_text("")
    place = str(tmp_path / folder)
    variables = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), place) | {"UV_FIND_LINKS": str(needed)}
    seen = load(source, tmp_path / "cache", variables)
    assert str(seen["temporary"]).startswith(str(tmp_path / "cache"))


def test_a_plugin_loads_in_a_folder_that_was_removed(
    source: dict[str, str], tmp_path: Path, needed: Path, write_files: Callable[[Path, Files], Path]
) -> None:
    """From a tag, and from a path that needs no working directory."""
    load(source, tmp_path / "cache", {"UV_FIND_LINKS": str(needed)}, "--lost")
    local = write_files(tmp_path / "local", {"echo_plugin/nodes.py": ""})
    shutil.copytree(tmp_path / "cache/echo@v1", local, dirs_exist_ok=True)
    load({"path": str(local)}, tmp_path / "cache", {"UV_FIND_LINKS": str(needed)}, "--lost")


def test_variables_that_the_user_names_are_passed(source: dict[str, str], tmp_path: Path, needed: Path) -> None:
    """For builds that read a variable of their own."""
    variables = {"LAB_BUILD_KIND": "fast", "LAB_TOKEN": "x", "CUVIS_PASS_VARIABLES": "LAB_BUILD_KIND, LAB_OTHER"}
    seen = load(source, tmp_path / "cache", variables | {"UV_FIND_LINKS": str(needed)})
    assert seen["variables"]["LAB_BUILD_KIND"] == "fast"
    assert "LAB_TOKEN" not in seen["variables"]


def test_compilers_and_their_flags_reach_a_build(source: dict[str, str], tmp_path: Path, needed: Path) -> None:
    """And where libraries lie."""
    variables = {
        "CC": "gcc",
        "CFLAGS": "-O1",
        "PKG_CONFIG_PATH": "/x",
        "CUDA_HOME": "/x",
        "HDF5_DIR": "/x",
        "CMAKE_ARGS": "-D",
    }
    seen = load(source, tmp_path / "cache", variables | {"UV_FIND_LINKS": str(needed)})
    assert {name: seen["variables"].get(name) for name in variables} == variables


PIP = "[global]\nuser = true\n[install]\nfind-links = {needed}\nrequire-hashes = true\n"
UV = 'find-links = ["{needed}"]\nno-binary = true\n[pip]\ntarget = "{other}"\nrequire-hashes = true\nno-index = true\n'


@pytest.mark.parametrize(
    "kind", ["PIP_FIND_LINKS", "PIP_CONFIG_FILE", "pip.conf", "uv.toml", "relative", "UV_CONFIG_FILE"]
)
def test_packages_come_from_where_the_user_has_them(
    source: dict[str, str], tmp_path: Path, needed: Path, kind: str
) -> None:
    """Settings of pip and uv about that hold, in variables and files; what else stands there changes nothing."""
    home = tmp_path / "home"
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/uv").mkdir()
    values = {"needed": str(needed), "other": str(tmp_path / "other")}
    variables = {"HOME": str(home)}
    if kind == "PIP_FIND_LINKS":
        variables[kind] = str(needed)
    elif kind == "PIP_CONFIG_FILE":
        (tmp_path / "pip.ini").write_text(PIP.format(**values))
        variables[kind] = str(tmp_path / "pip.ini")
    elif kind == "pip.conf":
        (home / ".config/pip/pip.conf").write_text(PIP.format(**values))
    elif kind == "uv.toml":
        (home / ".config/uv/uv.toml").write_text(UV.format(**values))
    elif kind == "relative":
        (home / ".config/uv/uv.toml").write_text(UV.format(**values | {"needed": "../../../wheels"}))
    else:
        (tmp_path / "own.toml").write_text(UV.format(**values))
        variables[kind] = "own.toml"
    load(source, tmp_path / "cache", variables)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("place", ["work", "work/cache", "temporary", "."])
def test_settings_that_lie_around_do_not_count(
    source: dict[str, str], tmp_path: Path, needed: Path, make_wheel: Callable[..., None], place: str
) -> None:
    """Those of the project in whose folder one works, or the plugin cache lies, or temporary files."""
    evil = tmp_path / "evil"
    make_wheel(evil, "small-needed", "9.0", {"small_needed.py": "raise SystemExit('canary')"})
    for folder in ("work/cache", "temporary"):
        (tmp_path / folder).mkdir(parents=True)
    around = tmp_path / place
    index = f'[[{{}}index]]\nname = "evil"\nurl = "{evil.as_uri()}"\nformat = "flat"\ndefault = true\n'
    (around / "uv.toml").write_text(f'find-links = ["{evil}"]\n{index.format("")}')
    (around / "pyproject.toml").write_text(f'[tool.uv]\nfind-links = ["{evil}"]\n{index.format("tool.uv.")}')
    (around / "pip.conf").write_text(f"[global]\nfind-links = {evil}\n")
    (around / "setup.cfg").write_text(f"[easy_install]\nfind_links = {evil}\n")
    own = Path(os.environ["HOME"], ".config/uv/uv.toml")
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(f'find-links = ["{needed}"]\n')
    variables = {"UV_CACHE_DIR": os.environ["UV_CACHE_DIR"], "TMPDIR": str(tmp_path / "temporary")}
    load(source, tmp_path / "work/cache", variables)
    found = {path.name for path in (tmp_path / "work/cache/.targets").rglob("small_needed-*")}
    assert found == {"small_needed-1.0.dist-info"}
