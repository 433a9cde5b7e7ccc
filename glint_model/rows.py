"""What training reads: rows of (photo, distortion, level, seed) and their labels, whatever they came from."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.distortions import DISTORTIONS
from glint_label.errors import InputError, StateError
from glint_label.files import sha256_of
from glint_label.manifest import (
    read_rows,
    read_run,
    read_shard,
    recipe_seeds,
    reference_path,
    shard_folder,
    split_of,
)
from glint_model.datasets import RatedImages

# Transfers whose labels rest on the neighbours that references.csv lists, and on nothing else.
_LOCAL_TRANSFERS = ("top1", "knn")
_BOUND = 4.0


@dataclass(frozen=True)
class Rows:
    """Labelled images, as columns.

    Attributes:
        photos: Files of the photos.
        sha256: Of each photo's file, hex; empty where it is not known.
        cells: The (distortion, level) that occur.
        photo: (n,) index into `photos`.
        cell: (n,) index into `cells`; -1: the photo as it is.
        seed: (n,) of the distortion.
        mos: (n,) labels.
        mos_std: (n,) their standard deviation; NaN where unknown.
        files: The images' own files, for `--pixels disk`; empty where there are none.
    """

    photos: tuple[Path, ...]
    sha256: tuple[str, ...]
    cells: tuple[tuple[str, int], ...]
    photo: NDArray[np.int64]
    cell: NDArray[np.int64]
    seed: NDArray[np.int64]
    mos: NDArray[np.float32]
    mos_std: NDArray[np.float32]
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        """Count the images."""
        return len(self.mos)

    def take(self, index: NDArray[Any]) -> "Rows":
        """Keep some rows, by a mask or by their numbers."""
        columns = {name: getattr(self, name)[index] for name in ("photo", "cell", "seed", "mos", "mos_std")}
        kept = np.arange(len(self))[index]
        return replace(self, **columns, files=tuple(self.files[row] for row in kept) if self.files else ())

    def weights(self) -> NDArray[np.float32]:
        """Weigh each row by 1 / mos_std^2, bounded, with mean 1; alike where it is unknown."""
        if np.isnan(self.mos_std).any():
            return np.ones(len(self), dtype=np.float32)
        with np.errstate(divide="ignore"):
            precision = 1 / np.square(self.mos_std.astype(np.float64))
        if not np.isfinite(np.median(precision)):
            return np.ones(len(self), dtype=np.float32)
        bounded = np.clip(precision / np.median(precision), 1 / _BOUND, _BOUND)
        weights: NDArray[np.float32] = (bounded / bounded.mean()).astype(np.float32)
        return weights


@dataclass(frozen=True)
class Data:
    """Rows to learn from and rows to validate on, and what they are.

    Attributes:
        train: Rows to learn from.
        val: Rows to validate on; their photos are not those of `train`.
        origin: What a continued run must find unchanged: kind, hash, counts.
    """

    train: Rows
    val: Rows
    origin: dict[str, Any]


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
    root = refs or Path(run["refs"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; pass the folder of the references with --refs")
    if run.get("status") != "complete":
        raise StateError(f"{folder}: the build has not finished; run the same build command again to go on")
    shards = -(-int(run["config"]["references"]["count"]) // 64)
    tables, digest = [], hashlib.sha256()
    for number in range(shards):
        table, hashed = _read_checked(shard_folder(folder, number))
        tables.append(table.assign(shard=number))
        digest.update(hashed.encode())
    table = pd.concat(tables, ignore_index=True)
    sha256 = _hashes(folder, shards)
    known_clean = set(exclude_anchors) <= set(run["config"].get("exclude_anchors", []))
    keep = np.ones(len(table), dtype=bool)
    if exclude_anchors and not known_clean:
        keep &= ~table["ref_file_name"].isin(_leaning(folder, shards, run, set(exclude_anchors))).to_numpy()
    if min_similarity is not None:
        keep &= (table["similarity"] >= min_similarity).to_numpy()
    if not keep.any():
        raise InputError(
            f"{folder}: no row is left by --exclude-anchors and --min-similarity; "
            "build again with the same --exclude-anchors, then no label rests on them"
        )
    rows = _from_table(table[keep], root, sha256, folder if pixels == "disk" else None)
    is_val = (table["split"][keep] == "val").to_numpy()
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


def rated_rows(rated: RatedImages, pixels: str = "fly", seed: int = 0) -> Data:
    """Make rows of images that people have rated.

    A tenth of the contents, at least one, is for validation, by the hash of its name.

    Args:
        rated: Only what is to be trained on.
        pixels: `fly` makes the images from their anchors, with our distortions; `disk` reads them.
        seed: Of the random distortions.

    Raises:
        InputError: Images or anchors that are missing, distortions that cannot be made here, too few contents.
    """
    images = rated.images.reset_index(drop=True)
    group, names = pd.factorize(images["group"], sort=True)
    if len(names) < 2:
        raise InputError(f"{rated.name}: one content is left; training needs two, one of them for validation")
    if pixels == "fly":
        rows = _made_from_anchors(rated, images, seed)
    else:
        # Images that all differ in content are compared with any others; a photo's, with one another.
        photo = np.zeros(len(images), dtype=np.int64) if len(names) == len(images) else group
        files = tuple(rated.root / name for name in images["file_name"])
        if missing := rated.missing():
            raise InputError(
                f"{rated.root / missing[0]}: is missing ({len(missing)} of {len(files)} images); restore it"
                + (", or train with --pixels fly" if rated.source else "")
            )
        rows = _unseeded(images, photo, files)
    held_out = np.array([split_of(f"finetune\0{name}") == "val" for name in names])
    if held_out.all() or not held_out.any():
        held_out = np.arange(len(names)) == 0
    is_val = held_out[group]
    table = images.to_csv(index=False, float_format="%.6f")
    origin = {
        "kind": rated.name,
        "table_sha256": hashlib.sha256(table.encode()).hexdigest(),
        "train": int((~is_val).sum()),
        "val": int(is_val.sum()),
    }
    return Data(rows.take(~is_val), rows.take(is_val), origin)


def _unseeded(images: pd.DataFrame, photo: NDArray[np.int64], files: tuple[Path, ...]) -> Rows:
    return Rows(
        photos=(),
        sha256=(),
        cells=(),
        photo=photo.astype(np.int64),
        cell=np.full(len(images), -1),
        seed=np.zeros(len(images), dtype=np.int64),
        mos=images["mos"].to_numpy(dtype=np.float32),
        mos_std=np.full(len(images), np.nan, dtype=np.float32),
        files=files,
    )


def _made_from_anchors(rated: RatedImages, images: pd.DataFrame, seed: int) -> Rows:
    if rated.source is None:
        raise InputError(f"{rated.name}: has no anchors to make its images from; train with --pixels disk")
    strange = sorted(set(images["distortion"]) - set(DISTORTIONS))
    if strange:
        raise InputError(f"{rated.name}: {strange[0]} cannot be made here; train with --pixels disk")
    group, names = pd.factorize(images["group"], sort=True)
    paths = tuple(rated.source.anchors[name] for name in names)
    cells = rated.source.cells
    number_of = {cell: number for number, cell in enumerate(cells)}
    cell = np.array([number_of[each] for each in zip(images["distortion"], images["level"], strict=True)])
    seeds = np.stack([recipe_seeds(name, seed, len(cells)) for name in names])
    return replace(
        _unseeded(images, group, ()),
        photos=paths,
        sha256=tuple(sha256_of(path) for path in paths),
        cells=tuple(cells),
        cell=cell.astype(np.int64),
        seed=seeds[group, cell],
    )


def synthetic_rows(photos: int = 24) -> Data:
    """Make rows of drawn photos that need no file: every distortion and level, a label that falls with the level."""
    cells = tuple((name, level) for name in DISTORTIONS for level in range(1, 6))
    photo = np.repeat(np.arange(photos), len(cells))
    cell = np.tile(np.arange(len(cells)), photos)
    level = np.array([cells[number][1] for number in cell])
    rows = Rows(
        photos=tuple(Path(f"synthetic/{number}") for number in range(photos)),
        sha256=("",) * photos,
        cells=cells,
        photo=photo.astype(np.int64),
        cell=cell.astype(np.int64),
        seed=np.arange(len(photo)),
        mos=(5.4 - 0.8 * level).astype(np.float32),
        mos_std=np.full(len(photo), 0.5, dtype=np.float32),
    )
    is_val = photo % 8 == 7
    origin = {"kind": "synthetic", "train": int((~is_val).sum()), "val": int(is_val.sum())}
    return Data(rows.take(~is_val), rows.take(is_val), origin)


def _read_checked(folder: Path) -> tuple[pd.DataFrame, str]:
    """Read a shard's metadata.csv and its hash."""
    repair = "run the same build again to repair it"
    path = folder / "metadata.csv"
    try:
        success = json.loads((folder / "_SUCCESS.json").read_text(encoding="utf-8"))
        promised = str(success["sha256"]["metadata.csv"])
        found = sha256_of(path)
    except FileNotFoundError as error:
        raise StateError(f"{folder}: {Path(error.filename).name} is missing; {repair}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{folder / '_SUCCESS.json'}: damaged; {repair}") from error
    if found != promised:
        raise StateError(f"{path}: has changed since it was built (its sha256 differs); {repair}")
    try:
        table = read_shard(folder)
    except StateError:
        _check_labels(pd.read_csv(path, dtype=str, keep_default_na=False), path)
        raise
    _check_labels(table, path)
    return table, promised


