"""The tags of a Git repository: one of them fetched into a folder, and which there are."""

import logging
import os
from collections.abc import Callable
from pathlib import Path, PurePath

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import SourceError, TagNotFoundError
from cuvis_ai_core.plugins.disk.altered_files import checkout_files
from cuvis_ai_core.plugins.git.fetch_commit import NoSuchReferenceError, check_out
from cuvis_ai_core.plugins.git.git_command import ls_remote, rewritten
from cuvis_ai_core.plugins.git.git_errors import unreachable
from cuvis_ai_core.plugins.git.submodules import add_submodules
from cuvis_ai_core.plugins.offline import refuse_offline
from cuvis_ai_core.plugins.policy.file_location import none_is_there

logger = logging.getLogger(__name__)


def fetch(url: str, tag: str, folder: Path, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Check out one tag without history, whatever branches have that name, with its submodules; return its commit.

    Args:
        url: Address of the repository; credentials in it are used, never stored.
        tag: Name of the tag.
        folder: Folder to make.
        meanwhile: What to do while git waits for the network.

    Raises:
        SourceError: The tag cannot be had.
        StoreError: The disk is full.
        TimeLimitError: git took longer than it may.
    """
    refuse_offline(url)

    # Without a policy nobody asked where code comes from; asking git costs a process.
    under_policy, told = not none_is_there(), False

    def waiting() -> None:  # once for each way of asking that git tries
        nonlocal told
        if under_policy and not told:
            told = True
            _tell_of_mirror(url, rewritten(url, folder.parent))
        meanwhile()

    try:
        commit = check_out(url, f"refs/tags/{tag}", folder, f"fetch tag {tag} of", waiting)
    except NoSuchReferenceError:
        raise _no_tag(url, tag) from None
    # Before links are looked at: one in a submodule leads out as well as one in the repository.
    add_submodules(url, folder)
    refuse_links(folder, url)
    return commit


def _tell_of_mirror(url: str, actual: str) -> None:
    """Say that the user's own git has a mirror for an address: the policy is about the address that is asked for."""
    asked, mirror = without_credentials(url), without_credentials(actual)
    if mirror and mirror != asked:
        logger.warning("%s is fetched from %s, as url.….insteadOf of your git configuration says", asked, mirror)


def remote_commit(url: str, tag: str) -> str:
    """Ask the repository which commit a tag names now, whether the tag has a message of its own or not.

    Raises:
        SourceError: The tag is not there, or the repository does not answer.
        TimeLimitError: git took longer than it may.
    """
    reference = f"refs/tags/{tag}"
    # Both names, since a server matches patterns literally: without `^{}` an annotated tag is told as its own object.
    commit = _asked(url, "--", url, reference, f"{reference}^{{}}").get(tag)
    if commit is None:
        raise _no_tag(url, tag)
    return commit


def remote_tags(url: str) -> dict[str, str]:
    """Ask the repository for its tags, and which commit each names.

    Raises:
        SourceError: The repository does not answer.
        TimeLimitError: git took longer than it may.
    """
    return _asked(url, "--tags", "--", url)


def _asked(url: str, *arguments: str) -> dict[str, str]:
    """Return the commits of the tags that `git ls-remote` lists."""
    refuse_offline(url)
    finished = ls_remote(*arguments)
    if finished.returncode:
        raise unreachable(finished, "ask", url)
    found = (line.partition("\trefs/tags/") for line in finished.stdout.splitlines())
    commits = {tag: commit for commit, _, tag in found if tag}
    # An annotated tag is an object of its own; what it names is listed with ^{}.
    return {tag: commits.get(f"{tag}^{{}}", commit) for tag, commit in commits.items() if not tag.endswith("^{}")}


def _no_tag(url: str, tag: str) -> TagNotFoundError:
    address = without_credentials(url)
    branch = bool(ls_remote("--heads", "--", url, f"refs/heads/{tag}").stdout)
    what = f"'{tag}' is a branch, not a tag, in" if branch else f"Tag '{tag}' does not exist in"
    return TagNotFoundError(
        f"{what} {address}. Plugins are loaded from tags only: no branch, no commit.",
        hint=f"See which tags there are: git ls-remote --tags {address}",
        location=address,
        tag=tag,
    )


def refuse_links(folder: Path, url: str) -> None:
    """Refuse a checkout with a link that leads out of it, or into Git's own folder: who builds it would follow.

    Raises:
        SourceError: It has one.
    """
    # The cache itself may be reached by a link (`/tmp` on macOS): both sides are compared resolved.
    top = os.path.realpath(folder)
    for name in checkout_files(folder):
        path = os.path.join(folder, name)
        if os.path.islink(path):
            inside = PurePath(os.path.realpath(path)).is_relative_to(top)
            if not inside or PurePath(os.path.realpath(path)).is_relative_to(f"{top}{os.sep}.git"):
                raise SourceError(
                    f"{without_credentials(url)}: {name} is a link that leads out of the checkout, to "
                    f"{os.readlink(path)}.",
                    hint="Plugins with such links are not loaded: ask the author for a tag without it.",
                    location=without_credentials(url),
                )
