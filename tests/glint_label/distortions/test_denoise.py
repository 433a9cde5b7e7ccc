"""Distortion 15: the network removes noise, the same bits whatever is in the batch, at any size."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from skimage import data
from torch import Tensor
from torch.testing import assert_close

from glint_label.distortions import denoise
from glint_label.distortions.denoise import WEIGHTS, denoise_planes
from glint_label.errors import WeightsError


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def planes() -> Tensor:
    """The three planes of a photo that the network was not trained on: (3, 1, 120, 128) in [0, 1]."""
    photo = torch.from_numpy(data.astronaut()[40:160, 160:288].copy()).permute(2, 0, 1)[:, None].float()
    return (photo - photo.min()) / (photo.max() - photo.min())


def add_noise(planes: Tensor, variance: float) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (planes + variance**0.5 * torch.randn(planes.shape, generator=generator)).clamp(0, 1)


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


@pytest.mark.parametrize(("variance", "least_gain"), [(0.01, 5), (0.03, 6), (0.05, 6), (0.1, 6), (0.15, 6)])
def test_noise_is_removed_at_every_level(planes: Tensor, variance: float, least_gain: float) -> None:
    noisy = add_noise(planes, variance)
    assert psnr(denoise_planes(noisy), planes) > psnr(noisy, planes) + least_gain


def test_a_plane_has_the_same_bits_in_any_batch(planes: Tensor) -> None:
    noisy = add_noise(planes, 0.05)
    alone = torch.cat([denoise_planes(plane) for plane in noisy.split(1)])
    assert_close(denoise_planes(noisy), alone, rtol=0, atol=0)
    assert_close(denoise_planes(noisy.flip(0).repeat(2, 1, 1, 1))[3:].flip(0), alone, rtol=0, atol=0)


def test_the_number_of_threads_changes_no_bit(planes: Tensor) -> None:
    noisy = add_noise(planes, 0.05)
    single = denoise_planes(noisy)
    torch.set_num_threads(2)
    assert_close(denoise_planes(noisy), single, rtol=0, atol=0)


@pytest.mark.parametrize(("height", "width"), [(65, 64), (64, 67), (63, 65), (1, 1), (2, 3)])
def test_any_size(planes: Tensor, height: int, width: int) -> None:
    noisy = add_noise(planes[:, :, :height, :width], 0.05)
    clean = denoise_planes(noisy)
    assert clean.shape == noisy.shape
    assert clean.isfinite().all()


def test_an_odd_size_costs_nothing_away_from_the_border(planes: Tensor) -> None:
    noisy = add_noise(planes, 0.05)
    inner = (..., slice(0, 64), slice(0, 64))
    assert_close(denoise_planes(noisy[..., :119, :127])[inner], denoise_planes(noisy)[inner], rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["transposed", "sliced", "expanded"])
def test_memory_layout_does_not_matter(planes: Tensor, layout: str) -> None:
    noisy = add_noise(planes, 0.05)
    same = {
        "transposed": noisy.transpose(2, 3).contiguous().transpose(2, 3),
        "sliced": noisy.repeat(1, 2, 1, 1)[:, :1],
        "expanded": noisy[:1].expand(3, -1, -1, -1),
    }[layout]
    assert_close(
        denoise_planes(same), denoise_planes(same.clone(memory_format=torch.contiguous_format)), rtol=0, atol=0
    )


def test_double_precision_is_kept_and_the_network_still_runs_in_single(planes: Tensor) -> None:
    noisy = add_noise(planes, 0.05)
    clean = denoise_planes(noisy.double())
    assert clean.dtype == torch.float64
    assert_close(clean.float(), denoise_planes(noisy), rtol=0, atol=1e-6)


def test_surrounding_autocast_and_inference_mode_change_nothing(planes: Tensor) -> None:
    noisy = add_noise(planes, 0.05)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = denoise_planes(noisy)
    assert_close(inside.clone(), denoise_planes(noisy), rtol=0, atol=0)


def test_the_input_is_left_alone_and_nothing_is_clipped(planes: Tensor) -> None:
    noisy = add_noise(planes, 0.1)
    before = noisy.clone()
    clean = denoise_planes(noisy)
    assert_close(noisy, before, rtol=0, atol=0)
    assert not clean.requires_grad


@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "other tensors"])
def test_missing_or_damaged_weights_are_one_line_that_names_the_file(
    planes: Tensor, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "denoiser.safetensors"
    if damage == "empty":
        file.touch()
    elif damage == "cut short":
        file.write_bytes(WEIGHTS.read_bytes()[:-100])
    elif damage == "other tensors":
        file.write_bytes(save({"elsewhere": torch.zeros(1)}))
    monkeypatch.setattr(denoise, "WEIGHTS", file)
    with pytest.raises(WeightsError, match=r"denoiser\.safetensors") as caught:
        denoise_planes(planes)
    assert "\n" not in str(caught.value)


def test_the_weights_say_where_they_come_from_and_are_small() -> None:
    with safe_open(WEIGHTS, framework="pt") as weights:
        facts = weights.metadata()
        halves = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118 (not a dict)
    assert {"what", "made", "licence", "seed", "photos_sha256"} <= facts.keys()
    assert halves == {torch.float16}
    assert WEIGHTS.stat().st_size < 1_000_000
