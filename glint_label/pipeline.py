"""The build: pristine photos in, a labelled dataset out, with the disk at both ends.

    source -> fit, audit                              anchors/, audit.json
    photos -> shards of 64 -> open, check, embed      shards/N/failed.csv, embeddings.npz    (workers, one decode)
           -> with gp: what each distortion shows     shards/N/visibility.npz                (workers, a second decode)
           -> all photos   -> near-duplicates, splits                                        (memory)
           -> shards of 64 -> neighbours, labels      shards/N/*.csv, pixels, _SUCCESS.json  (workers)
           -> whole build  -> references.csv, label_schema.json, README.md, run.json

The two passes are there because a split must see every photo: near-duplicates may lie in different shards. Whatever
kills the program, the same command goes on after the last whole shard and ends in the same bytes.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from glint_label.card import dataset_card
from glint_label.config import BuildConfig
from glint_label.engines import run_local
from glint_label.errors import InputError, TooManyFailuresError
from glint_label.files import lock_folder, write_atomic
from glint_label.fitted import FittedSource, fit_source
from glint_label.groups import content_groups
from glint_label.labels import LabelShards, ShardCounts, read_success, write_success
from glint_label.manifest import REFERENCES_COLUMNS, format_csv, schema, shard_folder
from glint_label.neighbours import similarity_among
from glint_label.plan import Plan, make_plan
from glint_label.progress import MakeProgress, no_progress
from glint_label.render import RenderReference
from glint_label.shards import (
    Measured,
    OpenPhotos,
    Request,
    Shard,
    is_measured,
    measure,
    read_failures,
    read_measured,
    write_measured,
)
from glint_label.state import close_run, open_run, prepare_folder
from glint_label.visibility_shards import MeasureReference, measure_visibilities


@dataclass(frozen=True)
class BuildReport:
    """What a build ended with.

    Attributes:
        out: Its folder.
        counts: references, abstained, excluded, failed, rows, shards.
        failures: Reason -> number of photos.
        seconds: Wall time of this call.
        resumed: Shards that an earlier call had finished.
        left_out: Distortions of the source that cannot be made here.
        missing_anchors: Anchors that the source lacks.
    """

    out: Path
    counts: dict[str, int]
    failures: dict[str, int]
    seconds: float
    resumed: int
    left_out: tuple[str, ...]
    missing_anchors: tuple[str, ...]


def build(
    config: BuildConfig,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    command: Sequence[str] = (),
    progress: MakeProgress = no_progress,
) -> BuildReport:
    """Label every reference and write the dataset; go on where an earlier call stopped.

    Args:
        config: The settings.
        overwrite: Delete an earlier build in the same folder first.
        retry_failed: Try the photos in failed.csv again.
        command: The command line, for run.json; the running program's by default.
        progress: Makes a progress bar for each stage.

    Raises:
        GlintError: See glint_label.errors; what is finished stays.
    """
    return run_plan(
        make_plan(config), overwrite=overwrite, retry_failed=retry_failed, command=command, progress=progress
    )


def run_plan(
    plan: Plan,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    command: Sequence[str] = (),
    progress: MakeProgress = no_progress,
) -> BuildReport:
    """Carry a plan out; see `build`."""
    started = time.monotonic()
    config = plan.config
    out = config.out
    with lock_folder(out, "build"):
        prepare_folder(plan, overwrite)
        run = open_run(plan, command or sys.argv)
        if retry_failed:
            _forget_labels(out, plan.shards)
        fitted = fit_source(plan, progress)
        vectors = fitted.anchors.vectors
        run["anchor_similarity"] = similarity_among(plan.embedder.normalise(vectors, vectors))
        _measure_watched(plan, progress)
        _measure_references(plan, retry_failed, progress)
        if fitted.transfer.uses_visibility:
            task = MeasureReference(config.refs.resolve(), tuple(plan.cells), config.seed)
            measure_visibilities(out, plan.shards, task, config.workers, progress)
        counts, resumed = _label(plan, fitted, progress)
        failures = _merge(plan, fitted, counts)
        seconds = time.monotonic() - started
        close_run(plan, run, counts, failures, seconds)
    return BuildReport(out, counts, failures, seconds, resumed, plan.left_out, plan.source.missing_anchors)


def _forget_labels(out: Path, shards: Sequence[Shard]) -> None:
    """Photos that come back can move the splits of others, so all shards are labelled again."""
    if any(read_failures(shard_folder(out, shard.number)) for shard in shards if is_measured(out, shard)):
        for shard in shards:
            (shard_folder(out, shard.number) / "_SUCCESS.json").unlink(missing_ok=True)


# -- first stage: open and embed -----------------------------------------------------------------------------------


def _measure_watched(plan: Plan, progress: MakeProgress) -> None:
    """Embed the pictures that references are compared with; all must open, or the guard would have a hole."""
    folder = plan.watched_folder
    requests = [Request(shard) for shard in plan.watched_shards if not is_measured(folder, shard)]
    if not requests:
        return
    waiting = sum(len(request.shard.names) for request in requests)
    with (
        closing(progress("watched", len(plan.watched), len(plan.watched) - waiting)) as bar,
        closing(run_local(OpenPhotos(plan.embedder.preparation), requests, plan.config.workers)) as results,
    ):
        for request, opened in results:
            shard = request.shard
            measured = measure(shard, opened, plan.embedder, None)
            for name, _, message in measured.failures:
                raise InputError(
                    f"{shard.paths[shard.names.index(name)]}: does not open ({message}), so its copies cannot be "
                    "found; restore the file, or take it out of the folder"
                )
            write_measured(shard_folder(folder, shard.number), measured)
            bar.update(len(opened))


def _measure_references(plan: Plan, retry_failed: bool, progress: MakeProgress) -> None:
    out = plan.config.out
    failed = 0
    requests: list[Request] = []
    known: dict[int, Measured] = {}
    for shard in plan.shards:
        if not is_measured(out, shard):
            requests.append(Request(shard))
            continue
        folder = shard_folder(out, shard.number)
        failures = read_failures(folder)
        if retry_failed and failures:
            known[shard.number] = read_measured(folder)
            requests.append(Request(shard, frozenset(name for name, *_ in failures)))
        else:
            failed += len(failures)
    total = len(plan.names)
    waiting = sum(len(request.shard.names) if request.wanted is None else len(request.wanted) for request in requests)
    task = OpenPhotos(plan.embedder.preparation)
    with (
        closing(progress("references", total, total - waiting)) as bar,
        closing(run_local(task, requests, plan.config.workers)) as results,
    ):
        for request, opened in results:
            number = request.shard.number
            measured = measure(request.shard, opened, plan.embedder, known.get(number))
            write_measured(shard_folder(out, number), measured)
            failed += len(measured.failures)
            bar.update(sum(photo is not None for photo in opened))
            _check_failures(failed, plan)
    _check_failures(failed, plan)


def _check_failures(failed: int, plan: Plan) -> None:
    limit = plan.config.max_failures
    if limit is not None and failed > limit:
        raise TooManyFailuresError(
            f"{failed} photos could not be used, more than --max-failures {limit}: see "
            f"{plan.config.out / 'shards'}/*/failed.csv; what is finished is kept"
        )


# -- second stage: neighbours and labels ---------------------------------------------------------------------------


def _label(plan: Plan, fitted: FittedSource, progress: MakeProgress) -> tuple[dict[str, int], int]:
    config, out = plan.config, plan.config.out
    done: dict[int, ShardCounts] = {}
    for shard in plan.shards:
        counts = read_success(shard_folder(out, shard.number), plan.digest)
        if counts is not None:
            done[shard.number] = counts
    resumed = len(done)
    anchors = fitted.anchors
    task = LabelShards(
        out=out,
        anchors=anchors.names,
        anchor_vectors=plan.embedder.normalise(anchors.vectors, anchors.vectors),
        cells=plan.cells,
        cell_mean=fitted.cell_mean,
        mos_range=plan.source.mos_range,
        transfer=fitted.transfer,
        k=config.k,
        min_similarity=config.min_similarity,
        seed=config.seed,
        suffix=config.suffix,
    )
    fresh: dict[int, ShardCounts] = {}
    already = sum(len(plan.shards[number].names) for number in done)
    groups = (group for group in content_groups(plan, anchors) if group.number not in done)
    waiting = groups if len(done) < len(plan.shards) else ()
    with (
        closing(progress("labels", len(plan.names), already)) as bar,
        closing(run_local(task, waiting, config.workers)) as results,
    ):
        for group, counts in results:
            fresh[group.number] = counts
            bar.update(len(plan.shards[group.number].names))
            if config.images == "none":
                write_success(shard_folder(out, group.number), plan.digest, counts)
    if config.images != "none":
        _render(plan, fresh, progress)
    done |= fresh
    fields = ("references", "abstained", "excluded", "failed", "rows")
    totals = {field: sum(getattr(counts, field) for counts in done.values()) for field in fields}
    return {**totals, "shards": len(plan.shards)}, resumed


def _render(plan: Plan, fresh: dict[int, ShardCounts], progress: MakeProgress) -> None:
    """Make the pixels of freshly labelled shards; a shard is done when its last image is."""
    out, config = plan.config.out, plan.config
    names = {number: read_measured(shard_folder(out, number)).names for number in sorted(fresh)}
    waiting = {number: len(references) for number, references in names.items()}
    items = [(shard_folder(out, number), name) for number, references in names.items() for name in references]
    with (
        closing(progress("pixels", len(items), 0)) as bar,
        closing(run_local(RenderReference(config.refs.resolve()), items, config.workers)) as results,
    ):
        for (folder, _), _ in results:
            number = int(folder.name)
            waiting[number] -= 1
            if waiting[number] == 0:
                write_success(folder, plan.digest, fresh[number])
            bar.update(1)


# -- the whole -----------------------------------------------------------------------------------------------------


def _merge(plan: Plan, fitted: FittedSource, counts: dict[str, int]) -> dict[str, int]:
    """Write the tables and texts about all shards; count the failures by reason."""
    out = plan.config.out
    folders = [shard_folder(out, shard.number) for shard in plan.shards]
    write_atomic(out / "references.csv", _merged_references(folders))
    failures = Counter(reason for folder in folders for _, reason, _ in read_failures(folder))
    write_atomic(out / "label_schema.json", json.dumps(schema(plan.source.mos_range), indent=1) + "\n")
    write_atomic(out / "README.md", dataset_card(plan.settings, plan.source, plan.left_out, counts, fitted.audit))
    return dict(sorted(failures.items()))


def _merged_references(folders: Sequence[Path]) -> Iterator[str]:
    header = format_csv(REFERENCES_COLUMNS, [])
    yield header
    for folder in folders:
        yield (folder / "references.csv").read_text(encoding="utf-8").removeprefix(header)
