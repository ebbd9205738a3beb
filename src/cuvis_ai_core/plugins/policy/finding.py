"""Where the policy of this machine lies: named by a variable, else in the user's folder, else in that of the system.

Loads that find all as it was ask here too; nothing is imported for that but what they have already.
"""

import os
from pathlib import Path
from typing import Final

POLICY_VARIABLE: Final = "CUVIS_POLICY"

FILE: Final = "policy.yaml"

_APPLICATION: Final = "cuvis-ai"

_DECIDING: Final = (
    POLICY_VARIABLE, "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "LOCALAPPDATA", "APPDATA", "PROGRAMDATA"
)  # fmt: skip


def deciding_variables() -> list[str | None]:
    """Return the values of the variables that decide where a policy is looked for."""
    return [os.environ.get(name) for name in _DECIDING]


def places() -> list[Path]:
    """Return where a policy is looked for; the first that is there holds.

    A file that `CUVIS_POLICY` names has to be there: nothing else is looked for then.
    """
    named = os.environ.get(POLICY_VARIABLE, "")
    if named.strip():
        return [Path(os.path.abspath(os.path.expanduser(named)))]  # noqa: PTH100, PTH111 - no home is no error
    import platformdirs

    user = platformdirs.user_config_path(_APPLICATION, appauthor=False)
    system = platformdirs.site_config_path(_APPLICATION, appauthor=False)
    return [user / FILE, system / FILE]


def is_named() -> bool:
    """Tell whether a variable names the policy."""
    return bool(os.environ.get(POLICY_VARIABLE, "").strip())
