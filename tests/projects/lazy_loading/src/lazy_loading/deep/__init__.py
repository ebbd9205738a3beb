import importlib


def __getattr__(name):
    if name in {"leaf", "twig"}:
        return importlib.import_module(f"lazy_loading.deep.{name}")
    if name == "Leaf":
        from .leaf import Leaf

        return Leaf
    raise AttributeError(name)


def __dir__():
    return ["Leaf", "leaf", "twig"]
