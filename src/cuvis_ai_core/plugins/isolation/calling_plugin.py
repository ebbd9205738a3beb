"""Whose code asks: the plugin of the nearest frame on the stack that runs plugin code."""

import opcode
import sys
from importlib.machinery import PathFinder
from types import FrameType
from typing import Any, Final, NamedTuple, cast

from cuvis_ai_core.plugins.isolation.scope import MARK, Scope


class StartedBy(NamedTuple):
    """The plugin whose code started this process.

    Attributes:
        scope: Its modules.
        runs: Whether the main program is the plugin's own (`python -m its_module`): its names come first then.
    """

    scope: Scope
    runs: bool


_PLUGINS: Final = __name__.rpartition(".")[0]

_IMPORT_SYSTEM: Final = frozenset({
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    *(f"{_PLUGINS}.{module}" for module in ("calling_plugin", "finder", "public_module_lookup")),
})  # fmt: skip
"""Modules whose frames stand between an import and the question who asks."""

_CORE: Final = "cuvis_ai_core."

_ALIASES: Final = f"{_PLUGINS}.private_module_lookup"
"""The module that imports on behalf of a plugin what is everybody's."""

_IMPORTING: Final = frozenset({opcode.opmap["IMPORT_NAME"], opcode.opmap["IMPORT_FROM"]})

_STATING: Final = _IMPORTING | {
    # From Python 3.12 on LOAD_METHOD is no instruction of its own, but a form of LOAD_ATTR.
    opcode.opmap[name]
    for name in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR")
    if name in opcode.opmap
}

_CACHE: Final = opcode.opmap["CACHE"]
_INSTRUCTION: Final = 2
"""Bytes of an instruction, and of a cache behind it."""

_WRITTEN_BY_IMPORT: Final = frozenset(
    {"__dict__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"}
)

LENT: Final = "__cuvis_lent__"
"""Among the globals of a library: the scopes that gave it dependencies, by the top-level names of these."""

_started_by: StartedBy | None = None


def process_started_by(scope: Scope, *, runs: bool) -> None:
    """Have a plugin answer where code that is nobody's asks for one of its public names.

    Args:
        scope: Its modules.
        runs: Whether its names come before those of the environment.
    """
    global _started_by  # noqa: PLW0603 - a process is started once
    _started_by = StartedBy(scope, runs)


def nearest_scope() -> Scope | None:
    """Return the scope of the nearest frame that runs plugin code."""
    # Not by `inspect.stack()`: it reads the source of every frame, and this runs at each access to a public name.
    frame = sys._getframe(1)  # the only way to ask who calls
    while frame is not None:
        # By builtins, not by name or file: what `exec` and dataclasses generate has the builtins of the plugin, and no
        # file.
        scope = frame.f_builtins.get(MARK)
        if scope is not None:
            return cast("Scope", scope)
        frame = cast("Any", frame.f_back)
    return None


def asking_scope() -> Scope | None:
    """Return the nearest scope, or in a process that a plugin started that plugin's."""
    return nearest_scope() or (_started_by.scope if _started_by else None)


def answering_scope(public: str, attribute: str | None = None) -> Scope | None:
    """Return the scope that answers for a public module name, where it owns that name.

    Args:
        public: The name.
        attribute: The attribute of the module that is asked for; None where the module is imported.
    """
    scope = None if _means_its_own(attribute) else nearest_scope()
    if scope is None and _started_by is not None:
        top = public.partition(".")[0]
        scope = _started_by.scope if _started_by.runs or not _environment_has(top) else None
    return scope if scope is not None and scope.answers(public) else None


def lending_scope(public: str) -> Scope | None:
    """Return the nearest scope where a public module name is that of a dependency that it has for itself.

    For code that states a name which nobody else has: `torch.utils.tensorboard` imports TensorBoard by itself, and does
    so for the plugin that calls it and has brought it along.
    """
    top, frame = public.partition(".")[0], _asking_frame()
    # Code of this core asks for what is everybody's, and must not keep a plugin.
    if str(frame.f_globals.get("__name__")).startswith(_CORE):
        return None
    # What a library keeps of a plugin's, it keeps for everybody who calls it, in any thread, for as long as itself.
    kept: dict[str, Scope] = frame.f_globals.get(LENT, {})
    scope = nearest_scope()
    if scope is None or top not in scope.lent:
        scope = kept.get(top)
    if scope is None or not scope.answers(public):
        return None
    frame.f_globals.setdefault(LENT, kept).setdefault(top, scope)
    return scope


def _asking_frame() -> FrameType:
    """Return the nearest frame that is none between an import and the question who asks."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _IMPORT_SYSTEM:
        frame = frame.f_back
    return frame


def _means_its_own(attribute: str | None) -> bool:
    """Tell whether code that is no plugin's asks by a statement of its own: `import utils`, `utils.load`.

    A library that states a name means its own, though a plugin may have called it. Whoever is given a name, as
    `importlib.import_module`, `pickle` and `mock.patch` are, asks on behalf of a plugin further up the stack; so does
    who looks at what the import system writes on a module, as `importlib.resources` does.
    """
    frame = _asking_frame()
    if MARK in frame.f_builtins:
        return False
    asking = _IMPORTING if attribute in _WRITTEN_BY_IMPORT else _STATING
    return _instruction(frame) in asking or frame.f_globals.get("__name__") == _ALIASES


def _instruction(frame: FrameType) -> int:
    """Return what a frame does now.

    Python 3.12 calls `__getattribute__` without a call of C once an access was made some times, and then the frame
    stands at the last cache of the instruction.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    while at > 0 and code[at] == _CACHE:
        at -= _INSTRUCTION
    return code[at]


def _environment_has(top: str) -> bool:
    # Not `importlib.util.find_spec`: that asks `sys.meta_path`, so our own finder too, which asks here.
    found = PathFinder.find_spec(top)
    # Any folder of that name on the path is found as a namespace package; such a one has no loader.
    return found is not None and found.loader is not None
