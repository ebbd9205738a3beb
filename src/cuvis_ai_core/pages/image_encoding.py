"""From numbers to the bytes of a picture for a page."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def levels(band: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return grey values from the 2nd to the 98th percentile of what is finite."""
    finite = band[np.isfinite(band)]
    if not finite.size:
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(finite, (2, 98))
    scaled = (band - low) / (high - low) if high > low else np.full_like(band, 0.5)
    return np.asarray(np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0) * 255).astype(np.uint8)


def encoded(image: NDArray[np.uint8], kind: str = "png") -> bytes:
    """Return an image, grey or of three channels, as `png` or `jpeg`."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **({"quality": 85} if kind == "jpeg" else {}))
    return stream.getvalue()
