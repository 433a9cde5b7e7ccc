"""A manifest becomes rows to train on, every table checked against its hash."""

import hashlib
import json
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.distortions import DISTORTIONS
from glint_label.errors import InputError, StateError
from glint_label.files import absent_files
from glint_label.images import Size
from glint_label.manifest import count_shards, read_run, read_shard, reference_path, size_of
from glint_label.storage import place_of
from glint_model.data.rows import Data, Rows

# Transfers whose labels rest on the neighbours that references.csv lists, and on nothing else.
_LOCAL_TRANSFERS = ("top1", "knn", "syndr")


def find_build(root: Path = Path("manifests")) -> Path:
    """Find the only build below a folder.

    Raises:
        InputError: There is none, or more than one.
    """
    builds = sorted(path.parent for path in root.glob("*/run.json"))
    if not builds:
        raise InputError(f"no build below {root}; make one with `glint-label build`, or name it with --manifest")
    if len(builds) > 1:
        raise InputError(f"{len(builds)} builds below {root}: {', '.join(map(str, builds))}; choose with --manifest")
    return builds[0]


def read_manifest_rows(
    folder: Path,
    refs: Path | None = None,
    exclude_anchors: Collection[str] = (),
    min_similarity: float | None = None,
    pixels: str = "fly",
) -> Data:
    """Read a build, checking every table against its hash.

    Args:
        folder: What `glint-label build` made.
        refs: Root of the photos, where it is not the one that run.json names.
        exclude_anchors: No label may rest on these; rows that do are left out.
        min_similarity: Leave out photos less similar to their nearest anchor.
        pixels: `disk` names the pixel files and wants them to be there.

    Raises:
        InputError: Not a build, photos that are missing, or nothing left to train on.
        StateError: The build is unfinished or damaged.
    """
    run = read_run(folder)
    root = refs or place_of(run["refs"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; pass the folder of the references with --refs")
    if run.get("status") != "complete":
        raise StateError(f"{folder}: the build has not finished; run the same build command again to go on")
    shards = count_shards(int(run["config"]["references"]["count"]))
    anchors = set(exclude_anchors)
    if anchors <= set(run["config"].get("exclude_anchors", [])):
        anchors = set()  # no label of this build rests on them
    elif run["config"]["transfer"] not in _LOCAL_TRANSFERS:
        raise InputError(
            f"{folder}: labels made by {run['config']['transfer']} rest on all anchors; build again with "
            f"--exclude-anchors {shlex.quote(','.join(sorted(anchors)))}"
        )
    gather, digest = _Gather(root, size_of(run)), hashlib.sha256()
    for number in range(shards):
        shard = read_shard(folder, number)
        if shard.config_sha256 != run["config_sha256"]:
            raise StateError(f"{shard.folder}: was made with other settings than run.json names; build again")
        _check_labels(shard.metadata, shard.folder / "metadata.csv")
        digest.update(shard.sha256.encode())
        keep = ~shard.metadata["reference"].isin(_leaning(shard.references, anchors)).to_numpy()
        if min_similarity is not None:
            keep &= (shard.metadata["similarity"] >= min_similarity).to_numpy()
        where = f"shards/{number:05d}" if pixels == "disk" else ""
        sha256 = {row["reference"]: row["sha256"] for row in shard.references}
        gather.add(shard.metadata[keep], sha256, folder, where)
    rows, is_val = gather.rows(folder)
    if not len(rows):
        raise InputError(
            f"{folder}: no row is left by --exclude-anchors and --min-similarity; "
            "build again with the same --exclude-anchors, then no label rests on them"
        )
    if is_val.all():
        raise InputError(f"{folder}: all rows that are left are of the validation split; there is nothing to train on")
    origin = {
        "kind": "manifest",
        "config_sha256": str(run["config_sha256"]),
        "tables_sha256": digest.hexdigest(),
        "train": int((~is_val).sum()),
        "val": int(is_val.sum()),
    }
    return Data(rows.take(~is_val), rows.take(is_val), origin)


def _check_labels(table: pd.DataFrame, path: Path) -> None:
    wrong = ~np.isfinite(table[["mos", "mos_error"]].to_numpy()).all(axis=1)
    if wrong.any():
        line, count = int(np.flatnonzero(wrong)[0]) + 2, int(wrong.sum())
        raise StateError(f"{path}, line {line}: the label is not a number ({count} such rows); build again")


def _leaning(references: Iterable[dict[str, str]], anchors: set[str]) -> set[str]:
    """Name the photos whose labels rest on some of the anchors."""
    found = set()
    for row in references if anchors else ():
        pairs = zip(json.loads(row["neighbours"] or "[]"), json.loads(row["weights"] or "[]"), strict=False)
        if {name for name, weight in pairs if weight > 0} & anchors:
            found.add(row["reference"])
    return found


class _Gather:
    """Columns of numbers, gathered shard by shard: millions of rows of text would not fit into memory."""

    def __init__(self, root: Path, size: Size) -> None:
        self._root = root
        self._size = size
        self._photos: list[Path] = []
        self._sha256: list[str] = []
        self._conditions: dict[tuple[str, int], int] = {}
        self._columns: list[dict[str, NDArray[Any]]] = []

    def add(self, table: pd.DataFrame, sha256: dict[str, str], folder: Path, where: str) -> None:
        """Add a shard's rows.

        Args:
            table: Of metadata.csv.
            sha256: Of each photo's file, by its name.
            folder: Of the build.
            where: Folder of the pixel files below it; empty to make the pixels.

        Raises:
            InputError: Photos or pixel files that are missing, or distortions that cannot be made.
        """
        strange = sorted(set(table["dist_name"]) - set(DISTORTIONS))
        if strange and not where:
            raise InputError(f"{folder}: distortion {strange[0]!r} cannot be made here; train with --pixels disk")
        photo, names = pd.factorize(table["reference"])
        condition, conditions = pd.MultiIndex.from_frame(table[["dist_name", "dist_level"]]).factorize()
        numbers = [
            self._conditions.setdefault((str(name), int(level)), len(self._conditions)) for name, level in conditions
        ]
        files: NDArray[np.bytes_] = np.empty(0, dtype=np.bytes_)
        if where:
            present = {path.name for path in (folder / where).iterdir()}
            missing = [name for name in table["file_name"] if name not in present]
            if missing:
                raise InputError(
                    f"{folder / where / missing[0]}: is missing ({len(missing)} of {len(table)} images there); "
                    "make them with `glint-label render`, or train with --pixels fly"
                )
            files = np.array([f"{where}/{name}".encode() for name in table["file_name"]])
        self._columns.append(
            {
                "photo": photo + len(self._photos),
                "condition": np.array(numbers, dtype=np.int64)[condition] if numbers else condition,
                "seed": table["seed"].to_numpy(dtype=np.int64),
                "mos": table["mos"].to_numpy(dtype=np.float32),
                "mos_error": table["mos_error"].to_numpy(dtype=np.float32),
                "files": files,
                "is_val": (table["split"] == "val").to_numpy(),
            }
        )
        self._photos += [reference_path(self._root, name) for name in names]
        self._sha256 += [sha256.get(name, "") for name in names]

    def rows(self, folder: Path) -> tuple[Rows, NDArray[np.bool_]]:
        """Join what was added; also tell which rows are of the validation split."""
        joined = {name: np.concatenate([part[name] for part in self._columns]) for name in self._columns[0]}
        is_val = joined.pop("is_val")
        if not len(joined["files"]):
            missing = absent_files(self._root, self._photos)
            if missing:
                what = f"{len(missing)} of {len(self._photos)} photos"
                raise InputError(f"{missing[0]}: is missing ({what}); restore it, or pass their folder with --refs")
        rows = Rows(
            tuple(self._photos),
            tuple(self._sha256),
            tuple(self._conditions),
            **joined,
            root=folder,
            size=self._size,
        )
        return rows, is_val
