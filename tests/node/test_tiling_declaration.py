"""What a node says of tiles, and for which of its classes it says so."""

from typing import Any

import pytest

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.tiling_declaration import Tiling, says, tiles_elsewhere, tiling_of


class Plain(ArrayNode):
    """Says nothing."""

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


def method(*_: Any) -> int:
    """Stand for a method that a class has."""
    return 1


GATHERS = dict.fromkeys(("tile_statistics", "merge_statistics", "forward_tile"), method)


def made(**declared: Any) -> type[Any]:
    """Return a class with a `forward` of its own and some declarations."""
    return type("Declared", (Plain,), {"forward": Plain.forward, **declared})


@pytest.mark.parametrize(
    ("declared", "tiling"),
    [
        ({}, None),
        ({"thread_safe": True}, None),
        ({"per_pixel": False}, None),
        ({"halo": None}, None),
        ({"per_pixel": True}, Tiling(0, gathers=False, thread_safe=False)),
        ({"per_pixel": True, "thread_safe": True}, Tiling(0, gathers=False, thread_safe=True)),
        ({"halo": 0}, Tiling(0, gathers=False, thread_safe=False)),
        ({"halo": 3}, Tiling(3, gathers=False, thread_safe=False)),
        ({"halo": 2, **GATHERS}, Tiling(2, gathers=True, thread_safe=False)),
        (GATHERS, Tiling(0, gathers=True, thread_safe=False)),
    ],
)
def test_what_a_class_declares_is_how_it_is_tiled(declared: dict[str, Any], tiling: Tiling | None) -> None:
    """Nothing said, or said not to be, means whole images."""
    assert tiling_of(made(**declared)()) == tiling


@pytest.mark.parametrize("halo", [-1, True, 1.0, "1"])
def test_a_halo_that_is_no_number_of_pixels_is_refused(halo: object) -> None:
    """By the name of the node."""
    node = made(halo=halo)(name="edge")
    with pytest.raises(InvalidNodeError, match=r"^Node 'edge' \(Declared\): halo is .*a number of pixels") as caught:
        tiling_of(node)
    assert caught.value.node == "edge"


@pytest.mark.parametrize("missing", list(GATHERS))
def test_methods_for_statistics_belong_together(missing: str) -> None:
    """The first that is missing is named."""
    with pytest.raises(InvalidNodeError, match=f"but no method {missing}; the three belong together"):
        tiling_of(made(**{name: method for name in GATHERS if name != missing})())


def test_who_computes_otherwise_has_said_nothing() -> None:
    """A subclass with a `forward` of its own, and a node whose own was exchanged; what is set in a node counts."""
    node_class = made(halo=1, per_pixel=True)
    heir = type("Heir", (node_class,), {})
    other = type("Other", (node_class,), {"forward": Plain.forward})
    again = type("Again", (other,), {"per_pixel": True})
    tiled, plain = Tiling(1, gathers=False, thread_safe=False), Tiling(0, gathers=False, thread_safe=False)
    assert [tiling_of(each()) for each in (node_class, heir, other, again)] == [tiled, tiled, None, plain]
    exchanged: Any = node_class()
    exchanged.forward = method
    assert tiling_of(exchanged) is None
    widened: Any = other()
    widened.halo = 5
    assert tiling_of(widened) == Tiling(5, gathers=False, thread_safe=False)


def test_of_a_node_elsewhere_its_class_tells() -> None:
    """Nothing where it gathers statistics, or where it has said nothing."""
    assert tiles_elsewhere(Plain) == {}
    assert tiles_elsewhere(made(halo=2)) == {"halo": 2}
    assert tiles_elsewhere(made(halo=2, per_pixel=True)) == {"per_pixel": True, "halo": 2}
    assert tiles_elsewhere(made(halo=2, **GATHERS)) == {}


def test_a_question_that_a_class_does_not_answer_is_answered_with_no() -> None:
    """Else its method is asked, with what was gathered."""
    node = made(statistics_rough=lambda _, statistics: len(statistics))()
    assert says(node, "statistics_rough", [1, 2]) is True
    assert says(node, "statistics_rough", []) is False
    assert says(node, "statistics_complete", [1]) is False
