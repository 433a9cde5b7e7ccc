"""The manifest: one row per pseudo-labelled image. Columns, formatting, reading; manifests/README.md explains it.

Tables are read by header name, never by position, and nothing is ever parsed out of a file name.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.errors import InputError, StateError

SHARD_SIZE = 64  # references; 64 x 125 = 8,000 rows, below the 10,000 files a folder that dataset hubs allow

# name -> (type, range, meaning); {low} and {high} are the source's range of scores.
METADATA_COLUMNS = {
    "file_name": (
        "string",
        "",
        "pixel file beside this metadata.csv; the name it will have when there is none yet",
    ),
    "ref_file_name": ("string", "", "pristine photo, relative to the references root `refs` of run.json"),
    "ref_id": ("string", "16 hex digits", "first 16 digits of the sha256 of ref_file_name"),
    "dist_type": ("int64", "1..25", "KADID-10k's number of the distortion; 0 for one that it does not have"),
    "dist_name": ("string", "", "name of the distortion"),
    "dist_level": (
        "int64",
        "1..5",
        "index of the setting; NOT severity: types 18 and 25 are mildest at level 3",
    ),
    "seed": (
        "int64",
        "0..2^53-1",
        "with the reference, dist_name and dist_level it rebuilds the same pixels",
    ),
    "mos": ("float64", "{low}..{high}", "pseudo mean opinion score, HIGHER IS BETTER"),
    "mos_std": ("float64", "0..", "standard deviation of (mos - rating) to be expected, on the scale of mos"),
    "anchor": ("string", "", "the most similar rated anchor"),
    "similarity": ("float64", "-1..1", "similarity of the reference and that anchor"),
    "split": ("string", "train, val", "by content group: near-duplicates never straddle it"),
}
REFERENCES_COLUMNS = {
    "ref_id": ("string", "16 hex digits", "first 16 digits of the sha256 of ref_file_name"),
    "ref_file_name": ("string", "", "pristine photo, relative to the references root `refs` of run.json"),
    "sha256": ("string", "64 hex digits", "of the photo's file"),
    "width": ("int64", "64..", "pixels, after the EXIF orientation"),
    "height": ("int64", "64..", "pixels, after the EXIF orientation"),
    "shard": ("int64", "0..", "number of the folder below shards/"),
    "neighbours": ("JSON list of strings", "", "the nearest anchors, nearest first"),
    "similarities": ("JSON list of numbers", "-1..1", "similarity to each neighbour"),
    "weights": (
        "JSON list of numbers",
        "",
        "how much each neighbour's ratings count through content (gp: may be negative); empty: no labels",
    ),
    "mos_offset": ("float64", "", "mean of the reference's labels less the mean of the source's cell means"),
    "split": ("string", "train, val", "empty: abstained or excluded"),
    "near_duplicate_of": (
        "string",
        "",
        "`excluded:NAME` (of --exclude-near), `anchor:NAME`, or the earlier reference that is the same picture; "
        "else empty",
    ),
}
FAILED_COLUMNS = {
    "ref_file_name": ("string", "", "the photo that could not be used"),
    "reason": (
        "string",
        "",
        "unreadable, empty, not_an_image, truncated, too_large, too_small, animated, unsupported",
    ),
    "message": ("string", "", "what was found"),
}


def ref_id(ref_file_name: str) -> str:
    """Name a reference: the first 16 hex digits of the sha256 of its file name."""
    return hashlib.sha256(ref_file_name.encode()).hexdigest()[:16]


def recipe_seeds(ref_file_name: str, seed: int, count: int) -> NDArray[np.int64]:
    """Draw the seeds of one reference's images, a pure function of its name and the build's seed.

    Args:
        ref_file_name: As in the manifest.
        seed: The build's.
        count: How many; a longer list begins with the shorter one.

    Returns:
        (count,) int64 in 0..2^53-1: exact in a float64 column, a spreadsheet and JSON too.
    """
    stream = hashlib.shake_256(f"{seed}\0{ref_file_name}".encode()).digest(8 * count)
    return (np.frombuffer(stream, dtype="<u8") >> np.uint64(11)).astype(np.int64)


def split_of(group: str) -> str:
    """Put a tenth of the content groups into `val`, by the hash of the group's first file name."""
    return "val" if int(hashlib.sha256(f"split\0{group}".encode()).hexdigest()[:8], 16) % 10 == 0 else "train"


