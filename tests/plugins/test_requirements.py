"""Which requirements of a distribution count here."""

import pytest

from cuvis_ai_core.plugins.dependencies.requirements import applies


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
