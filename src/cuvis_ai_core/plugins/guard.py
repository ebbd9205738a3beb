"""What keeps one broken plugin from the others: a guard around each hook implementation, put there at registration.

pluggy dispatches, with the order, the wrappers and the monitoring that its users know. One thing only differs: what an
implementation raises ends no call. Its witness is told, and the call goes on as if the implementation were not there.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, NoReturn, Protocol, TypeAlias, cast

import pluggy

from cuvis_ai_core._places import place_of, words_of
from cuvis_ai_core.errors import HookError
from cuvis_ai_core.plugins.isolation.private_names import without_private_names

_FAILURES: Final = (Exception, SystemExit)
"""A plugin that calls sys.exit does not end the program; an interrupt does."""

Steps: TypeAlias = Generator[None, Any, Any]


class Witness(Protocol):
    """Hears what the implementations of one manager say."""

    def failed(self, hook: str, error: HookError) -> None:
        """Hear that an implementation raised; the error names its plugin."""
        ...

    def answered(self, hook: str, plugin: str, answer: object) -> None:
        """Hear what an implementation answered."""
        ...

    def handed_on(self, hook: str, plugin: str, result: object) -> None:
        """Hear what a wrapper made of the answers of the others."""
        ...


def guard(implementation: pluggy.HookImpl, hook: str, witness: Witness) -> None:
    """Put a guard around a registered implementation of a hook."""
    guarded = _Guard(implementation, hook, witness)
    call = guarded.wrapper if implementation.wrapper else guarded.plain
    if implementation.hookwrapper:
        call = guarded.old_wrapper
    # pluggy takes functions off the plugin object itself, which users expect to get back: there is no earlier place.
    implementation.function = call  # type: ignore[misc]


class _Guard:
    """The guard around one implementation, in the three forms that pluggy knows."""

    def __init__(self, implementation: pluggy.HookImpl, hook: str, witness: Witness) -> None:
        self._function: Callable[..., Any] = implementation.function
        self._taken = implementation.argnames
        self._plugin = implementation.plugin_name
        self._hook = hook
        self._witness = witness

    def plain(self, *arguments: object, **defaults: object) -> object:
        """Answer, or nothing where the implementation raises."""
        try:
            answer = self._function(*arguments, **defaults)
            if isinstance(answer, Iterator):  # a generator fails only when it is read
                answer = list(answer)
        except _FAILURES as error:
            self._failed(error, arguments)
            return None
        if answer is not None:
            self._witness.answered(self._hook, self._plugin, answer)
        return answer

    def wrapper(self, *arguments: object, **defaults: object) -> Steps:
        """Hand on what the wrapper makes of the result, or the result itself where it raises."""
        steps = self._begun(arguments, defaults)
        try:
            below = yield
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
            self._witness.handed_on(self._hook, self._plugin, end.value)
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
                self._witness.handed_on(self._hook, self._plugin, outcome.get_result())
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
        self._witness.failed(self._hook, failure)


def _yielded_again(steps: Steps) -> NoReturn:
    steps.close()
    raise RuntimeError("the wrapper yielded a second time")
