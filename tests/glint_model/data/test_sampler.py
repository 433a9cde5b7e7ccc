"""The order of training: every row once an epoch, the same from whatever step on."""

import numpy as np
import pytest

from glint_model.data.sampler import Crop, Sampler, draw_crops

PHOTO = np.repeat(np.arange(6), [25, 25, 0, 10, 7, 1])


@pytest.mark.parametrize("members", [1, 5])
def test_an_epoch_takes_every_row(members):
    order = Sampler(PHOTO, members, seed=3)
    rows = order.rows(range(order.groups))
    assert set(rows) == set(range(len(PHOTO)))
    if members == 1:
        assert len(rows) == len(PHOTO)


def test_a_group_shows_one_photo():
    order = Sampler(PHOTO, 5, seed=3)
    groups = order.rows(range(3 * order.groups)).reshape(-1, 5)
    assert all(len(set(PHOTO[group])) == 1 for group in groups)


def test_the_order_does_not_depend_on_where_it_is_read_from():
    whole = Sampler(PHOTO, 5, seed=3).rows(range(60))
    for first in (1, 17, 44):  # in the first, second and third epoch
        assert np.array_equal(
            Sampler(PHOTO, 5, seed=3).rows(range(first, first + 3)), whole[5 * first : 5 * first + 15]
        )


def test_groups_may_be_asked_for_in_any_order(monkeypatch):
    """Several epochs are at hand at once where the groups of a step are of several, and none is dealt twice."""
    whole = Sampler(PHOTO, 5, seed=3).rows(range(60)).reshape(-1, 5)
    order = Sampler(PHOTO, 5, seed=3, live=40)
    dealt = []
    deal = Sampler._deal
    monkeypatch.setattr(Sampler, "_deal", lambda self, epoch: dealt.append(epoch) or deal(self, epoch))
    for newest in range(40, 60):
        groups = [newest, newest - 20, newest - 40]
        assert np.array_equal(order.rows(groups).reshape(-1, 5), whole[groups])
    assert len(dealt) == len(set(dealt))


def test_epochs_and_seeds_differ():
    order = Sampler(PHOTO, 5, seed=3)
    first, second = order.rows(range(order.groups)), order.rows(range(order.groups, 2 * order.groups))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, Sampler(PHOTO, 5, seed=4).rows(range(order.groups)))


def test_crops_depend_on_seed_and_sample_alone():
    assert draw_crops(1, 10, 3) == draw_crops(1, 10, 3)
    assert draw_crops(1, 10, 3) != draw_crops(1, 11, 3)
    assert draw_crops(1, 10, 3) != draw_crops(2, 10, 3)
    assert not any(crop.mirrored or crop.flipped for crop in draw_crops(1, 10, 50, turned=False))


def test_crops_reach_all_corners_and_turn_over():
    pixels = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    corners = {crop.corner(6, 5, 4) for sample in range(200) for crop in draw_crops(0, sample, 1)}
    assert corners == {(top, left) for top in range(3) for left in range(2)}
    square = Crop(0.5, 0.0, mirrored=True, flipped=True).cut(pixels, 4)
    assert np.array_equal(square, pixels[1:5, 0:4][::-1, ::-1])
