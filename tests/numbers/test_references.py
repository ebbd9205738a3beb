"""Every node against a plain reference in float64, over shapes, types, strides, masks, units and array libraries."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import array_api_strict
import numpy as np
import pytest
import scipy.integrate
import scipy.special
from hypothesis import assume, given
from hypothesis import strategies as st
from spectral import spectral_angles

from cuvis_ai_core import NodeRegistry, Pipeline

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

Cube: TypeAlias = Any
"""Arrays, of NumPy unless something else is said."""
WORST: Final[dict[str, float]] = {}
"""The greatest error of each node, as a share of what was expected (for whoever asks)."""

WAVELENGTHS: Final = np.asarray([1080.0, 450.0, 550.0, 670.0, 800.0, 920.0, 970.0])
PLUGINS: Final = Path(__file__).parents[2] / "example_plugins"
NANS: Final = ("a missing value", "an infinite value", "a band without data", "an image without data")
KINDS: Final = (*NANS, "a constant band", "a doubled band", "a dark pixel")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Return what builds a node by the name of its class; plain ones from the source of their plugin."""
    folders = [str(PLUGINS / each / "src") for each in ("spectral_indices", "plain_nodes", "old_numpy")]
    folders.append(str(PLUGINS / "spectral_classifier" / "src"))
    paths = {
        "NormalizedDifferenceIndex": "cuvis_ai_spectral_indices.normalized_difference.NormalizedDifferenceIndex",
        "BandDepth": "cuvis_ai_spectral_indices.band_depth.BandDepth",
        "ApparentReflectance": "cuvis_ai_plain_nodes.reflectance.ApparentReflectance",
        "BandIntegral": "cuvis_ai_old_numpy.trapezoid.BandIntegral",
        "BandStandardizer": "cuvis_ai_spectral_classifier.BandStandardizer",
        "SpectralClassifier": "cuvis_ai_spectral_classifier.SpectralClassifier",
        "LabelledPixels": "cuvis_ai_spectral_classifier.LabelledPixels",
        "ClassificationLoss": "cuvis_ai_spectral_classifier.ClassificationLoss",
        "ClassificationAccuracy": "cuvis_ai_spectral_classifier.ClassificationAccuracy",
        "ClassMap": "cuvis_ai_spectral_classifier.ClassMap",
    }
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch, NodeRegistry(discover=False) as registry:
        for folder in folders:
            patch.syspath_prepend(folder)
        patch.setattr(np, "trapz", np.trapezoid, raising=False)  # of the NumPy that the old plugin asks for
        yield lambda name, **hparams: registry.get(paths.get(name, name))(**hparams)
    for module in [each for each in set(sys.modules) - before if each.startswith("cuvis_ai_") and "core" not in each]:
        del sys.modules[module]


@pytest.fixture(scope="module")
def colour_map(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the class of the plugin that has a dependency of its own."""
    config = {"path": str(PLUGINS / "colour_maps"), "provides": ["cuvis_ai_colour_maps.colour_map.ColourMap"]}
    with pytest.MonkeyPatch.context() as patch, NodeRegistry(discover=False) as registry:
        patch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path_factory.mktemp("plugins")))
        registry.load_plugin(name="colour_maps", config=config)
        yield registry.get("ColourMap")


@st.composite
def cubes(
    draw: Any, channels: int | None = None, types: tuple[Any, ...] = (np.float16, np.float32, np.float64)
) -> Cube:
    """Return images as instruments make them: any unit, any layout in memory, with values missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (*draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))),)
    channels = channels or draw(st.integers(1, 7))
    dtype = draw(st.sampled_from(types))
    unit = 10.0 ** draw(st.integers(-2, 2) if dtype is np.float16 else st.integers(-20, 20))
    cube = (random.normal(size=(*shape, channels)) + draw(st.sampled_from([0, 5, 100]))) * unit
    for kind in draw(st.sets(st.sampled_from(KINDS))):
        _spoil(cube, kind, random)
    return _laid_out(cube.astype(dtype), draw(st.sampled_from(["C", "F", "bsq", "reversed", "every other", "frozen"])))


