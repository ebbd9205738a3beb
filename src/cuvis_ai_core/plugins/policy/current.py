"""The policy for those who load: where there is none, nothing is imported to see that."""

from typing import TYPE_CHECKING

from cuvis_ai_core.plugins.policy.finding import none_is_there

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.policy.policy import Policy


def policy() -> "Policy | None":
    """Return the policy of this machine; what reads it is imported where there is one.

    Raises:
        PolicyError: It is broken.
    """
    if none_is_there():
        return None
    from cuvis_ai_core.plugins.policy.policy import find_policy

    return find_policy()
