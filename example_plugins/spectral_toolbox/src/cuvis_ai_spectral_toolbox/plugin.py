"""What this plugin contributes: the module that its entry point names."""

from pathlib import Path
from typing import Final

from cuvis_ai_hookspecs import hookimpl

_PACKAGE: Final = "cuvis_ai_spectral_toolbox"
_NODES: Final = (
    "argmax.ArgMax",
    "clusters.KMeans",
    "components.MinimumNoiseFraction",
    "components.PrincipalComponents",
    "continuum.ContinuumRemoval",
    "detectors.AdaptiveCosineEstimator",
    "detectors.MatchedFilter",
    "divergence.SpectralInformationDivergence",
    "indices.SpectralIndex",
    "measures.ClassificationMeasures",
    "measures.DetectionMeasures",
    "resampling.ResampleToSensor",
    "smoothing.SavitzkyGolay",
    "standardise.Standardise",
)


@hookimpl
def cuvis_ai_nodes() -> list[str]:
    """Name the nodes by import path, so that listing them imports nothing else."""
    return [f"{_PACKAGE}.{name}" for name in _NODES]


@hookimpl
def cuvis_ai_config_dirs() -> list[Path]:
    """Return the folder of the pipeline files, which are package data."""
    return [Path(__file__).parent / "configs"]
