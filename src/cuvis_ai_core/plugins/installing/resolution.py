"""Which versions of their dependencies the plugins of a manifest get: one for all of them wherever that is possible."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.errors import CuvisError, InstallError
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import long_hash
from cuvis_ai_core.plugins.cache.unsettled_tags import settle
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.dependencies.requirements import needed_name
from cuvis_ai_core.plugins.installing.install_request import Carried, Choice, Needs, Versions

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cancellable_threads import Crew
    from cuvis_ai_core.plugins.installing.uv_commands import Uv
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin


class ResolvedTogether(Versions):
    """Without a lock file: what suits all plugins that are loaded together, and this environment.

    Args:
        preferred: Pins to keep, if that is possible.
    """

    def __init__(self, preferred: Sequence[str] = ()) -> None:
        self._preferred = preferred

    def check(self, name: str, source: Source) -> None:
        """Accept what is there; where only a bundle has said what a tag is, ask the repository."""
        settle(name, source)

    def carried(self, name: str) -> Carried | None:
        """Return nothing: carried wheels serve those that a lock file names."""
        return None

    def isolation(self, name: str, declared: "GitPlugin | LocalPlugin") -> str:
        """Return what the manifest says."""
        return declared.isolation

    def environment(self, name: str) -> Choice | None:
        """Return nothing: an environment has room for whatever is newest."""
        return None

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return one key for all: this environment, and the plugins that are resolved together."""
        key = host_environment.fingerprint()
        if len(places) > 1:  # a plugin by itself is the same plugin under every name
            key += f":{long_hash(*(place.name for place in places.values()))}"
        return dict.fromkeys(places, key)

    def choose(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew") -> dict[str, Choice]:
        """Resolve all requirements together."""
        return Resolution(plugins, uv, crew, self._preferred).choose()


class Resolution:
    """Chooses versions for several plugins together.

    Nothing depends on what happens to be loaded: the same plugins on the same host get the same versions.

    Args:
        plugins: What each plugin needs, by its name, in the order of the manifest.
        uv: Runs uv for all of them.
        crew: Threads to work with.
        preferred: Pins to keep, if that is possible.
    """

    def __init__(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew", preferred: Sequence[str] = ()) -> None:
        self._plugins = plugins
        self._uv = uv
        self._crew = crew
        self._preferred = preferred

    @cached_property
    def _fixed(self) -> list[str]:
        # Reads the metadata of all that the core needs: only for those who lack something.
        return host_environment.constraints()

    def choose(self) -> dict[str, Choice]:
        """Return what was chosen for each plugin.

        All requirements are resolved together first. Where they contradict, plugins are accepted in their order, and
        one that cannot live with those before it is resolved by itself: it gets copies of its own where these are
        pure Python, which is decided when it is loaded.
        """
        missing = {name: self._guarded(self._missing, name) for name in self._plugins}
        sound = [name for name, choice in missing.items() if choice.error is None]
        # The usual case: the host has it all, and uv, which takes tenths of a second, is not asked.
        if not any(missing[name].pins for name in sound):
            return missing
        if self._preferred:
            # Pins to keep are a wish: where they contradict, versions are chosen as if there were none.
            with suppress(CuvisError):
                return missing | self._each(sound, self._together(sound, self._preferred))
        if len(sound) == 1:
            return missing | self._each(sound, ())
        with suppress(CuvisError):
            return missing | self._each(sound, self._together(sound))
        return missing | self._in_order(sound)

    def _missing(self, name: str) -> list[str]:
        """Return the requirements of a plugin that the host does not meet."""
        needs = self._plugins[name]
        missing = host_environment.missing_requirements(needs.distribution, needs.requirements)
        if missing:
            needs.resolving(", ".join(missing))
        return missing

    def _together(self, names: Sequence[str], preferred: Sequence[str] = ()) -> list[str]:
        """Return the versions that some plugins can share."""
        union = dict.fromkeys(text for name in names for text in self._plugins[name].requirements)
        # Less what the core itself needs: a private second copy of that is possible, and is looked at plugin by plugin.
        pins = self._lacking(self._uv, host_environment.without_exchange(tuple(union)), preferred)
        host_environment.refuse_exchange(names[-1], [needed_name(pin) for pin in pins])
        return pins

    def _in_order(self, names: Sequence[str]) -> dict[str, Choice]:
        alone = self._each(names, ())
        accepted: list[str] = []
        together: list[str] = []
        for name in names:
            if alone[name].error is None:
                try:
                    together = self._together([*accepted, name])
                except CuvisError:
                    continue
                accepted.append(name)
        return alone | self._each(accepted, together)

    def _each(self, names: Sequence[str], shared: Sequence[str]) -> dict[str, Choice]:
        """Return what the host lacks for each plugin, where versions are shared."""
        choices: dict[str, Choice] = {}

        def choose(name: str) -> None:
            choices[name] = self._guarded(self._alone, name, shared)

        self._crew.run([partial(choose, name) for name in names])
        return choices

    def _alone(self, name: str, shared: Sequence[str]) -> list[str]:
        needs = self._plugins[name]
        asked = host_environment.without_exchange(needs.requirements)
        if not asked:
            return []
        # An address is for those that state it themselves.
        pins = self._lacking(needs.uv, asked, [pin for pin in shared if " @ " not in pin])
        host_environment.refuse_exchange(needs.distribution, [needed_name(pin) for pin in pins])
        return host_environment.with_addresses(pins, needs.requirements)

    def _lacking(self, uv: "Uv", asked: Sequence[str], chosen: Sequence[str]) -> list[str]:
        """Return what the host lacks, with the versions that the core has wherever the requirements leave them."""
        try:
            return uv.missing(asked, [*self._fixed, *chosen])
        except InstallError:
            # Second choice: any version that satisfies the core's requirements, where not the very one that is
            # installed.
            limits = host_environment.limits()
            if limits == self._fixed:
                raise
            return uv.missing(asked, [*limits, *chosen])

    @staticmethod
    def _guarded(choose: Callable[..., list[str]], *arguments: object) -> Choice:
        try:
            return Choice(tuple(choose(*arguments)))
        except Exception as error:  # noqa: BLE001 - the error of one plugin is no concern of the others
            return Choice(error=error)
