"""What a pattern of a rule may be: each `check_…` returns it, or raises a `ManifestError` that reads after the key."""

from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.field_checks import show
from cuvis_ai_core.plugins.policy.addresses import address_of


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
