"""Vectors made elsewhere: an .npz with `names` and `vectors`."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.embed.embedder import CosineSpace
from glint_label.errors import InputError
from glint_label.files import read_arrays, sha256_of


class FilePreparation:
    """Nothing to prepare: the photo is opened only to be checked."""

    def __call__(self, pixels: NDArray[np.uint8]) -> int:  # noqa: ARG002 (the vector is found by the file's name)
        """Return a token that says that the photo could be read."""
        return 1


class FileEmbedder(CosineSpace):
    """Look vectors up by file name.

    A vector belongs to the file whose path ends in the vector's name by whole components: `a/b.png` fits `/x/a/b.png`
    and not `/x/aa/b.png`.

    Args:
        file: .npz with `names` (n,) text and `vectors` (n, d) numbers, no pickle.
        photos: Every file that will be asked for, so that a gap is found before any work is done.

    Raises:
        InputError: The file is malformed, or a photo has no vector or more than one.
    """

    near_duplicate = 0.98
    runs_network = False

    def __init__(self, file: Path, photos: Iterable[Path]) -> None:
        self.name = f"file:{file}"
        self.preparation = FilePreparation()
        self._file = file
        names, self._vectors = _read(file)
        self.dimensions = self._vectors.shape[1]
        self._rows = _match(file, names, photos)

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Take the photos' rows; a missing input gives a row of zeros."""
        vectors = self._vectors[[self._rows[path.as_posix()] for path in paths]]
        vectors[[token is None for token in inputs]] = 0
        return vectors

    def describe(self) -> dict[str, Any]:
        """File and its hash."""
        return {"embedder": "file", "file_sha256": sha256_of(self._file), "dimensions": self.dimensions}


def _read(file: Path) -> tuple[list[str], NDArray[np.float32]]:
    if not file.is_file():
        raise InputError(f"{file}: no such file; --embedder file:PATH takes an .npz with names and vectors")
    names, vectors = read_arrays(file, "names", "vectors")
    if names.ndim != 1 or names.dtype.kind not in "US" or vectors.ndim != 2 or len(names) != len(vectors):
        raise InputError(
            f"{file}: must hold text names (n,) and vectors (n, d), not {names.dtype} {names.shape}, {vectors.shape}"
        )
    if vectors.dtype.kind not in "fiu":
        raise InputError(f"{file}: the vectors are {vectors.dtype}, not numbers")
    wrong = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
    if wrong.any():
        raise InputError(f"{file}: the vector of {str(names[wrong][0])!r} holds NaN or infinity, or is all zeros")
    return [str(name) for name in names.astype(str)], vectors.astype(np.float32)


def _match(file: Path, names: list[str], photos: Iterable[Path]) -> dict[str, int]:
    """Find the row of each photo; paths and names are kept as text, which takes a fifth of the room."""
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        if rows.setdefault(PurePosixPath(name).as_posix(), row) != row:
            raise InputError(f"{file}: names {name!r} twice; keep one vector a photo")
    matched: dict[str, int] = {}
    owners: dict[int, str] = {}
    for path in photos:
        photo = path.as_posix()
        parts = photo.split("/")
        endings = ("/".join(parts[start:]) for start in range(len(parts)))
        found = [rows[ending] for ending in endings if ending in rows]
        if not found:
            raise InputError(f"{file}: has no vector for {photo}; names are matched by the end of the path")
        if len(found) > 1:
            both = " and ".join(repr(names[row]) for row in found[:2])
            raise InputError(f"{file}: {both} both fit {photo}; make the names unambiguous")
        owner = owners.setdefault(found[0], photo)
        if owner != photo:
            raise InputError(f"{file}: {names[found[0]]!r} fits both {owner} and {photo}; use longer names")
        matched[photo] = found[0]
    return matched
