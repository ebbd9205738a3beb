"""What the processes that this one starts are told, so that they find its plugins and what these depend on.

Spawned workers unpickle classes by private names and libraries by their own; `python -m` looks for both before any of
our code runs. So an environment variable says which plugins are loaded and who serves which dependency, and a `.pth`
file of this package calls `adopt` at the start of an interpreter that has the variable. All others pay nothing.
"""

import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.target_entry import read_target
from cuvis_ai_core.plugins.dependencies import live_versions
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.isolation.calling_plugin import process_started_by
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.private_names import CALLING_PLUGIN, LIVE_PLUGINS
from cuvis_ai_core.plugins.isolation.scope import Scope, living_scopes, scope_named
from cuvis_ai_core.plugins.private_code import open_code


def adopt() -> None:
    """Make the plugins and dependencies of the parent process importable, for the life of this one."""
    written_by, plugins, served = ast.literal_eval(os.environ[LIVE_PLUGINS])
    # Compiled code of another Python cannot be loaded here.
    if written_by != interpreter():
        return
    for folder, names in served.items():
        if target := read_target(Path(folder)):
            live_versions.serve([each for each in target.needed if each.name in names], target.folder)
    for name, folder, private in plugins:
        if target := read_target(Path(folder)):
            root = target.folder.parents[2]  # see `Store`
            policy_checks.refuse_stored(root, target.title, [*target.code.values(), target.built_from])
            open_code(target, [each for each in target.needed if each.name in private], name)
    install_finder()
    _answer_for_caller(os.environ.get(CALLING_PLUGIN))


def _answer_for_caller(caller: str | None) -> None:
    """Let a plugin's names be found by code that is nobody's, where the plugin started this process."""
    # It alone has what stood before the program: `-m`, `-c`.
    kind, main = _main_program(sys.orig_argv)
    owners = [scope for scope in living_scopes() if kind == "m" and scope.owns(main)]
    scope = scope_named(caller) if caller else None
    if scope is None and len(owners) == 1:
        scope = owners[0]  # started by a way that does not tell, as os.system: nobody else has that module
    if scope is not None:
        process_started_by(scope, runs=_runs(scope, kind, main))


def _runs(scope: Scope, kind: str, main: str) -> bool:
    """Tell whether a program is a plugin's own: its module, a file of its, or code that it wrote."""
    if kind == "c":
        # A worker of multiprocessing belongs to whoever started it, which may be a script of somebody else.
        return "multiprocessing" not in main
    return scope.owns(main) if kind == "m" else scope.holds_file(main)


def _main_program(command: Sequence[str]) -> tuple[str, str]:
    """Return how an interpreter was told its program (`m`, `c`, or nothing for a file), and module, code or file."""
    arguments = iter(command[1:])
    for argument in arguments:
        # The one long option of CPython that takes a value, in a word of its own
        # (https://docs.python.org/3/using/cmdline.html).
        if argument == "--check-hash-based-pycs":
            next(arguments, None)
        elif not argument.startswith("-") or argument == "-":
            return "", argument
        else:
            for position, letter in enumerate(argument[1:], 1):
                if letter in "mc":
                    return letter, argument[position + 1 :] or next(arguments, "")
                # They take the rest of the word or the next one, as `-m` and `-c` do; the program is still to come.
                if letter in "WX":
                    if position == len(argument) - 1:
                        next(arguments, None)
                    break
    return "", ""
