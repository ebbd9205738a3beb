"""Nodes whose model is elsewhere: what they need is asked for when it is first used."""

# ruff: noqa: E402 - without torch there is nothing to import

import sys
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from cuvis_ai_core.errors import MissingExtraError
from cuvis_ai_core.node.huggingface import HuggingFaceAPINode, HuggingFaceLocalNode


class Api(HuggingFaceAPINode):
    """Asks a Space."""

    def forward(self, **_: Any) -> dict[str, Any]:
        """Return what it was asked with."""
        return {"client": self.client}


class Local(HuggingFaceLocalNode):
    """Has a model of its own."""

    def forward(self, **_: Any) -> dict[str, Any]:
        """Return the model."""
        return {"model": self.model}


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the client or the model is first asked for, and not before."""
    for package in ("gradio_client", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    api, local = Api("lab/space"), Local("lab/model")
    with pytest.raises(MissingExtraError, match=r"asks the Space 'lab/space'.*\n.*cuvis-ai-core\[hub\]"):
        api.forward()
    with pytest.raises(MissingExtraError, match=r"loads the model 'lab/model'.*\n.*cuvis-ai-core\[hub\]"):
        local.forward()


def test_a_failed_connection_names_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a model that cannot be had the model."""
    gradio: Any = ModuleType("gradio_client")
    transformers: Any = ModuleType("transformers")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    gradio.Client = fail
    transformers.AutoModel = type("AutoModel", (), {"from_pretrained": staticmethod(fail)})
    monkeypatch.setitem(sys.modules, "gradio_client", gradio)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    with pytest.raises(RuntimeError, match=r"no connection to the Space 'lab/space' .*no route to host"):
        _ = Api("lab/space").client
    with pytest.raises(RuntimeError, match=r"The model 'lab/model' .* cannot be loaded: no route to host"):
        _ = Local("lab/model").model


def test_a_model_is_fetched_once_and_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """In evaluation mode, with all parameters frozen."""
    transformers: Any = ModuleType("transformers")
    fetched: list[str] = []

    def fetch(name: str, **_: Any) -> Any:
        fetched.append(name)
        return torch.nn.Linear(2, 2)

    transformers.AutoModel = type("AutoModel", (), {"from_pretrained": staticmethod(fetch)})
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    node = Local("lab/model", cache_dir="kept")
    assert node.model is node.model
    assert (fetched, node.model.training) == (["lab/model"], False)
    assert not any(parameter.requires_grad for parameter in node.model.parameters())
    assert node.hparams == {"model_name": "lab/model", "cache_dir": "kept"}
