"""The visibility of the references' distortions, shard by shard: shards/N/visibility.npz."""

import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from glint_label.anchors import cell_seeds
from glint_label.engines import run_local
from glint_label.errors import InputError, StateError
from glint_label.files import write_atomic
from glint_label.images import read_photo
from glint_label.manifest import reference_path, shard_folder
from glint_label.progress import MakeProgress
from glint_label.shards import Shard, read_measured
from glint_label.sources import Cell

_FILE = "visibility.npz"


@dataclass(frozen=True)
class MeasureReference:
    """The workers' part: the visibility features of one reference.

    Attributes:
        refs: The references' root.
        cells: (distortion, level) pairs.
        seed: The build's.
    """

    refs: Path
    cells: tuple[Cell, ...]
    seed: int

    def __call__(self, item: tuple[int, str, str]) -> NDArray[np.float16]:
        """Measure a (shard, file name, sha256).

        Raises:
            InputError: The file has changed since it was embedded.
        """
        from glint_label.visibility import measure_visibility

        _, name, sha256 = item
        path = reference_path(self.refs, name)
        photo = read_photo(path)
        if photo.sha256 != sha256:
            raise InputError(f"{path}: changed while the build was running; start again with --overwrite")
        return measure_visibility(photo.pixels, self.cells, cell_seeds(name, self.seed, self.cells))


def measure_visibilities(
    out: Path, shards: Sequence[Shard], task: MeasureReference, workers: int, progress: MakeProgress
) -> None:
    """Measure every reference that is not yet measured; a shard's file is written when its last one is done."""
    waiting: dict[int, dict[str, NDArray[np.float16] | None]] = {}
    items: list[tuple[int, str, str]] = []
    total = 0
    for shard in shards:
        folder = shard_folder(out, shard.number)
        measured = read_measured(folder)
        total += len(measured.names)
        known = _known(folder)
        if tuple(known) == measured.names and (folder / _FILE).is_file():
            continue
        wanted = {name: known.get(name) for name in measured.names}
        missing = [
            (shard.number, name, sha256)
            for name, sha256 in zip(measured.names, measured.sha256, strict=True)
            if name not in known
        ]
        items += missing
        if missing:
            waiting[shard.number] = wanted
        else:
            _write(folder, task.cells, wanted)
    with (
        closing(progress("visibility", total, total - len(items))) as bar,
        closing(run_local(task, items, workers)) as results,
    ):
        for (number, name, _), features in results:
            shard_features = waiting[number]
            shard_features[name] = features
            if all(one is not None for one in shard_features.values()):
                _write(shard_folder(out, number), task.cells, waiting.pop(number))
            bar.update(1)


def read_visibility(folder: Path) -> NDArray[np.float16]:
    """Read a shard's features, (references, cells, features).

    Raises:
        StateError: They are not there, or damaged.
    """
    return _load(folder)[1]


def _known(folder: Path) -> dict[str, NDArray[np.float16]]:
    if not (folder / _FILE).is_file():
        return {}
    names, features = _load(folder)
    return dict(zip(names, features, strict=True))


def _load(folder: Path) -> tuple[list[str], NDArray[np.float16]]:
    path = folder / _FILE
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return [str(name) for name in arrays["names"]], arrays["features"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
        raise StateError(f"{path}: damaged ({error}); delete it and run the same build again") from error


def _write(folder: Path, cells: Sequence[Cell], features: dict[str, NDArray[np.float16] | None]) -> None:
    from glint_label.visibility import FEATURES

    rows = np.zeros((len(features), len(cells), len(FEATURES)), dtype=np.float16)
    for row, one in zip(rows, features.values(), strict=True):
        row[:] = one
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.array(list(features), dtype=np.str_), features=rows)
    write_atomic(folder / _FILE, buffer.getvalue())
