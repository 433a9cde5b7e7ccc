"""Each rendered image for several steps, with other crops: which step's rows a step takes, and the images kept for it.

Rendering an image costs more than a small network learns from it in one step. So steps come in blocks: a window of
steps with new rows, then the same rows again, window after window, until each has been used so often as the run says.
All of it is a function of the step's number; what is kept saves time and changes nothing.
"""

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

# PyTorch deals parts to the workers in turn, so wherever the number of workers divides the window, a worker meets the
# images again that it has rendered itself.
_WINDOWS = (48, 24, 16, 12, 8, 6, 4, 3, 2)
_IMAGES = 640  # of a window at most: 380 MB at 512 x 384
KEPT_BYTES = 400_000_000  # of the images that all workers of a process keep

Pixels = NDArray[np.uint8]


def window_of(batch: int) -> int:
    """Choose how many steps pass before images come again: a divisor of 48, with 640 images at most, or 1.

    Args:
        batch: Images of a whole step.
    """
    return next((steps for steps in _WINDOWS if steps * batch <= _IMAGES), 1)


def source_of(step: int, window: int, reuse: int) -> int:
    """Name the step whose rows a step takes, had every row been used once.

    Args:
        step: Counted from the start of the run.
        window: See `window_of`.
        reuse: Steps that use each row.
    """
    block, within = divmod(step, window * reuse)
    return block * window + within % window


class Rendered:
    """Whole images that later steps of a block use again, as many as there is room for.

    None makes way for a newer one: they come again in the order in which they came, so it would be the next wanted.
    """

    def __init__(self) -> None:
        self._block = -1
        self._kept: dict[int, Pixels] = {}
        self.nbytes = 0

    def begin(self, block: int) -> None:
        """Let go of the images of another block."""
        if block != self._block:
            self._block = block
            self._kept.clear()
            self.nbytes = 0

    def get(self, row: int) -> Pixels | None:
        """Find the image of a row."""
        return self._kept.get(row)

    def put(self, row: int, pixels: Pixels) -> None:
        """Keep the image of a row, if there is room in this worker's share."""
        worker = get_worker_info()
        if self.nbytes + pixels.nbytes <= KEPT_BYTES // (worker.num_workers if worker else 1):
            self._kept[row] = pixels
            self.nbytes += pixels.nbytes
