"""What every transfer offers: fitted on anchors and their ratings, it labels references."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels:
    """Pseudo-labels of n references.

    Attributes:
        mos: (n, cells) on the source's range.
        mos_std: (n, cells), standard deviation of (label - rating) to be expected, same scale.
        weights: (n, anchors), how much each anchor's ratings count; rows sum to 1.
    """

    mos: NDArray[np.float64]
    mos_std: NDArray[np.float64]
    weights: NDArray[np.float64]


class Transfer(Protocol):
    """A rule that turns similarities to rated anchors into labels."""

    def fit(self, vectors: NDArray[np.float32], scores: NDArray[np.float64]) -> None:
        """Learn from the anchors.

        Args:
            vectors: (anchors, d), unit length.
            scores: (anchors, cells) MOS, NaN where an anchor has no rating.
        """

    def label(self, vectors: NDArray[np.float32]) -> Labels:
        """Label references from their (n, d) unit vectors."""
