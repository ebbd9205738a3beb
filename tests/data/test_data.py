import pytest

from cuvis_ai_core import data


def test_public_names() -> None:
    """The package hands on its public names."""
    assert sorted(data.__all__) == [
        "Batches",
        "Cube",
        "Cubes",
        "LazyArray",
        "open_annotations",
        "open_cubes",
        "read_cube",
    ]
    assert all(getattr(data, name).__name__ == name for name in data.__all__)


def test_unknown_name() -> None:
    """An unknown name is an attribute error."""
    with pytest.raises(AttributeError, match="has no attribute 'CubeFolder'"):
        _ = data.CubeFolder
