"""A plugin in a repository that no manifest names yet: its name, its newest tag, its checkout."""

import keyword
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import SourceError, TagNotFoundError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import git_source, project_folder, projects
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git.git_command import require_git
from cuvis_ai_core.plugins.git.repository_tags import remote_tags
from cuvis_ai_core.plugins.installing.pyproject import is_project
from cuvis_ai_core.plugins.lock.newest_tag import highest
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, parse_plugin


class Fetched(NamedTuple):
    """A tag of a repository, on disk.

    Attributes:
        folder: Its checkout.
        tag: The tag; the newest version where none was asked for.
    """

    folder: Path
    tag: str


def fetched(address: str, tag: str | None, subdirectory: str, store: Store, announce: Callable[[str], None]) -> Fetched:
    """Return the checkout of a tag that no manifest names yet.

    Args:
        address: Address of the repository.
        tag: The tag; None means that of the highest version.
        subdirectory: Folder of the project in it; empty for the top folder.
        store: The plugin cache.
        announce: Called with the address before the network is waited for.

    Raises:
        ManifestError: The address or the tag is none.
        NotAllowedError: The policy of this machine does not allow it; then it is not asked for its tags either.
        SignatureError: The tag is not signed as the policy asks.
        SourceError: The repository does not answer, or has no such tag, or none that is a version, or the project is
            not where it is said to be.
    """
    name = name_of(address)
    below = {"subdirectory": subdirectory} if subdirectory else {}
    # A made-up entry: the manifest's rules judge address and tag, and the policy is asked before the network.
    entry = {"repo": address, "tag": tag or "v1", "provides": ["any.Node"], **below}
    declared = parse_plugin(name, entry, base=Path())
    assert isinstance(declared, GitPlugin)
    policy_checks.judged(name, declared, own_process=True)
    require_git()
    chosen = tag or _newest(address)
    source = git_source(name, address, chosen, store, announce)
    declared = declared.model_copy(update={"tag": chosen})
    policy_checks.signed(name, declared, source)
    if not is_project(project_folder(declared, source)) and (known := projects(source.folder)):
        raise SourceError(
            f"{subdirectory or 'The top folder'} of {without_credentials(address)} {chosen} holds no project.",
            hint=f"Name one of those in it: URL@TAG#subdirectory=FOLDER; there are {', '.join(sorted(known))}.",
            location=without_credentials(address),
        )
    return Fetched(source.folder, chosen)


def name_of(address: str) -> str:
    """Return the name that a plugin gets of its repository or project: `cuvis-ai-adaclip.git` is `cuvis_ai_adaclip`."""
    last = re.split(r"[/:]", address.rstrip("/"))[-1].removesuffix(".git")
    name = re.sub(r"\W+", "_", last).strip("_") or "plugin"
    # A plugin's name becomes part of a module's, which does not begin with a digit and is no word of Python.
    return f"_{name}" if name[0].isdigit() else name + "_" * keyword.iskeyword(name)


def _newest(address: str) -> str:
    tags = remote_tags(address)
    found = highest(tags)
    if found is None:
        shown = ", ".join(sorted(tags)[:10]) or "none"
        raise TagNotFoundError(
            f"{without_credentials(address)} has no tag that is a version; its tags: {shown}.",
            hint="Name one of its tags: URL@TAG. Plugins are loaded from tags only.",
            location=without_credentials(address),
            tag="",
        )
    return found
