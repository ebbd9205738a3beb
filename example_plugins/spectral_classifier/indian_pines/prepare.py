"""Write the data of the example into the working directory: Indian Pines, and which of its pixels are learned from.

The cube (AVIRIS, 12 June 1992, 145 x 145 pixels, 200 bands) comes with the package tensorly; `ground_truth.npy` beside
this file has the class of each pixel, 0 where nobody knows (Landgrebe, Purdue University). A fifth of the pixels of
each class is trained on, a tenth validated, the rest tested; the split is the same each time.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorly.datasets import load_indian_pines

SHARES = {"train": 0.2, "val": 0.1}
LEAST = 3  # pixels of each class, in each part
SEED = 7


def split(classes: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Return a mask for each part of the data; a pixel is labelled in one of them.

    Args:
        classes: Class of each pixel `[height, width]`; 0 is not labelled.
    """
    random = np.random.default_rng(SEED)
    parts = {name: np.zeros_like(classes) for name in (*SHARES, "test")}
    for number in range(1, classes.max() + 1):
        pixels = random.permutation(np.flatnonzero(classes == number))
        sizes = [max(LEAST, round(share * len(pixels))) for share in SHARES.values()]
        for part, chosen in zip(parts.values(), np.split(pixels, np.cumsum(sizes)), strict=True):
            part.flat[chosen] = number
    return parts


def main() -> None:
    """Write indian_pines.npz, train.png, val.png and test.png."""
    np.savez("indian_pines.npz", cube=np.asarray(load_indian_pines()["tensor"]).astype(np.uint16))
    for name, mask in split(np.load(Path(__file__).with_name("ground_truth.npy"))).items():
        Image.fromarray(mask).save(f"{name}.png")
        print(f"{name}: {np.count_nonzero(mask)} pixels")


if __name__ == "__main__":
    main()
