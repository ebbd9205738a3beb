"""Pip-installed plugins, discovered in a real environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from cuvis_ai_hookspecs import hookimpl
from uv import find_uv_bin

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import (
    DiscoveryError,
    InvalidNodeError,
    NodeNotFoundError,
    NotAllowedError,
    PortError,
)
from cuvis_ai_core.plugins.hooks.discovery import DiscoveredPlugin, discover, load_entry_point, node_path, strict

Files = dict[str, str]

HOOKS = """\
from cuvis_ai_hookspecs import hookimpl

@hookimpl
def cuvis_ai_nodes():
    return ["hooked.nodes.Hooked"]

@hookimpl
def cuvis_ai_config_dirs():
    return ["/configs"]
"""


def entry_points(**points: str) -> str:
    """Return the table of pyproject.toml that declares entry points."""
    lines = "\n".join(f'{name} = "{value}"' for name, value in points.items())
    return f'[project.entry-points."cuvis_ai.nodes"]\n{lines}\n'


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a virtual environment in which this core and a few plugins are installed; return its Python."""
    folder = tmp_path_factory.mktemp("environment")
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder / "venv")], check=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = next((folder / "venv").glob("**/site-packages"))
    # The core and what it needs come from the environment that runs the tests.
    (site / "core.pth").write_text("\n".join([sysconfig.get_path("purelib"), *sys.path]))
    return python


@pytest.fixture
def install(
    environment: Path, tmp_path: Path, write_files: Callable[[Path, Files], Path]
) -> Iterator[Callable[[Files], None]]:
    """Return a function that installs a project into the environment; all are uninstalled in the end."""
    uv = find_uv_bin()
    names: list[str] = []

    def run(files: Files) -> None:
        folder = write_files(tmp_path / f"project{len(names)}", files)
        names.append(files["pyproject.toml"].partition('name = "')[2].partition('"')[0])
        subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--python", str(environment), str(folder)], check=True)

    yield run
    subprocess.run([uv, "pip", "uninstall", "-q", "--python", str(environment), *names], check=True)


@pytest.fixture
def script(environment: Path, pytester: pytest.Pytester) -> Callable[[str], pytest.RunResult]:
    """Return a function that runs a script in the environment."""

    def run(text: str) -> pytest.RunResult:
        path = pytester.makepyfile(script="import sys\nfrom cuvis_ai_core import NodeRegistry\n" + text)
        return pytester.run(environment, path)

    return run


@pytest.fixture
def hooked(project_files: Callable[..., Files]) -> Files:
    """Return a plugin whose entry point is a module with hook implementations."""
    files = project_files("hooked", node="Hooked", extra=entry_points(hooked="hooked.hooks"))
    return {**files, "src/hooked/hooks.py": HOOKS}


def test_a_node_class_is_known_without_an_import(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], project_files: Callable[..., Files]
) -> None:
    """Its entry point's name is the class name; plugin code runs when the class is needed."""
    install(project_files("found", node="Found", extra=entry_points(Found="found.nodes:Found")))
    result = script(
        "registry = NodeRegistry()\n"
        "print(registry.discovered_plugins['Found'])\n"
        "print([node.path for node in registry.nodes() if node.plugin])\n"
        "print('found' in sys.modules)\n"
        "print(registry.get('Found').__module__, registry.plugin_registry['Found'].VERSION)\n"
    )
    result.stdout.fnmatch_lines(
        [
            "DiscoveredPlugin(name='Found', distribution='found', version='1.0.0', value='found.nodes:Found')",
            "['found.nodes.Found']",
            "False",
            "found.nodes 1.0.0",
        ]
    )