def format_numbers(values: Iterable[float]) -> list[str]:
    """Write numbers with four decimals; minus zero becomes zero."""
    return [f"{value:.4f}" if value <= -0.00005 or value >= 0.00005 else "0.0000" for value in values]


def format_list(values: Iterable[float]) -> str:
    """Write a JSON list of numbers with four decimals."""
    return f"[{', '.join(format_numbers(values))}]"


def format_csv(columns: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a CSV text: header, minimal quoting, LF."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def read_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a small table by header name, as text.

    Raises:
        StateError: The file is not there, or lacks a column.
    """
    wanted = list(columns)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            absent = [column for column in wanted if column not in (reader.fieldnames or [])]
            if absent:
                raise StateError(f"{path}: has no column {absent[0]!r}; build the manifest again")
            return [{column: row[column] for column in wanted} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StateError(f"{path}: cannot be read ({error}); run the same build again to repair it") from error


def schema(mos_range: tuple[float, float]) -> dict[str, Any]:
    """Describe every column of the three tables, for label_schema.json."""
    low, high = mos_range
    tables = {
        "metadata.csv": METADATA_COLUMNS,
        "references.csv": REFERENCES_COLUMNS,
        "failed.csv": FAILED_COLUMNS,
    }
    return {
        "mos_range": [low, high],
        "higher_is_better": True,
        "tables": {
            table: {
                name: {"type": kind, "range": extent.format(low=low, high=high), "meaning": meaning}
                for name, (kind, extent, meaning) in columns.items()
            }
            for table, columns in tables.items()
        },
    }


def shard_folder(out: Path, number: int) -> Path:
    """Name the folder of a shard."""
    return out / "shards" / f"{number:05d}"


def shard_folders(out: Path) -> list[Path]:
    """List the shards of a build, in order."""
    return sorted(path for path in (out / "shards").glob("[0-9]*") if path.is_dir())


def read_run(out: Path) -> dict[str, Any]:
    """Read a build's run.json.

    Raises:
        InputError: There is none: the folder is not a build.
        StateError: It is damaged.
    """
    path = out / "run.json"
    if not path.is_file():
        raise InputError(f"{out}: holds no run.json, so it is not the output of `glint-label build`")
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: cannot be read ({error}); build again with --overwrite") from error
    if not isinstance(run, dict) or "config" not in run:
        raise StateError(f"{path}: lacks the configuration; build again with --overwrite")
    return run


def read_audit(out: Path) -> dict[str, Any] | None:
    """Read a build's audit.json; None where there is none.

    Raises:
        StateError: It is damaged.
    """
    path = out / "audit.json"
    if not path.is_file():
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: damaged ({error}); delete it and run the same build again") from error
    return report


def read_shard(folder: Path) -> pd.DataFrame:
    """Read one shard's metadata.csv with the column types of the schema.

    Raises:
        StateError: It is missing or malformed.
    """
    path = folder / "metadata.csv"
    types = {name: kind for name, (kind, _, _) in METADATA_COLUMNS.items()}
    try:
        table = pd.read_csv(path, dtype=types, keep_default_na=False, usecols=list(types), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: cannot be read ({error}); run the same build again to repair it") from error
    return table[list(types)]


def iterate_shards(out: Path) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Yield each finished shard's folder and rows; memory holds one shard at a time."""
    for folder in shard_folders(out):
        if (folder / "_SUCCESS.json").is_file():
            yield folder, read_shard(folder)


def read_manifest(out: Path | str) -> pd.DataFrame:
    """Read a whole build's rows, with the column `shard` added.

    Args:
        out: The folder that `glint-label build` made.

    Raises:
        InputError: The folder is not a build, or has no finished shard.
        StateError: A shard is damaged.
    """
    root = Path(out)
    read_run(root)
    tables = [table.assign(shard=int(folder.name)) for folder, table in iterate_shards(root)]
    if not tables:
        raise InputError(f"{root}: has no finished shard yet; run the same build again to go on")
    return pd.concat(tables, ignore_index=True)


def reference_path(refs: Path, ref_file_name: str) -> Path:
    """Find a reference below its root.

    Raises:
        InputError: The name leads out of the root: a manifest may come from anyone.
    """
    name = PurePosixPath(ref_file_name)
    if name.is_absolute() or ".." in name.parts or "\\" in ref_file_name or "\0" in ref_file_name:
        raise InputError(f"{ref_file_name!r} leads out of the references root {refs}; refused")
    return refs / name
