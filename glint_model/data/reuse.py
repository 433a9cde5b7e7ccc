"""Each rendered image for several steps, with other crops: which groups a step takes, and the images kept for it.

Rendering an image costs more than a small network learns from it in one step. So of the groups of a step, one in
`reuse` is new, and the others come again, each some steps after it came last: the work of rendering is the same in
every step, and the network never waits for a step that is all new. Which groups a step takes is a function of the
step's number; what is kept saves time and changes nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

# PyTorch deals parts to the workers in turn, so wherever the number of workers divides the steps between two uses, a
# worker meets the images again that it has rendered itself.
_STEPS = (48, 24, 16, 12, 8, 6, 4, 3, 2)
_IMAGES = 640  # between two uses of one at most: 380 MB at 512 x 384
KEPT_BYTES = 400_000_000  # of the images that all workers of a process keep

Pixels = NDArray[np.uint8]


def steps_between(batch: int) -> int:
    """Choose how many steps pass before an image comes again: a divisor of 48, with 640 images at most, or 1.

    Args:
        batch: Images of a whole step.
    """
    return next((steps for steps in _STEPS if steps * batch <= _IMAGES), 1)


@dataclass(frozen=True)
class Uses:
    """The order in which groups are used: use number n takes one group, and each group is used `reuse` times.

    Counted in uses, every `reuse`-th takes the next new group, the one after it a group that was new `delay` groups
    before, and so on. Those that would have been new before the start of the run have fewer uses.

    Attributes:
        reuse: Uses of a group.
        delay: New groups between two uses of one.
    """

    reuse: int
    delay: int

    @property
    def live(self) -> int:
        """Groups between the newest that is in use and the oldest."""
        return (self.reuse - 1) * self.delay

    def group(self, use: int) -> int:
        """Name the group of a use, counted from the start of the run."""
        newest, age = divmod(use, self.reuse)
        return newest + self.live - age * self.delay

    def last(self, group: int) -> int:
        """Number the last use of a group."""
        return group * self.reuse + self.reuse - 1


class Rendered:
    """Whole images that later steps use again, as many as there is room for."""

    def __init__(self) -> None:
        self._kept: dict[int, Pixels] = {}
        self._last: dict[int, int] = {}
        self.nbytes = 0

    def begin(self, use: int) -> None:
        """Let go of the images whose last use came before this one."""
        for row in [row for row, last in self._last.items() if last < use]:
            self.nbytes -= self._kept.pop(row).nbytes
            del self._last[row]

    def get(self, row: int, last: int) -> Pixels | None:
        """Find the image of a row, to be kept until the use `last` at least."""
        pixels = self._kept.get(row)
        if pixels is not None:
            self._last[row] = max(last, self._last[row])
        return pixels

    def put(self, row: int, last: int, pixels: Pixels) -> None:
        """Keep the image of a row until the use `last`, if there is room in this worker's share."""
        worker = get_worker_info()
        if self.nbytes + pixels.nbytes <= KEPT_BYTES // (worker.num_workers if worker else 1):
            self._kept[row] = pixels
            self._last[row] = last
            self.nbytes += pixels.nbytes
