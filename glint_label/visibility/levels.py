"""Which levels of a distortion are measured on a photo; the features of the others lie on straight lines between.

Neighbouring levels say nearly the same of a photo. Labels of left-out anchors lose nothing by it (docs/labels.md), and
a photo takes less than half of the time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glint_label.sources import Condition

_USUAL = (2, 5)
_THREE = (
    "brighten",
    "color_quantization",
    "color_saturation_lab",
    "contrast_change",
    "mean_shift",
    "multiplicative_noise",
    "quantization",
)
_ONE = ("color_block", "high_sharpen", "impulse_noise", "jitter", "white_noise")
_LEVELS = dict.fromkeys(_THREE, (1, 3, 5)) | dict.fromkeys(_ONE, (3,))


def find_between(conditions: Sequence[Condition]) -> dict[int, tuple[int, int, float]]:
    """Find the conditions that need not be measured: place -> the places of the two beside it, and the second's share.

    One beyond the first or the last that is measured takes after it. Where not all that it needs are given, it is
    measured itself.
    """
    places = {condition: place for place, condition in enumerate(conditions)}
    found = {}
    for (name, level), place in places.items():
        measured = _LEVELS.get(name, _USUAL)
        low = max((other for other in measured if other < level), default=measured[0])
        high = min((other for other in measured if other > level), default=measured[-1])
        if level not in measured and (name, low) in places and (name, high) in places:
            share = (level - low) / (high - low) if high > low else 0.0
            found[place] = places[name, low], places[name, high], share
    return found


def draw_between(features: NDArray[np.float16], conditions: Sequence[Condition]) -> NDArray[np.float32]:
    """Put every condition that need not be measured between those beside it, measured or not.

    Args:
        features: (photos, conditions, features).
        conditions: (distortion, level) pairs.
    """
    drawn = features.astype(np.float32)
    for place, (low, high, share) in find_between(conditions).items():
        drawn[:, place] = (1 - share) * drawn[:, low] + share * drawn[:, high]
    return drawn
