"""With which variables and settings uv is run: the user's for packages, and places that it can write to."""

import os
from pathlib import Path

import tomli_w

from cuvis_ai_core._environment_variables import uv_variables
from cuvis_ai_core.plugins.installing.index_credentials import hidden
from cuvis_ai_core.plugins.installing.index_settings import default_cache, pip_settings, uv_settings


def uv_environment(folder: Path, *, builds: bool) -> tuple[dict[str, str], str]:
    """Return what uv, and a build, gets to see of the user's environment, and uv's settings.

    Args:
        folder: Where uv works.
        builds: Whether code of a plugin runs, which has no business with the user's repositories.
    """
    kept = uv_variables(builds=builds)
    own = uv_settings()
    from_pip, variables = pip_settings(own)
    for name in ("UV_CACHE_DIR", "UV_CREDENTIALS_DIR"):  # uv works in a temporary folder, where paths must hold
        # Relative ones meant the user's working folder, not ours.
        if kept.get(name):
            kept[name] = str(Path(kept[name]).absolute())
    # A home that is read-only, as in containers: uv would fail, and a cache for this once is slower, not wrong.
    if not ({"cache-dir"} & own.keys() or kept.get("UV_CACHE_DIR") or _can_be_used(default_cache())):
        kept["UV_CACHE_DIR"] = str(folder / "uv cache")
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    # The user's folder for temporary files may be full, missing or too small for a build.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    shown, settings = hidden(kept | variables | places, from_pip | own)
    return shown, tomli_w.dumps(settings)


def _can_be_used(folder: Path) -> bool:
    """Tell whether a folder can be written; it is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    # mkdir says nothing of a folder that is there already.
    return os.access(folder, os.W_OK)
