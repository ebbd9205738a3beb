"""Which dependencies of a plugin can be shared by the process, and which the plugin has for itself.

Decided for all distributions of a target directory before any of it is imported, against what everybody is served.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.requirements import (
    applies,
    applies_for,
    conflict,
    extras_in,
    needed_name,
    satisfies,
)
from cuvis_ai_core.plugins.dependencies.search_path import SearchPath


class Provider(NamedTuple):
    """What everybody gets under the name of a distribution.

    Attributes:
        version: Its version; None for modules that are no version of it.
        where: Who has it, for a message.
        what: How a message calls it where there is no version.
    """

    version: str | None
    where: str
    what: str = ""


class Demand(NamedTuple):
    """What somebody needs of a distribution.

    Attributes:
        who: The distribution that states the requirement.
        requirement: The requirement as declared.
        extras: The extras that are wanted of `who`.
    """

    who: str
    requirement: str
    extras: frozenset[str] = frozenset()

    def met_by(self, version: str | None) -> bool:
        """Tell whether a version meets this; modules of no known version meet nothing."""
        if version is None:
            return not applies(self.requirement, self.extras)
        return satisfies(version, self.requirement, self.extras)


Reasons = Mapping[str, DependencyConflictError]
"""Names of distributions that cannot be shared, each with the conflict that there would be."""


class Sharing:
    """The distributions of one target directory, and who else provides some of them.

    Args:
        plugin: The plugin's own distribution.
        needed: The other distributions in its target directory.
        live: Tells who provides a distribution to everybody already: a live target, or what is imported.
        otherwise: Tells who would provide a distribution if the plugin kept its copy to itself: the host, or nobody.
    """

    def __init__(
        self,
        plugin: Distribution,
        needed: Sequence[Distribution],
        live: Callable[[Distribution], Provider | None],
        otherwise: Callable[[Distribution], Provider | None],
    ) -> None:
        self._plugin = plugin
        self._own = {each.name: each for each in needed}
        self._ask_live = live
        self._otherwise = otherwise
        self._live = {each.name: live(each) for each in needed}
        self._taken = {name for name, found in self._live.items() if found is not None}

    def private(self, reasons: Reasons) -> dict[str, DependencyConflictError]:
        """Return all distributions that cannot be shared if these cannot, and why.

        A pure-Python distribution that depends on a private one is private too, so that it sees the same copy. One
        that is compiled is shared if it can live with what everybody has.

        Raises:
            DependencyConflictError: One of them is compiled, or not in the target directory.
        """
        private: dict[str, DependencyConflictError] = {}
        more = dict(reasons)
        # To a fixed point: each that becomes private may refuse another, or take its dependents along.
        while True:
            for name, reason in more.items():
                if name not in self._own or not self._own[name].pure:
                    raise reason
            private |= more
            found = (*self._refusals(private), *self._dependents(private))
            # Reversed: of several reasons for one name the first found is kept, which is the one nearest to the plugin.
            more = {name: reason for name, reason in reversed(found) if name not in private}
            if not more:
                return private

    def new(self, private: Reasons) -> Iterator[Distribution]:
        """Return the distributions that this target directory is the first to provide."""
        return (each for each in self._own.values() if each.name not in private and each.name not in self._taken)

    def demands(self, private: Reasons) -> Iterator[Demand]:
        """Return what is needed of that which is shared, or not in this target directory at all."""
        extras = self._extras(private)
        for who in (self._plugin, *self._own.values()):
            for requirement in who.requires:
                demand = Demand(who.name, requirement, extras.get(who.name, frozenset()))
                if self._counts(demand, private):
                    yield demand

    def _counts(self, demand: Demand, private: Reasons) -> bool:
        sees_private = demand.who == self._plugin.name or demand.who in private
        if sees_private:
            return needed_name(demand.requirement) not in private
        # What others provide is not this target's copy, and has what it needs; but for an extra that is new.
        # An extra is the exception: whoever provides it may not have been installed with it.
        return demand.who not in self._taken or (bool(demand.extras) and applies_for(demand.requirement, demand.extras))

    def asking_for(self, name: str) -> tuple[str, str]:
        """Return (who, requirement) for the first in this target directory that needs a distribution."""
        asking = (
            (who.name, requirement)
            for who in (self._plugin, *self._own.values())
            for requirement in who.requires
            if needed_name(requirement) == name and applies(requirement)
        )
        return next(asking, (self._plugin.name, f"{name}=={self._own[name].version}"))

    def _used(self, private: Reasons) -> Iterator[Distribution]:
        """Return what is used of this target directory: where others provide, its copy asks for nothing."""
        yield self._plugin
        yield from (each for each in self._own.values() if each.name in private or each.name not in self._taken)

    def _extras(self, private: Reasons) -> dict[str, frozenset[str]]:
        extras: dict[str, frozenset[str]] = {}
        for who in self._used(private):
            for requirement in who.requires:
                if asked := extras_in(requirement):
                    name = needed_name(requirement)
                    extras[name] = extras.get(name, frozenset()) | asked
        return extras

    def _refusals(self, private: Reasons) -> Iterator[tuple[str, DependencyConflictError]]:
        """Return what is refused in the version that everybody has; whoever refuses it cannot be shared instead."""
        for demand in self.demands(private):
            name = needed_name(demand.requirement)
            found = self._live[name] if name in self._own else self._ask_live(Distribution(name, ""))
            if found is None and name in private:
                found = self._otherwise(self._own[name])
            if found is not None and not demand.met_by(found.version):
                text = found.version or found.what
                reason = conflict(demand.who, demand.requirement, text, found.where, self._plugin.name)
                yield (demand.who if name in private else name), reason

    def _dependents(self, private: Reasons) -> Iterator[tuple[str, DependencyConflictError]]:
        """Return the pure-Python distributions that depend on a private one."""
        extras = self._extras(private)
        for each in self._own.values():
            for requirement in each.requires if each.pure else ():
                reason = private.get(needed_name(requirement))
                if reason is not None and applies(requirement, extras.get(each.name, frozenset())):
                    yield each.name, reason


def host_provider(distribution: Distribution, host: SearchPath) -> Provider | None:
    """Return what the host has under the name of a distribution or of its modules, or None."""
    version = host.version(distribution.name)
    if version is not None:
        return Provider(version, "in the host environment")
    for root in distribution.roots:
        # By the listing first: the path finder looks into every folder of the path.
        place = _place(root) if root.partition(".")[0] in host.tops else None
        if place is not None:
            return Provider(None, "on this program's path", f"another module '{root}', {place},")
    return None


def host_demands(names: Iterable[str], wanted: str, host: SearchPath) -> Iterator[Demand]:
    """Return what the host's packages of some names, and all that these need, ask of one distribution."""
    waiting, seen = list(names), {wanted}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            found = host.distribution(name)
            needs = [text for text in (found.requires if found else None) or () if applies(text)]
            yield from (Demand(name, text) for text in needs if needed_name(text) == wanted)
            waiting += map(needed_name, needs)


def _place(root: str) -> str | None:
    """Return where the host has a module or regular package; a plain folder is neither."""
    top, *rest = root.split(".")
    spec = PathFinder.find_spec(top)
    if spec is None or not rest:
        return None if spec is None or spec.loader is None else spec.origin
    # Below a namespace package the path finder answers only where that is imported.
    places = (Path(folder, *rest) for folder in spec.submodule_search_locations or ())
    files = (file for place in places for file in (place / "__init__.py", place.with_suffix(".py")))
    return next((str(file) for file in files if file.is_file()), None)
