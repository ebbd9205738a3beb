"""Slips of the pen in node classes, seen without running them."""

import ast
from collections.abc import Iterator, Mapping
from typing import Final

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding
from cuvis_ai_core.cli.plugins.check.source_code import Class, Code

SIDES: Final = ("INPUT_SPECS", "OUTPUT_SPECS")
_SET_BY_PIPELINES: Final = frozenset({"self", "name", "execution_stages"})
_NEAR: Final = 0.75

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_node(code: Code, found: Class) -> bool:
    """Tell whether a class is meant to be a node of pipelines: public, and derived from a base of nodes."""
    line, rooted = code.lineage(found)
    # Also INPUT_SPEC, which is one of the slips that are looked for.
    declares = any(each.member(side) or each.member(side[:-1]) for each in line for side in SIDES)
    computes = any(each.member("forward") for each in line)
    return bool(rooted) and (declares or computes) and not found.name.startswith("_") and not _is_abstract(found)


def look_at(code: Code, found: Class) -> Iterator[Finding]:
    """Yield what is wrong with one class."""
    line, rooted = code.lineage(found)
    if rooted is False:
        name = found.name
        yield _finding(
            "no-base",
            ERROR,
            found,
            found.node,
            f"class {name} derives from no base of nodes",
            f"from cuvis_ai_core.node import ArrayNode\n\nclass {name}(ArrayNode):  # or Node, for torch",
        )
        return
    misspelt = list(_misspelt(found))
    yield from misspelt
    if rooted is not None and not misspelt:
        yield from _undeclared(found, line)
    yield from _ports(found, line)
    yield from _constructor(found, line)
    if ast.get_docstring(found.node) is None:
        yield _finding(
            "docstring",
            WARNING,
            found,
            found.node,
            f"class {found.name} has no docstring: `cuvis-ai nodes show` tells nobody what it computes",
            f'class {found.name}(...):\n    """Say in one line what it computes."""',
        )


def _misspelt(found: Class) -> Iterator[Finding]:
    for side in SIDES:
        if found.member(side) is not None:
            continue
        for each in found.node.body:
            target = _target(each)
            value = getattr(each, "value", None)
            near = target and nearest(target.upper(), SIDES, cutoff=_NEAR) == side
            if target and target != side and near and target not in SIDES and isinstance(value, ast.Dict):
                yield _finding(
                    "specs-name",
                    ERROR,
                    found,
                    each,
                    f"class {found.name} declares '{target}', which nobody reads: ports are declared in {side}",
                    f"    {side} = {{...}}",
                )


def _undeclared(found: Class, line: list[Class]) -> Iterator[Finding]:
    if not any(each.member("forward") for each in line):
        near = nearest("forward", [each.name for each in found.node.body if isinstance(each, Function)], cutoff=_NEAR)
        if near:
            yield _finding(
                "forward-name",
                ERROR,
                found,
                found.member(near) or found.node,
                f"class {found.name} has no method 'forward', but one '{near}'",
                "    def forward(self, ...):",
            )


def _ports(found: Class, line: list[Class]) -> Iterator[Finding]:
    """Compare the ports with the parameters of `forward`, where both are written down."""
    owner, forward = next(
        ((each, fn) for each in line if isinstance(fn := each.member("forward"), Function)), (None, None)
    )
    specs = next((each.member("INPUT_SPECS") for each in line if each.member("INPUT_SPECS")), None)
    ports = _dict_of(specs)
    if owner is None or forward is None or ports is None or (owner is not found and specs not in found.node.body):
        return  # the class that has them both, or one of them, is told
    arguments = forward.args
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    required = [each.arg for each in positional[: len(positional) - len(arguments.defaults)]] + [
        each.arg for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    ]
    taken = {each.arg for each in (*positional, *arguments.kwonlyargs)}
    write = f"    def forward({', '.join(['self', *ports])}):"
    shown = ", ".join(map(repr, ports)) or "none"
    for name in required:
        if name not in ports and name != "context":
            yield _finding(
                "forward-ports",
                ERROR,
                owner,
                forward,
                f"class {found.name} has no input port '{name}', which its forward takes; its ports are {shown}",
                write,
            )
            return
    if arguments.kwarg is not None:
        return
    for name, value in ports.items():
        # An optional port need not be taken, and `**more` may say that it is one.
        plain = isinstance(value, ast.Call) and not any(each.arg in {"optional", None} for each in value.keywords)
        if name not in taken and plain:
            yield _finding(
                "forward-ports",
                ERROR,
                owner,
                forward,
                f"class {found.name} has an input port '{name}', which its forward does not take",
                write,
            )
            return


def _constructor(found: Class, line: list[Class]) -> Iterator[Finding]:
    init = found.member("__init__")
    if not isinstance(init, Function):
        return
    arguments = init.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = [each.arg for each in every if each.arg not in _SET_BY_PIPELINES]
    calls = [each for each in ast.walk(init) if isinstance(each, ast.Call) and _is_base_init(each.func)]
    handed = ", ".join(f"{name}={name}" for name in names)
    line_to_write = f"        super().__init__({', '.join(filter(None, [handed, '**kwargs']))})"
    if not calls:
        yield _finding(
            "super-init",
            ERROR,
            found,
            init,
            f"class {found.name} has an __init__ that does not call that of its base class",
            f"{line_to_write}\nwith **kwargs among the parameters of __init__, which takes name and stages on",
        )
        return
    mentioned = {each.id for call in calls for each in ast.walk(call) if isinstance(each, ast.Name)}
    keywords = {each.arg for call in calls for each in call.keywords}
    own = arguments.kwarg.arg if arguments.kwarg else None
    spread = {
        each.value.id
        for call in calls
        for each in call.keywords
        if each.arg is None and isinstance(each.value, ast.Name)
    }
    computed = [
        each for call in calls for each in call.keywords if each.arg is None and not isinstance(each.value, ast.Name)
    ]
    # What is handed over is made when it runs: reading cannot tell.
    if spread - {own} or computed or _sets_hparams(init) or any(each.member("hparams") for each in line):
        return
    for name in names:
        if name not in mentioned and name not in keywords:
            yield _finding(
                "hyper-parameters",
                ERROR,
                found,
                calls[0],
                f"class {found.name} does not hand its hyper-parameter '{name}' to super().__init__: "
                "node.hparams lacks it, and a saved pipeline may lose it",
                line_to_write,
            )


def _finding(rule: str, level: str, found: Class, node: ast.AST, said: str, cure: str) -> Finding:
    return Finding(rule, level, found.module.file, getattr(node, "lineno", 1), said, f"Write:\n{cure}")


def _dict_of(statement: ast.stmt | None) -> Mapping[str, ast.expr] | None:
    value = getattr(statement, "value", None)
    if not isinstance(value, ast.Dict):
        return None
    ports = {
        key.value: each for key, each in zip(value.keys, value.values, strict=True) if isinstance(key, ast.Constant)
    }
    return {str(key): each for key, each in ports.items()} if len(ports) == len(value.keys) else None


def _target(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _is_base_init(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "__init__"


def _sets_hparams(init: Function) -> bool:
    return any(isinstance(each, ast.Attribute) and each.attr == "hparams" for each in ast.walk(init))


def _is_abstract(found: Class) -> bool:
    return any(
        # In any spelling: `abc.abstractmethod` as well.
        "abstractmethod" in ast.dump(each)
        for fn in found.node.body
        if isinstance(fn, Function)
        for each in fn.decorator_list
    )
