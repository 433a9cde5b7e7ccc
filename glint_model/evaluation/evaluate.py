"""Scores of rated images against their ratings: pooled, by distortion, over content-disjoint splits."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from glint_label.distortions import DISTORTIONS, distort, prepare
from glint_label.engines import Loss
from glint_label.errors import InputError, UsageError
from glint_label.images import read_photo
from glint_label.manifest import recipe_seeds
from glint_label.metrics import MEASURES, RESAMPLES, content_splits, intervals, measure
from glint_label.names import as_text
from glint_label.progress import MakeProgress, no_progress
from glint_label.sources import Source
from glint_model.datasets import RatedImages
from glint_model.evaluation.baselines import BASELINES, Comparison, compare, measure_pixels
from glint_model.evaluation.figures import MetricsAndIntervals, known
from glint_model.evaluation.kept import KeptScores
from glint_model.evaluation.score import MadeImage, ReadImage, Scorer, score_made

PIXELS = ("disk", "regenerate")

_BY_DISTORTION = ("srocc", "plcc")  # the measures that get an interval for each distortion


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        contents: How many contents the images show.
        pooled: All images together.
        distortions: Name -> its images; empty where none is named.
        splits: Figures of each content-disjoint test split, by name.
        baselines: What the network is held against, on the same images; by name.
    """

    contents: int
    pooled: MetricsAndIntervals
    distortions: dict[str, MetricsAndIntervals]
    splits: list[dict[str, float]]
    baselines: dict[str, Comparison]

    @property
    def median(self) -> dict[str, float]:
        """Median of the splits by figure; NaN where a split has none."""
        return {name: float(np.median([split[name] for split in self.splits])) for name in MEASURES}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; what does not exist is None."""
        found: dict[str, Any] = {
            "contents": self.contents,
            "pooled": self.pooled.to_dict(),
            "distortions": {name: agreement.to_dict() for name, agreement in self.distortions.items()},
            "baselines": {name: comparison.to_dict() for name, comparison in self.baselines.items()},
        }
        if self.splits:
            found["splits"] = {
                "median": {name: known(value) for name, value in self.median.items()},
                "rounds": [{name: known(value) for name, value in split.items()} for split in self.splits],
            }
        return found


@dataclass(frozen=True)
class Regenerate:
    """The workers' part of `--pixels regenerate`: distort an anchor as the raters saw it.

    Attributes:
        source: Its anchors.
        seed: Of the random distortions.
        known: What images are made of whose scores are known.
    """

    source: Source
    seed: int
    known: frozenset[str] = frozenset()

    def __call__(self, item: tuple[str, str, Sequence[tuple[int, int]]]) -> list[MadeImage]:
        """Make the numbered levels of one distortion of one anchor."""
        anchor, name, levels = item
        seeds = recipe_seeds(self.source.reference(anchor), self.seed, [(name, level) for _, level in levels])
        photo = read_photo(self.source.anchors[anchor])
        prepared = prepare(photo.pixels)
        made = []
        for (number, level), seed in zip(levels, seeds, strict=True):
            made_of = f"{photo.sha256} {name} {level} {seed}"
            if made_of in self.known:
                made.append(MadeImage(number, None, made_of))
            else:
                image = distort(prepared, name, level, seed)
                made.append(MadeImage(number, image, made_of, measure_pixels(image)))
        return made

    def lose(self, item: tuple[str, str, Sequence[tuple[int, int]]], loss: Loss) -> list[MadeImage]:
        """Say of these levels that no worker survives them."""
        anchor, _, levels = item
        return [MadeImage(number, f"{as_text(self.source.anchors[anchor])}: {loss.message}") for number, _ in levels]


def choose_images(rated: RatedImages, pixels: str, allow_missing: bool) -> tuple[RatedImages, int]:
    """Keep the images that can be scored.

    Args:
        rated: The dataset, or a selection of it.
        pixels: One of PIXELS.
        allow_missing: Go on without images that are not there.

    Returns:
        The images, and how many are missing.

    Raises:
        UsageError: Pixels of a dataset that cannot be made here.
        InputError: Images are missing and may not be, or none is there.
    """
    if pixels not in PIXELS:
        raise UsageError(f"--pixels {pixels}: must be {' or '.join(PIXELS)}")
    if pixels == "regenerate":
        unknown = sorted(set(rated.images["distortion"]) - set(DISTORTIONS))
        if rated.source is None or unknown:
            what = f"its distortion {unknown[0]!r}" if rated.source else "its images"
            raise UsageError(f"--pixels regenerate: {what} cannot be made here ({rated.name}); use kadid10k")
        made = rated.images["group"].isin(rated.source.anchors)
        missing = rated.images["file_name"][~made].tolist()
        advice = "restore the anchors, or go on with --allow-missing"
        first = "those of an anchor that is not there"
    else:
        missing = rated.missing()
        advice = "restore them, or go on without them with --allow-missing"
        first = f"first {missing[0]}" if missing else "those of an anchor that is not there"
        if rated.source is not None and set(rated.distortions) <= set(DISTORTIONS):
            advice += ", or make them from the anchors with --pixels regenerate"
    count = len(missing) + rated.left_out
    there = rated.without(missing)
    if count and not allow_missing:
        total = len(rated.images) + rated.left_out
        raise InputError(
            f"{rated.name}: {count:,} of {total:,} images are missing from {rated.root}, {first}; {advice}"
        )
    return there, count


def score_rated(
    rated: RatedImages,
    scorer: Scorer,
    pixels: str = "disk",
    *,
    seed: int = 0,
    workers: int = 0,
    progress: MakeProgress = no_progress,
    kept: KeptScores | None = None,
) -> pd.DataFrame:
    """Score rated images.

    Args:
        rated: The images, all of which are there.
        scorer: Scores one image.
        pixels: `disk`, or `regenerate` to make them from the source's anchors.
        seed: Of random distortions that are made.
        workers: Processes that decode and distort; 0 for this one.
        progress: Makes the progress bar, which counts images.
        kept: Where scores are kept until they are written, and those of an earlier call.

    Returns:
        The table `rated.images` with the column `score`, and those of BASELINES.

    Raises:
        InputError: An image does not open, or the network gives no number for it.
    """
    images, kept = rated.images, kept or KeptScores()
    if pixels == "regenerate" and rated.source is not None:
        make = Regenerate(rated.source, seed, kept.known)
        items = [
            (str(anchor), str(distortion), tuple(zip(rows.index.tolist(), rows["level"].tolist(), strict=True)))
            for (anchor, distortion), rows in images.groupby(["group", "distortion"], sort=False)
        ]
        found = score_made(make, items, len(images), scorer, workers, progress, kept)
    else:
        files = [(number, rated.root / name) for number, name in enumerate(images["file_name"])]
        read = ReadImage(kept.known, measure_pixels)
        found = score_made(read, files, len(files), scorer, workers, progress, kept)
    bad = {number: result for number, result in found.items() if isinstance(result, str)}
    if bad:
        first = min(bad)
        name = images["file_name"].iloc[first]
        raise InputError(f"{rated.name}: {len(bad):,} images have no score, first {name}: {bad[first]}")
    columns = ["score", *(baseline.name for baseline in BASELINES)]
    numbers = pd.DataFrame([found[number] for number in range(len(images))], columns=columns)
    return pd.concat([images, numbers], axis=1)


def evaluate(
    scored: pd.DataFrame,
    distortions: Sequence[str] = (),
    *,
    splits: int = 0,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: MakeProgress = no_progress,
) -> Evaluation:
    """Compare scores with ratings.

    Args:
        scored: What `score_rated` returns.
        distortions: Names, in the order of the report; those without images are passed over.
        splits: That many content-disjoint test splits, a fifth of the contents each.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
        progress: Makes the progress bar, which counts intervals.
    """
    groups = {name: rows for name in distortions if len(rows := scored[scored["distortion"] == name])}
    with closing(progress("intervals", 2 + len(groups), 0)) as bar:

        def agreement(rows: pd.DataFrame, measures: Sequence[str]) -> MetricsAndIntervals:
            scores, mos = rows["score"].to_numpy(), rows["mos"].to_numpy()
            found = intervals(scores, mos, rows["group"], measures, resamples=resamples, seed=seed)
            bar.update(1)
            return MetricsAndIntervals(measure(scores, mos), found)

        pooled = agreement(scored, MEASURES)
        by_distortion = {name: agreement(rows, _BY_DISTORTION) for name, rows in groups.items()}
        baselines = compare(scored, groups, resamples=resamples, seed=seed)
        bar.update(1)
    return Evaluation(
        contents=scored["group"].nunique(),
        pooled=pooled,
        distortions=by_distortion,
        splits=[_split(scored[mask]) for mask in content_splits(scored["group"], splits)] if splits else [],
        baselines=baselines,
    )


def _split(rows: pd.DataFrame) -> dict[str, float]:
    found = measure(rows["score"], rows["mos"])
    return {"images": len(rows), **{name: getattr(found, name) for name in MEASURES}}
