"""Base classes of published nodes whose model is on Hugging Face; what they need is imported when it is first used.

Importing this module imports torch. `gradio_client` and `transformers` belong to the extra `hub`.
"""

import os
from abc import abstractmethod
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from cuvis_ai_core.errors import MissingExtraError
from cuvis_ai_core.node.node import Node

__all__ = ["HuggingFaceAPINode", "HuggingFaceLocalNode"]


class HuggingFaceAPINode(Node):
    """A node whose work is done by a Space of Hugging Face.

    Args:
        space_url: Owner and name of the Space, or its address.
        api_timeout: After how many seconds an answer is waited for no longer.
        kwargs: Name, execution stages and further hyper-parameters.
    """

    def __init__(self, space_url: str, api_timeout: float = 60.0, **kwargs: Any) -> None:
        self.space_url = space_url
        self.api_timeout = api_timeout
        self._client: Any = None
        super().__init__(space_url=space_url, api_timeout=api_timeout, **kwargs)

    @property
    def client(self) -> Any:
        """The client of gradio, connected when it is first asked for, with the token in `HF_TOKEN` if there is one.

        Raises:
            RuntimeError: There is no connection to the Space.
            MissingExtraError: `gradio_client` is not installed.
        """
        if self._client is None:
            gradio = _hub("gradio_client", f"Node '{self.name}' asks the Space '{self.space_url}'")
            # by its place: the keyword of the token has had two names
            token = {"token": os.environ["HF_TOKEN"]} if os.environ.get("HF_TOKEN") else {}
            try:
                self._client = gradio.Client(self.space_url, httpx_kwargs={"timeout": self.api_timeout}, **token)
            except Exception as error:
                raise RuntimeError(
                    f"There is no connection to the Space '{self.space_url}' of Hugging Face: {error}\n"
                    "Look whether it runs, and set HF_TOKEN if it is private."
                ) from error
        return self._client

    @abstractmethod
    def forward(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Ask the Space; a class of a catalogue does."""
        raise NotImplementedError


class HuggingFaceLocalNode(Node):
    """A node whose model is fetched from Hugging Face, and computes here.

    Args:
        model_name: Owner and name of the model, or a folder.
        cache_dir: Where it is kept; by default where `huggingface_hub` keeps everything.
        kwargs: Name, execution stages and further hyper-parameters.
    """

    def __init__(self, model_name: str, cache_dir: str | None = None, **kwargs: Any) -> None:
        self.model_name = model_name
        self.cache_dir = cache_dir
        super().__init__(model_name=model_name, cache_dir=cache_dir, **kwargs)
        self._model: nn.Module | None = None

    @property
    def model(self) -> Any:
        """The model, fetched when it is first asked for, in evaluation mode and with nothing to train.

        Raises:
            RuntimeError: It cannot be had; the text names it.
            MissingExtraError: `transformers` is not installed.
        """
        if self._model is None:
            self._model = self._load_model()
        return self._model

    def _load_model(self) -> nn.Module:
        transformers = _hub("transformers", f"Node '{self.name}' loads the model '{self.model_name}'")
        try:
            model: nn.Module = transformers.AutoModel.from_pretrained(
                self.model_name, cache_dir=self.cache_dir, token=os.environ.get("HF_TOKEN")
            )
        except Exception as error:
            raise RuntimeError(
                f"The model '{self.model_name}' of Hugging Face cannot be loaded: {error}\n"
                "Look at its name and the connection, and set HF_TOKEN if it is private."
            ) from error
        return model.eval().requires_grad_(requires_grad=False)


def _hub(package: str, why: str) -> ModuleType:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        # Something that the package needs is missing, which its own words say.
        if error.name != package:
            raise
        raise MissingExtraError(
            f"{why}, and the package '{package}' is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[hub]'",
            extra="hub",
        ) from error
