"""What a file of torch holds that is no weights: classes, and under which key; and what would grow in memory.

A file that torch refuses is taken apart with stand-ins in the place of every class and function, so that nothing in it
is run.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final, Self

_MOST: Final = 100_000
"""Values that are looked at."""

_MOST_VALUES: Final = 1_000_000
"""Of one entry of a node's state, beside the numbers in arrays."""

_REPEATED: Final = 64 * 1024**2
"""Bytes by which a tensor may be larger than what is stored of it: of one that repeats a number, torch keeps one."""

_LONGEST: Final = 64 * 1024**2
_OLD_PICKLES: Final = 4
"""A file of old versions of torch begins with this many pickles; the last one is the content."""

_OF_TORCH: Final = ("torch", "collections", "_codecs")
_MODULES_OF_TORCH: Final = "torch.nn.modules."
"""Where the classes of whole modules are, which weights have no use for."""


class _StandIn:
    """Stands for an object of any class."""

    told = ""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __new__(cls, *_: object, **__: object) -> Self:
        return super().__new__(cls)

    def __call__(self, *_: object, **__: object) -> Self:
        return self

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, _: object, __: object) -> None:
        pass

    def append(self, _: object) -> None:
        """Take nothing."""

    def extend(self, _: object) -> None:
        """Take nothing."""

    def add(self, _: object) -> None:
        """Take nothing."""


# Python's own, since that of C takes memory on a file's word.
class _Reader(pickle._Unpickler):  # noqa: SLF001
    def find_class(self, module: str, name: str) -> type:
        # In a stand-in the keys would be lost, which are to be named.
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        is_usual = module.partition(".")[0] in _OF_TORCH and not module.startswith(_MODULES_OF_TORCH)
        told = "" if is_usual else f"{module}.{name}"
        return type("StandIn", (_StandIn,), {"told": told})

    def persistent_load(self, _: object) -> None:
        """Leave tensors out."""


def refused_part(path: Path) -> str | None:
    """Return what a file of torch holds beside weights: `os.system at 'state_dict.node.key'`; None if unclear."""
    try:
        for key, value in _walk(_content(path)):
            told = value.__dict__.get("told") if isinstance(value, type) else getattr(type(value), "told", "")
            if told:
                return f"{told} at '{key}'" if key else told
    except Exception:  # noqa: BLE001 - a broken file, which whoever asks has an error for
        return None
    return None


def pickle_protocol(path: Path) -> int:
    """Return the version of pickle that a file of torch is written in; 0 where it does not say."""
    try:
        start = _pickled(path, 2)
    except Exception:  # noqa: BLE001 - a broken file, which whoever asks has an error for
        return 0
    return start[1] if start[:1] == pickle.PROTO else 0


def _pickled(path: Path, most: int) -> bytes:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next(each for each in archive.namelist() if each.endswith("data.pkl"))
            with archive.open(name) as file:
                # What a stranger packed may be without end.
                return file.read(most)
    with path.open("rb") as old:
        return old.read(most)


def _content(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        return _load(BytesIO(_pickled(path, _LONGEST)))
    with path.open("rb") as old:
        found = None
        for _ in range(_OLD_PICKLES):
            found = _load(old)
        return found


def _load(file: IO[bytes]) -> Any:
    return _Reader(file).load()


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield values with their keys, the outer ones first, each once."""
    waiting, seen = [("", content)], set[int]()
    while waiting and len(seen) < _MOST:
        key, value = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield key, value
        parts: Any = value.items() if isinstance(value, Mapping) else ()
        if isinstance(value, list | tuple | set | frozenset):
            parts = enumerate(value)
        waiting += [(f"{key}.{name}" if key else str(name), each) for name, each in parts]


def refuse_packed(path: Path) -> None:
    """Refuse an archive that is larger inside: torch packs nothing.

    Raises:
        ValueError: It is.
        OSError: It cannot be read.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is packed")


def refuse_growth(value: Any) -> None:
    """Refuse what is small in the file and large in memory: lists of the same lists, tensors that repeat one number.

    Raises:
        ValueError: It is such.
    """
    waiting, count = [value], 0
    while waiting:
        each = waiting.pop()
        count += 1
        if count + len(waiting) > _MOST_VALUES:
            raise ValueError(f"it comes to more than {_MOST_VALUES} values beside arrays")
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
        elif _is_strided(each) and each.numel() * each.element_size() > each.untyped_storage().nbytes() + _REPEATED:
            raise ValueError(f"it has {each.numel()} numbers, and the file has fewer")


def _is_strided(value: Any) -> bool:
    return str(getattr(value, "layout", "")) == "torch.strided"
