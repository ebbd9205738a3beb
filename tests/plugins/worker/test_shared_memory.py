"""Which memory is taken for what, kept for the next call, given up, and learned of from the other side."""

import os
import sys

import pytest

from cuvis_ai_core.plugins.worker.shared_memory import (
    SMALLEST,
    HostMemory,
    Segment,
    SegmentPool,
    WorkerMemory,
    fitting,
    new_memory,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no worker is started there")


def test_memory_is_rounded_up_and_told_of_once() -> None:
    """So that arrays of nearly one size use one segment again; names say which side made it."""
    pool = SegmentPool("h")
    try:
        sizes = [pool.make(size).size for size in (1, SMALLEST, SMALLEST + 1, 3 * SMALLEST)]
        assert sizes == [SMALLEST, SMALLEST, 2 * SMALLEST, 3 * SMALLEST]
        new = pool.take_new()
        assert [(name, size) for name, size, _ in new] == list(zip(["h1", "h2", "h3", "h4"], sizes, strict=True))
        assert pool.take_new() == []
        assert pool.sizes(["h1", "h3"]) == 3 * SMALLEST
        pool.drop(["h1", "gone"])
        with pytest.raises(ValueError, match="no segment 'h1'"):
            pool.get("h1")
        assert pool.get("h2").name == "h2"
        for _, _, handle in new:
            os.close(handle)
    finally:
        pool.close()


def test_a_pool_that_is_closed_has_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a handle left of what the other side was not told of, or that could not be made."""
    opened: list[int] = []
    duplicate = os.dup

    def noted(handle: int) -> int:
        opened.append(duplicate(handle))
        return opened[-1]

    monkeypatch.setattr(os, "dup", noted)
    pool = SegmentPool("h")
    pool.make(1)
    assert HostMemory(lambda: None).surplus() == []
    pool.close()
    with pytest.raises(ValueError, match="no segment 'h1'"):
        pool.get("h1")

    def full(handle: int, *_: object) -> None:
        opened.append(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        pool.make(1)
    assert len(opened) == 2
    for handle in opened:
        with pytest.raises(OSError, match=r"[Bb]ad file descriptor"):
            os.fstat(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="asks how many pages there are")
def test_all_of_new_memory_is_there_at_once() -> None:
    """What is only promised, and then missing, ends the process that writes to it."""
    handle = new_memory(3 * SMALLEST)
    try:
        found = os.fstat(handle)
        assert (found.st_size, found.st_blocks * 512 >= 3 * SMALLEST) == (3 * SMALLEST, True)
    finally:
        os.close(handle)


@pytest.mark.parametrize(("told", "handles"), [(2, 1), (1, 2), (1, 0)])
def test_what_is_told_comes_with_its_handles(told: int, handles: int) -> None:
    """One too few would give each later segment the memory of another."""
    pool = SegmentPool("h")
    opened = [new_memory(SMALLEST) for _ in range(handles)]
    try:
        with pytest.raises(ValueError, match="argument"):
            pool.learn([(f"w{number}", SMALLEST) for number in range(told)], opened)
    finally:
        pool.close()
        for handle in opened[told:]:
            os.close(handle)


def test_both_sides_see_one_memory() -> None:
    """What one writes, the other reads."""
    ours, theirs = SegmentPool("h"), SegmentPool("w")
    try:
        made = ours.make(10)
        new = ours.take_new()
        theirs.learn([(name, size) for name, size, _ in new], [handle for _, _, handle in new])
        made.memory[:4] = b"some"
        assert theirs.get("h1").memory[:5] == b"some\0"
        ended: list[str] = []
        lease = theirs.lease("h1", 4, ended.append)
        assert (bytes(lease), ended) == (b"some", [])
        del lease
        assert ended == ["h1"]
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize(("segments", "copied"), [(128, False), (129, True)])
def test_of_many_segments_copies_are_handed_out(segments: int, copied: bool) -> None:  # noqa: FBT001
    """Each in use costs an open file: beyond some number what is copied is free at once."""
    pool, ended = SegmentPool("h"), list[str]()
    try:
        for _ in range(segments):
            pool.make(1)
        lease = pool.lease("h2", 5, ended.append)
        assert len(bytes(lease)) == 5
        assert ended == (["h2"] if copied else [])
        del lease
        assert ended == ["h2"]
    finally:
        pool.close()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory has seals on Linux alone")
def test_memory_that_the_other_side_could_take_away_is_refused() -> None:
    """It would end this process at the next access; the handle is closed all the same."""
    handle = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.ftruncate(handle, SMALLEST)
    with pytest.raises(ValueError, match="taken away"):
        Segment("x", SMALLEST, handle)
    with pytest.raises(OSError, match=r"[Bb]ad file"):
        os.fstat(handle)


@pytest.mark.parametrize(
    ("sizes", "wanted", "found"),
    [
        ([], 1, None),
        ([1, 2, 4], 1, 1),
        ([4, 2], 1, 2),
        ([5], 1, None),
        ([1], 2, None),
        ([8], 4, 8),
        ([9], 4, None),
        ([2, 2], 2, 2),
        ([20, 16], 10, 16),
        ([21], 10, None),
    ],
)
def test_the_smallest_that_is_not_wasteful_is_taken(sizes: list[int], wanted: int, found: int | None) -> None:
    """Up to twice as large, or four of the smallest: a small array would keep all of it."""

    class Sized:
        def __init__(self, size: int) -> None:
            self.size = size * SMALLEST

    chosen = fitting([Sized(size) for size in sizes], wanted * SMALLEST)  # type: ignore[misc]
    assert (chosen and chosen.size // SMALLEST) == found


def test_what_a_call_used_is_there_for_the_next() -> None:
    """What the worker still has, or answered with, is not; it comes back when that is over."""
    called: list[None] = []
    memory = HostMemory(lambda: called.append(None))
    try:
        memory.begin()
        first, second, third = (memory.room(SMALLEST).name for _ in range(3))
        assert (first, second, third) == ("h1", "h2", "h3")
        assert memory.lend() == []
        memory.settle([], [second], [third])
        memory.begin()
        assert memory.room(SMALLEST).name == first
        assert memory.room(SMALLEST).name == "h4"
        memory.settle([], [], [])
        assert not memory.waiting
        memory.ended(second)
        assert (memory.waiting, called) == (True, [None])
        memory.released([third])
        memory.begin()
        assert not memory.waiting
        assert memory.lend() == [first, "h4", third, second]
        assert memory.lend() == []
        memory.settle([first, "h4", third, second], [first], [])
        assert memory.lend() == ["h4", third, second]
    finally:
        memory.close()


def test_what_is_more_than_the_last_call_needed_is_given_up() -> None:
    """As much as it needed is kept, of the oldest; what came back meanwhile counts."""
    memory = HostMemory(lambda: None)
    try:
        memory.begin()
        small, large, other = (memory.room(size * SMALLEST).name for size in (1, 2, 1))
        memory.settle([], [], [])
        assert memory.surplus() == []
        memory.begin()
        assert memory.room(SMALLEST).name == small
        memory.settle([], [], [])
        assert memory.surplus() == [large, small]
        assert memory.surplus() == []
        memory.begin()
        assert memory.lend() == [other]
        with pytest.raises(ValueError, match=f"no segment '{large}'"):
            memory.pool.get(large)
    finally:
        memory.close()


def test_the_worker_fills_what_it_was_lent() -> None:
    """And makes what is missing; it says what it still uses of what came, and what it does not any more of older."""
    ours, memory = SegmentPool("h"), WorkerMemory()
    try:
        for _ in range(2):
            ours.make(SMALLEST)
        new = ours.take_new()
        memory.pool.learn([(name, size) for name, size, _ in new], [handle for _, _, handle in new])
        memory.borrow(["h2"])
        assert [memory.room(SMALLEST).name for _ in range(2)] == ["h2", "w1"]
        memory.leased("h1")
        memory.leased("h2")
        assert memory.report(["h1", "w1"]) == (["h1"], [])
        memory.ended("h1")
        memory.ended("h2")
        assert memory.report(["h1"]) == ([], ["h2"])
        assert memory.report([]) == ([], [])
    finally:
        ours.close()
        memory.pool.close()
