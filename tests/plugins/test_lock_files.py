"""Locks of the plugin cache: held by one at a time, never beyond the end of who holds them."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from cuvis_ai_core._file_lock import LockFile
from cuvis_ai_core.errors import StoreError
from cuvis_ai_core.plugins.cache.store import Store

HOLD = """
import sys
from pathlib import Path
from cuvis_ai_core._file_lock import LockFile
lock = LockFile(Path(sys.argv[1]))
print(lock.take(wait=True), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a lock is."""
    return tmp_path / "one.lock"


def is_free(path: Path) -> bool:
    """Tell whether somebody else could take a lock."""
    other = LockFile(path)
    taken = other.take(wait=False)
    other.release()
    return taken


def test_a_lock_is_held_by_one_at_a_time(path: Path) -> None:
    """Another object of this process does not get it either, until it is released; releasing twice is fine."""
    lock = LockFile(path)
    assert lock.take(wait=False)
    assert not is_free(path)
    lock.release()
    lock.release()
    assert is_free(path)


def test_a_lock_that_was_released_has_to_be_taken_again(path: Path) -> None:
    """Who had it once is no better than others."""
    lock, other = LockFile(path), LockFile(path)
    assert lock.take(wait=False)
    lock.release()
    assert other.take(wait=False)
    lock.release()
    assert not lock.take(wait=False)
    other.release()
    assert lock.take(wait=False)
    lock.release()


def test_a_child_closes_nothing_that_is_no_lock(path: Path) -> None:
    """The number of a file that was a lock is that of another one later."""
    lock = LockFile(path)
    lock.take(wait=False)
    lock.release()
    handles = [os.open(path, os.O_RDONLY) for _ in range(8)]
    child = os.fork()
    if not child:
        with contextlib.suppress(OSError):
            for each in handles:
                os.fstat(each)
            os._exit(0)
        os._exit(1)
    for each in handles:
        os.close(each)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="where the open files are seen")
def test_a_lock_that_was_released_is_free_whoever_has_its_file_open(path: Path) -> None:
    """A child that is just being made has it, too."""
    lock = LockFile(path)
    lock.take(wait=False)
    opened = next(each for each in Path("/proc/self/fd").iterdir() if each.resolve() == path)
    handle = os.dup(int(opened.name))
    try:
        lock.release()
        assert is_free(path)
    finally:
        os.close(handle)


def test_a_file_system_may_say_in_its_own_way_that_somebody_has_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other refusals are errors."""

    def refuse(number: int) -> None:
        def flock(*_: object) -> None:
            raise OSError(number, "refused")

        monkeypatch.setattr(fcntl, "flock", flock)

    refuse(errno.EACCES)
    assert not LockFile(path).take(wait=False)
    refuse(errno.EIO)
    with pytest.raises(OSError, match="refused"):
        LockFile(path).take(wait=False)


def test_a_killed_process_holds_no_lock(path: Path) -> None:
    """The system lets go of it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            assert not is_free(path)
        finally:
            process.kill()
    assert is_free(path)


FORK = """
import os, sys
from pathlib import Path
from cuvis_ai_core._file_lock import LockFile
lock = LockFile(Path(sys.argv[1]))
lock.take(wait=True)
if not os.fork():
    if sys.argv[2] == "released":
        lock.release()
    print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("what", ["released", "left"])
def test_a_lock_ends_with_its_process_whatever_children_were_forked_off(path: Path, what: str) -> None:
    """A child holds no lock, and cannot release that of its parent."""
    command = [sys.executable, "-c", FORK, str(path), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert not is_free(path)
        finally:
            process.kill()
            process.wait()
        # The child lives: it waits for the end of a pipe whose other end is here.
        assert is_free(path)


def test_who_waited_for_a_file_that_was_removed_takes_the_one_that_is_there(path: Path) -> None:
    """Otherwise two would hold it: one the old file, one the new."""
    first, second = LockFile(path), LockFile(path)
    assert first.take(wait=False)
    waiting = threading.Thread(target=lambda: second.take(wait=True), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    path.unlink()
    first.release()
    waiting.join(60)
    assert not waiting.is_alive()
    assert path.exists()
    assert not is_free(path)
    second.release()


def test_a_link_is_no_lock_file(path: Path, tmp_path: Path) -> None:
    """Nothing is made where it leads."""
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"one\.lock"):
        LockFile(path).take(wait=False)
    assert not (tmp_path / "elsewhere").exists()


def test_programs_that_lock_by_the_library_and_by_the_system_exclude_each_other(path: Path) -> None:
    """An older version of this package may share the cache."""
    lock = LockFile(path)
    assert lock.take(wait=False)
    with pytest.raises(Timeout):
        FileLock(path).acquire(blocking=False)
    lock.release()
    with FileLock(path):
        assert not is_free(path)
    assert is_free(path)


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_gets_those_of_the_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so when a file is to be locked; the library then counts a file itself as the lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    try:
        FileLock(path.with_suffix(".other")).acquire(blocking=False)
    except NotImplementedError:  # of versions that know no other way
        with pytest.raises(OSError, match="its file system has no locks"):
            LockFile(path).take(wait=False)
        return
    lock = LockFile(path)
    assert lock.take(wait=False)
    assert not is_free(path)
    lock.release()
    assert is_free(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_cache_on_a_file_system_without_locks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As a network file system may be mounted: with the folder, what it lacks, and the variable that names another."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError) as caught, Store(tmp_path / "cache").lock("entry"):
        pytest.fail("nobody holds a lock")
    assert f"{tmp_path / 'cache'} cannot be used: its file system has no locks" in caught.value.message
    assert "CUVIS_PLUGINS_DIR=FOLDER" in str(caught.value.hint)
