"""Where the policy of this machine lies: named by a variable, else in the user's folder, else in that of the system.

Every load asks here: nothing is imported for that but `os`.
"""

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY_VARIABLE: Final = "CUVIS_POLICY"

_FILE: Final = "policy.yaml"

_APPLICATION: Final = "cuvis-ai"

# Those that platformdirs goes by, on all systems.
_DECIDING: Final = (POLICY_VARIABLE, "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "LOCALAPPDATA", "APPDATA")


def deciding_variables() -> list[str | None]:
    """Return the values of the variables that decide where a policy is looked for."""
    return [os.environ.get(name) for name in _DECIDING]


def is_named() -> bool:
    """Tell whether a variable names the policy: that one has to be there, and no other is looked for."""
    return bool(os.environ.get(POLICY_VARIABLE, "").strip())


def named_relatively() -> str:
    """Return what the variable names if that counts from the working directory, which may be anybody's, or nothing."""
    named = os.path.expanduser(os.environ.get(POLICY_VARIABLE, ""))
    return "" if os.path.isabs(named) else named


def places() -> list[str]:
    """Return where a policy is looked for; the first that is there holds."""
    if is_named():
        return [os.path.abspath(os.path.expanduser(os.environ[POLICY_VARIABLE]))]
    return [os.path.join(folder, _APPLICATION, _FILE) for folder in _folders()]


def _folders() -> "Iterator[str]":
    if sys.platform in {"win32", "darwin"}:
        import platformdirs

        yield platformdirs.user_config_dir()
        yield platformdirs.site_config_dir()
    else:  # the same; to import that library takes longer than to load a plugin that is there
        # A relative folder would be one of whatever lies around: as its rules say, it does not count.
        own, common = os.environ.get("XDG_CONFIG_HOME", ""), os.environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)
        yield own if os.path.isabs(own) else os.path.expanduser("~/.config")
        yield from list(filter(os.path.isabs, common)) or ["/etc/xdg"]


def none_is_there() -> bool:
    """Tell whether there is no policy; where looking is not allowed, there may be one, and reading it says so."""
    return not is_named() and not any(map(may_be_there, places()))


def may_be_there(place: str) -> bool:
    """Tell whether something lies at a place, or may, for all that can be seen from here."""
    try:
        # Not `stat`: a link that leads nowhere is a policy that cannot be read, and not none.
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
