"""Passwords of indexes and proxies, out of variables into the settings that uv reads once, when it starts.

A build runs a plugin's code as a child of uv and sees what uv's environment holds. Settings come through a pipe, which
is empty by the time that anything is built.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from cuvis_ai_core._environment_variables import passed_names

_NAMED: Final = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")
# Also a user alone: many hosts take a token in that place.
_WITH_PASSWORD: Final = re.compile(r"//[^/@\s]+@")
_INDEXES: Final = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_DEFAULTS: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_PROXIES: Final = {
    name: keys
    for lower, keys in {
        "http_proxy": ("http-proxy",),
        "https_proxy": ("https-proxy",),
        "all_proxy": ("http-proxy", "https-proxy"),
    }.items()
    for name in (lower, lower.upper())
}

# Linux has 65,536, macOS 16,384 until a pipe is used much; what is written beyond would wait for a reader for ever.
_PIPE: Final = 16_384
"""Bytes that a pipe surely holds until somebody reads them."""

# `_subprocess` runs it through a shell that takes handle 3 for its own watch; scripts may name handles up to 9.
_SHELLS: Final = 9
"""The file handles up to this one are those that a shell script uses."""

_Settings = dict[str, Any]


def hidden(variables: Mapping[str, str], settings: Mapping[str, Any]) -> tuple[dict[str, str], _Settings]:
    """Return variables without passwords, and settings of uv that say what these said.

    Args:
        variables: What uv would get.
        settings: What its `uv.toml` is to say.
    """
    found = dict(settings)
    telling = {name for name, value in variables.items() if _tells(name, value)}
    # uv reads the file that NETRC names by itself; where builds may not see that variable, its passwords are put into
    # addresses.
    tickets = os.environ.get("NETRC", "") if "NETRC" not in variables else ""
    if tickets or any(name.startswith("UV_") for name in telling):
        # All of them, once one has a password: settings come after variables, so that the order holds within one of
        # both only.
        found["index"] = [_opened(each, variables, tickets) for each in _indexes(variables, _of_files(found))]
        telling.update(name for name in (*_INDEXES, *_DEFAULTS) if name in variables)
    if "UV_FIND_LINKS" in telling:
        found["find-links"] = [*_listed(variables["UV_FIND_LINKS"], ","), *found.get("find-links", ())]
    for name in sorted(telling & _PROXIES.keys(), reverse=True):  # the common proxy counts where there is no other
        found |= {key: variables[name] for key in _PROXIES[name] if name.lower() != "all_proxy" or key not in found}
    if telling & _PROXIES.keys():
        direct = variables.get("NO_PROXY") or variables.get("no_proxy") or ""
        found.setdefault("no-proxy", _listed(direct, ","))
    gone = telling - passed_names()
    return {name: value for name, value in variables.items() if name not in gone}, found


def _tells(name: str, value: str) -> bool:
    address = name.startswith(("UV_", "PIP_")) or name in _PROXIES
    return bool(_NAMED.fullmatch(name)) or (address and bool(_WITH_PASSWORD.search(value)))


def _of_files(settings: _Settings) -> list[_Settings]:
    """Take the indexes out of settings, those in the old words too."""
    found = list(settings.pop("index", ()))
    found += [{"url": url} for url in settings.pop("extra-index-url", ())]
    default = settings.pop("index-url", None)
    return [*found, {"url": default, "default": True}] if default else found


def _indexes(variables: Mapping[str, str], settings: list[_Settings]) -> Iterator[_Settings]:
    """Return the indexes in uv's order: those of variables come before those of files."""
    for name in _INDEXES:
        yield from map(_index, _listed(variables.get(name, ""), None))
    default = next((variables[name] for name in _DEFAULTS if variables.get(name)), None)
    yield from (each for each in settings if default is None or not each.get("default"))
    if default is not None:
        yield {**_index(default), "default": True}


def _index(text: str) -> _Settings:
    name, sign, url = text.partition("=")
    return {"name": name, "url": url} if sign and re.fullmatch(r"[\w.-]+", name) else {"url": text}


def _listed(text: str, separator: str | None) -> list[str]:
    return [each.strip() for each in text.split(separator) if each.strip()]


def _opened(index: _Settings, variables: Mapping[str, str], tickets: str) -> _Settings:
    """Return an index whose address has user and password."""
    url = str(index.get("url", ""))
    given = _by_name(str(index.get("name", "")), variables) or _by_host(url, tickets)
    if given is None or "://" not in url:
        return index
    scheme, _, rest = url.partition("://")
    # Any sign may be in a password; unquoted, an '@' or '/' would end it.
    user, password = (quote(each, safe="") for each in given)
    authority, slash, path = rest.partition("/")
    return {**index, "url": f"{scheme}://{user}:{password}@{authority.rpartition('@')[2]}{slash}{path}"}


def _by_name(name: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    start = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_"
    user, password = (variables.get(f"{start}{kind}", "") for kind in ("USERNAME", "PASSWORD"))
    return (user, password) if name and (user or password) else None


def _by_host(url: str, tickets: str) -> tuple[str, str] | None:
    import netrc

    if not tickets or _WITH_PASSWORD.search(url):
        return None
    try:
        found = netrc.netrc(tickets).authenticators(urlsplit(url).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2]) if found else None


@contextmanager
def offered(settings: str, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Offer settings to one run of uv; what has a password is gone once uv has read it.

    Args:
        settings: Text of a `uv.toml`.
        folder: Where a file may lie.

    Yields:
        The path for uv, and the file handles that it needs.
    """
    # Windows has no /dev/fd; there, and where settings are too long, they are a file that its owner alone reads.
    if sys.platform != "win32" and len(settings) < _PIPE and _WITH_PASSWORD.search(settings):
        handle = _pipe(settings)
        try:
            # uv reads its settings at its start: a build that opens the same place later finds an empty pipe.
            yield f"/dev/fd/{handle}", (handle,)
        finally:
            os.close(handle)
        return
    # A file each time: a build may read one while versions are chosen in another thread.
    # mkstemp has rights 0600 from the beginning.
    handle, path = tempfile.mkstemp(prefix="uv-", suffix=".toml", dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(settings)
    try:
        yield path, ()
    finally:
        Path(path).unlink(missing_ok=True)


def _pipe(text: str) -> int:
    """Return the reading end of a pipe with a text in it; a handle that the shell before uv does not use itself."""
    reading, writing = os.pipe()
    # Written before anybody reads, so it has to fit (see `_PIPE`).
    os.write(writing, text.encode())
    os.close(writing)
    low = []
    while reading <= _SHELLS:
        low.append(reading)
        reading = os.dup(reading)
    for each in low:
        os.close(each)
    return reading
