"""Images used in several steps: which, with which crops, and that keeping them changes nothing but the time."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from glint_model.data import reuse
from glint_model.data.batches import Batches, Recipe, iterate
from glint_model.data.reuse import Rendered, source_of, window_of
from glint_model.data.rows import Rows, synthetic_rows

_ROOM = 50_000_000  # photos are drawn once


def quick_rows(photos: int = 4) -> Rows:
    """Rows whose labels name them, under a distortion that is made fast."""
    rows = synthetic_rows(photos).train
    rows = rows.take(np.array([rows.conditions[number][0] == "pixelate" for number in rows.condition]))
    return replace(rows, mos=np.arange(len(rows), dtype=np.float32))


def labels_of(recipe: Recipe, indices: list[int]) -> list[list[int]]:
    return [batch.labels[0].int().tolist() for batch in iterate(recipe, indices, workers=0)]


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_a_pass_takes_every_row_so_often(uses):
    rows = quick_rows()
    recipe = Recipe(rows, batch=4, reuse=uses, cache_bytes=_ROOM, synthetic=True)
    block = window_of(4) * uses  # 48 steps of 4 rows: several passes over 20 rows
    taken = Counter(row for labels in labels_of(recipe, list(range(block))) for row in labels)
    whole = 48 * 4 // len(rows) * uses
    assert set(taken) == set(range(len(rows)))
    assert all(whole <= count <= whole + uses for count in taken.values())
    assert all(count % uses == 0 for count in taken.values())


def test_rows_come_again_a_window_later_and_blocks_go_on_where_the_last_one_ended():
    assert [source_of(step, 3, 2) for step in range(14)] == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7]
    assert [source_of(step, 3, 1) for step in range(5)] == list(range(5))


def test_every_use_has_crops_of_its_own():
    rows = quick_rows()
    recipe = Recipe(rows, batch=320, reuse=2, seed=3, cache_bytes=_ROOM, synthetic=True)
    first, again = (next(iter(iterate(recipe, [step], workers=0))) for step in (0, 2))
    assert torch.equal(first.labels, again.labels)
    alike = (first.crops == again.crops).flatten(1).all(1)
    assert not alike.any()


def test_a_window_is_bounded_and_fits_many_numbers_of_workers():
    assert (window_of(16), window_of(128)) == (24, 4)
    for batch in range(1, 2000):
        window = window_of(batch)
        assert 48 % window == 0
        assert window * batch <= 640 or window == 1


def test_batches_depend_on_the_step_alone():
    """Whatever was made before, as after a stop, and however the steps are dealt to workers."""
    recipe = Recipe(quick_rows(), batch=160, group=4, reuse=3, seed=1, cache_bytes=_ROOM, synthetic=True)
    assert window_of(160) == 4
    whole = list(iterate(recipe, range(14), workers=0))
    for indices in (range(5, 14), range(0, 14, 2), range(1, 14, 3)):
        for index, batch in zip(indices, iterate(recipe, indices, workers=0), strict=True):
            assert torch.equal(batch.crops, whole[index].crops)
            assert torch.equal(batch.labels, whole[index].labels)


def test_the_first_use_is_the_run_without_reuse():
    recipe = Recipe(quick_rows(), batch=8, group=4, reuse=4, seed=1, cache_bytes=_ROOM, synthetic=True)
    plain = replace(recipe, reuse=1)
    for one, other in zip(iterate(recipe, range(3), 0), iterate(plain, range(3), 0), strict=True):
        assert torch.equal(one.crops, other.crops)


def test_parts_of_a_batch_that_comes_again_are_the_batch():
    recipe = Recipe(quick_rows(), batch=320, group=4, reuse=2, seed=1, cache_bytes=_ROOM, synthetic=True)
    (whole,) = iterate(recipe, [3], workers=0)
    parts = list(iterate(replace(recipe, parts=4), range(12, 16), workers=0))
    assert torch.equal(torch.cat([part.crops for part in parts]), whole.crops)


def test_an_image_is_rendered_once_for_all_its_uses():
    source = Batches(Recipe(quick_rows(), batch=320, reuse=4, cache_bytes=_ROOM, synthetic=True))
    assert window_of(320) == 2
    rendering = [source[step].seconds["distort"] > 0 for step in range(8)]
    assert rendering == [True] + [False] * 7  # these rows are few enough to fill one step


def test_what_is_kept_is_bounded_and_goes_with_its_block(monkeypatch):
    image = np.zeros((40, 50, 3), dtype=np.uint8)
    monkeypatch.setattr(reuse, "KEPT_BYTES", 7 * image.nbytes + 5)
    kept = Rendered()
    for row in range(20):
        kept.put(row, image)
    assert [row for row in range(20) if kept.get(row) is not None] == list(range(7))
    assert kept.nbytes == 7 * image.nbytes
    kept.begin(1)
    assert kept.nbytes == 0
    assert kept.get(0) is None


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
def test_workers_change_nothing(workers):
    recipe = Recipe(quick_rows(), batch=80, group=4, reuse=2, seed=1, cache_bytes=_ROOM, synthetic=True)
    alone, beside = (list(iterate(recipe, range(3, 24), number)) for number in (0, workers))
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one.crops, other.crops)
        assert torch.equal(one.labels, other.labels)
