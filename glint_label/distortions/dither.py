"""Few colours: a palette for each image and an error-diffusion dither to it (KADID-10k type 6)."""

from functools import lru_cache

import numpy as np
from torch import Tensor

from glint_label.distortions.palette import CELLS, Bytes, Integers, variance_palette
from glint_label.distortions.prepared import Prepared


def color_quantization(images: Prepared, count: float) -> Tensor:
    """Draw each image with a palette of `count` colours."""
    pairs = zip(images.bytes, images.color_cubes, strict=True)
    return images.from_bytes([dither(image, variance_palette(cube, int(count))) for image, cube in pairs])


def dither(image: Bytes, palette: Integers) -> Bytes:
    """Draw an image in a palette's colours by Floyd and Steinberg's error diffusion, column by column.

    A pixel needs the errors of the one above and of three in the column to the left, the lowest of them one row
    below it. So all pixels of equal y + 2x can be done together: the loop is over those slanted lines.
    """
    height, width, _ = image.shape
    colors = palette[nearest_entries(palette)].reshape(-1, 3).astype(np.int32)  # by cell
    cells = np.array([CELLS * CELLS, CELLS, 1], np.int32)
    shares = _error_shares()
    # Each pixel of a line by its column; a column and three lines more take the shares that leave the image.
    lines = np.zeros((height + 2 * width + 1, width + 1, 3), np.int32)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    lines[rows + 2 * columns, columns] = image
    for line in range(height + 2 * width - 2):
        start, stop = max(0, (line - height + 2) // 2), min(width, line // 2 + 1)
        value = np.minimum(np.maximum(lines[line, start:stop], 0), 255)
        color = colors.take((value >> 3).dot(cells), axis=0)
        down, up, level, slant = shares.take(value - color + 255, axis=1)
        lines[line, start:stop] = color
        lines[line + 1, start:stop] += down
        lines[line + 1, start + 1 : stop + 1] += up
        lines[line + 2, start + 1 : stop + 1] += level
        lines[line + 3, start + 1 : stop + 1] += slant
    drawn: Bytes = lines[rows + 2 * columns, columns].astype(np.uint8)
    return drawn


def nearest_entries(palette: Integers) -> Integers:
    """Return the palette entry nearest to the centre of each 5-bit cell, or the first: (32, 32, 32)."""
    centre = np.arange(CELLS) * 8 + 4
    squares = (centre[:, None] - palette.T[:, None, :]) ** 2  # (3, 32, entries)
    red, green, blue = squares
    distance = red[:, None, None] + green[None, :, None] + blue[None, None, :]
    return distance.argmin(-1)  # type: ignore[no-any-return]


@lru_cache
def _error_shares() -> Integers:
    """Return 7, 3, 5 and 1 sixteenths of each error -255..255, halves rounded away from zero: (4, 511)."""
    error = np.arange(-255, 256)
    parts = np.array([7, 3, 5, 1])[:, None] * np.abs(error)
    return (np.sign(error) * ((parts + 8) // 16)).astype(np.int32)  # type: ignore[no-any-return]