def _spoil(cube: Cube, kind: str, random: np.random.Generator) -> None:
    image, row, column, band = (random.integers(size) for size in cube.shape)
    match kind:
        case "a missing value":
            cube[image, row, column, band] = np.nan
        case "an infinite value":
            cube[image, row, column, band] = np.inf
        case "a band without data":
            cube[image, ..., band] = np.nan
        case "an image without data":
            cube[image] = np.nan
        case "a constant band":
            cube[image, ..., band] = cube[image, 0, 0, band]
        case "a doubled band":
            cube[..., band] = cube[..., 0]
        case "a dark pixel":
            cube[image, row, column] = 0


def _laid_out(cube: Cube, layout: str) -> Cube:
    match layout:
        case "F":
            return np.asfortranarray(cube)
        case "bsq":
            return np.moveaxis(np.ascontiguousarray(np.moveaxis(cube, 3, 1)), 1, 3)
        case "reversed":
            return np.ascontiguousarray(cube[:, ::-1, :, ::-1])[:, ::-1, :, ::-1]
        case "every other":
            return np.repeat(cube, 2, axis=2)[:, :, ::2]
    cube.flags.writeable = layout != "frozen"
    return cube


def _answer(node: Any, port: str, **inputs: Cube) -> Cube:
    """Return what a node answers on NumPy, after comparing it with the other libraries and with one image at a time."""
    found: Cube = np.asarray(node.forward(**inputs)[port])
    first, *others = inputs
    single = [
        node.forward(**{first: inputs[first][index : index + 1]}, **{name: inputs[name] for name in others})[port]
        for index in range(len(found))
    ]
    np.testing.assert_array_equal(np.concatenate(single), found)
    libraries: list[Callable[[Cube], Cube]] = [lambda array: torch.from_numpy(array.copy())]
    if all(array.dtype != np.float16 for array in inputs.values()):
        libraries.append(lambda array: array_api_strict.asarray(array.copy()))
    for library in libraries:
        answer = np.asarray(node.forward(**{name: library(array) for name, array in inputs.items()})[port])
        assert answer.dtype == found.dtype
        same = np.testing.assert_array_equal if found.dtype == np.bool_ else partial(_compare, type(node).__name__)
        same(answer, found.astype(np.float64))
    return found


def _compare(name: str, found: Cube, expected: Cube, absolute: float = 1e-13) -> None:
    """Compare to the last digits of the type, beyond an absolute error where a value is a difference of others."""
    assert found.shape == expected.shape
    known = np.isfinite(expected)
    np.testing.assert_array_equal(found[~known], expected[~known])
    rest = np.maximum(np.abs(found[known] - expected[known]) - absolute, 0)
    share = rest / np.maximum(np.abs(expected[known]), np.finfo(np.float32).smallest_normal)
    worst = share.max(initial=0)
    WORST[f"{name} {found.dtype}"] = max(WORST.get(f"{name} {found.dtype}", 0), worst)
    assert worst <= (1e-9 if found.dtype == np.float64 else 4 * np.finfo(np.float32).eps)


def _pixels(image: Cube) -> tuple[Cube, Cube]:
    """Return the pixels of an image in the bands that have data, and which have all their values."""
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
    pixels = pixels[:, np.isfinite(pixels).any(axis=0)]
    return pixels, np.isfinite(pixels).all(axis=1) & (pixels.shape[1] > 0)


def _distances(image: Cube) -> Cube:
    pixels, valid = _pixels(image)
    scores = np.full(len(pixels), np.nan)
    if valid.any():
        kept = pixels[valid].astype(np.longdouble)
        centred = kept - kept.mean(axis=0)
        spread = np.abs(centred).max(axis=0)
        varying = spread > 1e-15 * np.abs(kept).max(axis=0)
        basis, sizes, _ = np.linalg.svd((centred / spread)[:, varying].astype(np.float64), full_matrices=False)
        assume(not ((sizes < 1e-4 * sizes.max(initial=0)) & (sizes > 1e-9 * sizes.max(initial=0))).any())
        rank = int((sizes > 1e-6 * sizes.max(initial=0)).sum())
        scores[valid] = (len(kept) - 1) * (basis[:, :rank] ** 2).sum(axis=1)
    return scores.reshape(*image.shape[:2], 1)


