"""Habits that harm: code that runs when a module is imported, and defaults that all nodes share."""

import ast
from collections.abc import Iterator
from typing import Final

from cuvis_ai_core.cli.plugins.check.class_mistakes import Function
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding
from cuvis_ai_core.cli.plugins.check.source_code import Class, Module

_ENDS: Final = frozenset({"exit", "quit", "sys.exit", "os._exit", "input", "breakpoint"})
_CURE: Final = 'Put it into a function, or below:\nif __name__ == "__main__":'


def look_at_module(module: Module) -> Iterator[Finding]:
    """Yield what a module does when it is imported, beside defining names."""
    for each in module.tree.body:
        # Below an `if` stands what is for a script (`__name__`), or for type checkers.
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If | ast.Import):
            continue
        for call in (found for found in ast.walk(each) if isinstance(found, ast.Call)):
            name = ast.unparse(call.func)
            if name.endswith(".parse_args"):
                said = "it reads the command line when it is imported, which is that of the program that loads it"
            elif name in _ENDS:
                said = f"it calls {name}() when it is imported, which ends or stops the program that loads it"
            elif name in {"print", "pprint"}:
                said = f"it calls {name}() when it is imported, in every program that loads it"
            else:
                continue
            level = WARNING if name in {"print", "pprint"} else ERROR
            yield Finding("import-effect", level, module.file, call.lineno, said, _CURE)


def look_at_class(found: Class) -> Iterator[Finding]:
    """Yield defaults of a class's methods that can be changed, and are then changed for all nodes."""
    for method in found.node.body:
        if not isinstance(method, Function):
            continue
        arguments = method.args
        positional = [*arguments.posonlyargs, *arguments.args]
        # The defaults are those of the last parameters (ast.arguments).
        defaults = zip(reversed(positional), reversed(arguments.defaults), strict=False)
        for argument, default in [*defaults, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]:
            if isinstance(default, ast.List | ast.Dict | ast.Set):
                kind = type(default).__name__.lower()
                yield Finding(
                    "shared-default",
                    WARNING,
                    found.module.file,
                    default.lineno,
                    f"parameter '{argument.arg}' of {found.name}.{method.name} has a {kind} as its default: all nodes "
                    "share it, and who changes it changes it for all",
                    _without_sharing(argument.arg, default),
                )


def _without_sharing(name: str, default: ast.List | ast.Dict | ast.Set) -> str:
    if isinstance(default, ast.List) and default.elts:
        return f"Write: {name}: Sequence[...] = {ast.unparse(ast.Tuple(default.elts, ast.Load()))}"
    return (
        f"Write: {name}: ... | None = None, and in the body:\nif {name} is None:\n    {name} = {ast.unparse(default)}"
    )
