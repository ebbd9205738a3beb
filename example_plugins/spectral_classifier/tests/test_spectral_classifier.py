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
