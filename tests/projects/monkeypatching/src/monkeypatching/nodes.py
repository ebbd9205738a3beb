import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Patching(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}

    @staticmethod
    def seen():
        import cuvis_test_dep
        from monkeypatching import late

        return [late.who(), cuvis_test_dep.who(), cuvis_test_shared.who(), logging.cuvis_test_mark]


import logging

import cuvis_test_dep
import cuvis_test_shared
import monkeypatching.late

monkeypatching.late.who = lambda: "1.0.0"
cuvis_test_dep.who = lambda: "1.0.0"
cuvis_test_shared.who = lambda: "1.0.0"
logging.cuvis_test_mark = "1.0.0"
