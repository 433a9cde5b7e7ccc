"""Tone: brighten, darken, mean shift, sharper lightness and contrast (KADID-10k types 16 to 18, 24, 25)."""

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from torch import Tensor

from glint_label.distortions.bands import by_bands
from glint_label.distortions.color_spaces import lab_to_rgb
from glint_label.distortions.prepared import Prepared


def brighten(images: Prepared, amount: float) -> Tensor:
    """Raise the middle of the tone curve to 0.5 + amount / 2: two parts in RGB, one part in L*."""
    middle = 0.5 + amount / 2
    lab = images.lab.clone()
    lab[:, :1] = _parabola(lab[:, :1] / 100, middle) * 100
    return lab_to_rgb(lab).clamp_(0, 1).add_(_parabola(images.rgb, middle), alpha=2).div_(3)


def darken(images: Prepared, amount: float) -> Tensor:
    """Lower the middle of the tone curve to 0.5 - amount / 2, in RGB."""
    return _parabola(images.rgb, 0.5 - amount / 2)


@by_bands
def _parabola(x: Tensor, middle: float) -> Tensor:
    """Tone curve through (0, 0), (0.5, middle) and (1, 1), clipped."""
    return (x * (2 - 4 * middle)).add_(4 * middle - 1).mul_(x).clamp_(0, 1)


def mean_shift(images: Prepared, offset: float) -> Tensor:
    """Add `offset` and clip. The stretch undoes the offset; a gain and clipped lights or shadows remain."""
    return (images.rgb + offset).clamp_(0, 1)


def contrast_change(images: Prepared, amount: float) -> Tensor:
    """Bend the tone curve into an S (amount > 0) or the reverse, by a cubic spline through five points."""
    return _s_curve(images.rgb, 0.25 - amount / 4, 0.75 + amount / 4)


@by_bands
def _s_curve(x: Tensor, low: float, high: float) -> Tensor:
    """Tone curve through (0, 0), (0.3, low), (0.5, 0.5), (0.7, high) and (1, 1), clipped."""
    *cubic, bend = _s_curve_terms(low, high)
    y = x * cubic[0]
    for coefficient in cubic[1:]:
        y = y.add_(coefficient).mul_(x)
    above = (x - 0.5).clamp_(min=0)
    return y.add_((above * above).mul_(above), alpha=bend).clamp_(0, 1)


@lru_cache
def _s_curve_terms(low: float, high: float) -> tuple[float, float, float, float]:
    """Return the spline as a x^3 + b x^2 + c x + d max(x - 0.5, 0)^3.

    Its ends are "not-a-knot": the third derivative is continuous at 0.3 and 0.7, so the only joint is at 0.5.
    """
    pieces = CubicSpline([0, 0.3, 0.5, 0.7, 1], [0, low, 0.5, high, 1], bc_type="not-a-knot").c
    cubic, square, line, _ = np.asarray(pieces)[:, 0].tolist()
    return cubic, square, line, float(pieces[0, -1]) - cubic


def high_sharpen(images: Prepared, amount: float) -> Tensor:
    """Add `amount` times what a Gaussian of 3 pixels, 13 wide, takes away from L*."""
    lab = images.lab.clone()
    lab[:, :1].add_(images.detail, alpha=amount)
    return lab_to_rgb(lab).clamp_(0, 1)
