"""Photos for the tests of the distortions, and how to compare 8-bit results."""

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from tests.conftest import make_photo


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A photo that spans 0..255: (192, 256, 3) uint8."""
    return skimage.data.astronaut()[64:256, 96:352].copy()


def make_batch(count: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Make a batch of different photos."""
    photos = np.stack([make_photo(seed, width, height) for seed in range(count)])
    return torch.from_numpy(photos).permute(0, 3, 1, 2).contiguous().to(dtype).div_(255)


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two 8-bit images, dB."""
    error = np.mean((image.astype(float) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def assert_same_but_ties(image: np.ndarray, expected: np.ndarray, share: float = 0.025) -> None:
    """At most one grey level off, on at most a share of the samples."""
    off = np.abs(image.astype(int) - expected)
    assert off.max() <= 1
    assert np.mean(off > 0) <= share
