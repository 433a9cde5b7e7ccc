"""Figures of agreement with their intervals, and how JSON holds them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glint_label.metrics import MEASURES, Metrics

Interval = tuple[float, float]


@dataclass(frozen=True)
class MetricsAndIntervals:
    """How well scores agree with the ratings of some images.

    Attributes:
        metrics: The figures.
        interval: 95 % bootstrap interval over contents, by name of the figure.
    """

    metrics: Metrics
    interval: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; what does not exist is None."""
        return {
            **plain(self.metrics),
            "interval": {name: [known(bound) for bound in bounds] for name, bounds in self.interval.items()},
            "fit": asdict(self.metrics.fit) if self.metrics.fit else None,
            "warning": self.metrics.warning,
        }


def plain(metrics: Metrics) -> dict[str, Any]:
    """Give the number of images and the figures as JSON can hold them."""
    return {"images": metrics.images, **{name: known(getattr(metrics, name)) for name in MEASURES}}


def known(value: float) -> float | None:
    """Give None for what does not exist."""
    return value if np.isfinite(value) else None
