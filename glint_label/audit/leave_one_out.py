"""Leave one anchor out: every anchor in turn is labelled from the others, by the code that labels photos.

    source -> vectors, features of its anchors
           -> for each anchor: fit on the others, label it        (workers)
           -> SROCC, PLCC, RMSE, intervals; per distortion; by similarity; next to baselines

A transfer chooses its own parameters when it is fitted, so they are chosen without the anchor under test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.audit.agreement import measure_agreement
from glint_label.audit.baselines import baselines, measures_as_labels
from glint_label.audit.report import Audit, Predictions
from glint_label.duplicates.index import DuplicateKeys, find_near_duplicates
from glint_label.embed import EmbeddedPhotos, Embedder, make_embedder
from glint_label.engines import run_tasks
from glint_label.errors import SourceError
from glint_label.manifest import anchor_seeds
from glint_label.progress import MakeProgress, no_progress
from glint_label.sources import Condition, Source, can_be_made
from glint_label.transfer import RatedAnchors, make_transfer
from glint_label.transfer.neighbours import AnchorIndex
from glint_label.visibility import measure_anchors

Floats = NDArray[np.float64]

CONTENT_BLIND = ("cell-mean",)
MIN_ANCHORS = 3
ANCHOR_SEED = 0  # what the raters' random positions were is not published: any one draw stands for them


@dataclass(frozen=True)
class MeasuredAnchors:
    """The anchors of a source, measured once for a fit and for its audit.

    Attributes:
        photos: Raw vectors and hashes, one set for each embedder.
        conditions: (distortion, level) of each column.
        features: (anchors, conditions, features), NaN where a condition cannot be made here; None: not measured.
    """

    photos: tuple[tuple[Embedder, EmbeddedPhotos], ...]
    conditions: tuple[Condition, ...]
    features: NDArray[np.float16] | None


def measure(
    source: Source,
    embedders: Sequence[Embedder],
    conditions: Sequence[Condition],
    *,
    with_features: bool,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> MeasuredAnchors:
    """Decode and embed the anchors of a source; measure their features with the first embedder's pass, if wanted.

    Raises:
        SourceError: An anchor does not open.
    """
    columns = [column for column, condition in enumerate(conditions) if with_features and can_be_made(condition)]
    made = [conditions[column] for column in columns]
    photos: list[tuple[Embedder, EmbeddedPhotos]] = []
    features = None
    for embedder in embedders:
        seeds = anchor_seeds(source, ANCHOR_SEED, made) if made and features is None else None
        embedded, found = measure_anchors(source, embedder, made if seeds else (), seeds, workers, progress)
        photos.append((embedder, embedded))
        if found is not None:
            features = np.full((len(found), len(conditions), found.shape[2]), np.nan, dtype=np.float16)
            features[:, columns] = found
    return MeasuredAnchors(tuple(photos), tuple(conditions), features)


def leave_one_out(
    source: Source,
    embedders: Sequence[str | Embedder] | MeasuredAnchors,
    transfers: Sequence[str],
    *,
    k: int = 10,
    content_rank: int | None = None,
    clip_weights: Path | None = None,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> Audit:
    """Label every anchor from the others with every transfer.

    Args:
        source: A rated dataset with its anchors' files.
        embedders: Names as for `--embedder`, embedders, or anchors that have been measured.
        transfers: Names in TRANSFERS.
        k: Neighbours that knn averages.
        content_rank: See make_transfer.
        clip_weights: Local weights for the embedder `clip`.
        workers: Processes; 0 for this one.
        progress: Makes the progress bars.

    Raises:
        SourceError: Fewer than three anchors: nothing can be left out.
    """
    if len(source.anchors) < MIN_ANCHORS:
        raise SourceError(
            f"{source.name} has {len(source.anchors)} anchors; an audit needs at least {MIN_ANCHORS}, "
            "one to be left out and others to learn from"
        )
    if not isinstance(embedders, MeasuredAnchors):
        files = list(source.anchors.values())
        made = [
            make_embedder(one, files, clip_weights=clip_weights) if isinstance(one, str) else one for one in embedders
        ]
        visible = any(make_transfer(name, k).uses_features for name in transfers)
        anchors = measure(source, made, source.conditions, with_features=visible, workers=workers, progress=progress)
    else:
        anchors = embedders
    folds: list[_LeaveOut] = []
    for embedder, photos in anchors.photos:
        for name in transfers:
            blind = name in CONTENT_BLIND
            if not (blind and any(fold.transfer == name for fold in folds)):
                folds.append(_LeaveOut("none" if blind else embedder.name, name, k, content_rank, embedder, photos))
    conditions = anchors.conditions
    scores, variances = source.scores(conditions), source.variances(conditions)
    no_vectors = np.zeros((len(scores), 0), dtype=np.float32)
    ratings = RatedAnchors(no_vectors, scores, variances, conditions, anchors.features)
    tried = _leave_out(folds, ratings, source.mos_range, workers, progress)
    compared = [] if anchors.features is None else measures_as_labels(scores, anchors.features)
    predictions = (*baselines(scores, variances), *compared, *tried)
    rows = [
        {
            "embedder": one.embedder,
            "transfer": one.transfer,
            **vars(measure_agreement(scores, one.mos, one.mos_error)),
        }
        for one in predictions
    ]
    for row in rows:
        if row["transfer"] in CONTENT_BLIND:  # each anchor's absence alone orders such labels, the wrong way round
            row["srocc_within"] = float("nan")
    visible = anchors.features is not None
    return Audit(source.name, tuple(source.anchors), conditions, scores, predictions, pd.DataFrame(rows), visible)


@dataclass(frozen=True)
class _LeaveOut:
    """A transfer in an embedder's space, to be tried on every anchor."""

    embedder: str
    transfer: str
    k: int
    content_rank: int | None
    space: Embedder
    photos: EmbeddedPhotos

    def items(self, index: int) -> Iterator["_Item"]:
        """Prepare each anchor's fold: copies of its picture are left out with it."""
        raw = self.photos.vectors
        pictures = DuplicateKeys(self.space.normalise(raw, raw), self.photos.hashes)
        groups = find_near_duplicates(pictures, self.space.near_duplicate)
        for anchor, group in enumerate(groups):
            others = np.flatnonzero(groups != group)
            vectors = self.space.normalise(raw, raw[others])
            yield _Item(index, anchor, self.transfer, self.k, self.content_rank, others, vectors)


