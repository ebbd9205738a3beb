"""Blocks of memory for processes of one machine: made, used again, copied, mapped, swept; and what clients seal."""

import gc
import mmap
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.shared_memory import dev_shm_blocks, foreign_blocks
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import (
    CLIENT,
    SMALLEST,
    Block,
    Blocks,
    is_available,
    place_of,
    sweep,
)
from cuvis_ai_core.grpc.shared_memory.foreign_blocks import Copies, Foreign
from cuvis_ai_core.grpc.shared_memory.lent_memory import Lending, Lent
from cuvis_ai_core.grpc.shared_memory.memfd import Maps, SealedBlock

pytestmark = pytest.mark.skipif(not is_available(), reason="this machine has no named shared memory")

MIB = 2**20
VALUES = np.arange(2 * MIB, dtype=np.uint64).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in the place of the machine's, which other processes sweep as well."""
    for module in (dev_shm_blocks, foreign_blocks):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_file_stays_open() -> Iterator[None]:
    """Look at the end whether what was opened is closed."""
    before = _open_memory()
    yield
    gc.collect()
    assert _open_memory() <= before


def _open_memory() -> set[tuple[str, str]]:
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add((each.name, str(each.readlink())))
    return {(name, place) for name, place in found if "cuvis-ai" in place}


def _ignore(name: str) -> None:
    """Do nothing when an array is gone."""


def _place(view: memoryview) -> int:
    return place_of(np.frombuffer(view, np.uint8))


def test_a_block_is_for_its_user_alone_and_gone_when_it_is_closed(folder: Path) -> None:
    """It has whole MiB, and holds an array in C order."""
    block = Block(CLIENT, MIB + 1)
    (file,) = folder.iterdir()
    assert (file.name, file.stat().st_size, block.size) == (block.name, 2 * MIB, 2 * MIB)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    block.write(np.arange(6, dtype=">i2").reshape(2, 3).T)
    assert bytes(block.memory[:12]) == np.array([0, 3, 1, 4, 2, 5], "<i2").tobytes()
    block.close()
    assert list(folder.iterdir()) == []


def test_a_block_that_cannot_be_had_leaves_nothing(folder: Path) -> None:
    """No file, and nothing open."""
    with pytest.raises((OSError, OverflowError)):
        Block(CLIENT, 2**62)
    assert list(folder.iterdir()) == []


def test_the_smallest_block_that_fits_is_used_again(folder: Path) -> None:
    """Also one that is just as large; who gives one back that he does not have changes nothing."""
    owned = Blocks(partial(Block, CLIENT), 100 * MIB)
    small, large = owned.take(MIB), owned.take(3 * MIB)
    assert small is not None
    assert large is not None
    assert owned.get(small.name) is small
    for name in (large.name, small.name, "absent"):
        owned.release(name)
    assert owned.get(small.name) is None
    assert [owned.take(MIB), owned.take(3 * MIB)] == [small, large]
    other = owned.put(VALUES[:9])
    assert other is not None
    assert bytes(other.memory[:9]) == bytes(range(9))
    owned.discard(other.name)
    owned.discard("absent")
    assert {each.name for each in folder.iterdir()} == {small.name, large.name}
    owned.release(small.name)
    owned.close()
    assert list(folder.iterdir()) == []
    assert owned.get(large.name) is None
    again = owned.take(MIB)
    assert again is not None
    assert again.name not in {small.name, large.name}
    again.close()


def test_what_is_unused_longest_makes_room(folder: Path) -> None:
    """Only so much of it as is needed; what is in use stays, and what the system has not is no error."""
    owned = Blocks(partial(Block, CLIENT), 4 * MIB)
    first, second, third = (owned.take(MIB) for _ in range(3))
    for each in (second, first):
        assert each is not None
        owned.release(each.name)
    large = owned.take(2 * MIB)
    assert large is not None
    assert {each.name for each in folder.iterdir()} == {each.name for each in (first, third, large) if each is not None}
    assert owned.take(3 * MIB) is None
    owned.close()

    def fail(size: int) -> Block:
        raise OSError(28, f"no room for {size}")

    assert Blocks(fail, 4 * MIB).take(1) is None


