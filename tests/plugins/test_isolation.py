"""Two versions of one plugin side by side: every way in which code imports itself."""

import gc
import importlib
import logging
import pickle
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from importlib.metadata import DistributionFinder
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.isolation import importlib_metadata
from cuvis_ai_core.plugins.isolation.finder import install_finder

pytestmark = pytest.mark.usefixtures("quick_collections")

Files = dict[str, str]

FORMS = """
import collections
import copy
import enum
import dataclasses
import importlib
import importlib.util
import forms.early as aliased
from importlib import import_module as im
from . import early, deep
from .deep.leaf import WHO as RELATIVE
from forms.deep import leaf

VERSION = {version!r}

@dataclasses.dataclass
class Point:
    x: int
    nearest: "Point | None" = None

class Colour(enum.Enum):
    RED = 1

Pair = collections.namedtuple("Pair", "first second")

def by_function():
    return __import__("forms.late").late.WHO

def imported_from_a_name():
    return __import__("forms", fromlist=["late"]).late.WHO

def lazy_attribute():
    from forms import lazy
    return lazy.WHO

def namespace_package():
    import forms.space.inner
    from forms.space import inner
    return inner.WHO if inner is forms.space.inner else "two modules"

def resolved():
    import pkgutil
    return pkgutil.resolve_name("forms.late:WHO")

def copied():
    point = Point(1, Point(2))
    return VERSION if copy.deepcopy(point) == point and type(copy.copy(point)) is Point else "another class"

def forward_reference():
    import forms.models
    return forms.models.Outer(inner={{"x": 1}}).inner.who()

def attrs_class():
    import attrs
    Made = attrs.make_class("Made", ["x"])
    attrs.resolve_types(attrs.define(Point))
    return VERSION if Made(1) == Made(1) else "not equal"

def thread_of_its_own():
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return {{*pool.map(lambda _: plain(), range(4))}}.pop()

def plain():
    import forms.late
    return forms.late.WHO

def aliased_import():
    import forms.deep.leaf as it
    return it.WHO

def from_import():
    from forms.late import WHO
    return WHO

def from_package():
    from forms import late
    return late.WHO

def star():
    space = {{}}
    exec("from forms.late import *", space)
    return space["WHO"]

def executed():
    space = {{}}
    exec("import forms.late as it; who = it.WHO", space)
    return space["who"]

def evaluated():
    return eval("__import__('forms.late', fromlist=['WHO']).WHO")

def imported_by_name():
    return importlib.import_module("forms.late").WHO

def imported_by_function():
    return im("forms.deep.leaf").WHO

def imported_relatively():
    return importlib.import_module(".late", __package__).WHO

def imported_relatively_by_name():
    import forms.late
    found = importlib.import_module(".late", "forms")
    return found.WHO if found is forms.late else "another module"

def old_names():
    import pickle, sys, types, forms.late
    sys.modules["forms.moved"] = forms.late
    sys.modules["forms.made"] = made = types.ModuleType("forms.made")
    made.Point = Point
    from forms.made import Point as first
    from forms.moved import WHO
    return WHO if first is pickle.loads(b"cforms.made\\nPoint\\n.") is Point else "another class"

def listed():
    import pkgutil
    return VERSION if "forms" in {{module.name for module in pkgutil.iter_modules()}} else "not listed"

def patched():
    from unittest import mock
    with mock.patch("forms.late.WHO", "patched"):
        inside = plain()
    return plain() if inside == "patched" else inside

def package_data():
    from importlib import resources
    return resources.files("forms").joinpath("data.txt").read_text()

def private_package_data():
    import pkgutil
    return pkgutil.get_data(__name__, "data.txt").decode()

def walked():
    import pkgutil
    names = {{module.name for module in pkgutil.walk_packages(__path__, "forms.")}}
    return VERSION if {{"forms.deep", "forms.deep.leaf", "forms.late", "forms.nodes"}} <= names else names

def found():
    known, unknown = (importlib.util.find_spec(name) for name in ("forms.late", "forms.never"))
    return VERSION if known and unknown is None else (known, unknown)

def hinted():
    import typing
    hints = typing.get_type_hints(Point)
    return VERSION if hints["nearest"] == Point | None else hints

def pickled():
    import pickle
    things = Point(1), Colour.RED, Pair(1, 2), Point, early.back
    for load, dump in ((pickle.loads, pickle.dumps), (pickle._loads, pickle._dumps)):
        if load(dump(things)) != things:
            return "not the same"
    return VERSION

def unpickled_by_public_name():
    import pickle
    return VERSION if pickle.loads(b"cforms\\nPoint\\n.") is Point else "another version's class"

def reloaded():
    import forms.late
    return importlib.reload(forms.late).WHO

def source():
    import inspect
    return VERSION if "def source():" in inspect.getsource(source) else "no source"

def circular():
    import forms.early
    return forms.early.back()

def logged():
    import logging
    logging.getLogger(__name__).info("from %s", VERSION)
    return VERSION

def absent():
    try:
        import forms.never
    except ModuleNotFoundError:
        return VERSION
"""

