"""How a plugin stands with the policy of this machine, as far as that is known without fetching anything."""

from typing import NamedTuple

from cuvis_ai_core.errors import NotAllowedError, PluginError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source, cached_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git.signatures import tag_of
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin


class Standing(NamedTuple):
    """How a plugin stands with the policy.

    Attributes:
        kind: `official`, `private`, or `community`, which is all else.
        rule: By which rule, as `FILE:LINE`; "-" without a policy.
        signature: Who signed the tag, or what is known of that.
        why: Why it may not be loaded; "" where it may.
    """

    kind: str
    rule: str
    signature: str
    why: str


def standing_of(name: str, declared: GitPlugin | LocalPlugin, store: Store, *, locked: bool) -> Standing:
    """Return how a plugin stands with the policy.

    Raises:
        PolicyError: The policy is broken.
    """
    source = cached_source(name, declared, store) if isinstance(declared, GitPlugin) else None
    said = _said(declared, source)
    try:
        # As if it had a process: that it needs one is part of the answer, not a refusal.
        judgement = policy_checks.judged(name, declared, own_process=True)
        if not locked:
            policy_checks.refuse_unlocked(name)
    except NotAllowedError as error:
        return Standing("community", error.rule, said, str(error))
    if judgement is None:
        return Standing("community", "-", said, "")
    if judgement.signers is not None and source is not None:
        try:
            signature = policy_checks.signed(name, declared, source)
        except PluginError as error:
            return Standing(judgement.kind, judgement.rule, getattr(error, "reason", "not known"), str(error))
        assert signature is not None
        said = f"{signature.signer} {signature.key}"
    return Standing(judgement.kind, judgement.rule, said, "")


def _said(declared: GitPlugin | LocalPlugin, source: Source | None) -> str:
    """Return what a tag says of itself, which nobody has checked."""
    if not isinstance(declared, GitPlugin):
        return "-"
    if source is None:
        return "not fetched"
    tag = tag_of(source.folder, declared.tag)
    return f"{tag.form}, not checked" if tag is not None and tag.form else "unsigned"
