"""Few colours: a palette for the image and an error-diffusion dither to it (KADID-10k type 6)."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glint_label.distortions.prepared import Bytes, Prepared

Integers = npt.NDArray[np.int64]
_CELLS = 32  # cells per channel of the colour histogram: the upper 5 bits
_Box = tuple[int, ...]  # first and last + 1 cell of R, of G, of B


def color_quantization(images: Prepared, count: float) -> Tensor:
    """Draw each image with a palette of `count` colours."""
    return images.from_bytes([dither(image, variance_palette(image, int(count))) for image in images.bytes])


def variance_palette(image: Bytes, count: int) -> Integers:
    """Choose colours by splitting the colour cube (Wu, Graphics Gems II): (count or fewer, 3).

    The box of the largest summed variance is split, again and again, where that lowers the variance most. An
    entry is the mean of a box, rounded down.
    """
    weight, total, square = _moments(image)
    boxes: list[_Box] = [(0, _CELLS, 0, _CELLS, 0, _CELLS)]
    variances = [1.0]
    while len(boxes) < count:
        index = int(np.argmax(variances))
        if variances[index] <= 0:
            break
        halves = _split(boxes[index], weight, total)
        if halves is None:
            variances[index] = 0.0
            continue
        boxes[index] = halves[0]
        boxes.append(halves[1])
        variances[index] = _variance(halves[0], weight, total, square)
        variances.append(_variance(halves[1], weight, total, square))
    return np.array([_inside(box, total) // _inside(box, weight) for box in boxes])


def _moments(image: Bytes) -> tuple[Integers, Integers, Integers]:
    """Return cumulative counts, sums of R, G, B and sums of squares over the cells' cube, zeros in front."""
    pixels = image.reshape(-1, 3).astype(np.int64)
    cell = ((pixels >> 3) * (_CELLS * _CELLS, _CELLS, 1)).sum(1)
    columns = [np.ones(len(pixels)), *pixels.T, (pixels * pixels).sum(1)]
    sums = np.stack([np.bincount(cell, column, _CELLS**3) for column in columns], axis=-1)
    cube = sums.astype(np.int64).reshape(_CELLS, _CELLS, _CELLS, 5).cumsum(0).cumsum(1).cumsum(2)
    cube = np.pad(cube, ((1, 0), (1, 0), (1, 0), (0, 0)))
    return cube[..., :1], cube[..., 1:4], cube[..., 4:]


def _inside(box: _Box, cumulative: Integers) -> Integers:
    """Sum over a box: (k,)."""
    r0, r1, g0, g1, b0, b1 = box
    slab = cumulative[r1] - cumulative[r0]
    slab = slab[g1] - slab[g0]
    return slab[b1] - slab[b0]  # type: ignore[no-any-return]


def _variance(box: _Box, weight: Integers, total: Integers, square: Integers) -> float:
    """Sum of squared distances to the box's mean; 0 for a box that cannot be split."""
    r0, r1, g0, g1, b0, b1 = box
    if (r1 - r0) * (g1 - g0) * (b1 - b0) == 1:
        return 0.0
    sums = _inside(box, total)
    return float(_inside(box, square)[0] - (sums * sums).sum() / _inside(box, weight)[0])


def _split(box: _Box, weight: Integers, total: Integers) -> tuple[_Box, _Box] | None:
    """Cut a box where |sum|^2 / n of both parts together is largest; of equals the first, R, G, B."""
    best, cut = 0.0, None
    for axis in range(3):
        n, sums = _profile(box, weight, axis), _profile(box, total, axis)  # of the part below each cut
        n_above, sums_above = n[-1] - n, sums[-1] - sums
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (sums * sums).sum(1) / n[:, 0] + (sums_above * sums_above).sum(1) / n_above[:, 0]
        gain = np.where((n[:, 0] > 0) & (n_above[:, 0] > 0), gain, 0)
        place = int(np.argmax(gain))
        if gain[place] > best:
            best, cut = float(gain[place]), (axis, box[2 * axis] + place)
    if cut is None:
        return None
    axis, position = cut
    end, start = 2 * axis + 1, 2 * axis
    return (*box[:end], position, *box[end + 1 :]), (*box[:start], position, *box[start + 1 :])


def _profile(box: _Box, cumulative: Integers, axis: int) -> Integers:
    """Sum over the part of a box below each cell boundary of one axis: (cells + 1, k)."""
    rest = [box[2 * a : 2 * a + 2] for a in range(3) if a != axis]
    slab = np.moveaxis(cumulative, axis, 0)[box[2 * axis] : box[2 * axis + 1] + 1]
    (p0, p1), (q0, q1) = rest
    profile = slab[:, p1, q1] - slab[:, p0, q1] - slab[:, p1, q0] + slab[:, p0, q0]
    return profile - profile[0]  # type: ignore[no-any-return]


def dither(image: Bytes, palette: Integers) -> Bytes:
    """Draw an image in a palette's colours by Floyd and Steinberg's error diffusion, column by column.

    A pixel needs the errors of the one above and of three in the column to the left, the lowest of them one
    row below it. So all pixels of equal y + 2x can be done together: the loop is over those slanted lines.
    """
    height, width, _ = image.shape
    nearest = nearest_entries(palette)
    shares = _error_shares()
    slanted = np.zeros((height + 2 * (width - 1), width, 3), np.int64)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    slanted[rows + 2 * columns, columns] = image
    chosen = np.zeros(slanted.shape[:2], np.int64)
    # Shares of the errors of the last three lines, (down, up, level, down-right) by column + 1.
    last = [np.zeros((4, width + 1, 3), np.int64) for _ in range(3)]
    for line in range(len(slanted)):
        start, stop = max(0, (line - height + 2) // 2), min(width, line // 2 + 1)
        here, left = slice(start + 1, stop + 1), slice(start, stop)
        carried = last[0][0, here] + last[0][1, left] + last[1][2, left] + last[2][3, left]
        value = np.clip(slanted[line, start:stop] + carried, 0, 255)
        cell = value >> 3
        entry = nearest[cell[:, 0], cell[:, 1], cell[:, 2]]
        chosen[line, start:stop] = entry
        new = last.pop()
        new[:] = 0
        new[:, here] = shares[:, value - palette[entry] + 255]
        last.insert(0, new)
    drawn: Bytes = palette.astype(np.uint8)[chosen[rows + 2 * columns, columns]]
    return drawn


def nearest_entries(palette: Integers) -> Integers:
    """Return the palette entry nearest to the centre of each 5-bit cell, or the first: (32, 32, 32)."""
    centre = np.arange(_CELLS) * 8 + 4
    squares = (centre[:, None] - palette.T[:, None, :]) ** 2  # (3, 32, entries)
    red, green, blue = squares
    distance = red[:, None, None] + green[None, :, None] + blue[None, None, :]
    return distance.argmin(-1)  # type: ignore[no-any-return]


@lru_cache
def _error_shares() -> Integers:
    """Return 7, 3, 5 and 1 sixteenths of each error -255..255, halves rounded away from zero: (4, 511)."""
    error = np.arange(-255, 256)
    parts = np.array([7, 3, 5, 1])[:, None] * np.abs(error)
    return np.sign(error) * ((parts + 8) // 16)  # type: ignore[no-any-return]
