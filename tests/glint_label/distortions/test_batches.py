"""Pixels depend on the image, the recipe and nothing else."""

import numpy as np
import pytest
import torch

from glint_label.distortions import DISTORTIONS, distort, distort_batch, prepare
from tests.glint_label.distortions.conftest import make_batch, psnr

NAMES = list(DISTORTIONS)
CODED = {"color_quantization", "jpeg2000", "jpeg", "quantization"}
SIZES = [(64, 64), (67, 83), (96, 129)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_mixed_batch_gives_the_bits_of_each_image_alone(size: tuple[int, int], dtype: torch.dtype):
    images = make_batch(len(NAMES), *size, dtype)
    levels = [1 + i % 5 for i in range(len(NAMES))]
    seeds = [17 * i for i in range(len(NAMES))]
    together = distort_batch(images, NAMES, levels, seeds)
    assert together.shape == images.shape
    assert together.dtype == dtype
    assert together.min() >= 0
    assert together.max() <= 1
    for i, name in enumerate(NAMES):
        alone = distort_batch(images[i : i + 1].clone(), name, levels[i], seeds[i])
        assert torch.equal(alone[0], together[i]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_order_and_company_change_no_bit(name: str, dtype: torch.dtype):
    images = make_batch(4, 66, 75, dtype)
    forward = distort_batch(images, name, [1, 3, 3, 5], [1, 2, 3, 4])
    backward = distort_batch(images.flip(0), name, [5, 3, 3, 1], [4, 3, 2, 1])
    assert torch.equal(forward, backward.flip(0))


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_changes_no_bit(name: str):
    images = make_batch(2, 65, 70)
    expected = distort_batch(images, name, 3, 5)
    assert torch.equal(distort_batch(images.to(memory_format=torch.channels_last), name, 3, 5), expected)


@pytest.mark.parametrize("name", NAMES)
def test_number_of_threads_changes_no_bit(name: str):
    images = make_batch(1, 201, 302, torch.float32)
    expected = distort_batch(images, name, 3, 5)
    torch.set_num_threads(2)
    assert torch.equal(distort_batch(images, name, 3, 5), expected)


@pytest.mark.parametrize("name", NAMES)
def test_input_is_left_alone(name: str):
    images = make_batch(1, 64, 64)
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 1  # already stretched
    before = images.clone()
    distorted = distort_batch(images, name, 3, 5)
    assert torch.equal(images, before)
    assert distorted.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("name", NAMES)
def test_float_tensors_round_to_the_8_bit_pixels(name: str, astronaut: np.ndarray):
    image = torch.from_numpy(astronaut).permute(2, 0, 1)[None].double() / 255
    expected = distort(astronaut, name, 4, 3)
    result = distort_batch(image, name, 4, 3)[0].permute(1, 2, 0)
    assert np.array_equal((result * 255 + 0.5).floor().byte().numpy(), expected)


@pytest.mark.parametrize("level", [1, 3, 5])
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_float64_but_for_ties(name: str, level: int, astronaut: np.ndarray):
    image = torch.from_numpy(astronaut).permute(2, 0, 1)[None].float() / 255
    result = (distort_batch(image, name, level, 9)[0].permute(1, 2, 0) * 255 + 0.5).floor().byte().numpy()
    expected = distort(astronaut, name, level, 9)
    if name == "color_quantization":  # its dither is chaotic
        assert np.allclose(result.mean((0, 1)), expected.mean((0, 1)), atol=2)
    elif name in CODED:
        assert psnr(result, expected) >= 45
    else:
        off = np.abs(result.astype(int) - expected)
        assert off.max() <= 1
        assert np.mean(off > 0) <= 0.02


def test_prepared_image_gives_the_bits_of_the_image(astronaut: np.ndarray):
    prepared = prepare(astronaut)
    for name in reversed(NAMES):  # whatever has been computed before
        assert np.array_equal(distort(prepared, name, 2, 8), distort(astronaut, name, 2, 8)), name


def test_autocast_changes_no_bit():
    images = make_batch(len(NAMES), 64, 64, torch.float32)
    expected = distort_batch(images, NAMES, 3, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distort_batch(images, NAMES, 3, 1), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_cuda_is_cpu_but_for_ties(name: str, dtype: torch.dtype):
    images = make_batch(6, 120, 161, dtype)
    levels, seeds = [1, 2, 3, 4, 5, 3], [1, 2, 3, 4, 5, 6]
    on_gpu = distort_batch(images.cuda(), name, levels, seeds)
    assert torch.equal(distort_batch(images[2:3].cuda(), name, 3, 3), on_gpu[2:3])
    expected = (distort_batch(images, name, levels, seeds) * 255 + 0.5).floor()
    off = ((on_gpu.cpu() * 255 + 0.5).floor() - expected).abs()
    if name == "color_quantization":
        assert on_gpu.mean().item() == pytest.approx(expected.mean().item() / 255, abs=0.01)
    elif name in CODED:
        assert off.square().mean() <= 255**2 / 10**4.5
    else:
        assert off.max() <= 1
        assert (off > 0).double().mean() <= 0.02