def _check_labels(table: pd.DataFrame, path: Path) -> None:
    numbers = [pd.to_numeric(table[name], errors="coerce").to_numpy() for name in ("mos", "mos_std") if name in table]
    wrong = ~np.isfinite(np.stack(numbers)).all(0)
    if wrong.any():
        line, count = int(np.flatnonzero(wrong)[0]) + 2, int(wrong.sum())
        repair = "run the same build again to repair it"
        raise StateError(f"{path}, line {line}: the label is no number ({count} such rows); {repair}")


def _hashes(folder: Path, shards: int) -> dict[str, str]:
    """Look up every photo's sha256."""
    tables = [
        read_rows(shard_folder(folder, n) / "references.csv", ("ref_file_name", "sha256")) for n in range(shards)
    ]
    return {row["ref_file_name"]: row["sha256"] for table in tables for row in table}


def _leaning(folder: Path, shards: int, run: dict[str, Any], anchors: set[str]) -> set[str]:
    """Name the photos whose labels rest on some of the anchors.

    Raises:
        InputError: All of them do, by the way the labels were made.
    """
    transfer = run["config"]["transfer"]
    if transfer not in _LOCAL_TRANSFERS:
        raise InputError(
            f"{folder}: labels made by {transfer} rest on all anchors; build again with --exclude-anchors "
            f"{','.join(sorted(anchors))}"
        )
    found = set()
    for number in range(shards):
        path = shard_folder(folder, number) / "references.csv"
        for row in read_rows(path, ("ref_file_name", "neighbours", "weights")):
            pairs = zip(json.loads(row["neighbours"] or "[]"), json.loads(row["weights"] or "[]"), strict=False)
            if {name for name, weight in pairs if weight > 0} & anchors:
                found.add(row["ref_file_name"])
    return found


