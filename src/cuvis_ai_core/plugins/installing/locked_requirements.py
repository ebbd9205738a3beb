"""Whether what is locked is what a plugin needs: by name from the user's index, and nothing that nobody asked for."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import LockError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.requirements import extras_in, needed_name, satisfies
from cuvis_ai_core.plugins.dependencies.search_path import installed_in

_HINT = "Ask who changed the lock file. If the manifest is right: cuvis-ai plugins lock"


def refuse_addresses(name: str, pins: Iterable[str], requirements: Sequence[str]) -> None:
    """Raise if a pin names a file or a repository somewhere that the plugin itself does not name.

    Raises:
        LockError: One does.
    """
    named = {needed_name(each): _place(each.partition("@")[2]) for each in requirements if "@" in each}
    for pin in pins:
        distribution, at, address = pin.partition(" @ ")
        if at and named.get(normalised(distribution)) != _place(address):
            raise LockError(
                f"The lock file has {distribution} of plugin '{name}' at an address of its own, which the plugin does "
                "not name: dependencies come from the package index.",
                hint=f"If a dependency of the plugin needs it from there, name it in the plugin's own pyproject.toml "
                f"too: {without_credentials(pin)}\nElse: {_HINT[0].lower()}{_HINT[1:]}",
                plugin=name,
            )


def _place(address: str) -> str:
    """Return the address of a file or a repository, without the commit or the tag that follows it."""
    bare = without_credentials(address.partition(";")[0].strip().partition("#")[0])
    head, slash, last = bare.rpartition("/")
    # The tag follows an '@' in the last part alone: `git@host` and a user's name have one further ahead.
    return head + slash + last.partition("@")[0] if "git+" in bare else bare


def refuse_unasked(name: str, pins: Iterable[str], requirements: Iterable[str], folders: Sequence[Path]) -> None:
    """Raise if something was installed that neither the plugin requires nor what it requires.

    Args:
        name: Name of the plugin.
        pins: What is locked for it.
        requirements: Its requirements.
        folders: Where it was installed, and where the host has its packages; the first ones count.

    Raises:
        LockError: It was.
    """
    left = unasked(pins, requirements, folders)
    if left:
        raise LockError(
            f"The lock file has {', '.join(sorted(left))} for plugin '{name}', which nothing that it needs requires.",
            hint=_HINT,
            plugin=name,
        )


def refuse_unmet(name: str, pins: Iterable[str], requirements: Iterable[str], folder: Path) -> None:
    """Raise if a version is locked that the plugin, or what it needs, does not accept on this interpreter.

    Args:
        name: Name of the plugin.
        pins: What is locked for it.
        requirements: Its requirements.
        folder: Where it is installed, as far as it is; what is locked is nowhere else.

    Raises:
        LockError: One is.
    """
    locked = {normalised(pin.partition("==")[0]): pin.partition("==")[2] for pin in pins if "==" in pin}
    known = installed_in([str(folder)])
    asking = [(name, text) for text in requirements]
    asking += [(each, text) for each in sorted(locked.keys() & known.keys()) for text in known[each].requires or ()]
    for who, text in asking:
        version = locked.get(needed_name(text))
        if version and not satisfies(version, text):
            raise LockError(
                f"The lock file has {needed_name(text)}=={version} for plugin '{name}', but {who} needs {text}.",
                hint=_HINT,
                plugin=name,
            )


def unasked(pins: Iterable[str], requirements: Iterable[str], folders: Sequence[Path]) -> list[str]:
    """Return the pins that nothing requires, as far as that is installed."""
    # Not by Requirement: packaging takes 66 ms to import, and pins are written by us.
    known = {normalised(re.split(r"==| @ ", pin)[0]): pin for pin in pins}
    needed = set(_needed(requirements, folders)) if known else set()
    return [pin for name, pin in known.items() if name not in needed]


def _needed(requirements: Iterable[str], folders: Sequence[Path]) -> Iterator[str]:
    """Return the names of all that is required, one by the other."""
    waiting = [(needed_name(each), extras_in(each)) for each in requirements]
    seen = set(waiting)
    known = installed_in(map(str, folders))
    while waiting:
        name, extras = waiting.pop()
        yield name
        for each in (known[name].requires or ()) if name in known else ():
            condition = each.partition(";")[2]
            found = needed_name(each), extras_in(each)
            # What is for another system or version counts as well: a plugin may have another Python.
            # Roughly, and to the safe side: any extra that was asked for lets all of them count as asked for.
            if found not in seen and ("extra" not in condition or extras):
                seen.add(found)
                waiting.append(found)
