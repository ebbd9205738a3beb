"""`cuvis-ai plugins new`: the files of a new plugin's project, of templates that lie beside this module."""

import importlib.util
import keyword
import re
import subprocess
import sys
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import click

from cuvis_ai_core.cli.shared.options import GivenText, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.errors import OutputError

KINDS: Final = {
    "array": ("nodes.py", "pipeline.yaml"),
    "torch": ("nodes.py", "pipeline.yaml"),
    "hooks": ("nodes.py", "plugin.py", "pipeline.yaml"),
    "reader": ("nodes.py", "reader.py", "plugin.py"),  # a manifest names one node at least
}
"""Which files of its own each kind of plugin has."""

BACKENDS: Final = {
    "hatchling": (
        '"hatchling>=1.27"',
        "hatchling.build",
        '[tool.hatch.build.targets.wheel]\npackages = ["src/$package"]\n',
    ),
    "setuptools": (
        # 77 is the first that reads `license = "MIT"` as PEP 639 has it; of hatchling it is 1.27.
        '"setuptools>=77"',
        "setuptools.build_meta",
        '[tool.setuptools.package-data]\n$package = ["configs/*.yaml", "py.typed"]\n',
    ),
    "uv_build": ('"uv_build>=0.9"', "uv_build", '[tool.uv.build-backend]\nmodule-name = "$package"\n'),
}
"""Requirement, module and settings of each build back end."""

_NAME: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|[-_.](?=[A-Za-z0-9]))*")
_SKIP: Final = '\npytest.importorskip("torch", reason="torch is not installed here: pip install -e .")\n'
_NEEDED: Final = {"torch": '"cuvis-ai-core[torch]>=1.0,<2"'}


@click.command("new")
@click.argument("name", type=GivenText())
@click.option(
    "--kind",
    type=click.Choice(sorted(KINDS)),
    default="array",
    show_default=True,
    metavar="KIND",
    help="What it has first: array, torch, hooks or reader.",
)
@click.option(
    "--build-backend",
    type=click.Choice(sorted(BACKENDS)),
    default="hatchling",
    show_default=True,
    metavar="NAME",
    help="What builds it: hatchling, setuptools or uv_build.",
)
@shared_options
def new(name: str, kind: str, build_backend: str) -> None:
    """Make a plugin's project in a new folder NAME: package, node, pipeline file, tests, manifest, Git repository.

    It works at once: its tests pass, and its pipeline runs.
    """
    folder = write_project(Path(name), kind, build_backend)
    say(f"Made {folder}. Next:")
    say(f"  cd {folder}")
    # torch is an extra (decision 3), and its tests are left out where it is missing.
    if kind == "torch" and importlib.util.find_spec("torch") is None:
        say("  pip install -e .   # torch is not installed here, and the tests need it")
    # The core does not bring it, and with the core's wheel alone the next line would fail.
    if importlib.util.find_spec("pytest") is None:
        say("  pip install pytest   # it is not installed here")
    say("  python -m pytest -q")
    say("  cuvis-ai plugins check .")


def write_project(folder: Path, kind: str, backend: str) -> Path:
    """Write a project into a new folder, and return it.

    Args:
        folder: The folder; its name is that of the project.
        kind: One of `KINDS`.
        backend: One of `BACKENDS`.

    Raises:
        OutputError: The name is none, or the folder is there already, or cannot be written.
    """
    package = re.sub(r"[-.]+", "_", folder.name).lower()
    if not _NAME.fullmatch(folder.name) or keyword.iskeyword(package) or package in sys.stdlib_module_names:
        raise OutputError(
            f"'{folder.name or folder}' is no name for a plugin.",
            hint="Begin with a letter, and use letters, digits and '-': cuvis-ai plugins new leaf-index",
        )
    # Found, not imported: what is installed under that name may do anything when it is.
    if importlib.util.find_spec(package) is not None and not folder.exists():
        raise OutputError(
            f"'{folder.name}' is no name for a plugin: a package '{package}' is installed here, and only one of them "
            "could be imported.",
            hint="Choose another name.",
        )
    if folder.exists():
        raise OutputError(f"'{folder}' is there already.", hint="Choose another name, or remove it.")
    names = _names(folder.name, package, kind, backend)
    try:
        for place, content in _files(kind, names).items():
            file = folder / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"'{folder}' cannot be written: {error.strerror or error}.", hint="Choose a folder that may be written."
        ) from error
    # Git may not be installed; the project is whole without a repository.
    with suppress(OSError):
        subprocess.run(["git", "init", "--quiet", str(folder)], check=False, capture_output=True)
    return folder


def _names(name: str, package: str, kind: str, backend: str) -> dict[str, str]:
    words = [word for word in package.split("_") if word not in {"cuvis", "ai"}] or package.split("_")
    class_name = "".join(word[:1].upper() + word[1:] for word in words)
    requirement, module, settings = BACKENDS[backend]
    class_path = f"{package}.nodes.{class_name}"
    has_hooks = "plugin.py" in KINDS[kind]
    return {
        "name": name.lower(),
        "package": package,
        "class_name": class_name,
        "node": "_".join(words),
        "suffix": f".{''.join(words)[:8]}",
        "requirement": requirement,
        "backend": module,
        "settings": Template(settings).substitute(package=package),
        "core": _NEEDED.get(kind, '"cuvis-ai-core>=1.0,<2"'),
        "entry_point": f'{package} = "{package}.plugin"'
        if has_hooks
        else f'{class_name} = "{package}.nodes:{class_name}"',
        "provides": f"[{class_path}]",
        "pytest": "import pytest\n" if kind == "torch" else "",
        "skip": _SKIP if kind == "torch" else "",
        "what": "A reader of cubes, and a node" if kind == "reader" else "A node",
    }


def _files(kind: str, names: dict[str, str]) -> dict[str, str]:
    source = f"src/{names['package']}"
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        "plugins.yaml": "plugins.yaml",
        f"{source}/__init__.py": "init.py",
        f"tests/test_{names['node']}.py": f"test_{kind if kind == 'reader' else 'node'}.py",
    }
    for name in KINDS[kind]:
        template = f"{kind if name in {'nodes.py', 'plugin.py'} else ''}_{name}".lstrip("_")
        if name == "nodes.py" and kind != "torch":
            template = "array_nodes.py"
        place = f"{source}/configs/{names['package']}.yaml" if name == "pipeline.yaml" else f"{source}/{name}"
        places[place] = template
    templates = files(__package__).joinpath("templates")
    written = {
        place: Template(templates.joinpath(f"{template}.txt").read_text(encoding="utf-8")).substitute(names)
        for place, template in places.items()
    }
    return {**written, f"{source}/py.typed": ""}