MODELS = """
from __future__ import annotations
from pydantic import BaseModel

class Outer(BaseModel):
    inner: Inner

class Inner(BaseModel):
    x: int

    def who(self):
        from forms.late import WHO
        return WHO
"""

AGAIN = """
import importlib, os, sys
here = sys.modules.pop(__name__)
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "native"))
NATIVE = importlib.import_module(__name__).WHO
del sys.path[0]
sys.modules[__name__] = here
WHO = "host"
"""

NAMES = [line.removeprefix("def ").partition("(")[0] for line in FORMS.splitlines() if line.startswith("def ")]


def files(version: str) -> Files:
    """Return a package that imports itself in every form."""
    who = f"WHO = {version!r}\n"
    return {
        "forms/__init__.py": FORMS.format(version=version),
        "forms/early.py": "import forms\n\ndef back():\n    return forms.VERSION\n",
        "forms/late.py": who,
        "forms/deep/__init__.py": "from forms.deep import leaf\n",
        "forms/deep/leaf.py": who,
        "forms/data.txt": version,
        "forms/space/inner.py": who,
        "forms/lazy.py": "def __getattr__(name):\n    import importlib\n"
        "    return getattr(importlib.import_module('forms.late'), name)\n",
        "forms/models.py": MODELS,
        "pyproject.toml": '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
        '[project]\nname = "forms"\nversion = "1"\n[tool.uv.build-backend]\nmodule-root = ""\n',
    }


@pytest.fixture(scope="module")
def projects(
    tmp_path_factory: pytest.TempPathFactory,
    write_files: Callable[[Path, Files], Path],
    node_source: Callable[..., str],
) -> Path:
    """Return a folder with the projects of two versions of `forms`, and the cache that they are installed into once."""
    folder = tmp_path_factory.mktemp("forms")
    for version in "12":
        extra = {"forms/nodes.py": node_source("Forms", version) + "\nimport forms\nForms.package = forms\n"}
        write_files(folder / f"version{version}", files(version) | extra)
    return folder


@pytest.fixture
def two(projects: Path) -> Iterator[tuple[NodeRegistry, NodeRegistry]]:
    """Return two registries, each with another version of the plugin `forms`."""
    NodeRegistry.set_cache_dir(projects / "plugin cache")
    registries = (NodeRegistry(discover=False), NodeRegistry(discover=False))
    for registry, version in zip(registries, "12", strict=True):
        config = {"path": str(projects / f"version{version}"), "provides": ["forms.nodes.Forms"]}
        registry.load_plugin("forms", config)
    yield registries
    for registry in registries:
        registry.close()
    gc.collect()
    for name in [name for name in sys.modules if name.partition(".")[0] == "forms"]:
        del sys.modules[name]


def package(registry: NodeRegistry) -> Any:
    """Return the plugin's package in a registry."""
    return registry.get("Forms").package  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", NAMES)
def test_an_import_means_the_version_whose_code_asks(two: tuple[NodeRegistry, NodeRegistry], form: str) -> None:
    """In turns, and again after the other version has imported the same name."""
    for registry, version in [*zip(two, "12", strict=True)] * 2:
        assert getattr(package(registry), form)() == version


