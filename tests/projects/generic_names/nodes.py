import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Generic(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}

    @staticmethod
    def seen():
        import utils.deep
        from utils.checkpoint import Net

        return [
            dataset.WHO,
            loss.WHO,
            method.WHO,
            utils.deep.WHO,
            Net.who,
            pickle.loads(b"cutils.checkpoint\nNet\n.").who,
            import_module("loss").WHO,
        ]


import pickle
from importlib import import_module

import dataset
import loss
import method