def test_configurations_in_its_package_are_found(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], project_files: Callable[..., Files]
) -> None:
    """Without a hook, and without importing anything to find them."""
    files = project_files("found", node="Found", extra=entry_points(Found="found.nodes:Found"))
    files["src/found/nodes.py"] += (
        "\n    def __init__(self, gain=1, **base):\n        super().__init__(gain=gain, **base)\n"
    )
    files["src/found/configs/default.yaml"] = "Found: {gain: 2}\n"
    files["src/found/configs/pipeline/all.yaml"] = "nodes: [{name: first, class_name: Found}]\n"
    install(files)
    result = script(
        "from cuvis_ai_core import Pipeline\nregistry = NodeRegistry()\n"
        "print([each.name for each in registry.config_dirs()], set(registry.config_owners().values()))\n"
        "print('found' in sys.modules)\n"
        "for name in 'all', 'found:all':\n"
        "    print(Pipeline.load(name, node_registry=registry).nodes['first'].hparams)\n"
    )
    assert result.outlines == ["['configs', 'pipeline'] {'found'}", "False", "{'gain': 2}", "{'gain': 2}"]


def test_hook_implementations_are_imported_when_something_asks(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], hooked: Files
) -> None:
    """A listing imports nothing; a class or a configuration directory does."""
    install(hooked)
    result = script(
        "registry = NodeRegistry()\n"
        "registry.nodes(); print('hooked' in sys.modules)\n"
        "print(registry.get('Hooked').__name__, registry.config_dirs())\n"
    )
    result.stdout.fnmatch_lines(["False", "Hooked *'/configs'*"])


def test_one_broken_plugin_does_not_stop_the_others(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    hooked: Files,
) -> None:
    """It is reported with its name, distribution and version."""
    broken = project_files("broken_hooks", version="0.3", extra=entry_points(broken="broken_hooks.nodes"))
    install({**broken, "src/broken_hooks/nodes.py": "raise RuntimeError('sick')"})
    install(hooked)
    result = script(
        "registry = NodeRegistry()\nprint(registry.get('Hooked').__name__)\nprint(registry.failed_plugins['broken'])\n"
    )
    result.stdout.fnmatch_lines(["Hooked", "*'broken' (broken-hooks 0.3) cannot be used: RuntimeError: sick*"])


