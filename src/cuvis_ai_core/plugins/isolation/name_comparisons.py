"""Comparisons with public module names, in the code of private modules.

`type(node).__module__ == "gast.gast"` and `module.__name__ in ("dill", "dill._dill")` ask whether something is the
package's own; where that is private, its modules have longer names. In bytecode that is loaded, not in files, such a
constant becomes one that is equal to both names. `cls.__module__ + "." + cls.__qualname__` is the public name, by which
registries (zarr's) find a class, and `__name__.split(".")[0]` the public package, by which code finds its own version,
its logger and its data. A `__module__` that is taken apart is the private one.
"""

import opcode
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from dis import Instruction

_ATTRIBUTES: Final = ("__module__", "__name__")
_LOADS: Final = ("LOAD_ATTR", "LOAD_NAME", "LOAD_GLOBAL")
_OBJECTS: Final = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF")
_JOINTS: Final = (".", ":")
_OWN: Final = ("__name__", "__package__")
_PARTERS: Final = ("split", "partition")
_LOAD_CONST: Final = opcode.opmap["LOAD_CONST"]
_NOP: Final = opcode.opmap["NOP"]
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


class _OwnName:
    """What `__name__` is where code takes it apart: the public name of the module that asks."""

    __slots__ = ("_key", "_start")

    def __init__(self, key: str, start: str) -> None:
        self._key = key
        self._start = start

    def __getattr__(self, method: str) -> object:
        name = sys._getframe(1).f_globals[self._key]
        return getattr(name.removeprefix(self._start) if isinstance(name, str) else name, method)


def with_private_names(code: CodeType, start: str, owns: Callable[[str], bool]) -> CodeType:
    """Return code whose comparisons know private names, and that takes its own public name apart.

    Args:
        code: The code of a private module.
        start: What stands before a public name in a private one.
        owns: Tells whether a public name is private.
    """
    consts = [with_private_names(each, start, owns) if isinstance(each, CodeType) else each for each in code.co_consts]
    changed = any(new is not old for new, old in zip(consts, code.co_consts, strict=True))
    text = bytearray()
    if any(name in code.co_names for name in _PARTERS):
        for begin, end, key in _taken_apart(code):
            if len(consts) <= _LARGEST:
                text = text or bytearray(code.co_code)
                # As many bytes as before: what stood behind the instruction was room for its cache.
                text[begin:end] = bytes((_LOAD_CONST, len(consts))) + bytes((_NOP, 0)) * ((end - begin) // 2 - 1)
                consts.append(_OwnName(key, start))
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


def _taken_apart(code: CodeType) -> Iterator[tuple[int, int, str]]:
    """Return where the name is loaded of which the first part is taken: begin and end of the instruction, and which."""
    import dis

    found = list(dis.get_instructions(code))
    for place, each in enumerate(found[:-1]):
        after = found[place + 1 : place + 9]
        loads = each.opname in _LOADS[1:] and each.argval in _OWN and (each.arg or 0) <= _LARGEST
        if loads and after[0].argval in _PARTERS:
            # What is called, the first of what it returns, and no more in between.
            called = next((at for at, one in enumerate(after) if one.opname == "CALL"), len(after))
            first, subscript = (*after[called + 1 : called + 3], None, None)[:2]
            if first and subscript and first.argval == 0 and _is_subscript(subscript):
                yield each.offset, after[0].offset, each.argval


def _is_subscript(instruction: "Instruction") -> bool:
    # A form of BINARY_OP from Python 3.14 on.
    return instruction.opname == "BINARY_SUBSCR" or instruction.argrepr == "[]"


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
