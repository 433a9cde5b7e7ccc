"""What a build holds and whether it is whole: the figures behind `glint-label inspect`."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.errors import StateError
from glint_label.images import Size
from glint_label.manifest.coverage import describe_references
from glint_label.manifest.reading import read_audit, read_run, read_shard, size_of
from glint_label.manifest.schema import FAILED_COLUMNS, REFERENCES_COLUMNS
from glint_label.manifest.shards import LABELLED, MEASURED, SUCCESS, count_shards, read_record, shard_folder
from glint_label.manifest.tables import REPAIR, read_rows

_BINS = 20


@dataclass
class _Totals:
    """Sums over shards, so that a manifest of millions of rows is read one shard at a time."""

    rows: int = 0
    sums: pd.DataFrame | None = None
    squares: float = 0.0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))
    splits: Counter[str] = field(default_factory=Counter)
    pixels: int = 0

    def add(self, rows: pd.DataFrame, folder: Path, mos_range: tuple[float, float]) -> None:
        """Count one shard's rows."""
        self.rows += len(rows)
        self.histogram += np.histogram(rows["mos"], bins=_BINS, range=mos_range)[0]
        self.splits.update(rows["split"].tolist())
        keys = ["dist_type", "dist_name", "dist_level"]
        self.squares += float((rows["mos"] ** 2).sum())
        sums = (
            rows.assign(square=rows["mos"] ** 2)
            .groupby(keys)
            .agg(rows=("mos", "size"), mos=("mos", "sum"), square=("square", "sum"), mos_error=("mos_error", "sum"))
        )
        self.sums = sums if self.sums is None else self.sums.add(sums, fill_value=0)
        present = {path.name for path in folder.iterdir()}
        self.pixels += int(rows["file_name"].isin(present).sum())

    def distortions(self) -> list[dict[str, Any]]:
        """Mean label per level; per distortion its deviation over photos, and the mean expected error of a label."""
        if self.sums is None:
            return []
        table = []
        for (number, name), levels in self.sums.reset_index().groupby(["dist_type", "dist_name"]):
            means = levels["mos"] / levels["rows"]
            variances = (levels["square"] / levels["rows"] - means**2).clip(lower=0)
            table.append(
                {
                    "type": number,
                    "name": name,
                    "rows": int(levels["rows"].sum()),
                    "mos_by_level": dict(zip(levels["dist_level"].tolist(), means.round(4).tolist(), strict=True)),
                    "spread": round(float(np.sqrt(variances.mean())), 4),
                    "mos_error": round(float(levels["mos_error"].sum() / levels["rows"].sum()), 4),
                }
            )
        return table

    def labels(self) -> dict[str, float | None]:
        """Mean and deviation of all labels, and their mean expected error."""
        if self.sums is None or not self.rows:
            return {"mean": None, "std": None, "mos_error": None}
        mean = float(self.sums["mos"].sum()) / self.rows
        return {
            "mean": round(mean, 4),
            "std": round(max(0.0, self.squares / self.rows - mean**2) ** 0.5, 4),
            "mos_error": round(float(self.sums["mos_error"].sum()) / self.rows, 4),
        }


def summarise(out: Path) -> dict[str, Any]:
    """Read a build and check it.

    Args:
        out: The folder of the build.

    Returns:
        Plain figures, ready for JSON. `problems` lists everything that is damaged or missing; it is empty for a
        build that is whole.

    Raises:
        InputError: The folder is not a build.
        StateError: run.json or audit.json is damaged.
    """
    run = read_run(out)
    low, high = run["mos_range"]
    problems: list[str] = []
    totals = _Totals()
    references: list[dict[str, str]] = []
    failures: list[dict[str, str]] = []
    expected = count_shards(run["config"]["references"]["count"])
    for number in range(expected):
        folder = shard_folder(out, number)
        found = _check_shard(folder, run["config_sha256"])
        problems += found
        try:
            shard = read_shard(out, number)
            failures += read_rows(folder / "failed.csv", FAILED_COLUMNS)
        except StateError as error:
            problems += [] if found else [str(error)]
            continue
        totals.add(shard.metadata, folder, (low, high))
        references += shard.references
    if run["status"] != "complete":
        problems.append(f"{out}: the build has not finished; run the same build command again to go on")
    else:
        problems += _check_totals(out, run, totals, references)
    edges = np.linspace(low, high, _BINS + 1)
    return {
        "out": str(out),
        "status": run["status"],
        "source": run["config"]["source"],
        "ratings_note": run.get("ratings_note", ""),
        "embedder": run["config"]["embedder"]["embedder"],
        "transfer": run["config"]["transfer"],
        "audit": {row["transfer"]: row for row in (read_audit(out) or {"rows": []})["rows"]},
        "anchors": run["anchors"],
        "missing_anchors": run["missing_anchors"],
        "mos_range": [low, high],
        "shards": expected,
        "size": run["config"].get("size", "native"),
        "smaller": _count_smaller(references, size_of(run)),
        "rows": totals.rows,
        "pixel_files": totals.pixels,
        "splits": dict(sorted(totals.splits.items())),
        "distortions": totals.distortions(),
        "labels": {"edges": edges.round(4).tolist(), "counts": totals.histogram.tolist(), **totals.labels()},
        **describe_references(references, run["anchors"], run.get("anchor_similarity", {}).get("5")),
        "failures": failures,
        "problems": problems,
    }


def _count_smaller(references: list[dict[str, str]], size: Size) -> int:
    """Count the photos that do not cover the size that the others were brought to, and stayed as they are."""
    if size is None:
        return 0
    sizes = [sorted((int(row["width"]), int(row["height"]))) for row in references]
    return sum(one != sorted(size) for one in sizes)


def _check_shard(folder: Path, digest: str) -> list[str]:
    """Compare every file of a shard with its record: tables by their hashes, pixels by their sizes."""
    record = read_record(folder)
    if record is None:
        state = "damaged" if (folder / SUCCESS).is_file() else "missing, so the shard is not finished"
        return [f"{folder / SUCCESS}: {state}; {REPAIR}"]
    if record.config_sha256 != digest:
        return [f"{folder}: was made with another configuration; build again with --overwrite"]
    tables = [name for name in record.files if name in (*LABELLED, *MEASURED)]
    broken = record.broken(folder, tables, hashed=True)
    broken += record.broken(folder, [name for name in record.files if name not in tables])
    return [
        f"{folder / name}: {'has changed since it was built' if (folder / name).is_file() else 'is missing'}; {REPAIR}"
        for name in broken
    ]


def _check_totals(out: Path, run: dict[str, Any], totals: _Totals, references: list[dict[str, str]]) -> list[str]:
    problems = []
    counts = run["counts"]
    if totals.rows != counts["rows"]:
        problems.append(f"{out}: {totals.rows} rows in the shards, run.json says {counts['rows']}")
    merged = out / "references.csv"
    try:
        whole = read_rows(merged, REFERENCES_COLUMNS) == references
    except StateError:
        whole = False
    if not whole:
        problems.append(f"{merged}: differs from the shards'; {REPAIR}")
    return problems
