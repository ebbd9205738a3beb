"""Private module names: how they are made, and what people see in their place.

`cuvis_ai_core.scoped.adaclip_v0_1_2.models.net` is the module `models.net` of plugin `adaclip` at tag `v0.1.2`. The
package `cuvis_ai_core.scoped` exists: whoever has this core can import such a name, be it from a pickle in another
process.
"""

import re
from typing import Final

PARENT: Final = "cuvis_ai_core.scoped"
"""The package above all private packages."""

PREFIX: Final = f"{PARENT}."

LIVE_PLUGINS: Final = "CUVIS_LIVE_PLUGINS"
"""Environment variable: the loaded plugins and the dependencies that they serve (see `plugins.children`)."""

CALLING_PLUGIN: Final = "CUVIS_CALLING_PLUGIN"
"""Environment variable: private name of the plugin whose code started the process."""

TORCH_LIBRARY: Final = "torch.library"
"""The module that registers torch operators, which have one name for everybody (see `torch_operators`)."""

_SECOND: Final = "_x"
"""What comes between a title and the hash that tells two contents of one title apart."""

_HASH_DIGITS: Final = 8


def private_name(title: str) -> str:
    """Return the private package name of a plugin content, such as `adaclip@v0.1.2`."""
    # ASCII only: an import statement normalises other letters (NFKC), and would look for another name than this.
    return PREFIX + re.sub(r"\W", "_", title, flags=re.ASCII)


def second_name(name: str, key: str) -> str:
    """Return a private package name for a content whose own name is taken."""
    # Only for the second content of a title: it imports OpenSSL, 3 ms that a warm load does not pay.
    import hashlib

    return f"{name}{_SECOND}{hashlib.sha256(key.encode()).hexdigest()[:_HASH_DIGITS]}"


def first_name(name: str) -> str:
    """Return the private package name that a content would have where no other has taken it."""
    return re.sub(rf"{_SECOND}[0-9a-f]{{{_HASH_DIGITS}}}$", "", name)


def private_package(module: str) -> str | None:
    """Return the private package that a module lies in, or None where it is no plugin's."""
    return PREFIX + module[len(PREFIX) :].partition(".")[0] if module.startswith(PREFIX) else None


def public_name(module: str) -> str:
    """Return a module name as people know it: without the private package."""
    return module[len(PREFIX) :].partition(".")[2] if module.startswith(PREFIX) else module


def without_private_names(text: str) -> str:
    """Return a text with module names as people know them."""
    return re.sub(rf"{re.escape(PREFIX)}\w+\.?", "", text)


def class_path(node_class: type) -> str:
    """Return the public full path of a class."""
    return f"{public_name(node_class.__module__)}.{node_class.__qualname__}"
