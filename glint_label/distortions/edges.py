"""Where an image has edges: the mask that hides a colour shift in flat regions."""

import math

import torch
from torch import Tensor

from glint_label.distortions.filters import gaussian_filter


def edge_mask(luma: Tensor) -> Tensor:
    """Return how much of an edge each pixel is, in [0, 1].

    Args:
        luma: (B, 1, H, W) in [0, 1].
    """
    strength = _own_range(gaussian_filter(_gradient_magnitude(luma), sigma=4)).clamp_(0.1, 1)
    strength = _own_range(strength)
    flat = strength.flatten(1)
    count = flat.shape[1]
    rank = math.floor(min(max(count * 0.99, 1), count) + 0.5)  # of the 99th percentile, not interpolated
    high = _smallest(flat, rank)
    low = 1 - (1 - _smallest(flat, count - rank + 1))
    return _own_range(torch.minimum(torch.maximum(strength, low), high))


def _smallest(rows: Tensor, rank: int) -> Tensor:
    """Return the value of a rank, from 1, in each row: (B, 1, 1, 1)."""
    # On a GPU torch calls kthvalue non-deterministic, for its indices, and may be told to refuse such functions.
    values = rows.sort(dim=1).values[:, rank - 1] if rows.is_cuda else rows.kthvalue(rank, dim=1).values
    return values.view(-1, 1, 1, 1)


def _gradient_magnitude(planes: Tensor) -> Tensor:
    """Central differences, one-sided at the borders."""
    return (_slope(planes, 2).square_() + _slope(planes, 3).square_()).sqrt_()


def _slope(planes: Tensor, axis: int) -> Tensor:
    last = planes.shape[axis] - 1
    slope = torch.empty_like(planes)
    inner = slope.narrow(axis, 1, last - 1)
    torch.sub(planes.narrow(axis, 2, last - 1), planes.narrow(axis, 0, last - 1), out=inner)
    inner.div_(2)
    torch.sub(planes.narrow(axis, 1, 1), planes.narrow(axis, 0, 1), out=slope.narrow(axis, 0, 1))
    torch.sub(planes.narrow(axis, last, 1), planes.narrow(axis, last - 1, 1), out=slope.narrow(axis, last, 1))
    return slope


def _own_range(planes: Tensor) -> Tensor:
    """Map each plane's own range to [0, 1]; a constant plane passes unchanged."""
    low, high = planes.amin((1, 2, 3), keepdim=True), planes.amax((1, 2, 3), keepdim=True)
    constant = low == high
    return (planes - torch.where(constant, 0, low)).div_(torch.where(constant, 1, high - low))
