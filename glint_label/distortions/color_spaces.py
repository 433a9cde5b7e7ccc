"""Colour spaces, on (B, 3, H, W) tensors: CIE L*a*b* under D65, and BT.601 luma and YCbCr.

Powers are exp(log x * p): twice as fast as `pow`, whose last bit depends on where in memory a sample lies.
"""

import torch
from torch import Tensor

from glint_label.distortions.bands import by_bands

# Rows give linear X, Y, Z for linear R, G, B (sRGB primaries, D65).
_XYZ_FROM_RGB = torch.tensor(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    dtype=torch.float64,
)
# Scaled so that white, RGB (1, 1, 1), is (1, 1, 1): CIELAB divides by it anyway, and white gets a* = b* = 0.
_TO_WHITE = (_XYZ_FROM_RGB / _XYZ_FROM_RGB.sum(1, keepdim=True)).tolist()
_FROM_WHITE = torch.linalg.inv(_XYZ_FROM_RGB / _XYZ_FROM_RGB.sum(1, keepdim=True)).tolist()
_KNEE = 6 / 29
_DARK, _DARK_LINEAR = 0.04045, 0.0031308  # where the sRGB curve turns from a line into a power

_LUMA = (0.298936, 0.587043, 0.114021)

# Studio swing: Y in 16..235, Cb and Cr in 16..240, of 255.
_YCBCR_FROM_RGB = (
    torch.tensor(
        [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=torch.float64
    )
    / 255
)
_RGB_FROM_YCBCR = torch.linalg.inv(_YCBCR_FROM_RGB).tolist()
_YCBCR_OFFSET = (16 / 255, 128 / 255, 128 / 255)


def _weighted_sum(planes: Tensor, weights: tuple[float, ...] | list[float]) -> Tensor:
    """Sum (B, 3, H, W) over its channels with weights, to (B, H, W), in one fixed order on every device."""
    total = planes[:, 0] * weights[0]
    total.add_(planes[:, 1], alpha=weights[1])
    return total.add_(planes[:, 2], alpha=weights[2])


def _mix_channels(planes: Tensor, matrix: list[list[float]]) -> Tensor:
    return torch.stack([_weighted_sum(planes, row) for row in matrix], dim=1)


def linearise(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer function."""
    power = rgb.clamp(min=_DARK).add_(0.055).div_(1.055).log_().mul_(2.4).exp_()
    return _with_line(power, rgb, _DARK, 1 / 12.92, ((_DARK + 0.055) / 1.055) ** 2.4)


def delinearise(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer function; values below 0 stay, on its straight part."""
    power = linear.clamp(min=_DARK_LINEAR).log_().mul_(1 / 2.4).exp_().mul_(1.055).sub_(0.055)
    return _with_line(power, linear, _DARK_LINEAR, 12.92, 1.055 * _DARK_LINEAR ** (1 / 2.4) - 0.055)


def _with_line(power: Tensor, x: Tensor, knee: float, slope: float, at_knee: float) -> Tensor:
    """Continue a curve, constant up to its knee, by the line of a slope through 0; they miss each other by 1e-8."""
    power.add_(x.clamp(max=knee).sub_(knee), alpha=slope)
    return power.add_(x <= knee, alpha=slope * knee - at_knee)


@by_bands
def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in [0, 1] to L* in 0..100 and a*, b*."""
    white = _mix_channels(linearise(rgb), _TO_WHITE)
    # CIE's line below the knee is the cube root's tangent, so the two parts join by clamping.
    root = white.clamp(min=_KNEE**3).log_().mul_(1 / 3).exp_()
    root.add_(white.clamp_(max=_KNEE**3).sub_(_KNEE**3), alpha=1 / (3 * _KNEE**2))
    x, y, z = root.unbind(1)
    return torch.stack([y * 116 - 16, (x - y).mul_(500), (y - z).mul_(200)], dim=1)


@by_bands
def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert L*a*b* to sRGB, not clipped: colours that no display shows keep their values beyond [0, 1]."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16).div_(116)
    root = torch.stack([torch.add(y, a, alpha=1 / 500), y, torch.sub(y, b, alpha=1 / 200)], dim=1)
    above = root.clamp(min=_KNEE)
    white = (above * above).mul_(above)
    white.add_(root.clamp_(max=_KNEE).sub_(_KNEE), alpha=3 * _KNEE**2)
    return delinearise(_mix_channels(white, _FROM_WHITE))


def luma(rgb: Tensor) -> Tensor:
    """Return the BT.601 luma, (B, 1, H, W)."""
    return _weighted_sum(rgb, _LUMA)[:, None]


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Convert RGB in [0, 1] to BT.601 YCbCr in studio swing, on the scale where 255 is 1."""
    ycbcr = _mix_channels(rgb, _YCBCR_FROM_RGB.tolist())
    for plane, offset in zip(ycbcr.unbind(1), _YCBCR_OFFSET, strict=True):
        plane.add_(offset)
    return ycbcr


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """Invert `rgb_to_ycbcr`, not clipped."""
    centred = [plane - offset for plane, offset in zip(ycbcr.unbind(1), _YCBCR_OFFSET, strict=True)]
    return _mix_channels(torch.stack(centred, dim=1), _RGB_FROM_YCBCR)
