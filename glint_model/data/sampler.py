"""Which images a step takes, and how each is cropped: pure functions of (seed, step), so nothing is ever replayed.

A run that goes on at step 1000 computes what step 1000 takes; it needs no state of any generator.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EPOCHS = 1 << 63  # the upper half of Philox's second key word is for epochs, the lower for samples

Integers = NDArray[np.int64]


class Sampler:
    """All rows once an epoch, in groups of rows that show the same photo.

    An epoch deals each photo's rows into groups at random and permutes the groups of all photos. Where a photo's rows
    do not fill its last group, some of them come twice.

    Args:
        photo: (n,), which photo each row shows.
        members: Rows of a group; 1 for a plain permutation.
        seed: Of the permutations.
        live: Groups that lie between the first and the last that are asked for at about the same time.
    """

    def __init__(self, photo: NDArray[np.integer], members: int, seed: int, live: int = 0) -> None:
        self._photo = photo
        self._members = members
        self._seed = seed
        self._counts = np.bincount(photo)
        self._groups_of = -(-self._counts // members)
        self.groups = int(self._groups_of.sum())
        self._dealt: dict[int, Integers] = {}
        self._epochs = 2 + live // self.groups

    def rows(self, groups: Iterable[int]) -> Integers:
        """Name the rows of some groups, counted from the start of the run, one group after another."""
        taken = []
        for index in groups:
            epoch, place = divmod(index, self.groups)
            taken.append(self._epoch(epoch)[place])
        return np.concatenate(taken)

    def _epoch(self, epoch: int) -> Integers:
        if epoch not in self._dealt:
            self._dealt[epoch] = self._deal(epoch)
            while len(self._dealt) > self._epochs:
                del self._dealt[min(self._dealt)]
        return self._dealt[epoch]

    def _deal(self, epoch: int) -> Integers:
        rng = _generator(self._seed, _EPOCHS + epoch)
        shuffled = np.lexsort((rng.random(len(self._photo)), self._photo))
        starts = np.cumsum(self._counts) - self._counts
        photo = np.repeat(np.arange(len(self._counts)), self._groups_of)
        number = np.arange(self.groups) - np.repeat(np.cumsum(self._groups_of) - self._groups_of, self._groups_of)
        within = (number[:, None] * self._members + np.arange(self._members)) % self._counts[photo][:, None]
        groups: Integers = shuffled[starts[photo][:, None] + within]
        return groups[rng.permutation(self.groups)]


@dataclass(frozen=True)
class Crop:
    """A square of an image and how it is turned over.

    Attributes:
        top: Where it lies between the first and the last possible row, 0..1.
        left: Likewise.
        mirrored: Left and right change places.
        flipped: Top and bottom change places.
    """

    top: float
    left: float
    mirrored: bool
    flipped: bool

    def cut(self, pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Cut the square out of (H, W, 3) pixels that have at least `size` a side: (size, size, 3)."""
        top, left = self.corner(pixels.shape[0], pixels.shape[1], size)
        square = pixels[top : top + size, left : left + size]
        square = square[:, ::-1] if self.mirrored else square
        return square[::-1] if self.flipped else square

    def corner(self, height: int, width: int, size: int) -> tuple[int, int]:
        """Place it in an image."""
        return int(self.top * (height - size + 1)), int(self.left * (width - size + 1))


def draw_crops(seed: int, sample: int, count: int, turned: bool = True) -> list[Crop]:
    """Draw the crops of one image.

    Args:
        seed: Of the run.
        sample: The image's number, counted from the start of the run.
        count: How many.
        turned: Turn each over, either way, half of the time.
    """
    numbers = _generator(seed, sample).random((count, 4))
    return [
        Crop(float(top), float(left), turned and bool(mirrored < 0.5), turned and bool(flipped < 0.5))
        for top, left, mirrored, flipped in numbers
    ]


def _generator(seed: int, key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, key], dtype=np.uint64)))
