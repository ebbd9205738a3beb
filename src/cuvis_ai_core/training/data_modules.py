"""The data modules that trainruns name: their classes by the manifests of installed packages, made and set up."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import CuvisError, TrainRunError
from cuvis_ai_core.plugins.importable import is_importable
from cuvis_ai_core.plugins.manifest.folders import manifests_in
from cuvis_ai_core.training.config import DataConfig, ModuleDataConfig

_METHODS: Final = ("prepare_data", "setup", "train_dataloader")


def make_data_module(data: DataConfig | ModuleDataConfig, folders: Iterable[Path], base: Path) -> Any:
    """Return a new data module, not yet set up.

    Args:
        data: The section of a trainrun.
        folders: Folders with a manifest for each plugin; one in a later folder goes first.
        base: The folder that a path of splits is seen from.

    Raises:
        TrainRunError: The section names none, no manifest knows it, or it cannot be made.
    """
    if not isinstance(data, ModuleDataConfig):
        raise TrainRunError("The data are no data module's: they have no 'data_module'.", key="data.data_module")
    found = _class(data.data_module, list(folders))
    with _told(f"The data module '{data.data_module}' refuses data.params"):
        getattr(found, "validate_params", dict)(dict(data.params))
    given = {"splits": _located(data.splits, base), "batch_size": data.batch_size, "num_workers": data.num_workers}
    with _told(f"The data module '{data.data_module}' cannot be made of data.params"):
        return found(**given, **data.params)


def set_up(module: Any, stage: str) -> None:
    """Have a data module open its data, for the stage of Lightning `fit`, `validate` or `test`.

    Raises:
        TrainRunError: It fails.
    """
    with _told(f"The data module {type(module).__name__} cannot be set up for '{stage}'"):
        module.prepare_data()
        module.setup(stage)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Have what foreign code raises be an error of the trainrun."""
    try:
        yield
    except CuvisError:
        raise
    except Exception as error:
        raise TrainRunError(
            f"{what}: {type(error).__name__}: {error}", hint="Correct the data section.", key="data.params"
        ) from error


def _located(splits: Any, base: Path) -> Any:
    """Return splits whose file, if they name one, is seen from a folder, or else from the working directory."""
    content = splits.model_dump(mode="json", exclude_defaults=True) if hasattr(splits, "model_dump") else splits
    path = content.get("splits_path") if content else None
    if not path:
        return content
    beside = base / Path(str(path)).expanduser()
    return {**content, "splits_path": str((beside if beside.exists() else Path(str(path))).absolute())}


def _class(name: str, folders: list[Path]) -> Any:
    known = {
        str(each["data_module_name"]): (str(each["class_name"]), plugin, manifest, each)
        for plugin, manifest in manifests_in(folders).items()
        for each in manifest.get("capabilities") or ()
        if isinstance(each, Mapping)
        and each.get("kind") == "data_module"
        and {"data_module_name", "class_name"} <= {*each}
    }
    if name not in known and "." not in name:
        raise TrainRunError(
            f"No manifest names the data module '{name}'.{did_you_mean(name, known)}",
            hint=f"Searched in {', '.join(map(str, folders)) or 'no folder'}. Name the folder of the manifests: "
            "--plugins-dir; or give the full path of the class.",
            key="data.data_module",
        )
    path, plugin, manifest, capability = known.get(name, (name, None, {}, {}))
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(_import_installed(module), attribute)
    except (ImportError, AttributeError) as error:
        extras = ",".join(capability.get("extras") or ())
        package = f"{manifest.get('package_name') or plugin or module.partition('.')[0]}{extras and f'[{extras}]'}"
        of = f" of the plugin '{plugin}'" if plugin else ""
        raise TrainRunError(
            f"The data module '{name}' is {path}{of}, which cannot be imported: {error}.",
            hint=f"Data modules are imported from this environment; install it here: pip install '{package}'",
            key="data.data_module",
        ) from error
    # Whatever else is called so is not called: a class of the standard library does things when it is made.
    if not (isinstance(found, type) and all(hasattr(found, each) for each in _METHODS)):
        raise TrainRunError(
            f"The data module '{name}' is {path}, which is no class with {', '.join(_METHODS)}.",
            hint="Derive it from cuvis_ai_core.data.datamodule.BaseCuvisAIDataModule, or Lightning's own.",
            key="data.data_module",
        )
    return found


def _import_installed(module: str) -> ModuleType:
    """Import a module of an installed distribution: a trainrun is data that somebody may have sent."""
    if not is_importable(module):
        raise ImportError(f"'{module}' is of no distribution that is installed")
    return import_module(module)
