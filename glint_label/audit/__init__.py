"""How good labels are: every anchor labelled from the others and compared with its own ratings, next to baselines.

`leave_one_out` keeps the predictions, `audit` gives the table alone, `plot` writes both down.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glint_label.audit.leave_one_out import MIN_ANCHORS, MeasuredAnchors, leave_one_out, measure
from glint_label.audit.report import Audit, json_rows
from glint_label.embed import Embedder
from glint_label.progress import MakeProgress, no_progress
from glint_label.sources import Source

__all__ = ["MIN_ANCHORS", "Audit", "MeasuredAnchors", "audit", "json_rows", "leave_one_out", "measure"]


def audit(
    source: Source,
    embedders: Sequence[str | Embedder],
    transfers: Sequence[str],
    *,
    k: int = 10,
    clip_weights: Path | None = None,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> pd.DataFrame:
    """Measure how well transfers predict the ratings of anchors that are left out; see `leave_one_out`.

    Returns:
        One row for each baseline and each (embedder, transfer), with the columns embedder, transfer, srocc_within,
        srocc, srocc_low, srocc_high, plcc, plcc_low, plcc_high, rmse, rmse_low, rmse_high, srocc_per_anchor,
        plcc_per_anchor, rmse_per_anchor, coverage90, mean_error. Scores are on the source's scale; intervals are 95 %
        bootstrap over anchors.

    Raises:
        SourceError: Fewer than three anchors: nothing can be left out.
    """
    report = leave_one_out(
        source, embedders, transfers, k=k, clip_weights=clip_weights, workers=workers, progress=progress
    )
    return report.table
