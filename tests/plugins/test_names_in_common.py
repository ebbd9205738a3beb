"""One public name, several modules: the program's or everybody's, and what a plugin has for itself."""

import importlib
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginLoadError

Files = dict[str, str]
MakeWheel = Callable[..., None]
LoadUser = Callable[..., Any]
HostInstall = Callable[[str, str], Path]

DEP = "cuvis-test-dep"

BY_NAME = """
import cuvis_test_dep, pickle, pkgutil
from importlib import import_module, metadata, resources
from unittest import mock

def plain():
    return cuvis_test_dep.VERSION

def late():
    import cuvis_test_dep.late
    return cuvis_test_dep.late.WHO

def by_name():
    return import_module("cuvis_test_dep.late").WHO

def data():
    return resources.files("cuvis_test_dep").joinpath("data.txt").read_text()

def old_data():
    return pkgutil.get_data("cuvis_test_dep", "data.txt").decode()

def resolved():
    return pkgutil.resolve_name("cuvis_test_dep:VERSION")

def unpickled():
    return pickle.loads(b"ccuvis_test_dep\\nPoint\\n.")().version

def unpickled_by_python():
    import io
    return pickle._Unpickler(io.BytesIO(b"ccuvis_test_dep\\nPoint\\n.")).load()().version

def round_trip():
    return pickle.loads(pickle.dumps(cuvis_test_dep.Point())).version

def patched():
    with mock.patch("cuvis_test_dep.VERSION", "patched"):
        if cuvis_test_dep.VERSION != "patched":
            return "not patched"
    return cuvis_test_dep.VERSION

def entry_point():
    (point,) = metadata.entry_points(group="cuvis_test_points")
    return point.load()()

def entry_point_in_a_thread():
    from concurrent.futures import ThreadPoolExecutor
    (point,) = metadata.entry_points(group="cuvis_test_points")
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(point.load).result()()

def distribution():
    names = [found.version for found in metadata.distributions() if found.name == "cuvis-test-dep"]
    return names[0]

def seen_by_the_dependency():
    from cuvis_test_dep.late import own_version
    return own_version()

def files():
    (init,) = (file for file in metadata.files("cuvis-test-dep") if file.name == "__init__.py")
    return init.locate().read_text().split("'")[1]
"""

FORMS = [line.removeprefix("def ").partition("(")[0] for line in BY_NAME.splitlines() if line.startswith("def ")]


def dependency(make: MakeWheel, version: str) -> None:
    """Build a distribution with a class, data, a late module and an entry point."""
    files = {
        "cuvis_test_dep/__init__.py": f"VERSION = {version!r}\n\nclass Point:\n    version = VERSION\n",
        "cuvis_test_dep/late.py": f"WHO = {version!r}\n\ndef who():\n    return WHO\n\n"
        "def own_version():\n    from importlib.metadata import version\n    return version('cuvis-test-dep')\n",
        "cuvis_test_dep/data.txt": version,
        f"cuvis_test_dep-{version}.dist-info/entry_points.txt": "[cuvis_test_points]\none = cuvis_test_dep.late:who\n",
    }
    make(DEP, version, files)


@pytest.mark.parametrize("form", FORMS)
def test_a_private_dependency_is_its_plugins_by_every_way_of_naming_it(
    wheel: MakeWheel, load_code: Callable[..., Any], form: str
) -> None:
    """And the shared one everybody else's, in turns."""
    dependency(wheel, "1.0")
    dependency(wheel, "2.0")
    first = load_code("first", BY_NAME, f"{DEP}==1.0")
    second = load_code("second", BY_NAME, f"{DEP}==2.0")
    for module, version in ((first, "1.0"), (second, "2.0")) * 2:
        assert getattr(module, form)() == version
    assert importlib.import_module("cuvis_test_dep.late").WHO == "1.0"
    assert pickle.loads(b"ccuvis_test_dep\nPoint\n.").version == "1.0"
    (point,) = metadata.entry_points(group="cuvis_test_points")
    found = [each.version for each in metadata.distributions() if each.name == DEP]
    assert (point.load()(), metadata.version(DEP), found) == ("1.0", "1.0", ["1.0"])


