"""Fingerprints: copies keep theirs, different photos differ, empty photos have none."""

import io

import numpy as np
import pytest
from PIL import Image

from glint_label.duplicates.index import DuplicateKeys, find_near_duplicates
from glint_label.duplicates.perceptual_hash import SAME_PICTURE, distances, mirrored, perceptual_hash
from glint_label.embed import HASH_BYTES
from glint_label.images import read_photo
from glint_label.listing import list_images
from tests.conftest import make_photo


def distance(one, other) -> int:
    return int(distances(one[None], other[None])[0])


def recompress(quality):
    def copy(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return copy


def rescale(factor):
    def copy(pixels):
        height, width = pixels.shape[:2]
        size = (round(width * factor), round(height * factor))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))

    return copy


def mirror(pixels):
    return np.ascontiguousarray(pixels[:, ::-1])


def crop(share):
    def copy(pixels):
        height, width = pixels.shape[:2]
        rows, columns = round(height * share / 2), round(width * share / 2)
        return pixels[rows : height - rows, columns : width - columns]

    return copy


COPIES = {
    "jpeg 90": recompress(90),
    "jpeg 50": recompress(50),
    "scaled by 0.9": rescale(0.9),
    "scaled by 0.75": rescale(0.75),
    "scaled by 0.5": rescale(0.5),
    "mirrored": mirror,
    "cropped by 2 %": crop(0.02),
    "mirrored, halved, jpeg 50": lambda pixels: recompress(50)(rescale(0.5)(mirror(pixels))),
}


@pytest.mark.parametrize("seed", range(5))
def test_a_mirror_turns_known_bits_and_no_others(seed):
    photo = make_photo(seed, 512, 384)
    assert np.bitwise_count(perceptual_hash(mirror(photo)) ^ mirrored(perceptual_hash(photo))).sum() <= 1


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((96, 128, 3), dtype=np.uint8),
        np.full((96, 128, 3), 255, dtype=np.uint8),
        np.repeat(np.linspace(80, 200, 96).astype(np.uint8), 128 * 3).reshape(96, 128, 3),
    ],
    ids=["black", "white", "clear sky"],
)
def test_a_photo_without_structure_has_none(pixels):
    assert not perceptual_hash(pixels).any()


@pytest.fixture(scope="module")
def photos(shared):
    folders = [shared / "data" / "kadid10k" / "images", shared / "data" / "pristine"]
    names = [folder / name for folder in folders for name in list_images(folder).names]
    return [read_photo(name).pixels for name in names if name.parent.name != "images" or len(name.stem) == 3]


@pytest.fixture(scope="module")
def hashes(photos):
    return np.stack([perceptual_hash(photo) for photo in photos])


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_real_photos_keep_it(photos, hashes, name):
    chosen = range(0, len(photos), 4)
    assert max(distance(hashes[row], perceptual_hash(COPIES[name](photos[row]))) for row in chosen) <= SAME_PICTURE


def test_sixths_of_real_photos_plain_skies_among_them_are_not_joined(photos):
    sixths = [
        band[:, column * band.shape[1] // 3 : (column + 1) * band.shape[1] // 3]
        for photo in photos
        for band in (photo[: len(photo) // 2], photo[len(photo) // 2 :])
        for column in range(3)
    ]
    prints = np.stack([perceptual_hash(np.ascontiguousarray(sixth)) for sixth in sixths])
    pictures = DuplicateKeys(np.zeros((len(prints), 1), dtype=np.float32), prints)
    assert find_near_duplicates(pictures, 0.98).tolist() == list(range(6 * 184))


def test_different_real_photos_differ_by_twice_the_threshold(photos, hashes):
    assert len(photos) == 184
    assert hashes.shape == (184, HASH_BYTES)
    assert hashes.any(axis=1).all()
    closest = min(distance(hashes[i], hashes[j]) for i in range(184) for j in range(i))
    assert closest >= 2 * SAME_PICTURE
