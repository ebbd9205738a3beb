"""`${...}` in configuration files: how far it goes, and what of the environment a file of results says."""

import re
from typing import Any

import pytest

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.file.interpolation import filled_in, hide_environment, resolve

pytest.importorskip("omegaconf")


def chain(steps: int) -> dict[str, Any]:
    """Return values of which each names the next, and the last is a number."""
    return {f"k{step}": f"${{k{step + 1}}}" for step in range(steps)} | {f"k{steps}": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${list[0]}", 1),
        ("${list.1}", {"x": 2}),
        ("${list[1].x}", 2),
        ("${.beside}", "b"),
        ("${..list[0]}", 1),
        ("${...list[0]}", 1),
        ("${oc.select:none}", None),
        ("${oc.select:none,7}", 7),
        ("${oc.select:list.2}", None),
        ("${oc.decode:'[1, 2]'}", [1, 2]),
        ("a ${list[0]} b", "a 1 b"),
        (r"\${list}", "${list}"),
    ],
)
def test_a_key_is_found_from_the_top_or_from_beside(text: str, value: object) -> None:
    """Entries of lists by number; what may be missing can be asked for."""
    data = {"list": [1, {"x": 2}], "here": {"asked": text, "beside": "b"}}
    assert resolve(data)["here"]["asked"] == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${list[2]}", "Interpolation key 'list[2]' not found"),
        ("${list.x}", "Interpolation key 'list.x' not found"),
        ("${list." + "1" * 5000 + "}", "not found"),
        ("${here}", "the interpolation 'here' holds itself"),
        ("${.asked}", "the interpolation '.asked' holds itself"),
        ("${.other}", "leads back to itself: here.asked -> here.other -> here.asked."),
        ("${nothing:1}", "there is no function 'nothing'"),
        ("${oc.env:A,B,C}", "oc.env does not take 3 arguments"),
    ],
)
def test_what_leads_nowhere_is_told_with_its_place(text: str, problem: str) -> None:
    """The key at which it stands, and what it asks for."""
    with pytest.raises(PipelineError) as caught:
        resolve({"list": [1, 2], "here": {"asked": text, "other": "${.asked} again"}})
    assert caught.value.message.startswith("here.asked: ")
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"name": "a", "data": {"cubes": ["x", "???"]}}, "data.cubes[1]"),
        ({"name": "${other}", "other": "???"}, "name"),
        ({"name": "what???", "other": "???"}, "other"),
    ],
)
def test_a_value_that_is_to_be_given_is_none(data: Any, place: str) -> None:
    """As Hydra's files mark it; in a file that is looked at it stays."""
    with pytest.raises(PipelineError, match=rf"^{re.escape(place)}: is \?\?\?, .*\n.*override, key\.path=value"):
        filled_in(data)
    assert "???" in str(resolve(data))


def test_the_depth_and_the_length_have_limits() -> None:
    """Fifty steps, ten thousand signs and two MiB in all are taken, and not one more."""
    assert resolve(chain(50))["k0"] == 1
    with pytest.raises(PipelineError, match="more than 50 deep"):
        resolve(chain(51))
    text = "${a}"
    assert len(resolve({"a": 1, "b": "x" * (10_000 - len(text)) + text})["b"]) == 10_000 - len(text) + 1
    with pytest.raises(PipelineError, match="text of more than 10000 signs"):
        resolve({"a": 1, "b": "x" * (10_001 - len(text)) + text})
    assert resolve({"a": "x" * (2 * 1024**2 - 3), "b": "${c}", "c": 1})["b"] == 1
    with pytest.raises(PipelineError, match="for more than 2 MiB of text"):
        resolve({"a": "x" * (2 * 1024**2 - 2), "b": "${c}", "c": 1})


def test_what_is_named_twice_is_two_values() -> None:
    """Whoever changes one changes nothing of the other, nor of what was given."""
    data = {"made": "${oc.decode:'{x: [1]}'}", "b": "${made}", "c": "${made}", "d": "${plain}", "plain": [1]}
    found = resolve(data)
    found["b"]["x"].append(2)
    found["d"].append(2)
    assert (found["c"], found["made"], found["plain"], data["plain"]) == ({"x": [1]}, {"x": [1]}, [1], [1])


@pytest.mark.parametrize(
    ("given", "hidden"),
    [
        ("abc", "${oc.env:SHORT}"),
        ("an abc", "an abc"),
        ("secret", "${oc.env:PART}"),
        ("a secret", "a ${oc.env:PART}"),
        ("secret-long and secret", "${oc.env:WHOLE} and ${oc.env:PART}"),
        ("four", "${oc.env:FOUR}"),
        ("fours", "${oc.env:FOUR}s"),
        ("", ""),
        ("other", "other"),
        ({"secret": ["secret", ("abc", 1)]}, {"${oc.env:PART}": ["${oc.env:PART}", ["${oc.env:SHORT}", 1]]}),
    ],
)
def test_what_was_allowed_is_written_as_its_name(monkeypatch: pytest.MonkeyPatch, given: Any, hidden: Any) -> None:
    """Keys too, the longest value first; a short one is found in other words, and counts as a whole text alone."""
    values = {"SHORT": "abc", "PART": "secret", "WHOLE": "secret-long", "FOUR": "four", "EMPTY": ""}
    for name, value in (values | {"NOT_ALLOWED": "other"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUVIS_ALLOW_ENV", ", ".join(values) + ",,")
    assert hide_environment(given) == hidden
