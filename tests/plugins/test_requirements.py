"""Which requirements of a distribution count here, and what meets them."""

import json

import pytest

from cuvis_ai_core.plugins.dependencies.distribution import Distribution, normalised
from cuvis_ai_core.plugins.dependencies.requirements import (
    WAY_OUT,
    applies,
    applies_for,
    conflict,
    extras_in,
    needed_name,
    satisfies,
)


@pytest.mark.parametrize(
    ("condition", "extras", "counts"),
    [
        ("", (), True),
        ("; python_version > '3'", (), True),
        ("; python_version < '3'", (), False),
        ("; python_version < '3'", ("x",), False),
        ("; extra == 'x'", (), False),
        ("; extra == 'x'", ("y", "x"), True),
        ("; extra == 'x'", ("y",), False),
        ("; extra == 'x' and python_version < '3'", ("x",), False),
        ("; extra == 'x' or python_version > '3'", (), True),
        ("; extra == 'x' or python_version < '3'", (), False),
    ],
)
def test_a_requirement_counts_where_its_condition_holds(
    condition: str, extras: tuple[str, ...], *, counts: bool
) -> None:
    """For this Python, and for the extras that are wanted of who states it."""
    assert applies(f"cuvis-test-dep>=1{condition}", extras) == counts


@pytest.mark.parametrize(
    ("requirement", "name", "extras"),
    [
        ("numpy", "numpy", set()),
        ("My_Dep.x>=1", "my-dep-x", set()),
        ("a[x]", "a", {"x"}),
        ("a [x, y ]>=1; extra == 'z'", "a", {"x", "y"}),
        ("a[]", "a", set()),
        ("a @ https://a.org/a.whl", "a", set()),
        ("a; platform_machine in 'x[y]'", "a", set()),
    ],
)
def test_a_requirement_is_read_by_hand(requirement: str, name: str, extras: set[str]) -> None:
    """What it is about, and the extras that it asks for; those of its condition are others'."""
    assert needed_name(requirement) == name
    assert extras_in(requirement) == extras


@pytest.mark.parametrize(
    ("condition", "extras", "because"),
    [
        ("", ("x",), False),
        ("; python_version > '3'", ("x",), False),
        ("; extra == 'x'", ("x",), True),
        ("; extra == 'x'", (), False),
        ("; extra == 'x'", ("y",), False),
        ("; extra == 'x' or python_version > '3'", ("x",), False),
        ("; extra == 'x' and python_version < '3'", ("x",), False),
    ],
)
def test_what_counts_for_an_extra_alone(condition: str, extras: tuple[str, ...], *, because: bool) -> None:
    """Not what counts anyway, and not what counts for nobody."""
    assert applies_for(f"dep{condition}", extras) is because


@pytest.mark.parametrize(
    ("version", "requirement", "extras", "met"),
    [
        ("1.0", "dep", (), True),
        ("1.0", "dep>=1", (), True),
        ("1.0", "dep>1", (), False),
        ("2.0rc1", "dep>=1", (), True),
        ("2.0rc1", "dep>=2", (), False),
        ("1.0", "dep>1; python_version < '3'", (), True),
        ("1.0", "dep>1; extra == 'x'", (), True),
        ("1.0", "dep>1; extra == 'x'", ("x",), False),
    ],
)
def test_what_meets_a_requirement(version: str, requirement: str, extras: tuple[str, ...], *, met: bool) -> None:
    """What is installed was chosen, be it a pre-release; a condition that does not hold asks nothing."""
    assert satisfies(version, requirement, extras) is met


def test_a_conflict_says_who_asks_and_who_has() -> None:
    """Without the condition, which held; with it in the attribute."""
    error = conflict("user", "dep>=2 ; python_version>'3'", "1.0", "in the host environment", "echo")
    assert error.message == (
        "Dependency conflict: package user requires dep>=2, but 1.0 is installed (in the host environment)."
    )
    assert (error.requirement, error.installed, error.plugin) == ("dep>=2 ; python_version>'3'", "1.0", "echo")
    assert error.hint == WAY_OUT


@pytest.mark.parametrize("name", ["My.Dep", "my_dep", "MY--dep", "my-._dep"])
def test_names_of_one_distribution_are_one(name: str) -> None:
    """As pip has it."""
    assert normalised(name) == "my-dep"


def test_a_distribution_goes_through_json() -> None:
    """With all that it has; what is not said there is as it is by default."""
    found = Distribution("dep", "1", ("a", "b"), ("dep",), ("names",), pure=False)
    assert Distribution.from_json(json.loads(json.dumps(found._asdict()))) == found
    assert Distribution.from_json({"name": "dep", "version": "1"}) == Distribution("dep", "1", (), (), (), pure=True)
