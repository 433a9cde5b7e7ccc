"""Colour without a palette: diffusion, shift and two kinds of saturation (KADID-10k types 4, 5, 7, 8)."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from glint_label.distortions.color_spaces import lab_to_rgb
from glint_label.distortions.filters import gaussian_filter
from glint_label.distortions.prepared import Prepared
from glint_label.distortions.random import Stream, uniform


def color_diffusion(images: Prepared, gain: float) -> Tensor:
    """Blur a* and b* with a Gaussian of 1.5 gain + 2 pixels and multiply them by `gain`; L* stays."""
    lightness, color = images.lab[:, :1], images.lab[:, 1:]
    spread = gaussian_filter(color, sigma=1.5 * gain + 2).mul_(gain)
    return lab_to_rgb(torch.cat([lightness, spread], dim=1)).clamp_(0, 1)


def color_shift(images: Prepared, _distance: float, shift: Tensor) -> Tensor:
    """Move the green channel, where the image has edges.

    Args:
        images: The images.
        _distance: Length of the shift, pixels (already in `shift`).
        shift: (B, 2) whole pixels down and right, not negative.
    """
    shifted = images.rgb.clone()
    for image, mask, (down, right) in zip(shifted, images.edges, shift.tolist(), strict=True):
        moved = _shift_plane(image[1], down, right)
        image[1].mul_(1 - mask[0]).add_(moved * mask[0])
    return shifted


def _shift_plane(plane: Tensor, down: int, right: int) -> Tensor:
    """Move the content of an (H, W) plane; what it leaves is filled with the edge."""
    height, width = plane.shape
    return F.pad(plane[None, None], (right, 0, down, 0), mode="replicate")[0, 0, :height, :width]


def draw_shift(seeds: Tensor, distance: float, _size: tuple[int, int]) -> dict[str, Tensor]:
    """Draw a direction, always down and right."""
    return {"shift": shift_along(uniform(seeds, Stream.DIRECTION, (2,)), distance)}


def shift_along(direction: Tensor, distance: float) -> Tensor:
    """Scale (B, 2) directions to `distance` pixels, and round each component."""
    unit = direction / direction.square().sum(1, keepdim=True).sqrt()
    return (unit * distance + 0.5).floor().long()


def color_saturation_hsv(images: Prepared, factor: float) -> Tensor:
    """Multiply the saturation of HSV by `factor`; a negative one turns each hue into its opposite.

    At fixed hue and value V, each channel's distance below V is proportional to the saturation.
    """
    return images.brightest - (images.brightest - images.rgb).mul_(factor)


def color_saturation_lab(images: Prepared, factor: float) -> Tensor:
    """Multiply a* and b* by `factor`."""
    lab = images.lab.clone()
    lab[:, 1:] *= factor
    return lab_to_rgb(lab).clamp_(0, 1)
