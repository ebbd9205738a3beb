"""`key.path=value` on top of a configuration: what becomes of it, and what is said of one that leads nowhere."""

import copy
from typing import Any

import pytest

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.file.overrides import as_texts, override
from cuvis_ai_core.pipeline.file.reader import read_config

NODES = [{"name": "a", "hparams": {"x": 1}}, {"name": "0", "params": None}, "text"]


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("numbers.1=7", {"numbers": [1, 7]}),
        ("numbers.0={k: 1}", {"numbers": [{"k": 1}, 2]}),
        ("numbers=[]", {"numbers": []}),
        ("new.deep.key=1", {"new": {"deep": {"key": 1}}}),
        ("empty.key=1", {"empty": {"key": 1}}),
        ("empty=", {"empty": None}),
        (" empty = '1' ", {"empty": "1"}),
        ("empty=a=b", {"empty": "a=b"}),
        ("nodes.a.params.x=2", {"nodes": [{"name": "a", "hparams": {"x": 2}}, *NODES[1:]]}),
        ("nodes.a.params.y=2", {"nodes": [{"name": "a", "hparams": {"x": 1, "y": 2}}, *NODES[1:]]}),
        ("nodes.0.hparams.y=2", {"nodes": [NODES[0], {"name": "0", "params": {"y": 2}}, "text"]}),
        ("nodes.1.params=3", {"nodes": [NODES[0], {"name": "0", "params": 3}, "text"]}),
        ("nodes.2=other", {"nodes": [*NODES[:2], "other"]}),
    ],
)
def test_a_value_is_replaced_or_added_where_the_path_leads(text: str, changed: dict[str, Any]) -> None:
    """By keys in either spelling, names before numbers; what was given stays as it was."""
    data = {"numbers": [1, 2], "empty": None, "nodes": copy.deepcopy(NODES)}
    before = repr(data)
    assert override(data, [text]) == {**data, **changed}
    assert repr(data) == before


@pytest.mark.parametrize("key", ["params", "hparams"])
def test_where_both_spellings_are_there_the_one_that_is_named_is_meant(key: str) -> None:
    """Whoever reads the file refuses it by itself."""
    other = {"params": "hparams", "hparams": "params"}[key]
    assert override({"hparams": {}, "params": {}}, [f"{key}.x=1"]) == {key: {"x": 1}, other: {}}


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("numbers.2=1", "there is no 'numbers.2'.", "There are: 0 to 1."),
        ("numbers.-1=1", "there is no 'numbers.-1'.", "There are: 0 to 1."),
        ("nodes.scalr.x=1", "there is no 'nodes.scalr'. Did you mean 'scaler'?", "There are: scaler."),
        ("name.x=1", "'name' is 'n', which has no keys.", "for example nodes.decider"),
        ("name.x.y=1", "'name' is 'n', which has no keys.", "for example nodes.decider"),
        ("a..b=1", "'a..b=1' is no override.", "key.path=value"),
        ("=1", "'=1' is no override.", "key.path=value"),
        ("a=[", "Override 'a=[': the value is no YAML", "key.path=value"),
        (" +a=1", "Override ' +a=1' begins with Hydra's '+'.", "Leave it out"),
        ("~a=1", "Override '~a=1' begins with Hydra's '~'.", "Nothing is taken away"),
    ],
)
def test_an_override_that_leads_nowhere_says_where_it_ends(text: str, problem: str, hint: str) -> None:
    """And what there is instead."""
    with pytest.raises(PipelineError) as caught:
        override({"numbers": [1, 2], "name": "n", "nodes": [{"name": "scaler"}]}, [text])
    assert problem in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("a=1", ["a=1"]),
        (("a=1", "b=2"), ["a=1", "b=2"]),
        ({"a": {"b": 1, "c": {}}, "d": "x"}, ["a.b=1", "a.c={}", 'd="x"']),
        ({}, []),
    ],
)
def test_overrides_may_be_a_text_several_or_a_mapping(given: Any, texts: list[str]) -> None:
    """An empty mapping is a value of its own."""
    assert as_texts(given) == texts


@pytest.mark.parametrize(("text", "problem"), [("- a", "is a list"), ("a", "is a single text"), ("", "is empty")])
def test_a_file_that_is_no_mapping_is_said_before_its_overrides(tmp_path: Any, text: str, problem: str) -> None:
    """What it holds is the first thing to mend."""
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PipelineError, match=problem) as caught:
        read_config(tmp_path / "p.yaml", ["name=x"])
    assert caught.value.path == tmp_path / "p.yaml"
