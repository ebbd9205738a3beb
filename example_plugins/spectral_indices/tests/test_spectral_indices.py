import importlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from cuvis_ai_core.node import ArrayNode

WAVELENGTHS = np.array([670.0, 800.0, 920.0, 970.0, 1080.0])


def node(path: str, **parameters: float) -> ArrayNode:
    """Make a node of this plugin by the path of its class."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"cuvis_ai_spectral_indices.{module}"), name)(**parameters)


def cube(*spectra: list[float]) -> np.ndarray:
    """Make a cube of one row of pixels."""
    return np.array(spectra, np.float32)[np.newaxis, np.newaxis]


def test_ndvi_of_known_spectra() -> None:
    """Vegetation is near 1, grey is 0, and a dark pixel has no index."""
    ndvi = node("normalized_difference.NormalizedDifferenceIndex")
    spectra = cube([0.05, 0.45, 0, 0, 0], [0.3, 0.3, 0, 0, 0], [0, 0, 0, 0, 0])
    index = ndvi.forward(cube=spectra, wavelengths=WAVELENGTHS)["index"]
    assert index.shape == (1, 1, 3, 1)
    assert index.dtype == np.float32
    np.testing.assert_allclose(index.ravel(), [0.8, 0.0, np.nan], rtol=1e-6)


def test_band_depth_of_known_spectra() -> None:
    """A straight spectrum has no depth; half the continuum is a depth of one half."""
    depth = node("band_depth.BandDepth")
    spectra = cube([1, 1, 0.4, 0.4, 0.4], [1, 1, 0.4, 0.2, 0.4], [1, 1, 0, 0, 0])
    result = depth.forward(cube=spectra, wavelengths=WAVELENGTHS)["depth"]
    np.testing.assert_allclose(result.ravel(), [0.0, 0.5, np.nan], atol=1e-6)


def test_a_wavelength_without_a_band_is_an_error() -> None:
    """A cube of visible light has no band at 1600 nm, and the message says what it has."""
    index = node("normalized_difference.NormalizedDifferenceIndex", first_nm=1600.0)
    with pytest.raises(ValueError, match=r"20 nm of 1600 nm.*between 670 and 1080 nm, the nearest at 1080 nm"):
        index.forward(cube=cube([1, 1, 1, 1, 1]), wavelengths=WAVELENGTHS)


def test_shoulders_enclose_the_absorption() -> None:
    """Shoulders in the wrong order are refused when the node is made."""
    with pytest.raises(ValueError, match="must rise"):
        node("band_depth.BandDepth", left_nm=1100.0)


def test_the_hooks_name_what_is_there() -> None:
    """Each class that the hook names can be imported, and the pipeline file uses only those."""
    plugin = importlib.import_module("cuvis_ai_spectral_indices.plugin")
    paths = [path.removeprefix("cuvis_ai_spectral_indices.") for path in plugin.cuvis_ai_nodes()]
    names = {type(node(path)).__name__ for path in paths}
    (folder,) = plugin.cuvis_ai_config_dirs()
    used = yaml.safe_load(Path(folder, "default.yaml").read_text(encoding="utf-8"))["nodes"]
    assert {entry["class_name"] for entry in used} <= names
