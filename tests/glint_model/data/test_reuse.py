"""Images used in several steps: which, with which crops, and that keeping them changes nothing but the time."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from glint_model.data import reuse
from glint_model.data.batches import Batches, Recipe, iterate
from glint_model.data.reuse import Rendered, Uses, steps_between
from glint_model.data.rows import Rows, synthetic_rows

_ROOM = 50_000_000  # photos are drawn once


def quick_rows(photos: int = 4) -> Rows:
    """Rows whose labels name them, under a distortion that is made fast."""
    rows = synthetic_rows(photos).train
    rows = rows.take(np.array([rows.conditions[number][0] == "pixelate" for number in rows.condition]))
    return replace(rows, mos=np.arange(len(rows), dtype=np.float32))


def labels_of(recipe: Recipe, indices: list[int]) -> list[list[int]]:
    return [batch.labels[0].int().tolist() for batch in iterate(recipe, indices, workers=0)]


@pytest.mark.parametrize("reuse", [1, 2, 3])
def test_rows_are_taken_equally_often(reuse):
    rows = quick_rows()
    recipe = Recipe(rows, batch=4, reuse=reuse, cache_bytes=_ROOM, synthetic=True)
    taken = Counter(row for labels in labels_of(recipe, list(range(100 * reuse))) for row in labels)
    assert set(taken) == set(range(len(rows)))
    often = 100 * reuse * 4 / len(rows)  # each once a pass; the first and the last passes are cut off
    assert all(abs(count - often) <= 2 * reuse for count in taken.values())


@pytest.mark.parametrize("uses", [Uses(1, 7), Uses(2, 3), Uses(3, 4), Uses(4, 24)], ids=str)
def test_every_group_is_used_equally_often_and_after_the_same_time(uses):
    number = uses.reuse * (3 * uses.live + 20)
    order = [uses.group(use) for use in range(number)]
    places = {group: [use for use, other in enumerate(order) if other == group] for group in set(order)}
    assert min(places) == 0
    for group, found in places.items():
        whole = uses.live <= group and uses.last(group) < number
        if whole:
            assert len(found) == uses.reuse
            assert set(np.diff(found)) <= {uses.reuse * uses.delay + 1}
        assert len(found) <= uses.reuse
        assert found[-1] <= uses.last(group)


def test_a_quarter_of_every_step_is_new():
    uses = Uses(reuse=4, delay=24)
    seen: set[int] = set()
    for step in range(200):
        groups = [uses.group(use) for use in range(4 * step, 4 * step + 4)]
        new = set(groups) - seen
        seen |= new
        assert len(new) == 1 or step < uses.live


def test_every_use_has_crops_of_its_own():
    rows = quick_rows()
    recipe = Recipe(rows, batch=320, reuse=2, seed=3, cache_bytes=_ROOM, synthetic=True)
    assert steps_between(320) == 2
    first, again = (next(iter(iterate(recipe, [step], workers=0))) for step in (0, 2))
    same = torch.equal(first.labels[0, ::2], again.labels[0, 1::2])
    assert same
    assert not (first.crops[::2] == again.crops[1::2]).flatten(1).all(1).any()


def test_the_time_between_uses_is_bounded_and_fits_many_numbers_of_workers():
    assert (steps_between(16), steps_between(128)) == (24, 4)
    for batch in range(1, 2000):
        steps = steps_between(batch)
        assert 48 % steps == 0
        assert steps * batch <= 640 or steps == 1


@pytest.mark.slow
def test_batches_depend_on_the_step_alone():
    """Whatever was made before, as after a stop, and however the steps are dealt to workers."""
    recipe = Recipe(quick_rows(), batch=160, group=4, reuse=3, seed=1, cache_bytes=_ROOM, synthetic=True)
    assert steps_between(160) == 4
    whole = list(iterate(recipe, range(14), workers=0))
    for indices in (range(5, 14), range(0, 14, 2), range(1, 14, 3)):
        for index, batch in zip(indices, iterate(recipe, indices, workers=0), strict=True):
            assert torch.equal(batch.crops, whole[index].crops)
            assert torch.equal(batch.labels, whole[index].labels)


def test_parts_of_a_batch_that_comes_again_are_the_batch():
    recipe = Recipe(quick_rows(), batch=320, group=4, reuse=2, seed=1, cache_bytes=_ROOM, synthetic=True)
    (whole,) = iterate(recipe, [3], workers=0)
    parts = list(iterate(replace(recipe, parts=4), range(12, 16), workers=0))
    assert torch.equal(torch.cat([part.crops for part in parts]), whole.crops)


def test_an_image_is_rendered_once_for_all_its_uses(monkeypatch):
    rows = quick_rows(200)
    source = Batches(Recipe(rows, batch=20, group=5, reuse=4, cache_bytes=_ROOM, synthetic=True))
    made = []
    pixels = Batches._pixels
    monkeypatch.setattr(Batches, "_pixels", lambda self, row, batch: made.append(row) or pixels(self, row, batch))
    numbers = []
    for step in range(80):
        source[step]
        numbers.append(len(made))
    assert steps_between(20) == 24
    assert set(np.diff(numbers[72:])) == {5}  # one group of five a step, once the first have come for the last time


def test_what_is_kept_is_bounded_and_goes_after_its_last_use(monkeypatch):
    image = np.zeros((40, 50, 3), dtype=np.uint8)
    monkeypatch.setattr(reuse, "KEPT_BYTES", 7 * image.nbytes + 5)
    kept = Rendered()
    for row in range(20):
        kept.put(row, 100 + row, image)
    assert [row for row in range(20) if kept.get(row, 0) is not None] == list(range(7))
    assert kept.nbytes == 7 * image.nbytes
    kept.get(1, 110)  # it has come again in the next pass
    kept.begin(104)
    assert [row for row in range(20) if kept.get(row, 0) is not None] == [1, 4, 5, 6]
    kept.put(30, 120, image)
    assert kept.get(30, 0) is not None
    kept.begin(200)
    assert kept.nbytes == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
def test_workers_change_nothing(workers):
    recipe = Recipe(quick_rows(), batch=80, group=4, reuse=2, seed=1, cache_bytes=_ROOM, synthetic=True)
    alone, beside = (list(iterate(recipe, range(3, 24), number)) for number in (0, workers))
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one.crops, other.crops)
        assert torch.equal(one.labels, other.labels)
