"""Comparisons with public module names, in the code of private modules.

`type(node).__module__ == "gast.gast"` and `module.__name__ in ("dill", "dill._dill")` ask whether something is the
package's own; where that is private, its modules have longer names. In bytecode that is loaded, not in files, such a
constant becomes one that is equal to both names. `cls.__module__ + "." + cls.__qualname__` is the public name, by which
registries (zarr's) find a class. A name that is taken apart first (`.split(".")[0]`) is not found.
"""

from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from dis import Instruction

_ATTRIBUTES: Final = ("__module__", "__name__")
_LOADS: Final = ("LOAD_ATTR", "LOAD_NAME", "LOAD_GLOBAL")
_OBJECTS: Final = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF")
_JOINTS: Final = (".", ":")
_LARGEST: Final = 255
"""The last constant that an instruction names without another one before it."""


class _EitherName(str):
    """A private module name that is equal to the public one too."""

    __slots__ = ("_public",)
    _public: str

    def __new__(cls, private: str, public: str) -> Self:
        made = super().__new__(cls, private)
        made._public = public
        return made

    def __eq__(self, other: object) -> bool:
        return other == self._public or str.__eq__(self, other) is True

    # `str` has a `__ne__` of its own, which would not come by our `__eq__`.
    def __ne__(self, other: object) -> bool:
        return not self == other

    # A class with an `__eq__` loses its hash; the private name's own one keeps dictionaries of modules whole.
    __hash__ = str.__hash__


class _Joint(str):
    """What is put behind the name of a private module, which becomes the public one; behind others, a plain text."""

    __slots__ = ("_start",)
    _start: str

    def __new__(cls, text: str, start: str) -> Self:
        made = super().__new__(cls, text)
        made._start = start
        return made

    # A text is added as a sequence, so that Python asks the right side's `__radd__` before it.
    def __radd__(self, name: object) -> str:
        return name.removeprefix(self._start) + str(self) if isinstance(name, str) else NotImplemented


def with_private_names(code: CodeType, start: str, owns: Callable[[str], bool]) -> CodeType:
    """Return code whose comparisons know private names.

    Args:
        code: The code of a private module.
        start: What stands before a public name in a private one.
        owns: Tells whether a public name is private.
    """
    consts = [with_private_names(each, start, owns) if isinstance(each, CodeType) else each for each in code.co_consts]
    changed = any(new is not old for new, old in zip(consts, code.co_consts, strict=True))
    text = bytearray()
    if any(name in code.co_names for name in _ATTRIBUTES):
        for offset, value in _replaced(code, start, owns):
            if value is not code.co_consts[code.co_code[offset + 1]] and len(consts) <= _LARGEST:
                text = text or bytearray(code.co_code)
                # Only the number of a constant is exchanged: no instruction moves, so that lines, jumps and exception
                # tables hold.
                text[offset + 1] = len(consts)
                consts.append(value)
    if not changed and not text:
        return code
    return code.replace(co_consts=tuple(consts), co_code=bytes(text) or code.co_code)


def _replaced(code: CodeType, start: str, owns: Callable[[str], bool]) -> Iterator[tuple[int, object]]:
    """Return where a constant meets the name of a module, compared or joined, and what it becomes."""
    import dis

    joins = "__module__" in code.co_names
    # Python 3.11 alone has PRECALL, between the arguments of a call and the call.
    found = [each for each in dis.get_instructions(code) if each.opname != "PRECALL"]
    for place, each in enumerate(found):
        before, after = found[max(place - 2, 0) : place], found[place + 1 : place + 4]
        if each.opname != "LOAD_CONST":
            continue
        if _is_compared(before, after):
            begins = before[-1:] and before[-1].argval == "startswith" and isinstance(each.argval, str)
            # `startswith` compares bytes and heeds no `__eq__`; it takes a tuple, which gets both names.
            yield each.offset, _either((each.argval,) if begins else each.argval, start, owns)
        elif joins and each.argval in _JOINTS and after[:1] and after[0].argrepr == "+":
            yield each.offset, _Joint(each.argval, start)


def _is_compared(before: Sequence["Instruction"], after: Sequence["Instruction"]) -> bool:
    last = before[-1] if before else None
    if last is not None and last.argval == "startswith":
        return _is_name(before[0])
    if last is not None and _is_name(last):
        return bool(after) and after[0].opname in {"COMPARE_OP", "CONTAINS_OP"}
    # Turned: the text, what has the name, the name.
    if after and after[0].opname in _OBJECTS and not _is_name(after[0]):
        after = after[1:]
    return len(after) > 1 and _is_name(after[0]) and after[1].opname == "COMPARE_OP"


def _is_name(instruction: "Instruction") -> bool:
    return instruction.opname in _LOADS and instruction.argval in _ATTRIBUTES


def _either(value: object, start: str, owns: Callable[[str], bool]) -> object:
    if isinstance(value, str) and value and owns(value):
        return _EitherName(start + value, value)
    if isinstance(value, tuple | frozenset):
        private = [start + each for each in value if isinstance(each, str) and owns(each)]
        return type(value)((*value, *private)) if private else value
    return value
