import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Lazy(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}

    @staticmethod
    def ran():
        return list(getattr(sys, "lazy_loading_ran", []))

    @staticmethod
    def seen():
        import lazy_loading
        from lazy_loading import Leaf, deep

        return [
            lazy_loading.late.WHO,
            lazy_loading.Leaf.who,
            Leaf.who,
            deep.twig.WHO,
            deep.Leaf.who,
            loaded.WHO,
            lazily_by_importlib().WHO,
            lazy_loading.Lazy is Lazy and "1.0.0",
        ]


import importlib.util
import sys

import lazy_loader

loaded = lazy_loader.load("lazy_tools")


def lazily_by_importlib():
    """As the documentation of `importlib.util.LazyLoader` does it, but for a private name."""
    spec = importlib.util.find_spec("lazy_loading.deep.twig")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