def test_a_copy_is_of_the_part_that_was_asked_for(folder: Path) -> None:
    """Its memory is used again when the last array on it is gone: the smallest that fits."""
    block, copies = Block(CLIENT, 2 * MIB), Copies()
    block.write(VALUES)
    part, whole = copies.read(block.name, 3, 5), copies.read(f"/{block.name}", 0, 2 * MIB)
    assert bytes(part) == VALUES[3:8].tobytes()
    assert bytes(whole) == VALUES.tobytes()
    places = _place(part), _place(whole)
    block.memory[3:8] = bytes(5)
    other = copies.read(block.name, 2 * MIB - 4, 4)
    assert bytes(other) == VALUES[-4:].tobytes()
    assert bytes(part) == VALUES[3:8].tobytes()
    del part, whole
    gc.collect()
    others = [mmap.mmap(-1, size) for size in (MIB, 2 * MIB)]  # where memory would lie that was given back
    part, whole = copies.read(block.name, 0, 8), copies.read(block.name, 0, 2 * MIB)
    assert (_place(part), _place(whole)) == places
    more = copies.read(block.name, 16, 8)
    assert bytes(part) == bytes([0, 1, 2, 0, 0, 0, 0, 0])
    assert bytes(more) == bytes(range(16, 24))
    for each in others:
        each.close()
    with pytest.raises(ServiceError, match="is shorter than 2097153 bytes"):
        copies.read(block.name, 1, 2 * MIB)
    assert bytes(copies.read(block.name, 0, 0)) == b""
    block.close()


def test_what_the_system_reads_in_parts_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a block becomes shorter meanwhile, that is said."""
    read, block = os.preadv, Block(CLIENT, MIB)
    block.write(VALUES[:MIB])
    monkeypatch.setattr(os, "preadv", lambda handle, into, offset: read(handle, [into[0][:1000]], offset))
    assert bytes(Copies().read(block.name, 7, 2500)) == VALUES[7:2507].tobytes()

    def shorten(handle: int, into: list[memoryview], offset: int) -> int:
        os.truncate(folder / block.name, 0)
        return read(handle, into, offset)

    monkeypatch.setattr(os, "preadv", shorten)
    with pytest.raises(ServiceError, match="was shortened while it was read"):
        Copies().read(block.name, 0, 10)
    block.close()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "absent"])
def test_what_is_no_block_is_not_opened(folder: Path, kind: str) -> None:
    """Nor does anybody wait for it."""
    make: dict[str, Callable[[Path], Any]] = {
        "link": lambda path: path.symlink_to(__file__),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
        "absent": lambda _: None,
    }
    make[kind](folder / "cuvis-ai-other")
    for read in (lambda: Copies().read("cuvis-ai-other", 0, 1), lambda: Foreign().view("cuvis-ai-other", 1, print)):
        with pytest.raises(ServiceError) as caught:
            read()
        assert caught.value.code == "INVALID_ARGUMENT"


def test_a_foreign_block_stays_mapped_for_its_next_use(folder: Path) -> None:
    """It is only read; when the last array on it is gone, that is told."""
    block, foreign, ended = Block(CLIENT, 1), Foreign(), list[str]()
    block.write(VALUES[:MIB])
    view = foreign.view(block.name, 10, ended.append)
    assert view.tolist() == list(range(10))
    assert not view.flags.writeable
    part = view[3:]
    del view
    assert ended == []
    block.close()
    del part
    assert ended == [block.name]
    assert foreign.view(block.name, 300, ended.append).tolist() == VALUES[:300].tolist()
    foreign.forget()
    with pytest.raises(ServiceError, match="cannot be opened"):
        foreign.view(block.name, 10, ended.append)


@pytest.mark.parametrize(("most", "gone"), [(2**30, 1), (6 * MIB, 2)])
def test_only_so_much_of_others_stays_mapped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, most: int, gone: int
) -> None:
    """Eight blocks, and so many bytes: the longest known go first."""
    monkeypatch.setattr(foreign_blocks, "_MOST_MAPPED", most)
    blocks, foreign = [Block(CLIENT, 1) for _ in range(9)], Foreign()
    for block in blocks:
        foreign.view(block.name, 10, _ignore)
        block.close()
    for block in blocks[gone:]:
        foreign.view(block.name, 10, _ignore)
    with pytest.raises(ServiceError):
        foreign.view(blocks[gone - 1].name, 10, _ignore)


def test_a_foreign_block_that_is_too_short_is_an_error(folder: Path) -> None:
    """Not of this process's memory."""
    (folder / "cuvis-ai-short").write_bytes(b"short")
    with pytest.raises(ServiceError, match="'cuvis-ai-short' cannot be read"):
        Foreign().view("cuvis-ai-short", 100, print)