def test_strict_mode_makes_a_broken_plugin_an_error(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`CUVIS_STRICT_PLUGINS=1`."""
    broken = project_files("broken_class", node="Sick", extra=entry_points(Sick="broken_class.nodes:Sick"))
    install({**broken, "src/broken_class/nodes.py": "raise RuntimeError('sick')"})
    text = "NodeRegistry().get('MinMaxNormalizer'); print('fine')\n"
    script(text).stdout.fnmatch_lines(["fine"])
    monkeypatch.setenv("CUVIS_STRICT_PLUGINS", "1")
    script(text).stderr.fnmatch_lines(["*DiscoveryError: Discovered plugin 'Sick' (broken-class 1.0.0)*"])


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ("block=['hooked']", {}),
        ("discover=False", {}),
        ("", {"CUVIS_BLOCK_PLUGINS": "other,hooked"}),
        ("", {"CUVIS_PLUGIN_DISCOVERY": "0"}),
    ],
)
def test_discovered_plugins_can_be_kept_out(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    hooked: Files,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    variables: dict[str, str],
) -> None:
    """Per registry and by environment variable, one by one or all."""
    install(hooked)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = script(
        f"registry = NodeRegistry({arguments})\n"
        "print(list(registry.discovered_plugins), 'Hooked' in registry.plugin_registry)\n"
        "try:\n    registry.get('Hooked')\nexcept KeyError as error:\n    print('gone', 'hooked' in sys.modules)\n"
    )
    result.stdout.fnmatch_lines(["[[]] False", "gone False"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ("@hookimpl\ndef cuvis_ai_nodes(surprise):\n    return []", "*cuvis_ai_nodes*surprise*"),
        ("@hookimpl\ndef cuvis_ai_nodes():\n    return {'a': 1}", "*hook cuvis_ai_nodes answered*"),
        ("@hookimpl\ndef cuvis_ai_nodes():\n    return [dict]", "*'builtins.dict' is no node class*"),
    ],
)
def test_a_wrong_hook_is_reported_with_plugin_and_hook(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    hooked: Files,
    hooks: str,
    message: str,
) -> None:
    """A wrong signature or result fails that plugin alone."""
    install({**hooked, "src/hooked/hooks.py": f"from cuvis_ai_hookspecs import hookimpl\n\n{hooks}\n"})
    result = script(
        "registry = NodeRegistry()\nprint(registry.get('MinMaxNormalizer').__name__)\n"
        "print(registry.failed_plugins['hooked'])\n"
    )
    result.stdout.fnmatch_lines(["MinMaxNormalizer", message])


def test_a_declared_plugin_takes_the_place_of_the_same_distribution(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    tmp_path: Path,
    write_files: Callable[[Path, Files], Path],
) -> None:
    """Declared wins in that registry; after an unload the discovered one is back."""
    points = entry_points(Found="found.nodes:Found")
    install(project_files("found", node="Found", version="1.0", extra=points))
    folder = write_files(tmp_path / "declared", project_files("found", node="Found", version="2.0", extra=points))
    result = script(
        "registry = NodeRegistry()\n"
        "print(registry.get('Found').VERSION)\n"
        f"registry.load_plugin('found', {{'path': {str(folder)!r}, 'provides': ['found.nodes.Found']}})\n"
        "print(registry.get('Found').VERSION, list(registry.discovered_plugins))\n"
        "registry.unload_plugin('found')\n"
        "print(registry.get('Found').VERSION)\n"
    )
    result.stdout.fnmatch_lines(["1.0", "2.0 [[]]", "1.0"])


def test_plugins_take_part_in_the_order_of_their_names(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the hash seed, and asked in pluggy's order, the last one first: of two readers the same always wins."""
    names = ["delta", "alpha", "echo", "bravo", "charlie"]
    files = project_files("many", extra=entry_points(**{name: f"many.{name}" for name in names}))
    for name in names:
        files[f"src/many/{name}.py"] = (
            "from cuvis_ai_hookspecs import hookimpl\n\n"
            f"@hookimpl\ndef cuvis_ai_config_dirs():\n    return [{name!r}]\n\n"
            f"def reader(path):\n    return {name!r}\n\n"
            "@hookimpl\ndef cuvis_ai_cube_readers():\n    return {'.odd': reader}\n"
        )
    install(files)
    for seed in "123":
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        result = script(
            "registry = NodeRegistry()\n"
            "print(*registry.discovered_plugins)\n"
            "print(*registry.config_dirs(), registry.cube_readers()['.odd'](None))\n"
        )
        result.stdout.fnmatch_lines(["alpha bravo charlie delta echo", "echo delta charlie bravo alpha echo"])


def test_two_distributions_may_use_one_name(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], project_files: Callable[..., Files]
) -> None:
    """Both take part: the short name is ambiguous, the full paths work, and either can be blocked."""
    for package in ("twin_b", "twin_a"):
        install(project_files(package, node="Twin", extra=entry_points(Twin=f"{package}.nodes:Twin")))
    result = script(
        "registry = NodeRegistry()\n"
        "print([(key, each.name, each.distribution) for key, each in registry.discovered_plugins.items()])\n"
        "try:\n    registry.get('Twin')\nexcept KeyError as error:\n    print(type(error).__name__, error)\n"
        "print(registry.get('twin_b.nodes.Twin').__module__)\n"
        "print(NodeRegistry(block=['twin-a']).get('Twin').__module__)\n"
        "print(NodeRegistry(block=['twin-b']).get('Twin').__module__)\n"
    )
    result.stdout.fnmatch_lines(
        [
            "[[]('Twin', 'Twin', 'twin-a'), ('Twin (twin-b)', 'Twin', 'twin-b')]",
            "AmbiguousNodeError *twin_a.nodes.Twin (plugin 'Twin') and twin_b.nodes.Twin (plugin 'Twin (twin-b)')*",
            "twin_b.nodes",
            "twin_b.nodes",
            "twin_a.nodes",
        ]
    )


