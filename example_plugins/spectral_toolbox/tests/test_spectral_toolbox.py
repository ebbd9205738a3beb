"""The nodes beside scikit-learn, SciPy and Spectral Python, whole and by tiles, in NumPy and torch."""

import importlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cuvis_ai_core import Pipeline
from cuvis_ai_core.node import ArrayNode

RANDOM = np.random.default_rng(7)
BANDS = 12
NM = np.linspace(400.0, 2300.0, BANDS)
MIXED = RANDOM.normal(size=(BANDS, BANDS))
CUBE = np.abs(RANDOM.normal(size=(1, 9, 8, BANDS)) @ MIXED + 20)
PIXELS = CUBE.reshape(-1, BANDS)
TARGET = (PIXELS.mean(axis=0) * np.linspace(0.8, 1.2, BANDS)).tolist()
TRUTH = RANDOM.integers(0, 4, size=(1, 9, 8)).astype(np.int32)
FOUND = RANDOM.integers(0, 4, size=(1, 9, 8)).astype(np.int32)

NODES: dict[str, dict[str, Any]] = {
    "argmax.ArgMax": {},
    "clusters.KMeans": {"clusters": 3},
    "components.MinimumNoiseFraction": {"components": 4},
    "components.PrincipalComponents": {"components": 4},
    "continuum.ContinuumRemoval": {},
    "detectors.AdaptiveCosineEstimator": {"target": TARGET},
    "detectors.MatchedFilter": {"target": TARGET},
    "divergence.SpectralInformationDivergence": {"reference": TARGET},
    "indices.SpectralIndex": {"index": "R745 / R1091 - 2"},
    "resampling.ResampleToSensor": {"centres_nm": [700.0, 1500.0], "fwhm_nm": 300.0},
    "smoothing.SavitzkyGolay": {"window": 5},
    "standardise.Standardise": {},
}


def make(path: str, **parameters: Any) -> ArrayNode:
    """Make a node of this plugin by the path of its class."""
    module, _, name = path.rpartition(".")
    found: ArrayNode = getattr(importlib.import_module(f"cuvis_ai_spectral_toolbox.{module}"), name)(**parameters)
    return found


def inputs(node: ArrayNode, cube: Any = CUBE, wavelengths: Any = NM) -> dict[str, Any]:
    """Return what a node takes of a cube."""
    values = {"cube": cube, "scores": cube, "wavelengths": wavelengths}
    return {port: values[port] for port in node.INPUT_SPECS}


def answer(path: str, cube: Any = CUBE, **parameters: Any) -> np.ndarray:
    """Return the first answer of a node, as pixels."""
    node = make(path, **(parameters or NODES[path]))
    first = next(iter(node.forward(**inputs(node, cube)).values()))
    return np.asarray(first).reshape(-1, first.shape[-1])


def test_standardise() -> None:
    """Bands have the numbers of scikit-learn's scaler."""
    expected = importlib.import_module("sklearn.preprocessing").StandardScaler().fit_transform(PIXELS)
    np.testing.assert_allclose(answer("standardise.Standardise"), expected, atol=1e-12)


def test_principal_components() -> None:
    """Components are those of scikit-learn, but for their sign."""
    expected = importlib.import_module("sklearn.decomposition").PCA(4).fit_transform(PIXELS)
    np.testing.assert_allclose(np.abs(answer("components.PrincipalComponents")), np.abs(expected), atol=1e-9)


def test_minimum_noise_fraction() -> None:
    """Components have the ratios of signal to noise of Spectral Python's transform, and noise of variance 1."""
    spectral = importlib.import_module("spectral")
    answers = answer("components.MinimumNoiseFraction").reshape(9, 8, 4)
    steps = [np.diff(answers, axis=axis).reshape(-1, 4) for axis in (0, 1)]
    np.testing.assert_allclose(np.cov(np.concatenate([steps[1], steps[0]]).T) / 2, np.eye(4), atol=1e-9)
    signal = spectral.calc_stats(CUBE[0])
    noise = spectral.calc_stats(CUBE[0])
    differences = [np.diff(CUBE[0], axis=axis).reshape(-1, BANDS) for axis in (1, 0)]
    noise.cov = np.cov(np.concatenate(differences).T) / 2
    expected = spectral.mnf(signal, noise).napc.eigenvalues[:4]
    np.testing.assert_allclose(answers.reshape(-1, 4).var(axis=0, ddof=1), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "function"), [("MatchedFilter", "matched_filter"), ("AdaptiveCosineEstimator", "ace")]
)
def test_detectors(path: str, function: str) -> None:
    """Scores are those of Spectral Python (of ACE the square of its signed cosine)."""
    spectral = importlib.import_module("spectral")
    expected = getattr(spectral, function)(CUBE[0], np.array(TARGET), spectral.calc_stats(CUBE[0])).ravel()
    np.testing.assert_allclose(answer(f"detectors.{path}").ravel(), expected, rtol=1e-6, atol=1e-9)