def test_what_nobody_has_locked_is_swept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No block that is young or in use, no link, and no file of others."""
    block = Block(CLIENT, 1)
    for name in ("cuvis-ai-old", "cuvis-ai-young", "other"):
        (folder / name).touch()
    (folder / "cuvis-ai-link").symlink_to(folder / "other")
    for name in ("cuvis-ai-old", "other", block.name):
        os.utime(folder / name, (time.time() - 11,) * 2)
    assert sweep() == ["cuvis-ai-old"]
    names = {"cuvis-ai-young", "other", "cuvis-ai-link", block.name}
    assert {each.name for each in folder.iterdir()} == names
    block.close()
    monkeypatch.setattr(dev_shm_blocks, "FOLDER", folder / "absent")
    assert sweep() == []


def test_sealed_memory_is_seen_as_it_is_and_not_written() -> None:
    """By parts, up to its end; arrays that lie in it are found there, and told of while somebody has them."""
    block, maps = SealedBlock("one", MIB + 1), Maps()
    block.write(VALUES)
    part = np.frombuffer(maps.read(block.name, 8, 16, "one"), "<f4")
    assert part.tobytes() == VALUES[8:24].tobytes()
    assert not part.flags.writeable
    assert maps.place(part) == (block.name, 8)
    assert maps.place(part[1:]) == (block.name, 12)
    end = np.frombuffer(maps.read(block.name, 2 * MIB - 4, 4, "one"), np.uint8)
    assert maps.place(end) == (block.name, 2 * MIB - 4)
    for elsewhere in (part.copy(), part[::2], part.view(">f4")):
        assert maps.place(elsewhere) is None
    with pytest.raises(ServiceError, match="has 2097152 bytes"):
        maps.read(block.name, 1, 2 * MIB, "one")
    with pytest.raises(ServiceError):
        maps.read(block.name, 0, 1, "another")
    del elsewhere, end
    assert maps.end_call() == [block.name]
    assert maps.place(part) is None
    assert maps.end_call() == []
    maps.read(block.name, 0, 8, "one")
    assert maps.end_call() == []
    assert part.tobytes() == VALUES[8:24].tobytes()
    block.close()


def test_memory_that_has_the_name_of_another_is_the_new_one() -> None:
    """A number of an open file is used again when one is closed."""
    maps, places = Maps(), set()
    for number in range(3):
        block = SealedBlock("one", 1)
        block.write(np.full(4, number, np.uint8))
        assert bytes(maps.read(block.name, 0, 4, "one")) == bytes([number] * 4)
        places.add(block.name)
        block.close()
    assert len(places) == 1
    maps.close()


def test_what_is_lent_is_used_again_when_nobody_reads_it(folder: Path) -> None:
    """Neither while somebody holds an answer that lies in it, nor once the server has told that it is read still."""
    lending = Lending(partial(Block, CLIENT), 4 * MIB)
    with lending.call() as lent:
        first = _put(lent, VALUES[:MIB])
    with lending.call() as lent:
        assert _put(lent, VALUES[1 : MIB + 1]) == first
        answer = lent.view(first, 3, 5)
        assert lent.view("absent", 0, 1) is None
    assert answer is not None
    assert answer.tolist() == [4, 5, 6, 7, 8]
    with lending.call() as lent:
        second = _put(lent, VALUES[:MIB])
    assert second != first
    assert answer.tolist() == [4, 5, 6, 7, 8]
    del answer
    gc.collect()
    with lending.call() as lent:
        assert {_put(lent, VALUES[:MIB]) for _ in range(2)} == {first, second}
        lending.keep(["absent", first])
    with lending.call() as lent:
        assert _put(lent, VALUES[:MIB]) == second
    assert {each.name for each in folder.iterdir()} == {second}
    with suppress(KeyError), lending.call() as lent:
        assert _put(lent, VALUES[:MIB]) == second
        raise KeyError("the call failed")
    with lending.call() as lent:
        third = _put(lent, VALUES)
        fourth = _put(lent, VALUES)
        assert lent.put(VALUES) is None
    assert {each.name for each in folder.iterdir()} == {third, fourth}
    lending.close()
    assert list(folder.iterdir()) == []


def _put(lent: Lent, array: Any) -> str:
    found = lent.put(array)
    assert found is not None
    name, offset = found
    assert offset == 0
    return name


def test_an_array_that_lies_in_memory_to_be_lent_is_lent_as_it_is(folder: Path) -> None:
    """And any other is copied; what is answered of it is a copy, since its owner writes to it."""
    lending = Lending(partial(Block, CLIENT), 16 * MIB)
    assert lending.empty((SMALLEST - 1,), np.uint8) is None
    assert lending.empty((16 * MIB, 2), np.uint8) is None
    array = lending.empty((2, SMALLEST // 4), np.uint16)
    assert array is not None
    assert array.shape == (2, SMALLEST // 4)
    assert array.dtype == np.uint16
    array[:] = np.arange(array.size, dtype=np.uint16).reshape(array.shape)
    with lending.call() as lent:
        name = _put(lent, array)
        assert lent.put(array[1]) == (name, SMALLEST // 2)
        assert lent.put(array[1, -1:]) == (name, SMALLEST - 2)
        for other in (array[:, ::2], array.view(">u2"), array.copy()):
            assert _put(lent, other) != name
        answer = lent.view(name, 2, 4)
        assert answer is not None
        array[:] = 0
        assert answer.view(np.uint16).tolist() == [1, 2]
    del array
    gc.collect()
    with lending.call() as lent:
        assert name in {_put(lent, VALUES[:SMALLEST]) for _ in range(4)}
        assert lent.view(name, 0, 4) is not None
    lending.close()
