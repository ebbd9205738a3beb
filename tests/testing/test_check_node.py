"""What `check_node` promises: sound nodes pass, and each of these faults is named."""

import importlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.builtin import BUILTIN_NODES
from cuvis_ai_core.node import ArrayNode, PortSpec
from cuvis_ai_core.testing import NodeCheckError, check_node
from cuvis_ai_core.testing.node_checks import made_up

IMAGE = PortSpec(np.floating, (-1, -1, -1, -1))
SPECTRUM = np.linspace(0.1, 0.6, 31).tolist()
PARAMS: dict[str, dict[str, Any]] = {"SpectralAngleMapper": {"reference": SPECTRUM}}
EXAMPLES: dict[str, dict[str, Any]] = {
    "cuvis_ai_plain_nodes.reflectance.ApparentReflectance": {},
    "cuvis_ai_spectral_indices.band_depth.BandDepth": {},
    "cuvis_ai_spectral_indices.normalized_difference.NormalizedDifferenceIndex": {},
    "cuvis_ai_spectral_toolbox.argmax.ArgMax": {},
    "cuvis_ai_spectral_toolbox.clusters.KMeans": {},
    "cuvis_ai_spectral_toolbox.components.MinimumNoiseFraction": {},
    "cuvis_ai_spectral_toolbox.components.PrincipalComponents": {},
    "cuvis_ai_spectral_toolbox.continuum.ContinuumRemoval": {},
    "cuvis_ai_spectral_toolbox.detectors.AdaptiveCosineEstimator": {"target": SPECTRUM},
    "cuvis_ai_spectral_toolbox.detectors.MatchedFilter": {"target": SPECTRUM},
    "cuvis_ai_spectral_toolbox.divergence.SpectralInformationDivergence": {"reference": SPECTRUM},
    "cuvis_ai_spectral_toolbox.indices.SpectralIndex": {},
    "cuvis_ai_spectral_toolbox.measures.ClassificationMeasures": {},
    "cuvis_ai_spectral_toolbox.measures.DetectionMeasures": {},
    "cuvis_ai_spectral_toolbox.resampling.ResampleToSensor": {"centres_nm": [500.0, 600.0], "fwhm_nm": [60.0, 60.0]},
    "cuvis_ai_spectral_toolbox.smoothing.SavitzkyGolay": {},
    "cuvis_ai_spectral_toolbox.standardise.Standardise": {},
    "cuvis_ai_spectral_classifier.class_map.ClassMap": {},
    "cuvis_ai_spectral_classifier.classifier.SpectralClassifier": {"channels": 31, "classes": 3},
    "cuvis_ai_spectral_classifier.standardizer.BandStandardizer": {},
}
ROOT = Path(__file__).parents[2]


class Sound(ArrayNode):
    """Doubles a cube."""

    INPUT_SPECS = {"cube": IMAGE}
    OUTPUT_SPECS = {"cube": IMAGE}
    per_pixel = True

    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        self.factor = factor
        super().__init__(factor=factor, **kwargs)

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube * self.factor}


class NoBase:
    """Has ports and a forward, and no base class."""


class Misspelt(ArrayNode):
    """Its ports are declared under another name."""

    INPUT_SPEC = {"cube": IMAGE}
    OUTPUT_SPECS = {"cube": IMAGE}


class OtherNames(Sound):
    """Its forward takes what is no port."""

    def forward(self, data: Any) -> dict[str, Any]:
        return {"cube": data}


class NoDocstring(Sound):
    __doc__ = None


class CannotBeBuilt(Sound):
    """Raises in its constructor."""

    def __init__(self, **kwargs: Any) -> None:
        raise RuntimeError("no model file")


class LosesParameters(ArrayNode):
    """Keeps its hyper-parameter to itself."""

    INPUT_SPECS = {"cube": IMAGE}
    OUTPUT_SPECS = {"cube": IMAGE}

    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        self.factor = factor
        super().__init__(**kwargs)

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube * self.factor}


class OtherOutput(Sound):
    """Returns what it does not declare."""

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"scores": cube}


class WrongShape(Sound):
    """Loses an axis."""

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube[..., 0]}


class WritesInput(Sound):
    """Writes into what it was given."""

    def forward(self, cube: Any) -> dict[str, Any]:
        cube *= 2
        return {"cube": cube}


class Random(Sound):
    """Answers something else each time."""

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube + np.random.default_rng().random(cube.shape).astype(cube.dtype)}


class ZeroForMissing(Sound):
    """Makes zeros of pixels without data."""

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": np.nan_to_num(cube, nan=0.0) * 2}


class ZeroInMap(ArrayNode):
    """Makes zeros of pixels without data, in a map without channels."""

    INPUT_SPECS = {"cube": IMAGE}
    OUTPUT_SPECS = {"map": PortSpec(np.floating, (-1, -1, -1))}

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"map": np.nan_to_num(cube, nan=0.0).sum(axis=-1)}


