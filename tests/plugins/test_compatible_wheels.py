"""Which of several wheels is carried for a Python that is not this one."""

import sys

import pytest
from packaging.tags import platform_tags

from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel, Wheels

HERE = next(iter(platform_tags()))


def wheel(tag: str) -> Wheel:
    """Return a wheel with a tag."""
    return Wheel(f"https://host/thing-1.0-{tag}.whl", "sha256:0", 0)


@pytest.mark.parametrize(
    ("python", "tag"),
    [
        (None, f"cp{sys.version_info[0]}{sys.version_info[1]}-cp{sys.version_info[0]}{sys.version_info[1]}-{HERE}"),
        ("3.10", f"cp310-cp310-{HERE}"),
        ("3.9", f"cp39-abi3-{HERE}"),
        ("3.7", "py3-none-any"),
    ],
)
def test_the_best_wheel_for_a_python_is_chosen(python: str | None, tag: str) -> None:
    """Compiled for it, else for it and later ones, else for any; never one for another platform."""
    tags = [f"cp3{minor}-cp3{minor}-{HERE}" for minor in (10, 11, 12, 13, 14)]
    tags += [f"cp39-abi3-{HERE}", "py3-none-any", "cp39-cp39-somewhere_else"]
    chosen = Wheels("thing", "1.0", tuple(map(wheel, tags))).chosen(python)
    assert chosen == wheel(tag)


def test_there_may_be_none() -> None:
    """That is said by whoever needs it."""
    assert Wheels("thing", "1.0", (wheel("cp39-cp39-somewhere_else"),)).chosen("3.9") is None
