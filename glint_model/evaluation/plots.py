"""Pictures of results, as PNG bytes; no display is needed."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from glint_label.metrics import Metrics

_INK, _POINTS, _CURVE = "#222222", "#3b6ea5", "#c8511b"


def scatter(scored: pd.DataFrame, metrics: Metrics, title: str) -> bytes:
    """Draw scores against opinions with the logistic fit, in a square.

    Scores on the opinions' own scale get the same limits on both axes, and the diagonal; others get their own.

    Args:
        scored: Columns score and mos.
        metrics: Of these images.
        title: Said above the plot.
    """
    scores, mos = scored["score"].to_numpy(), scored["mos"].to_numpy()
    figure = Figure(figsize=(6, 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(scores, mos, s=max(2.0, min(24.0, 4000 / len(mos))), c=_POINTS, alpha=0.45, linewidths=0)
    _set_limits(axes, scores, mos)
    if metrics.fit is not None:
        line = np.linspace(scores.min(), scores.max(), 400)
        axes.plot(line, metrics.fit(line), color=_CURVE, linewidth=2, label="logistic fit (VQEG, four parameters)")
    axes.set_xlabel("score of the network (higher is better)")
    axes.set_ylabel("mean opinion score (higher is better)")
    figures = f"SROCC {_text(metrics.srocc)}   PLCC {_text(metrics.plcc)}, {_text(metrics.plcc_fitted)} after the fit"
    axes.set_title(f"{title}\n{figures}", fontsize=10, color=_INK)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _set_limits(axes: Axes, scores: np.ndarray, mos: np.ndarray) -> None:
    """Give both axes the same limits where scores and opinions share a scale."""
    low, high = min(scores.min(), mos.min()), max(scores.max(), mos.max())
    margin = 0.04 * (high - low)
    if high - low <= 2 * min(np.ptp(mos), np.ptp(scores)):
        limits = (float(low - margin), float(high + margin))
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.plot(limits, limits, color=_INK, linewidth=0.8, linestyle=":", label="score = opinion")
    axes.set_box_aspect(1)


def _text(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "-"
