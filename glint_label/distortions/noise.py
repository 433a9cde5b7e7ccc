"""Noise: white in RGB and in YCbCr, impulses, multiplicative, and denoised (KADID-10k types 11 to 15).

Each function takes its random numbers ready-made, so that recorded ones can be replayed.
"""

import math

import torch
from torch import Tensor

from glint_label.distortions.bands import by_bands
from glint_label.distortions.color_spaces import rgb_to_ycbcr, ycbcr_to_rgb
from glint_label.distortions.denoise import denoise_planes
from glint_label.distortions.prepared import Prepared
from glint_label.distortions.random import Stream, normal, uniform


def white_noise(images: Prepared, variance: float, noise: Tensor) -> Tensor:
    """Add noise of `variance` to every sample; `noise` is (B, 3, H, W) standard normal."""
    return _add_noise(images.rgb, noise, math.sqrt(variance))


@by_bands
def _add_noise(rgb: Tensor, noise: Tensor, deviation: float) -> Tensor:
    return torch.add(rgb, noise.to(rgb.dtype), alpha=deviation).clamp_(0, 1)


def white_noise_ycbcr(images: Prepared, variance: float, noise: Tensor) -> Tensor:
    """Add noise of `variance` to Y, Cb and Cr in studio swing; `noise` is (B, 3, H, W) standard normal."""
    return _add_noise_ycbcr(images.rgb, noise, math.sqrt(variance))


@by_bands
def _add_noise_ycbcr(rgb: Tensor, noise: Tensor, deviation: float) -> Tensor:
    noisy = rgb_to_ycbcr(rgb).add_(noise.to(rgb.dtype), alpha=deviation).clamp_(0, 1)
    return ycbcr_to_rgb(noisy).clamp_(0, 1)


def impulse_noise(images: Prepared, density: float, noise: Tensor) -> Tensor:
    """Turn a share `density` of the samples to 0 or 1; `noise` is (B, 3, H, W) uniform on (0, 1)."""
    struck = torch.nonzero(noise.flatten() < density)[:, 0]
    salted = images.rgb.clone()
    salted.view(-1)[struck] = (noise.flatten()[struck] >= density / 2).to(salted.dtype)
    return salted


def multiplicative_noise(images: Prepared, variance: float, noise: Tensor) -> Tensor:
    """Multiply by 1 + n, n uniform with mean 0 and `variance`; `noise` is (B, 3, H, W) uniform on (0, 1)."""
    return _multiply(images.rgb, noise, math.sqrt(12 * variance))


@by_bands
def _multiply(rgb: Tensor, noise: Tensor, width: float) -> Tensor:
    return (noise - 0.5).mul_(width).to(rgb.dtype).mul_(rgb).add_(rgb).clamp_(0, 1)


def denoised_noise(images: Prepared, variance: float, noise: Tensor) -> Tensor:
    """Add noise of `variance`, then remove it from each channel with a network: float32, one image a time."""
    noisy = white_noise(images, variance, noise).float()
    return torch.stack([denoise_planes(image[:, None])[:, 0] for image in noisy]).to(images.rgb.dtype)


def normal_samples(seeds: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Draw a normal number for every sample."""
    return normal(seeds, Stream.NOISE, (3, *size), dtype)


def impulse_samples(seeds: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Draw a uniform number for every sample."""
    return uniform(seeds, Stream.IMPULSE, (3, *size), dtype)


def speckle_samples(seeds: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Draw a uniform number for every sample."""
    return uniform(seeds, Stream.SPECKLE, (3, *size), dtype)