class NoTiles(Sound):
    """Says that it needs a pixel alone, and looks at the whole image."""

    per_pixel = True

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube - cube.mean(axis=(1, 2), keepdims=True)}


class Forgets(Sound):
    """Counts, and its answer depends on it."""

    count = 0

    def forward(self, cube: Any) -> dict[str, Any]:
        self.count += 1
        return {"cube": cube * self.count}


class NoPickle(Sound):
    """Holds what cannot be pickled."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = lambda: None


class MixesBatch(Sound):
    """Takes the mean of the whole batch."""

    per_pixel = False

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube - cube.mean()}


class NoOutputs(Sound):
    """Gives nothing."""

    OUTPUT_SPECS = {}

    def forward(self, cube: Any) -> dict[str, Any]:
        return {}


class NoImages(ArrayNode):
    """Takes the mean of spectra, however many images they are of."""

    INPUT_SPECS = {"spectra": PortSpec(np.floating, (-1, -1))}
    OUTPUT_SPECS = {"mean": PortSpec(np.floating, (-1,))}

    def forward(self, spectra: Any) -> dict[str, Any]:
        return {"mean": spectra.mean(axis=0)}


class Learned(ArrayNode):
    """Subtracts the mean of what it has seen."""

    INPUT_SPECS = {"cube": IMAGE}
    OUTPUT_SPECS = {"cube": IMAGE}
    STATE: ClassVar[tuple[str, ...]] = ("mean",)
    per_pixel = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean: Any = None

    def statistical_initialization(self, batches: Any) -> None:
        self.mean = np.mean([batch["cube"].mean(axis=(0, 1, 2)) for batch in batches], axis=0)
        self.statistically_initialized = True

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube - self.mean}


class LosesState(Learned):
    """Saves another mean than it has."""

    def state_dict(self) -> dict[str, Any]:
        return {name: value * 0 for name, value in super().state_dict().items()}


class NoState(Learned):
    """Saves no mean."""

    STATE = ()


class Narrow(Sound):
    """Takes the bits of other floats for its own."""

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"cube": cube if cube.dtype == np.float32 else np.sqrt(cube)}


class ByteWise(Sound):
    """Fails on other floats than its own."""

    def forward(self, cube: Any) -> dict[str, Any]:
        assert cube.dtype == np.float32
        return {"cube": cube}


class Dark(ArrayNode):
    """Answers zero wherever it is asked, data or not."""

    INPUT_SPECS = {"cube": IMAGE}
    OUTPUT_SPECS = {"map": PortSpec(np.floating, (-1, -1, -1)), "mask": PortSpec(np.int32, (-1, -1, -1))}

    def forward(self, cube: Any) -> dict[str, Any]:
        zero = np.zeros(cube.shape[:3], cube.dtype)
        return {"map": zero, "mask": zero.astype(np.int32)}


class ManyKinds(ArrayNode):
    """Takes an input of each kind."""

    INPUT_SPECS = {
        "cube": IMAGE,
        "wavelengths": PortSpec(np.float64, (-1,)),
        "mask": PortSpec(np.int32, (-1, -1, -1)),
        "valid": PortSpec(bool, (-1, -1, -1)),
        "target": PortSpec(np.floating, (3,)),
        "sized": PortSpec(np.floating, ("size", -1)),
        "title": PortSpec(str, ()),
        "extra": PortSpec(np.floating, (-1,), optional=True),
    }
    OUTPUT_SPECS = {"kinds": PortSpec(list, ())}
    size = 9

    def forward(self, **inputs: Any) -> dict[str, Any]:
        return {"kinds": [(name, *np.shape(value)) for name, value in sorted(inputs.items())]}


def test_values_are_made_up_for_inputs_of_every_kind() -> None:
    """Of the types and sizes that ports declare, where they are free of different ones; optional inputs get none."""
    found = made_up(ManyKinds())
    assert {name: np.shape(value) for name, value in found.items()} == {
        "cube": (1, 7, 5, 31),
        "wavelengths": (31,),
        "mask": (1, 7, 5),
        "valid": (1, 7, 5),
        "target": (3,),
        "sized": (9, 31),
        "title": (),
    }
    assert {name: value.dtype.kind for name, value in found.items() if name != "title"} == {
        "cube": "f", "wavelengths": "f", "mask": "i", "valid": "b", "target": "f", "sized": "f"
    }  # fmt: skip
    assert 0 < found["cube"].max() < 1 < found["mask"].max() < 5
    assert (found["wavelengths"][0], found["wavelengths"][-1]) == (400, 1100)
    assert len({made_up(ManyKinds(), seed)["cube"].sum() for seed in range(3)}) == 3
    assert made_up(ManyKinds(), sizes=(2, 3, 4, 6))["cube"].shape == (2, 3, 4, 6)


@pytest.mark.parametrize("node_class", [Learned, Dark, NoImages])
def test_what_is_no_fault_is_not_named(node_class: type) -> None:
    """A node that has learned, one whose answer is zero with data too, and one without images."""
    check_node(node_class)


@pytest.mark.parametrize(
    ("node_class", "fault"),
    [
        (NoOutputs, "it declares no outputs in OUTPUT_SPECS"),
        (LosesState, "saved and loaded, its output 'cube' is another"),
        (NoState, "saved and loaded, it fails"),
        (Narrow, "given float64, its output 'cube' is another"),
        (ByteWise, "given float64, it fails: NodeRunError"),
        (NoBase, "does not derive from cuvis_ai_core.node.ArrayNode"),
        (Misspelt, "it has INPUT_SPEC; the name is INPUT_SPECS"),
        (OtherNames, "forward takes ['data'], but the input ports are ['cube']"),
        (NoDocstring, "no docstring"),
        (CannotBeBuilt, "cannot be built: RuntimeError: no model file"),
        (OtherOutput, "does not run on cube float32 [1, 7, 5, 31]"),
        (WrongShape, "does not run on"),
        (WritesInput, "does not run on"),
        (Random, "run again on the same values, its output 'cube' is another"),
        (ZeroForMissing, "comes out of 'cube' as zero"),
        (ZeroInMap, "comes out of 'map' as zero"),
        (NoTiles, "computed by tiles, as it declares, its output 'cube' is another"),
        (Forgets, "run again on the same values"),
        (NoPickle, "pickled, it fails"),
        (MixesBatch, "given a batch of two, its output 'cube' is another"),
    ],
)
def test_a_planted_fault_is_named(node_class: type, fault: str) -> None:
    """In a sentence that says what its author sees."""
    with pytest.raises(NodeCheckError) as caught:
        check_node(node_class)
    assert fault in str(caught.value)
    assert str(caught.value).startswith(f"{node_class.__name__}:\n- ")
    assert sum(fault in each for each in caught.value.faults) == 1


def test_a_lost_hyper_parameter_is_named() -> None:
    """That it is recorded elsewhere does not make the author's own record whole."""
    with pytest.raises(NodeCheckError, match="'factor' is not handed to super"):
        check_node(LosesParameters, factor=3.0)
    with pytest.raises(NodeCheckError, match="'factor' is not handed to super"):
        check_node(LosesParameters)


