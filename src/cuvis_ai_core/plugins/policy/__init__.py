"""The policy of this machine: one file that says which plugins may be loaded, of which kind, and what is asked of them.

`policy` returns it, or nothing where there is none; `Policy.judge` says under which rule a source may be loaded.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core.plugins.policy.file_location import none_is_there

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.policy.policy_rules import Policy


def policy() -> "Policy | None":
    """Return the policy of this machine; what reads it is imported where there is one.

    Raises:
        PolicyError: It is broken.
    """
    if none_is_there():
        return None
    from cuvis_ai_core.plugins.policy.policy_rules import find_policy

    return find_policy()
