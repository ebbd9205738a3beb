"""Public names that are imported when they are first asked for."""

from importlib import import_module

import pytest

PACKAGES = ("", ".batch", ".data", ".grpc", ".node", ".pipeline", ".testing", ".training")


@pytest.mark.parametrize("package", PACKAGES)
def test_shells_complete_the_public_names_of_a_package(package: str) -> None:
    """Whether somebody asked for them before or not; what there is not, is named as Python does."""
    module = import_module(f"cuvis_ai_core{package}")
    assert set(module.__all__) <= set(dir(module))
    assert "__doc__" in dir(module)
    with pytest.raises(AttributeError, match=rf"module 'cuvis_ai_core{package}' has no attribute 'nonsense'"):
        _ = module.nonsense
