"""Run in the plugin's own environment (`pip install -e . && pytest`) or with the tests of cuvis-ai-core."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def nodes() -> Any:
    """Return the package of the plugin."""
    return import_module("cuvis_ai_spectral_classifier")


def test_labelled_pixels(nodes: Any) -> None:
    """Labelled pixels are taken out in training; without a mask the cube passes as it is."""
    cube = torch.arange(24.0).reshape(2, 2, 2, 3)
    mask = torch.tensor([[[0, 2], [0, 0]], [[1, 0], [0, 3]]], dtype=torch.int32)
    taken = nodes.LabelledPixels().forward(cube=cube, mask=mask)
    assert taken["mask"].flatten().tolist() == [2, 1, 3]
    assert torch.equal(taken["cube"][0, :, 0], cube[mask > 0])
    assert nodes.LabelledPixels().forward(cube=cube)["cube"] is cube


def test_standardizer(nodes: Any) -> None:
    """Mean and deviation of a stream are those of all pixels at once; a constant band becomes 0."""
    cubes = torch.from_numpy(np.random.default_rng(3).normal(1000, 7, (5, 4, 3, 2)).astype(np.float32))
    cubes[..., 1] = 5.0
    node = nodes.BandStandardizer()
    node.statistical_initialization({"cube": cube[None]} for cube in cubes)
    out = node.forward(cube=cubes)["cube"]
    assert out[..., 0].mean().abs() < 1e-4
    assert out[..., 0].std(correction=0) == pytest.approx(1.0, abs=1e-4)
    assert out[..., 1].abs().max() == 0


def test_standardizer_far_from_zero(nodes: Any) -> None:
    """Bands whose mean is a million times their deviation lose nothing to rounding."""
    cube = torch.from_numpy((np.random.default_rng(4).normal(0, 0.25, (1, 50, 40, 2)) + 2**17).astype(np.float32))
    node = nodes.BandStandardizer()
    node.statistical_initialization([{"cube": cube}])
    expected = (cube.double() - cube.double().mean(dim=(0, 1, 2))) / cube.double().std(dim=(0, 1, 2), correction=0)
    torch.testing.assert_close(node.forward(cube=cube)["cube"], expected.float())


def test_standardizer_leaves_out_what_has_no_data(nodes: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A pixel without data adds nothing, nor does a band without data in one image; one without any data becomes 0."""
    cubes = torch.from_numpy(np.random.default_rng(5).normal(7, 3, (2, 6, 5, 4)).astype(np.float32))
    cubes[0, 1, 2, 0] = torch.nan
    cubes[1, ..., 1] = torch.inf
    cubes[..., 3] = torch.nan
    node = nodes.BandStandardizer()
    node.statistical_initialization([{"cube": cubes}])
    first = cubes[0].reshape(30, 4)[torch.arange(30) != 7].double()
    both = torch.cat([first, cubes[1].reshape(30, 4).double()])
    torch.testing.assert_close(node.mean[:3], torch.stack([both[:, 0].mean(), first[:, 1].mean(), both[:, 2].mean()]))
    out = node.forward(cube=cubes)["cube"]
    assert out[0, 1, 2, 0].isnan()
    assert out[0, ..., :3].isfinite().sum() == 89
    assert out[..., 3].abs().max() == 0
    assert "bands [3]" in caplog.text


def test_pixels_without_data_are_not_learned_from(nodes: Any) -> None:
    """A labelled pixel without data is not taken; a band without data in the whole image keeps none from it."""
    cube = torch.rand(1, 2, 2, 3)
    cube[0, 0, 0, 1] = torch.nan
    cube[..., 2] = torch.nan
    taken = nodes.LabelledPixels().forward(cube=cube, mask=torch.ones(1, 2, 2, dtype=torch.int32))
    assert torch.equal(taken["cube"][0, :, 0, :2], cube[0].reshape(4, 3)[1:, :2])


def test_classifier_without_data(nodes: Any) -> None:
    """A pixel without data has no class and changes no gradient; a band without any is an error that names it."""
    node = nodes.SpectralClassifier(channels=3, classes=4, hidden=8, name="net").eval()
    cube = torch.rand(1, 2, 2, 3)
    whole = node.forward(cube=cube)
    cube[0, 1, 1, 2] = torch.nan
    out = node.forward(cube=cube)
    assert out["classes"].flatten().tolist() == [*whole["classes"].flatten().tolist()[:3], 0]
    assert out["logits"][0, 1, 1].isnan().all()
    mask = torch.ones(1, 2, 2, dtype=torch.int32)
    loss = nodes.ClassificationLoss().forward(out["logits"], mask)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(each.grad.isfinite().all() for each in node.parameters())
    assert nodes.ClassificationAccuracy().forward(classes=out["classes"], mask=out["classes"])["metrics"][0].value == 1
    cube[..., 1] = torch.nan
    with pytest.raises(ValueError, match="Node 'net': band 1"):
        node.forward(cube=cube)


def test_standardizer_without_pixels(nodes: Any) -> None:
    """Nothing can be learned from no pixels."""
    with pytest.raises(ValueError, match="no pixel"):
        nodes.BandStandardizer().statistical_initialization([{"cube": torch.empty(1, 0, 1, 2)}])


def test_classifier(nodes: Any) -> None:
    """Classes are those of the largest logits, counted from 1."""
    node = nodes.SpectralClassifier(channels=3, classes=4, hidden=8).eval()
    out = node.forward(cube=torch.rand(2, 5, 6, 3))
    assert out["logits"].shape == (2, 5, 6, 4)
    assert torch.equal(out["classes"], (out["logits"].argmax(-1) + 1).int())


def test_loss_leaves_out_unlabelled_pixels(nodes: Any) -> None:
    """A pixel without a label changes nothing."""
    logits = torch.rand(1, 1, 3, 4)
    loss = nodes.ClassificationLoss().forward
    mask = torch.tensor([[[2, 0, 1]]], dtype=torch.int32)
    assert torch.isclose(loss(logits, mask)["loss"], loss(logits[:, :, [0, 2]], mask[:, :, [0, 2]])["loss"])


def test_accuracy(nodes: Any) -> None:
    """Overall accuracy is over pixels, average accuracy over classes."""
    mask = torch.tensor([[[1, 1, 1, 2, 0]]], dtype=torch.int32)
    classes = torch.tensor([[[1, 1, 2, 2, 1]]], dtype=torch.int32)
    metrics = nodes.ClassificationAccuracy(names=["corn"]).forward(classes=classes, mask=mask)["metrics"]
    found = {metric.name: metric.value for metric in metrics}
    assert found == {"overall": 0.75, "average": pytest.approx(5 / 6), "corn": pytest.approx(2 / 3), "2": 1.0}


def test_class_map(nodes: Any) -> None:
    """Each class has a colour of its own; 0 is black."""
    image = nodes.ClassMap().forward(classes=torch.arange(17, dtype=torch.int32).reshape(1, 1, 17))["image"]
    assert image.dtype == torch.uint8
    assert image[0, 0, 0].tolist() == [0, 0, 0]
    assert len({tuple(colour) for colour in image[0, 0].tolist()}) == 17
