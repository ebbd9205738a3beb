import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Scale(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}

    @staticmethod
    def seen():
        from compiled_extension import _scale as again

        return [_scale.version(), _scale.ask(), again.version(), again.count()]


from compiled_extension import _scale
