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
    # Errors that wait for the pixels of this line and three more, by column; one more takes what leaves the image.
    errors = np.zeros((4, width + 1, 3), np.int32)
    # A line's pixels stand at equal distances in memory: one column on is two rows up.
    pixels, drawn = image.reshape(-1, 3), np.empty((height * width, 3), np.uint8)
    for line in range(height + 2 * width - 2):
        start, stop = max(0, (line - height + 2) // 2), min(width, line // 2 + 1)
        here, below, next_column, slanted = (errors[(line + ahead) % 4] for ahead in range(4))
        last = line * width - (stop - 1) * (2 * width - 1)
        places = slice(last, last + (stop - start) * (2 * width - 1), 2 * width - 1)  # from right to left
        value = np.minimum(np.maximum(here[start:stop] + pixels[places][::-1], 0), 255)
        color = colors.take((value >> 3).dot(cells), axis=0)
        down, up, level, slant = shares.take(value - color + 255, axis=1)
        drawn[places] = color[::-1]
        here[max(0, start - 2) : stop + 2] = 0
        below[start:stop] += down
        below[start + 1 : stop + 1] += up
        next_column[start + 1 : stop + 1] += level
        slanted[start + 1 : stop + 1] += slant
    return drawn.reshape(image.shape)


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
