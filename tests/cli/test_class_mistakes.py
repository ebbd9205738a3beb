"""Slips of the pen in node classes, and habits that harm, each in a few lines of code that nobody runs.

Each is told with the line that has the mark `# here`.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest

from cuvis_ai_core.cli.plugins.check import class_mistakes, import_side_effects
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding, in_order, line_of
from cuvis_ai_core.cli.plugins.check.source_code import Class, Code

BASES = """\
from cuvis_ai_core.node import ArrayNode
from elsewhere import Unknown

class Both(ArrayNode):
    INPUT_SPECS = {"cube": P(f), "w": P(f)}
    def forward(self, cube, w): ...

class Kept(ArrayNode):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
    hparams = {}

"""
PORTS = 'INPUT_SPECS = {"cube": P(f), "w": P(f)}\n'
FORWARD = "def forward(self, cube, w): ...\n"
INIT = "def __init__(self, gain, *, name=None, **kwargs):"
DOCUMENTED = '"""What it computes."""\n'


def code_with(tmp_path: Path, text: str) -> Code:
    """Return the code of a project of one module."""
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    return Code(tmp_path, frozenset({"mine"}))


def class_with(tmp_path: Path, body: str, head: str = "class A(ArrayNode):") -> tuple[Code, Class]:
    """Return a class whose body is given, and the code that it is in."""
    indented = "".join(f"    {line}\n" for line in (DOCUMENTED + body).splitlines())
    code = code_with(tmp_path, f"{BASES}{head}\n{indented}")
    found = code.find("mine.A")
    assert found is not None
    return code, found


def told(found: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Return rule, level and words of what was found, all of it in the marked line."""
    rows = list(found)
    for each in rows:
        assert each.file.read_text(encoding="utf-8").splitlines()[each.line - 1].endswith("# here"), each
    return [(each.rule, each.level, each.said) for each in rows]


@pytest.mark.parametrize(
    ("body", "base", "is_node"),
    [
        (PORTS, "ArrayNode", True),
        ("OUTPUT_SPECS = {}", "ArrayNode", True),
        ("INPUT_SPEC = {}", "ArrayNode", True),
        (FORWARD, "ArrayNode", True),
        ("x = 1", "Both", True),
        ("x = 1", "ArrayNode", False),
        (FORWARD, "Unknown", False),
        (FORWARD, "object", False),
        (f"@abstractmethod\n{FORWARD}", "ArrayNode", False),
        (f"@abc.abstractmethod\n{FORWARD}", "ArrayNode", False),
        (f"@cached\n{FORWARD}", "ArrayNode", True),
    ],
)
def test_which_classes_are_meant_to_be_nodes(tmp_path: Path, body: str, base: str, *, is_node: bool) -> None:
    """Those that derive from a base, have ports or a `forward`, and leave nothing to others."""
    code, found = class_with(tmp_path, body, f"class A({base}):")
    assert class_mistakes.is_node(code, found) == is_node
    found.node.name = "_A"
    assert not class_mistakes.is_node(code, found)


@pytest.mark.parametrize(
    ("body", "head", "rule", "said"),
    [
        ("", "class A:  # here", "no-base", "class A derives from no base of nodes"),
        ("INPUT_SPEC = {}", "class A:  # here", "no-base", "class A derives from no base of nodes"),
        ("", "class A(Unknown):", "", ""),
        ("x = 1\nINPUT_SPEC = {}  # here", "", "specs-name", "class A declares 'INPUT_SPEC', which nobody reads"),
        ("output_specs: dict = {}  # here", "", "specs-name", "class A declares 'output_specs', which nobody reads"),
        ("INPUT_SPEC = {}  # here", "class A(Unknown):", "specs-name", "class A declares 'INPUT_SPEC'"),
        ("INPUT_SPEC = {}  # here\ndef foward(self): ...", "", "specs-name", "class A declares 'INPUT_SPEC'"),
        ("INPUT_SPEC = {}\nINPUT_SPECS = {}", "", "", ""),
        ("INPUT_SPEC = 3\nother = {}\na.INPUT_SPEC = {}", "", "", ""),
        (
            "x = 1\ndef foward(self): ...  # here",
            "",
            "forward-name",
            "class A has no method 'forward', but one 'foward'",
        ),
        ("def foward(self): ...", "class A(Unknown):", "", ""),
        ("def foward(self): ...", "class A(Both):", "", ""),
        ("def compute(self): ...", "", "", ""),
    ],
)
def test_names_that_nobody_reads(tmp_path: Path, body: str, head: str, rule: str, said: str) -> None:
    """Of ports and of `forward`, and the lack of a base; where a base is unknown, it may have them."""
    found = told(class_mistakes.look_at(*class_with(tmp_path, body, head or "class A(ArrayNode):")))
    assert [each[:2] for each in found] == [(rule, ERROR)] * bool(rule)
    assert "".join(each[2] for each in found).startswith(said)


LACKS, SURPLUS = "class A has an input port '{}', which its forward does not take", "class A has no input port '{}'"


