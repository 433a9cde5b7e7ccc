"""What every transfer offers: fitted on anchors and their ratings, it labels references."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glint_label.sources import Condition


@dataclass(frozen=True)
class RatedAnchors:
    """What a transfer learns from.

    Attributes:
        vectors: (anchors, d) float32, unit length.
        scores: (anchors, conditions) MOS, NaN where an anchor has no rating.
        variances: (anchors, conditions), variance of each MOS over panels of raters; NaN where unknown.
        conditions: (distortion, level) of each column.
        features: (anchors, conditions, features), NaN where not measured; None where it is not at hand.
    """

    vectors: NDArray[np.float32]
    scores: NDArray[np.float64]
    variances: NDArray[np.float64]
    conditions: tuple[Condition, ...]
    features: NDArray[np.float16] | None = None

    def select(self, rows: Any) -> "RatedAnchors":
        """Keep some anchors, given as a NumPy index of the rows."""
        features = None if self.features is None else self.features[rows]
        return RatedAnchors(self.vectors[rows], self.scores[rows], self.variances[rows], self.conditions, features)


@dataclass(frozen=True)
class Labels:
    """Pseudo-labels of n references.

    Attributes:
        mos: (n, conditions) on the source's range.
        mos_error: (n, conditions), standard error of the label against the mean score of a panel of the source's
            size, same scale.
        weights: (n, anchors), how much each anchor's ratings count; rows sum to 1.
    """

    mos: NDArray[np.float64]
    mos_error: NDArray[np.float64]
    weights: NDArray[np.float64]


class Transfer(Protocol):
    """A rule that turns similarities to rated anchors into labels.

    Attributes:
        uses_features: Whether it wants the full-reference features of anchors and references.
        slow_to_fit: Whether fitting takes long enough to pay for processes.
    """

    uses_features: bool
    slow_to_fit: bool

    def fit(self, anchors: RatedAnchors) -> None:
        """Learn from the anchors.

        Raises:
            SourceError: There are too few ratings to learn from.
        """

    def label(self, vectors: NDArray[np.float32], features: NDArray[np.float16] | None = None) -> Labels:
        """Label references.

        Args:
            vectors: (n, d) float32, unit length.
            features: (n, conditions, features), as of the anchors; not needed where `uses_features` is False.
        """
