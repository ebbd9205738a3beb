"""The published import path of `CuvisDataModule`."""

from cuvis_ai_core.data.datamodule import CuvisDataModule

__all__ = ["CuvisDataModule"]
