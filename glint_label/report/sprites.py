"""Pictures inside the file: small ones many to a sheet, full ones each by itself, all WebP."""

import base64
import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

_ACROSS = 10  # thumbnails beside each other on a sheet
_QUALITY = 62
_FULL_QUALITY = 70


@dataclass(frozen=True)
class Thumbnail:
    """Where a small picture lies.

    Attributes:
        sheet: Name of its sheet.
        x, y, width, height: Its part of the sheet, px.
    """

    sheet: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """Many small pictures in one.

    Attributes:
        name: Of the sheet.
        width, height: In pixels.
        url: The WebP file itself, as a data URL.
    """

    name: str
    width: int
    height: int
    url: str


@dataclass
class Sprites:
    """A sheet that grows.

    Attributes:
        name: Of the sheet, by which the page refers to it.
        cell: Width and height of the room for one picture, px.
    """

    name: str
    cell: tuple[int, int]
    _pixels: list[Pixels] = field(default_factory=list)

    def add(self, pixels: Pixels) -> Thumbnail:
        """Put one more picture on the sheet, (h, w, 3), no larger than a cell."""
        row, column = divmod(len(self._pixels), _ACROSS)
        self._pixels.append(pixels)
        height, width = pixels.shape[:2]
        return Thumbnail(self.name, column * self.cell[0], row * self.cell[1], width, height)

    def finish(self) -> Sheet | None:
        """Encode the sheet; None where it is empty."""
        if not self._pixels:
            return None
        across = min(_ACROSS, len(self._pixels))
        width, height = across * self.cell[0], -(-len(self._pixels) // _ACROSS) * self.cell[1]
        canvas = np.full((height, width, 3), 128, dtype=np.uint8)
        for number, pixels in enumerate(self._pixels):
            row, column = divmod(number, _ACROSS)
            top, left = row * self.cell[1], column * self.cell[0]
            canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return Sheet(self.name, width, height, data_url(_encode(canvas, _QUALITY)))


def shrink(pixels: Pixels, cell: tuple[int, int]) -> Pixels:
    """Reduce a picture until it fits into a cell; (H, W, 3) uint8 in and out. It is never enlarged."""
    height, width = pixels.shape[:2]
    factor = min(cell[0] / width, cell[1] / height, 1.0)
    size = (max(1, min(cell[0], round(width * factor))), max(1, min(cell[1], round(height * factor))))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def encode_full(pixels: Pixels) -> bytes:
    """Encode a picture at its own size, (H, W, 3) uint8."""
    return _encode(pixels, _FULL_QUALITY)


def data_url(content: bytes) -> str:
    """Write a WebP file as a data URL."""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def _encode(pixels: Pixels, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