def test_divergence() -> None:
    """Divergences are the sum of both relative entropies of SciPy."""
    entropy = importlib.import_module("scipy.stats").entropy
    expected = [entropy(pixel, TARGET) + entropy(TARGET, pixel) for pixel in PIXELS]
    np.testing.assert_allclose(answer("divergence.SpectralInformationDivergence").ravel(), expected, rtol=1e-9)


@pytest.mark.parametrize("derivative", [0, 1, 2])
def test_savitzky_golay(derivative: int) -> None:
    """Spectra are those of SciPy's filter, at the ends too."""
    expected = importlib.import_module("scipy.signal").savgol_filter(PIXELS, 7, 3, deriv=derivative)
    smooth = answer("smoothing.SavitzkyGolay", window=7, order=3, derivative=derivative)
    np.testing.assert_allclose(smooth, expected, atol=1e-9)


def test_continuum() -> None:
    """The hull is that of Spectral Python, whatever the order of the bands."""
    continuum = importlib.import_module("spectral").remove_continuum
    expected = continuum(PIXELS, NM)
    np.testing.assert_allclose(answer("continuum.ContinuumRemoval"), expected, rtol=1e-9)
    node = make("continuum.ContinuumRemoval")
    turned = node.forward(cube=CUBE[..., ::-1], wavelengths=NM[::-1])["cube"]
    np.testing.assert_allclose(turned[..., ::-1].reshape(-1, BANDS), expected, rtol=1e-9)


def test_resampling() -> None:
    """A flat spectrum stays flat, a fine one has the mean under the response, and bands outside are no data."""
    node = make("resampling.ResampleToSensor", sensor="Sentinel-2A")
    nm = np.arange(400.0, 1000.0, 2.0)
    seen = node.forward(cube=np.stack([np.full_like(nm, 3.0), nm])[None, None], wavelengths=nm)
    np.testing.assert_allclose(seen["cube"][0, 0, 0, :9], 3)
    np.testing.assert_allclose(seen["cube"][0, 0, 1, :9], seen["wavelengths"][:9], rtol=1e-3)
    assert np.isnan(seen["cube"][0, 0, :, 10:]).all()


def test_k_means() -> None:
    """From the same first centres scikit-learn ends with the same clusters, and equal images give equal numbers."""
    clusters = importlib.import_module("sklearn.cluster")
    node = make("clusters.KMeans", clusters=3)
    found = node.forward(cube=CUBE)
    first = np.asarray(node._first(PIXELS))  # noqa: SLF001 - another start may end elsewhere
    expected = clusters.KMeans(3, init=first, n_init=1, algorithm="lloyd", tol=0).fit(PIXELS)
    order = np.argsort(expected.cluster_centers_.sum(axis=1))
    np.testing.assert_allclose(found["centres"][0], expected.cluster_centers_[order], rtol=1e-9)
    np.testing.assert_array_equal(found["classes"].ravel() - 1, np.argsort(order)[expected.labels_])


@pytest.mark.parametrize("name", ["NDVI", "(R800 - R670) / (R800 + R670)", "ndvi"])
def test_index(name: str) -> None:
    """A named index is its expression; where it divides by zero it is not a number."""
    node = make("indices.SpectralIndex", index=name)
    spectra = np.array([[0.05, 0.45], [0.3, 0.3], [0.0, 0.0]])[None, None]
    index = node.forward(cube=spectra, wavelengths=np.array([670.0, 800.0]))["index"]
    np.testing.assert_allclose(index.ravel(), [0.8, 0, np.nan], atol=1e-12)


def test_all_named_indices() -> None:
    """Each named index can be computed where its bands are, and has a source."""
    named = importlib.import_module("cuvis_ai_spectral_toolbox.indices").NAMED
    nm = np.arange(400.0, 2500.0, 10.0)
    cube = RANDOM.uniform(0.1, 0.6, size=(1, 2, 2, len(nm)))
    for name, (_, source) in named.items():
        assert np.isfinite(make("indices.SpectralIndex", index=name).forward(cube=cube, wavelengths=nm)["index"]).all()
        assert any(character.isdigit() for character in source)


@pytest.mark.parametrize("index", ["__import__('os')", "R800.real", "1 + 1", "NDXI", "R800 +", "f(R800)", "'R800'"])
def test_no_index(index: str) -> None:
    """An expression of anything but numbers, operators and bands is refused when the node is made."""
    with pytest.raises(ValueError, match="An index is one of NDVI"):
        make("indices.SpectralIndex", index=index)


