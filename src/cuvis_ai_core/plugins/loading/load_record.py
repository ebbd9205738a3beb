"""What the last load found, so that the next one of the same entry, or manifest, need not look for it again.

A record has the files that decided, with their sizes and times, and what came of them. It counts while every one of
them is as it was; in all other cases, whatever is wrong with it, the load looks at everything, and writes it anew.

It is a Python literal below a line with its hash: to import a reader of JSON would take a fifth of such a load.
"""

import os
import time
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cuvis_ai_core.plugins.cache.store import Store, short_hash
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.search_path import interpreter, site_folders
from cuvis_ai_core.plugins.policy.file_location import deciding_variables

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.loading.scoped_plugin import Ready
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

_State: TypeAlias = list[int] | None
"""Size, time of the last edit, and time of the last change of whatever kind, which nobody can set; None: not there."""

_UNREADABLE: Final = (SyntaxError, RecursionError, SystemError)
"""What reading a literal may raise; the last in CPython 3.11, while another thread does (python/cpython#106905)."""

_FORMAT: Final = 2
"""Raised when what a record holds changes."""

_COARSE: Final = 2.0
_FINE: Final = 0.05
"""Seconds within which two edits may get the same time, on disks that keep whole seconds and on others."""

_NANO: Final = 10**9


class Recall:
    """The record of one request, for this interpreter and this environment.

    Args:
        asked: What is asked for; empty where that is no plain data, of which there are no records.
        store: The plugin cache.
        manifest: The manifest, where there is one.
    """

    def __init__(self, asked: str, store: Store, manifest: str = "") -> None:
        # By these variables another policy may be in force.
        # The text itself stands in the record too: eight digits of a hash may meet.
        self._asked = f"{asked} {deciding_variables()}" if asked else ""
        self._store = store
        self._file = store.record(short_hash(self._asked, interpreter(), *site_folders())) if asked else None
        self._manifest = manifest
        self._begun = 0.0
        self._before: dict[str, _State] = {}

    def ready(self) -> "list[Ready]":
        """Return the plugins as the last load found them, counted as in use; none where something changed."""
        if self._file is None:
            return []
        # Whatever somebody did to the file: what cannot be understood is no record.
        with suppress(OSError, KeyError, TypeError, ValueError, AttributeError, *_UNREADABLE):
            written, _, text = self._file.read_text(encoding="utf-8").partition("\n")
            record = literal_eval(text) if written == short_hash(text) else {}
            known = (record["format"], record["asked"]) == (_FORMAT, self._asked)
            if known and _is_same(record["files"], record["watched"], record["links"]):
                found = [_from_plain(each) for each in record["plugins"]]
                return found if all(map(self._use, found)) else []
        return []

    def begin(self) -> None:
        """Note how the files are that decide, before a load reads them."""
        if self._file is not None:
            try:
                self._before = {path: _state(path) for path in _deciding(self._manifest)}
            except OSError:  # as of a policy that may not be looked at: the load itself says so, and nothing is noted
                self._file = None
        self._begun = time.time()

    def keep(self, loaded: "Sequence[Ready | None]") -> None:
        """Note what a load found, unless more than the states of some files decides about the next one.

        Args:
            loaded: What is known of the plugins; None for one in a process of its own.
        """
        from cuvis_ai_core.plugins.cache.policy_checks import holds_for_good
        from cuvis_ai_core.plugins.cache.target_entry import read_target

        found = [each for each in loaded if each is not None and _is_plain(each)]
        if self._file is None or not found or len(found) < len(loaded) or not holds_for_good():
            return
        # Somebody else's cache, a full disk, a manifest that is being edited: the next load takes the longer way again.
        with suppress(OSError, KeyError, TypeError, ValueError, AttributeError):
            edited = self._before | {path: _state(path) for path in _edited(found)}
            same = all(_state(path) == state for path, state in self._before.items())
            # The marker says what to watch, also of what was installed just now.
            targets = [read_target(each.target.folder) for each in found]
            if same and all(_is_settled(state, self._begun) for state in edited.values()) and all(targets):
                found = [each._replace(target=target) for each, target in zip(found, targets, strict=True) if target]
                record = {
                    "format": _FORMAT,
                    "asked": self._asked,
                    "links": self._links(found),
                    "files": edited | {path: _state(path) for path in _markers(found)},
                    "watched": _watched(found),
                    "plugins": list(map(_to_plain, found)),
                }
                # `ascii` escapes what no encoding is sure to hold, such as halves of surrogate pairs in paths.
                text = ascii(record)
                self._file.parent.mkdir(exist_ok=True)
                # A half of it is no record: it needs no care, and a load need not wait for the disk.
                self._file.write_text(f"{short_hash(text)}\n{text}", encoding="utf-8")

    def _use(self, ready: "Ready") -> bool:
        entries = [ready.target.folder, *([ready.source] if ready.info.commit else [])]
        # A copy of a cache must not lead back to the cache that it was made of.
        return all(entry.is_relative_to(self._store.root) and self._store.use(entry) for entry in entries)

    def _links(self, found: "Iterable[Ready]") -> dict[str, str]:
        """Return where the paths in a manifest lead; that of a call is in what is asked.

        Raises:
            KeyError: One begins at a home, which may be another one the next time.
        """
        if not self._manifest:
            return {}
        from cuvis_ai_core._untrusted_files import load_yaml

        data: Any = load_yaml(Path(self._manifest)).data
        links = {}
        for name in (each.info.name for each in found if each.info.commit is None):
            text = data["plugins"][name]["path"]
            if text.startswith("~"):
                raise KeyError(text)
            place = os.path.join(os.path.dirname(self._manifest), text)
            links[place] = os.path.realpath(place)
        return links


