"""Codecs, one image at a time on the host: JPEG 2000 and JPEG (KADID-10k types 9 and 10)."""

import io
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from glint_label.distortions.prepared import Bytes, Prepared


def jpeg2000(images: Prepared, ratio: float) -> Tensor:
    """Compress to 1 / `ratio` of the raw 8-bit size with the 9/7 wavelet in 4 levels (OpenJPEG)."""
    options = {
        "quality_mode": "rates",
        "quality_layers": [ratio],
        "irreversible": True,
        "mct": 1,
        "num_resolutions": 5,
        "no_jp2": False,
    }
    return images.from_bytes([_round_trip(image, "JPEG2000", options) for image in images.bytes])


def jpeg(images: Prepared, quality: float) -> Tensor:
    """Compress with libjpeg's `quality`, chroma halved in both directions."""
    options = {"quality": int(quality), "subsampling": "4:2:0"}
    return images.from_bytes([_round_trip(image, "JPEG", options) for image in images.bytes])


def _round_trip(image: Bytes, codec: str, options: dict[str, Any]) -> Bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, codec, **options)
    return np.array(Image.open(file))
