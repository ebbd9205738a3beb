"""Tags of which nobody but a bundle has said so far which commit they are, and what their repository says."""

import logging
from contextlib import suppress
from typing import Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core.errors import (
    AuthenticationError,
    CacheMismatchError,
    NetworkError,
    TimeLimitError,
    ToolNotFoundError,
)
from cuvis_ai_core.plugins.cache.checkout_entry import UNSETTLED, read_marker
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import MARKER, Store, listed

NO_ANSWER: Final = (AuthenticationError, NetworkError, TimeLimitError, ToolNotFoundError)
"""Why a repository does not answer, which says nothing about its tags."""

logger = logging.getLogger(__name__)


def known_commits(repo: str, tag: str, store: Store) -> dict[str, bool]:
    """Return the commits that a tag is known to be, under whatever name of a plugin, and whether that is settled.

    Args:
        repo: Address of the repository, without credentials.
        tag: The tag.
        store: The plugin cache.
    """
    found: dict[str, bool] = {}
    for place in (path for path in listed(store.root) if "@" in path.name):
        marker = read_marker(place)
        if marker is not None and (marker["repo"], marker["tag"]) == (repo, tag):
            found[marker["commit"]] = found.get(marker["commit"], False) or not marker.get(UNSETTLED)
    return found


def settle(name: str, source: Source) -> None:
    """Ask the repository which commit a tag is, where only a bundle has said so far, and remember the answer.

    Where nobody can be asked, what the bundle said holds on, with a warning.

    Raises:
        CacheMismatchError: It is another one.
        TagNotFoundError: There is no such tag.
    """
    if source.unsettled is None:
        return
    from cuvis_ai_core.plugins.git.repository_tags import remote_commit

    url, tag = source.unsettled
    marker = read_marker(source.folder) or {}
    try:
        found = remote_commit(url, tag)
    # Whether there is a network must not decide whether a bundle can be used; a tag that is gone is another matter.
    except NO_ANSWER as error:
        logger.warning(
            "plugin '%s': nobody but a bundle says that tag %s of %s is commit %s (%s)",
            *(name, tag, url, source.commit, error.message.splitlines()[0]),
        )
        return
    if found != source.commit:
        raise CacheMismatchError(
            f"Tag mismatch in cache for plugin '{name}': tag {tag} of {url} is at commit {found}, but a bundle brought "
            f"it as commit {source.commit}.",
            hint="Ask whoever gave you the bundle. To have what the repository has: "
            f'NodeRegistry.clear_plugin_cache("{name}").',
            plugin=name,
            location=url,
            path=source.folder,
        )
    with suppress(OSError):
        write_json(source.folder / ".git" / MARKER, {key: each for key, each in marker.items() if key != UNSETTLED})