def of_entry(name: object, config: object, store: Store) -> Recall:
    """Return the record of one entry, which nobody has checked yet."""
    asked = ""
    with suppress(OSError, TypeError, ValueError, *_UNREADABLE):  # no plain data, or a path that nothing can have
        entry, place = (dict(config) if isinstance(config, Mapping) else config), ""
        if isinstance(entry, dict) and "path" in entry:
            entry["path"] = os.fspath(entry["path"])
            place = os.path.realpath(os.path.expanduser(entry["path"]))
        text = ascii(["entry", name, entry, place])
        asked = text if literal_eval(text) else ""
    return Recall(asked, store)


def of_manifest(path: str | os.PathLike[str], only: Sequence[str] | None, store: Store) -> Recall:
    """Return the record of a manifest, or of some of its plugins."""
    with suppress(OSError, TypeError):
        manifest = os.path.join(os.getcwd(), os.path.expanduser(os.fspath(path)))
        return Recall(ascii(["manifest", manifest, only]), store, manifest)
    return Recall("", store)


def _is_plain(ready: "Ready") -> bool:
    """Tell whether a plugin is found again by the states of files, and its entry may be written down."""
    from cuvis_ai_core._redact import without_credentials

    declared = ready.declared()
    repo = getattr(declared, "repo", "")
    return declared.isolation == "scoped" and not ready.target.built_from and repo == without_credentials(repo)


def _deciding(manifest: str) -> list[str]:
    """Return the files that say what is loaded: manifest and lock file, and a policy wherever it may lie."""
    from cuvis_ai_core.plugins.cache.policy_checks import deciding_files

    if not manifest:
        return deciding_files()
    from cuvis_ai_core.plugins.manifest.manifest_schema import lock_path

    return [manifest, str(lock_path(Path(manifest))), *deciding_files()]


def _edited(found: "Iterable[Ready]") -> Iterator[str]:
    """Return the files and folders that decide and are other people's."""
    from cuvis_ai_core.plugins.disk.altered_files import PROJECT_FILES

    yield from site_folders()
    yield from (str(each.project / name) for each in found if each.info.commit is None for name in PROJECT_FILES)


def _markers(found: "Iterable[Ready]") -> Iterator[str]:
    """Return the files of the plugin cache that say what is in it."""
    from cuvis_ai_core.plugins.cache.store import MARKER as CHECKOUT_MARKER
    from cuvis_ai_core.plugins.cache.target_entry import MARKER

    for each in found:
        yield str(each.target.folder / MARKER)
        if each.info.commit is not None:
            yield from (str(each.source / ".git" / name) for name in (CHECKOUT_MARKER, "HEAD"))


def _watched(found: "Iterable[Ready]") -> dict[str, list[int]]:
    """Return size and time of files that are looked at to see whether the cache was altered (see `altered_files`)."""
    from cuvis_ai_core.plugins.cache.checkout_entry import read_marker

    files: dict[str, list[int]] = {}
    for each in found:
        files |= {str(each.target.folder / name): state for name, state in each.target.watched.items()}
        checkout = read_marker(each.source) if each.info.commit is not None else None
        files |= {str(each.source / name): state for name, state in (checkout or {}).get("watched", {}).items()}
    return files


def _state(path: str) -> _State:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    # With the time of change: tools set the other one (`cp -p`, `rsync -t`, archives).
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _is_same(files: Mapping[str, _State], watched: Mapping[str, list[int]], links: Mapping[str, str]) -> bool:
    """Tell whether all that decided is as it was.

    Raises:
        OSError: Something that is watched is gone.
    """
    if any(_state(path) != state for path, state in files.items()):
        return False
    # A link may lead elsewhere without any file having changed.
    if any(os.path.realpath(place) != leads_to for place, leads_to in links.items()):
        return False
    states = ((os.lstat(path), known) for path, known in watched.items())
    # Without the time of change, which a hard link to a file in uv's cache alters.
    return all([state.st_size, state.st_mtime_ns] == known for state, known in states)


def _is_settled(state: _State, begun: float) -> bool:
    """Tell whether a file was edited so long before a load began that another edit would show in its times."""
    if state is None:
        return True
    _, *times = state
    # Whole seconds in both times: a disk that keeps no more (ext3, HFS+, some network drives).
    coarse = all(each % _NANO == 0 for each in times)
    return max(times) / _NANO < begun - (_COARSE if coarse else _FINE)


def _to_plain(ready: "Ready") -> dict[str, Any]:
    return {
        "info": {**ready.info._asdict(), "target": str(ready.info.target)},
        "source": str(ready.source),
        "project": str(ready.project),
        "target": ready.target.to_json(),
        "entry": dict(_given(ready.declared())),
    }


def _given(declared: "GitPlugin | LocalPlugin") -> Iterator[tuple[str, object]]:
    """Return what an entry says beside what holds anyway, without the model, which takes long to prepare."""
    for key, value in declared:
        # Defaults may be others in a later version.
        if key in declared.model_fields_set:
            yield key, str(value) if isinstance(value, Path) else value


def _from_plain(data: Mapping[str, Any]) -> "Ready":
    from cuvis_ai_core.plugins.loading.scoped_plugin import Ready
    from cuvis_ai_core.plugins.plugin_info import PluginInfo

    info = PluginInfo(**data["info"])
    info = info._replace(target=Path(info.target))
    target = Target.from_json(info.target, data["target"])
    return Ready(
        info, Path(data["source"]), Path(data["project"]), target, partial(_declared, info.name, data["entry"])
    )


def _declared(name: str, entry: Mapping[str, Any]) -> "GitPlugin | LocalPlugin":
    from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin

    return parse_plugin(name, entry, base=Path())
