"""Pixels from recipes: (reference, distortion, level, seed) -> a file."""

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.engines import run_local
from glint_label.errors import InputError, StateError
from glint_label.files import write_atomic
from glint_label.images import encode_image, read_photo
from glint_label.manifest import iterate_shards, read_rows, read_run, read_shard, reference_path
from glint_label.progress import MakeProgress, no_progress


@dataclass(frozen=True)
class Selection:
    """Which rows to render; an empty filter lets everything through.

    Attributes:
        distortions: Names.
        levels: 1..5.
        splits: train, val.
        references: File names of references.
    """

    distortions: Collection[str] = ()
    levels: Collection[int] = ()
    splits: Collection[str] = ()
    references: Collection[str] = ()

    def apply(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Keep the rows that pass every filter."""
        filters = {
            "dist_name": self.distortions,
            "dist_level": self.levels,
            "split": self.splits,
            "ref_file_name": self.references,
        }
        for column, allowed in filters.items():
            if allowed:
                rows = rows[rows[column].isin(allowed)]
        return rows


@dataclass(frozen=True)
class Rendered:
    """What was made: files written, files that were there already, bytes written."""

    written: int = 0
    present: int = 0
    bytes: int = 0

    def __add__(self, other: "Rendered") -> "Rendered":
        """Add two counts up."""
        return Rendered(self.written + other.written, self.present + other.present, self.bytes + other.bytes)


@dataclass(frozen=True)
class RenderReference:
    """The workers' part: make the missing pixel files of one reference in one shard.

    Attributes:
        refs: The references' root.
        selection: Which rows.

    Raises:
        InputError: The reference is not the file that was labelled, or its name leads out of the root.
        ImageError: It does not open.
        OutputError: The disk is full.
    """

    refs: Path
    selection: Selection = Selection()

    def __call__(self, item: tuple[Path, str]) -> Rendered:
        """Render a (shard folder, reference)."""
        from glint_label.distortions import distort

        folder, name = item
        rows = read_shard(folder)
        recipes = self.selection.apply(rows[rows["ref_file_name"] == name])
        missing = recipes[[not _pixel_path(folder, file).is_file() for file in recipes["file_name"]]]
        written = 0
        if len(missing):
            pixels = self._read(folder, name)
            columns = (missing[column].tolist() for column in ("file_name", "dist_name", "dist_level", "seed"))
            for file_name, distortion, level, seed in zip(*columns, strict=True):
                file = _pixel_path(folder, file_name)
                degraded = distort(pixels, distortion, level, seed=seed)
                content = encode_image(degraded, file.suffix)
                write_atomic(file, content)
                written += len(content)
        return Rendered(len(missing), len(recipes) - len(missing), written)

    def _read(self, folder: Path, name: str) -> NDArray[np.uint8]:
        path = reference_path(self.refs, name)
        photo = read_photo(path)
        rows = read_rows(folder / "references.csv", ("ref_file_name", "sha256"))
        if photo.sha256 != next(row["sha256"] for row in rows if row["ref_file_name"] == name):
            raise InputError(f"{path}: is not the file that was labelled (its sha256 differs); restore it")
        return photo.pixels


def render_build(
    out: Path,
    refs: Path | None = None,
    selection: Selection = Selection(),
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> Rendered:
    """Make the pixel files of a build, beside the metadata.csv that names them; those that exist stay.

    Args:
        out: The build.
        refs: The references' root, where it is not the one that run.json names.
        selection: Which rows.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar, which counts images.

    Raises:
        GlintError: See RenderReference; or `out` is not a build.
    """
    root = refs or Path(read_run(out)["refs"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; pass the folder of the references with --refs")
    sizes: dict[tuple[Path, str], int] = {}
    for folder, rows in iterate_shards(out):
        counts = selection.apply(rows).groupby("ref_file_name", sort=False).size()
        sizes.update({(folder, str(name)): int(number) for name, number in counts.items()})
    if not sizes:
        raise InputError(f"{out}: no row passes the filter")
    total = Rendered()
    with (
        closing(progress("images", sum(sizes.values()), 0)) as bar,
        closing(run_local(RenderReference(root, selection), sizes, workers)) as results,
    ):
        for item, made in results:
            total += made
            bar.update(sizes[item])
    return total


def _pixel_path(folder: Path, file_name: str) -> Path:
    """Find a row's pixel file: always in the shard's own folder, whatever the manifest says."""
    if Path(file_name).name != file_name or file_name in ("", ".", ".."):
        raise StateError(f"{folder / 'metadata.csv'}: the file name {file_name!r} leads out of its folder; refused")
    return folder / file_name