@pytest.mark.parametrize("imported", [True, False])
def test_a_library_that_a_plugin_calls_sees_what_everybody_sees(
    wheel: MakeWheel, load_code: Callable[..., Any], host_install: HostInstall, *, imported: bool
) -> None:
    """Though a plugin with another version for itself imports it first, and calls it."""
    dependency(wheel, "1.0")
    dependency(wheel, "2.0")
    library = (
        "import cuvis_test_dep\nfrom cuvis_test_dep import Point\nfrom cuvis_test_dep.late import WHO\n\n"
        "def seen():\n    import cuvis_test_dep.late as late\n"
        "    return [cuvis_test_dep.VERSION, Point.version, WHO, late.WHO, cuvis_test_dep.late.who()]\n"
    )
    wheel("cuvis-test-lib", "1.0", {"cuvis_test_lib.py": library}, requires=(DEP,))
    host_install(DEP, "1.0")
    host_install("cuvis-test-lib", "1.0")
    if imported:
        importlib.import_module("cuvis_test_dep")
    code = BY_NAME + "def library():\n    import cuvis_test_lib\n    return cuvis_test_lib.seen()\n"
    plugin = load_code("second", code, f"{DEP}==2.0")
    assert (plugin.data(), plugin.library(), plugin.unpickled(), plugin.library()) == (
        "2.0",
        ["1.0"] * 5,
        "2.0",
        ["1.0"] * 5,
    )


