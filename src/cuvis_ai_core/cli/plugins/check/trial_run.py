"""What only running a plugin tells: whether it is installed, imported and built, and how long that takes."""

import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core._error_location import definition_of, place_of, words_of
from cuvis_ai_core.cli.plugins.check.class_mistakes import is_node
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding
from cuvis_ai_core.cli.plugins.check.source_code import Class, Code
from cuvis_ai_core.cli.plugins.check.subject import Subject
from cuvis_ai_core.errors import CuvisError

_CIRCLE: Final = "Two modules import each other. Import it in the function that needs it, or move it to a third module."

SLOW: Final = 2.0
"""Seconds that an import may take before it is said; beside numpy and torch, which the host has imported."""

LONGEST: Final = 120.0
"""Seconds after which nobody waits for the import of a library that is measured by itself."""


class Run(NamedTuple):
    """What a run told.

    Attributes:
        findings: What is wrong.
        nodes: Full paths of the nodes that are there.
        seconds: How long the import took; None where it failed.
    """

    findings: list[Finding]
    nodes: list[str]
    seconds: float | None


class _Clock:
    """Measures how long the code of a plugin is imported."""

    def __init__(self) -> None:
        self._begun = 0.0
        self.seconds = 0.0

    @hookimpl
    def cuvis_ai_plugin_state(self, state: str) -> None:
        """Note when the import begins and ends."""
        if state == "importing":
            self._begun = time.perf_counter()
        elif self._begun and not self.seconds:
            self.seconds = time.perf_counter() - self._begun


def run(subject: Subject, wrong: set[str]) -> Run:
    """Load a plugin in a registry of its own, and build its nodes.

    Args:
        subject: The project.
        wrong: Names in `provides` that are known to be wrong.
    """
    from cuvis_ai_core.registry import NodeRegistry

    nodes = provided(subject, wrong)
    if not nodes:
        return Run([_nothing(subject)] if not wrong else [], [], None)
    _import_hosts(subject.code)
    clock = _Clock()
    with NodeRegistry(discover=False) as registry:
        registry.register_hooks(clock)
        try:
            registry.load_plugin(subject.plugin, entry_of(subject, nodes))
        except CuvisError as error:
            return Run([_failed(subject, error)], [], None)
        findings: list[Finding] = []
        found: list[str] = []
        for path in dict.fromkeys([*nodes, *(each.path for each in registry.nodes() if each.plugin == subject.plugin)]):
            begun = time.perf_counter()
            try:
                node_class = registry.get(path)
            except CuvisError as error:
                findings.append(_failed(subject, error))
                continue
            clock.seconds += time.perf_counter() - begun
            found.append(path)
            findings += _built(subject, path, node_class)
    return Run([*findings, *_slow(subject, clock.seconds)], found, clock.seconds)


def provided(subject: Subject, wrong: Collection[str] = ()) -> list[str]:
    """Return the node classes that a manifest names of a project, each once.

    They are those of its own manifest, else those that its entry points name, with all others in its code.
    """
    code = subject.code
    named = [each.path for each in subject.provides if each.path not in wrong]
    points = [each.path.replace(":", ".") for each in subject.entry_points]
    classes = [path for path in points if path.rpartition(".")[2][:1].isupper() and code.find(path) is not None]
    return list(dict.fromkeys(named or [*classes, *_not_among(code, classes)]))


def entry_of(subject: Subject, provides: list[str]) -> dict[str, Any]:
    """Return the manifest entry of a project."""
    source = dict(zip(("repo", "tag"), subject.repo, strict=True)) if subject.repo else {"path": str(subject.folder)}
    below = {"subdirectory": subject.below} if subject.below else {}
    return {**source, **below, "provides": provides}


def _not_among(code: Code, paths: list[str]) -> Iterator[str]:
    """Yield the other nodes: a class that an entry point names through a package is one that is written elsewhere."""
    known = {(found.module.name, found.name) for path in paths if (found := code.find(path))}
    yield from (path for path in node_paths(code) if tuple(path.rsplit(".", 1)) not in known)


def node_paths(code: Code) -> list[str]:
    """Return the full paths of the classes in a project's code that are nodes."""
    return [
        f"{module.name}.{name}"
        for module in code.modules()
        for name, node in module.classes.items()
        if is_node(code, Class(module, node))
    ]