@dataclass(frozen=True)
class _Item:
    """One anchor to be labelled from the others, with all vectors as a build without it has them."""

    index: int
    anchor: int
    transfer: str
    k: int
    content_rank: int | None
    others: NDArray[np.int64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class _Fold:
    """The workers' part: label one anchor from the others."""

    ratings: RatedAnchors
    mos_range: tuple[float, float]

    def __call__(self, item: _Item) -> tuple[Floats, Floats, float]:
        """Label an anchor: its (conditions,) scores and deviations, and how alike the nearest other is.

        NaN where the others have too few ratings in common to learn from.
        """
        left_out = [item.anchor]
        rated = replace(self.ratings, vectors=item.vectors)
        transfer = make_transfer(item.transfer, item.k, item.content_rank)
        try:
            transfer.fit(rated.select(item.others))
        except SourceError:
            unknown = np.full(rated.scores.shape[1], np.nan)
            return unknown, unknown, float("nan")
        features = None if rated.features is None else rated.features[left_out]
        labels = transfer.label(item.vectors[left_out], features)
        _, similarity = AnchorIndex(item.vectors[item.others]).nearest(item.vectors[left_out], 1)
        return np.clip(labels.mos[0], *self.mos_range), labels.mos_error[0], float(similarity[0, 0])


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
    slow = any(make_transfer(fold.transfer, fold.k).slow_to_fit for fold in folds)
    task = _Fold(ratings, mos_range)
    with run_tasks(task, items, workers if slow else 0, progress, "audit", len(folds) * count) as finished:
        for item, (mos, mos_error, similarity) in finished:
            result = results[item.index]
            result.mos[item.anchor], result.mos_error[item.anchor] = mos, mos_error
            if result.embedder != "none":
                result.similarity[item.anchor] = similarity
    return results
