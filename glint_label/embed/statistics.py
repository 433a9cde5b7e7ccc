"""Content statistics: 41 numbers that say how much texture, edge, colour and flat area a photo has. No weights.

How visible a distortion is depends on these more than on what the photo shows, so they find better neighbours among
rated anchors than a network trained to name objects does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab

from glint_label.embed.embedder import stack_rows, unit_rows

# Scales in pixels; each band is the difference of two successive blurs.
SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
BLOCK = 16  # side of the windows of local contrast, pixels
MAX_SIDE = 1024  # a larger photo is first reduced by a whole factor: the numbers are about content, not sensor size
_TINY = 1e-6  # keeps the logarithm of an empty band finite; a thousandth of a grey level


class StatisticsPreparation:
    """Turn pixels into the 41 numbers; runs in the worker that decoded them."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Measure one photo.

        Args:
            pixels: (H, W, 3) uint8 RGB.

        Returns:
            (41,) float32: 10 of colour, 18 of bands, 5 of edges, 6 of local contrast, 2 of near-white and near-black.
        """
        rgb = _reduce(pixels)
        lab = rgb2lab(rgb)
        brightest = rgb.max(axis=2)
        saturation = (brightest - rgb.min(axis=2)) / np.maximum(brightest, _TINY)  # HSV's
        chroma = np.hypot(lab[..., 1], lab[..., 2])
        luma = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        planes = (luma, lab[..., 1], lab[..., 2], saturation, chroma)
        numbers = [
            *(value for plane in planes for value in (plane.mean(), plane.std())),
            *_bands(luma),
            *_edges(luma),
            *_local_contrast(luma),
            (luma > 0.95).mean(),
            (luma < 0.05).mean(),
        ]
        return np.array(numbers, dtype=np.float32)


def _reduce(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    factor = -(-max(pixels.shape[:2]) // MAX_SIDE)
    rgb: NDArray[np.float32] = np.divide(pixels, 255, dtype=np.float32)
    if factor == 1:
        return rgb
    height, width = (side - side % factor for side in rgb.shape[:2])
    blocks = rgb[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    reduced: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return reduced


def _bands(luma: NDArray[np.float32]) -> list[float]:
    """Log deviation, log mean and log median magnitude of six band-pass images: 18 numbers."""
    numbers = []
    finer = luma
    for sigma in SIGMAS:
        coarser = ndimage.gaussian_filter(luma, sigma, truncate=3, mode="nearest")
        band = np.abs(finer - coarser)
        deviation = np.sqrt(np.mean(band**2))
        numbers += [np.log(value + _TINY) for value in (deviation, band.mean(), np.median(band))]
        finer = coarser
    return numbers


def _edges(luma: NDArray[np.float32]) -> list[float]:
    """Log mean, log deviation and three log percentiles of the Sobel magnitude: 5 numbers."""
    magnitude = np.hypot(ndimage.sobel(luma, 0, mode="nearest"), ndimage.sobel(luma, 1, mode="nearest"))
    values = (magnitude.mean(), magnitude.std(), *np.percentile(magnitude, (50, 90, 99)))
    return [float(np.log(value + _TINY)) for value in values]


def _local_contrast(luma: NDArray[np.float32]) -> list[float]:
    """Five log percentiles of the deviation in small windows, and the share of flat windows: 6 numbers."""
    mean = ndimage.uniform_filter(luma, BLOCK, mode="nearest")
    mean_square = ndimage.uniform_filter(luma**2, BLOCK, mode="nearest")
    deviation = np.sqrt(np.maximum(mean_square - mean**2, 0))
    percentiles = np.log(np.percentile(deviation, (10, 25, 50, 75, 90)) + _TINY)
    return [*percentiles.tolist(), float((deviation < 0.02).mean())]


class StatisticsEmbedder:
    """The 41 content statistics, compared after standardising each on the anchors."""

    name = "statistics"
    dimensions = 41
    # Measured on 184 photos: copies saved as JPEG of quality 90, mirrored, cropped by 10 px or scaled by 0.9 lie
    # above it, the closest different photos at 0.972. A third of the copies scaled by 0.75 escape; the perceptual hash
    # finds them.
    near_duplicate = 0.98
    runs_network = False

    def __init__(self) -> None:
        self.preparation = StatisticsPreparation()

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:  # noqa: ARG002 (made already)
        """Stack what the workers measured; a missing input gives a row of zeros."""
        return stack_rows(inputs, self.dimensions)

    def normalise(self, vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise each number on the anchors, then scale to unit length.

        A last number holds how far a photo lies beyond the farthest anchor, 0 for most: its direction alone would
        make a blank picture resemble anchors of little texture, and it resembles none.
        """
        deviation = anchors.std(axis=0)
        deviation[deviation == 0] = 1
        standard, reached = ((rows - anchors.mean(axis=0)) / deviation for rows in (vectors, anchors))
        reach = (reached**2).sum(axis=1).max(initial=0)
        beyond = np.sqrt(np.maximum((standard**2).sum(axis=1, keepdims=True) - reach, 0))
        return unit_rows(np.concatenate([standard, beyond], axis=1))

    def describe(self) -> dict[str, Any]:
        """Say what was computed, for run.json."""
        return {"embedder": self.name, "dimensions": self.dimensions, "max_side": MAX_SIDE, "sigmas": SIGMAS}