def test_index_without_band() -> None:
    """A wavelength that no band is near is an error that says what there is."""
    node = make("indices.SpectralIndex")
    with pytest.raises(ValueError, match=r"within 20 nm of 800 nm.*between 400 and 500 nm"):
        node.forward(cube=np.ones((1, 1, 1, 2)), wavelengths=np.array([400.0, 500.0]))


def test_classification_measures() -> None:
    """Measures are those of scikit-learn over the pixels that have a truth."""
    metrics = importlib.import_module("sklearn.metrics")
    got = make("measures.ClassificationMeasures").forward(classes=FOUND, mask=TRUTH)
    known = TRUTH.ravel() > 0
    true, found = TRUTH.ravel()[known], FOUND.ravel()[known]
    np.testing.assert_allclose(got["accuracy"], metrics.accuracy_score(true, found), rtol=1e-6)
    np.testing.assert_allclose(got["kappa"], metrics.cohen_kappa_score(true, found), rtol=1e-6)
    for port, function in (("f1", metrics.f1_score), ("iou", metrics.jaccard_score)):
        np.testing.assert_allclose(got[port], function(true, found, labels=[1, 2, 3], average=None), rtol=1e-6)


def test_detection_measures() -> None:
    """The area is that of scikit-learn, equal scores included; the threshold lets so many false alarms through."""
    metrics = importlib.import_module("sklearn.metrics")
    scores = np.round(CUBE[..., :1] + TRUTH[..., None], 0)
    got = make("measures.DetectionMeasures", false_alarm_rate=0.25).forward(scores=scores, mask=TRUTH)
    np.testing.assert_allclose(got["roc_auc"], metrics.roc_auc_score(TRUTH.ravel() > 0, scores.ravel()), rtol=1e-6)
    false, true, _ = metrics.roc_curve(TRUTH.ravel() > 0, scores.ravel(), drop_intermediate=False)
    np.testing.assert_allclose(got["probability_of_detection"], true[false <= 0.25].max(), rtol=1e-6)


def test_arg_max() -> None:
    """The class is the number of the greatest score, or the least; without any score it is 0."""
    scores = np.array([[0.1, 0.7, 0.2], [np.nan, 0.2, 0.9], [np.nan] * 3])[None, None]
    assert make("argmax.ArgMax").forward(scores=scores)["classes"].ravel().tolist() == [2, 3, 0]
    assert make("argmax.ArgMax", least=True).forward(scores=scores)["classes"].ravel().tolist() == [1, 2, 0]


@pytest.mark.parametrize("path", NODES)
def test_torch(path: str) -> None:
    """A torch tensor in gives a torch tensor out, with the same numbers."""
    torch = pytest.importorskip("torch")
    node = make(path, **NODES[path])
    for port, value in node.forward(**inputs(node, torch.tensor(CUBE), torch.tensor(NM))).items():
        assert isinstance(value, torch.Tensor)
        expected = node.forward(**inputs(node))[port]
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("path", NODES)
def test_types(path: str) -> None:
    """Answers of float32 are float32, and those of float64 agree with them."""
    node = make(path, **NODES[path])
    wide, narrow = node.forward(**inputs(node)), node.forward(**inputs(node, CUBE.astype(np.float32)))
    for port, value in narrow.items():
        assert value.dtype in {np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.float64)}
        assert (value.dtype != np.float64) or port == "wavelengths"
        np.testing.assert_allclose(value, wide[port], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("path", [path for path in NODES if path != "argmax.ArgMax"])
def test_no_data(path: str) -> None:
    """A band without data and a pixel that misses a value change no other answer, and the pixel has none."""
    whole = np.delete(CUBE, 3, axis=-1)
    holed = CUBE.copy()
    holed[..., 3] = np.nan
    holed[0, 4, 4, 5] = np.nan
    node = make(path, **NODES[path])
    values = node.forward(**inputs(node, holed))
    assert all(np.isfinite(value).any() for value in values.values())
    if "cube" not in values and path not in {"indices.SpectralIndex", "divergence.SpectralInformationDivergence"}:
        first = next(iter(values.values()))[0, 4, 4]
        assert np.isnan(first).all() if first.dtype.kind == "f" else first == 0
    assert whole.shape[-1] == BANDS - 1


TILED = [path for path in NODES if path not in {"clusters.KMeans", "components.MinimumNoiseFraction"}]


@pytest.mark.parametrize("path", TILED)
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_by_tiles(path: str, cut: int) -> None:
    """By tiles come the same numbers as in one piece, pixels and a whole tile without data included."""
    cube = CUBE.copy()
    cube[0, 0, :, :] = np.nan
    cube[0, 5, 5, 2] = np.nan
    cube[..., 7] = np.nan
    cube[0, :cut, :, 9] = np.nan
    node = make(path, **NODES[path])
    assert node.per_pixel
    whole = node.forward(**inputs(node, cube))
    tiles = [cube[:, :cut], cube[:, cut:, :3], cube[:, cut:, 3:]]
    if hasattr(node, "tile_statistics"):
        parts = [node.tile_statistics(**inputs(node, tile)) for tile in tiles]
        first, second = (parts[2], parts[0]) if cut == 3 else (parts[0], parts[2])
        together = node.merge_statistics(node.merge_statistics(first, second), parts[1])
        answers = [node.forward_tile(together, **inputs(node, tile)) for tile in tiles]
    else:
        answers = [node.forward(**inputs(node, tile)) for tile in tiles]
    for port, expected in whole.items():
        if port == "wavelengths":
            continue
        top, left, right = (each[port] for each in answers)
        joined = np.concatenate([top, np.concatenate([left, right], axis=2)], axis=1)
        np.testing.assert_allclose(joined, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("components.PrincipalComponents", {"components": 0}, "at least 1"),
        ("smoothing.SavitzkyGolay", {"window": 4}, "the window is odd"),
        ("resampling.ResampleToSensor", {"sensor": "Landsat-1"}, "known are Sentinel-2A"),
        ("resampling.ResampleToSensor", {}, "either a sensor"),
        ("divergence.SpectralInformationDivergence", {"reference": [0.0]}, "a number above 0"),
        ("measures.DetectionMeasures", {"false_alarm_rate": 2.0}, "from 0 to 1"),
        ("clusters.KMeans", {"clusters": 0}, "at least 1"),
    ],
)
def test_wrong_parameters(path: str, parameters: dict[str, Any], message: str) -> None:
    """Hyper-parameters out of their range are refused when the node is made."""
    with pytest.raises(ValueError, match=message):
        make(path, **parameters)


