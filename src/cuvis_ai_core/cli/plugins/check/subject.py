"""What is checked: a folder, a tag of a repository, or a plugin that is installed or declared."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from cuvis_ai_core._untrusted_files import read_file, read_toml
from cuvis_ai_core.cli.plugins.check.findings import line_of
from cuvis_ai_core.cli.plugins.check.repository_address import Address, is_address, parse_address
from cuvis_ai_core.cli.plugins.check.source_code import Code, code_of
from cuvis_ai_core.errors import CuvisError, LocalPathError, ManifestError
from cuvis_ai_core.plugins.hooks.discovery import ENTRY_POINT_GROUP

MANIFEST: Final = "plugins.yaml"
PROJECT: Final = "pyproject.toml"


class Named(NamedTuple):
    """A class, module or object that is named somewhere.

    Attributes:
        path: Its full path, with dots.
        file: Where it is named.
        line: In which line.
        key: Name of the entry point, or of the plugin in the manifest.
    """

    path: str
    file: Path
    line: int
    key: str


class Subject:
    """A project that is checked.

    Args:
        folder: Its folder.
        repo: Address and tag, of a project from a repository.
        provides: What a manifest elsewhere says that it provides.
        below: Where in its repository it lies; empty for the top folder.
    """

    def __init__(
        self,
        folder: Path,
        repo: tuple[str, str] | None = None,
        provides: tuple[Named, ...] = (),
        below: str = "",
    ) -> None:
        self.top = folder
        self.folder = (folder / below).resolve()
        self.repo = repo
        self.below = below if repo else ""
        self._given = provides

    @property
    def project_file(self) -> Path:
        """Its pyproject.toml."""
        return self.folder / PROJECT

    @cached_property
    def text(self) -> str:
        """What its project file has; nothing where there is none."""
        try:
            return read_file(self.project_file).decode()
        except (OSError, ValueError):
            return ""

    @cached_property
    def data(self) -> dict[str, Any]:
        """The same, read; empty where that fails."""
        try:
            return read_toml(self.project_file)
        except (OSError, ValueError):
            return {}

    @property
    def table(self) -> Mapping[str, Any]:
        """Its table `[project]`."""
        return _table(self.data.get("project"))

    @property
    def name(self) -> str:
        """Name of its distribution; that of the folder where there is none."""
        name = self.table.get("name")
        return name if isinstance(name, str) and name else self.folder.name

    @property
    def plugin(self) -> str:
        """A name for a manifest: that of the repository, or of the project."""
        from cuvis_ai_core.plugins.lock.undeclared_plugin import name_of

        return name_of(self.repo[0] if self.repo else self.name)

    @cached_property
    def entry_points(self) -> tuple[Named, ...]:
        """What its entry points name, `package.module:object`."""
        points = _table(_table(self.table.get("entry-points")).get(ENTRY_POINT_GROUP))
        return tuple(
            Named(str(value), self.project_file, line_of(self.text, f'"{value}"', f"'{value}'"), str(name))
            for name, value in points.items()
        )

    @cached_property
    def provides(self) -> tuple[Named, ...]:
        """The classes that manifests name: those of its own manifest, and of the one that was given."""
        return (*self._given, *_own_provides(self.folder))

    @cached_property
    def code(self) -> Code:
        """Its code."""
        paths = [*(each.path for each in self.provides), *(each.path.partition(":")[0] for each in self.entry_points)]
        return code_of(self.folder, frozenset(path.partition(".")[0].strip() for path in paths), self.name)


def find(target: str, manifest: Path | None) -> Subject:
    """Return what an author means by PATH, URL@TAG or NAME.

    Raises:
        CuvisError: It cannot be fetched.
        UsageError: There is no such thing.
    """
    if manifest is not None:
        return _declared(target, manifest)
    if is_address(target):
        return _of_tag(parse_address(target))
    folder = Path(target).expanduser()
    if folder.is_dir():
        return Subject(folder)
    if folder.is_file() and folder.name == PROJECT:
        return Subject(folder.parent)
    return _installed(target)


def _of_tag(address: Address) -> Subject:
    from cuvis_ai_core.cli.shared.progress import report
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.lock.undeclared_plugin import fetched
    from cuvis_ai_core.registry import NodeRegistry

    store = Store(NodeRegistry.get_cache_dir())
    source = fetched(*address, store, lambda what: report(f"Fetching {what}"))
    return Subject(source.folder, (address.repo, source.tag), below=address.below)


def _declared(name: str, manifest: Path) -> Subject:
    from cuvis_ai_core._untrusted_files import load_yaml
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, read_manifest

    entry = read_manifest(manifest).named([name])[name]
    document = load_yaml(manifest)
    named = tuple(
        Named(path, manifest.absolute(), document.line_of("plugins", name, "provides", index) or 1, name)
        for index, path in enumerate(entry.provides)
    )
    below = entry.subdirectory or ""
    if isinstance(entry, GitPlugin):
        found = _of_tag(Address(entry.repo, entry.tag, below))
        return Subject(found.top, found.repo, named, below)
    return Subject(entry.path, None, named, below)


def _installed(name: str) -> Subject:
    """Return the project of a plugin that is pip-installed as it lies there (`pip install -e`)."""
    from cuvis_ai_core._nearest import did_you_mean
    from cuvis_ai_core.plugins.allowed_imports import project_of
    from cuvis_ai_core.plugins.dependencies.search_path import search_path
    from cuvis_ai_core.plugins.hooks.discovery import discover

    known = discover(frozenset())
    distribution = next((each.distribution for key, each in known.items() if name in {key, each.distribution}), name)
    found = search_path().distribution(distribution)
    if found is None:
        names = sorted({each.distribution for each in known.values()})
        raise click.UsageError(
            f"'{name}' is no folder, no address and no plugin that is installed here.{did_you_mean(name, names)}\n"
            "Give the folder of a project, URL@TAG, or the name of a pip-installed plugin. A plugin that a manifest "
            "names is checked by cuvis-ai plugins check NAME --plugins-path MANIFEST"
        )
    if project := project_of(found):
        return Subject(Path(project))
    raise LocalPathError(
        f"'{distribution}' {found.version} is installed as a copy, of which the project is not here.",
        hint="Check the project that it was built from: its folder, or URL@TAG.",
        location=distribution,
    )


def _own_provides(folder: Path) -> Iterator[Named]:
    """Yield what the manifest in a project says of the project itself."""
    from cuvis_ai_core._untrusted_files import load_yaml

    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    try:
        document = load_yaml(manifest)
        plugins = _table(_table(document.data).get("plugins"))
    except CuvisError:
        return  # of which another check speaks
    for name, entry in plugins.items():
        path = _table(entry).get("path")
        if isinstance(path, str) and (folder / path).resolve() == folder.resolve():
            for index, each in enumerate(_table(entry).get("provides") or ()):
                yield Named(str(each), manifest, document.line_of("plugins", name, "provides", index) or 1, name)


def broken_manifest(folder: Path) -> ManifestError | None:
    """Return what is wrong with the manifest in a project."""
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    try:
        if (folder / MANIFEST).is_file():
            read_manifest(folder / MANIFEST)
    except ManifestError as error:
        return error
    return None


def _table(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}
