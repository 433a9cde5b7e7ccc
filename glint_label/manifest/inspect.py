"""What a build holds and whether it is whole: the figures behind `glint-label inspect`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glint_label.engines import run_tasks
from glint_label.errors import StateError
from glint_label.images import Size
from glint_label.manifest.coverage import describe_references
from glint_label.manifest.damage import CHANGED, MISSING, agree, damage_beside_shards, damage_of_shard
from glint_label.manifest.reading import read_audit, read_run, size_of
from glint_label.manifest.schema import FAILED_COLUMNS
from glint_label.manifest.shards import LABELLED, MEASURED, SUCCESS, count_shards, read_record, shard_folder
from glint_label.manifest.tables import REPAIR, read_metadata, read_references, read_rows
from glint_label.manifest.totals import LABEL_BINS, Totals
from glint_label.progress import MakeProgress, no_progress

_COUNTED = ("dist_type", "dist_name", "dist_level", "mos", "mos_error", "similarity", "split")
_TOGETHER = 12  # shards that a worker looks at before it answers
_WORTH_A_WORKER = 48  # shards, which take about as long as a worker takes to start


@dataclass(frozen=True)
class Inspection:
    """What was found in a build.

    Attributes:
        run: Its run.json.
        figures: Plain figures, ready for JSON; see `summarise`.
        totals: Of the labels.
        references: The rows of all references.csv, as text.
    """

    run: dict[str, Any]
    figures: dict[str, Any]
    totals: Totals
    references: list[dict[str, str]]


@dataclass(frozen=True)
class _ShardFound:
    problems: list[str]
    references: list[dict[str, str]]
    failures: list[dict[str, str]]
    pixels: int


def summarise(out: Path, workers: int = 0, progress: MakeProgress = no_progress) -> dict[str, Any]:
    """Read a build and check it.

    Args:
        out: The folder of the build.
        workers: Processes that read a large one; 0 for this one.
        progress: Makes the progress bar, which counts shards.

    Returns:
        Plain figures, ready for JSON. `problems` lists everything that is damaged or missing; it is empty for a
        build that is whole.

    Raises:
        InputError: The folder is not a build.
        StateError: run.json or audit.json is damaged.
    """
    return inspect_build(out, workers, progress).figures


def inspect_build(out: Path, workers: int = 0, progress: MakeProgress = no_progress) -> Inspection:
    """Read a build and check it, as `summarise` does; memory holds few shards at a time, and all references."""
    run = read_run(out)
    low, high = run["mos_range"]
    expected = count_shards(run["config"]["references"]["count"])
    look = partial(_look_at_shards, out, run["config_sha256"], (low, high))
    found: dict[int, list[_ShardFound]] = {}
    totals = Totals()
    workers = min(workers, expected // _WORTH_A_WORKER)
    parts = [range(start, min(start + _TOGETHER, expected)) for start in range(0, expected, _TOGETHER)]
    with run_tasks(look, parts, workers, progress, "shards", expected, size=lambda part, _: len(part)) as results:
        for part, (some, counted) in results:
            totals.add(counted)
            found[part.start] = some
    shards = [shard for start in sorted(found) for shard in found[start]]
    problems = [problem for shard in shards for problem in shard.problems]
    references = [row for shard in shards for row in shard.references]
    damage = damage_beside_shards(out, run)
    problems += [f"{out / name}: {state}; {REPAIR}" for name, state in damage.items()]
    audit = None if "audit.json" in damage else read_audit(out)
    if run["status"] != "complete":
        problems.append(f"{out}: the build has not finished; run the same build command again to go on")
    else:
        problems += _check_totals(out, run, totals.rows, expected)
    figures = {
        "out": str(out),
        "status": run["status"],
        "source": run["config"]["source"],
        "ratings_note": run.get("ratings_note", ""),
        "embedder": run["config"]["embedder"]["embedder"],
        "transfer": run["config"]["transfer"],
        "audit": {row["transfer"]: row for row in (audit or {"rows": []})["rows"]},
        "anchors": run["anchors"],
        "missing_anchors": run["missing_anchors"],
        "mos_range": [low, high],
        "shards": expected,
        "size": run["config"].get("size", "native"),
        "smaller": _count_smaller(references, size_of(run)),
        "rows": totals.rows,
        "pixel_files": sum(shard.pixels for shard in shards),
        "splits": totals.splits,
        "distortions": totals.distortions(),
        "labels": {
            "edges": np.linspace(low, high, LABEL_BINS + 1).round(4).tolist(),
            "counts": totals.histogram().tolist(),
            **totals.labels(),
        },
        **describe_references(references, run["anchors"], run.get("anchor_similarity", {}).get("5")),
        "failures": [row for shard in shards for row in shard.failures],
        "problems": problems,
    }
    return Inspection(run, figures, totals, references)


def _look_at_shards(
    out: Path, digest: str, mos_range: tuple[float, float], numbers: range
) -> tuple[list[_ShardFound], Totals]:
    """Check and count some shards: the workers' part, which sums up before it answers."""
    totals = Totals()
    found = [_look_at_shard(out, digest, mos_range, number, totals) for number in numbers]
    return found, totals


