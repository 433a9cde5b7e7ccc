"""What the API takes, and what it says to the rest."""

import re

import numpy as np
import pytest
import torch

from glint_label.distortions import DISTORTIONS, Prepared, distort, distort_batch, find, prepare
from glint_label.errors import InputError, UsageError
from tests.conftest import make_photo
from tests.glint_label.distortions.conftest import make_batch


def test_table_is_that_of_kadid10k():
    assert [d.number for d in DISTORTIONS.values()] == list(range(1, 26))
    assert all(name == d.name for name, d in DISTORTIONS.items())
    assert all(len(d.amounts) == 5 and d.source == "kadid10k" for d in DISTORTIONS.values())
    assert [d.name for d in DISTORTIONS.values() if not d.ordered] == ["mean_shift", "contrast_change"]


def test_name_number_and_row_are_the_same():
    photo = make_photo(1)
    expected = distort(photo, "motion_blur", 4, 2)
    assert np.array_equal(distort(photo, 3, 4, 2), expected)
    assert np.array_equal(distort(photo, find(3), 4, 2), expected)


@pytest.mark.parametrize("distortion", ["blur", "", 0, 26, None, 2.0, [1]])
def test_unknown_distortion(distortion: object):
    with pytest.raises(UsageError, match="gaussian_blur"):
        distort(make_photo(1), distortion, 1)


@pytest.mark.parametrize("level", [0, 6, -1, 2.5, True, "3", None])
def test_unknown_level(level: object):
    with pytest.raises(UsageError, match="levels 1 to 5"):
        distort(make_photo(1), "jpeg", level)
    with pytest.raises(UsageError, match="levels"):
        distort_batch(make_batch(1, 64, 64), "jpeg", [level])


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, None])
def test_unusable_seed(seed: object):
    with pytest.raises(UsageError, match="seed"):
        distort(make_photo(1), "white_noise", 1, seed)


def test_numpy_integers_are_integers():
    photo = make_photo(1)
    expected = distort(photo, 11, 3, 5)
    assert np.array_equal(distort(photo, np.int64(11), np.uint8(3), np.int64(5)), expected)
    images = make_batch(2, 64, 64)
    assert torch.equal(distort_batch(images, np.int64(11), np.int64(3), np.int64(5)), distort_batch(images, 11, 3, 5))


def test_images_prepared_together_are_refused():
    with pytest.raises(InputError, match="2 were prepared"):
        distort(Prepared(make_batch(2, 64, 64)), "jpeg", 1)


def test_largest_seed():
    photo = make_photo(1)
    assert not np.array_equal(distort(photo, 11, 3, 2**63 - 1), distort(photo, 11, 3, 2**53 - 1))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float64),
        np.zeros((64, 64, 3), np.uint16),
        np.zeros((64, 47, 3), np.uint8),
        torch.zeros(64, 64, 3, dtype=torch.uint8),
        "photo.png",
        None,
    ],
    ids=lambda image: re.sub(r"\W+", "-", str(getattr(image, "shape", image))),
)
def test_unusable_image(image: object):
    with pytest.raises(InputError, match="an image to distort"):
        distort(image, "jpeg", 1)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(1, 1, 64, 64),
        torch.zeros(0, 3, 64, 64),
        torch.zeros(1, 3, 40, 64),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        torch.zeros(1, 3, 64, 64, dtype=torch.float16),
        torch.full((1, 3, 64, 64), 1.01),
        torch.full((1, 3, 64, 64), -0.01),
        torch.full((1, 3, 64, 64), torch.nan),
        torch.full((1, 3, 64, 64), torch.inf),
        np.zeros((1, 3, 64, 64)),
    ],
)
def test_unusable_batch(images: object):
    with pytest.raises(InputError, match="to distort"):
        distort_batch(images, "jpeg", 1)


def test_one_nan_is_found():
    images = make_batch(3, 64, 64)
    images[1, 2, 3, 4] = torch.nan
    with pytest.raises(InputError, match="nan"):
        distort_batch(images, "jpeg", 1)


def test_lists_of_the_wrong_length():
    images = make_batch(2, 64, 64)
    for arguments in ((["jpeg"], 1, 0), ("jpeg", [1, 2, 3], 0), ("jpeg", 1, [5])):
        with pytest.raises(UsageError, match="2 images"):
            distort_batch(images, *arguments)


def test_tensors_of_levels_and_seeds():
    images = make_batch(2, 64, 64)
    expected = distort_batch(images, [11, "jpeg"], [1, 5], [3, 4])
    assert torch.equal(distort_batch(images, [11, "jpeg"], torch.tensor([1, 5]), np.array([3, 4])), expected)


@pytest.mark.parametrize("value", [0, 100, 255])
@pytest.mark.parametrize("distortion", DISTORTIONS.values(), ids=lambda d: d.name)
def test_constant_image(distortion, value: int):
    photo = np.full((64, 70, 3), value, np.uint8)
    result = distort(photo, distortion, 3, 1)
    assert result.shape == photo.shape
    if not distortion.draw and not distortion.noise:
        assert np.ptp(result.reshape(-1, 3).astype(int), axis=0).max() <= 1


@pytest.mark.parametrize("level", [1, 5])
@pytest.mark.parametrize("size", [(64, 64), (48, 48), (65, 131)], ids=str)
@pytest.mark.parametrize("name", DISTORTIONS)
def test_small_and_odd_sizes(name: str, size: tuple[int, int], level: int):
    result = distort(make_photo(3, size[1], size[0]), name, level, 2)
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("distortion", DISTORTIONS.values(), ids=lambda d: d.name)
def test_parameters_of_a_recipe(distortion):
    parameters = distortion.parameters(level=4, seed=12, size=(64, 80))
    assert parameters == distortion.parameters(4, 12, (64, 80))
    if distortion.draw:
        assert parameters != distortion.parameters(4, 13, (64, 80))
    assert set(parameters) == {
        "motion_blur": {"angle"},
        "color_shift": {"shift"},
        "non_eccentricity_patch": {"source", "target"},
        "color_block": {"corner", "color"},
    }.get(distortion.name, set())


def test_parameters_are_those_that_are_used():
    photo = make_photo(5)
    drawn = DISTORTIONS["motion_blur"].parameters(5, 7, photo.shape[:2])
    row = DISTORTIONS["motion_blur"]
    prepared = prepare(photo)
    again = row.degrade(prepared, row.amount(5), angle=torch.tensor([drawn["angle"]]))
    assert torch.equal(row.degrade(prepared, 10, **row.draw(torch.tensor([7]), 10, photo.shape[:2])), again)


def test_views_and_read_only_arrays():
    photo = make_photo(2, 140, 140)
    half = photo[::2, ::-2]
    half.setflags(write=False)
    assert np.array_equal(distort(half, "lens_blur", 2), distort(half.copy(), "lens_blur", 2))