def test_imports_at_the_top_are_scoped_too(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Aliases, relative imports and submodule attributes are the version's own."""
    for registry, version in zip(two, "12", strict=True):
        forms = package(registry)
        assert (forms.RELATIVE, forms.leaf.WHO, forms.aliased.back()) == (version, version, version)


@pytest.mark.parametrize("form", [name for name in NAMES if name not in {"patched", "reloaded"}])
def test_an_import_in_threads_means_the_version_whose_code_asks(
    two: tuple[NodeRegistry, NodeRegistry], form: str
) -> None:
    """Every form, in two threads that each use another version."""
    answers: dict[str, set[object]] = {}

    def work(registry: NodeRegistry, version: str) -> None:
        answers[version] = {getattr(package(registry), form)() for _ in range(20)}

    threads = [threading.Thread(target=work, args=each) for each in zip(two, "12", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"1": {"1"}, "2": {"2"}}


def test_threads_do_not_mix_versions(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Both versions import and unpickle by public name at the same time."""
    wrong: list[object] = []

    def work(registry: NodeRegistry, version: str) -> None:
        forms = package(registry)
        for _ in range(300):
            for form in ("plain", "imported_by_name", "unpickled_by_public_name", "package_data"):
                answer = getattr(forms, form)()
                if answer != version:
                    wrong.append((form, version, answer))

    threads = [threading.Thread(target=work, args=each) for each in zip(two, "12", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_host_does_not_see_a_plugins_modules(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Before and after plugin code asked for the public name."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("forms.late")
    package(two[0]).package_data()
    for name in ("forms", "forms.late"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_the_hosts_own_module_of_that_name_stays_its_own(
    two: tuple[NodeRegistry, NodeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's `forms.py` is what the script imports, whatever plugins are loaded."""
    (tmp_path / "script").mkdir()
    (tmp_path / "script/forms.py").write_text("WHO = 'host'")
    monkeypatch.syspath_prepend(str(tmp_path / "script"))
    package(two[0]).package_data()
    forms = importlib.import_module("forms")
    assert forms.WHO == "host"
    assert package(two[1]).plain() == "2"
    two[0].close()
    two[1].close()
    assert forms.WHO == "host"


def test_a_module_of_the_host_is_reloaded_beside_a_plugins(
    two: tuple[NodeRegistry, NodeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a notebook imported while a plugin has that name runs again, and the plugin's stays."""
    (tmp_path / "forms.py").write_text("WHO, TIMES = 'host', globals().get('TIMES', 0) + 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    forms: Any = importlib.import_module("forms")
    assert (forms.WHO, forms.TIMES) == ("host", 1)
    again = importlib.reload(forms)
    assert (again.WHO, forms.TIMES, importlib.reload(again).TIMES) == ("host", 2, 3)
    assert forms.__loader__.get_filename() == str(tmp_path / "forms.py")
    assert package(two[0]).plain() == "1"


def test_a_module_of_the_host_that_imports_itself_again_stays_what_it_made_of_itself(
    two: tuple[NodeRegistry, NodeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenCV does to reach its compiled half: what it found by that is not what the name means in the end."""
    (tmp_path / "native").mkdir()
    (tmp_path / "native/forms.py").write_text("WHO = 'native'")
    (tmp_path / "forms.py").write_text(AGAIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package(two[0]).plain() == "1"
    forms = importlib.import_module("forms")
    assert (forms.WHO, forms.NATIVE) == ("host", "native")
    assert importlib.import_module("forms").WHO == "host"


@pytest.mark.usefixtures("no_private_modules")
def test_living_objects_keep_working_after_an_unload(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Late imports, package data and pickles included."""
    forms = package(two[0])
    two[0].close()
    assert forms.imported_by_function() == "1"
    assert forms.from_import() == "1"
    assert forms.package_data() == "1"
    assert forms.pickled() == "1"
    assert pickle.loads(pickle.dumps(forms.Point(3))) == forms.Point(3)
    two[1].close()


def test_classes_are_collected_after_the_last_registry_let_go(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Nothing holds a plugin's classes after plain use."""
    gone = weakref.ref(two[0].get("Forms"))
    two[0].get("Forms")()(cube=1)
    two[0].close()
    gc.collect()
    assert gone() is None


def test_what_is_still_alive_is_revived_by_the_next_load(cache: Path, local_plugin: Callable[..., Path]) -> None:
    """The same content is not run a second time while its classes live."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", config)
        first = registry.get("Echo")
        registry.unload_plugin("echo")
        registry.load_plugin("echo", config)
        assert registry.get("Echo") is first


def test_idle_copies_can_be_dropped(cache: Path, local_plugin: Callable[..., Path]) -> None:
    """`clear_package_modules` makes the next load run the code anew; what is loaded stays."""
    from cuvis_ai_core.utils.node_registry import clear_package_modules

    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", config)
        first = registry.get("Echo")
        clear_package_modules(["echo_plugin"])
        with NodeRegistry(discover=False) as other:
            other.load_plugin("echo", config)
            assert other.get("Echo") is registry.get("Echo") is first
        registry.unload_plugin("echo")
        clear_package_modules(["another_plugin"])
        registry.load_plugin("echo", config)
        assert registry.get("Echo") is first
        registry.unload_plugin("echo")
        clear_package_modules(["echo_plugin"])
        registry.load_plugin("echo", config)
        assert registry.get("Echo") is not first


@pytest.mark.usefixtures("same_process")
def test_loading_leaves_the_search_path_alone(cache: Path, local_plugin: Callable[..., Path]) -> None:
    """`sys.path` and the environment are as before; the finder stays for living objects."""
    install_finder()
    with NodeRegistry(discover=False) as registry:
        path = list(sys.path)
        registry.load_plugin("echo", {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]})
        assert sys.path == path


def test_a_public_name_is_an_empty_module_to_everybody_else(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Whoever looks through `sys.modules` meets no error, and no import succeeds that did not before."""
    package(two[0]).package_data()
    known = sys.modules["forms"]
    assert not hasattr(known, "VERSION")
    assert [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    assert "forms" in repr(known)
    assert known.__spec__ is not None
    assert (known.__spec__.name, known.__name__) == ("forms", "forms")
    assert dir(known) == []
    with pytest.warns(UserWarning, match="looks at every module"):
        warnings.warn("unittest's assertWarns looks at every module", UserWarning, stacklevel=1)
    with pytest.raises(AttributeError):
        known.VERSION  # noqa: B018


def test_another_plugin_does_not_find_a_plugins_public_name(
    two: tuple[NodeRegistry, NodeRegistry], local_plugin: Callable[..., Path]
) -> None:
    """`try: import forms except ImportError` takes the way it takes without that plugin."""
    package(two[0]).package_data()
    folder = local_plugin()
    with (folder / "src/echo_plugin/nodes.py").open("a") as file:
        file.write("try:\n    import forms\nexcept ImportError:\n    forms = None\nEcho.forms = forms\n")
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]})
        assert registry.get("Echo").forms is None  # type: ignore[attr-defined]


def test_loggers_have_public_names(two: tuple[NodeRegistry, NodeRegistry], caplog: pytest.LogCaptureFixture) -> None:
    """`logging.getLogger(__name__)` is the logger that people configure."""
    with caplog.at_level("INFO", logger="forms"):
        package(two[0]).logged()
    assert caplog.record_tuples == [("forms", logging.INFO, "from 1")]
    assert "version1" in caplog.records[0].pathname  # which tells two versions apart


def test_looking_through_all_modules_imports_nothing(
    two: tuple[NodeRegistry, NodeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading `__file__` of a public name does not run a file of the host that happens to have that name."""
    (tmp_path / "script").mkdir()
    (tmp_path / "script/forms.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "script"))
    package(two[0]).package_data()
    assert [getattr(module, "__file__", None) for module in list(sys.modules.values())]


def test_twenty_thousand_pickles_by_public_name_in_two_threads(two: tuple[NodeRegistry, NodeRegistry]) -> None:
    """Each thread gets its own version's class every time: C's pickle reads `sys.modules[public]`."""
    wrong: list[int] = []

    def work(registry: NodeRegistry, version: str) -> None:
        forms = package(registry)
        wrong.append(sum(forms.unpickled_by_public_name() != version for _ in range(20_000)))

    threads = [threading.Thread(target=work, args=each) for each in zip(two, "12", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0, 0]


@pytest.mark.slow
def test_a_thousand_rounds_of_loading_leave_nothing(cache: Path, local_plugin: Callable[..., Path]) -> None:
    """Neither modules, nor objects, nor entries of pluggy or the import system pile up."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}

    def rounds(count: int) -> tuple[int, int, int]:
        for _ in range(count):
            with NodeRegistry(discover=False) as registry:
                registry.load_plugin("echo", config)
        gc.collect()
        return len(sys.modules), len(sys.path_importer_cache), len(gc.get_objects())

    modules, caches, objects = rounds(50)
    after = rounds(1000)
    assert after[:2] == (modules, caches)
    assert after[2] - objects < 500


def test_who_names_folders_is_told_of_these_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What plugins brought along, and what stands beside a build of it, is found by who names none."""
    for name in ("live", "beside"):
        info = tmp_path / name / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.setattr(importlib_metadata, "served", lambda _: {str(tmp_path / "live"): ["live"]})
    monkeypatch.setattr(importlib_metadata, "replaced", lambda _: {str(tmp_path / "beside"): ["beside"]})
    assert [each.metadata["Name"] for each in importlib_metadata.find_distributions()] == ["live", "beside"]
    assert list(importlib_metadata.find_distributions(DistributionFinder.Context(path=[str(tmp_path)]))) == []