@pytest.mark.parametrize("first", ["program", "plugin"])
def test_a_plugins_own_name_is_told_from_the_programs(
    load_code: Callable[..., Any],
    registry: NodeRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    """Whoever imports `utils` first: a checkpoint that names a class of it means the plugin's in the plugin."""
    code = "import pickle, utils\ndef unpickled():\n    return pickle.loads(b'cutils\\nPoint\\n.').who\n"
    (tmp_path / "script").mkdir()
    (tmp_path / "script/utils.py").write_text("class Point:\n    who = 'program'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "script"))
    monkeypatch.delitem(sys.modules, "utils", raising=False)
    if first == "program":
        importlib.import_module("utils")
    more = {
        "src/utils/__init__.py": "class Point:\n    who = 'plugin'\n",
        "pyproject.toml": "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'generic'\nversion = '1'\n",
    }
    plugin = load_code("generic", code, more=more)
    utils = importlib.import_module("utils")
    assert (plugin.unpickled(), utils.Point.who, pickle.loads(b"cutils\nPoint\n.").who) == (
        "plugin",
        "program",
        "program",
    )
    assert pickle.loads(pickle.dumps(utils.Point())).who == "program"
    registry.unload_plugin("generic")
    assert type(sys.modules["utils"]) is type(sys)
    assert importlib.import_module("utils").Point is utils.Point


@pytest.mark.parametrize("pure", [True, False])
def test_a_plugin_whose_package_is_anothers_dependency(
    wheel: MakeWheel, load_code: Callable[..., Any], *, pure: bool
) -> None:
    """A fork of a library is a plugin, another plugin depends on the library: each has its own, in turns."""
    wheel(DEP, "1.0", {"cuvis_test_dep/__init__.py": "VERSION = '1.0'\n", "cuvis_test_dep/data.txt": "1.0"}, pure=pure)
    own = {"src/cuvis_test_dep/__init__.py": "VERSION = 'fork'\n", "src/cuvis_test_dep/data.txt": "fork"}
    code = (
        "from importlib import resources\nimport cuvis_test_dep\n"
        "def seen():\n    import cuvis_test_dep as late\n"
        "    data = resources.files('cuvis_test_dep') / 'data.txt'\n"
        "    return [cuvis_test_dep.VERSION, late.VERSION, data.read_text()]\n"
    )
    fork = load_code("cuvis_test_dep", code, more=own)
    assert fork.seen() == ["fork"] * 3
    user = load_code("user", code, DEP)
    assert (user.seen(), fork.seen(), user.seen()) == (["1.0"] * 3, ["fork"] * 3, ["1.0"] * 3)
    assert importlib.import_module("cuvis_test_dep").VERSION == "1.0"


def test_a_discovered_plugin_is_whole_where_its_package_is_declared_elsewhere(
    cache: Path,
    tmp_path: Path,
    project_files: Callable[..., Files],
    write_files: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its hooks are asked, and its classes are those of the environment."""
    files = project_files("cuvis_test_twice")
    hooks = "from cuvis_ai_hookspecs import hookimpl\n\n@hookimpl\ndef cuvis_ai_nodes():\n"
    files["src/cuvis_test_twice/hooks.py"] = f"{hooks}    return ['cuvis_test_twice.nodes.Echo']\n"
    folder = write_files(tmp_path / "declared", files)
    info = "site/cuvis_test_twice-1.dist-info"
    site = {name.replace("src/", "site/"): text for name, text in files.items() if name.startswith("src/")}
    site[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: cuvis-test-twice\nVersion: 1\n"
    site[f"{info}/entry_points.txt"] = "[cuvis_ai.nodes]\ntwice = cuvis_test_twice.hooks\n"
    monkeypatch.syspath_prepend(str(write_files(tmp_path, site) / "site"))
    with NodeRegistry(discover=False) as declaring, NodeRegistry() as discovering:
        declaring.load_plugin("twice", {"path": str(folder), "provides": ["cuvis_test_twice.nodes.Echo"]})
        assert declaring.get("Echo").__module__.startswith("cuvis_ai_core.scoped.")
        assert discovering.get("Echo").__module__ == "cuvis_test_twice.nodes"
    for name in [name for name in sys.modules if name.startswith("cuvis_test_twice")]:
        del sys.modules[name]


ASKING = """
def by_statements():
    import cuvis_test_dep
    import cuvis_test_dep.late as late
    from cuvis_test_dep import Point
    from cuvis_test_dep.late import who
    return [cuvis_test_dep.VERSION, late.WHO, Point.version, who(), cuvis_test_dep.late.WHO]

def tool():
    from cuvis_test_dep.late import cuvis_test_tool
    return cuvis_test_tool.VERSION

def own():
    import cuvis_test_own.nodes
    return cuvis_test_own.nodes.ask

def never():
    import cuvis_test_dep.nope

def at_import():
    import cuvis_test_lasting
    return cuvis_test_lasting.VERSION
"""

CALLING = """
def ask(name):
    import cuvis_test_lib
    return getattr(cuvis_test_lib, name)()
"""


def _asked_by_a_library(wheel: MakeWheel, host_install: HostInstall) -> None:
    """Put a library into the host which imports by itself what only plugins have, private for the sake of a tool."""
    for number in ("1.0", "2.0", "3.0"):
        wheel("cuvis-test-tool", number, {"cuvis_test_tool.py": f"VERSION = {number!r}\n"})
        files = {
            "cuvis_test_dep/__init__.py": f"VERSION = {number!r}\n\nclass Point:\n    version = VERSION\n",
            "cuvis_test_dep/late.py": f"import cuvis_test_tool\nWHO = {number!r}\n\ndef who():\n    return WHO\n",
        }
        wheel(DEP, number, files, requires=("cuvis-test-tool",))
    lasting = (
        "from cuvis_test_dep import Point\nimport cuvis_test_dep\nVERSION = cuvis_test_dep.VERSION, Point.version\n"
    )
    wheel("cuvis-test-lib", "1.0", {"cuvis_test_lib.py": ASKING, "cuvis_test_lasting.py": lasting})
    for name, number in (("cuvis-test-tool", "3.0"), ("cuvis-test-lib", "1.0")):
        host_install(name, number)


def test_a_library_is_lent_what_only_the_plugin_that_calls_it_has(
    wheel: MakeWheel, load_code: Callable[..., Any], host_install: HostInstall, registry: NodeRegistry
) -> None:
    """As torch imports TensorBoard for a plugin: for each its own; what stays in the library is the first's."""
    _asked_by_a_library(wheel, host_install)
    first = load_code("first", CALLING, f"{DEP}==1.0", "cuvis-test-tool<2")
    second = load_code("second", CALLING, f"{DEP}==2.0", "cuvis-test-tool<3")
    for plugin, version, tool in ((first, "1.0", "1.0"), (second, "2.0", "2.0")) * 2:
        assert (plugin.ask("by_statements"), plugin.ask("tool")) == ([version] * 5, tool)
        assert plugin.ask("at_import") == ("1.0", "1.0")
    # What a library was given it keeps for who else calls it.
    assert importlib.import_module("cuvis_test_lib").by_statements() == ["1.0"] * 5
    registry.clear_plugins()
    assert importlib.import_module("cuvis_test_lib").at_import() == ("1.0", "1.0")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cuvis_test_dep")


OPTIONAL = """
try:
    import cuvis_test_dep
except ImportError:
    cuvis_test_dep = None

def version():
    return cuvis_test_dep.VERSION if cuvis_test_dep else "none"
"""


def test_what_a_library_has_by_chance_of_a_plugin_works_for_all_who_call_it(
    wheel: MakeWheel, load_code: Callable[..., Any], host_install: HostInstall, registry: NodeRegistry
) -> None:
    """An optional import is answered once: by the program, in a thread, for another plugin and after the unload."""
    _asked_by_a_library(wheel, host_install)
    wheel("cuvis-test-optional", "1.0", {"cuvis_test_optional.py": OPTIONAL})
    host_install("cuvis-test-optional", "1.0")
    code = "import cuvis_test_optional\nask = cuvis_test_optional.version\n"
    assert load_code("first", code, f"{DEP}==1.0", "cuvis-test-tool<2").ask() == "1.0"
    library = importlib.import_module("cuvis_test_optional")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(library.version).result() == "1.0"
    assert load_code("plain", code).ask() == library.version() == "1.0"
    registry.clear_plugins()
    assert library.version() == "1.0"


def test_a_folder_of_that_name_on_the_path_takes_nothing_away(
    wheel: MakeWheel,
    load_code: Callable[..., Any],
    host_install: HostInstall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a script lies `tensorboard/` with logs: a package further along the path goes before it."""
    _asked_by_a_library(wheel, host_install)
    (tmp_path / "work" / DEP.replace("-", "_") / "run1").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    first = load_code("first", CALLING, f"{DEP}==1.0", "cuvis-test-tool<2")
    assert first.ask("by_statements") == ["1.0"] * 5


def test_a_library_is_lent_nothing_that_is_the_plugins_own_or_everybodys(
    wheel: MakeWheel, load_code: Callable[..., Any], host_install: HostInstall
) -> None:
    """What the plugin is, and what the host has in another version."""
    _asked_by_a_library(wheel, host_install)
    host_install(DEP, "3.0")
    plugin = load_code("cuvis_test_own", CALLING, f"{DEP}==1.0", "cuvis-test-tool<2")
    assert (plugin.ask("by_statements"), plugin.ask("tool"), plugin.ask("at_import")) == (
        ["3.0"] * 5,
        "3.0",
        ("3.0", "3.0"),
    )
    with pytest.raises(ModuleNotFoundError, match="cuvis_test_own"):
        plugin.ask("own")


def test_a_library_that_asks_where_no_plugin_calls_it_is_named(
    wheel: MakeWheel, load_code: Callable[..., Any], host_install: HostInstall
) -> None:
    """In a thread nobody knows for whom it asks: the dependency is declared and installed, so the advice is another."""
    _asked_by_a_library(wheel, host_install)
    code = (
        "import cuvis_test_lib\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as pool:\n    pool.submit(cuvis_test_lib.by_statements).result()\n"
    )
    with pytest.raises(PluginLoadError, match="No module named 'cuvis_test_dep'") as failed:
        load_code("first", code, f"{DEP}==1.0", "cuvis-test-tool<2")
    assert "'cuvis_test_dep' is installed, but for this plugin alone, and 'cuvis_test_lib'" in str(failed.value)
    assert "isolation: process" in str(failed.value)
    assert "add it to the dependencies" not in str(failed.value)
    with pytest.raises(PluginLoadError, match=r"cuvis_test_dep\.nope") as failed:
        load_code("other", "import cuvis_test_lib\ncuvis_test_lib.never()\n", f"{DEP}==1.0", "cuvis-test-tool<2")
    assert "is installed, but for this plugin alone" not in str(failed.value)
