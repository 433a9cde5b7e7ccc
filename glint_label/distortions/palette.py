"""A palette of few colours for an image (Wu, Graphics Gems II)."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
CELLS = 32  # cells per channel of the colour histogram: the upper 5 bits
_Box = tuple[int, ...]  # first and last + 1 cell of R, of G, of B


def color_cube(image: Bytes) -> Integers:
    """Return cumulative counts, sums of R, G, B and of squares over the cells, zeros in front: (33, 33, 33, 5)."""
    planes = [np.ascontiguousarray(plane).ravel() for plane in np.moveaxis(image, 2, 0)]
    red, green, blue = ((plane >> 3).astype(np.int64) for plane in planes)
    cell = (red * CELLS + green) * CELLS + blue
    columns = [plane.astype(np.float64) for plane in planes]
    columns.append(np.square(columns).sum(0))
    sums = [np.bincount(cell, minlength=CELLS**3), *(np.bincount(cell, c, CELLS**3) for c in columns)]
    cube = np.stack(sums, axis=-1).astype(np.int64).reshape(CELLS, CELLS, CELLS, 5)
    return np.pad(cube.cumsum(0).cumsum(1).cumsum(2), ((1, 0), (1, 0), (1, 0), (0, 0)))


def variance_palette(cube: Integers, count: int) -> Integers:
    """Choose colours by splitting a `color_cube`: (count or fewer, 3).

    The box of the largest summed variance is split, again and again, where that lowers the variance most. An
    entry is the mean of a box, rounded down.
    """
    weight, total, square = cube[..., :1], cube[..., 1:4], cube[..., 4:]
    boxes: list[_Box] = [(0, CELLS, 0, CELLS, 0, CELLS)]
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