def _look_at_shard(out: Path, digest: str, mos_range: tuple[float, float], number: int, totals: Totals) -> _ShardFound:
    """Check one shard and add its rows to the totals; one that cannot be read counts nothing."""
    folder = shard_folder(out, number)
    problems, whole = _check_shard(folder, digest)
    nothing = _ShardFound(problems, [], [], 0)
    if not whole:
        return nothing
    try:
        rows = read_metadata(folder / "metadata.csv", _COUNTED, "category")
        references = read_references(folder / "references.csv")
        failures = read_rows(folder / "failed.csv", FAILED_COLUMNS)
        pixels = _count_pixels(folder)
    except StateError as error:
        return nothing if problems else replace(nothing, problems=[str(error)])
    record = read_record(folder)
    if record is None or not agree(record.counts, references, len(failures), len(rows)):
        problems.append(f"{folder / SUCCESS}: {CHANGED}; {REPAIR}")
    totals.add(Totals.of(rows, mos_range))
    return _ShardFound(problems, references, failures, pixels)


def _count_pixels(folder: Path) -> int:
    """Count the pixel files that a shard's rows name."""
    present = {path.name for path in folder.iterdir()} - {*LABELLED, *MEASURED, SUCCESS}
    if not present:
        return 0
    return int(read_metadata(folder / "metadata.csv", ("file_name",))["file_name"].isin(present).sum())


def _count_smaller(references: list[dict[str, str]], size: Size) -> int:
    """Count the photos that do not cover the size that the others were brought to, and stayed as they are."""
    if size is None:
        return 0
    sizes = [sorted((int(row["width"]), int(row["height"]))) for row in references]
    return sum(one != sorted(size) for one in sizes)


def _check_shard(folder: Path, digest: str) -> tuple[list[str], bool]:
    """Compare every file of a shard with its record: tables by their hashes, pixels by their sizes.

    Returns:
        What is wrong, and whether the tables of labels can be counted all the same.
    """
    damage = damage_of_shard(folder, digest, pixels=False)
    if damage.get(SUCCESS) == MISSING:
        return [f"{folder / SUCCESS}: is missing, so the shard is not finished; {REPAIR}"], False
    problems = [f"{folder / name}: {state}; {REPAIR}" for name, state in damage.items()]
    return problems, not set(damage) & {*LABELLED, SUCCESS}


def _check_totals(out: Path, run: dict[str, Any], rows: int, shards: int) -> list[str]:
    problems = []
    counts = run["counts"]
    if rows != counts["rows"]:
        problems.append(f"{out}: {rows} rows in the shards, run.json says {counts['rows']}")
    merged = out / "references.csv"
    if not _is_merged(merged, [shard_folder(out, number) / "references.csv" for number in range(shards)]):
        problems.append(f"{merged}: differs from the shards'; {REPAIR}")
    return problems


def _is_merged(merged: Path, parts: Iterable[Path]) -> bool:
    """Tell whether a table holds the lines of others one after the other, below one header."""
    try:
        with merged.open("rb") as whole:
            header = whole.readline()
            for part in parts:
                head, _, lines = part.read_bytes().partition(b"\n")
                if head + b"\n" != header or whole.read(len(lines)) != lines:
                    return False
            return not whole.read(1)
    except OSError:
        return False
