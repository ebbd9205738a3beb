"""How versions of dependencies come about: chosen for all plugins of a manifest together, or read from a lock file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cuvis_ai_core.errors import LockError
from cuvis_ai_core.plugins import host
from cuvis_ai_core.plugins.choices import Choice, Needs
from cuvis_ai_core.plugins.lockfile import Declared, Lock, read_lock, refuse_differences
from cuvis_ai_core.plugins.sources import Source
from cuvis_ai_core.plugins.store import short_hash

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.parallel import Crew
    from cuvis_ai_core.plugins.uv import Uv


class Plan(Protocol):
    """How versions come about for some plugins."""

    def check(self, name: str, source: Source) -> None:
        """Raise if the code of a plugin is not what is meant.

        Raises:
            LockError: It is not.
        """

    def isolation(self, name: str, declared: Declared) -> str:
        """Return how a plugin is isolated: `scoped`, `process`, or `auto`."""

    def environment(self, name: str) -> Choice | None:
        """Return what is locked for the environment of a plugin in a process of its own; None without a lock file.

        Raises:
            LockError: The lock file says nothing about it.
        """

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return for each plugin what the choice of its versions depends on.

        A target directory remembers for which of these it was chosen, so that it is found again without choosing.

        Args:
            places: The folders below which the target directories of each plugin's content lie.
        """

    def choose(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew") -> dict[str, Choice]:
        """Return what is chosen for each plugin.

        Args:
            plugins: What each plugin needs, in the order of the manifest.
            uv: Runs uv for all of them.
            crew: Threads to work with.
        """


def plan_for(manifest: Path, plugins: Mapping[str, Declared]) -> Plan:
    """Return how versions come about for a manifest: from the lock file beside it, if there is one.

    Args:
        manifest: The manifest.
        plugins: Its entries by the plugins' names.

    Raises:
        LockError: The lock file cannot be read, differs from the manifest, or says nothing about this platform.
    """
    lock = read_lock(manifest)
    if lock is None:
        return Together()
    refuse_differences(lock, plugins, manifest)
    return Locked(lock)


class Together(Plan):
    """Without a lock file: what suits all plugins that are loaded together, and this environment.

    Args:
        preferred: Pins to keep, if that is possible.
    """

    def __init__(self, preferred: Sequence[str] = ()) -> None:
        self._preferred = preferred

    def check(self, name: str, source: Source) -> None:
        """Accept what is there."""

    def isolation(self, name: str, declared: Declared) -> str:  # noqa: ARG002
        """Return what the manifest says."""
        return declared.isolation

    def environment(self, name: str) -> Choice | None:  # noqa: ARG002
        """Return nothing: an environment has room for whatever is newest."""
        return None

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return one key for all: this environment, and the plugins that are resolved together."""
        key = host.fingerprint()
        if len(places) > 1:  # a plugin by itself is the same plugin under every name
            key += f":{short_hash(*(place.name for place in places.values()))}"
        return dict.fromkeys(places, key)

    def choose(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew") -> dict[str, Choice]:
        """Resolve all requirements together."""
        from cuvis_ai_core.plugins.resolution import Resolution

        return Resolution(plugins, uv, crew, self._preferred).choose()


class Locked(Plan):
    """With a lock file: exactly what stands in it.

    Args:
        lock: The lock file.

    Raises:
        LockError: It says nothing about this interpreter and platform.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        interpreter = host.interpreter()
        if interpreter not in lock.environments:
            raise LockError(
                f"The lock file {lock.path} says nothing about {interpreter}; it was made for "
                f"{', '.join(sorted(lock.environments)) or 'nothing'}.",
                hint="Add what is missing, keeping the rest: cuvis-ai plugins lock",
                path=lock.path,
            )
        self._environment = lock.environments[interpreter]

    def check(self, name: str, source: Source) -> None:
        """Compare commit and content of a checkout."""
        locked = self._lock.plugins[name]
        if "repo" not in locked:
            return
        if source.commit != locked["commit"]:
            what = f"tag {locked['tag']} is commit {source.commit} now, but {locked['commit']} is locked"
        elif source.content != locked["content"]:
            what = f"the files of commit {source.commit} are not those that are locked"
        else:
            return
        raise LockError(
            f"Tag mismatch for plugin '{name}': {what} in {self._lock.path.name} ({locked['repo']}).",
            hint=f"Ask who moved the tag. If that is meant: cuvis-ai plugins update {name}",
            path=self._lock.path,
            plugin=name,
        )

    def isolation(self, name: str, declared: Declared) -> str:  # noqa: ARG002
        """Return what is locked: what `auto` became where the lock file was made."""
        return str(self._lock.plugins[name]["isolation"])

    def environment(self, name: str) -> Choice | None:
        """Return all that is locked for a plugin; its environment has nothing of the host's."""
        self._refuse_unknown(name)
        pins = self._environment.dependencies[name]
        return Choice(pins, {pin: self._environment.hashes.get(pin, ()) for pin in pins})

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return a key per plugin: this environment, and what is locked for that plugin."""
        environment = host.fingerprint()
        return {name: f"{environment}:{short_hash(*self._words(name))}" for name in places}

    def choose(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew") -> dict[str, Choice]:  # noqa: ARG002
        """Take what is locked."""
        return self.choices(plugins)

    def choices(self, plugins: Mapping[str, Needs]) -> dict[str, Choice]:
        """Return what is locked, but for what the host has in just that version."""
        return {name: self._choice(name, needs) for name, needs in plugins.items()}

    def _words(self, name: str) -> list[str]:
        pins = self._environment.dependencies.get(name, ())
        hashes = (text for pin in pins for text in self._environment.hashes.get(pin, ()))
        return [name, *self._lock.plugins[name].get("requirements", ()), *pins, *hashes]

    def _choice(self, name: str, needs: Needs) -> Choice:
        pins = self._environment.dependencies.get(name, ())
        try:
            self._refuse_unknown(name)
            self._refuse_changed(name, needs)
            missing = host.missing_requirements(needs.distribution, needs.requirements)
            self._refuse_uncovered(name, pins, missing)
        except Exception as error:  # noqa: BLE001 - the error of one plugin is no concern of the others
            return Choice(error=error)
        lacking = tuple(pin for pin in pins if not host.has(pin))
        return Choice(lacking, {pin: self._environment.hashes.get(pin, ()) for pin in lacking})

    def _refuse_unknown(self, name: str) -> None:
        if name not in self._environment.dependencies:
            raise LockError(
                f"The lock file {self._lock.path} says nothing about plugin '{name}' on {host.interpreter()}: it "
                "changed since that platform was locked.",
                hint="Add what is missing, keeping the rest: cuvis-ai plugins lock",
                path=self._lock.path,
                plugin=name,
            )

    def _refuse_changed(self, name: str, needs: Needs) -> None:
        locked = self._lock.plugins[name].get("requirements")
        if locked is not None and sorted(locked) != sorted(needs.requirements):
            raise LockError(
                f"The requirements of plugin '{name}' are [{', '.join(sorted(needs.requirements))}], but locked as "
                f"[{', '.join(sorted(locked))}] in {self._lock.path}.",
                hint="If they are right: cuvis-ai plugins lock",
                path=self._lock.path,
                plugin=name,
            )

    def _refuse_uncovered(self, name: str, pins: tuple[str, ...], missing: list[str]) -> None:
        uncovered = host.not_among(missing, pins)
        if uncovered:
            raise LockError(
                f"Plugin '{name}' needs {', '.join(uncovered)}, which is neither in {self._lock.path} nor in this "
                "environment; where the lock file was made, the environment had it.",
                hint="Install it here, or lock again here: cuvis-ai plugins lock",
                path=self._lock.path,
                plugin=name,
            )
