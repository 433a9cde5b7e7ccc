"""Resampling an image along a field of small shifts, by Keys' cubic convolution."""

import torch
from torch import Tensor

from glint_label.distortions.bands import bands
from glint_label.distortions.filters import replicate


def warp(images: Tensor, field: Tensor) -> Tensor:
    """Take each pixel from where its shift points back to: out(y, x) = image(y - down, x - right).

    Cubic convolution with a = -1/2 over 4 x 4 pixels, edges replicated; overshoot is kept.

    Args:
        images: (B, 3, H, W).
        field: (B, 2, H, W) shifts down and right, pixels.
    """
    width = images.shape[3]
    # The original pads by the largest shift, but the rows by the columns' and vice versa.
    column_pads, row_pads = field.abs().amax((2, 3)).ceil().long().T.tolist()
    margin = max(*column_pads, *row_pads) + 2
    padded = replicate(images, margin, margin)
    for image, row_pad, column_pad in zip(padded, row_pads, column_pads, strict=True):
        _extrapolate(image, margin, row_pad, column_pad)
    stride = width + 2 * margin
    column = torch.arange(width, device=images.device)
    warped = torch.zeros_like(images)
    for band in bands(images):
        first, weights = _taps(-field[:, :, band].to(images.dtype))
        row = torch.arange(band.start, band.stop, device=images.device)[:, None]
        place = (row + first[:, 0] + margin).mul_(stride).add_(first[:, 1]).add_(column + margin).flatten(1)[:, None]
        total, flat = warped[:, :, band], padded.flatten(2)
        for i in range(4):
            for j in range(4):
                sample = flat.gather(2, (place + (i * stride + j)).expand(-1, 3, -1)).view(total.shape)
                total.addcmul_(sample, (weights[i][:, 0] * weights[j][:, 1])[:, None])
    return warped


def _extrapolate(padded: Tensor, margin: int, row_pad: int, column_pad: int) -> None:
    """Set the sample beyond the original's padding, which is extrapolated from there as 3a - 3b + c.

    That is the edge again, except that with a pad of 1 it is the edge's inner neighbour.
    """
    if row_pad == 1:
        padded[:, margin - 2], padded[:, 1 - margin] = padded[:, margin + 1], padded[:, -margin - 2]
    if column_pad == 1:
        padded[..., margin - 2], padded[..., 1 - margin] = padded[..., margin + 1], padded[..., -margin - 2]


def _taps(offset: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the first of the four samples around each offset, and their weights."""
    whole = offset.floor()
    t = offset - whole
    t2 = t * t
    t3 = t2 * t
    before = t2 - (t3 + t).mul_(0.5)
    here = (t3 * 1.5).sub_(t2, alpha=2.5).add_(1)
    beyond = (t3 - t2).mul_(0.5)
    return whole.long() - 1, [before, here, 1 - before - here - beyond, beyond]
