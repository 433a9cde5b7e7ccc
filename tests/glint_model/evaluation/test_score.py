"""Scores of whole images: which crops, and that nothing else in the call matters."""

import numpy as np
import pytest
import torch
from PIL import Image

from glint_label.errors import GlintError, ImageError
from glint_model import GlintConfig, GlintIQA
from glint_model.network.crops import CROP, cut_at, cut_crops, grid_corners
from tests.conftest import make_photo

PHOTOS = [make_photo(seed, *size) for seed, size in enumerate([(300, 260), (224, 224), (100, 80), (640, 230)])]


@pytest.fixture(scope="module")
def model() -> GlintIQA:
    torch.manual_seed(0)
    return GlintIQA(GlintConfig.tiny())


@pytest.mark.parametrize("crops", [pytest.param(25, marks=pytest.mark.slow), 3, 0])
def test_a_score_does_not_depend_on_its_company(model, crops):
    scores = model.score(PHOTOS, crops=crops)
    assert scores.shape == (4,)
    assert scores.dtype == np.float64
    assert len(set(scores)) == 4
    np.testing.assert_array_equal(model.score(PHOTOS[::-1], crops=crops)[::-1], scores)
    np.testing.assert_array_equal([model.score([photo], crops=crops)[0] for photo in PHOTOS], scores)
    for batch_size in (1, 7, 1000):
        np.testing.assert_allclose(model.score(PHOTOS, crops=crops, batch_size=batch_size), scores, atol=1e-5, rtol=0)


def test_a_path_scores_as_its_pixels_whatever_its_name(model, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(PHOTOS[0]).save(tmp_path / name)
    scores = model.score([tmp_path / "a.png", str(tmp_path / "b.png"), PHOTOS[0]])
    assert scores[0] == scores[1] == scores[2]


def test_a_score_is_the_mean_of_the_scores_of_the_crops(model):
    crops = cut_crops(PHOTOS[0], 5, seed=3).float() / 255
    with torch.no_grad():
        expected = torch.stack([model.eval()(crop[None])[0] for crop in crops]).mean()
    assert model.score([PHOTOS[0]], crops=5, seed=3)[0] == pytest.approx(expected.item(), abs=1e-5)


def test_scoring_leaves_the_network_in_training(model):
    model.train()
    scores = [model.score(PHOTOS[:1])[0] for _ in range(2)]
    assert scores[0] == scores[1]  # no dropout
    assert model.training
    model.eval()
    model.score(PHOTOS[:1])
    assert not model.training


def test_no_image_no_score(model):
    assert model.score([]).shape == (0,)


@pytest.mark.parametrize("crops", [25, 0])
@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: f"{photo.shape[1]}x{photo.shape[0]}")
def test_crops_are_pieces_of_the_image(photo, crops):
    squares = cut_crops(photo, crops, seed=0).numpy()
    assert squares.shape[1:] == (3, CROP, CROP)
    windows = np.lib.stride_tricks.sliding_window_view(reflected(photo), (CROP, CROP), axis=(0, 1))
    for square in squares[:3]:
        assert (windows[:, :, :, ::16, ::16] == square[:, ::16, ::16]).all(axis=(2, 3, 4)).any()


def reflected(photo):
    """Continue an image to 224 px by mirroring it about its last row and column."""
    for axis in (0, 1):
        size = photo.shape[axis]
        bounce = np.abs((np.arange(max(size, CROP)) - (size - 1)) % (2 * size - 2) - (size - 1))
        photo = photo.take(bounce, axis=axis)
    return photo


def test_random_crops_depend_on_seed_and_content_alone():
    photo = PHOTOS[0]
    changed = photo.copy()
    changed[0, 0, 0] ^= 1
    assert torch.equal(cut_crops(photo, 25, 0), cut_crops(np.asfortranarray(photo), 25, 0))
    assert not torch.equal(cut_crops(photo, 25, 0), cut_crops(photo, 25, 1))
    assert (cut_crops(photo, 25, 0) != cut_crops(changed, 25, 0)).float().mean() > 0.1


def test_random_crops_reach_every_corner():
    position = np.zeros((226, 227, 3), dtype=np.uint8)
    position[..., 0], position[..., 1] = np.arange(226)[:, None], np.arange(227)
    corners = {tuple(crop[:2, 0, 0].tolist()) for crop in cut_crops(position, 400, 0)}
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def position_in(height, width):
    """Make an image whose first two channels say where one is, in steps of 4 px."""
    position = np.zeros((height, width, 3), dtype=np.uint8)
    position[..., 0], position[..., 1] = (np.arange(height) // 4)[:, None], np.arange(width) // 4
    return position


def places_seen(crops):
    return {(int(a), int(b)) for crop in crops.numpy() for a, b in zip(crop[0].ravel(), crop[1].ravel(), strict=True)}


@pytest.mark.parametrize("size", [(224, 224), (225, 300), (448, 672), (500, 1001)])
def test_the_grid_covers_the_whole_image(size):
    crops = cut_at(position_in(*size), grid_corners(*size))
    assert len(crops) == -(-size[0] // CROP) * -(-size[1] // CROP)
    assert places_seen(crops) == {(a, b) for a in range(-(-size[0] // 4)) for b in range(-(-size[1] // 4))}


def test_regular_crops_are_half_of_the_grid_and_see_most_of_a_photo():
    crops = cut_crops(position_in(384, 512), 0, 0)
    assert [tuple(crop[:2, 0, 0].tolist()) for crop in crops] == [(0, 36), (40, 0), (40, 72)]
    assert len(places_seen(crops)) > 0.7 * 96 * 128
    assert len(cut_crops(position_in(1000, 1000), 0, 0)) == 12  # of 5 x 5


@pytest.mark.parametrize("size", [(200, 900), (900, 224), (224, 224)])
def test_regular_crops_of_a_narrow_image_see_all_of_it(size):
    image = position_in(*size)
    assert places_seen(cut_crops(image, 0, 0)) == places_seen(torch.from_numpy(image).permute(2, 0, 1)[None])


def test_what_is_no_image_is_refused(model, tmp_path):
    with pytest.raises(GlintError, match=r"must be \(H, W, 3\) uint8"):
        model.score([np.zeros((300, 300), dtype=np.uint8)])
    with pytest.raises(GlintError, match="float64"):
        model.score([np.zeros((300, 300, 3))])
    with pytest.raises(GlintError, match="crops -1"):
        model.score(PHOTOS, crops=-1)
    with pytest.raises(GlintError, match="batch_size 0"):
        model.score(PHOTOS, batch_size=0)
    with pytest.raises(GlintError, match="list of images"):
        model.score(PHOTOS[0])
    with pytest.raises(ImageError, match=r"none.png"):
        model.score([tmp_path / "none.png"])
