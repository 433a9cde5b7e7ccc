"""Which 224 px squares of an image the network looks at when it scores.

They depend on the image's own pixels and the seed, never on other images, their order or a file's name.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from glint_label.errors import InputError

CROP = 224


def cut_crops(pixels: NDArray[np.uint8], crops: int, seed: int) -> torch.Tensor:
    """Cut the squares that stand for an image.

    An image with a side below 224 is first continued by reflection, which, unlike enlarging, keeps its mean_error and
    noise as they are.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        crops: That many at random places; 0 spreads them regularly: every other square of the grid that covers the
            image, as the fields of one colour on a chessboard, where it has several rows and columns.
        seed: Of the random places.

    Returns:
        (N, 3, 224, 224) uint8.

    Raises:
        InputError: Not such an image, or a negative number of crops.
    """
    check_pixels(pixels)
    if crops < 0:
        raise InputError(f"crops {crops}: must be at least 1, or 0 for the whole image")
    pixels = continued(pixels)
    return cut_at(pixels, _random_corners(pixels, crops, seed) if crops else _spread_corners(*pixels.shape[:2]))


def cut_at(pixels: NDArray[np.uint8], corners: Iterable[Sequence[int]]) -> torch.Tensor:
    """Cut squares out of an image, at least 224 a side, given their tops and lefts: (N, 3, 224, 224) uint8."""
    squares = [pixels[top : top + CROP, left : left + CROP] for top, left in corners]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)


def check_pixels(pixels: NDArray[np.uint8]) -> None:
    """Refuse what is no image.

    Raises:
        InputError: With its shape and type.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise InputError(f"an image must be (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")


def continued(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Continue an image with a side below 224 by reflection at the bottom and the right; others stay as they are."""
    missing = [max(0, CROP - side) for side in pixels.shape[:2]]
    if not any(missing):
        return pixels
    return np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="reflect")


def _random_corners(pixels: NDArray[np.uint8], crops: int, seed: int) -> NDArray[np.int64]:
    height, width = pixels.shape[:2]
    named = hashlib.sha256(f"{seed} {height} {width} ".encode())
    named.update(pixels.tobytes())
    rng = np.random.default_rng(int.from_bytes(named.digest()[:16], "big"))
    return rng.integers(0, (height - CROP + 1, width - CROP + 1), size=(crops, 2))


def grid_corners(height: int, width: int) -> list[tuple[int, int]]:
    """Cover an image, at least 224 a side, with as few squares as possible: their tops and lefts."""
    tops, lefts = _grid_lines(height), _grid_lines(width)
    return [(top, left) for top in tops for left in lefts]


def _spread_corners(height: int, width: int) -> list[tuple[int, int]]:
    """Take every other square of the grid, whose squares overlap; all of a single row or column."""
    tops, lefts = _grid_lines(height), _grid_lines(width)
    if min(len(tops), len(lefts)) == 1:
        return grid_corners(height, width)
    return [(top, left) for row, top in enumerate(tops) for column, left in enumerate(lefts) if (row + column) % 2]


def _grid_lines(side: int) -> list[int]:
    lines: list[int] = np.linspace(0, side - CROP, -(-side // CROP)).round().astype(int).tolist()
    return lines
