"""Versions of dependencies as a lock file has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.errors import LockError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import long_hash
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.installing.install_request import Carried, Choice, Needs, Versions
from cuvis_ai_core.plugins.installing.locked_requirements import refuse_addresses
from cuvis_ai_core.plugins.installing.resolution import ResolvedTogether
from cuvis_ai_core.plugins.lock.lockfile import Declared, Lock, read_lock, refuse_differences

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cancellable_threads import Crew
    from cuvis_ai_core.plugins.installing.uv_commands import Uv


def versions_for(manifest: Path, plugins: Mapping[str, Declared]) -> Versions:
    """Return how versions come about for a manifest: from the lock file beside it, if there is one.

    Raises:
        LockError: The lock file cannot be read, differs from the manifest, or says nothing about this platform.
    """
    lock = read_lock(manifest)
    if lock is None:
        return ResolvedTogether()
    refuse_differences(lock, plugins, manifest)
    return LockedVersions(lock)


class LockedVersions(Versions):
    """With a lock file: exactly what stands in it.

    Raises:
        LockError: It says nothing about this interpreter and platform.
    """

    locked = True

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        here = interpreter()
        if here not in lock.environments:
            raise LockError(
                f"The lock file {lock.path} says nothing about {here}; it was made for "
                f"{', '.join(sorted(lock.environments)) or 'nothing'}.",
                hint="Add what is missing, keeping the rest: cuvis-ai plugins lock",
                path=lock.path,
            )
        self._environment = lock.environments[here]

    def check(self, name: str, source: Source) -> None:
        """Compare commit and content of a checkout; nor may its pins be what the policy does not allow."""
        locked = self._lock.plugins[name]
        pins = self._environment.dependencies.get(name, ())
        policy_checks.refuse_sources(name, pins)
        policy_checks.refuse_built(name, set(pins) & set(self._environment.built))
        if "repo" not in locked:
            return
        if source.commit != locked["commit"]:
            what = f"tag {locked['tag']} is commit {source.commit} now, but {locked['commit']} is locked"
        # Files as well: with large files (LFS) and submodules the commit alone does not say all that lies there.
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

    def isolation(self, name: str, declared: Declared) -> str:
        """Return what is locked: what `auto` became where the lock file was made."""
        return str(self._lock.plugins[name]["isolation"])

    def environment(self, name: str) -> Choice | None:
        """Return all that is locked for a plugin; its environment has nothing of the host's."""
        self._refuse_unknown(name)
        pins = self._environment.dependencies[name]
        return self._chosen(pins)

    def carried(self, name: str) -> Carried:
        """Return what is locked for a plugin, and for builds."""
        found = self._environment
        dependencies, builds = found.dependencies.get(name, ()), found.builds.get(name, ())
        return Carried(
            {pin: found.hashes.get(pin, ()) for pin in dependencies}, {pin: found.hashes.get(pin, ()) for pin in builds}
        )

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return a key per plugin: this environment, and what is locked for that plugin."""
        environment = host_environment.fingerprint()
        return {name: f"{environment}:{long_hash(*self._words(name))}" for name in places}

    def choose(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew") -> dict[str, Choice]:
        """Take what is locked, but for what the host has in just that version."""
        return {name: self._choice(name, needs) for name, needs in plugins.items()}

    def _words(self, name: str) -> list[str]:
        pins = self._environment.dependencies.get(name, ())
        hashes = (text for pin in pins for text in self._environment.hashes.get(pin, ()))
        # Hashes too: two lock files may name one version and mean two files of it.
        return [name, *self._lock.plugins[name].get("requirements", ()), *pins, *hashes]

    def _choice(self, name: str, needs: Needs) -> Choice:
        pins = self._environment.dependencies.get(name, ())
        try:
            self._refuse_unknown(name)
            refuse_changed(name, needs.requirements, self._lock)
            refuse_addresses(name, pins, needs.requirements)
            missing = host_environment.missing_requirements(needs.distribution, needs.requirements)
            self._refuse_uncovered(name, pins, missing)
        except Exception as error:  # noqa: BLE001 - the error of one plugin is no concern of the others
            return Choice(error=error)
        # In just that version: another one that the requirement allows is not what is locked.
        lacking = tuple(pin for pin in pins if not host_environment.has(pin))
        return self._chosen(lacking)

    def _chosen(self, pins: tuple[str, ...]) -> Choice:
        hashes = {pin: self._environment.hashes.get(pin, ()) for pin in pins}
        return Choice(pins, hashes, built=self._environment.names_built())

    def _refuse_unknown(self, name: str) -> None:
        if name not in self._environment.dependencies:
            raise LockError(
                f"The lock file {self._lock.path} says nothing about plugin '{name}' on {interpreter()}: it "
                "changed since that platform was locked.",
                hint="Add what is missing, keeping the rest: cuvis-ai plugins lock",
                path=self._lock.path,
                plugin=name,
            )

    def _refuse_uncovered(self, name: str, pins: tuple[str, ...], missing: list[str]) -> None:
        uncovered = host_environment.not_among(missing, pins)
        if uncovered:
            raise LockError(
                f"Plugin '{name}' needs {', '.join(uncovered)}, which is neither in {self._lock.path} nor in this "
                "environment; where the lock file was made, the environment had it.",
                hint="Install it here, or lock again here: cuvis-ai plugins lock",
                path=self._lock.path,
                plugin=name,
            )


def refuse_changed(name: str, requirements: Sequence[str], lock: Lock) -> None:
    """Raise if a local plugin needs something else than when it was locked: elsewhere it could not be loaded.

    Raises:
        LockError: It does.
    """
    locked = lock.plugins[name].get("requirements")
    # A lock file from before requirements were noted says nothing of them.
    if locked is not None and sorted(locked) != sorted(requirements):
        raise LockError(
            f"The requirements of plugin '{name}' are [{', '.join(sorted(requirements))}], but locked as "
            f"[{', '.join(sorted(locked))}] in {lock.path}.",
            hint="If they are right: cuvis-ai plugins lock",
            path=lock.path,
            plugin=name,
        )
