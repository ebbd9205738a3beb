"""From a source tree and chosen versions to an installed target directory."""

from functools import partial
from pathlib import Path

from cuvis_ai_core.plugins.cache.housekeeping import Entry, replace_older
from cuvis_ai_core.plugins.cache.sources import Source, title_of
from cuvis_ai_core.plugins.cache.store import Store, short_hash
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.cache.target_marker import complete_targets, is_stale, write_marker
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.installing.building import Building, building_of
from cuvis_ai_core.plugins.installing.contents import describe
from cuvis_ai_core.plugins.installing.request import Choice
from cuvis_ai_core.plugins.installing.uv import Uv
from cuvis_ai_core.plugins.load_errors import Enter
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

_REMEMBERED = 100
"""How many resolutions a target directory remembers."""


class Installation:
    """One plugin on its way into a target directory.

    Args:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        source: Its code.
        place: The folder below which the target directories of this content lie.
        store: The plugin cache.
        uv: Runs uv for this plugin, in a temporary folder on the file system of the store.
    """

    def __init__(
        self, name: str, declared: GitPlugin | LocalPlugin, source: Source, place: Path, store: Store, uv: Uv
    ) -> None:
        self._name = name
        self._declared = declared
        self._source = source
        self._place = place
        self._store = store
        self._uv = uv
        self._building: Building | None = None
        self._requirements: tuple[str, ...] = ()

    def needs(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the plugin's distribution, and its requirements.

        Raises:
            CacheMismatchError: Its checkout was altered.
            ProjectFileError: pyproject.toml is missing or breaks a rule.
            InstallError: Only a build can tell, and it failed.
        """
        # What was installed for this content before, for another host or in other company, tells without a build.
        known = next((target for target in complete_targets(self._place) if not is_stale(target)), None)
        if known is not None:
            distribution, self._requirements = known.plugin.name, known.plugin.requires
        else:
            building = self._begun()
            distribution, self._requirements = building.distribution, building.requirements()
        return distribution, self._requirements

    def build_ahead(self) -> None:
        """Build what is likely to be needed, while versions are chosen.

        Raises:
            BuildError: The build failed.
        """
        if self._building is not None:
            self._building.build()

    def finish(self, choice: Choice, key: str, enter: Enter) -> Target:
        """Return the target directory with some versions: the one that is there already, or else a new one.

        Args:
            choice: What to install beside the plugin.
            key: What the choice depended on; the target remembers it.
            enter: Told that the installation begins.

        Raises:
            InstallError: The build or the installation failed.
            StoreError: The store cannot be written.
        """
        final = self._place / short_hash(*sorted(choice.pins), *sorted(sum(choice.hashes.values(), ())))
        with self._store.lock(self._place.name, partial(enter, PluginState.INSTALLING)):
            targets = [target for target in complete_targets(self._place) if not is_stale(target)]
            for target in targets:
                if (
                    target.folder != _stamped(final, target.stamp) and key in target.hosts
                ):  # chosen once, before there was something newer
                    write_marker(target._replace(hosts=tuple(each for each in target.hosts if each != key)))
            found = next((target for target in targets if target.folder == _stamped(final, target.stamp)), None)
            if found is None:
                found = self._install(choice, key, final, enter)
            elif key not in found.hosts:
                found = found._replace(hosts=(*found.hosts, key)[-_REMEMBERED:])
                write_marker(found)
            self._store.use(found.folder, locked=True)
        replace_older(self._store, self._place)
        if found.built_from:
            self._remove_stale()
        return found

    def _remove_stale(self) -> None:
        """Remove what was built from the same project before it was edited."""
        for target in complete_targets(self._place):
            if is_stale(target):
                Entry(self._store, target.folder).remove()  # which keeps what is in use

    def _install(self, choice: Choice, key: str, final: Path, enter: Enter) -> Target:
        building = self._begun()
        enter(PluginState.INSTALLING, building.distribution)
        code = building.install(choice)
        plugin = Distribution(building.distribution, "0", requires=self._requirements)
        target = describe(building.target, plugin, code, key)._replace(
            title=title_of(self._name, self._source),
            editable=self._source.commit is None and not building.stamp,
            built_from=str(self._source.folder) if building.stamp else "",
            stamp=building.stamp,
        )
        final = _stamped(final, building.stamp)
        write_marker(target)
        self._store.publish(building.target, final)
        return target._replace(folder=final)

    def _begun(self) -> Building:
        if self._building is None:
            self._building = building_of(self._name, self._declared, self._source, self._uv)
        return self._building


def _stamped(folder: Path, stamp: str) -> Path:
    """Return where a local project lies that was built: each state of it in a folder of its own."""
    return folder.with_name(short_hash(folder.name, stamp)) if stamp else folder
