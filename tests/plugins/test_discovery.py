"""Pip-installed plugins, discovered in a real environment."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

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
