"""The stretch around every distortion, and what the distortions of one image share."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from glint_label.distortions.bands import bands
from glint_label.distortions.color_spaces import luma, rgb_to_lab
from glint_label.distortions.edges import edge_mask
from glint_label.distortions.filters import Spectrum, gaussian_filter, transform
from glint_label.distortions.palette import Bytes, Integers, color_cube


def stretch(images: Tensor, white: float = 1) -> Tensor:
    """Map each image's own range to [0, 1], over its three channels together.

    This is how the raters' images were made, before and after every distortion: a blur gets its contrast
    back, an overshoot costs contrast, an added offset is undone.

    Args:
        images: (B, 3, H, W), any range.
        white: What is 1 in an image that is constant and has no range.

    Returns:
        A new tensor, or on the CPU the given one where it already spans [0, 1].
    """
    low, span = _ranges(images, white)
    if not images.is_cuda and bool((low == 0).all() and (span == 1).all()):
        return images
    return (images - low).div_(span)


def stretch_(images: Tensor) -> Tensor:
    """Stretch images to the range 0..1, in place; see `stretch`."""
    low, span = _ranges(images, white=1)
    return images.sub_(low).div_(span)


def _ranges(images: Tensor, white: float) -> tuple[Tensor, Tensor]:
    """Return what to subtract from each image and what to divide it by, (B, 1, 1, 1)."""
    low, high = images.flatten(1).amin(1), images.flatten(1).amax(1)
    # A blurred constant image has the range of its rounding errors, which is none.
    constant = high - low <= 64 * torch.finfo(images.dtype).eps * white
    low, span = torch.where(constant, 0, low), torch.where(constant, white, high - low)
    return low.view(-1, 1, 1, 1), span.view(-1, 1, 1, 1)


def to_bytes(images: Tensor) -> Tensor:
    """Round [0, 1] to the 8-bit scale, halves away from zero, saturating: uint8, same shape."""
    rounded = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    for rows in bands(images):
        rounded[..., rows, :] = (images[..., rows, :] * 255).add_(0.5).clamp_(0, 255)
    return rounded


def to_photos(images: Tensor) -> Bytes:
    """Round (B, 3, H, W) images to 8 bits and bring them to the host, (B, H, W, 3)."""
    photos: Bytes = torch.stack(to_bytes(images).unbind(1), dim=-1).cpu().numpy()
    return photos


class Prepared:
    """Images ready to be distorted: stretched, with the forms that several distortions need made only once.

    Every form is computed when it is first asked for and kept. Making all distortions of one image from one
    `Prepared` gives the same bits as making each from the image.

    Args:
        images: (B, 3, H, W) uint8, or float32 or float64 in [0, 1]. uint8 is computed in float64.
    """

    def __init__(self, images: Tensor) -> None:
        images = images.contiguous()
        self.rgb = stretch(images) if images.is_floating_point() else stretch(images.double(), white=255)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rgb.shape[2], self.rgb.shape[3]

    @cached_property
    def lab(self) -> Tensor:
        """CIE L*a*b*, (B, 3, H, W)."""
        return rgb_to_lab(self.rgb)

    @cached_property
    def detail(self) -> Tensor:
        """What a Gaussian of 3 pixels, 13 wide, takes away from L*, (B, 1, H, W)."""
        lightness = self.lab[:, :1]
        return lightness - gaussian_filter(lightness, sigma=3, radius=6)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The transform that a lens blur of up to 8 pixels starts from."""
        return transform(self.rgb, margin=8)

    @cached_property
    def edges(self) -> Tensor:
        """How much of an edge each pixel is, (B, 1, H, W) in [0, 1]."""
        return edge_mask(luma(self.rgb))

    @cached_property
    def brightest(self) -> Tensor:
        """The largest of R, G and B, (B, 1, H, W): the V of HSV."""
        return self.rgb.amax(1, keepdim=True)

    @cached_property
    def bytes(self) -> Bytes:
        """The 8-bit images on the host, (B, H, W, 3)."""
        return to_photos(self.rgb)

    @cached_property
    def histograms(self) -> Tensor:
        """How often each 8-bit level occurs in all channels together, (B, 256), on the host."""
        return torch.stack([torch.bincount(torch.from_numpy(image).flatten(), minlength=256) for image in self.bytes])

    @cached_property
    def cells(self) -> Tensor:
        """Each sample in 255ths, rounded up: (B, 3, H, W) int64."""
        return (self.rgb * 255).ceil_().long()

    @cached_property
    def color_cubes(self) -> list[Integers]:
        """The colour histograms that palettes are made from, one per image."""
        return [color_cube(image) for image in self.bytes]

    def from_bytes(self, arrays: Sequence[Bytes]) -> Tensor:
        """Bring (H, W, 3) arrays, one per image, back as a (B, 3, H, W) tensor in [0, 1] like `rgb`."""
        images = torch.empty_like(self.rgb)
        for image, array in zip(images, arrays, strict=True):
            image.copy_(torch.from_numpy(array).permute(2, 0, 1))
        return images.div_(255)