def test_one_class_of_two_distributions_cannot_be_told_apart_by_its_path(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], project_files: Callable[..., Files]
) -> None:
    """The hint does not advise the full path; two entry points of one distribution may name one class."""
    install(
        project_files("found", node="Found", extra=entry_points(Found="found.nodes:Found", also="found.nodes:Found"))
    )
    text = "try:\n    print(NodeRegistry().get('Found').__module__)\nexcept KeyError as error:\n    print(error)\n"
    script(text).stdout.fnmatch_lines(["found.nodes"])
    install(project_files("copy_cat", extra=entry_points(Found="found.nodes:Found")))
    script(text).stdout.fnmatch_lines(
        ["*ambiguous*", "Unload or block all but one of them, or *registries of their own."]
    )


def test_a_node_class_may_have_an_alias(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], project_files: Callable[..., Files]
) -> None:
    """An entry point with another name contributes its class under the class's own name."""
    install(project_files("found", node="Found", extra=entry_points(my_alias="found.nodes:Found")))
    result = script("registry = NodeRegistry()\nprint(registry.get('Found'), dict(registry.failed_plugins))\n")
    result.stdout.fnmatch_lines(["<class 'found.nodes.Found'> {}"])


def test_an_object_may_have_the_name_of_its_entry_point(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], hooked: Files
) -> None:
    """It is no class for that: its hooks are heard, one of another name with `specname` as well."""
    source = (
        "from cuvis_ai_hookspecs import hookimpl\n\n"
        "class Plugin:\n"
        "    @hookimpl(specname='cuvis_ai_config_dirs')\n    def dirs(self):\n        return ['/mine']\n\n"
        "hooked = Plugin()\n"
    )
    project = hooked["pyproject.toml"].replace("hooked.hooks", "hooked.hooks:hooked")
    install({**hooked, "pyproject.toml": project, "src/hooked/hooks.py": source})
    result = script("registry = NodeRegistry()\nprint(registry.config_dirs(), dict(registry.failed_plugins))\n")
    result.stdout.fnmatch_lines(["[[]*'/mine'*] {}"])


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("empty.thing", "module 'empty.thing'"),
        ("empty.thing:Plain", "class 'empty.thing.Plain'"),
        ("empty.thing:plain", "an object of class 'empty.thing.Plain'"),
    ],
)
def test_an_entry_point_that_contributes_nothing_is_broken(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    value: str,
    what: str,
) -> None:
    """A module, class or object with neither node class nor hook is named in `failed_plugins`."""
    source = "from cuvis_ai_hookspecs import cuvis_ai_nodes, hookimpl\n\nclass Plain:\n    pass\n\nplain = Plain()\n"
    files = project_files("empty", extra=entry_points(nothing=value))
    install({**files, "src/empty/thing.py": source})
    result = script(
        "registry = NodeRegistry()\nregistry.config_dirs()\nerror = registry.failed_plugins['nothing']\n"
        "print(type(error).__name__, error)\n"
    )
    result.stdout.fnmatch_lines([f"DiscoveryError *(empty 1.0.0)*{what} contributes neither a node class nor a hook*"])


