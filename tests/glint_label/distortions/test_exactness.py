"""Against the goldens (the original's output, kernels, curves, replayed random numbers) and the published images.

All of it needs the shared data folder; the closed forms in test_operators.py need nothing.
"""

import csv
import functools
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from glint_label.distortions import DISTORTIONS, Prepared, distort, find, prepare
from glint_label.distortions.color import shift_along
from glint_label.distortions.filters import disk_kernel, motion_kernel
from glint_label.distortions.prepared import stretch, to_bytes
from glint_label.distortions.spatial import block_places, patch_places
from glint_label.distortions.tone import _parabola, _s_curve
from tests.glint_label.distortions.conftest import assert_same_but_ties, psnr

DETERMINISTIC = (1, 2, 4, 6, 7, 8, 10, 16, 17, 18, 21, 22, 24, 25)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(scope="module")
def goldens(shared: Path) -> Path:
    return shared / "goldens"


@pytest.fixture(scope="module")
def chelsea(goldens: Path) -> Prepared:
    return prepare(read(goldens / "chelsea.png"))


@pytest.mark.parametrize("level", range(1, 6))
@pytest.mark.parametrize("number", DETERMINISTIC)
def test_golden(number: int, level: int, goldens: Path, chelsea: Prepared):
    assert_same_but_ties(distort(chelsea, number, level), read(goldens / f"chelsea/{number}_{level}.png"))


@pytest.mark.parametrize("level", range(1, 6))
def test_golden_jpeg2000(level: int, goldens: Path, chelsea: Prepared):
    assert psnr(distort(chelsea, "jpeg2000", level), read(goldens / f"chelsea/9_{level}.png")) >= 40


