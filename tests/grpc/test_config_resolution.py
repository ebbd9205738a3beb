"""Configurations that clients name: where they are found, what may be asked of them, what they may not lead to."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.call_context import Call, Service
from cuvis_ai_core.grpc.server.config_resolution import check_kind, resolved, without_resolvers
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.settings import Settings

Resolve = Callable[..., dict[str, Any]]


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    """Return a function that resolves a configuration, as a session does that has the folder `own` to look in."""
    service = Service(Settings(working_directory=tmp_path, configs_dir=tmp_path / "configs"))
    session = Session(registry=lambda: NodeRegistry(discover=False))
    session.search_paths = [tmp_path / "own"]

    def run(path: str, kind: str = "training", *overrides: str) -> dict[str, Any]:
        request = SimpleNamespace(config_type=kind, path=path, overrides=overrides)
        return resolved(Call(service, request, None, session))

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Return a function that writes files."""

    def write_all(**files: str) -> None:
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            Path(f"{file}.yaml").write_text(text)

    return write_all


def test_the_nearest_file_of_a_name_is_taken(resolve: Resolve, write: Callable[..., None], tmp_path: Path) -> None:
    """The session's folders before those of the server, and each before its folder of that kind."""
    places = ["configs__training__a", "configs__a", "own__training__a", "own__a"]
    for place in places:
        write(**{place: f"name: {place}"})
        assert resolve("a") == {"name": place}
    (tmp_path / "own/b.yml").write_text("name: b")
    assert resolve("b") == resolve("b.yml") == {"name": "b"}


def test_what_is_laid_over_it_counts_and_keys_refer_to_each_other(resolve: Resolve, write: Callable[..., None]) -> None:
    """What belongs to the composing is no content."""
    write(own__a="hydra: {run: {dir: x}}\nname: n\nout: ${name}/x\ndeep: {b: 1}\n", own__part="c: 3\n")
    assert resolve("a", "training", "name=m", "deep.b=2") == {"name": "m", "out": "m/x", "deep": {"b": 2}}
    write(own__whole="defaults: [part, _self_]\nname: n\n")
    assert resolve("whole") == {"c": 3, "name": "n"}


@pytest.mark.parametrize("count", [200, 201])
def test_a_call_has_so_many_overrides(resolve: Resolve, write: Callable[..., None], count: int) -> None:
    """And no more."""
    write(own__a="b: 0\n")
    overrides = [f"b={number}" for number in range(count)]
    if count == 200:
        assert resolve("a", "training", *overrides) == {"b": 199}
        return
    with pytest.raises(ServiceError, match="up to 200 overrides") as caught:
        resolve("a", "training", *overrides)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[1]", "INVALID_ARGUMENT"),
        ("a: [", "INVALID_ARGUMENT"),
        ("a: ${oc.env:HOME}", "INVALID_ARGUMENT"),
        ("defaults: [../b]", "PERMISSION_DENIED"),
        ("defaults: [{/b@c: 'file:/etc'}]", "PERMISSION_DENIED"),
        ("defaults: ['/pkg:x']", "PERMISSION_DENIED"),
        ("defaults: ['${name}']", "PERMISSION_DENIED"),
        ("defaults: [b]\na: ${oc.env:HOME}", "INVALID_ARGUMENT"),
    ],
)
def test_a_file_that_leads_elsewhere_or_is_none_is_refused(
    resolve: Resolve, write: Callable[..., None], text: str, code: str
) -> None:
    """Whoever wrote it."""
    write(own__a=text, own__b="c: 1")
    with pytest.raises(ServiceError) as caught:
        resolve("a")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("content", "is_taken"),
    [
        ({"a": "${b}", "c": "d: e", "f": ["${a.b}", {"g": "{h: i}"}], "j": 1}, True),
        ({"a": "x:${b}:y", "c": "${b}{d:e}"}, True),
        ({"a": "${oc.env:B}"}, False),
        ({"a": ["${oc.env:B}"]}, False),
        ({"a": {"b": "${oc.env:B}"}}, False),
        ({"${oc.env:B}": 1}, False),
        ({"a": "${${b}:C}"}, False),
        ({"a": "${b{c:d}}"}, False),
        ({"a": "}${b:c}"}, False),
        ({"a": "${b}${c:d}"}, False),
    ],
)
def test_only_keys_of_the_file_are_asked_for(content: dict[str, Any], *, is_taken: bool) -> None:
    """A colon within an interpolation calls something of this machine; elsewhere it is a colon."""
    if is_taken:
        assert without_resolvers(content) == content
        return
    with pytest.raises(ServiceError, match="asks for something of the server's machine") as caught:
        without_resolvers(content)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_kind_that_there_is_not_is_told_with_those_that_there_are() -> None:
    """And with one that is near."""
    for kind in ("pipeline", "trainrun", "data", "training"):
        check_kind(kind)
    with pytest.raises(ServiceError) as caught:
        check_kind("trainig")
    error = caught.value
    assert error.message == "There is no kind of configuration 'trainig'. Did you mean 'training'?"
    assert (error.hint, error.code) == ("Kinds: pipeline, trainrun, data, training.", "NOT_FOUND")
    check_kind("x", ["x"])
