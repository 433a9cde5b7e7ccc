"""Memory that runs out is a fault of the image, however it is said."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from glint_label.errors import ImageError, enough_memory


@pytest.mark.parametrize(
    "take",
    [lambda: np.zeros(1 << 50), lambda: torch.empty(1 << 50), lambda: bytearray(1 << 60)],
    ids=["numpy", "torch", "python"],
)
def test_memory_that_runs_out_is_a_fault_of_the_image(take: Callable[[], object]):
    with (
        pytest.raises(ImageError, match=r"^a\.png: not enough memory to blur it") as caught,
        enough_memory("a.png", "blur"),
    ):
        take()
    assert caught.value.reason == "memory"


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shape") as caught, enough_memory("a.png", "blur"):
        raise RuntimeError("shape mismatch")
    assert not isinstance(caught.value, ImageError)
