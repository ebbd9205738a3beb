"""Nodes."""

import argparse
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec


ARGS = argparse.ArgumentParser().parse_args()


class Leaf(ArrayNode):
    """Score leaves."""

    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1), "[batch, height, width, channel]")}
    OUTPUT_SPECS = {"scores": PortSpec(np.floating, (-1, -1, -1, 1), "[batch, height, width, 1]")}

    def forward(self, cube):
        return {"scores": cube.mean(axis=-1, keepdims=True)}
