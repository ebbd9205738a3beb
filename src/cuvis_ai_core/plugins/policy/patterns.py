"""Patterns of a policy's rules: what one may be, and what it means.

Each `check_…` returns a pattern, or raises a `ManifestError` that reads after the key.
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.field_checks import show
from cuvis_ai_core.plugins.policy.addresses import USER, Address, address_of


def check_repo(text: str) -> str:
    """Check a pattern of addresses."""
    address = address_of(text)
    if address is None:
        raise ManifestError(
            f"{show(text)} is no pattern of addresses; write https://host/owner/*, or https://*/** for all"
        )
    if any("*" in label and label != "*" for label in address.host.split(".")):
        raise ManifestError(f"{show(text)} has a '*' beside other signs of the host; it stands for a whole part of it")
    return text


def check_path(text: str) -> str:
    """Check a pattern of folders."""
    if "\0" in text or not text.strip("/"):
        raise ManifestError(f"{show(text)} is no pattern of folders; write /srv/plugins/*, or /** for all")
    if ".." in text.split("/"):
        raise ManifestError(f"{show(text)} has a '..' in it; write the path without")
    return text


def check_distribution(text: str) -> str:
    """Check a pattern of names of distributions."""
    if not text.strip() or any(each in text for each in " /;=<>"):
        raise ManifestError(f"{show(text)} is no pattern of names of packages; write cuvis-ai-* or a whole name")
    return text


def matches(pattern: Address, address: Address) -> bool:
    """Tell whether a pattern means an address.

    `*` stands for signs within one part of the path, `**` for any number of parts. A pattern for https means no
    http; one without a port means the usual ports; an account on an ssh host is `git`, or the one of the pattern.
    """
    users = {"", USER, pattern.user}
    return (
        (address.secure or not pattern.secure)
        and address.user in users
        and pattern.port in {address.port, "*"}
        and _hosts_match(pattern.host, address.host)
        and _parts_match(pattern.parts, address.parts)
    )


def folder_matches(pattern: Path, real: Path) -> bool:
    """Tell whether a pattern means a folder; links in what stands before the first `*` of the pattern are followed.

    Args:
        pattern: The pattern, absolute.
        real: The folder, without links in it.
    """
    parts = pattern.parts
    fixed = next((count for count, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return _parts_match((*Path(os.path.realpath(Path(*parts[:fixed]))).parts, *parts[fixed:]), real.parts)


def _hosts_match(pattern: str, host: str) -> bool:
    """Tell whether a host fits a pattern: each `*` is one of its parts, and one alone is any host."""
    if pattern == "*":
        return True
    wanted, labels = pattern.split("."), host.split(".")
    return len(wanted) == len(labels) and all(each in {"*", label} for each, label in zip(wanted, labels, strict=True))


def _parts_match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Tell whether the parts of a path fit a pattern, part by part; `**` fits any number of them, one at least."""
    # How many of the parts the pattern may have taken so far: trying all ways would take for ever with many of them.
    taken = {0}
    for each in pattern:
        if each == "**":
            taken = set(range(min(taken) + 1, len(parts) + 1)) if taken else set()
        else:
            taken = {count + 1 for count in taken if count < len(parts) and fnmatchcase(parts[count], each)}
    return len(parts) in taken
