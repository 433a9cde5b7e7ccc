"""The 25 distortions of KADID-10k, five levels each, as its raters saw them.

`distort` gives exact 8-bit pixels, `distort_batch` the same in the tensors that a network trains on. To make
many distortions of one image, `prepare` it first.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glint_label.distortions.blur import draw_angle, gaussian_blur, lens_blur, motion_blur
from glint_label.distortions.color import (
    color_diffusion,
    color_saturation_hsv,
    color_saturation_lab,
    color_shift,
    draw_shift,
)
from glint_label.distortions.compression import jpeg, jpeg2000
from glint_label.distortions.dither import color_quantization
from glint_label.distortions.noise import (
    denoised_noise,
    impulse_noise,
    impulse_samples,
    multiplicative_noise,
    normal_samples,
    speckle_samples,
    white_noise,
    white_noise_ycbcr,
)
from glint_label.distortions.palette import Bytes
from glint_label.distortions.prepared import Prepared, to_photos
from glint_label.distortions.random import as_seeds
from glint_label.distortions.spatial import (
    color_block,
    draw_blocks,
    draw_patches,
    jitter,
    jitter_fields,
    non_eccentricity_patch,
    pixelate,
)
from glint_label.distortions.spec import Distortion
from glint_label.distortions.thresholds import quantization
from glint_label.distortions.tone import brighten, contrast_change, darken, high_sharpen, mean_shift
from glint_label.errors import InputError, UsageError

__all__ = ["DISTORTIONS", "VERSION", "Distortion", "Prepared", "distort", "distort_batch", "find", "prepare"]

VERSION = 1  # raise it with every change that gives some recipe other pixels

_TABLE = (
    Distortion(1, "gaussian_blur", gaussian_blur, (0.1, 0.5, 1, 2, 5), "sigma, px"),
    Distortion(2, "lens_blur", lens_blur, (1, 2, 4, 6, 8), "radius, px"),
    Distortion(3, "motion_blur", motion_blur, (1, 2, 4, 6, 10), "length, px", draw=draw_angle),
    Distortion(4, "color_diffusion", color_diffusion, (1, 3, 6, 8, 12), "gain of a* b*"),
    Distortion(5, "color_shift", color_shift, (1, 3, 6, 8, 12), "distance, px", draw=draw_shift),
    Distortion(6, "color_quantization", color_quantization, (64, 48, 32, 16, 8), "colours", on_host=True),
    Distortion(7, "color_saturation_hsv", color_saturation_hsv, (0.4, 0.2, 0.1, 0, -0.4), "factor"),
    Distortion(8, "color_saturation_lab", color_saturation_lab, (1, 2, 3, 6, 9), "factor"),
    Distortion(9, "jpeg2000", jpeg2000, (16, 32, 45, 120, 400), "compression ratio", on_host=True),
    Distortion(10, "jpeg", jpeg, (43, 36, 24, 7, 4), "quality", on_host=True),
    Distortion(11, "white_noise", white_noise, (0.001, 0.002, 0.003, 0.005, 0.01), "variance", noise=normal_samples),
    Distortion(
        12,
        "white_noise_ycbcr",
        white_noise_ycbcr,
        (0.0001, 0.0005, 0.001, 0.002, 0.003),
        "variance",
        noise=normal_samples,
    ),
    Distortion(
        13,
        "impulse_noise",
        impulse_noise,
        (0.001, 0.005, 0.01, 0.02, 0.03),
        "share of samples",
        noise=impulse_samples,
    ),
    Distortion(
        14,
        "multiplicative_noise",
        multiplicative_noise,
        (0.001, 0.005, 0.01, 0.02, 0.05),
        "variance",
        noise=speckle_samples,
    ),
    Distortion(15, "denoise", denoised_noise, (0.01, 0.03, 0.05, 0.1, 0.15), "variance", noise=normal_samples),
    Distortion(16, "brighten", brighten, (0.1, 0.2, 0.4, 0.7, 1.1), "lift of middle grey"),
    Distortion(17, "darken", darken, (0.05, 0.1, 0.2, 0.4, 0.8), "drop of middle grey"),
    Distortion(18, "mean_shift", mean_shift, (0.15, 0.08, 0, -0.08, -0.15), "added", ordered=False),
    Distortion(19, "jitter", jitter, (0.05, 0.1, 0.2, 0.5, 1), "deviation, px", noise=jitter_fields),
    Distortion(
        20,
        "non_eccentricity_patch",
        non_eccentricity_patch,
        (20, 40, 60, 80, 100),
        "patches",
        draw=draw_patches,
    ),
    Distortion(21, "pixelate", pixelate, (0.01, 0.05, 0.1, 0.2, 0.5), "strength"),
    Distortion(22, "quantization", quantization, (20, 16, 13, 10, 7), "thresholds", on_host=True),
    Distortion(23, "color_block", color_block, (2, 4, 6, 8, 10), "blocks", draw=draw_blocks),
    Distortion(24, "high_sharpen", high_sharpen, (1, 2, 3, 6, 12), "gain of detail"),
    Distortion(25, "contrast_change", contrast_change, (0.3, 0.15, 0, -0.4, -0.6), "contrast", ordered=False),
)
DISTORTIONS = {d.name: d for d in _TABLE}
_BY_NUMBER = {d.number: d for d in _TABLE}
_SMALLEST = 48  # pixels: a misplaced patch needs 16 on each side of it


def find(distortion: str | int | Distortion) -> Distortion:
    """Return a distortion by its name or number."""
    if isinstance(distortion, Distortion):
        return distortion
    found = None
    if isinstance(distortion, str):
        found = DISTORTIONS.get(distortion)
    elif isinstance(distortion, Integral):
        found = _BY_NUMBER.get(int(distortion))
    if found is None:
        raise UsageError(f"no distortion {distortion!r}; there are 1 to {len(_TABLE)}: {', '.join(DISTORTIONS)}")
    return found


@torch.no_grad()
def distort(image: Bytes | Prepared, distortion: str | int | Distortion, level: int, seed: int = 0) -> Bytes:
    """Distort one image exactly.

    Args:
        image: (H, W, 3) uint8 RGB, at least 48 pixels a side; or what `prepare` made of it.
        distortion: Name, KADID-10k's number, or row of the table.
        level: 1..5, the index of a setting.
        seed: Of the random numbers: 0 .. 2^63 - 1.

    Returns:
        (H, W, 3) uint8, computed in float64. A constant image stays constant or takes what is drawn on it.
    """
    prepared = image if isinstance(image, Prepared) else prepare(image)
    if len(prepared.rgb) != 1:
        raise InputError(f"distort makes one image; {len(prepared.rgb)} were prepared together")
    distorted = find(distortion).apply(prepared, level, as_seeds([seed]))
    photo: Bytes = to_photos(distorted)[0]
    return photo


def prepare(image: Bytes) -> Prepared:
    """Check an image and do once what its distortions share: for `distort`, when it makes many of one image.

    Args:
        image: (H, W, 3) uint8 RGB, at least 48 pixels a side.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an image to distort is a (height, width, 3) uint8 array, not {what}")
    _check_size(image.shape[0], image.shape[1])
    return Prepared(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))


