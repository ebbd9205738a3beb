"""What the last load of a plugin found, so that the next one of the same entry need not look for it again.

A record has the files that decided, with their sizes and times, and what came of them. It counts while every one of
them is as it was; in all other cases, whatever is wrong with it, the load looks at everything, and writes it anew.

It is a Python literal below a line with its hash: to import a reader of JSON would take a fifth of such a load.
"""

import os
import time
from ast import literal_eval
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.plugins.cache.store import Store, short_hash
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.dependencies.search_path import interpreter, site_folders
from cuvis_ai_core.plugins.loaded import PluginInfo, Ready

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

_FORMAT: Final = 1
"""Raised when what a record holds changes."""

_COARSE: Final = 2.0
_FINE: Final = 0.05
"""Seconds within which two edits may get the same time, on disks that keep whole seconds and on others."""

_NANO: Final = 10**9


class Recall:
    """The record of one entry of a manifest, for this interpreter and this environment.

    Args:
        name: Name of the plugin.
        config: Its entry, which nobody has checked yet.
        store: The plugin cache.
    """

    def __init__(self, name: str, config: object, store: Store) -> None:
        self._store = store
        self._begun = time.time()
        self._entry: dict[str, Any] = {}
        self._asked, self._file = "", None
        with suppress(OSError, TypeError, ValueError, SyntaxError):  # no plain data, or a path that nothing can have
            self._entry = _plain(config)
            self._asked = _asked(name, self._entry)
            self._file = store.record(name, short_hash(self._asked))

    def ready(self) -> Ready | None:
        """Return the plugin as the last load found it, counted as in use from now on; None where something changed."""
        if self._file is None:
            return None
        # Whatever somebody did to the file: what cannot be understood is no record.
        with suppress(OSError, KeyError, TypeError, ValueError, AttributeError, SyntaxError):
            written, _, text = self._file.read_text(encoding="utf-8").partition("\n")
            record = literal_eval(text) if written == short_hash(text) else {}
            known = (record["format"], record["asked"]) == (_FORMAT, self._asked)
            if known and all(_is_same(path, state) for path, state in record["files"].items()):
                return self._used(_from_plain(record, self._entry))
        return None

    def keep(self, ready: Ready) -> None:
        """Note what a load found, unless more than the states of some files decides about the next one."""
        if self._file is None or ready.target.built_from or ready.declared().isolation != "scoped":
            return
        from cuvis_ai_core.plugins.cache.target_marker import read_target

        target = read_target(ready.target.folder)  # which says what to watch, even if it was installed just now
        with suppress(OSError):  # somebody else's cache, or a disk that is full: the next load takes the longer way too
            edited = {path: _state(path) for path in _edited(ready)}
            if target is not None and all(_is_settled(state, self._begun) for state in edited.values()):
                ready = ready._replace(target=target)
                record = {"format": _FORMAT, "asked": self._asked, "files": edited | _ours(ready), **_to_plain(ready)}
                text = ascii(record)
                self._file.parent.mkdir(exist_ok=True)
                # A half of it is no record: it needs no care, and a load need not wait for the disk.
                self._file.write_text(f"{short_hash(text)}\n{text}", encoding="utf-8")

    def _used(self, ready: Ready) -> Ready | None:
        entries = [ready.target.folder, *([ready.source] if ready.info.commit else [])]
        # A copy of a cache must not lead back to the cache that it was made of.
        ours = all(entry.is_relative_to(self._store.root) for entry in entries)
        return ready if ours and all(map(self._store.use, entries)) else None


def _plain(config: object) -> dict[str, Any]:
    """Return a copy of an entry.

    Raises:
        TypeError, ValueError, SyntaxError: It is no plain data.
    """
    if not isinstance(config, Mapping):
        raise TypeError(config)
    place = {"path": os.fspath(config["path"])} if "path" in config else {}
    entry: dict[str, Any] = literal_eval(repr({**config, **place}))
    return entry


def _asked(name: object, entry: Mapping[str, Any]) -> str:
    """Return what is asked for, and where a path leads now, as a text without credentials."""
    place = os.path.realpath(os.path.expanduser(entry["path"])) if "path" in entry else ""  # noqa: PTH111 - on every load
    repo = str(entry.get("repo", ""))
    if "://" in repo and "@" in repo:
        from cuvis_ai_core._redact import without_credentials

        entry = {**entry, "repo": without_credentials(repo)}
    return ascii([name, entry, place, interpreter(), site_folders()])


def _declared(name: str, entry: Mapping[str, Any], place: str | None) -> "GitPlugin | LocalPlugin":
    from cuvis_ai_core.plugins.manifest import parse_plugin

    return parse_plugin(name, {**entry, "path": place} if place else entry, base=Path())


def _edited(ready: Ready) -> Iterator[str]:
    """Return the files and folders that decide and are other people's."""
    yield from site_folders()
    if ready.info.commit is None:
        yield str(ready.project / "pyproject.toml")


def _ours(ready: Ready) -> dict[str, list[int]]:
    """Return the states of the files in the plugin cache that tell whether it was altered.

    Raises:
        OSError: One is not there.
    """
    from cuvis_ai_core.plugins.cache.sources import read_marker
    from cuvis_ai_core.plugins.cache.store import MARKER as CHECKOUT_MARKER
    from cuvis_ai_core.plugins.cache.target_marker import MARKER

    target = ready.target.folder
    files = {str(target / MARKER): _state(str(target / MARKER))}
    files |= {str(target / name): state for name, state in ready.target.watched.items()}
    if ready.info.commit is not None:
        for name in (CHECKOUT_MARKER, "HEAD"):
            file = str(ready.source / ".git" / name)
            files[file] = _state(file)
        watched = (read_marker(ready.source) or {}).get("watched", {})
        files |= {str(ready.source / name): state for name, state in watched.items()}
    return files


def _state(path: str) -> list[int]:
    """Return size, time of the last edit, and time of the last change of whatever kind, which nobody can set."""
    found = os.stat(path)  # noqa: PTH116 - on every load
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _is_same(path: str, known: list[int]) -> bool:
    """Tell whether a file is as it was; of one that is watched (see `integrity`), size and time of edit are known."""
    if len(known) == len(("size", "edited")):
        found = os.lstat(path)
        return [found.st_size, found.st_mtime_ns] == known
    return _state(path) == known


def _is_settled(state: list[int], begun: float) -> bool:
    """Tell whether a file was edited so long before a load began that another edit would show in its times."""
    _, *times = state
    coarse = all(each % _NANO == 0 for each in times)
    return max(times) / _NANO < begun - (_COARSE if coarse else _FINE)


def _to_plain(ready: Ready) -> dict[str, Any]:
    info = ready.info._replace(target=str(ready.info.target))  # type: ignore[arg-type]
    return {
        "info": info._asdict(),
        "source": str(ready.source),
        "project": str(ready.project),
        "target": ready.target.to_json(),
    }


def _from_plain(record: Mapping[str, Any], entry: Mapping[str, Any]) -> Ready:
    info = PluginInfo(**record["info"])
    info = info._replace(target=Path(info.target), nodes=tuple(info.nodes))
    target = Target.from_json(info.target, record["target"])
    declared = partial(_declared, info.name, entry, info.source if info.kind == "local" else None)
    return Ready(info, Path(record["source"]), Path(record["project"]), target, declared)
