"""Codecs, one image at a time on the host: JPEG 2000 and JPEG (KADID-10k types 9 and 10)."""

import io
from typing import Any

import numpy as np
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from glint_label.distortions.palette import Bytes
from glint_label.distortions.prepared import Prepared
from glint_label.errors import InputError
from glint_label.images import MAX_SIDES


def jpeg2000(images: Prepared, ratio: float) -> Tensor:
    """Compress to 1 / `ratio` of the raw 8-bit size with the 9/7 wavelet in 4 levels (OpenJPEG)."""
    options = {
        "quality_mode": "rates",
        "quality_layers": [ratio],
        "irreversible": True,
        "mct": 1,
        "num_resolutions": 5,
    }
    return images.from_bytes([np.array(Jpeg2KImageFile(_save(i, "JPEG2000", options))) for i in images.bytes])


def jpeg(images: Prepared, quality: float) -> Tensor:
    """Compress with libjpeg's `quality`, chroma halved in both directions.

    Raises:
        InputError: The images are larger than a JPEG can be.
    """
    longest = max(images.bytes[0].shape)
    if longest > MAX_SIDES[".jpg"]:
        raise InputError(f"an image of {longest:,} px a side: JPEG holds {MAX_SIDES['.jpg']:,}; make it smaller")
    options = {"quality": int(quality), "subsampling": "4:2:0"}
    return images.from_bytes([np.array(JpegImageFile(_save(i, "JPEG", options))) for i in images.bytes])


def _save(image: Bytes, codec: str, options: dict[str, Any]) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image).save(file, codec, **options)
    file.seek(0)
    return file