@given(cubes())
def test_detector(node: Any, cube: Cube) -> None:
    """Scores are the squared distances in coordinates in which the pixels of an image have the covariance 1."""
    with np.errstate(invalid="ignore"):
        expected = np.stack(list(map(_distances, cube)))
    _compare("RXDetector", _answer(node("RXDetector"), "scores", cube=cube), expected, absolute=1e-11)


@given(cubes(), st.integers(0, 2**32 - 1))
def test_angles(node: Any, cube: Cube, seed: int) -> None:
    """Angles are those of Kahan's formula, right for small and large ones, in the bands that have data."""
    reference = np.random.default_rng(seed).normal(size=cube.shape[-1])
    expected = np.full((*cube.shape[:3], 1), np.nan)
    for image, angles in zip(cube, expected, strict=True):
        pixels, valid = _pixels(image)
        valid &= (pixels != 0).any(axis=1)
        if not valid.any():
            continue
        kept, axis = pixels[valid], reference[np.isfinite(image).any(axis=(0, 1))]
        lines = kept / np.linalg.norm(kept / np.abs(kept).max(axis=1, keepdims=True), axis=1, keepdims=True)
        lines /= np.abs(kept).max(axis=1, keepdims=True)
        axis = axis / np.linalg.norm(axis)
        across, along = (np.linalg.norm(each, axis=1) for each in (lines - axis, lines + axis))
        angles.reshape(-1)[valid] = 2 * np.arctan2(across, along)
    _compare(
        "SpectralAngleMapper", _answer(node("SpectralAngleMapper"), "angles", cube=cube, reference=reference), expected
    )


@given(cube=cubes(), per_channel=st.booleans())
def test_range(node: Any, cube: Cube, *, per_channel: bool) -> None:
    """Scaled values are the place between the ends of an image, or of each of its bands."""
    expected = np.where(np.isfinite(cube), cube, np.nan).astype(np.float64)
    for image in expected:
        for bands in range(image.shape[-1]) if per_channel else [slice(None)]:
            if np.isfinite(part := image[..., bands]).any():
                low, high = np.nanmin(part), np.nanmax(part)
                image[..., bands] = (part - low) / ((high - low) or 1.0)
    found = _answer(node("MinMaxNormalizer", per_channel=per_channel), "cube", cube=cube)
    _compare("MinMaxNormalizer", found, expected, absolute=1e-7 if found.dtype == np.float32 else 1e-13)


@given(cubes(channels=1), st.sampled_from([0.0, 0.29, 0.5, 0.7, 0.9, 0.995]))
def test_mask(node: Any, cube: Cube, quantile: float) -> None:
    """What is marked lies above that many of the scores of its image."""
    found = _answer(node("QuantileDecider", quantile=quantile), "mask", scores=cube)
    for image, mask in zip(cube, found, strict=True):
        scores = np.sort(image[~np.isnan(image)])
        below = np.searchsorted(scores, image, side="left")  # how many lie below each
        np.testing.assert_array_equal(mask, ~np.isnan(image) & (below > int(quantile * (len(scores) - 1))))


@given(cubes(channels=7))
def test_colours(node: Any, cube: Cube) -> None:
    """The bands that are picked are those nearest to the targets, unchanged, or one has no data."""
    with np.errstate(invalid="ignore"):
        has = np.isfinite(cube).any(axis=(1, 2))
    wanted = node("WavelengthSelector", targets=[660, 545, 455])
    if (has.any(axis=1, keepdims=True) & ~has)[:, [3, 2, 1]].any():
        with pytest.raises(ValueError, match="has no finite value"):
            wanted.forward(cube=cube, wavelengths=WAVELENGTHS)
    else:
        np.testing.assert_array_equal(
            _answer(wanted, "image", cube=cube, wavelengths=WAVELENGTHS), cube[..., [3, 2, 1]]
        )


def _bands(cube: Cube, *numbers: int) -> list[Cube]:
    """Return bands in float64, or have the example not count where one has no data in an image that has."""
    finite = np.isfinite(cube)
    has = finite.any(axis=(1, 2))
    assume(not (has.any(axis=1, keepdims=True) & ~has)[:, list(numbers)].any())
    return [np.where(finite, cube, np.nan)[..., [number]].astype(np.float64) for number in numbers]


