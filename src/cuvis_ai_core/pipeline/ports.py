"""The published import path of port classes, which are those of the schemas."""

from cuvis_ai_core._deprecated import say_once

__all__ = ["InputPort", "OutputPort", "PortSpec"]  # noqa: F822 - `__getattr__` has them


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cuvis_ai_schemas.pipeline as home

    say_once(f"{__name__}.{name}", f"cuvis_ai_schemas.pipeline.{name}")
    found: object = getattr(home, name)
    return found
