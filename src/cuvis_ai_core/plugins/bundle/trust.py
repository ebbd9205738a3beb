"""What a bundle asks to be believed, who else says the same, and whether the user's own lock file does.

That the files are those of a commit is proved by git. What a bundle cannot prove is that this commit is what a tag of
a repository names, and which versions of dependencies are meant: so much is shown before anything is put in place.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.member_names import MANIFEST, is_below_manifest
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.unsettled_tags import NO_ANSWER, known_commits
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.git.repository_tags import remote_commit
from cuvis_ai_core.plugins.git.signatures import tag_of
from cuvis_ai_core.plugins.lock.lockfile import Lock, read_lock
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin, lock_path
from cuvis_ai_core.plugins.offline import is_offline

BUNDLE_ALONE: Final = "nobody but the bundle"


class Asked(NamedTuple):
    """What is asked to be believed of one plugin.

    Attributes:
        name: Name of the plugin.
        where: Address of its repository, or its path.
        tag: Its tag; empty for a local plugin.
        commit: The commit that the bundle has for it; empty for a local plugin.
        told_by: Who says that the tag names this commit; nobody says anything of the code of a local plugin.
        kind: What the policy calls it: `official`, `private` or `community`; empty without a policy.
        signature: Who signed the tag, or how it is signed where nobody asked whether that is true.
    """

    name: str
    where: str
    tag: str
    commit: str
    told_by: str
    kind: str = ""
    signature: str = ""

    @property
    def is_told_by_bundle_alone(self) -> bool:
        """Whether nobody else says which commit the tag names."""
        return self.told_by.startswith(BUNDLE_ALONE)


def asked_of(
    name: str, declared: GitPlugin | LocalPlugin, checkout: Path, lock: Lock, own: Lock | None, store: Store
) -> Asked:
    """Return what is asked to be believed of one plugin.

    Args:
        name: Its name.
        declared: Its entry in the manifest of the bundle.
        checkout: Its checkout, which git made.
        lock: The lock file of the bundle.
        own: A lock file of the user's own.
        store: The plugin cache.

    Raises:
        BundleError: Somebody who knows says that its tag names another commit.
        NotAllowedError: The policy of this machine does not allow it.
        SignatureError: Its tag is not signed as the policy asks.
        SourceError: The repository has no such tag.
    """
    entry = lock.plugins[name]
    if isinstance(declared, LocalPlugin):
        carried = is_below_manifest(entry["path"])
        said = "nobody: its files are in the bundle" if carried else "nobody: its files are not in the bundle"
        return Asked(name, entry["path"], "", "", said)
    address, commit = without_credentials(declared.repo), entry["commit"]
    judgement = policy_checks.judged(name, declared, own_process=entry["isolation"] == "process")
    signature = policy_checks.signed(name, declared, Source(checkout, commit, entry["content"]))
    return Asked(
        name,
        address,
        declared.tag,
        commit,
        _told_by(declared, commit, own, store),
        judgement.kind if judgement else "",
        f"by {signature.signer}" if signature else _unchecked(checkout, declared.tag),
    )


def _unchecked(checkout: Path, tag: str) -> str:
    found = tag_of(checkout, tag)
    return f"{found.form}, of nobody known" if found is not None and found.form else "unsigned"


def _told_by(declared: GitPlugin, commit: str, own: Lock | None, store: Store) -> str:
    address = without_credentials(declared.repo)
    locked = {
        entry["commit"]
        for entry in (own.plugins.values() if own else ())
        if (entry.get("repo"), entry.get("tag")) == (address, declared.tag)
    }
    if locked:
        _refuse_other(declared, commit, locked, f"your lock file {own.path if own else ''} has it")
        return "your lock file"
    cached = known_commits(address, declared.tag, store)
    if cached:
        _refuse_other(declared, commit, set(cached), "the plugin cache has it")
        # What an earlier bundle has said of the tag is no second witness.
        if any(cached.values()):
            return "the plugin cache"
    if is_offline():
        return f"{BUNDLE_ALONE}: no connection may be opened"
    try:
        found = remote_commit(declared.repo, declared.tag)
    except NO_ANSWER as error:
        return f"{BUNDLE_ALONE}: {error.message.splitlines()[0]}"
    _refuse_other(declared, commit, {found}, "the repository says that it is")
    return "the repository"


def _refuse_other(declared: GitPlugin, commit: str, known: set[str], who: str) -> None:
    if known != {commit}:
        raise BundleError(
            f"Tag {declared.tag} of {without_credentials(declared.repo)} is at commit {commit} in the bundle, but "
            f"{who} at {', '.join(sorted(known - {commit}))}. Nothing was unpacked.",
            hint="Ask whoever gave you the bundle which commit is meant, and the plugin's author whether the tag was "
            "moved. A bundle never replaces what you have.",
            location=without_credentials(declared.repo),
        )


def own_lock(given: Path | None, output: Path) -> Lock | None:
    """Return the lock file of the user's own: the one that is given, or one that lies where the bundle is to go.

    Raises:
        LockError: It cannot be read.
        BundleError: The one that is given is not there, or the bundle is to go where a file is.
    """
    if output.exists() and not output.is_dir():
        raise BundleError(f"{output} is a file, no folder.", hint="Choose another place with --output-dir.")
    if given is None:
        return read_lock(output / MANIFEST)
    found = read_lock(given)
    if found is None:
        raise BundleError(f"There is no lock file {lock_path(given)}.", hint="Give the path of a .lock file.")
    return found


def disagreements(lock: Lock, own: Lock) -> Iterator[str]:
    """Return in what the lock file of a bundle says something else, or more, than the user's own; for this platform."""
    for name, entry in lock.plugins.items():
        if own.plugins.get(name) != entry:
            yield f"plugin '{name}' is {'not' if name not in own.plugins else 'otherwise'} locked"
    here = interpreter()
    if here not in own.environments:
        yield f"it says nothing about {here}"
        return
    theirs, ours = lock.environments[here], own.environments[here]
    for what, table, mine in (
        ("dependencies", theirs.dependencies, ours.dependencies),
        ("the build", theirs.builds, ours.builds),
    ):
        yield from (
            f"{what} of plugin '{name}' are not those"
            for name, pins in table.items()
            if pins and mine.get(name) != pins
        )
    yield from (f"{pin} has other hashes" for pin in _other(theirs.hashes, ours.hashes))


def _other(theirs: Mapping[str, tuple[str, ...]], ours: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    # Fewer hashes are fine: a bundle names the wheels of one platform.
    return (pin for pin, hashes in theirs.items() if pin in ours and not set(hashes) <= set(ours[pin]))


def not_accepted(archive: Path, own: Lock | None, differing: list[str]) -> BundleError:
    """Return the error for a bundle that nobody accepted."""
    why = "nobody said that it is to be believed"
    if own is not None and differing:
        why = f"your lock file {own.path} does not say the same: {'; '.join(differing)}"
    return BundleError(
        f"The bundle {archive} was not unpacked: {why}.",
        hint=f"Look at what it would have you trust, above. If you do: cuvis-ai plugins unbundle {archive} --accept. "
        "Or give a lock file of your own that says the same: --lock FILE",
    )