def test_a_sound_node_passes() -> None:
    """With and without parameters, and with values of the caller's own."""
    check_node(Sound)
    check_node(Sound, factor=3.0, inputs={"cube": np.ones((1, 3, 4, 2), np.float32)})


@pytest.mark.parametrize("name", sorted(BUILTIN_NODES))
def test_built_in_nodes_pass(name: str) -> None:
    """All of them, with the parameters that they ask for."""
    check_node(NodeRegistry.get(name), **PARAMS.get(name, {}))


@pytest.mark.parametrize("path", EXAMPLES)
def test_example_nodes_pass(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the example plugins, with the parameters that they ask for."""
    module, _, name = path.rpartition(".")
    if "classifier" in module:
        pytest.importorskip("torch")
    for folder in ROOT.glob("example_plugins/*/src"):
        monkeypatch.syspath_prepend(str(folder))
    check_node(getattr(importlib.import_module(module), name), **EXAMPLES[path])


@pytest.mark.slow
def test_the_fixtures_are_there_by_themselves(pytester: pytest.Pytester) -> None:
    """A plugin's tests need no conftest: cube, registry, Git host, and a plugin cache of their own."""
    pytester.makepyfile(
        nodes="""
        import numpy as np
        from cuvis_ai_core.node import ArrayNode, PortSpec


        class Twice(ArrayNode):
            INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
            OUTPUT_SPECS = INPUT_SPECS

            def forward(self, cube):
                return {"cube": cube * 2}
        """
    )
    project = '[project]\nname = "nodes"\nversion = "1.0.0"\n[tool.setuptools]\npy-modules = ["nodes"]\n'
    (pytester.path / "pyproject.toml").write_text(project)
    pytester.makepyfile(
        test_it="""
        def test_it_loads(cuvis_load, cuvis_cube, cuvis_cache, cuvis_git_host):
            registry = cuvis_load("nodes.Twice")
            node = registry.get("Twice")()
            assert node.forward(**{"cube": cuvis_cube.batch()["cube"]})["cube"].shape == (1, 7, 5, 60)
            assert cuvis_cache.is_dir()
            assert cuvis_git_host.url("x").startswith("http://127.0.0.1:")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1)
