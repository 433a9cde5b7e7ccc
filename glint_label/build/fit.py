"""The source, fitted: what labels are made from, learnt from the ratings or taken from the packaged model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.audit import MIN_ANCHORS, MeasuredAnchors, leave_one_out, measure
from glint_label.build.plan import Plan
from glint_label.build.stage import Stage
from glint_label.embed import EmbeddedPhotos, read_embedded, write_embedded
from glint_label.errors import StateError
from glint_label.files import write_atomic
from glint_label.manifest import read_audit
from glint_label.progress import MakeProgress
from glint_label.transfer import TRANSFERS, RatedAnchors, Transfer, make_transfer

COMPARED = ("top1", "cell-mean")  # with the chosen transfer, in the audit of a build


@dataclass(frozen=True)
class FittedSource:
    """What labels are made from.

    Attributes:
        anchors: Raw vectors and hashes.
        transfer: Fitted.
        mean_score: Mean of the conditions' mean ratings.
    """

    anchors: EmbeddedPhotos
    transfer: Transfer
    mean_score: float


class FitSource(Stage):
    """Measure the anchors, fit the transfer, audit it: anchors/embeddings.npz, audit.json."""

    def __init__(self, plan: Plan, progress: MakeProgress) -> None:
        self._plan = plan
        self._progress = progress
        self._anchors_file = plan.config.out / "anchors" / "embeddings.npz"

    def missing(self) -> Sequence[str]:
        """Name the files that are missing or damaged."""
        found = []
        if self._plan.packaged is None and self._kept() is None:
            found.append("anchors")
        if self._audit() is None and len(self._plan.source.anchors) >= MIN_ANCHORS:
            found.append("audit")
        return found

    def make(self, missing: Sequence[str]) -> None:
        """Write them."""
        plan = self._plan
        if "anchors" in missing:
            write_embedded(self._anchors_file, self._measured.photos[0][1])
        if "audit" not in missing:
            return
        place = plan.config.out / "audit.json"
        if plan.packaged is not None:
            write_atomic(place, json.dumps(self._packaged_audit(), indent=1) + "\n")
            return
        names = tuple(dict.fromkeys((plan.config.transfer, *COMPARED)))
        report = leave_one_out(
            plan.source,
            self._measured,
            names,
            k=plan.config.k,
            workers=plan.config.workers,
            progress=self._progress,
        )
        write_atomic(place, report.as_json())

    @cached_property
    def fitted(self) -> FittedSource:
        """The source, fitted on first use."""
        plan, config = self._plan, self._plan.config
        if plan.packaged is not None:
            transfer: Transfer = plan.packaged.transfer(config.transfer)
            return FittedSource(plan.packaged.anchors, transfer, float(plan.packaged.facts["mean_score"]))
        conditions = tuple(plan.conditions)
        scores = plan.source.scores(conditions)
        anchors = self.anchors
        vectors = plan.embedder.normalise(anchors.vectors, anchors.vectors)
        transfer = make_transfer(config.transfer, config.k)
        features: NDArray[np.float16] | None = self._measured.features if transfer.uses_features else None
        transfer.fit(RatedAnchors(vectors, scores, plan.source.variances(conditions), conditions, features))
        return FittedSource(anchors, transfer, float(np.nanmean(np.nanmean(scores, axis=0))))

    @property
    def anchors(self) -> EmbeddedPhotos:
        """The anchors' raw vectors and hashes: as kept, else measured."""
        if self._plan.packaged is not None:
            return self._plan.packaged.anchors
        return self._kept() or self._measured.photos[0][1]

    @cached_property
    def _measured(self) -> MeasuredAnchors:
        plan = self._plan
        return measure(
            plan.source,
            [plan.embedder],
            plan.conditions,
            with_features=plan.uses_features,
            workers=plan.config.workers,
            progress=self._progress,
        )

    def _kept(self) -> EmbeddedPhotos | None:
        try:
            return read_embedded(self._anchors_file)
        except StateError:
            return None

    def _audit(self) -> dict[str, Any] | None:
        try:
            return read_audit(self._plan.config.out)
        except StateError:
            return None

    def _packaged_audit(self) -> dict[str, Any]:
        """Keep the baselines and one transfer, as an audit of a build has them."""
        report: dict[str, Any] = self._plan.packaged.facts["audit"] if self._plan.packaged else {}
        others = set(TRANSFERS) - {self._plan.config.transfer, *COMPARED}
        return {**report, "rows": [row for row in report["rows"] if row["transfer"] not in others]}
