"""The data modules that trainruns name: classes of loaded plugins or of installed packages, made and set up."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.data.created_data_modules import made
from cuvis_ai_core.errors import CuvisError, TrainRunError, WorkerError
from cuvis_ai_core.plugins.allowed_imports import is_importable
from cuvis_ai_core.plugins.manifest_folders import module_plugins
from cuvis_ai_core.training.config import DataConfig, ModuleDataConfig

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.loading.plugin_data_modules import DataModule
    from cuvis_ai_core.plugins.manifest_folders import ModulePlugin
    from cuvis_ai_core.registry import NodeRegistry

_METHODS: Final = ("prepare_data", "setup", "train_dataloader")


def make_data_module(
    data: DataConfig | ModuleDataConfig, folders: Iterable[Path], base: Path, registry: "NodeRegistry | None" = None
) -> Any:
    """Return a new data module, not yet set up.

    Args:
        data: The section of a trainrun.
        folders: Folders with a manifest for each plugin; one in a later folder goes first.
        base: The folder that a path of splits is seen from.
        registry: Whose plugins are asked first.

    Raises:
        PluginConflictError: Several plugins have a data module of that name.
        TrainRunError: The section names none, no manifest knows it, or it cannot be made.
    """
    if not isinstance(data, ModuleDataConfig):
        raise TrainRunError("The data are no data module's: they have no 'data_module'.", key="data.data_module")
    found = _class(data.data_module, list(folders), registry)
    with _told(f"The data module '{data.data_module}' refuses data.params"):
        return made(found, data, _located(data.splits, base))


def module_to_predict(
    name: str, arguments: Mapping[str, Any], folders: Iterable[Path], registry: "NodeRegistry | None"
) -> Iterable[Mapping[str, Any]]:
    """Return the batches to predict on of a data module, which is set up for that.

    Args:
        name: Its name in a manifest, or the full path of its class.
        arguments: What its constructor takes; `splits` is a file, `batch_size` and `num_workers` are numbers.
        folders: Folders with a manifest for each plugin; one in a later folder goes first.
        registry: Whose plugins are asked first.

    Raises:
        PluginConflictError: Several plugins have a data module of that name.
        TrainRunError: It is not known, or cannot be made or set up.
    """
    own = {key: arguments[key] for key in ("batch_size", "num_workers") if key in arguments}
    params = {key: value for key, value in arguments.items() if key not in {"splits", *own}}
    splits = {"splits": {"splits_path": str(arguments["splits"])}} if "splits" in arguments else {}
    try:
        data = ModuleDataConfig.model_validate(
            {"data_module": name, "params": params, **splits, **{key: int(value) for key, value in own.items()}}
        )
    except ValueError as error:
        raise TrainRunError(
            f"The data module '{name}' cannot be made: {', '.join(own)} is no number that will do.",
            hint="batch_size is 1 or more, num_workers 0 or more.",
            key="data",
        ) from error
    module = make_data_module(data, folders, Path(), registry)
    set_up(module, "predict")
    batches: Iterable[Mapping[str, Any]] = module.predict_dataloader()
    return batches


def set_up(module: Any, stage: str) -> None:
    """Have a data module open its data, for the stage of Lightning `fit`, `validate`, `test` or `predict`.

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


def _class(name: str, folders: list[Path], registry: "NodeRegistry | None") -> Any:
    """Return the class of a data module: of a plugin that is loaded, or else of an installed distribution."""
    loaded = None if registry is None else registry.data_module(name)
    if loaded is not None:
        what = f"The data module '{name}' is {loaded.path} of the plugin '{loaded.plugin}'"
        return _checked(what, _of_plugin(what, loaded))
    known = module_plugins(folders)
    if name not in known and "." not in name:
        names = [each for each in known if "." not in each]
        raise TrainRunError(
            f"No manifest names the data module '{name}'.{did_you_mean(name, names)}",
            hint=f"Searched in {', '.join(map(str, folders)) or 'no folder'}. Name the folder of the manifests: "
            "--plugins-dir; or give the full path of the class.",
            key="data.data_module",
        )
    found = known.get(name)
    path = found.path if found else name
    what = f"The data module '{name}' is {path}{f' of the plugin {found.plugin!r}' if found else ''}"
    return _checked(what, _installed(what, path, found))


def _of_plugin(what: str, loaded: "DataModule") -> Any:
    try:
        return loaded.load()
    except WorkerError as error:
        hint = "Data modules run where the training runs: have 'isolation: scoped' in the manifest."
        raise TrainRunError(f"{what}, which is in a process of its own.", hint=hint, key="data.data_module") from error
    except (ImportError, AttributeError) as error:
        raise TrainRunError(
            f"{what}, which cannot be imported: {error}.",
            hint="What it needs of the plugin's extras stands in the manifest: extras: [...].",
            key="data.data_module",
        ) from error


def _installed(what: str, path: str, found: "ModulePlugin | None") -> Any:
    """Import a class of an installed distribution: a trainrun is data that somebody may have sent."""
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(_import_installed(module), attribute)
    except (ImportError, AttributeError) as error:
        extras = ",".join(found.extras if found else ())
        name = found.manifest.get("package_name") or found.plugin if found else module.partition(".")[0]
        raise TrainRunError(
            f"{what}, which cannot be imported: {error}.",
            hint="Load its plugin, by a manifest that you name: --plugins-dir, --plugins-path; or install it here: "
            f"pip install '{name}{extras and f'[{extras}]'}'",
            key="data.data_module",
        ) from error


def _checked(what: str, found: Any) -> Any:
    # Whatever else is called so is not called: a class of the standard library does things when it is made.
    if not (isinstance(found, type) and all(hasattr(found, each) for each in _METHODS)):
        raise TrainRunError(
            f"{what}, which is no class with {', '.join(_METHODS)}.",
            hint="Derive it from cuvis_ai_core.data.datamodule.BaseCuvisAIDataModule, or Lightning's own.",
            key="data.data_module",
        )
    return found


def _import_installed(module: str) -> ModuleType:
    # A trainrun is data: it must not have any module of the path run, such as one beside it.
    if not is_importable(module):
        raise ImportError(f"'{module}' is of no distribution that is installed")
    return import_module(module)
