"""Manifests and other JSON that clients send, in the forms of all generations."""

import json
from typing import Any

import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.manifest_json import read_json, read_manifest

CLASS = {"class_name": "a.Node", "kind": "node"}
READER = {"class_name": "a.Reader", "kind": "reader"}
DATA = {"class_name": "a.Data", "kind": "data_module", "data_module_name": "data"}


@pytest.mark.parametrize(
    ("sent", "plugins", "generation"),
    [
        (
            {"plugins": {"a": {"path": "p", "provides": ["a.Node"]}}},
            {"a": {"path": "p", "provides": ["a.Node"]}},
            (0, 4),
        ),
        ({"plugins": {"a": {"path": "p"}}}, {"a": {"path": "p", "provides": []}}, (0, 4)),
        ({"plugins": {}}, {}, (0, 4)),
        (
            {"plugins": {"a": {"repo": "r", "tag": "v1", "provides": [CLASS, READER, {"class_name": "a.Other"}]}}},
            {"a": {"repo": "r", "tag": "v1", "provides": ["a.Node", "a.Other"]}},
            (0, 5),
        ),
        (
            {"plugins": {"a": {"path": "p", "provides": ["a.Node"]}, "b": {"path": "q", "provides": [CLASS]}}},
            {"a": {"path": "p", "provides": ["a.Node"]}, "b": {"path": "q", "provides": ["a.Node"]}},
            (0, 5),
        ),
        (
            {"name": "a", "path": "p", "capabilities": [CLASS], "icon": "x"},
            {"a": {"path": "p", "provides": ["a.Node"]}},
            (0, 6),
        ),
        (
            {"name": "a", "path": "p", "capabilities": [CLASS, DATA]},
            {"a": {"path": "p", "provides": ["a.Node"], "data_modules": {"data": "a.Data"}}},
            (0, 6),
        ),
        ({"name": "a", "path": "p", "provides": "wrong"}, {"a": {"path": "p", "provides": "wrong"}}, (0, 6)),
        (
            {
                "name": "a",
                "repo": "r",
                "tag": "t",
                "isolation": "process",
                "extras": [],
                "build": None,
                "python": "3.12",
            },
            {"a": {"repo": "r", "tag": "t", "isolation": "process", "python": "3.12", "provides": []}},
            (0, 6),
        ),
    ],
)
def test_a_manifest_is_read_in_the_form_of_each_generation(
    sent: dict[str, Any], plugins: dict[str, Any], generation: tuple[int, int]
) -> None:
    """Keys that are empty, or for editors only, are left out; so is what is no node."""
    found = read_manifest(json.dumps(sent).encode())
    assert ({name: dict(entry) for name, entry in found.plugins.items()}, found.generation) == (plugins, generation)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "The manifest has neither 'plugins' nor 'name'."),
        ({"plugins": [1]}, "The manifest has neither 'plugins' nor 'name'."),
        ({"name": 3}, "The manifest has neither 'plugins' nor 'name'."),
        ({"plugins": {"a": 1}}, "The manifest's entry of 'a' is no mapping."),
    ],
)
def test_a_manifest_of_no_form_is_refused(sent: dict[str, Any], message: str) -> None:
    """It is the client's fault."""
    with pytest.raises(ServiceError) as caught:
        read_manifest(json.dumps(sent).encode())
    assert (caught.value.message, caught.value.code) == (message, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b" \n", "x: config_bytes is empty."),
        (b"{", "x: config_bytes is no JSON: Expecting"),
        (b"\xff", "x: config_bytes is no JSON: "),
        (b'{"a": "\\ud800"}', "x: config_bytes is no JSON: "),
        (b"[1]", "x: config_bytes holds no mapping."),
        (b'{"a":' + b"[" * 50_000, "x: more than 50000 mappings and lists."),
        (b"[" * 25_000 + b"{" * 25_001, "x: more than 50000 mappings and lists."),
        (b"[" * 50_000, "x: config_bytes is no JSON: "),
    ],
)
def test_what_is_no_mapping_of_json_is_refused(data: bytes, message: str) -> None:
    """In words, whatever it is; what would take long is not parsed."""
    with pytest.raises(ServiceError) as caught:
        read_json(data, "x")
    assert caught.value.message.startswith(message)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_mapping_is_read_as_it_is() -> None:
    """With letters of any language."""
    assert read_json('{"ä": ["\U0001f600", 1.5, null]}'.encode(), "x") == {"ä": ["\U0001f600", 1.5, None]}
