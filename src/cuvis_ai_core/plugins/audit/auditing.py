"""Looking at the plugins of a manifest: at it, its lock file, checkouts, and what the package index says."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._untrusted_files import read_toml
from cuvis_ai_core.errors import CuvisError, SourceError
from cuvis_ai_core.plugins.audit.licences import licence_of, licence_of_project
from cuvis_ai_core.plugins.cache.environment_entry import packages_of
from cuvis_ai_core.plugins.cache.policy_checks import unbounded
from cuvis_ai_core.plugins.cache.policy_status import Standing, standing_of
from cuvis_ai_core.plugins.cache.sources import Source, cached_source, content_of, project_folder
from cuvis_ai_core.plugins.cache.store import Store, listed
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.git.git_command import git
from cuvis_ai_core.plugins.installing.pyproject import read_project
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.lock.lockfile import Lock, LockedPins, read_lock
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin, read_manifest


class Finding(NamedTuple):
    """Something that whoever trusts a plugin should know.

    Attributes:
        about: `policy`, `lock`, `signature`, `bounds`, `hashes`, `source`, `yanked` or `licence`.
        text: What it is.
    """

    about: str
    text: str


class AuditedDependency(NamedTuple):
    """A locked dependency.

    Attributes:
        pin: `name==version`, or `name @ address`.
        hashes: Hashes of its wheels, or of its source.
        built: Whether it is built from source.
        licence: Its licence; "" where that is not known.
        yanked: Why its author took it back; "" where that is not so, or not known.
    """

    pin: str
    hashes: tuple[str, ...]
    built: bool
    licence: str
    yanked: str


class AuditedPlugin(NamedTuple):
    """What was found out about a plugin.

    Attributes:
        name: Its name in the manifest.
        source: Address of its repository, or its path.
        tag: Its tag.
        commit: The commit of the tag, where that is known.
        age: Days since the tag was made; None where that is not known.
        standing: How it stands with the policy.
        licence: Its licence; "" where it says none.
        dependencies: What is locked for it on this platform.
        findings: What should be known.
    """

    name: str
    source: str
    tag: str | None
    commit: str | None
    age: int | None
    standing: Standing
    licence: str
    dependencies: tuple[AuditedDependency, ...]
    findings: tuple[Finding, ...]


class Audit(NamedTuple):
    """What was found out about a manifest.

    Attributes:
        manifest: The manifest.
        lock: Its lock file, if there is one.
        plugins: Its plugins.
        not_asked: Why nobody knows whether dependencies were yanked; "" where the package index was asked.
    """

    manifest: Path
    lock: Lock | None
    plugins: tuple[AuditedPlugin, ...]
    not_asked: str


def audit(manifest: Path, store: Store, *, offline: bool) -> Audit:
    """Look at the plugins of a manifest. Nothing of them is fetched, built or imported.

    Args:
        manifest: The manifest.
        store: The plugin cache, for what was fetched of them.
        offline: Whether the package index may not be asked.

    Raises:
        ManifestError: The manifest cannot be read.
        LockError: Its lock file cannot be read.
        PolicyError: The policy of this machine is broken.
    """
    declared, lock = read_manifest(manifest).plugins, read_lock(manifest)
    # Pins are those of one interpreter and platform (decision 6).
    here = lock.environments.get(interpreter()) if lock is not None else None
    yanked, not_asked = _yanked(here, store, offline=offline) if here is not None else ({}, "nothing is locked")
    plugins = tuple(_audited(name, each, lock, here, yanked, store) for name, each in declared.items())
    return Audit(manifest, lock, plugins, not_asked)


def _audited(
    name: str,
    declared: GitPlugin | LocalPlugin,
    lock: Lock | None,
    here: LockedPins | None,
    yanked: Mapping[str, str],
    store: Store,
) -> AuditedPlugin:
    source = cached_source(name, declared, store) if isinstance(declared, GitPlugin) else Source(declared.path)
    locked = lock is not None and name in lock.plugins
    standing = standing_of(name, declared, store, locked=locked)
    project, problems = _project(declared, source)
    dependencies = tuple(_dependencies(name, declared, source, here, yanked, store))
    findings = [
        *([Finding("policy", standing.why.splitlines()[0])] if standing.why else []),
        *([] if locked else [Finding("lock", "is not locked: other versions may be installed at each load")]),
        *([Finding("signature", "its tag is unsigned")] if standing.signature == "unsigned" else []),
        *problems,
        *([Finding("bounds", f"{each} has no upper bound") for each in unbounded(project.get("needs", ()))]),
        *([Finding("source", f"may build from source: {', '.join(declared.build)}")] if declared.build else []),
        *_about(dependencies),
        *([] if project.get("licence") or source is None else [Finding("licence", "states no licence")]),
    ]
    return AuditedPlugin(
        name,
        without_credentials(declared.repo) if isinstance(declared, GitPlugin) else str(declared.path),
        declared.tag if isinstance(declared, GitPlugin) else None,
        source.commit if source is not None else None,
        _age(declared, source),
        standing,
        project.get("licence", ""),
        dependencies,
        tuple(findings),
    )


def _about(dependencies: tuple[AuditedDependency, ...]) -> Iterator[Finding]:
    for each in dependencies:
        if not each.hashes:
            yield Finding("hashes", f"{each.pin} is locked without a hash")
        if each.built:
            yield Finding("source", f"{each.pin} is built from source")
        if each.yanked:
            yield Finding("yanked", f"{each.pin} was yanked: {each.yanked}")
        if not each.licence:
            yield Finding("licence", f"the licence of {each.pin} is not known")


def _project(declared: GitPlugin | LocalPlugin, source: Source | None) -> tuple[dict[str, Any], list[Finding]]:
    """Return licence and requirements of a plugin's project, as its file states them."""
    if source is None:
        return {}, [Finding("source", "is not in the plugin cache: its project was not looked at")]
    try:
        folder = project_folder(declared, source)
        needs = read_project(folder, declared.extras).dependencies
        file = folder / "pyproject.toml"
        table = read_toml(file).get("project", {}) if file.is_file() else {}
    except (CuvisError, OSError, ValueError) as error:
        return {}, [Finding("source", str(getattr(error, "message", error)))]
    found = {"licence": licence_of_project(table), "needs": needs or ()}
    dynamic = [] if needs is not None else [Finding("bounds", "only a build can tell what it depends on")]
    return found, dynamic


