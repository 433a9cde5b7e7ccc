"""Decoded photos, kept while there is room."""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from glint_label.images import read_photo
from glint_model.data.rows import Rows

Pixels = NDArray[np.uint8]


class Photos:
    """The photos of some rows, decoded when first asked for.

    Args:
        rows: Names the files.
        cache_bytes: Memory for decoded photos; the one unused for longest goes first.
        synthetic: Draw each photo from its number instead of opening a file.
    """

    def __init__(self, rows: Rows, cache_bytes: int, synthetic: bool = False) -> None:
        self._rows = rows
        self._room = cache_bytes
        self._synthetic = synthetic
        self._kept: OrderedDict[int, Pixels] = OrderedDict()

    def __getitem__(self, number: int) -> Pixels:
        """Get one photo: (H, W, 3) uint8.

        Raises:
            ImageError: It is missing or damaged, or not the file that was labelled.
        """
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        pixels = draw_photo(number) if self._synthetic else self._read(number)
        self._kept[number] = pixels
        self._room -= pixels.nbytes
        while self._room < 0 and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._room += dropped.nbytes
        return pixels

    def _read(self, number: int) -> Pixels:
        return read_photo(self._rows.photos[number], self._rows.sha256[number], self._rows.size).pixels


def draw_photo(number: int, height: int = 256, width: int = 320) -> Pixels:
    """Draw something with edges, texture and colour, for training without data: (height, width, 3)."""
    rng = np.random.Generator(np.random.Philox(key=np.array([number, 0], dtype=np.uint64)))
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(2, 30) + y / rng.uniform(2, 30) + rng.uniform(0, 6)) for _ in range(3)]
    photo = 128 + 50 * np.stack(waves, axis=-1) + rng.normal(0, rng.uniform(1, 15), (height, width, 1))
    for _ in range(12):
        top, left = rng.integers(0, height - 32), rng.integers(0, width - 32)
        bottom, right = top + rng.integers(16, 96), left + rng.integers(16, 96)
        photo[top:bottom, left:right] = rng.integers(0, 256, 3)
    return np.clip(photo, 0, 255).astype(np.uint8)
