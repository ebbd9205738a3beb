"""The place of a plugin in this process: a target directory (`uv pip install --target`) with what the host lacks."""

import logging
from collections.abc import Mapping
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.requirements import Requirement

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.plugins.cache.sources import title_of
from cuvis_ai_core.plugins.cache.store import long_hash
from cuvis_ai_core.plugins.cache.target_entry import Target, complete_targets, is_stale, write_marker
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.requirements import applies
from cuvis_ai_core.plugins.dependencies.search_path import top_level_modules
from cuvis_ai_core.plugins.disk.altered_files import source_stamp
from cuvis_ai_core.plugins.installing.atomic_install import Installation
from cuvis_ai_core.plugins.installing.editables import UnclearEditableError, editable_code
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.installing.pyproject import extras_of, refuse_unknown_extras
from cuvis_ai_core.plugins.installing.target_distributions import target_of

logger = logging.getLogger(__name__)

# The marker is read at each load; without an end it would grow with every change of the host.
_REMEMBERED = 100
"""How many resolutions a target directory remembers."""


class TargetInstallation(Installation[Target]):
    """One plugin on its way into a target directory."""

    _requirements: tuple[str, ...] = ()
    _own_is_installed = False
    _stamp = ""
    """What a local project was like that had to be built (see `source_stamp`); nothing where its code stays."""

    def needs(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the plugin's distribution, and its requirements; where only a build can tell, build it."""
        # What was installed for this content before, for another host or in other company, tells without a build.
        # Any of them: what a content requires does not depend on the host that it was installed for.
        known = next((target for target in complete_targets(self.place) if not is_stale(target)), None)
        if known is not None:
            distribution, self._requirements = known.plugin.name, known.plugin.requires
        else:
            self.building.refuse_looking()
            distribution, self._requirements = self.building.distribution, self._declared_requirements()
        return distribution, self._requirements

    def build_ahead(self) -> None:
        """Build the wheel of a tag."""
        # A cached property that nobody has asked for: then all was known without reading the project.
        if "building" in self.__dict__ and not self.building.is_editable:
            self.building.wheel()

    def what(self) -> str:
        """Return the name of the distribution."""
        return self.building.distribution

    def found(self, choice: Choice | None, key: str) -> Target | None:
        """Return the target directory with the chosen versions, which remembers from now on that it was chosen."""
        final = self._final(choice)
        targets = [target for target in complete_targets(self.place) if not is_stale(target)]
        for target in targets:
            if target.folder != _stamped(final, target.stamp) and key in target.hosts:
                # It was chosen once, before there was something newer.
                write_marker(target._replace(hosts=tuple(each for each in target.hosts if each != key)))
        found = next((target for target in targets if target.folder == _stamped(final, target.stamp)), None)
        if found is not None and key not in found.hosts:
            found = found._replace(hosts=(*found.hosts, key)[-_REMEMBERED:])
            write_marker(found)
        return found

    def make(self, choice: Choice | None, key: str) -> tuple[Target, Path]:
        """Install the plugin and what was chosen for it, without their dependencies."""
        assert choice is not None
        code = self._install(choice)
        # What stands for a plugin of which nothing is installed; else its metadata say the version.
        plugin = Distribution(self.building.distribution, "0", requires=self._requirements)
        target = target_of(self._folder, plugin, code, key, self.building.tops)._replace(
            title=title_of(self.name, self.source),
            editable=self.source.commit is None and not self._stamp,
            built_from=str(self.source.folder) if self._stamp else "",
            stamp=self._stamp,
        )
        write_marker(target)
        return target, _stamped(self._final(choice), self._stamp)

    def outdated(self, present: Target) -> list[Path]:
        """Return what was built from the same project before it was edited."""
        return [each.folder for each in complete_targets(self.place) if is_stale(each)] if present.built_from else []

    @property
    def _folder(self) -> Path:
        """The temporary folder that becomes the target directory."""
        folder = self.uv.folder / "target"
        folder.mkdir(exist_ok=True)
        return folder

    def _final(self, choice: Choice | None) -> Path:
        assert choice is not None
        # Named by what is in it: two orders of the same pins are one folder.
        return self.place / long_hash(*sorted(choice.pins), *sorted(sum(choice.hashes.values(), ())))

    def _declared_requirements(self) -> tuple[str, ...]:
        project = self.building.project
        if project is None:
            return ()
        if project.dependencies is not None:
            return project.dependencies
        self.uv.install(self._folder, self._own())
        self._own_is_installed = True
        # Only the project itself is in the folder yet, so there is one.
        built = PathDistribution(next(self._folder.glob("*.dist-info")))
        refuse_unknown_extras(self.building.folder, extras_of(built), self.declared.extras)
        return _metadata_requirements(built, self.declared.extras)

    def _install(self, choice: Choice) -> Mapping[str, Path]:
        """Install all, and return where those of the plugin's modules lie that stay elsewhere.

        Where a back-end makes an editable install that cannot be read, the project is built, and again after edits.
        """
        if self.building.project is None:
            assert not choice.pins
            return self._modules()
        if not self.building.is_editable:
            return self._install_project(choice)
        try:
            _refuse_bytes(self.building.folder)
            return self._install_project(choice)
        except UnclearEditableError as error:
            logger.warning(
                "plugin '%s': %s is installed by a build, because %s; an edit of its code is built at the next load",
                self.name,
                self.building.folder,
                error,
            )
        self._stamp = source_stamp(self.building.folder)
        self._own_is_installed = False
        # Anew: a `.pth` file and the wheel of the same project would both be found, and the first one wins.
        remove_tree(self._folder)
        return self._install_project(choice)

    def _install_project(self, choice: Choice) -> Mapping[str, Path]:
        own = [] if self._own_is_installed else self._own()
        if choice.hashes:
            self.install_locked(self._folder, choice, self._requirements)
        pins = () if choice.hashes else choice.pins
        if own or pins:
            self.uv.install(self._folder, [*own, *pins])
        return editable_code(self._folder, self.building.tops)

    def _own(self) -> list[str]:
        """Return what uv installs of the project itself."""
        if self.building.is_editable and not self._stamp:
            return self.uv.editable(self.building.folder)
        return [str(self.building.wheel())]

    def _modules(self) -> dict[str, Path]:
        """Return the modules of a folder without a project file."""
        base, tops = self.building.search_path(), self.building.tops
        if base == self.building.folder.parent:
            return {self.building.folder.name: base}
        return dict.fromkeys(top_level_modules(base) | {top for top in tops if (base / top).is_dir()}, base)


def _stamped(folder: Path, stamp: str) -> Path:
    """Return where a local project lies that was built: each state of it in a folder of its own."""
    return folder.with_name(long_hash(folder.name, stamp)) if stamp else folder


def _metadata_requirements(built: PathDistribution, extras: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements in installed metadata that apply for some extras, markers of extras resolved."""
    applying = []
    for text in built.requires or ():
        if applies(text, extras):
            requirement = Requirement(text)
            # Answered here, where the extras are known; nobody later knows which were chosen.
            requirement.marker = None
            applying.append(str(requirement))
    return tuple(applying)


def _refuse_bytes(folder: Path) -> None:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UnclearEditableError("its path is no text that could be written into a file") from None
