"""What training reads: rows of (photo, distortion, level, seed) and their labels, whatever they came from."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.distortions import DISTORTIONS
from glint_label.images import Size

_BOUND = 4.0  # of a row's weight, either way


@dataclass(frozen=True)
class Rows:
    """Labelled images, as columns.

    Attributes:
        photos: Files of the photos.
        sha256: Of each photo's file, hex; empty where it is not known.
        conditions: The (distortion, level) that occur.
        photo: (n,) index into `photos`.
        condition: (n,) index into `conditions`; -1: the photo as it is.
        seed: (n,) of the distortion.
        mos: (n,) labels.
        mos_error: (n,) their standard deviation; NaN where unknown.
        files: (n,) the images' own files, for `--pixels disk`, as UTF-8 below `root`; empty where there are none.
        root: Where `files` start from.
        size: What the photos are brought to before they are distorted; see `glint_label.images.bring_to_size`.
    """

    photos: tuple[Path, ...]
    sha256: tuple[str, ...]
    conditions: tuple[tuple[str, int], ...]
    photo: NDArray[np.int64]
    condition: NDArray[np.int64]
    seed: NDArray[np.int64]
    mos: NDArray[np.float32]
    mos_error: NDArray[np.float32]
    files: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, dtype=np.bytes_))
    root: Path = Path()
    size: Size = None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.mos)

    def take(self, index: NDArray[Any]) -> "Rows":
        """Keep some rows, by a mask or by their numbers."""
        columns = {name: getattr(self, name)[index] for name in ("photo", "condition", "seed", "mos", "mos_error")}
        return replace(self, **columns, files=self.files[index] if len(self.files) else self.files)

    def file(self, row: int) -> Path:
        """Find a row's own file."""
        return self.root / str(self.files[row].decode())

    def weights(self) -> NDArray[np.float32]:
        """Weigh each row by 1 / mos_error^2, bounded, with mean 1; alike where it is unknown."""
        if np.isnan(self.mos_error).any():
            return np.ones(len(self), dtype=np.float32)
        with np.errstate(divide="ignore"):
            precision = 1 / np.square(self.mos_error.astype(np.float64))
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


def synthetic_rows(photos: int = 24) -> Data:
    """Make rows of drawn photos that need no file: every distortion and level, a label that falls with the level."""
    conditions = tuple((name, level) for name in DISTORTIONS for level in range(1, 6))
    photo = np.repeat(np.arange(photos), len(conditions))
    condition = np.tile(np.arange(len(conditions)), photos)
    level = np.array([conditions[number][1] for number in condition])
    rows = Rows(
        photos=tuple(Path(f"synthetic/{number}") for number in range(photos)),
        sha256=("",) * photos,
        conditions=conditions,
        photo=photo.astype(np.int64),
        condition=condition.astype(np.int64),
        seed=np.arange(len(photo)),
        mos=(5.4 - 0.8 * level).astype(np.float32),
        mos_error=np.full(len(photo), 0.5, dtype=np.float32),
    )
    is_val = photo % 8 == 7
    origin = {"kind": "synthetic", "train": int((~is_val).sum()), "val": int(is_val.sum())}
    return Data(rows.take(~is_val), rows.take(is_val), origin)
