"""Which pixels say something."""

from torch import Tensor


def labelled(mask: Tensor, ignore_label: int | None) -> Tensor:
    """Return where pixels have a class: not 0, nothing below it, and not the label that is to be ignored."""
    known = mask > 0
    return known if ignore_label is None else known & (mask != ignore_label)
