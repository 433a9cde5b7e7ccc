"""Work on an image a band of rows at a time, so that temporary tensors stay in the processor's cache."""

from collections.abc import Callable, Iterator
from functools import wraps

import torch
from torch import Tensor

_PIXELS = 1 << 14  # per band and plane


def bands(planes: Tensor) -> Iterator[slice]:
    """Yield slices of the rows of (..., H, W) planes: bands on the CPU, all at once on a GPU."""
    height, width = planes.shape[-2:]
    step = height if planes.is_cuda else max(1, _PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def by_bands(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Call a function of single pixels, (B, 3, H, W) to the same shape, on bands of its first argument."""

    @wraps(function)
    def banded(planes: Tensor, *settings: float) -> Tensor:
        result = torch.empty(planes.shape, dtype=planes.dtype, device=planes.device)
        for rows in bands(planes):
            result[:, :, rows] = function(planes[:, :, rows], *settings)
        return result

    return banded
