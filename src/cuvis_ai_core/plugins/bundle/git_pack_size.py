"""What a pack of Git objects unpacks to, found out before git is given it.

A pack is Git's own archive, and a tree in it may hold another one many times: a few hundred bytes can stand for more
files than any disk has. Nothing here proves anything, that is git's part.
"""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from cuvis_ai_core.plugins.bundle.member_names import refused
from cuvis_ai_core.plugins.bundle.size_limits import Meter
from cuvis_ai_core.plugins.git.git_command import hash_function

_KINDS: Final = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_MOST_READ: Final = 2**26
"""Bytes of commits, trees and tags in one pack; files are not kept in memory."""

_BLOCK: Final = 2**16
_READ: Final = 2**13
"""Bytes that are read at once: most objects are smaller."""

_SUBMODULE: Final = b"160000"
_FOLDER: Final = b"40000"


class _Unfolded(NamedTuple):
    """What a tree is on disk.

    Attributes:
        files: Number of its files, those below it included.
        size: Their bytes.
        longest: The longest path in it.
    """

    files: int = 0
    size: int = 0
    longest: int = 0


def check_pack(pack: Path, commit: str, meter: Meter) -> None:
    """Refuse a pack that unpacks to too much, or that is none of those that bundles have: all objects are whole.

    Args:
        pack: The pack.
        commit: The commit that is to be checked out of it.
        meter: Counts what comes out of it.

    Raises:
        BundleError: It does.
    """
    _Pack(pack, commit, meter).check()


class _Pack:
    def __init__(self, pack: Path, commit: str, meter: Meter) -> None:
        self._pack = pack
        self._commit = commit
        self._meter = meter
        self._algorithm = hash_function(commit)
        self._texts: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._known: dict[str, _Unfolded] = {}
        self._read = 0

    def check(self) -> None:
        with self._pack.open("rb") as file:
            start = file.read(12)
            # Version 2, the only one that git writes.
            if start[:8] != b"PACK\0\0\0\2":
                raise self._broken()
            number = int.from_bytes(start[8:], "big")
            self._meter.count("", files=number)
            try:
                left = _Input(file)
                for _ in range(number):
                    self._read_object(left)
            except (zlib.error, EOFError) as error:
                raise self._broken() from error
        found = self._unfolded(self._tree_of(self._commit), 1)
        self._meter.count("x" * found.longest, files=found.files)
        self._meter.grow(found.size)

    def _read_object(self, file: "_Input") -> None:
        kind, size = file.kind_and_size()
        # Kinds 6 and 7 are deltas, whose size only git could tell; ours are written with --depth=0.
        if kind not in _KINDS:
            raise self._broken()
        self._meter.grow(size)
        # Names are found, not read: a pack has no names of its objects. Security is git's part (`index-pack`).
        digest = hashlib.new(self._algorithm, b"%s %d\0" % (_KINDS[kind].encode(), size), usedforsecurity=False)
        text = bytearray()
        for data in file.inflated(size):
            digest.update(data)
            if _KINDS[kind] != "blob":
                text += data
                self._read += len(data)
                if self._read > _MOST_READ:
                    raise self._broken()
        name = digest.hexdigest()
        self._sizes[name] = size
        if _KINDS[kind] in {"commit", "tree"}:
            self._texts[name] = bytes(text)

    def _tree_of(self, commit: str) -> str:
        first = self._texts.get(commit, b"").partition(b"\n")[0]
        return first.removeprefix(b"tree ").decode(errors="replace")

    def _unfolded(self, tree: str, depth: int) -> _Unfolded:
        """Return what a tree is on disk; one that is not there is nothing, which git finds out."""
        # Once for each tree: a few that name each other many times stand for billions of files.
        if tree not in self._known:
            self._meter.count("/" * (depth - 1), files=0)
            found = _Unfolded()
            for mode, name, entry in self._entries(self._texts.get(tree, b"")):
                below = _Unfolded(1, self._sizes.get(entry, 0))
                if mode in {_FOLDER, _SUBMODULE}:
                    below = self._unfolded(self._tree_of(entry) if mode == _SUBMODULE else entry, depth + 1)
                longest = max(found.longest, len(name) + 1 + below.longest)
                found = _Unfolded(found.files + below.files, found.size + below.size, longest)
            self._known[tree] = found
        return self._known[tree]

    def _entries(self, tree: bytes) -> Iterator[tuple[bytes, bytes, str]]:
        place, length = 0, hashlib.new(self._algorithm, usedforsecurity=False).digest_size
        while place < len(tree):
            blank, end = tree.find(b" ", place), tree.find(b"\0", place)
            # `find` gives -1 where there is nothing.
            if not place < blank < end or end + length >= len(tree):
                raise self._broken()
            name = tree[end + 1 : end + 1 + length].hex()
            yield tree[place:blank], tree[blank + 1 : end], name
            place = end + 1 + length

    def _broken(self) -> Exception:
        return refused(f"has a pack of Git objects that cannot be used: {self._pack.name}")


class _Input:
    """Reads objects from a pack, whose ends only the decompressor finds."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rest = b""

    def kind_and_size(self) -> tuple[int, int]:
        byte = self._byte()
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80:
            byte = self._byte()
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 60:  # noqa: PLR2004 - no file has so many bytes
                raise EOFError
        return kind, size

    def inflated(self, size: int) -> Iterator[bytes]:
        """Yield the content of an object, block by block; it has to have the size that it says."""
        unpacking, found = zlib.decompressobj(), 0
        while not unpacking.eof:
            packed = unpacking.unconsumed_tail or self._rest or self._file.read(_READ)
            if not unpacking.unconsumed_tail:
                self._rest = b""
            if not packed:
                raise EOFError
            # With a bound for the answer: 16 kB of zeros unpack to 16 MB.
            data = unpacking.decompress(packed, _BLOCK)
            found += len(data)
            # Before all of it is unpacked: the size that is said was counted, what comes beyond it was not.
            if found > size:
                raise EOFError
            yield data
        self._rest = unpacking.unused_data
        if found != size:
            raise EOFError

    def _byte(self) -> int:
        if not self._rest:
            self._rest = self._file.read(_READ)
        if not self._rest:
            raise EOFError
        byte, self._rest = self._rest[0], self._rest[1:]
        return byte
