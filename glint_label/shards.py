"""Shards: 64 references, the unit of work and of resume. Their first stage, which opens each photo once."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from glint_label.embed import Embedder, Preparation
from glint_label.errors import ImageError, StateError
from glint_label.files import write_atomic
from glint_label.fingerprint import BYTES, fingerprint
from glint_label.images import read_photo
from glint_label.manifest import FAILED_COLUMNS, SHARD_SIZE, format_csv, read_rows, shard_folder


@dataclass(frozen=True)
class Shard:
    """A run of consecutive references.

    Attributes:
        number: 0, 1, 2, ...
        names: File names of its references, sorted.
        paths: Their files.
    """

    number: int
    names: tuple[str, ...]
    paths: tuple[Path, ...]


def make_shards(names: Sequence[str], root: Path) -> list[Shard]:
    """Cut the sorted references into shards."""
    return cut_shards(names, [root / name for name in names])


def cut_shards(names: Sequence[str], paths: Sequence[Path]) -> list[Shard]:
    """Cut named files into shards."""
    starts = range(0, len(names), SHARD_SIZE)
    return [
        Shard(number, tuple(names[start : start + SHARD_SIZE]), tuple(paths[start : start + SHARD_SIZE]))
        for number, start in enumerate(starts)
    ]


@dataclass(frozen=True)
class Opened:
    """What a worker found in one photo's file; `failure` is (reason, message) where it cannot be used."""

    prepared: Any = None
    fingerprint: NDArray[np.uint8] | None = None
    sha256: str = ""
    width: int = 0
    height: int = 0
    failure: tuple[str, str] | None = None


@dataclass(frozen=True)
class Request:
    """Photos of a shard to be opened; all of them where `wanted` is None."""

    shard: Shard
    wanted: frozenset[str] | None = None


@dataclass(frozen=True)
class OpenPhotos:
    """The workers' part of the first stage: decode, check, take the fingerprint, prepare for the embedder."""

    preparation: Preparation

    def __call__(self, request: Request) -> list[Opened | None]:
        """Open the photos of a shard; None for one that is not wanted."""
        shard, wanted = request.shard, request.wanted
        return [
            self._open(path) if wanted is None or name in wanted else None
            for name, path in zip(shard.names, shard.paths, strict=True)
        ]

    def _open(self, path: Path) -> Opened:
        try:
            photo = read_photo(path)
        except ImageError as error:
            return Opened(failure=(error.reason, str(error).removeprefix(f"{path}: ")))
        height, width = photo.pixels.shape[:2]
        return Opened(self.preparation(photo.pixels), fingerprint(photo.pixels), photo.sha256, width, height)


@dataclass(frozen=True)
class Measured:
    """The photos of a shard that can be used, in order of their names.

    Attributes:
        names: File names.
        vectors: (n, d) float32, as the embedder gave them.
        fingerprints: (n, 16) uint8.
        sha256: Of each file.
        sizes: (n, 2) width and height.
        failures: (name, reason, message) of the others.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    fingerprints: NDArray[np.uint8]
    sha256: tuple[str, ...]
    sizes: NDArray[np.int64]
    failures: tuple[tuple[str, str, str], ...]


def measure(shard: Shard, opened: Sequence[Opened | None], embedder: Embedder, known: Measured | None) -> Measured:
    """Embed what the workers opened and join it with what was known before.

    Args:
        shard: The shard.
        opened: One entry a reference; None for those that `known` has.
        embedder: Turns prepared photos into vectors.
        known: An earlier result, when only the failures are tried again.
    """
    vectors = embedder.embed([None if photo is None else photo.prepared for photo in opened], shard.paths)
    rows: list[tuple[str, NDArray[np.float32], NDArray[np.uint8], str, tuple[int, int]]] = []
    failures = []
    earlier = {name: index for index, name in enumerate(known.names)} if known else {}
    for name, photo, vector in zip(shard.names, opened, vectors, strict=True):
        if photo is None and known is not None:
            index = earlier[name]
            width, height = known.sizes[index].tolist()
            rows.append((name, known.vectors[index], known.fingerprints[index], known.sha256[index], (width, height)))
        elif photo is not None and photo.failure is not None:
            failures.append((name, *photo.failure))
        elif photo is not None and photo.fingerprint is not None:
            rows.append((name, vector, photo.fingerprint, photo.sha256, (photo.width, photo.height)))
    return Measured(
        names=tuple(row[0] for row in rows),
        vectors=np.array([row[1] for row in rows], dtype=np.float32).reshape(len(rows), embedder.dimensions),
        fingerprints=np.array([row[2] for row in rows], dtype=np.uint8).reshape(len(rows), BYTES),
        sha256=tuple(row[3] for row in rows),
        sizes=np.array([row[4] for row in rows], dtype=np.int64).reshape(len(rows), 2),
        failures=tuple(failures),
    )


def write_measured(folder: Path, measured: Measured) -> None:
    """Save a shard's first stage: failed.csv, then embeddings.npz, which marks the stage as done."""
    write_atomic(folder / "failed.csv", format_csv(FAILED_COLUMNS, measured.failures))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        names=np.array(measured.names, dtype=np.str_),
        vectors=measured.vectors,
        fingerprints=measured.fingerprints,
        sha256=np.array(measured.sha256, dtype="S64"),
        sizes=measured.sizes,
    )
    write_atomic(folder / "embeddings.npz", buffer.getvalue())


def read_measured(folder: Path) -> Measured:
    """Read a shard's first stage.

    Raises:
        StateError: It is damaged.
    """
    path = folder / "embeddings.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            keys = ("names", "vectors", "fingerprints", "sha256", "sizes")
            names, vectors, fingerprints, sha256, sizes = (arrays[key] for key in keys)
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
        raise StateError(
            f"{path}: damaged ({error}); delete the folder {folder} and run the same build again"
        ) from error
    return Measured(
        names=tuple(str(name) for name in names),
        vectors=vectors,
        fingerprints=fingerprints,
        sha256=tuple(value.decode() for value in sha256),
        sizes=sizes,
        failures=read_failures(folder),
    )


def read_failures(folder: Path) -> tuple[tuple[str, str, str], ...]:
    """Read a shard's failed.csv: (name, reason, message) of each photo that could not be used.

    Raises:
        StateError: It is damaged.
    """
    rows = read_rows(folder / "failed.csv", FAILED_COLUMNS)
    return tuple((row["ref_file_name"], row["reason"], row["message"]) for row in rows)


def is_measured(out: Path, shard: Shard) -> bool:
    """Tell whether a shard's first stage is done."""
    return (shard_folder(out, shard.number) / "embeddings.npz").is_file()
