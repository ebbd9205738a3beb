"""What keeps one broken plugin from the others: a guard around each hook implementation, put there at registration.

pluggy dispatches, with the order, the wrappers and the monitoring that its users know. One thing only differs: what an
implementation raises ends no call. Its witness is told, and the call goes on as if the implementation were not there.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, NoReturn, TypeAlias, cast

import pluggy

from cuvis_ai_core.errors import HookError
from cuvis_ai_core.plugins.isolation.private_names import without_private_names

logger = logging.getLogger(__name__)

_FAILURES: Final = (Exception, SystemExit)
"""A plugin that calls sys.exit does not end the program; an interrupt does."""

Steps: TypeAlias = Generator[None, Any, Any]


class Heard:
    """What was heard while somebody asked a hook for answers.

    Attributes:
        hook: Name of the hook.
        answered: The answers, each with the name of its plugin, in the order of the calls.
        handed_on: What wrappers made of them, the innermost first.
        failed: Why implementations failed that did.
    """

    def __init__(self, hook: str) -> None:
        self.hook = hook
        self.answered: list[tuple[str, Any]] = []
        self.handed_on: list[tuple[str, object]] = []
        self.failed: list[HookError] = []


def guard(implementation: pluggy.HookImpl, hook: str, heard: Callable[[str], Heard | None]) -> None:
    """Put a guard around a registered implementation.

    Args:
        implementation: The implementation.
        hook: Name of its hook.
        heard: Returns what takes note of answers and failures while somebody asks; else failures are logged.
    """
    guarded = _Guard(implementation, hook, heard)
    call = guarded.wrapper if implementation.wrapper else guarded.plain
    if implementation.hookwrapper:
        call = guarded.old_wrapper
    # pluggy takes functions off the plugin object itself, which users expect to get back: there is no earlier place.
    # HookImpl.function is what pluggy's `_multicall` runs (1.5 to 1.7); HookImpl says nothing of it to be exchanged.
    implementation.function = call  # type: ignore[misc]


class _Guard:
    """The guard around one implementation, in the three forms that pluggy knows."""

    def __init__(self, implementation: pluggy.HookImpl, hook: str, heard: Callable[[str], Heard | None]) -> None:
        self._function: Callable[..., Any] = implementation.function
        self._taken = implementation.argnames
        self._plugin = implementation.plugin_name
        self._hook = hook
        self._heard = heard
        self._logged: set[tuple[str | None, type[BaseException]]] = set()

    def plain(self, *arguments: object, **defaults: object) -> object:
        """Answer, or nothing where the implementation raises."""
        try:
            answer = self._function(*arguments, **defaults)
            # Read here, within the guard.
            if isinstance(answer, Iterator):  # a generator fails only when it is read
                answer = list(answer)
        except _FAILURES as error:
            self._failed(error, arguments)
            return None
        if answer is not None and (heard := self._heard(self._hook)) is not None:
            heard.answered.append((self._plugin, answer))
        return answer

    def wrapper(self, *arguments: object, **defaults: object) -> Steps:
        """Hand on what the wrapper makes of the result, or the result itself where it raises."""
        steps = self._begun(arguments, defaults)
        try:
            below = yield
        # Thrown in by pluggy where an implementation below raised.
        except BaseException as error:
            # Guarded implementations raise interrupts only; the wrapper may do with one what it likes.
            if steps is None:
                raise
            return self._thrown(steps, error, arguments)
        if steps is None:
            return below
        try:
            steps.send(below)
            _yielded_again(steps)
        except StopIteration as end:
            self._hand_on(end.value)
            return end.value
        except _FAILURES as error:
            self._failed(error, arguments)
            return below

    def old_wrapper(self, *arguments: object, **defaults: object) -> Steps:
        """Let the wrapper do with the outcome what it likes; where it raises, the outcome stays."""
        steps = self._begun(arguments, defaults)
        outcome: pluggy.Result[Any] = yield
        if steps is None:
            return
        try:
            steps.send(outcome)
            _yielded_again(steps)
        except StopIteration:
            if outcome.exception is None:
                self._hand_on(outcome.get_result())
        except _FAILURES as error:
            self._failed(error, arguments)

    def _begun(self, arguments: tuple[object, ...], defaults: dict[str, object]) -> Steps | None:
        """Run a wrapper to its yield; None where it does not get there."""
        steps = cast("Steps", self._function(*arguments, **defaults))
        try:
            next(steps)
        except StopIteration:
            self._failed(RuntimeError("the wrapper did not yield"), arguments)
        except _FAILURES as error:
            self._failed(error, arguments)
        else:
            return steps
        return None

    def _thrown(self, steps: Steps, error: BaseException, arguments: tuple[object, ...]) -> object:
        try:
            steps.throw(error)
            _yielded_again(steps)
        except StopIteration as end:
            return end.value
        except _FAILURES as raised:
            if raised is not error:
                self._failed(raised, arguments)
            raise error  # noqa: B904 - it goes on as it came

    def _failed(self, error: BaseException, arguments: tuple[object, ...]) -> None:
        from cuvis_ai_core._error_location import place_of, words_of

        place = place_of(error, self._function)
        given = dict(zip(self._taken, arguments, strict=False))
        where = "".join(f" of {key} '{given[key]}'" for key in ("node", "stage") if key in given)
        told = without_private_names(words_of(error)) + (f" ({place})" if place else "")
        failure = HookError(
            f"Plugin '{self._plugin}': hook {self._hook}{where} failed: {told}",
            plugin=self._plugin,
            hook=self._hook,
            place=place,
        )
        failure.__cause__ = error
        if (heard := self._heard(self._hook)) is not None:
            heard.failed.append(failure)
        else:
            # An observer hears of each state of each plugin: once is enough to see where it fails.
            kind = (place, type(error))
            known = kind in self._logged
            self._logged.add(kind)
            logger.error("%s%s", failure.message, " (as before)" if known else "", exc_info=None if known else error)

    def _hand_on(self, result: object) -> None:
        if (heard := self._heard(self._hook)) is not None:
            # An outer wrapper may change the list.
            heard.handed_on.append((self._plugin, list(result) if isinstance(result, list) else result))


def _yielded_again(steps: Steps) -> NoReturn:
    # A generator that is left open would run its `finally` when it is collected, in whatever thread.
    steps.close()
    raise RuntimeError("the wrapper yielded a second time")
