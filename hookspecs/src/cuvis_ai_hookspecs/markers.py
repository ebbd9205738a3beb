"""The two decorators of the contract."""

from typing import Final

import pluggy

PROJECT_NAME: Final = "cuvis_ai"
"""The name under which pluggy files our hooks."""

hookspec: Final = pluggy.HookspecMarker(PROJECT_NAME)
"""Mark a function as the signature of a hook (used by this package only)."""

hookimpl: Final = pluggy.HookimplMarker(PROJECT_NAME)
"""Mark a function of a plugin as the implementation of the hook of that name."""
