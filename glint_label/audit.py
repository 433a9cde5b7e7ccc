"""The audit: every anchor in turn is labelled from the others, by the code that labels photos, and compared.

    source -> vectors, visibility of its anchors
           -> for each anchor: fit on the others, label it        (workers)
           -> SROCC, PLCC, RMSE, intervals; per distortion; by similarity; next to baselines

A transfer chooses its own parameters when it is fitted, so they are chosen without the anchor under test.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.agreement import by_distortion, by_similarity, measure_agreement
from glint_label.anchors import anchor_visibility, embed_anchors
from glint_label.embed import Embedder, make_embedder
from glint_label.engines import run_local
from glint_label.errors import SourceError
from glint_label.neighbours import AnchorIndex, DuplicateKeys, find_near_duplicates
from glint_label.plan import can_be_made
from glint_label.progress import MakeProgress, no_progress
from glint_label.shards import Measured
from glint_label.sources import Cell, Source
from glint_label.transfer import RatedAnchors, make_transfer

Floats = NDArray[np.float64]

CONTENT_BLIND = ("cell-mean",)
MIN_ANCHORS = 3
DRAWS = 20  # of random anchors, and of the raters' noise


@dataclass(frozen=True)
class Predictions:
    """What a transfer said of every anchor when it was left out.

    Attributes:
        embedder, transfer: Names; the embedder is `none` where content was not looked at.
        mos, mos_std: (anchors, cells); the deviations are NaN for baselines that claim none.
        similarity: (anchors,) to the nearest other anchor; NaN where content was not looked at.
    """

    embedder: str
    transfer: str
    mos: Floats
    mos_std: Floats
    similarity: Floats


@dataclass(frozen=True)
class Audit:
    """The audit of one source.

    Attributes:
        source: Its name.
        anchors, cells: What was predicted.
        scores: (anchors, cells) ratings.
        predictions: One for each row of `table`.
        table: Columns embedder, transfer and those of agreement.Agreement.
        visible: Whether the visibility of distortions was measured; without it gp is gp-content.
    """

    source: str
    anchors: tuple[str, ...]
    cells: tuple[Cell, ...]
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
                "by_distortion": by_distortion(self.scores, one.mos, one.mos_std, self.cells),
                "by_similarity": by_similarity(self.scores, one.mos, one.mos_std, one.similarity),
            }
            for row, one in zip(json_rows(self.table), self.predictions, strict=True)
        ]
        report = {
            "source": self.source,
            "anchors": len(self.anchors),
            "cells": len(self.cells),
            "visibility": self.visible,
            "rows": rows,
        }
        return json.dumps(report, indent=1) + "\n"


def json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn the table into plain records; NaN becomes None."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=6))
    return rows


def audit(
    source: Source,
    embedders: Sequence[str | Embedder],
    transfers: Sequence[str],
    *,
    k: int = 10,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> pd.DataFrame:
    """Measure how well transfers predict the ratings of anchors that are left out.

    Args:
        source: A rated dataset with its anchors' files.
        embedders: Names as for `--embedder`, or embedders.
        transfers: Names in TRANSFERS.
        k: Neighbours that knn averages.
        workers: Processes; 0 for this one.
        progress: Makes the progress bars.

    Returns:
        One row for each baseline and each (embedder, transfer), with the columns embedder, transfer, srocc,
        srocc_low, srocc_high, plcc, rmse, rmse_low, rmse_high, srocc_per_anchor, plcc_per_anchor, rmse_per_anchor,
        coverage90, sharpness. Scores are on the source's scale; intervals are 95 % bootstrap over anchors.

    Raises:
        SourceError: Fewer than three anchors: nothing can be left out.
    """
    return run_audit(source, embedders, transfers, k=k, workers=workers, progress=progress).table


def run_audit(
    source: Source,
    embedders: Sequence[str | Embedder],
    transfers: Sequence[str],
    *,
    k: int = 10,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> Audit:
    """Do the same and keep the predictions; see `audit`."""
    cells = tuple(source.cells)
    uses_visibility = any(make_transfer(name, k).uses_visibility for name in transfers)
    spaces = []
    for entry in embedders:
        embedder = make_embedder(entry, list(source.anchors.values())) if isinstance(entry, str) else entry
        spaces.append((embedder, embed_anchors(source, embedder, workers, progress)))
    visibility = visibility_of(source, cells, workers, progress) if uses_visibility else None
    return audit_measured(source, cells, visibility, spaces, transfers, k=k, workers=workers, progress=progress)


def audit_measured(
    source: Source,
    cells: tuple[Cell, ...],
    visibility: NDArray[np.float16] | None,
    spaces: Sequence[tuple[Embedder, Measured]],
    transfers: Sequence[str],
    *,
    k: int,
    workers: int,
    progress: MakeProgress,
) -> Audit:
    """Do the same with anchors that have been measured.

    Args:
        source: A rated dataset.
        cells: Which ratings to predict.
        visibility: Of the anchors, where a transfer uses it.
        spaces: Embedders, each with what it measured on the anchors.
        transfers: Names.
        k, workers, progress: As of `audit`.
    """
    if len(source.anchors) < MIN_ANCHORS:
        raise SourceError(
            f"{source.name} has {len(source.anchors)} anchors; an audit needs at least {MIN_ANCHORS}, "
            "one to be left out and others to learn from"
        )
    folds: list[_LeaveOut] = []
    for embedder, measured in spaces:
        for name in transfers:
            blind = name in CONTENT_BLIND
            if not (blind and any(fold.transfer == name for fold in folds)):
                folds.append(_LeaveOut("none" if blind else embedder.name, name, k, embedder, measured))
    scores, variances = source.scores(cells), source.variances(cells)
    ratings = RatedAnchors(np.zeros((len(scores), 0), dtype=np.float32), scores, variances, cells, visibility)
    tried = _leave_out(folds, ratings, source.mos_range, workers, progress)
    predictions = (*_baselines(scores, variances), *tried)
    rows = [
        {
            "embedder": one.embedder,
            "transfer": one.transfer,
            **vars(measure_agreement(scores, one.mos, one.mos_std)),
        }
        for one in predictions
    ]
    table = pd.DataFrame(rows)
    return Audit(source.name, tuple(source.anchors), cells, scores, predictions, table, visible=visibility is not None)


def visibility_of(
    source: Source, cells: Sequence[Cell], workers: int, progress: MakeProgress
) -> NDArray[np.float16] | None:
    """Measure the anchors' visibility where a cell can be made here, NaN elsewhere; None where no cell can."""
    columns = [column for column, cell in enumerate(cells) if can_be_made(cell)]
    if not columns:
        return None
    made = anchor_visibility(source, [cells[column] for column in columns], workers, progress)
    visibility = np.full((len(made), len(cells), made.shape[2]), np.nan, dtype=np.float16)
    visibility[:, columns] = made
    return visibility