def test_strict_mode_does_not_wear_off(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every use raises, and always the error of the first broken plugin by name, class or hooks."""
    points = {"zulu": "sick.zulu", "Alpha": "sick.nodes:Alpha", "mike": "sick.mike"}
    install(project_files("sick", extra=entry_points(**points)))
    monkeypatch.setenv("CUVIS_STRICT_PLUGINS", "1")
    result = script(
        "registry = NodeRegistry()\n"
        "uses = [lambda: registry.get('RXDetector'), lambda: registry.plugin_registry, registry.config_dirs,\n"
        "        registry.cube_readers]\n"
        "for use in uses * 2:\n"
        "    try:\n        use()\n        print('fine')\n"
        "    except ImportError as error:\n        print(type(error).__name__, error.plugin)\n"
        "print(sorted(registry.failed_plugins))\n"
    )
    result.stdout.fnmatch_lines(["DiscoveryError Alpha"] * 8 + ["[[]'Alpha', 'mike', 'zulu']"], consecutive=True)


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [("block=['Two-Words']", ""), ("block='TWO.words'", ""), ("block='Found'", ""), ("", "two_words")],
)
def test_distributions_are_blocked_however_their_name_is_spelt(
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    project_files: Callable[..., Files],
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    variable: str,
) -> None:
    """As pip compares them; a single text is one name."""
    install(project_files("two_words", node="Found", extra=entry_points(Found="two_words.nodes:Found")))
    monkeypatch.setenv("CUVIS_BLOCK_PLUGINS", variable)
    script(f"print(dict(NodeRegistry({arguments}).discovered_plugins))\n").stdout.fnmatch_lines(["{}"])


def test_discovered_plugins_do_not_count_as_loaded(
    install: Callable[[Files], None], script: Callable[[str], pytest.RunResult], project_files: Callable[..., Files]
) -> None:
    """An unknown node is answered with the way to load plugins, and with what was discovered."""
    install(project_files("found", node="Found", extra=entry_points(Found="found.nodes:Found")))
    result = script("try:\n    NodeRegistry().get('Nope')\nexcept KeyError as error:\n    print(ascii(str(error)))\n")
    result.stdout.fnmatch_lines(["*Loaded plugins: none. Discovered plugins: Found.*Did you forget to load plugins*"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("no equals sign", "*damaged-1.0.dist-info*"),
        ("Odd = no-path.nodes:Odd", "*'Odd' (damaged 1.0) cannot be used: ModuleNotFoundError*"),
        ("odd = damaged:a:b", "*'odd' (damaged 1.0) cannot be used: ModuleNotFoundError*"),
    ],
)
def test_a_damaged_installation_stops_nobody(
    environment: Path,
    install: Callable[[Files], None],
    script: Callable[[str], pytest.RunResult],
    hooked: Files,
    lines: str,
    message: str,
) -> None:
    """Metadata of the host environment that cannot be read, or names no module, is a warning."""
    install(hooked)
    damaged = next(environment.parents[1].glob("**/site-packages")) / "damaged-1.0.dist-info"
    damaged.mkdir()
    try:
        (damaged / "METADATA").write_text("Name: damaged\nVersion: 1.0\n")
        (damaged / "entry_points.txt").write_text(f"[cuvis_ai.nodes]\n{lines}\n")
        # Other libraries read all metadata too, and give up: no node is imported here.
        result = script("registry = NodeRegistry()\nregistry.nodes()\nprint(registry.config_dirs())\n")
    finally:
        shutil.rmtree(damaged)
    result.stdout.fnmatch_lines(["[[]*'/configs'*"])
    result.stderr.fnmatch_lines([message])


@pytest.mark.slow
def test_the_toolbox_is_discovered(
    environment: Path, script: Callable[[str], pytest.RunResult], tmp_path: Path
) -> None:
    """A real plugin of many nodes, pip-installed, is there with all of them and with its pipeline file."""
    project = tmp_path / "spectral_toolbox"
    shutil.copytree(Path(__file__).parents[2] / "example_plugins" / "spectral_toolbox", project)
    uv = find_uv_bin()
    subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--python", str(environment), str(project)], check=True)
    result = script(
        "import numpy as np\nfrom cuvis_ai_core import Pipeline\nregistry = NodeRegistry()\n"
        "pipeline = Pipeline.load('toolbox', node_registry=registry)\n"
        "cube = np.random.default_rng(1).uniform(size=(1, 8, 6, 11))\n"
        "results = pipeline.forward({'cube': cube, 'wavelengths': np.linspace(400, 900, 11)})\n"
        "print(results['clusters', 'classes'].max(), results['ndvi', 'index'].shape)\n"
        "print(len([node for node in registry.nodes() if node.path.startswith('cuvis_ai_spectral_toolbox.')]))\n"
    )
    subprocess.run(
        [uv, "pip", "uninstall", "-q", "--python", str(environment), "cuvis-ai-spectral-toolbox"], check=True
    )
    assert result.outlines == ["5 (1, 8, 6, 1)", "14"]


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that has this process find a distribution with entry points, and its modules."""

    def describe(name: str, *points: str, **modules: str) -> Path:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[cuvis_ai.nodes]", *points, ""]))
        (info / "RECORD").write_text("".join(f"{module}.py,,\n" for module in modules))
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return describe


def test_what_is_installed_later_is_found(described: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks around names that are blocked, and extras in an entry point, say nothing."""
    described("first", "First = first_nodes:First")
    before = NodeRegistry().discovered_plugins
    described("second", "Second = second_nodes:Second [more]", "small = second_nodes:small")
    after = NodeRegistry().discovered_plugins
    assert "First" in before
    assert "Second" not in before
    assert after["Second"].node_path == "second_nodes.Second"
    assert after["small"].node_path is None
    monkeypatch.setenv("CUVIS_BLOCK_PLUGINS", " First , small ")
    assert not {"First", "small"} & set(NodeRegistry().discovered_plugins)


def test_a_module_that_ends_the_program_is_a_broken_node(described: Callable[..., Path]) -> None:
    """It is no end of the program, and no missing node."""
    described("leaving", leaving_nodes="raise SystemExit(3)\n")

    class Names:
        @hookimpl
        def cuvis_ai_nodes(self) -> list[str]:
            return ["leaving_nodes.Node"]

    registry = NodeRegistry(discover=False)
    registry.register_hooks(Names())
    with pytest.raises(InvalidNodeError, match="could not be imported: SystemExit"):
        registry.get("Node")


def test_a_policy_is_asked_about_the_module_of_an_installed_plugin(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a file names its class by its path, and nobody discovered it."""
    described("alien", "Alien = alien_nodes:Alien", alien_nodes="raise RuntimeError('it was imported')\n")
    tmp_path.chmod(0o700)
    (tmp_path / "policy.yaml").write_text("allow: [{distribution: another}]\n")
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    with pytest.raises(NotAllowedError):
        NodeRegistry.get("alien_nodes.Alien")
    with pytest.raises(NotAllowedError):
        NodeRegistry(discover=False).get("alien_nodes.Alien")


def test_programs_of_the_core_are_no_nodes() -> None:
    """Nobody runs them by naming a class in them."""
    for name in ("cuvis_ai_core.__main__.Node", "cuvis_ai_core.builtin.nowhere.Node"):
        with pytest.raises(NodeNotFoundError):
            NodeRegistry.get(name)
    assert "cuvis_ai_core.__main__" not in sys.modules


# In this process.

Write = Callable[..., None]


@pytest.fixture
def write_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes the metadata of a distribution on the search path, with its entry points."""
    for variable in ("CUVIS_BLOCK_PLUGINS", "CUVIS_PLUGIN_DISCOVERY"):
        monkeypatch.delenv(variable, raising=False)

    def write(name: str, points: str | None, version: str = "1.0") -> None:
        monkeypatch.syspath_prepend(str(tmp_path / name))
        folder = tmp_path / name / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if points is not None:
            (folder / "entry_points.txt").write_text(points)

    return write


def found(*block: str) -> dict[str, tuple[str, str, str | None]]:
    """Return distribution, version and path of what is found by the fixture's distributions."""
    discovered = discover(frozenset(block)).items()
    return {key: (each.distribution, each.version, each.node_path) for key, each in discovered if "cvt" in each.value}


def test_plugins_are_found_by_the_metadata_of_distributions(
    write_metadata: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """In the order of their names; of two of one name, the second has its distribution's too."""
    write_metadata(
        "Cvt_One", "[cuvis_ai.nodes]\nRed = cvt.nodes:Red\nhooks = cvt.hooks\n[others]\nBlue = cvt:Blue\n", "2.5"
    )
    write_metadata("cvt_two", "[cuvis_ai.nodes]\nRed = cvt.more:Red [extra]\n")
    write_metadata("cvt_three", "[console_scripts]\ncvt = cvt:main\n")
    write_metadata("cvt_four", None)
    write_metadata("cvt_bad", "[cuvis_ai.nodes]\nno line of this kind cvt\n")
    assert list(found().items()) == [
        ("Red", ("Cvt_One", "2.5", "cvt.nodes.Red")),
        ("Red (cvt_two)", ("cvt_two", "1.0", "cvt.more.Red")),
        ("hooks", ("Cvt_One", "2.5", None)),
    ]
    write_metadata("cvt_five", "[cuvis_ai.nodes]\nGreen = cvt:Green\n")
    assert list(found()) == ["Green", "Red", "Red (cvt_two)", "hooks"]
    assert "cvt_bad" not in str(found())


@pytest.mark.parametrize(
    ("block", "variable", "left"),
    [
        ((), None, ["Green", "Red"]),
        (("Red",), None, ["Green"]),
        (("red",), None, ["Green", "Red"]),
        (("Cvt.One",), None, ["Green"]),
        ((), "Red", ["Green"]),
        ((), " other , cvt-one ", ["Green"]),
        (("Red",), "cvt_two", []),
    ],
)
def test_a_plugin_is_blocked_by_its_name_or_its_distribution(
    write_metadata: Write,
    monkeypatch: pytest.MonkeyPatch,
    block: tuple[str, ...],
    variable: str | None,
    left: list[str],
) -> None:
    """However the distribution is spelt, by the argument or the variable."""
    write_metadata("cvt_one", "[cuvis_ai.nodes]\nRed = cvt:Red\n")
    write_metadata("cvt_two", "[cuvis_ai.nodes]\nGreen = cvt:Green\n")
    if variable is not None:
        monkeypatch.setenv("CUVIS_BLOCK_PLUGINS", variable)
    assert list(found(*block)) == left


@pytest.mark.parametrize(
    ("value", "is_found", "is_strict"),
    [(None, True, False), ("0", False, False), (" OFF ", False, False), ("1", True, True), (" Yes", True, True)],
)
def test_variables_switch_discovery_off_and_make_it_strict(
    write_metadata: Write, monkeypatch: pytest.MonkeyPatch, value: str | None, *, is_found: bool, is_strict: bool
) -> None:
    """In the words that people use."""
    write_metadata("cvt_one", "[cuvis_ai.nodes]\nRed = cvt:Red\n")
    for variable in ("CUVIS_PLUGIN_DISCOVERY", "CUVIS_STRICT_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert (bool(found()), strict()) == (is_found, is_strict)


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("Red", "cvt.nodes:Red", "cvt.nodes.Red"),
        ("Red", " cvt.nodes : Red [extra, more]", "cvt.nodes.Red"),
        ("Red", "cvt:Colours.Red", "cvt.Colours.Red"),
        ("Red", "cvt:Colours.Green", None),
        ("red", "cvt:red", None),
        ("Red", "cvt", None),
        ("Red", "cvt-nodes:Red", None),
        ("", "cvt:", None),
    ],
)
def test_an_entry_point_names_a_node_by_its_class(name: str, value: str, path: str | None) -> None:
    """A class has a capital letter; an object with hooks may have the name of the entry point, too."""
    assert node_path(name, value) == path


@pytest.mark.parametrize(
    ("value", "loaded"),
    [("os", os), ("os.path : join", os.path.join), ("os:path.join [extra]", os.path.join), ("os [extra]", os)],
)
def test_an_entry_point_is_loaded_as_it_is_written(value: str, loaded: object) -> None:
    """A module, or what is in one, however deep."""
    assert load_entry_point(value, import_module) is loaded


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit("gone"), PortError("no port", hint="a hint")])
def test_an_entry_point_that_cannot_be_loaded_is_told_with_the_way_on(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Also where it ends its program; an interrupt goes through."""

    def fail(_: str) -> None:
        raise error

    plugin = DiscoveredPlugin("Red", "cvt_one", "1.0", "cvt:Red")
    monkeypatch.setattr("cuvis_ai_core.plugins.hooks.discovery.import_for_everybody", fail)
    with pytest.raises(DiscoveryError) as caught:
        plugin.load()
    words = getattr(error, "message", error)
    assert caught.value.message == (
        f"Discovered plugin 'Red' (cvt_one 1.0) cannot be used: {type(error).__name__}: {words}"
    )
    assert "pip uninstall cvt_one" in str(caught.value.hint)
    assert "CUVIS_BLOCK_PLUGINS=Red" in str(caught.value.hint)
    about = (caught.value.plugin, caught.value.distribution, caught.value.version)
    assert about == ("Red", "cvt_one", "1.0")
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        plugin.load()
