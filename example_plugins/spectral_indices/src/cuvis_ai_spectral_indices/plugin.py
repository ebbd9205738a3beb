"""What this plugin contributes: the module that its entry point names."""

from pathlib import Path

from cuvis_ai_hookspecs import hookimpl


@hookimpl
def cuvis_ai_nodes() -> list[str]:
    """Name the nodes by import path, so that listing them imports nothing else."""
    return [
        "cuvis_ai_spectral_indices.normalized_difference.NormalizedDifferenceIndex",
        "cuvis_ai_spectral_indices.band_depth.BandDepth",
    ]


@hookimpl
def cuvis_ai_config_dirs() -> list[Path]:
    """Return the folder of the pipeline files, which are package data."""
    return [Path(__file__).parent / "configs"]