@pytest.mark.parametrize("radius", [1, 2, 4, 6, 8])
def test_disk_kernel(radius: int, goldens: Path):
    expected = np.loadtxt(goldens / f"kernels/kernel_disk_{radius}.csv", delimiter=",")
    np.testing.assert_allclose(disk_kernel(radius), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("length", [1, 2, 4, 6, 10])
def test_motion_kernels(length: int, goldens: Path):
    for angle in range(181):
        file = goldens / f"kernels/kernel_motion_{length}_{angle}.csv"
        expected = np.loadtxt(file, delimiter=",", ndmin=2)
        np.testing.assert_allclose(motion_kernel(length, angle), expected, rtol=0, atol=1e-15)


def test_tone_curves(goldens: Path):
    x, *expected = np.loadtxt(goldens / "curves.csv", delimiter=",", unpack=True)
    grey = torch.from_numpy(x).view(1, 1, 1, -1)
    curves = [_parabola(grey, 0.5 + a / 2) for a in find("brighten").amounts]
    curves += [_parabola(grey, 0.5 - a / 2) for a in find("darken").amounts]
    curves += [_s_curve(grey, 0.25 - a / 4, 0.75 + a / 4) for a in find("contrast_change").amounts]
    np.testing.assert_allclose(torch.cat(curves).flatten(1).numpy(), expected, rtol=0, atol=1e-14)


def replay(images: Prepared, number: int, level: int, **random: Any) -> np.ndarray:
    row = find(number)
    return to_bytes(stretch(row.degrade(images, row.amount(level), **random)))[0].permute(1, 2, 0).numpy()


def recorded(goldens: Path, name: str) -> list[np.ndarray]:
    with np.load(goldens / f"replay/{name}.npz") as file:
        return [file[key] for key in sorted(file.files)]


def channels_first(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None]


@pytest.mark.parametrize("angle", [0, 28, 45, 90, 135, 180])
@pytest.mark.parametrize("level", range(1, 6))
def test_replayed_motion_blur(level: int, angle: int, goldens: Path, chelsea: Prepared):
    result = replay(chelsea, 3, level, angle=torch.tensor([angle]))
    assert_same_but_ties(result, read(goldens / f"replay/03_{level}_angle{angle}.png"))


@pytest.mark.parametrize(("name", "direction"), [(1, (1, 0)), (2, (0, 1)), (3, (0.6, 0.8))])
@pytest.mark.parametrize("level", range(1, 6))
def test_replayed_color_shift(level: int, name: int, direction: tuple[float, float], goldens: Path, chelsea: Prepared):
    shift = shift_along(torch.tensor([direction], dtype=torch.float64), find(5).amount(level))
    assert_same_but_ties(replay(chelsea, 5, level, shift=shift), read(goldens / f"replay/05_{level}_dir{name}.png"))


@pytest.mark.parametrize("number", [11, 12, 13, 14])
def test_replayed_noise(number: int, goldens: Path, chelsea: Prepared):
    (noise,) = recorded(goldens, f"{number}_5_rec")
    result = replay(chelsea, number, 5, noise=channels_first(noise))
    assert_same_but_ties(result, read(goldens / f"replay/{number}_5_rec.png"))


def test_replayed_jitter(goldens: Path, chelsea: Prepared):
    fields = [channels_first(field) for field in recorded(goldens, "19_5_rec")]
    assert_same_but_ties(replay(chelsea, 19, 5, noise=fields), read(goldens / "replay/19_5_rec.png"))


@pytest.mark.parametrize(("number", "places", "draws"), [(20, patch_places, 4), (23, block_places, 5)])
@pytest.mark.parametrize("level", [2, 5])
def test_replayed_places(level: int, number: int, places: Any, draws: int, goldens: Path, chelsea: Prepared):
    (numbers,) = recorded(goldens, f"{number}_{level}_rec")
    random = places(torch.from_numpy(numbers).view(1, -1, draws), chelsea.size)
    assert_same_but_ties(replay(chelsea, number, level, **random), read(goldens / f"replay/{number}_{level}_rec.png"))


def published(shared: Path, *numbers: int) -> list[tuple[np.ndarray, np.ndarray, int, int]]:
    """Return anchor, published image, type and level of every real image of some types."""
    found = []
    for file in sorted((shared / "data/kadid10k/images").glob("I??_??_??.png")):
        anchor, number, level = file.stem.split("_")
        if int(number) in numbers:
            found.append((read(file.with_name(f"{anchor}.png")), read(file), int(number), int(level)))
    assert found
    return found


@pytest.mark.parametrize("number", [1, 2, 10])
def test_published_images_are_reproduced(number: int, shared: Path):
    for anchor, image, _, level in published(shared, number):
        assert np.array_equal(distort(anchor, number, level), image)


@pytest.mark.parametrize("number", [7, 25])
def test_published_images_are_reproduced_but_for_ties(number: int, shared: Path):
    for anchor, image, _, level in published(shared, number):
        assert_same_but_ties(distort(anchor, number, level), image, share=0.02)


def test_published_jpeg2000_is_near(shared: Path):
    agreement: dict[int, list[float]] = {}
    for anchor, image, number, level in published(shared, 9):
        agreement.setdefault(level, []).append(psnr(distort(anchor, number, level), image))
    assert min(functools.reduce(operator.iadd, agreement.values(), [])) >= 31
    for level, least in ((2, 45), (3, 41), (5, 32.5)):
        assert np.median(agreement[level]) >= least


@pytest.mark.parametrize("number", [11, 12])
def test_published_noise_is_as_strong(number: int, shared: Path):
    for anchor, image, _, level in published(shared, number):
        assert psnr(distort(anchor, number, level, seed=3), anchor) == pytest.approx(psnr(image, anchor), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
@pytest.mark.parametrize("number", [3, 5, 11, 12, 13, 14, 19, 20, 23])
def test_random_types_are_as_strong_as_the_original(number: int, name: str, goldens: Path):
    image = read(goldens / f"{name}.png")
    prepared = prepare(image)
    with (goldens / "stats.csv").open(newline="") as file:
        rows = [
            r for r in csv.DictReader(file) if (r["image"], r["type"], r["variant"]) == (name, str(number), "golden")
        ]
    for level in range(1, 6):
        theirs = np.array([float(r["psnr"]) for r in rows if r["level"] == str(level)])
        ours = np.array([psnr(distort(prepared, number, level, seed), image) for seed in range(8)])
        if np.isinf(theirs).all():
            assert np.isinf(ours).all()
            continue
        # Both means are of eight: four standard errors of their difference, as there are ninety of them.
        error = np.hypot(theirs.std(ddof=1), ours.std(ddof=1)) / np.sqrt(8)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=max(0.1, 4 * error)), level


def test_motion_blur_of_one_pixel_is_the_identity(chelsea: Prepared):
    assert DISTORTIONS["motion_blur"].amounts[0] == 1
    for seed in range(5):
        assert np.array_equal(distort(chelsea, "motion_blur", 1, seed), to_bytes(chelsea.rgb)[0].permute(1, 2, 0))