@given(cubes(channels=7))
def test_index(node: Any, cube: Cube) -> None:
    """The index is the difference of two bands as a share of their sum."""
    first, second = _bands(cube, 4, 3)
    total = first + second
    expected = np.where(total == 0, np.nan, (first - second) / np.where(total == 0, 1, total))
    found = _answer(node("NormalizedDifferenceIndex"), "index", cube=cube, wavelengths=WAVELENGTHS)
    _compare("NormalizedDifferenceIndex", found, expected)


@given(cubes(channels=7))
def test_depth(node: Any, cube: Cube) -> None:
    """The depth is what a band lacks of the line between its shoulders."""
    left, centre, right = _bands(cube, 5, 6, 0)
    line = (right * 50 + left * 110) / 160
    expected = np.where(line == 0, np.nan, 1 - centre / np.where(line == 0, 1, line))
    found = _answer(node("BandDepth"), "depth", cube=cube, wavelengths=WAVELENGTHS)
    _compare("BandDepth", found, expected, absolute=1e-9)


@given(cubes(channels=7), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_reflectance(node: Any, cube: Cube, gain: float, offset: float) -> None:
    """The reflectance is that of Planck's sun, overhead."""
    metres = WAVELENGTHS * 1e-9
    planck = 2 * 6.62607015e-34 * 299_792_458.0**2 / metres**5
    planck /= np.expm1(6.62607015e-34 * 299_792_458.0 / (metres * 1.380649e-23 * 5772.0))
    irradiance = planck * 1e-6 * np.pi * (6.957e8 / 1.495979e11) ** 2
    expected = np.pi * gain * (cube.astype(np.float64) - offset) / irradiance
    found = _answer(
        node("ApparentReflectance", gain=gain, offset=offset), "reflectance", cube=cube, wavelengths=WAVELENGTHS
    )
    _compare("ApparentReflectance", found, expected, absolute=0)


@given(cubes(channels=7, types=(np.float32,)), st.permutations(range(7)))
def test_integral(node: Any, cube: Cube, order: list[int]) -> None:
    """The integral is that of SciPy over rising wavelengths, without the bands that have no data."""
    rising = np.argsort(WAVELENGTHS)
    expected = np.full((*cube.shape[:3], 1), np.nan)
    for image, integrals in zip(np.where(np.isfinite(cube), cube, np.nan)[..., rising], expected, strict=True):
        kept = np.isfinite(image).any(axis=(0, 1))
        if kept.any():
            spectra = image[..., kept].astype(np.float64)
            integrals[..., 0] = scipy.integrate.trapezoid(spectra, WAVELENGTHS[rising][kept])
    scale = np.nanmax(np.abs(np.where(np.isfinite(cube), cube, 0)), initial=0) * 1e3
    found = node("BandIntegral").forward(cube=cube[..., order], wavelengths=WAVELENGTHS[order])["integral"]
    _compare("BandIntegral", found, expected, absolute=1e-7 * scale)


@given(cubes(types=(np.float32,)))
def test_standardized(node: Any, cube: Cube) -> None:
    """Bands are standardized by mean and deviation of all pixels that have data, learned image by image."""
    values: list[list[float]] = [[] for _ in range(cube.shape[-1])]
    for image in cube:
        bands = np.flatnonzero(np.isfinite(image).any(axis=(0, 1)))
        pixels, valid = _pixels(image)
        for column, band in enumerate(bands):
            values[band] += pixels[valid, column].tolist()
    assume(any(values))
    expected = np.where(np.isfinite(cube), cube, np.nan).astype(np.float64)
    for each, learned in enumerate(values):
        if not learned:
            expected[..., each] = 0
            continue
        mean, deviation = np.mean(learned, dtype=np.longdouble), np.std(np.asarray(learned, np.longdouble))
        steady = deviation <= 1e-13 * abs(mean)
        expected[..., each] = (expected[..., each] - mean) * (0 if steady else 1 / (deviation or 1))
    standardizer = node("BandStandardizer")
    standardizer.statistical_initialization({"cube": torch.from_numpy(image[None].copy())} for image in cube)
    with np.errstate(invalid="ignore"):
        tame = torch.from_numpy(np.where(np.isfinite(cube), cube, np.nan))
    found = standardizer.forward(cube=tame)["cube"].numpy()
    _compare("BandStandardizer", found, expected, absolute=1e-9)


@given(cubes(types=(np.float32,)))
def test_labelled_pixels(node: Any, cube: Cube) -> None:
    """The pixels that are taken are those with data, in their order."""
    taken = node("LabelledPixels").forward(
        cube=torch.from_numpy(cube.copy()), mask=torch.ones(cube.shape[:3], dtype=torch.int32)
    )
    valid = np.concatenate([_pixels(image)[1] for image in cube])
    np.testing.assert_array_equal(taken["cube"][0, :, 0].numpy(), cube.reshape(-1, cube.shape[-1])[valid])


@given(cubes(types=(np.float32,), channels=4))
def test_classes(node: Any, cube: Cube) -> None:
    """Logits are those of the layers in float64; a pixel without data has the class 0."""
    unit = np.abs(cube[np.isfinite(cube)]).max(initial=1e-30)
    _bands(cube, 0, 1, 2, 3)
    classifier = node("SpectralClassifier", channels=4, classes=3, hidden=8).eval()
    with torch.no_grad():
        given_cube = torch.from_numpy((cube / unit).astype(np.float32))
        found = {port: value.numpy() for port, value in classifier.forward(cube=given_cube).items()}
        valid = np.isfinite(cube).all(axis=-1, keepdims=True)
        expected = classifier.double().network(torch.where(torch.from_numpy(valid), given_cube, 0).double()).numpy()
    _compare("SpectralClassifier", found["logits"], np.where(valid, expected, np.nan), absolute=1e-6)
    np.testing.assert_array_equal(found["classes"], np.where(valid[..., 0], found["logits"].argmax(axis=-1) + 1, 0))


@given(st.integers(0, 2**32 - 1), st.integers(-20, 20))
def test_loss(node: Any, seed: int, exponent: int) -> None:
    """The loss is the mean cross entropy in float64 of the pixels that have a label and data."""
    random = np.random.default_rng(seed)
    logits = (random.normal(size=(2, 3, 4, 5)) * 10.0**exponent).astype(np.float32)
    mask = random.integers(0, 6, size=(2, 3, 4)).astype(np.int32)
    mask[0, 0, 0], mask[0, 0, 1], logits[0, 0, 0] = 1, 1, np.nan
    counted = (mask > 0) & ~np.isnan(logits).any(axis=-1)
    entropy = -scipy.special.log_softmax(logits[counted].astype(np.float64), axis=-1)
    expected = entropy[np.arange(len(entropy)), mask[counted] - 1].mean()
    found = node("ClassificationLoss").forward(logits=torch.from_numpy(logits), mask=torch.from_numpy(mask))["loss"]
    _compare("ClassificationLoss", found.numpy(), np.asarray(expected), absolute=1e-7)


@given(st.integers(0, 2**32 - 1))
def test_accuracy(node: Any, seed: int) -> None:
    """Shares of right pixels are those of scikit-learn, without pixels that have no label or no data."""
    from sklearn.metrics import accuracy_score, recall_score

    true, found = np.random.default_rng(seed).integers(0, 4, size=(2, 2, 5, 6)).astype(np.int32)
    counted = (true > 0) & (found > 0)
    shares = recall_score(true[counted], found[counted], labels=np.unique(true[counted]), average=None)
    metrics = node("ClassificationAccuracy").forward(classes=torch.from_numpy(found), mask=torch.from_numpy(true))
    confusion, *compared = metrics["metrics"]["confusion"]
    confusion.update(*compared)
    measured = confusion.compute()
    values = [float(measured[name]) for name in ("overall", "average", *map(str, np.unique(true[counted])))]
    expected = [accuracy_score(true[counted], found[counted]), shares.mean(), *shares]
    _compare("ClassificationAccuracy", np.asarray(values), np.asarray(expected))


@given(st.integers(0, 2**32 - 1))
def test_class_map(node: Any, seed: int) -> None:
    """Each class has the colour of its number, and 0 none."""
    from cuvis_ai_spectral_classifier.class_map import COLOURS

    classes = np.random.default_rng(seed).integers(0, 40, size=(2, 3, 4)).astype(np.int32)
    image = node("ClassMap").forward(classes=torch.from_numpy(classes))["image"].numpy()
    for place, number in np.ndenumerate(classes):
        assert bytes(image[place]).hex() == ("000000" if number == 0 else COLOURS[(number - 1) % len(COLOURS)][1:])


@given(cubes(channels=1), st.sampled_from([0.0, 0.005, 0.1, 0.49]))
def test_colour_map(colour_map: Any, cube: Cube, clip: float) -> None:
    """A score has the colour at its place between the scores at both ends of its image."""
    node = colour_map(palette="fire", clip=clip)
    table = np.asarray(node.colours)
    expected, limits = np.full((*cube.shape[:3], 3), np.nan), np.full((len(cube), 2), np.nan)
    for image, colours, ends in zip(cube[..., 0].astype(np.float64), expected, limits, strict=True):
        finite = np.isfinite(image)
        if finite.any():
            ordered = np.sort(image[finite])
            place = int(clip * (len(ordered) - 1))
            low, high = ends[:] = ordered[place], ordered[len(ordered) - 1 - place]
            share = np.clip((image[finite] - low) / ((high - low) or 1.0), 0, 1)
            colours[finite] = table[np.round(share * (len(table) - 1)).astype(int)]
    _compare("ColourMap", _answer(node, "image", scores=cube), expected)
    _compare("ColourMap", _answer(node, "limits", scores=cube), limits, absolute=0)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "int16", "uint16", "int32", "uint32", "float64"]))
