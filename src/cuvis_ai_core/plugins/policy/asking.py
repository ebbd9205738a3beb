"""The policy for those who load: where there is none, nothing is imported to see that."""

from typing import TYPE_CHECKING

from cuvis_ai_core.errors import NotAllowedError
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


def refuse_rewritten(url: str, actual: str) -> None:
    """Raise if git, as the user has configured it, would fetch from where the policy allows nothing.

    Args:
        url: The address that is asked for.
        actual: What `insteadOf` makes of it.

    Raises:
        NotAllowedError: It would.
    """
    found = policy()
    if found is not None and actual and actual != url:
        try:
            found.judge(actual)
        except NotAllowedError as error:
            error.message += " The configuration of git (url.….insteadOf) leads there."
            raise
