"""Which weights of models are known: those that manifests name, that imported plugins declare, and four of our own."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.data.downloads.progress_events import SCHEMA_VERSION
from cuvis_ai_core.data.downloads.weight_entries import RegisteredWeight, WeightEntry, entry_of
from cuvis_ai_core.errors import ManifestError, ModelDownloadError, ModelRegistryConflict, YamlError

USED_FOR_LABELS: Final = (
    "Point expansion",
    "Propagation",
    "Text prompts",
    "Segment everything",
    "Anomaly detection",
    "Zero-shot",
    "Backbone",
    "Trained pipeline",
)
"""What published programs sort weights by, in their order; others come behind."""
TRAINED_PIPELINES: Final = tuple(
    map(entry_of, json.loads(Path(__file__).with_name("trained_pipelines.json").read_text(encoding="utf-8")))
)
"""Those that Cubert publishes and no manifest names, as the published index of weights has them."""
WEIGHTS_HOSTS: Final = ("huggingface.co", "us.aws.cdn.hf.co")
_LOGGER: Final = logging.getLogger(__name__)

_Rows = dict[str, RegisteredWeight]


def _own() -> _Rows:
    return {each.name: RegisteredWeight(each, "dinomaly", "dict") for each in TRAINED_PIPELINES}


class WeightsIndex:
    """Weights by their names; no plugin is imported."""

    _known: ClassVar[_Rows] = _own()

    @classmethod
    def reset(cls) -> None:
        """Forget all but our own."""
        # Of this class, not of `cls`: a subclass would have an index of its own.
        WeightsIndex._known = _own()

    @classmethod
    def register(
        cls, plugin: str, entries: Iterable[Any], *, source: Literal["plugin", "manifest", "dict"] = "plugin"
    ) -> None:
        """Take what an imported plugin declares; it goes before what its manifest says.

        Args:
            plugin: Its name in manifests.
            entries: What it declares, each of the schemas' class `PluginWeightEntry`, or a mapping of the same fields.
            source: Who declares it.

        Raises:
            ModelRegistryConflict: Others have a name or an alias, or it declared something else before, or it breaks a
                rule. Nothing was kept.
        """
        rows = dict(cls._known)
        for each in entries:
            try:
                entry = entry_of(each)
            except ValueError as error:
                raise ModelRegistryConflict(f"The plugin '{plugin}' declares weights wrongly: {error}.") from error
            _add(rows, RegisteredWeight(entry, plugin, source), f"The plugin '{plugin}'")
        WeightsIndex._known = rows

    @classmethod
    def load_manifests(cls, plugins_dirs: Iterable[str | Path]) -> int:
        """Read the manifests in folders, one file for each plugin, and return how many weights were new.

        Raises:
            ManifestError: A file cannot be read, or breaks a rule. Nothing was kept.
            ModelRegistryConflict: Two name weights of one name, or one plugin.
        """
        rows, plugins, before = dict(cls._known), dict[str, Path](), len(cls._known)
        for folder in plugins_dirs:
            # A folder has no order of its own: the same one of two is to be named in an error.
            for file in sorted(Path(folder).glob("*.yaml")):
                found, plugin = _declared(file)
                if found and plugin in plugins:
                    raise ModelRegistryConflict(
                        f"{file}: there are two manifests of the plugin '{plugin}', also {plugins[plugin]}.", path=file
                    )
                plugins[plugin] = file
                for entry in found:
                    _add(rows, RegisteredWeight(entry, plugin, "manifest"), str(file), path=file)
        WeightsIndex._known = rows
        return len(rows) - before

    @classmethod
    def names(cls) -> list[str]:
        """Return the names, sorted."""
        return sorted(cls._known)

    @classmethod
    def get(cls, name_or_alias: str) -> RegisteredWeight:
        """Return weights by their name, or one of their aliases.

        Raises:
            ModelDownloadError: There are none.
        """
        for row in cls._known.values():
            if name_or_alias == row.name or name_or_alias in row.entry.aliases:
                return row
        names = cls.names()
        raise ModelDownloadError(
            f"There are no weights '{shown_in_line(name_or_alias)}'.{did_you_mean(name_or_alias, names)} "
            f"There are {', '.join(names)}."
        )

    @classmethod
    def rows(cls) -> list[RegisteredWeight]:
        """Return all of them, sorted by name."""
        return [cls._known[name] for name in cls.names()]

    @classmethod
    def entries(cls) -> list[dict[str, Any]]:
        """Return all of them as rows of the index."""
        return [row.to_json_dict() for row in cls.rows()]

    @classmethod
    def list_payload(cls) -> dict[str, Any]:
        """Return the index as JSON holds it."""
        models = cls.entries()
        labels = dict.fromkeys([*USED_FOR_LABELS, *(label for row in models for label in row["used_for"])])
        return {
            "schema_version": SCHEMA_VERSION,
            "used_for_labels": list(labels),
            "weights_hosts": list(WEIGHTS_HOSTS),
            "models": models,
        }


def index_json(payload: Mapping[str, Any]) -> str:
    """Return an index as the text of a file, the same each time."""
    return json.dumps(payload, indent=2, ensure_ascii=False) + "\n"


def default_plugins_dirs() -> list[Path]:
    """Return the folders of manifests of an installed catalogue, which is not imported."""
    # Looked for, not imported: a catalogue imports torch.
    spec = find_spec("cuvis_ai")
    packaged = [
        Path(each) / "configs" / "plugins" for each in (spec.submodule_search_locations if spec else None) or ()
    ]
    return [each for each in packaged if each.is_dir()]


def _add(rows: _Rows, new: RegisteredWeight, where: str, *, path: Path | None = None) -> None:
    """Take weights among those that are known, unless they are another's."""
    old = rows.get(new.name)
    if old is not None and old.plugin == new.plugin and {old.source, new.source} == {"plugin", "manifest"}:
        mine = new if new.source == "plugin" else old
        differs = old.pin_mismatch or old.entry.revision != new.entry.revision
        if differs and not old.pin_mismatch:
            _LOGGER.warning(
                "The imported plugin '%s' and its manifest mean two revisions of the weights '%s': that of the plugin "
                "is used.",
                new.plugin,
                new.name,
            )
        rows[new.name] = replace(mine, pin_mismatch=differs)
        return
    if old is not None and (old.plugin, old.entry) == (new.plugin, new.entry):
        return
    keys = {new.name, *new.entry.aliases}
    for row in rows.values():
        if shared := keys & {row.name, *row.entry.aliases}:
            raise ModelRegistryConflict(
                f"{where}: the weights '{min(shared)}' are named twice, by '{new.plugin}' and by '{row.plugin}'.",
                path=path,
            )
    rows[new.name] = new


def _declared(file: Path) -> tuple[list[WeightEntry], str]:
    """Return what a manifest says of weights, and the name of its plugin."""
    try:
        content = load_yaml(file).data
    except YamlError as error:
        raise ManifestError(f"{file}: it cannot be read: {error.message}.", path=file) from error
    rows = content.get("weights") if isinstance(content, dict) else None
    plugin = content.get("name", file.stem) if isinstance(content, dict) else file.stem
    if rows is None:
        return [], str(plugin)
    if not isinstance(plugin, str) or not plugin or shown_in_line(plugin) != plugin:
        raise ManifestError(f"{file}: 'name' is a text without control characters.", path=file, key="name")
    if not isinstance(rows, list):
        raise ManifestError(f"{file}: 'weights' is a list.", path=file, key="weights")
    try:
        return [entry_of(row) for row in rows], plugin
    except ValueError as error:
        raise ManifestError(f"{file}: {error}.", path=file, key="weights") from error
