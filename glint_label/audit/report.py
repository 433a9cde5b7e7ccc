"""What an audit found: predictions of anchors that were left out, their figures, and the two as JSON."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.audit.agreement import by_distortion, by_similarity
from glint_label.sources import Condition

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What a transfer said of every anchor when it was left out.

    Attributes:
        embedder, transfer: Names; the embedder is `none` where content was not looked at.
        mos, mos_error: (anchors, conditions); the deviations are NaN for baselines that claim none.
        similarity: (anchors,) to the nearest other anchor; NaN where content was not looked at.
    """

    embedder: str
    transfer: str
    mos: Floats
    mos_error: Floats
    similarity: Floats


@dataclass(frozen=True)
class Audit:
    """The audit of one source.

    Attributes:
        source: Its name.
        anchors, conditions: What was predicted.
        scores: (anchors, conditions) ratings.
        predictions: One for each row of `table`.
        table: Columns embedder, transfer and those of agreement.Agreement.
        visible: Whether the visibility of distortions was measured; without it gp is gp-content.
    """

    source: str
    anchors: tuple[str, ...]
    conditions: tuple[Condition, ...]
    scores: Floats
    predictions: tuple[Predictions, ...]
    table: pd.DataFrame
    visible: bool

    def find(self, transfer: str) -> Predictions:
        """Return the first predictions of a transfer."""
        return next(one for one in self.predictions if one.transfer == transfer)

    def as_json(self) -> str:
        """Everything as JSON: the table, and for each row its distortions and similarity bins; NaN becomes null."""
        rows = [
            {
                **row,
                "by_distortion": by_distortion(self.scores, one.mos, one.mos_error, self.conditions),
                "by_similarity": by_similarity(self.scores, one.mos, one.mos_error, one.similarity),
            }
            for row, one in zip(json_rows(self.table), self.predictions, strict=True)
        ]
        report = {
            "source": self.source,
            "anchors": len(self.anchors),
            "conditions": len(self.conditions),
            "visibility": self.visible,
            "rows": rows,
        }
        return json.dumps(report, indent=1) + "\n"


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn the table into plain records; NaN becomes None."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=6))
    return rows
