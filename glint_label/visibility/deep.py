"""How much of a distortion a network notices: its maps of a photo against those of the distorted photo.

EfficientNet-Lite0 was trained to tell things apart, and sees what hand-made measures miss. Compared are, stage by
stage, the directions of its maps at each place (as LPIPS does: Zhang et al., CVPR 2018), and means, deviations and
covariances of its channels (as DISTS does: Ding et al., IEEE TPAMI 2020). Nothing in here was learnt on ratings.
"""

import numpy as np
import torch
from torch import Tensor

from glint_label.efficientnet import stage_maps

_PER_STAGE = (
    "direction",
    "direction_worst_tenth",
    "means",
    "structure",
    "strength",
    "correlation",
    "correlation_lowest_tenth",
    "contrast",
    "shift",
    "signed_shift",
)
STAGES = 5
DEEP_FEATURES = (*(f"deep_{name}_{stage}" for stage in range(STAGES) for name in _PER_STAGE), "deep_content")


class DeepView:
    """What the network sees in a picture, stage by stage.

    Args:
        rgb: (1, 3, H, W) float32, 0..255.
    """

    def __init__(self, rgb: Tensor) -> None:
        self.stages = [_Stage(maps) for maps in stage_maps(rgb)]


class _Stage:
    """Maps as (places, channels), which is how they lie in memory; length at each place, moments of each channel."""

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps.permute(1, 2, 0).flatten(0, 1)
        self.lengths = _of_places(self.maps.square()).sqrt()
        means = _of_channels(self.maps) / len(self.maps)
        self.centred = self.maps - means
        self.means = means.numpy()
        self.deviations = (_of_channels(self.centred.square()) / len(self.maps)).sqrt().numpy()


def compare_deep(before: DeepView, after: DeepView) -> list[float]:
    """Compare two views of the same size; one number for each of DEEP_FEATURES."""
    numbers: list[float] = []
    for stage, other in zip(before.stages, after.stages, strict=True):
        numbers += _compare_stage(stage, other)
    last, other_last = before.stages[-1].means, after.stages[-1].means
    content = float(last @ other_last / (np.linalg.norm(last) * np.linalg.norm(other_last) + _TINY))
    return [*numbers, content]


def _compare_stage(before: _Stage, after: _Stage) -> list[float]:
    spread, other_spread = before.deviations, after.deviations
    lengths = (before.lengths + _TINY) * (after.lengths + _TINY)
    turned = (2 - 2 * _of_places(before.maps * after.maps) / lengths).numpy()  # squared distance of the directions
    worst = max(1, len(turned) // 10)
    covariance = _of_channels(before.centred * after.centred).numpy() / len(turned)
    means = (2 * before.means * after.means + _TINY) / (before.means**2 + after.means**2 + _TINY)
    structure = (2 * covariance + _TINY) / (spread**2 + other_spread**2 + _TINY)
    correlation = (covariance + _TINY) / (spread * other_spread + _TINY)
    contrast = np.abs(np.log((other_spread + _SOME) / (spread + _SOME)))
    shift = (after.means - before.means) / (spread + _SOME)
    return [
        log_of(turned.mean()),
        log_of(np.partition(turned, -worst)[-worst:].mean()),
        log_of(1 - means.mean()),
        log_of(1 - structure.mean()),
        float(np.log((other_spread.mean() + 1e-3) / (spread.mean() + 1e-3))),
        log_of(1 - correlation.mean()),
        float(np.quantile(correlation, 0.1)),
        log_of(contrast.mean()),
        log_of(np.abs(shift).mean()),
        float(shift.mean()),
    ]


_TINY = 1e-6
_SOME = 1e-2  # of a channel's usual deviation, which is about 1


def _of_places(values: Tensor) -> Tensor:
    """Sum over the channels of each place; a product with ones is a fifth of the time of `sum`."""
    return values @ torch.ones(values.shape[1])


def _of_channels(values: Tensor) -> Tensor:
    """Sum over the places of each channel."""
    return torch.ones(values.shape[0]) @ values


def log_of(value: float) -> float:
    """Logarithm of a small quantity that may be 0, or below by rounding."""
    return float(np.log(max(float(value), 0.0) + 1e-4))
