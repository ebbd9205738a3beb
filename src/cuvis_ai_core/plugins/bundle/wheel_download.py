"""Wheels as files: uv unpacks what it fetches, and keeps none."""

import hashlib
import shutil
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._subprocess import time_limit
from cuvis_ai_core.errors import InstallError, NetworkError
from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel


def download(wheel: Wheel, folder: Path) -> Path:
    """Have a wheel in a folder, and return its path.

    Raises:
        NetworkError: It cannot be had.
        InstallError: It is not the file that the package index speaks of.
    """
    place = folder / wheel.name
    address = without_credentials(wheel.address)
    try:
        # By urllib: uv has no command that leaves the file as it came (`uv pip download` does not exist).
        with _opened(wheel.address) as source, place.open("wb") as file:
            shutil.copyfileobj(source, file)
    except OSError as error:
        raise NetworkError(
            f"The wheel {address} cannot be fetched: {error}.",
            hint="Check the network and the proxy settings. An index that asks for a password is not supported here.",
            location=address,
        ) from error
    algorithm, _, digest = wheel.hash.partition(":")
    with place.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    # The index says the hash over the same connection: this tells a damaged file, not a dishonest index.
    if found != digest:
        raise InstallError(
            f"The wheel {address} has the hash {algorithm}:{found}, but the package index says {wheel.hash}.",
            hint="Try again; if that does not help, the index or a proxy hands out a damaged file.",
        )
    return place


def _opened(address: str) -> IO[bytes]:
    if urlsplit(address).scheme not in {"http", "https", "file"}:
        return Path(address).open("rb")
    response: IO[bytes] = urllib.request.urlopen(address, timeout=time_limit())  # noqa: S310 - the schemes above
    return response