def _built(subject: Subject, path: str, node_class: Any) -> Iterator[Finding]:
    import inspect

    from cuvis_ai_core.node.class_checks import check_class, construct

    try:
        check_class(node_class)
        signature = inspect.signature(node_class)
        if any(
            each.default is each.empty and each.kind not in {each.VAR_KEYWORD, each.VAR_POSITIONAL}
            for each in signature.parameters.values()
        ):
            return  # nobody knows what it takes
        yield from _pickled(subject, path, node_class, construct(node_class))
    except CuvisError as error:
        yield _failed(subject, error, node_class)
    except ValueError:  # it says what it needs
        return
    except Exception as error:
        place = place_of(error, node_class) or definition_of(node_class)
        yield Finding(
            "run",
            WARNING,
            *_place(subject, place),
            f"{path} cannot be built without parameters: {words_of(error)}",
            "If it needs one, give it no default.",
        )


def _pickled(subject: Subject, path: str, node_class: Any, node: object) -> Iterator[Finding]:
    import pickle

    try:
        pickle.dumps(node)
    except CuvisError:
        return  # it says what it needs first
    except Exception as error:
        yield Finding(
            "pickle",
            WARNING,
            *_place(subject, definition_of(node_class)),
            f"{path} cannot be pickled, as joblib, multiprocessing and Ray do to hand it on: {words_of(error)}",
            "Make what cannot be where it is used, in forward, or leave it out in __getstate__.",
        )


def _failed(subject: Subject, error: CuvisError, owner: object = None) -> Finding:
    cause: BaseException | None = error
    place = getattr(error, "place", None)
    while cause is not None and place is None:
        place = getattr(cause, "place", None) or (
            None if isinstance(cause, CuvisError) else place_of(cause, owner or "")
        )
        cause = cause.__cause__
    place = place or next(iter(re.findall(r"\(?([^\s()]+, line \d+)\)?", error.message)), None) or definition_of(owner)
    said = re.sub(r" \([^()]+, line \d+\)", "", error.message)
    cure = error.hint or ""
    if "partially initialized module" in said:
        cure = _CIRCLE
    elif "No module named 'torch'" in said:
        cure = "Install it here: pip install 'cuvis-ai-core[torch]'. Torch is the host's: no plugin brings it."
    return Finding("run", ERROR, *_place(subject, place), said, cure)


def _place(subject: Subject, place: str | None) -> tuple[Path, int]:
    file, _, line = (place or "").rpartition(", line ")
    return (Path(file), int(line)) if file and line.isdigit() else (subject.project_file, 1)


def _nothing(subject: Subject) -> Finding:
    return Finding(
        "no-node",
        ERROR,
        subject.project_file,
        1,
        "no node class is found: a manifest names one at least",
        "Derive one from cuvis_ai_core.node.ArrayNode, and name it: provides: [package.module.TheClass]",
    )


def _import_hosts(code: Code) -> None:
    """Import what the host has for everybody, so that its time is not counted."""
    from importlib import import_module

    needed = {top for module in code.modules() for top, _ in module.needed()}
    for name in ("numpy", "torch", "cuvis_ai_core.node", "cuvis_ai_schemas.pipeline"):
        if name.partition(".")[0] in needed | {"cuvis_ai_core", "cuvis_ai_schemas"}:
            try:
                import_module(name)
            except ImportError:
                continue


def _slow(subject: Subject, seconds: float) -> Iterator[Finding]:
    if seconds > SLOW:
        file, line, what = _slowest(subject)
        yield Finding(
            "import-time",
            WARNING,
            file,
            line,
            f"importing the plugin takes {seconds:.1f} s{what}: each program waits for it",
            "Import inside the function that needs it, and compute nothing at the top of a module.",
        )


def _slowest(subject: Subject) -> tuple[Path, int, str]:
    """Return the import of a library that takes longest, measured in a process of its own each."""
    import subprocess
    import sys

    slow: list[tuple[float, Path, int, str]] = []
    for module in subject.code.modules():
        for top, line in module.needed():
            if Code.is_standard(top) or top in {
                *subject.code.tops,
                "numpy",
                "torch",
                "cuvis_ai_core",
                "cuvis_ai_hookspecs",
            }:
                continue
            # Here it is imported already, and another import of it takes no time.
            code = f"import time; t = time.perf_counter(); import {top}; print(time.perf_counter() - t)"
            command = [sys.executable, "-c", code]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
            except subprocess.TimeoutExpired:
                slow.append((LONGEST, module.file, line, top))
                continue
            if done.returncode == 0:
                slow.append((float(done.stdout.split()[-1]), module.file, line, top))
    if slow and max(slow)[0] > SLOW / 2:
        seconds, file, line, top = max(slow)
        return file, line, f" ('{top}' alone {seconds:.1f} s, in a process of its own)"
    return next((module.file for module in subject.code.modules()), subject.project_file), 1, ""
