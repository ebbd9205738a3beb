"""Environment variables by which this process tells the processes that it starts what is loaded."""

from typing import Final

LIVE_PLUGINS: Final = "CUVIS_LIVE_PLUGINS"
"""The loaded plugins and the dependencies that they serve (see `plugins.children`)."""

CALLING_PLUGIN: Final = "CUVIS_CALLING_PLUGIN"
"""Private name of the plugin whose code started the process."""
