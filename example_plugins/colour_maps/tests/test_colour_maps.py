import sys

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry


def test_higher_scores_are_brighter(registry: NodeRegistry) -> None:
    """The colour map `fire` rises in brightness with the score, from black to white."""
    scores = np.linspace(-3, 7, 50, dtype=np.float32).reshape(1, 5, 10, 1)
    result = registry.get("ColourMap")(clip=0).forward(scores=scores)
    image = result["image"]
    np.testing.assert_array_equal(result["limits"], [[-3, 7]])
    brightness = image.sum(axis=-1).ravel()
    assert image.shape == (1, 5, 10, 3)
    assert brightness[0] == 0
    assert brightness[-1] == 3
    assert np.all(np.diff(brightness) > 0)


def test_scores_that_are_not_finite_have_no_colour(registry: NodeRegistry) -> None:
    """One missing value does not spoil the image, and an image of nothing has neither colours nor limits."""
    scores = np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, np.inf]], np.float32).reshape(2, 1, 3, 1)
    result = registry.get("ColourMap")(palette="bmy", clip=0).forward(scores=scores)
    image = result["image"]
    assert image[0, 0, 1].max() > 0.9
    assert np.isnan(image[0, 0, 2]).all()
    assert np.isnan(image[1]).all()
    np.testing.assert_array_equal(result["limits"], [[1, 2], [np.nan, np.nan]])


def test_an_image_of_one_score_has_one_colour(registry: NodeRegistry) -> None:
    """There is nothing to stretch, and nothing to divide by."""
    image = registry.get("ColourMap")().forward(scores=np.ones((1, 4, 4, 1), np.float32))["image"]
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1


def test_an_unknown_colour_map_is_named_with_the_nearest(registry: NodeRegistry) -> None:
    """A slip of the pen gets the right name back."""
    with pytest.raises(ValueError, match=r"no continuous colour map 'fier'; try fire"):
        registry.get("ColourMap")(palette="fier")


def test_the_dependency_stays_in_the_target_directory(registry: NodeRegistry) -> None:
    """The plugin's colorcet is not in the environment of the host."""
    target = registry.plugin_info("colour_maps").target
    assert (target / "colorcet").is_dir()
    assert not any((path / "colorcet").exists() for path in map(type(target), sys.path))