@torch.no_grad()
def distort_batch(
    images: Tensor,
    distortion: str | int | Distortion | Sequence[str | int | Distortion],
    levels: int | Sequence[int],
    seeds: int | Sequence[int] = 0,
) -> Tensor:
    """Distort a batch, each image in its own way; its pixels do not depend on the rest of the batch.

    Args:
        images: (B, 3, H, W) RGB in [0, 1], float32 or float64, at least 48 pixels a side, CPU or CUDA.
        distortion: Name, number or row of the table: one for all, or one per image.
        levels: 1..5: one for all, or one per image.
        seeds: Of the random numbers, 0 .. 2^63 - 1: one for all, or one per image.

    Returns:
        The same shape, dtype and device; round(255 x) are the 8-bit pixels.
    """
    _check_batch(images)
    count = len(images)
    distortions = [find(d) for d in _one_each(distortion, count, "distortions")]
    all_levels = _one_each(levels, count, "levels")
    all_seeds = as_seeds(_one_each(seeds, count, "seeds"))
    groups: dict[tuple[Distortion, int], list[int]] = {}
    for index, (row, level) in enumerate(zip(distortions, all_levels, strict=True)):
        row.amount(level)  # all that can be wrong is found before any work is done
        groups.setdefault((row, level), []).append(index)
    with torch.autocast(images.device.type, enabled=False):
        if count == 1:
            return distortions[0].apply(Prepared(images), all_levels[0], all_seeds)
        distorted = torch.empty_like(images, memory_format=torch.contiguous_format)
        for (row, level), members in groups.items():
            # On the CPU an image alone stays in the cache, and has the same memory layout in any batch.
            parts: list[Any] = [members] if images.is_cuda else [slice(index, index + 1) for index in members]
            for part in parts:
                distorted[part] = row.apply(Prepared(images[part]), level, all_seeds[part])
    return distorted


def _check_size(height: int, width: int) -> None:
    if min(height, width) < _SMALLEST:
        raise InputError(f"an image to distort has at least {_SMALLEST} pixels a side, not {width} x {height}")


def _check_batch(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dtype not in {torch.float32, torch.float64}:
        what = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"a batch to distort is a float32 or float64 tensor, not {what}")
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise InputError(f"a batch to distort has the shape (B, 3, H, W), not {tuple(images.shape)}")
    _check_size(images.shape[2], images.shape[3])
    low, high = float(images.amin()), float(images.amax())
    if not (low >= 0 and high <= 1):
        raise InputError(f"a batch to distort lies in [0, 1], not {low:g} .. {high:g}")


def _one_each(given: object, count: int, what: str) -> list[Any]:
    """Repeat a single value for every image, or check that there is one for each."""
    if isinstance(given, str | Integral | Distortion):
        return [given] * count
    values = given.tolist() if isinstance(given, Tensor | np.ndarray) else list(given)  # type: ignore[call-overload]
    if len(values) != count:
        raise UsageError(f"{len(values)} {what} for {count} images")
    return values