def _from_table(table: pd.DataFrame, root: Path, sha256: dict[str, str], disk: Path | None) -> Rows:
    strange = sorted(set(table["dist_name"]) - set(DISTORTIONS))
    if strange and disk is None:
        raise InputError(f"the manifest names a distortion {strange[0]!r} that cannot be made here; use --pixels disk")
    photo, names = pd.factorize(table["ref_file_name"])
    photos = tuple(reference_path(root, name) for name in names)
    if disk is None:
        missing = [path for path in photos if not path.is_file()]
        if missing:
            raise InputError(
                f"{missing[0]}: is missing ({len(missing)} of {len(photos)} photos); restore it or set --refs"
            )
    keys = pd.MultiIndex.from_frame(table[["dist_name", "dist_level"]])
    cell, cells = keys.factorize()
    files: tuple[Path, ...] = ()
    if disk is not None:
        pairs = zip(table["shard"], table["file_name"], strict=True)
        files = tuple(reference_path(shard_folder(disk, shard), name) for shard, name in pairs)
        missing = [path for path in files if not path.is_file()]
        if missing:
            raise InputError(
                f"{missing[0]}: is missing ({len(missing)} of {len(files)} images); "
                "make them with `glint-label render`, or train with --pixels fly"
            )
    return Rows(
        photos=photos,
        sha256=tuple(sha256.get(name, "") for name in names),
        cells=tuple((str(name), int(level)) for name, level in cells),
        photo=photo.astype(np.int64),
        cell=cell.astype(np.int64),
        seed=table["seed"].to_numpy(dtype=np.int64),
        mos=table["mos"].to_numpy(dtype=np.float32),
        mos_std=table["mos_std"].to_numpy(dtype=np.float32),
        files=files,
    )
