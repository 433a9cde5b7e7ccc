"""The build: pristine photos in, a labelled dataset out, with the disk at both ends.

    source -> fit, audit                                  anchors/, audit.json
    photos -> shards of 64 -> decode once: check, hash,   shards/N/failed.csv, embeddings.npz, features.npz  (workers)
              embed, features if the transfer wants them
           -> all photos   -> near-duplicates, splits                                                        (memory)
           -> shards of 64 -> neighbours, labels          shards/N/metadata.csv, references.csv              (workers)
           -> pixels, if asked                            shards/N/*.png, _SUCCESS.json                      (workers)
           -> whole build                                 references.csv, label_schema.json, README.md, run.json

All photos are measured before any is labelled, because a split must see every photo: near-duplicates may lie in
different shards. Whatever kills the program, or whichever file is lost afterwards, the same command makes what is
missing and ends in the same bytes.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glint_label.build.config import BuildConfig
from glint_label.build.fit import FitSource
from glint_label.build.folder import open_build
from glint_label.build.labels import LabelShards
from glint_label.build.photos import MeasurePhotos, MeasureWatched, read_failures
from glint_label.build.pixels import FinishShards
from glint_label.build.plan import Plan, make_plan
from glint_label.build.repair import discard_damaged
from glint_label.build.stage import Stage
from glint_label.build.tables import WriteTables
from glint_label.embed import EmbeddedPhotos
from glint_label.errors import UsageError
from glint_label.files import read_arrays
from glint_label.folders import remove_temporaries
from glint_label.manifest import shard_folder
from glint_label.progress import MakeProgress, no_progress
from glint_label.transfer.neighbours import similarity_among


@dataclass(frozen=True)
class BuildReport:
    """What a build ended with.

    Attributes:
        out: Its folder.
        counts: references, abstained, excluded, failed, rows, shards.
        failures: Reason -> number of photos.
        seconds: Wall time of this call.
        resumed: Shards that an earlier call had finished.
        damaged: What was found damaged and is made again: path below the folder, and what was wrong with it.
        left_out: Distortions of the source that cannot be made here.
        missing_anchors: Anchors that the source lacks.
        other_size: References of another size than the rated pictures, of which their labels speak.
    """

    out: Path
    counts: dict[str, int]
    failures: dict[str, int]
    seconds: float
    resumed: int
    damaged: tuple[str, ...]
    left_out: tuple[str, ...]
    missing_anchors: tuple[str, ...]
    other_size: int


def build(
    config: BuildConfig | Plan,
    *,
    overwrite: bool = False,
    repair: bool = False,
    retry_failed: bool = False,
    strict: bool = False,
    command: Sequence[str] = (),
    progress: MakeProgress = no_progress,
) -> BuildReport:
    """Label every reference and write the dataset; go on where an earlier call stopped.

    Args:
        config: The settings, or what `make_plan` made of them.
        overwrite: Delete an earlier build in the same folder first.
        repair: Read every file, pixels too, and make again what is not as it was written. Otherwise pixel files are
            compared by their sizes.
        retry_failed: Try the photos in failed.csv again.
        strict: Refuse to go on with other image codecs than those of earlier calls.
        command: The command line, for run.json; the running program's by default.
        progress: Makes a progress bar for each stage.

    Raises:
        GlintError: See glint_label.errors; what is finished stays.
    """
    plan = config if isinstance(config, Plan) else make_plan(config)
    if repair and overwrite:
        raise UsageError("--repair and --overwrite: choose one; --overwrite deletes what --repair would keep")
    command = command or sys.argv
    with open_build(plan, overwrite=overwrite, repair=repair, strict=strict, command=command) as run:
        damaged = discard_damaged(plan, run, every_file=repair, progress=progress)
        fit = FitSource(plan, progress)
        watched = MeasureWatched(plan, progress)
        photos = MeasurePhotos(plan, retry_failed, progress)
        labels = LabelShards(plan, fit, watched, progress)
        shards = FinishShards(plan, photos, labels, progress)
        tables = WriteTables(plan, labels)
        stages: tuple[Stage, ...] = (fit, watched, photos, labels, shards, tables)
        resumed = len(plan.shards) - len(shards.missing())
        # A stage may undo one before it: a photo that vanishes while its pixels are made has no labels either.
        while not all(stage.is_whole() for stage in stages):
            for stage in stages:
                if missing := stage.missing():
                    stage.make(missing)
        counts, failures = tables.counts(), _count_failures(plan)
        vectors = fit.anchors.vectors
        remove_temporaries(plan.config.out)  # of workers that were killed, and whose work others have done
        run.close(counts, failures, similarity_among(plan.embedder.normalise(vectors, vectors)))
        return BuildReport(
            plan.config.out,
            counts,
            failures,
            run.seconds,
            resumed,
            damaged,
            plan.left_out,
            plan.source.missing_anchors,
            _count_other_sizes(plan, fit.anchors),
        )


def _count_other_sizes(plan: Plan, anchors: EmbeddedPhotos) -> int:
    """Count the references that are of no size that an anchor has, upright or not: their labels are of another one."""
    rated = {tuple(sorted(size)) for size in anchors.sizes[:, 2:].tolist()}
    folders = [shard_folder(plan.config.out, shard.number) for shard in plan.shards]
    sizes = (read_arrays(folder / "embeddings.npz", "sizes")[0][:, 2:].tolist() for folder in folders)
    return sum(tuple(sorted(size)) not in rated for shard in sizes for size in shard)


def _count_failures(plan: Plan) -> dict[str, int]:
    folders = [shard_folder(plan.config.out, shard.number) for shard in plan.shards]
    return dict(sorted(Counter(reason for folder in folders for _, reason, _ in read_failures(folder)).items()))
