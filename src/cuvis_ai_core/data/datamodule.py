"""The base class of published data modules; importing this module imports torch and Lightning."""

from abc import abstractmethod
from typing import Any

from cuvis_ai_core.errors import MissingExtraError

try:
    from pytorch_lightning import LightningDataModule
    from torch.utils.data import DataLoader, Dataset
except ModuleNotFoundError as missing:
    if missing.name not in {"torch", "pytorch_lightning"}:
        raise
    raise MissingExtraError(
        f"Data modules are Lightning's, and the package '{missing.name}' is not installed.",
        hint="Install the extra: pip install 'cuvis-ai-core[train]'. Without it there is cuvis_ai_core.data.Cubes.",
        extra="train",
    ) from missing

__all__ = ["CuvisDataModule", "DataLoader", "Dataset", "LightningDataModule"]


class CuvisDataModule(LightningDataModule):
    """Batches to train on and to validate on, as Lightning asks for them.

    A batch is a mapping of port names to tensors, as `Pipeline.forward` takes it.
    """

    @abstractmethod
    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches to train on."""

    @abstractmethod
    def val_dataloader(self) -> DataLoader[Any]:
        """Return the batches to validate on."""

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the batches to test on; a module that has some overrides this.

        Raises:
            NotImplementedError: It has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no batches to test on: it has no test_dataloader.")
