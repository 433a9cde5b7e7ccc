"""Blurs: Gaussian, lens and motion (KADID-10k types 1 to 3)."""

import torch
from torch import Tensor

from glint_label.distortions.filters import (
    disk_kernel,
    filter_fourier,
    filter_sparse,
    gaussian_filter,
    motion_kernel,
)
from glint_label.distortions.prepared import Prepared
from glint_label.distortions.random import Stream, uniform


def gaussian_blur(images: Prepared, sigma: float) -> Tensor:
    """Blur each channel with a Gaussian of `sigma` pixels that reaches ceil(2 sigma) to each side."""
    return gaussian_filter(images.rgb, sigma)


def lens_blur(images: Prepared, radius: float) -> Tensor:
    """Average each channel over a disk of `radius` pixels; a pixel counts by the share that is covered."""
    return filter_fourier(images.spectrum, disk_kernel(int(radius)))


def motion_blur(images: Prepared, length: float, angle: Tensor) -> Tensor:
    """Blur along a line.

    Args:
        images: The images.
        length: Of the line, pixels; 1 is the identity.
        angle: (B,) whole degrees counter-clockwise, 0..180.
    """
    blurred = [
        filter_sparse(rgb[None], motion_kernel(int(length), degrees))
        for rgb, degrees in zip(images.rgb, angle.tolist(), strict=True)
    ]
    return torch.cat(blurred)


def draw_angle(seeds: Tensor, _length: float, _size: tuple[int, int]) -> dict[str, Tensor]:
    """Draw one of the 181 whole degrees from 0 to 180, all equally likely."""
    return {"angle": (uniform(seeds, Stream.ANGLE, ()) * 181).long()}