@pytest.mark.parametrize(
    ("body", "base", "said"),
    [
        (PORTS + FORWARD, "ArrayNode", ""),
        (PORTS + "def forward(self, cube): ...  # here", "ArrayNode", LACKS.format("w")),
        (PORTS + "def forward(self): ...  # here", "ArrayNode", LACKS.format("cube")),
        (PORTS + "def forward(self, /, cube, *, w=1): ...", "ArrayNode", ""),
        (PORTS + "def forward(self, cube, **more): ...", "ArrayNode", ""),
        (PORTS + "def forward(self, cube, w, x): ...  # here", "ArrayNode", SURPLUS.format("x")),
        (PORTS + "def forward(self, cube, w, x=1): ...", "ArrayNode", ""),
        (PORTS + "def forward(self, cube, w, *, x): ...  # here", "ArrayNode", SURPLUS.format("x")),
        (PORTS + "def forward(self, cube, w, *, x=1): ...", "ArrayNode", ""),
        (PORTS + "def forward(self, x, y, cube, w=1): ...  # here", "ArrayNode", SURPLUS.format("x")),
        (PORTS + "def forward(self, cube, w, context): ...", "ArrayNode", ""),
        (PORTS + "async def forward(self, cube): ...  # here", "ArrayNode", LACKS.format("w")),
        ('INPUT_SPECS = {"w": P(f, optional=True)}\ndef forward(self): ...', "ArrayNode", ""),
        ('INPUT_SPECS = {"w": P(f, **more)}\ndef forward(self): ...', "ArrayNode", ""),
        ('INPUT_SPECS = {"w": P(f, shape=3)}\ndef forward(self): ...  # here', "ArrayNode", LACKS.format("w")),
        ('INPUT_SPECS = {"w": made}\ndef forward(self): ...', "ArrayNode", ""),
        ('INPUT_SPECS = {"w": P(f), **more}\ndef forward(self): ...', "ArrayNode", ""),
        ("INPUT_SPECS = made()\ndef forward(self): ...", "ArrayNode", ""),
        ("INPUT_SPECS = {}\ndef forward(self, cube): ...  # here", "ArrayNode", SURPLUS.format("cube")),
        ("forward = made", "Both", ""),
        ("def forward(self, cube): ...  # here", "Both", LACKS.format("w")),
        ("x = 1", "Both", ""),
    ],
)
def test_ports_are_those_that_forward_takes(tmp_path: Path, body: str, base: str, said: str) -> None:
    """Where both are written down; what is optional need not be taken, and what is made up is not known."""
    found = told(class_mistakes.look_at(*class_with(tmp_path, body, f"class A({base}):")))
    assert [each[:2] for each in found] == [("forward-ports", ERROR)] * bool(said)
    assert "".join(each[2] for each in found).startswith(said)


def test_ports_that_a_base_forgot_are_told_of_the_base(tmp_path: Path) -> None:
    """Whose `forward` it is, where the class adds ports."""
    base = "class Base(ArrayNode):\n    def forward(self, cube): ...  # here\n\n\n"
    _, found = class_with(tmp_path, PORTS, f"{base}class A(Base):")
    code = code_with(tmp_path, found.module.file.read_text(encoding="utf-8"))
    (each,) = class_mistakes.look_at(code, found)
    assert told([each])[0][2] == LACKS.format("w")
    assert each.cure == "Write:\n    def forward(self, cube, w):"


HANDED = "does not hand its hyper-parameter 'gain' to super().__init__"


@pytest.mark.parametrize(
    ("body", "base", "rule"),
    [
        (f"{INIT}\n    super().__init__(gain=gain, name=name, **kwargs)", "ArrayNode", ""),
        (f"{INIT}\n    super().__init__(gain=checked, **kwargs)", "ArrayNode", ""),
        (f"{INIT}\n    super().__init__(name, scale=2 * gain, **kwargs)", "ArrayNode", ""),
        (f"{INIT}\n    super().__init__(name=name, **kwargs)  # here", "ArrayNode", "hyper-parameters"),
        (f"{INIT}\n    super().__init__(name=name, **other)", "ArrayNode", ""),
        (f"{INIT}\n    super().__init__(name=name, **made())", "ArrayNode", ""),
        (f"{INIT}\n    super().__init__(**kwargs)\n    self.hparams['gain'] = 1", "ArrayNode", ""),
        (f"{INIT}\n    super().__init__(**kwargs)", "Kept", ""),
        (f"{INIT}\n    Base.__init__(self, name=name)  # here", "ArrayNode", "hyper-parameters"),
        (f"{INIT}  # here\n    self.gain = gain", "ArrayNode", "super-init"),
        ("def __init__(self, gain, /):\n    super().__init__()  # here", "ArrayNode", "hyper-parameters"),
        ("def __init__(self, *, gain):\n    super().__init__()  # here", "ArrayNode", "hyper-parameters"),
        ("def __init__(self, name, execution_stages):\n    super().__init__()", "ArrayNode", ""),
        ("__init__ = made", "ArrayNode", ""),
    ],
)
def test_hyper_parameters_are_handed_over(tmp_path: Path, body: str, base: str, rule: str) -> None:
    """By name, or in what another one is made of; what is made when it runs cannot be read."""
    found = told(class_mistakes.look_at(*class_with(tmp_path, body, f"class A({base}):")))
    assert [each[:2] for each in found] == [(rule, ERROR)] * bool(rule)
    assert rule != "hyper-parameters" or HANDED in found[0][2]


