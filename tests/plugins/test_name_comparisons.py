"""Comparisons with public module names in code whose modules are private: run, not read."""

from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.name_comparisons import with_private_names

START = "cuvis_ai_core.scoped.x."


def owns(name: str) -> bool:
    """Tell whether a module is private."""
    return name.partition(".")[0] == "pkg"


def answer(expression: str, **more: object) -> object:
    """Return what an expression of a private module is, where `own` has a private name and `other` a public one."""
    code = compile(f"def asked():\n    return {expression}\nfound = [{expression}, asked()]", "pkg/sub.py", "exec")
    own = SimpleNamespace(__name__=f"{START}pkg.sub", __module__=f"{START}pkg.sub", __qualname__="Own")
    other = SimpleNamespace(__name__="other.sub", __module__="other.sub", __qualname__="Other")
    names: dict[str, Any] = {
        "own": own,
        "other": other,
        "__name__": f"{START}pkg.sub",
        "__package__": f"{START}pkg",
        **more,
    }
    exec(with_private_names(code, START, owns), names)
    at_top, within = names["found"]
    assert (at_top == within, type(at_top) is type(within)) == (True, True)
    return at_top


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("own.__module__ == 'pkg.sub'", True),
        ("own.__module__ != 'pkg.sub'", False),
        ("own.__name__ == 'pkg.sub'", True),
        ("'pkg.sub' == own.__name__", True),
        ("'pkg.sub' != own.__module__", False),
        ("__name__ == 'pkg.sub'", True),
        ("'pkg.sub' == __name__", True),
        ("own.__module__ == 'pkg'", False),
        ("own.__module__ == 'other.sub'", False),
        ("other.__module__ == 'pkg.sub'", False),
        ("other.__module__ == 'other.sub'", True),
        ("other.__module__ != 'pkg.sub'", True),
        ("own.__module__ in ('a', 'pkg.sub')", True),
        ("own.__module__ not in ('a', 'pkg.sub')", False),
        ("own.__module__ in {'a', 'pkg.sub'}", True),
        ("own.__module__ in ('a', 'b')", False),
        ("other.__module__ in ('pkg.sub', 'other.sub')", True),
        ("own.__module__.startswith('pkg')", True),
        ("own.__module__.startswith(('a', 'pkg.'))", True),
        ("own.__module__.startswith('sub')", False),
        ("other.__module__.startswith('pkg')", False),
        ("own.__module__ + '.' + own.__qualname__", "pkg.sub.Own"),
        ("own.__module__ + ':' + own.__qualname__", "pkg.sub:Own"),
        ("other.__module__ + '.' + other.__qualname__", "other.sub.Other"),
        ("(own.__module__, 'pkg.sub')", (f"{START}pkg.sub", "pkg.sub")),
        ("own.__qualname__ == 'pkg'", False),
        ("'' == own.__module__", False),
        ("__name__.split('.')[0]", "pkg"),
        ("__name__.split('.', 1)[0]", "pkg"),
        ("__name__.partition('.')[0]", "pkg"),
        ("__package__.split('.')[0]", "pkg"),
        ("[__name__.partition('.')[0] for _ in 'ab']", ["pkg", "pkg"]),
        ("__name__.split('.')[1]", "scoped"),
        ("__name__.split('.')[-1]", "sub"),
        ("__name__.partition('.')", ("cuvis_ai_core", ".", "scoped.x.pkg.sub")),
        ("own.__name__.split('.')[0]", "cuvis_ai_core"),
        ("other.__name__.split('.')[0]", "other"),
    ],
)
def test_a_private_module_is_known_by_both_names(expression: str, found: object) -> None:
    """Whichever way it is compared or joined; others have the name that they have."""
    assert answer(expression) == found


def test_a_constant_with_two_names_is_the_private_one_elsewhere() -> None:
    """As a key, and to who asks for it itself."""
    seen: list[object] = []

    class Asked:
        def __eq__(self, other: object) -> bool:
            seen.append(other)
            return True

        __hash__ = object.__hash__

    answer("holder.__name__ == 'pkg.sub'", holder=SimpleNamespace(__name__=Asked()))
    constant = seen[0]
    assert isinstance(constant, str)
    assert str.__eq__(constant, f"{START}pkg.sub")
    assert hash(constant) == hash(f"{START}pkg.sub")
    assert {f"{START}pkg.sub": 1}[constant] == 1
    number: object = 1
    assert (constant == number, constant != number) == (False, True)


def test_what_compares_nothing_stays_as_it_is() -> None:
    """The very same code; so does what has more constants than an instruction counts."""
    for text in ("x = 'pkg.sub'", "def f(a):\n    return a == 'pkg.sub'", "x = y.__module__ == 'other'"):
        code = compile(text, "pkg/sub.py", "exec")
        assert with_private_names(code, START, owns) is code
    many = "".join(f"x = {number}.5\n" for number in range(300))
    for asked in ("own.__module__ == 'pkg.sub'", "__name__.split('.')[0]"):
        code = compile(f"{many}found = {asked}\n", "pkg/sub.py", "exec")
        assert with_private_names(code, START, owns) is code
    few = "".join(f"x = {number}.5\n" for number in range(200))
    code = compile(f"{few}found = own.__module__ == 'pkg.sub'\n", "pkg/sub.py", "exec")
    names: dict[str, object] = {"own": SimpleNamespace(__module__=f"{START}pkg.sub")}
    exec(with_private_names(code, START, owns), names)
    assert (names["found"], names["x"]) == (True, 199.5)
