"""Which of a repository's tags is the newest version."""

import re
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version


def newest(tags: Iterable[str], present: str) -> str:
    """Return the tag of the highest version that is higher than the present one, or else the present tag.

    Only tags that are spelled alike count, so that `viewer-2.0` is no newer version of `reader-1.0`. Pre-releases count
    only for who has one.

    Args:
        tags: The tags of the repository.
        present: The tag that the manifest has.
    """
    style, version = _split(present)
    if version is None:
        return present
    found = [(each, tag) for tag in tags for prefix, each in [_split(tag)] if each is not None and prefix == style]
    if not version.is_prerelease:
        found = [(each, tag) for each, tag in found if not each.is_prerelease]
    # The present one first: a tag of the same version that is spelled otherwise (`v1.0`, `v1.0.0`) is no update.
    return max([(version, present), *((each, tag) for each, tag in found if each > version)])[1]


def highest(tags: Iterable[str]) -> str | None:
    """Return the tag of the highest version, a pre-release only where there is nothing else; None where none is one.

    A tag that is a version alone (`v1.2`) goes before one that names something, too (`reader-2.0`).
    """
    found = [(not prefix, not each.is_prerelease, each, tag) for tag in tags for prefix, each in [_split(tag)] if each]
    plain = [(final, each, tag) for alone, final, each, tag in found if alone or tag.startswith("v")]
    return max(plain or [(final, each, tag) for _, final, each, tag in found], default=(False, None, None))[2]


def _split(tag: str) -> tuple[str, Version | None]:
    """Return what stands before the version in a tag, and the version."""
    # Python's lookbehinds have a fixed width, hence one for each thing that may stand before a version.
    for begin in re.finditer(r"(?:(?<=^)|(?<=[^\w.])|(?<=_)|(?<=^v)|(?<=[^\w.]v)|(?<=_v))\d", tag):
        try:
            return tag[: begin.start()], Version(tag[begin.start() :])
        except InvalidVersion:
            continue
    return tag, None
