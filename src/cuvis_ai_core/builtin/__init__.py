"""The built-in nodes and cube readers: an ordinary plugin, through the same hooks as any other."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["BUILTIN_NODES"]

# Everybody in the process has the same one.
BUILTIN_NODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MinMaxNormalizer": "cuvis_ai_core.builtin.normalization.MinMaxNormalizer",
        "QuantileDecider": "cuvis_ai_core.builtin.decision.QuantileDecider",
        "RXDetector": "cuvis_ai_core.builtin.anomaly.RXDetector",
        "SpectralAngleMapper": "cuvis_ai_core.builtin.spectral_angle.SpectralAngleMapper",
        "WavelengthSelector": "cuvis_ai_core.builtin.color.WavelengthSelector",
    }
)
"""Short name to import path, as text: a listing imports no node."""
