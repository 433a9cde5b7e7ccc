"""Learning rates, step by step."""

import pytest
import torch

from glint_model.training.schedule import oscillating_cosine, warm_up_cosine


def test_the_oscillation_is_the_published_schedule():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-5)
    published = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=0)
    for step in range(150):
        assert 1e-5 * oscillating_cosine(step, 30) == pytest.approx(published.get_last_lr()[0], rel=1e-6, abs=1e-14)
        optimizer.step()
        published.step()


def test_warm_up_rises_to_the_peak_and_falls_to_the_floor():
    rates = [warm_up_cosine(step, 100, 10) for step in range(100)]
    assert rates[:11] == sorted(rates[:11])
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.01 <= rates[-1] < 0.012
