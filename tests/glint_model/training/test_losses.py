"""What the losses charge for."""

import pytest
import torch
from torch.testing import assert_close

from glint_model.training.losses import pairwise_rank, weighted_l1

LABELS = torch.tensor([1.0, 2.0, 4.0, 3.0, 3.0, 5.0])
ONES = torch.ones(6)


def test_right_scores_cost_nothing():
    scores = LABELS[:, None].expand(-1, 2)
    assert weighted_l1(scores, LABELS, ONES) == 0
    assert pairwise_rank(scores, LABELS, ONES, members=3) == 0


def test_ranks_compare_only_inside_a_group():
    shifted = LABELS + torch.tensor([0.0, 0, 0, 9, 9, 9])  # one group wrong as a whole: its order is right
    assert pairwise_rank(shifted[:, None], LABELS, ONES, members=3) == 0
    swapped = LABELS[[1, 0, 2, 3, 4, 5]]
    assert pairwise_rank(swapped[:, None], LABELS, ONES, members=3) == pytest.approx(2 / 6 + 1 / 6)


def test_the_loss_of_two_halves_is_the_loss_of_the_whole():
    scores, weights = torch.randn(6, 2), torch.rand(6)
    for loss in (weighted_l1, lambda *given: pairwise_rank(*given, members=3)):
        halves = [loss(scores[part], LABELS[part], weights[part]) for part in (slice(0, 3), slice(3, 6))]
        assert_close(sum(halves) / 2, loss(scores, LABELS, weights))