def _dependencies(
    name: str,
    declared: GitPlugin | LocalPlugin,
    source: Source | None,
    here: LockedPins | None,
    yanked: Mapping[str, str],
    store: Store,
) -> Iterator[AuditedDependency]:
    folders = list(_installed(name, declared, source, store))
    for pin in here.dependencies.get(name, ()) if here is not None else ():
        distribution, _, version = pin.partition("==")
        licence = licence_of(distribution.partition(" @ ")[0], version, folders)
        assert here is not None
        yield AuditedDependency(pin, here.hashes.get(pin, ()), pin in here.built, licence, yanked.get(pin, ""))


def _installed(name: str, declared: GitPlugin | LocalPlugin, source: Source | None, store: Store) -> Iterator[Path]:
    """Return the folders in which a plugin's dependencies are installed."""
    if source is None:
        return
    try:
        content = content_of(declared, source)
    except SourceError:
        return
    yield from listed(store.targets(name, content))
    yield from map(packages_of, listed(store.environments(name, content)))


def _age(declared: GitPlugin | LocalPlugin, source: Source | None) -> int | None:
    """Return how many days ago a tag was made, or its commit where the tag has no date of its own."""
    if source is None or not isinstance(declared, GitPlugin):
        return None
    # `creatordate` is that of the tag, or of its commit where the tag is a lightweight one
    command = ("for-each-ref", "--format=%(creatordate:unix)", f"refs/tags/{declared.tag}")
    told = git(source.folder, *command).stdout.strip()
    made = datetime.fromtimestamp(int(told), UTC) if told.isdecimal() else None
    return None if made is None else max(0, (datetime.now(UTC) - made).days)


def _yanked(here: LockedPins, store: Store, *, offline: bool) -> tuple[dict[str, str], str]:
    """Return which pins their authors took back, with the reason, and why the package index was not asked."""
    # What has an address of its own comes from no index.
    pins = sorted({pin for each in here.dependencies.values() for pin in each if " @ " not in pin})
    if offline or not pins:
        return {}, "no connection may be opened" if offline else ""
    try:
        with store.workspace() as folder:
            return Uv("audit", folder, dry=True, allowed=here.names_built()).yanked(pins), ""
    except CuvisError as error:
        return {}, str(getattr(error, "message", error)).splitlines()[0]
