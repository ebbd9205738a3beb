"""User names and passwords of addresses: git gets them in its environment, for others see command lines."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

_ADDRESS: Final = re.compile(r"(?P<scheme>https?|ssh)://(?P<who>[^/?#\s]*)@(?P<host>[^/?#\s@]+)", re.IGNORECASE)

# 'get' alone: git calls a helper to store and to erase as well, which prints nothing here.
_HELPER: Final = (
    '!f() { test "$1" = get && '
    """printf 'username=%s\\npassword=%s\\n' "$CUVIS_GIT_USER" "$CUVIS_GIT_PASSWORD"; }; f"""
)
"""A credential helper, for the shell that comes with git."""


def hidden(words: Sequence[str], variables: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the words of a command of git without credentials, and the variables that say them.

    Only the host of the address is told them, and no other credential helper gets to keep them.
    """
    found = next((match for word in words if (match := _ADDRESS.search(word))), None)
    if found is None:
        return list(words), dict(variables)
    bare = [_ADDRESS.sub(_without, word) for word in words]
    if found["scheme"].lower() == "ssh":
        return bare, dict(variables)
    # In the text as it stands: quoted signs are decoded after the parts are told apart.
    user, colon, password = found["who"].partition(":")
    origin = f"credential.{found['scheme']}://{found['host']}"
    told = {} if colon else {f"{origin}.username": unquote(user)}
    env = _with_settings(variables, told)
    if colon:
        # The empty one takes all helpers before it away; else the user's would be given our password to keep.
        bare = ["-c", f"{origin}.helper=", "-c", f"{origin}.helper={_HELPER}", *bare]
        env |= {"CUVIS_GIT_USER": unquote(user), "CUVIS_GIT_PASSWORD": unquote(password)}
    return bare, env


def has_password(url: str) -> bool:
    """Tell whether an address of http has what opens it: a user alone is asked for a password, as for ssh."""
    found = _ADDRESS.search(url)
    return found is not None and found["scheme"].lower() != "ssh" and ":" in found["who"]


def _without(match: re.Match[str]) -> str:
    # For ssh the user is part of the place; it takes no password from an address.
    user = f"{match['who'].partition(':')[0]}@" if match["scheme"].lower() == "ssh" else ""
    return f"{match['scheme']}://{user}{match['host']}"


def _with_settings(variables: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return variables with further settings of git, after those that are there."""
    # What is no number is git's to complain of; here it must not be a ValueError.
    count = int(text) if (text := variables.get("GIT_CONFIG_COUNT", "0")).isdecimal() else 0
    more = {"GIT_CONFIG_COUNT": str(count + len(settings))} if settings else {}
    for number, (key, value) in enumerate(settings.items(), count):
        more |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**variables, **more}
