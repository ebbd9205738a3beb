"""How a data module is made of the data section of a trainrun; importing this module imports no torch."""

from typing import Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import TrainRunError


def create_data_module(registry: Any, data_config: Any) -> Any:
    """Return a new data module that a registry knows, not yet set up.

    What its class raises comes through as it is.

    Args:
        registry: A `NodeRegistry`, or what has classes by their names in `data_modules`.
        data_config: The data section: `data_module`, `params`, `splits`, `batch_size` and `num_workers`.

    Raises:
        PluginConflictError: Several plugins have a data module of that name.
        TrainRunError: The registry knows none of that name.
    """
    name = data_config.data_module
    known = getattr(registry, "data_modules", None) or {}
    if name in known:
        return made(known[name], data_config, data_config.splits)
    loaded = registry.data_module(name) if hasattr(registry, "data_module") else None
    if loaded is None:
        raise TrainRunError(
            f"No plugin of the registry provides the data module '{name}'.{did_you_mean(str(name), known)}",
            hint=f"Data modules: {', '.join(known) or 'none'}. Load the plugin whose manifest names it.",
            key="data.data_module",
        )
    return made(loaded.load(), data_config, data_config.splits)


def made(found: Any, data: Any, splits: Any) -> Any:
    """Return a data module of a class, whose parameters it has checked.

    Args:
        found: The class.
        data: The data section: `params`, `batch_size` and `num_workers`.
        splits: What shares its samples out, or None.
    """
    # A copy: the check is a plugin's code, and may change what it is given.
    getattr(found, "validate_params", dict)(dict(data.params))
    return found(splits=splits, batch_size=data.batch_size, num_workers=data.num_workers, **data.params)
