"""Full-reference features: how much of a distortion shows on this very photo, compared with its distorted version.

Content says which anchors a photo resembles; these features say what the distortion did to it. Half of them are what a
network notices (deep.py); the others follow published full-reference measures: SSIM and its two parts (Wang et al.,
IEEE TIP 2004), GMSD (Xue et al., IEEE TIP 2014), VIF (Sheikh and Bovik, IEEE TIP 2006), error against local contrast
for masking, and differences of CIE L*a*b*. All are measured at half size: the full one adds nothing but time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glint_label.distortions import Prepared, find
from glint_label.distortions.color_spaces import rgb_to_lab
from glint_label.distortions.filters import gaussian_filter
from glint_label.distortions.prepared import to_bytes
from glint_label.distortions.random import as_seeds
from glint_label.efficientnet import one_thread
from glint_label.images import SEEN, middle_of
from glint_label.sources import Condition
from glint_label.visibility.deep import DEEP_FEATURES, DeepView, compare_deep, log_of
from glint_label.visibility.levels import find_between

VERSION = 3  # raise it with every change that gives some photo other features
SLOW = frozenset(
    {"denoise"}
)  # one takes a third of a second: a photo would take twice as long for 4 % of its conditions

_SCALES = (2, 4)  # parts of the photo's size
_PER_SCALE = (
    "luminance",
    "structure",
    "ssim",
    "ssim_worst_tenth",
    "vif",
    "gradient_similarity",
    "gradient_deviation",
    "gradient_ratio",
    "gradient_lost",
    "gradient_gained",
    "error",
    "masked_error",
    "masked_error_worst_tenth",
    "error_on_flat",
)
_WHOLE = (
    "color_difference",
    "chroma_difference",
    "color_noise",
    "chroma_ratio",
    "shift_a",
    "shift_b",
    "chroma",
    "chroma_similarity",
    "shift_lightness",
    "contrast_ratio",
    "contrast",
    "lightness",
    "near_white_gained",
    "near_black_gained",
    "near_white",
    "near_black",
    "unchanged",
    "much_changed",
)
FEATURES = (*DEEP_FEATURES, *(f"{name}_{scale}" for scale in _SCALES for name in _PER_SCALE), *_WHOLE)

Plane = NDArray[np.float32]


def measure_features(
    pixels: NDArray[np.uint8], conditions: Sequence[Condition], seeds: Sequence[int], *, every_level: bool = False
) -> NDArray[np.float16]:
    """Distort the middle of a photo in many ways and measure what changed.

    Args:
        pixels: (H, W, 3) uint8 RGB. Of a photo larger than SEEN (turned, for an upright one) the middle is taken.
        conditions: (distortion, level) pairs that can be made here.
        seeds: Of the recipe, one a condition.
        every_level: Also those that `draw_between` gives.

    Returns:
        (conditions, features) in the order of FEATURES; NaN in rows that are not measured, and of distortions in SLOW.
    """
    window = torch.from_numpy(middle_of(pixels, SEEN).transpose(2, 0, 1)[None].copy())
    features = np.full((len(conditions), len(FEATURES)), np.nan, dtype=np.float16)
    between = {} if every_level else find_between(conditions)
    with torch.inference_mode(), one_thread():
        # In float32 a pixel may lie one grey level off the exact one; it takes half the time.
        prepared = Prepared(window.float() / 255)
        reference = _Views(window.float())
        for place, ((name, level), seed) in enumerate(zip(conditions, seeds, strict=True)):
            if name not in SLOW and place not in between:
                distorted = find(name).apply(prepared, level, as_seeds([seed]))
                features[place] = compare(reference, _Views(to_bytes(distorted).float()))
    return features


@dataclass
class _Scale:
    """Luma (0..100) at one scale, and its moments in a Gaussian window of 1.5 pixels."""

    luma: Plane

    @cached_property
    def mean(self) -> Plane:
        return _blur(self.luma)

    @cached_property
    def variance(self) -> Plane:
        return np.maximum(_blur(self.luma * self.luma) - self.mean * self.mean, 0)

    @cached_property
    def information(self) -> float:
        return float(np.log(1 + self.variance / 0.5).sum())

    @cached_property
    def masking(self) -> Plane:
        masking: Plane = np.reciprocal(np.sqrt(self.variance) + 1, dtype=np.float32)
        return masking

    @cached_property
    def flatness(self) -> Plane:
        flatness: Plane = np.reciprocal(self.variance + 1, dtype=np.float32)
        flatness /= flatness.sum()
        return flatness

    @cached_property
    def gradient(self) -> Plane:
        across, down = np.zeros_like(self.luma), np.zeros_like(self.luma)
        across[:, 1:-1] = (self.luma[:, 2:] - self.luma[:, :-2]) / 2
        down[1:-1] = (self.luma[2:] - self.luma[:-2]) / 2
        return np.sqrt(across * across + down * down)


class _Views:
    """An image at half its size: as the network sees it, as luma at two scales, and as CIE L*a*b*.

    Args:
        rgb: (1, 3, H, W) float32, 0..255, whole numbers.
    """

    def __init__(self, rgb: Tensor) -> None:
        half = _halve(rgb)
        self.deep = DeepView(half)
        red, green, blue = half[0].numpy()
        luma = (np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue) * np.float32(100 / 255)
        self.scales = [_Scale(luma), _Scale(_halve(torch.from_numpy(luma)).numpy())]
        self.lab: Plane = rgb_to_lab(half / 255)[0].numpy()
        self.chroma: Plane = np.sqrt(self.lab[1] ** 2 + self.lab[2] ** 2)


def compare(reference: _Views, distorted: _Views) -> NDArray[np.float64]:
    """Compare two views of the same size; one number a feature."""
    numbers = compare_deep(reference.deep, distorted.deep)
    for before, after in zip(reference.scales, distorted.scales, strict=True):
        numbers += _compare_scale(before, after)
    return np.array(numbers + _compare_colors(reference, distorted), dtype=np.float64)


def _compare_scale(before: _Scale, after: _Scale) -> list[float]:
    covariance = _blur(before.luma * after.luma) - before.mean * after.mean
    luminance = (2 * before.mean * after.mean + 1) / (before.mean**2 + after.mean**2 + 1)
    structure = (2 * covariance + 9) / (before.variance + after.variance + 9)
    ssim = luminance * structure
    gain = np.clip(covariance / (before.variance + _TINY), 0, 10)
    noise = np.maximum(after.variance - gain * covariance, _TINY)
    information = np.log(1 + gain * gain * before.variance / (noise + 0.5)).sum()
    gradients = (2 * before.gradient * after.gradient + 2) / (before.gradient**2 + after.gradient**2 + 2)
    change = after.gradient - before.gradient
    strength = float(before.gradient.mean()) + 0.05
    error = after.luma - before.luma
    local_error = np.sqrt(np.maximum(before.variance + after.variance - 2 * covariance, 0))
    masked = local_error * before.masking
    return [
        log_of(1 - luminance.mean()),
        log_of(1 - structure.mean()),
        log_of(1 - ssim.mean()),
        float(1 - np.percentile(ssim[::2, ::2], 10)),
        float(information / (before.information + _TINY)),
        log_of(1 - gradients.mean()),
        float(gradients.std()),
        float(np.log((after.gradient.mean() + 0.05) / strength)),
        float(np.minimum(change, 0).mean() / strength),
        float(np.log((np.maximum(change, 0).mean() + 0.01) / strength)),
        log_of((error * error).mean()),
        log_of(masked.mean()),
        log_of(np.percentile(masked[::2, ::2], 90)),
        log_of((local_error * before.flatness).sum()),
    ]


def _compare_colors(reference: _Views, distorted: _Views) -> list[float]:
    before, after = reference.lab, distorted.lab
    lightness, shift_a, shift_b = after - before
    chroma_error = shift_a * shift_a + shift_b * shift_b
    similarity = (2 * reference.chroma * distorted.chroma + 20) / (reference.chroma**2 + distorted.chroma**2 + 20)
    white, black = after[0] > 96, after[0] < 4
    return [
        log_of(np.sqrt(lightness * lightness + chroma_error).mean()),
        log_of(np.sqrt(chroma_error).mean()),
        log_of(shift_a.var() + shift_b.var()),
        float(np.log((distorted.chroma.mean() + 0.5) / (reference.chroma.mean() + 0.5))),
        float(shift_a.mean()),
        float(shift_b.mean()),
        float(distorted.chroma.mean()),
        log_of(1 - similarity.mean()),
        float(lightness.mean()),
        float(np.log((after[0].std() + 1) / (before[0].std() + 1))),
        float(after[0].std()),
        float(after[0].mean()),
        float(white.mean() - (before[0] > 96).mean()),
        float(black.mean() - (before[0] < 4).mean()),
        float(white.mean()),
        float(black.mean()),
        float((np.abs(lightness) < 0.5).mean()),
        float((np.abs(lightness) > 10).mean()),
    ]


_TINY = 1e-3  # far below one grey level squared


def _blur(plane: Plane) -> Plane:
    return gaussian_filter(torch.from_numpy(plane)[None, None], 1.5, radius=4)[0, 0].numpy()


def _halve(planes: Tensor) -> Tensor:
    """Average 2 x 2 pixels; an odd last row or column is left out."""
    height, width = (side - side % 2 for side in planes.shape[-2:])
    rows = planes[..., 0:height:2, :width] + planes[..., 1:height:2, :width]
    return (rows[..., ::2] + rows[..., 1::2]) * 0.25
