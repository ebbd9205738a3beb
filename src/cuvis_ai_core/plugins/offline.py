"""Working without a network: who says so, and what is said where something is missing."""

import os
from typing import Final

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import OfflineError

OFFLINE_VARIABLE: Final = "CUVIS_OFFLINE"

WAY_OUT: Final = (
    "Load the manifest once with a network, or carry it along: cuvis-ai plugins bundle where there is one, "
    "cuvis-ai plugins unbundle here."
)


def is_offline() -> bool:
    """Tell whether this process may open no connection: `CUVIS_OFFLINE=1`."""
    # Whatever is no 'no': CUVIS_OFFLINE=y was taken for one.
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in {"", "0", "false", "no", "off"}


def not_fetched(repo: str, tag: str) -> OfflineError:
    """Return the error for a tag of a repository that is not in the cache."""
    address = without_credentials(repo)
    return OfflineError(
        f"{address} {tag} is not in the plugin cache, and no connection may be opened.",
        hint=WAY_OUT,
        location=address,
    )


def refuse_offline(repo: str) -> None:
    """Raise if this process may open no connection.

    Raises:
        OfflineError: It may not.
    """
    if is_offline():
        address = without_credentials(repo)
        raise OfflineError(
            f"{address} was not asked: no connection may be opened.",
            hint=f"Try again where there is a network, without --offline and {OFFLINE_VARIABLE}.",
            location=address,
        )