def test_what_to_write_in_a_constructor(tmp_path: Path) -> None:
    """All that it takes but what pipelines set, and the rest."""
    body = "def __init__(self, a, /, b, name, *, c, execution_stages=None):\n    self.b = b"
    (found,) = class_mistakes.look_at(*class_with(tmp_path, body))
    assert found.cure.startswith("Write:\n        super().__init__(a=a, b=b, c=c, **kwargs)\nwith **kwargs among")


def test_a_class_without_a_docstring_is_told(tmp_path: Path) -> None:
    """As a warning."""
    code = code_with(tmp_path, f"{BASES}class A(Both): ...  # here\n")
    found = code.find("mine.A")
    assert found is not None
    assert [each[:2] for each in told(class_mistakes.look_at(code, found))] == [("docstring", WARNING)]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("args = argparse.ArgumentParser().parse_args()", ERROR),
        ("sys.exit(main())", ERROR),
        ("value = [input() for _ in range(3)]", ERROR),
        ("print(1)", WARNING),
        ("pprint(x)", WARNING),
        ("with context(): print(1)", WARNING),
        ("if __name__ == '__main__': print(1)", ""),
        ("def f(): print(1)", ""),
        ("async def f(): print(1)", ""),
        ("class K: print(1)", ""),
        ("logger.print(1)", ""),
        ("x = exit", ""),
    ],
)
def test_what_an_import_does_beside_defining_names(tmp_path: Path, line: str, level: str) -> None:
    """To end or to hold the program that loads it is an error."""
    module = code_with(tmp_path, f"x = 1\n{line}{'  # here' * bool(level)}\n").module("mine")
    assert module is not None
    found = told(import_side_effects.look_at_module(module))
    assert [each[:2] for each in found] == [("import-effect", level)] * bool(level)


def test_defaults_that_all_nodes_share(tmp_path: Path) -> None:
    """Whichever parameter has one, each with what to write instead."""
    body = (
        "x = []\n"
        "def f(self, a, b=[1, 2], c=(), *, d, e={'k': 1}, g=set(), h={1}, i=[]): ...  # here\n"
        "async def k(self, a={}, /): ...  # here\n"
        "def l(self, a=None): ..."
    )
    _, found = class_with(tmp_path, body)
    rows = list(import_side_effects.look_at_class(found))
    assert [each[1] for each in told(rows)] == [WARNING] * 5
    assert [each.said.partition(":")[0].replace(" as its default", "") for each in rows] == [
        "parameter 'b' of A.f has a list",
        "parameter 'e' of A.f has a dict",
        "parameter 'h' of A.f has a set",
        "parameter 'i' of A.f has a list",
        "parameter 'a' of A.k has a dict",
    ]
    assert [each.cure.partition("Write: ")[2] for each in rows] == [
        "b: Sequence[...] = (1, 2)",
        "e: ... | None = None, and in the body:\nif e is None:\n    e = {'k': 1}",
        "h: ... | None = None, and in the body:\nif h is None:\n    h = {1}",
        "i: ... | None = None, and in the body:\nif i is None:\n    i = []",
        "a: ... | None = None, and in the body:\nif a is None:\n    a = {}",
    ]


def test_findings_are_in_the_order_of_their_places_and_said_once(tmp_path: Path) -> None:
    """What a run says where reading has found an error adds nothing; of a line with a warning it does."""

    def row(rule: str, level: str, file: str, line: int) -> Finding:
        return Finding(rule, level, tmp_path / file, line, f"{rule} {level}", "")

    given = [
        row("b", WARNING, "z.py", 2),
        row("a", ERROR, "z.py", 10),
        row("a", ERROR, "z.py", 10),
        row("b", ERROR, "z.py", 10),
        row("run", ERROR, "z.py", 10),
        row("run", ERROR, "z.py", 2),
        row("run", ERROR, "z.py", 2),
        row("run", ERROR, "a.py", 10),
        row("c", WARNING, "a.py", 10),
    ]
    assert [(each.file.name, each.line, each.said) for each in in_order(given)] == [
        ("a.py", 10, "run error"),
        ("a.py", 10, "c warning"),
        ("z.py", 2, "run error"),
        ("z.py", 2, "b warning"),
        ("z.py", 10, "a error"),
        ("z.py", 10, "b error"),
    ]
    assert given[0].place(tmp_path) == "z.py, line 2"
    assert given[0].place(tmp_path / "other") == f"{tmp_path / 'z.py'}, line 2"


@pytest.mark.parametrize(("marks", "line"), [(("b",), 2), (("z", "c"), 3), (("c", "b"), 3), (("z",), 1), ((), 1)])
def test_the_line_of_a_mark(marks: tuple[str, ...], line: int) -> None:
    """The first that has the first mark that is there; the first of all where none is."""
    assert line_of("a\nb\nc b", *marks) == line
