"""A source, fitted: what labels are made from, learnt here from the ratings or taken from the model that ships."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from glint_label.anchors import anchor_visibility, embed_anchors
from glint_label.audit import MIN_ANCHORS, audit_measured
from glint_label.files import write_atomic
from glint_label.manifest import read_audit
from glint_label.plan import Plan
from glint_label.progress import MakeProgress
from glint_label.shards import Measured, read_measured, write_measured
from glint_label.transfer import TRANSFERS, RatedAnchors, Transfer, make_transfer

COMPARED = ("top1", "cell-mean")  # with the chosen transfer, in the audit of a build


@dataclass(frozen=True)
class FittedSource:
    """What labels are made from.

    Attributes:
        anchors: Raw vectors and fingerprints.
        transfer: Fitted.
        cell_mean: Mean of the cells' mean ratings.
        audit: The content of audit.json; None where there are too few anchors to leave one out.
    """

    anchors: Measured
    transfer: Transfer
    cell_mean: float
    audit: dict[str, Any] | None


def fit_source(plan: Plan, progress: MakeProgress) -> FittedSource:
    """Measure the anchors, fit the transfer and audit it; what an earlier call finished is read again.

    Raises:
        GlintError: An anchor does not open, or the ratings are too few.
    """
    config, out = plan.config, plan.config.out
    if plan.shipped is not None:
        facts = plan.shipped.facts
        report = _only(facts["audit"], config.transfer)
        write_atomic(out / "audit.json", json.dumps(report, indent=1) + "\n")
        return FittedSource(
            plan.shipped.anchors, plan.shipped.transfer(config.transfer), float(facts["cell_mean"]), report
        )
    anchors = _measure_anchors(plan, progress)
    transfer = make_transfer(config.transfer, config.k)
    cells = tuple(plan.cells)
    visibility = anchor_visibility(plan.source, cells, config.workers, progress) if transfer.uses_visibility else None
    scores = plan.source.scores(cells)
    vectors = plan.embedder.normalise(anchors.vectors, anchors.vectors)
    transfer.fit(RatedAnchors(vectors, scores, plan.source.variances(cells), cells, visibility))
    place = out / "audit.json"
    if not place.is_file() and len(plan.source.anchors) >= MIN_ANCHORS:
        names = tuple(dict.fromkeys((config.transfer, *COMPARED)))
        space = [(plan.embedder, anchors)]
        audit = audit_measured(
            plan.source, cells, visibility, space, names, k=config.k, workers=config.workers, progress=progress
        )
        write_atomic(place, audit.as_json())
    return FittedSource(anchors, transfer, float(np.nanmean(np.nanmean(scores, axis=0))), read_audit(out))


def _measure_anchors(plan: Plan, progress: MakeProgress) -> Measured:
    folder = plan.config.out / "anchors"
    if not (folder / "embeddings.npz").is_file():
        write_measured(folder, embed_anchors(plan.source, plan.embedder, plan.config.workers, progress))
    return read_measured(folder)


def _only(report: dict[str, Any], transfer: str) -> dict[str, Any]:
    """Keep the baselines and one transfer, as an audit of a build has them."""
    others = set(TRANSFERS) - {transfer, *COMPARED}
    return {**report, "rows": [row for row in report["rows"] if row["transfer"] not in others]}
