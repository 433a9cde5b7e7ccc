"""How much of a distortion a network notices: its maps of a photo against those of the distorted photo.

EfficientNet-Lite0 was trained to tell things apart, and sees what hand-made measures miss. Compared are, stage by
stage, the directions of its maps at each place (as LPIPS does: Zhang et al., CVPR 2018), and means, deviations and
covariances of its channels (as DISTS does: Ding et al., IEEE TPAMI 2020). Nothing in here was learnt on ratings.
"""

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
    """What the network sees in a picture: per stage its maps' directions, and moments of its channels.

    Args:
        rgb: (1, 3, H, W) float32, 0..255.
    """

    def __init__(self, rgb: Tensor) -> None:
        self.centred, self.means, self.deviations, self.directions = [], [], [], []
        for maps in stage_maps(rgb):
            flat = maps.flatten(1)  # (channels, places)
            mean = flat.mean(1, keepdim=True)
            self.means.append(mean[:, 0])
            self.centred.append(flat - mean)
            self.deviations.append(self.centred[-1].square().mean(1).sqrt())
            self.directions.append(flat / (flat.norm(dim=0, keepdim=True) + _TINY))


def compare_deep(before: DeepView, after: DeepView) -> list[float]:
    """Compare two views of the same size; one number for each of DEEP_FEATURES."""
    numbers: list[float] = []
    for stage in range(STAGES):
        mean, other_mean = before.means[stage], after.means[stage]
        spread, other_spread = before.deviations[stage], after.deviations[stage]
        turned = (before.directions[stage] - after.directions[stage]).square().sum(0)  # (places,)
        worst = turned.topk(max(1, len(turned) // 10)).values
        covariance = (before.centred[stage] * after.centred[stage]).mean(1)  # (channels,)
        means = (2 * mean * other_mean + _TINY) / (mean.square() + other_mean.square() + _TINY)
        structure = (2 * covariance + _TINY) / (spread.square() + other_spread.square() + _TINY)
        correlation = (covariance + _TINY) / (spread * other_spread + _TINY)
        contrast = ((other_spread + _SOME) / (spread + _SOME)).log().abs()
        shift = (other_mean - mean) / (spread + _SOME)
        numbers += [
            _log(turned.mean()),
            _log(worst.mean()),
            _log(1 - means.mean()),
            _log(1 - structure.mean()),
            float(((other_spread.mean() + 1e-3) / (spread.mean() + 1e-3)).log()),
            _log(1 - correlation.mean()),
            float(correlation.quantile(0.1)),
            _log(contrast.mean()),
            _log(shift.abs().mean()),
            float(shift.mean()),
        ]
    last, other_last = before.means[-1], after.means[-1]
    content = float(last @ other_last / (last.norm() * other_last.norm() + _TINY))
    return [*numbers, content]


_TINY = 1e-6
_SOME = 1e-2  # of a channel's usual deviation, which is about 1


def _log(value: Tensor) -> float:
    """Logarithm of a small quantity that may be 0, or below by rounding."""
    return float((value.clamp(min=0) + 1e-4).log())
