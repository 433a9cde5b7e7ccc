"""What a network is held against: numbers that can be taken of any image without training.

All of them are cheap enough to be taken of every image while it is decoded anyway, and exact: they are sums of whole
numbers, so that they are the same on every machine with the same JPEG encoder.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from glint_label.metrics import RESAMPLES, Metrics, intervals, measure
from glint_model.evaluation.figures import MetricsAndIntervals, plain

VERSION = 1  # raise it with every change that gives some image another number

_SIDE = 1024  # pixels: of a larger image the middle is measured, so that the cost stays small against the network's
_MCU = 16  # pixels: side of the block that a JPEG with halved chroma is made of
_QUALITY = 75
_WITH_INTERVAL = ("srocc", "plcc")


class Baseline(NamedTuple):
    """A number that stands in for a score.

    Attributes:
        name: Its column in the table of scores.
        title: What it is, for the report.
        sign: 1 where more of it should mean a better image, -1 where less of it should.
    """

    name: str
    title: str
    sign: int


# Which way they point is set by what they mean, never by the ratings at hand.
BASELINES = (
    Baseline("jpeg_bytes_per_pixel", "JPEG size per pixel", 1),
    Baseline("sharpness", "sharpness", 1),
    Baseline("noise", "little noise", -1),
)
CONSTANT = "constant"
TITLES = {**{baseline.name: baseline.title for baseline in BASELINES}, CONSTANT: "the same score for all"}


@dataclass(frozen=True)
class Comparison:
    """How well a baseline agrees with the ratings.

    Attributes:
        pooled: All images together. `rmse` is NaN where the baseline is not on the scale of the ratings.
        distortions: Name -> its images.
    """

    pooled: MetricsAndIntervals
    distortions: dict[str, Metrics]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; what does not exist is None."""
        return {
            "pooled": self.pooled.to_dict(),
            "distortions": {name: plain(metrics) for name, metrics in self.distortions.items()},
        }


def measure_pixels(pixels: NDArray[np.uint8]) -> tuple[float, ...]:
    """Take the numbers of BASELINES, in their order.

    Args:
        pixels: (H, W, 3) uint8 RGB, at least 3 pixels a side.
    """
    # The blocks of an image that was a JPEG stay whole.
    top, left = (max(0, side - _SIDE) // 2 // _MCU * _MCU for side in pixels.shape[:2])
    image = Image.fromarray(np.ascontiguousarray(pixels[top : top + _SIDE, left : left + _SIDE]))
    luma = np.asarray(image.convert("L")).astype(np.int16)
    return jpeg_bytes_per_pixel(image), sharpness(luma), noise(luma)


def jpeg_bytes_per_pixel(image: Image.Image) -> float:
    """Encode with libjpeg's quality 75, chroma halved: the more an image shows, the more bytes it takes."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return file.tell() / (image.width * image.height)


def sharpness(luma: NDArray[np.int16]) -> float:
    """Variance of the Laplacian of (H, W) luma of 0..255, from each pixel's four neighbours."""
    middle, sides = luma[1:-1, 1:-1], luma[1:-1, :-2] + luma[1:-1, 2:]
    laplacian = (4 * middle - sides - luma[:-2, 1:-1] - luma[2:, 1:-1]).astype(np.int32)
    count = laplacian.size
    return float(np.square(laplacian).sum(dtype=np.int64) / count - (laplacian.sum(dtype=np.int64) / count) ** 2)


def noise(luma: NDArray[np.int16]) -> float:
    """Standard deviation of white noise in (H, W) luma of 0..255, as Immerkaer estimates it.

    J. Immerkaer, Fast noise variance estimation, 1996: the mean of |N|, N the second difference down of the second
    difference across, which cancels what changes evenly. Texture counts as noise.
    """
    across = luma[:, :-2] - 2 * luma[:, 1:-1] + luma[:, 2:]
    both = across[:-2] - 2 * across[1:-1] + across[2:]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(both).sum(dtype=np.int64) / both.size)


def compare(
    scored: pd.DataFrame, groups: Mapping[str, pd.DataFrame], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Comparison]:
    """Compare every baseline with the ratings, and last of all the mean rating, said of every image.

    Args:
        scored: Columns mos and group, and those of BASELINES that there are.
        groups: Name of a distortion -> its rows of `scored`.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    found = {}
    for baseline in BASELINES:
        if baseline.name in scored:
            found[baseline.name] = Comparison(
                _pooled(scored, baseline.sign * scored[baseline.name].to_numpy(), resamples, seed),
                {name: _off_scale(baseline.sign * rows[baseline.name], rows["mos"]) for name, rows in groups.items()},
            )
    pooled = _pooled(scored, np.zeros(len(scored)), resamples, seed)
    found[CONSTANT] = Comparison(
        replace(pooled, metrics=_constant(scored["mos"])),
        {name: _constant(rows["mos"]) for name, rows in groups.items()},
    )
    return found


def _pooled(scored: pd.DataFrame, values: NDArray[np.float64], resamples: int, seed: int) -> MetricsAndIntervals:
    mos, contents = scored["mos"].to_numpy(), scored["group"]
    interval = intervals(values, mos, contents, _WITH_INTERVAL, resamples=resamples, seed=seed)
    return MetricsAndIntervals(_off_scale(values, mos), interval)


def _off_scale(values: ArrayLike, mos: ArrayLike) -> Metrics:
    return replace(measure(values, mos), rmse=np.nan)


def _constant(mos: "pd.Series[float]") -> Metrics:
    """Give the figures of the best constant: the mean is where its fit ends, whatever it was."""
    deviation = float(mos.std(ddof=0))
    return replace(measure(np.full(len(mos), mos.mean()), mos), rmse=deviation, rmse_fitted=deviation)
