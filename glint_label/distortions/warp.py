"""Resampling an image along a field of small shifts, by Keys' cubic convolution."""

import torch
from torch import Tensor

from glint_label.distortions.bands import bands


def warp(images: Tensor, field: Tensor) -> Tensor:
    """Take each pixel from where its shift points back to: out(y, x) = image(y - down, x - right).

    Cubic convolution with a = -1/2 over 4 x 4 pixels, edges replicated; overshoot is kept.

    Args:
        images: (B, 3, H, W).
        field: (B, 2, H, W) shifts down and right, pixels, float64.
    """
    height, width = images.shape[2:]
    # The original pads by the largest shift, but the rows by the columns' and vice versa.
    column_pads, row_pads = field.abs().amax((2, 3)).ceil().long().T.tolist()
    margin = max(*column_pads, *row_pads) + 2
    rows = torch.tensor([_sources(height, margin, pad) for pad in row_pads], device=images.device)
    columns = torch.tensor([_sources(width, margin, pad) for pad in column_pads], device=images.device)
    padded = torch.stack(
        [
            image.index_select(1, row).index_select(2, column)
            for image, row, column in zip(images, rows, columns, strict=True)
        ]
    )
    stride = width + 2 * margin
    flat = padded.flatten(2)
    warped = torch.zeros_like(images)
    for band in bands(images):
        y = torch.arange(band.start, band.stop, device=field.device)[:, None] - field[:, 0, band]
        x = torch.arange(width, device=field.device) - field[:, 1, band]
        top, row_weights = _taps(y, margin, height, images.dtype)
        left, column_weights = _taps(x, margin, width, images.dtype)
        first = (top * stride + left).flatten(1)[:, None]
        total = warped[:, :, band]
        for i, row_weight in enumerate(row_weights):
            for j, column_weight in enumerate(column_weights):
                place = (first + (i * stride + j)).expand(-1, 3, -1)
                sample = flat.gather(2, place).view(total.shape)
                total.add_(sample.mul_((row_weight * column_weight)[:, None]))
    return warped


def _taps(position: Tensor, margin: int, length: int, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """Return the index of the first of the four samples around each position, and the four weights."""
    whole = position.floor()
    t = (position - whole).to(dtype)
    t2 = t * t
    t3 = t2 * t
    before = t2 - (t3 + t).mul_(0.5)
    here = (t3 * 1.5).sub_(t2, alpha=2.5).add_(1)
    beyond = (t3 - t2).mul_(0.5)
    after = 1 - before - here - beyond
    index = whole.long().add_(margin - 1).clamp_(0, length + 2 * margin - 4)
    return index, [before, here, after, beyond]


def _sources(length: int, margin: int, pad: int) -> list[int]:
    """Return which sample stands at -margin .. length + margin - 1 with `pad` copies of each edge."""
    indices = [min(max(i, 0), length - 1) for i in range(-margin, length + margin)]
    # The sample beyond the padding is extrapolated as 3a - 3b + c: the edge again, or at pad 1 its neighbour.
    if pad == 1:
        indices[margin - 2], indices[margin + length + 1] = 1, length - 2
    return indices
