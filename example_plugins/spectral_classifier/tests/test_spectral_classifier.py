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
    assert _measured(nodes, (out["classes"], torch.ones_like(out["classes"])))["confusion"].sum() == 3
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


def _measured(nodes: Any, *batches: tuple[Any, ...], **params: Any) -> dict[str, Any]:
    """Return what the metrics of a node come to over batches of classes, masks and perhaps logits."""
    node, found = nodes.ClassificationAccuracy(**params), {}
    for batch in batches:
        for metric, *compared in node.forward(*batch)["metrics"].values():
            metric.update(*compared)
    for name, metric in {"confusion": node.confusion, "auroc": node.areas}.items():
        value = metric.compute() if metric.update_count else {}
        found |= value if isinstance(value, dict) else {name: value}
    return found


def test_accuracy(nodes: Any) -> None:
    """Overall accuracy is over pixels, average accuracy over classes."""
    mask = torch.tensor([[[1, 1, 1, 2, 0]]], dtype=torch.int32)
    classes = torch.tensor([[[1, 1, 2, 2, 1]]], dtype=torch.int32)
    found = _measured(nodes, (classes, mask), names=["corn"])
    assert found["overall"] == pytest.approx(0.75)
    assert found["average"] == pytest.approx(5 / 6)
    assert found["corn"] == pytest.approx(2 / 3)
    assert found["2"] == pytest.approx(1.0)
    assert found["confusion"].tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize("ignored", [None, 255, -1])
def test_measures_are_those_of_scikit_learn(nodes: Any, ignored: int | None) -> None:
    """All measures over batches of different size, one without labels, are those of all pixels together."""
    measures = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(5)
    batches = []
    for pixels in (400, 0, 7, 60):
        true = random.integers(1, 5, pixels)
        logits = random.normal(size=(pixels, 5)) + 1.5 * np.eye(5)[true - 1]
        shown = np.concatenate([true, np.zeros(9), np.full(9, 0 if ignored is None else ignored)])
        scores = np.concatenate([logits, random.normal(size=(18, 5))])
        batches.append((scores.argmax(-1) + 1, shown, scores))
    tensors = [
        (
            torch.from_numpy(classes)[None, None].int(),
            torch.from_numpy(mask)[None, None].int(),
            torch.tensor(s)[None, None],
        )
        for classes, mask, s in batches
    ]
    found = _measured(nodes, *tensors, ignore_label=ignored)
    classes, mask, scores = (np.concatenate(each) for each in zip(*batches, strict=True))
    known = (mask > 0) & (mask != 255)
    true, predicted = mask[known], classes[known]
    labels = np.union1d(true, predicted)
    expected = {
        "overall": measures.accuracy_score(true, predicted),
        "average": measures.recall_score(true, predicted, average="macro", labels=np.unique(true)),
        "kappa": measures.cohen_kappa_score(true, predicted),
        "f1": measures.f1_score(true, predicted, average="macro", zero_division=0.0),
        "iou": measures.jaccard_score(true, predicted, average="macro", zero_division=0.0),
        "3": (predicted[true == 3] == 3).mean(),
        "auroc": np.mean(
            [
                measures.roc_auc_score(true == number, torch.tensor(scores).softmax(-1).numpy()[known, int(number) - 1])
                for number in np.unique(true)
            ]
        ),
    }
    assert {name: float(found[name]) for name in expected} == pytest.approx(expected, abs=1e-6)  # areas are float32
    assert found["confusion"].tolist() == measures.confusion_matrix(true, predicted, labels=labels).tolist()


def test_measures_of_nothing(nodes: Any) -> None:
    """Without a labelled pixel measures are not defined, and none is invented."""
    nothing = torch.zeros(1, 2, 3, dtype=torch.int32)
    found = _measured(nodes, (nothing, nothing, torch.zeros(1, 2, 3, 4)))
    assert all(found[name].isnan() for name in ("overall", "average", "kappa", "f1", "iou", "auroc"))


def test_loss_without_labels(nodes: Any) -> None:
    """A batch without a label has no weight, and a loss of 0 that changes nothing."""
    logits = torch.rand(1, 2, 3, 4, requires_grad=True)
    out = nodes.ClassificationLoss().forward(logits, torch.zeros(1, 2, 3, dtype=torch.int32))
    assert out["weight"] == 0
    out["loss"].backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_balanced_loss(nodes: Any) -> None:
    """Balanced weights are those of scikit-learn over all batches, and are kept with the node's state."""
    balance = pytest.importorskip("sklearn.utils.class_weight").compute_class_weight
    masks = [torch.tensor([[[1, 1, 1, 2, 0, 255]]], dtype=torch.int32), torch.tensor([[[4, 4]]], dtype=torch.int32)]
    node = nodes.ClassificationLoss(class_weights="balanced", ignore_label=255)
    assert node.requires_initial_fit
    node.statistical_initialization({"mask": mask, "logits": torch.zeros(*mask.shape, 5)} for mask in masks)
    expected = balance("balanced", classes=np.array([1, 2, 4]), y=np.array([1, 1, 1, 2, 4, 4]))
    assert node.class_weights[[0, 1, 3]].tolist() == pytest.approx(expected)
    assert node.class_weights[[2, 4]].tolist() == [0, 0]
    again = nodes.ClassificationLoss(class_weights="balanced", ignore_label=255)
    again.load_state_dict(node.state_dict())
    logits = torch.rand(1, 1, 6, 5)
    weight = node.class_weights[[0, 0, 0, 1]]
    each = torch.nn.functional.cross_entropy(logits[0, 0, :4], torch.tensor([0, 0, 0, 1]), reduction="none")
    out = again.forward(logits, masks[0])
    assert out["loss"] == pytest.approx(float((weight * each).sum() / weight.sum()), rel=1e-6)
    assert out["weight"] == pytest.approx(float(weight.sum()))
    assert not nodes.ClassificationLoss(class_weights=[1, 2, 3]).requires_initial_fit
    with pytest.raises(ValueError, match="'balanced', not 'balance'"):
        nodes.ClassificationLoss(class_weights="balance")


def test_a_label_beyond_the_classes(nodes: Any) -> None:
    """A label without logits is said, with the way to leave it out."""
    mask = torch.tensor([[[1, 255]]], dtype=torch.int32)
    with pytest.raises(ValueError, match=r"the label 255, and there are logits of 4 classes.*ignore_label"):
        nodes.ClassificationLoss().forward(torch.zeros(1, 1, 2, 4), mask)
    assert nodes.ClassificationLoss(ignore_label=255).forward(torch.zeros(1, 1, 2, 4), mask)["weight"] == 1


def test_loss_with_a_pixel_without_data(nodes: Any) -> None:
    """A pixel whose logits are no numbers is left out; where all are, so is the loss."""
    logits, mask = torch.rand(1, 1, 3, 4), torch.ones(1, 1, 3, dtype=torch.int32)
    logits[0, 0, 1] = torch.nan
    out = nodes.ClassificationLoss().forward(logits, mask)
    assert out["weight"] == 2
    assert out["loss"].isfinite()
    assert nodes.ClassificationLoss().forward(logits * torch.nan, mask)["loss"].isnan()


def test_class_map(nodes: Any) -> None:
    """Each class has a colour of its own; 0 is black."""
    image = nodes.ClassMap().forward(classes=torch.arange(17, dtype=torch.int32).reshape(1, 1, 17))["image"]
    assert image.dtype == torch.uint8
    assert image[0, 0, 0].tolist() == [0, 0, 0]
    assert len({tuple(colour) for colour in image[0, 0].tolist()}) == 17
