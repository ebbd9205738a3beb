"""The Hugging Face hub: its library, which does the fetching, and what its errors mean."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from cuvis_ai_core._error_location import words_of
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import CuvisError, MissingExtraError

HF_ORG: Final = "cubert-gmbh"
"""Whose the published models and data sets are."""
HF_EXTRA_HINT: Final = "pip install cuvis-ai-core[hf]"
_OFFLINE: Final = ("HF_HUB_OFFLINE", "CUVIS_OFFLINE")
_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GatedRepoError": "its owner lets in those alone whom he knows",
        "RepositoryNotFoundError": "there is no such repository, or it is not public",
        "RevisionNotFoundError": "the repository has no such revision",
        "EntryNotFoundError": "the repository has no such file",
        "OfflineModeIsEnabled": "no connection may be opened (HF_HUB_OFFLINE)",
        "LocalEntryNotFoundError": "there is no connection to the hub",
    }
)
"""By the names of errors, the most special first: their own texts are several lines of addresses."""
_OTHERS_FILE: Final = (
    "Look at its name. If it is not open to all, ask for access on its page, and give a token (--token, or HF_TOKEN)."
)
_OF_DISKS: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
        errno.EROFS,
    }
)
_DECLARED_FILE: Final = "No token is sent for what is declared, which has to be open to all: ask whoever declared it."


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
            hint="Install the extra: pip install 'cuvis-ai-core[hf]'",
            extra="hf",
        ) from error
    return huggingface_hub


def is_offline() -> bool:
    """Tell whether no connection may be opened."""
    return any(os.environ.get(name, "").strip().lower() not in {"", "0", "false", "no", "off"} for name in _OFFLINE)


def refuse_offline(what: str, kind: type[CuvisError], hint: str) -> None:
    """Raise if no connection may be opened.

    Raises:
        CuvisError: It may not; of that kind.
    """
    if is_offline():
        raise kind(
            f"{what} cannot be fetched: no connection may be opened (HF_HUB_OFFLINE or CUVIS_OFFLINE).", hint=hint
        )


@contextmanager
def fetching(what: str, kind: type[CuvisError], *, sends_token: bool = False) -> Iterator[None]:
    """Have errors of the library say in a line what cannot be fetched, and why.

    Args:
        what: Is fetched, as a sentence begins.
        kind: Of the error.
        sends_token: Whether the library sends a token, if there is one.

    Raises:
        CuvisError: It cannot be fetched; of that kind.
    """
    try:
        yield
    except Exception as error:
        hint = "Look at the connection, and run the same command again."
        if _is_of_this_disk(error):
            hint = "Look at the folder and the room on its disk, and run the same command again."
        elif _is_closed(error):
            hint = _OTHERS_FILE if sends_token else _DECLARED_FILE
        raise kind(f"{what} cannot be fetched: {why(error)}.", hint=hint) from error


def _is_of_this_disk(error: BaseException) -> bool:
    """Tell whether a file cannot be written; errors of connections are of the same kind, and have other numbers."""
    # By name, as few programs that come here have loaded the network: their numbers are others' too.
    is_network = any(kind.__name__ in {"gaierror", "SSLError"} for kind in type(error).__mro__)
    return isinstance(error, OSError) and not is_network and error.errno in _OF_DISKS


def _is_closed(error: BaseException) -> bool:
    """Tell whether a repository does not let in everybody; one that is not public counts as not there."""
    return any(kind.__name__ == "RepositoryNotFoundError" for kind in type(error).__mro__)


def why(error: BaseException) -> str:
    """Return what an error of the library means, in one line."""
    # By their names: the classes have moved from module to module of the library.
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "LocalEntryNotFoundError" in kinds:  # which is an EntryNotFoundError, too
        return _MEANINGS["LocalEntryNotFoundError"]
    for name, meaning in _MEANINGS.items():
        if name in kinds:
            return meaning
    text = redact(words_of(error)).strip()
    return shown_in_line(text.partition("\n")[0]) or type(error).__name__
