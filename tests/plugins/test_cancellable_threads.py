"""What is done at once is heard of in one thread, ended together, and fails as one."""

import threading
from contextvars import ContextVar
from functools import partial

import pytest

from cuvis_ai_core._subprocess import Programs
from cuvis_ai_core.plugins.cancellable_threads import WORKERS, Crew, Meanwhile

_chosen: ContextVar[str] = ContextVar("_chosen", default="nothing")


def test_what_is_expected_is_done_once_and_in_order() -> None:
    """While the next program runs, or in the end; nothing where nothing is expected."""
    done: list[str] = []
    meanwhile = Meanwhile()
    meanwhile()
    meanwhile.expect(partial(done.append, "one"), partial(done.append, "two"))
    meanwhile()
    assert done == ["one", "two"]
    meanwhile.finish()
    meanwhile.expect(partial(done.append, "three"))
    meanwhile.finish()
    assert done == ["one", "two", "three"]


def test_an_error_of_what_is_done_meanwhile_is_raised_in_the_end() -> None:
    """The program that ran has nothing to do with it; what was to come after it is not done."""

    def fail() -> None:
        raise LookupError("gone")

    done: list[str] = []
    meanwhile = Meanwhile()
    meanwhile.expect(fail, partial(done.append, "one"))
    meanwhile()
    assert done == []
    with pytest.raises(LookupError, match="gone"):
        meanwhile.finish()


def test_a_single_task_is_done_by_the_caller() -> None:
    """Several are done at once by others, with the caller's context; without any nothing happens."""
    crew, seen = Crew(), list[tuple[int, str]]()
    _chosen.set("mine")
    crew.run([])
    crew.run([lambda: seen.append((threading.get_ident(), _chosen.get()))])
    assert seen == [(threading.get_ident(), "mine")]
    together = threading.Barrier(WORKERS, timeout=60)

    def meet() -> None:
        together.wait()
        seen.append((threading.get_ident(), _chosen.get()))

    crew.run([meet] * WORKERS)
    assert len({thread for thread, _ in seen}) == 1 + WORKERS
    assert {context for _, context in seen} == {"mine"}


def test_what_is_said_is_said_in_the_thread_of_the_caller() -> None:
    """By whom ever, and all of it before the tasks are over; by the caller itself at once."""
    crew, heard = Crew(), list[tuple[int, int]]()

    def speak(number: int) -> None:
        for _ in range(3):
            crew.say(lambda: heard.append((number, threading.get_ident())))

    crew.run([partial(speak, number) for number in range(WORKERS + 2)])
    assert sorted(heard) == [(number, threading.get_ident()) for number in range(WORKERS + 2) for _ in range(3)]
    speak(99)
    assert [number for number, _ in heard[-3:]] == [99] * 3


def test_a_task_that_raises_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not begun is not begun any more, and programs of those that were are ended."""
    begun: list[int] = []
    ended = threading.Event()
    monkeypatch.setattr(Programs, "end", lambda _: ended.set())

    def wait(number: int) -> None:
        begun.append(number)
        ended.wait(30)

    def fail() -> None:
        raise LookupError("gone")

    crew = Crew()

    def tell() -> None:
        raise KeyboardInterrupt

    tasks = [partial(crew.say, tell), *(partial(wait, number) for number in range(40))]
    with pytest.raises(KeyboardInterrupt):
        crew.run(tasks)
    assert ended.is_set()
    assert len(begun) < 40
    with pytest.raises(LookupError, match="gone"):
        crew.run([fail, *(partial(begun.append, number) for number in range(3))])


def test_a_crew_that_works_for_another_thread_speaks_there() -> None:
    """Whoever runs tasks for it waits for these, and hears nothing."""
    crew, heard = Crew(), list[int]()
    runner = threading.Thread(target=crew.run, args=([lambda: crew.say(lambda: heard.append(1))] * 2,))
    runner.start()
    runner.join(60)
    assert not runner.is_alive()
    assert heard == []
    crew.run([lambda: None] * 2)
    assert heard == [1, 1]
