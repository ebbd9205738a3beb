"""Where in an author's code an error is said to have come from."""

from pathlib import Path

import pytest

from cuvis_ai_core._error_location import place_of, words_of
from cuvis_ai_core.errors import PluginError


def owner() -> None:
    """Stand for the code of an author."""
    raise ValueError("too late")


def line_of(text: str) -> str:
    """Return the place of a line of this file."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return f"{Path(__file__)}, line {lines.index(text) + 1}"


def test_the_line_that_raised_comes_first() -> None:
    """It says more than where the function begins."""
    with pytest.raises(ValueError, match="too late") as caught:
        owner()
    assert place_of(caught.value, owner) == line_of('    raise ValueError("too late")')


def test_an_error_that_came_through_no_line_is_where_the_code_begins() -> None:
    """But for errors of this package, which are not for that reason the author's."""
    assert place_of(ValueError("nowhere"), owner) == line_of("def owner() -> None:")
    assert place_of(PluginError("nowhere", hint="Look elsewhere."), owner) is None


def test_words_are_without_advice() -> None:
    """The class and the text, or the class alone."""
    assert words_of(PluginError("It failed.", hint="Do this.")) == "PluginError: It failed."
    assert words_of(KeyError()) == "KeyError"