def test_degenerate() -> None:
    """Bands that follow from others leave no inverse: an error that says what to do, not wrong scores."""
    twice = np.concatenate([CUBE, CUBE], axis=-1)
    with pytest.raises(ValueError, match=r"cannot be inverted|at least 25 are needed"):
        make("detectors.MatchedFilter", target=TARGET * 2).forward(cube=twice[:, :2])


def test_hooks_name_what_is_there() -> None:
    """Each class that the hook names is one of those tested here, and the pipeline file uses only these."""
    plugin = importlib.import_module("cuvis_ai_spectral_toolbox.plugin")
    named = {path.removeprefix("cuvis_ai_spectral_toolbox.") for path in plugin.cuvis_ai_nodes()}
    assert named == {*NODES, "measures.ClassificationMeasures", "measures.DetectionMeasures"}
    (folder,) = plugin.cuvis_ai_config_dirs()
    used = yaml.safe_load(Path(folder, "toolbox.yaml").read_text(encoding="utf-8"))["nodes"]
    assert {entry["class_name"] for entry in used} <= {path.rpartition(".")[2] for path in named}


def test_nothing_that_is_not_public() -> None:
    """Of the core only its public names are imported."""
    root = Path(__file__).parents[1]
    sources = [file.read_text(encoding="utf-8") for file in (root / "src").rglob("*.py")]
    lines = {line for text in sources for line in text.splitlines() if "cuvis_ai_core" in line and "import" in line}
    assert lines == {
        "from cuvis_ai_core.node import ArrayNode",
        "from cuvis_ai_core.node import PortSpec",
        "from cuvis_ai_core.node import ArrayNode, PortSpec",
    }
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["cuvis_ai.nodes"] == {"spectral_toolbox": "cuvis_ai_spectral_toolbox.plugin"}


def test_in_a_pipeline_by_tiles() -> None:
    """In a pipeline the nodes are computed by tiles as they say, with the numbers of the whole image."""
    package = "cuvis_ai_spectral_toolbox"
    nodes = [
        {"name": "scaled", "class_name": f"{package}.standardise.Standardise"},
        {"name": "pca", "class_name": f"{package}.components.PrincipalComponents", "params": {"components": 4}},
        {
            "name": "ace",
            "class_name": f"{package}.detectors.AdaptiveCosineEstimator",
            "params": {"target": [1, 0, 2, 0]},
        },
    ]
    edges = [{"source": "scaled.cube", "target": "pca.cube"}, {"source": "pca.components", "target": "ace.cube"}]
    pipeline = Pipeline.from_dict({"nodes": nodes, "edges": edges})
    cube = RANDOM.normal(size=(1, 40, 30, BANDS)) @ MIXED
    tiles: list[int] = []
    found = pipeline.forward_tiled({"cube": cube}, memory=200_000, progress=lambda done, _: tiles.append(done))
    assert max(tiles) > 3
    np.testing.assert_allclose(found["ace", "scores"], pipeline.forward({"cube": cube})["ace", "scores"], atol=1e-9)
