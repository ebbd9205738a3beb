"""The Hugging Face hub: its library, which does the fetching, and what its errors mean."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from cuvis_ai_core._error_location import words_of
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import MissingExtraError

_OFFLINE: Final = ("HF_HUB_OFFLINE", "CUVIS_OFFLINE")
_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GatedRepoError": "its owner lets in those alone whom he knows: ask for access on its page, and give a token",
        "RepositoryNotFoundError": "there is no such repository, or it is not public",
        "RevisionNotFoundError": "the repository has no such revision",
        "EntryNotFoundError": "the repository has no such file",
        "OfflineModeIsEnabled": "no connection may be opened (HF_HUB_OFFLINE)",
        "LocalEntryNotFoundError": "there is no connection to the hub",
    }
)
"""By the names of errors, the most special first: their own texts are several lines of addresses."""


def hub_library(wanted: str) -> Any:
    """Return `huggingface_hub`.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Fetching {wanted} needs the package 'huggingface_hub', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[hub]'",
            extra="hub",
        ) from error
    return huggingface_hub


def is_offline() -> bool:
    """Tell whether no connection may be opened."""
    return any(os.environ.get(name, "").strip().lower() not in {"", "0", "false", "no", "off"} for name in _OFFLINE)


def why(error: BaseException) -> str:
    """Return what an error of the library means, in one line."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "LocalEntryNotFoundError" in kinds:  # which is an EntryNotFoundError, too
        return _MEANINGS["LocalEntryNotFoundError"]
    for name, meaning in _MEANINGS.items():
        if name in kinds:
            return meaning
    text = redact(words_of(error)).strip()
    return shown_in_line(text.partition("\n")[0]) or type(error).__name__