def test_types_of_files(seed: int, dtype: str) -> None:
    """Through a pipeline, integers and float64 get what the same numbers get in float64."""
    random = np.random.default_rng(seed)
    cube = (random.normal(size=(1, 6, 5, 7)) * 20 + 100).astype(dtype)
    params = {"RXDetector": {}, "SpectralAngleMapper": {"reference": [1, 2, 3, 4, 5, 6, 7]}, "MinMaxNormalizer": {}}
    params["WavelengthSelector"] = {"targets": [660, 545]}
    nodes = [{"name": name, "class_name": name, "params": each} for name, each in params.items()]
    pipeline = Pipeline.from_dict({"nodes": nodes})
    found, expected = (
        pipeline.forward({"cube": each, "wavelengths": WAVELENGTHS}) for each in (cube, cube.astype(np.float64))
    )
    assert {name for name, _ in found} == params.keys()
    for port, values in found.items():
        np.testing.assert_allclose(values, expected[port], rtol=1e-6, atol=1e-7)


def test_the_fields_own_libraries(node: Any) -> None:
    """SPy and scikit-learn answer the same on a cube without surprises."""
    import spectral
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    random = np.random.default_rng(0)
    cube = random.normal(size=(20, 30, 6)) @ random.normal(size=(6, 6)) + 50
    scores = node("RXDetector").forward(cube=cube[None])["scores"][0, ..., 0]
    np.testing.assert_allclose(scores, spectral.rx(cube), rtol=1e-8)
    members = random.random((1, 6))
    angles = node("SpectralAngleMapper").forward(cube=cube[None], reference=members[0])["angles"][0]
    np.testing.assert_allclose(angles, spectral_angles(cube, members), rtol=1e-9)
    scaled = node("MinMaxNormalizer", per_channel=True).forward(cube=cube[None])["cube"]
    np.testing.assert_allclose(scaled.reshape(-1, 6), MinMaxScaler().fit_transform(cube.reshape(-1, 6)), atol=1e-12)
    standardizer = node("BandStandardizer")
    single = torch.from_numpy(cube[None].astype(np.float32))
    standardizer.statistical_initialization([{"cube": single}])
    expected = StandardScaler().fit_transform(single.numpy().reshape(-1, 6).astype(np.float64))
    np.testing.assert_allclose(standardizer.forward(cube=single)["cube"].reshape(-1, 6), expected, rtol=1e-6, atol=1e-9)
