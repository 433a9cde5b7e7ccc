"""Work on an image a band of rows at a time, so that temporary tensors stay in the processor's cache."""

from collections.abc import Callable, Iterator
from functools import wraps

import torch
from torch import Tensor

_PIXELS = 1 << 15  # per band and plane


def bands(planes: Tensor) -> Iterator[slice]:
    """Yield slices of the rows of (..., H, W) planes: bands on the CPU, all at once on a GPU."""
    height, width = planes.shape[-2:]
    step = height if planes.is_cuda else max(1, _PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def by_bands(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Call a function of single pixels on bands, as (B, 3, H, W) tensors and numbers."""

    @wraps(function)
    def banded(*arguments: Tensor | float) -> Tensor:
        planes = next(a for a in arguments if isinstance(a, Tensor))
        result = torch.empty(planes.shape, dtype=planes.dtype, device=planes.device)
        for rows in bands(planes):
            parts = (a[:, :, rows] if isinstance(a, Tensor) else a for a in arguments)
            result[:, :, rows] = function(*parts)
        return result

    return banded