@dataclass(frozen=True)
class _LeaveOut:
    """A transfer in an embedder's space, to be tried on every anchor."""

    embedder: str
    transfer: str
    k: int
    space: Embedder
    measured: Measured

    def items(self, index: int) -> Iterator["_Item"]:
        """Prepare each anchor's fold: copies of its picture are left out with it."""
        raw = self.measured.vectors
        pictures = DuplicateKeys(self.space.normalise(raw, raw), self.measured.fingerprints)
        groups = find_near_duplicates(pictures, self.space.near_duplicate)
        for anchor, group in enumerate(groups):
            others = np.flatnonzero(groups != group)
            yield _Item(index, anchor, self.transfer, self.k, others, self.space.normalise(raw, raw[others]))


@dataclass(frozen=True)
class _Item:
    """One anchor to be labelled from the others, with all vectors as a build without it has them."""

    index: int
    anchor: int
    transfer: str
    k: int
    others: NDArray[np.int64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class _Fold:
    """The workers' part: label one anchor from the others."""

    ratings: RatedAnchors
    mos_range: tuple[float, float]

    def __call__(self, item: _Item) -> tuple[Floats, Floats, float]:
        """Label an anchor: its (cells,) scores and deviations, and how alike the nearest other is.

        NaN where the others have too few ratings in common to learn from.
        """
        left_out = [item.anchor]
        rated = replace(self.ratings, vectors=item.vectors)
        transfer = make_transfer(item.transfer, item.k)
        try:
            transfer.fit(rated.select(item.others))
        except SourceError:
            unknown = np.full(rated.scores.shape[1], np.nan)
            return unknown, unknown, float("nan")
        visibility = None if rated.visibility is None else rated.visibility[left_out]
        labels = transfer.label(item.vectors[left_out], visibility)
        _, similarity = AnchorIndex(item.vectors[item.others]).nearest(item.vectors[left_out], 1)
        return np.clip(labels.mos[0], *self.mos_range), labels.mos_std[0], float(similarity[0, 0])


def _leave_out(
    folds: Sequence[_LeaveOut],
    ratings: RatedAnchors,
    mos_range: tuple[float, float],
    workers: int,
    progress: MakeProgress,
) -> list[Predictions]:
    """Label every anchor from the others with every transfer."""
    count = len(ratings.scores)
    results = [
        Predictions(
            fold.embedder,
            fold.transfer,
            np.full(ratings.scores.shape, np.nan),
            np.full(ratings.scores.shape, np.nan),
            np.full(count, np.nan),
        )
        for fold in folds
    ]
    items = (item for index, fold in enumerate(folds) for item in fold.items(index))
    slow = any(fold.transfer.startswith("gp") for fold in folds)
    with (
        closing(progress("audit", len(folds) * count, 0)) as bar,
        closing(run_local(_Fold(ratings, mos_range), items, workers if slow else 0)) as finished,
    ):
        for item, (mos, mos_std, similarity) in finished:
            result = results[item.index]
            result.mos[item.anchor], result.mos_std[item.anchor] = mos, mos_std
            if result.embedder != "none":
                result.similarity[item.anchor] = similarity
            bar.update(1)
    return results


def _baselines(scores: Floats, variances: Floats) -> list[Predictions]:
    """Random anchor, best single anchor by looking, and a perfect label under the raters' noise."""
    random = np.random.default_rng(0)
    count = len(scores)
    nothing = np.full(scores.shape, np.nan)
    unlike = np.full(count, np.nan)
    others = (np.arange(count) + random.integers(1, count, (DRAWS, count))) % count
    distances = np.array(
        [[_distance(scores[a], scores[b]) if a != b else np.inf for b in range(count)] for a in range(count)]
    )
    oracle = scores[distances.argmin(axis=1)]
    panels = scores + random.standard_normal((DRAWS, *scores.shape)) * np.sqrt(variances)
    return [
        Predictions("none", "random-anchor", scores[others], nothing, unlike),
        Predictions("none", "oracle", oracle, nothing, unlike),
        Predictions("none", "rater-ceiling", panels, nothing, unlike),
    ]


def _distance(first: Floats, second: Floats) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    return float(np.sqrt(((first - second)[both] ** 2).mean())) if both.any() else np.inf


def write_audit(report: Audit, folder: Path) -> None:
    """Write audit.json and audit.png."""
    from glint_label.audit_plot import plot_audit
    from glint_label.files import write_atomic

    write_atomic(folder / "audit.json", report.as_json())
    write_atomic(folder / "audit.png", plot_audit(report))
