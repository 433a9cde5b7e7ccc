"""Photos that have been decoded and embedded: what every later step knows of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.embed.embedder import Embedder
from glint_label.files import read_arrays, write_arrays

HASH_BYTES = 16  # of a perceptual hash


@dataclass(frozen=True)
class DecodedPhoto:
    """What a worker found in one photo's file, decoded once.

    Attributes:
        prepared: Input of the embedder.
        hash: (16,) uint8, the perceptual hash.
        sha256: Of the file's bytes, hex.
        size: Width and height of the file's picture, and of the picture brought to size.
        features: (conditions, features) float16, where they were asked for.
        warning: What is doubtful about its pixels, in words; mostly empty.
        failure: (reason, message) where the photo cannot be used; all else is then empty.
    """

    prepared: Any = None
    hash: NDArray[np.uint8] | None = None
    sha256: str = ""
    size: tuple[int, int, int, int] = (0, 0, 0, 0)
    features: NDArray[np.float16] | None = None
    warning: str = ""
    failure: tuple[str, str] | None = None


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Photos that can be used, in order of their names.

    Attributes:
        names: As in the manifest.
        vectors: (n, d) float32, as the embedder gave them.
        hashes: (n, 16) uint8.
        sha256: Of each file.
        sizes: (n, 4) width and height of the file's picture, and of the picture brought to size.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    hashes: NDArray[np.uint8]
    sha256: tuple[str, ...]
    sizes: NDArray[np.int64]

    def take(self, rows: Sequence[int]) -> "EmbeddedPhotos":
        """Keep some of them."""
        index = np.asarray(rows, dtype=np.int64)
        return EmbeddedPhotos(
            tuple(self.names[row] for row in rows),
            self.vectors[index],
            self.hashes[index],
            tuple(self.sha256[row] for row in rows),
            self.sizes[index],
        )


def embed_photos(
    names: Sequence[str], paths: Sequence[Path], decoded: Sequence[DecodedPhoto | None], embedder: Embedder
) -> EmbeddedPhotos:
    """Embed one shard.

    Args:
        names: Of all its photos.
        paths: Their files.
        decoded: One a photo; those that are None, or have a failure, are left out.
        embedder: Sees a slot for every photo, so that no vector depends on which others failed.
    """
    vectors = embedder.embed([None if photo is None else photo.prepared for photo in decoded], paths)
    rows = [row for row, photo in enumerate(decoded) if photo is not None and photo.hash is not None]
    photos = [photo for photo in decoded if photo is not None and photo.hash is not None]
    return EmbeddedPhotos(
        names=tuple(names[row] for row in rows),
        vectors=vectors[rows].reshape(len(rows), embedder.dimensions),
        hashes=np.array([photo.hash for photo in photos], dtype=np.uint8).reshape(len(rows), HASH_BYTES),
        sha256=tuple(photo.sha256 for photo in photos),
        sizes=np.array([photo.size for photo in photos], dtype=np.int64).reshape(len(rows), 4),
    )


def write_embedded(path: Path, photos: EmbeddedPhotos) -> None:
    """Save them as .npz; the same photos give the same bytes."""
    write_arrays(
        path,
        names=np.array(photos.names, dtype=np.str_),
        vectors=photos.vectors,
        hashes=photos.hashes,
        sha256=np.array(photos.sha256, dtype="S64"),
        sizes=photos.sizes,
    )


def read_embedded(path: Path) -> EmbeddedPhotos:
    """Read what `write_embedded` wrote.

    Raises:
        StateError: It is missing or damaged.
    """
    names, vectors, hashes, sha256, sizes = read_arrays(path, "names", "vectors", "hashes", "sha256", "sizes")
    return EmbeddedPhotos(
        names=tuple(str(name) for name in names),
        vectors=vectors,
        hashes=hashes,
        sha256=tuple(value.decode() for value in sha256),
        sizes=sizes,
    )
