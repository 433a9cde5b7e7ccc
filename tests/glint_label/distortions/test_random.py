"""The generator: known values, independence of seeds, streams and positions."""

import numpy as np
import pytest
import scipy.stats
import torch

from glint_label.distortions.random import Stream, normal, random_words, stream_keys, uniform

PINNED_UNIFORM = [0.9918548156274483, 0.43745052290614694]
PINNED_NORMAL = [-0.8389164216132424, -0.21676807317896674, -1.7702255920309484]


def test_words_are_those_of_splitmix64():
    words = random_words(torch.zeros(1, 1, dtype=torch.int64), 1, 4)[0]
    assert [word % 2**64 for word in words.tolist()] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_numbers_of_a_seed_are_pinned():
    """A change here changes the pixels of every manifest: it needs a new version of the recipe."""
    assert uniform(torch.tensor([1]), Stream.ANGLE, (2,))[0].tolist() == pytest.approx(PINNED_UNIFORM, abs=1e-12)
    assert normal(torch.tensor([1]), Stream.NOISE, (3,))[0].tolist() == pytest.approx(PINNED_NORMAL, abs=1e-12)


def test_seeds_do_not_know_of_each_other():
    together = normal(torch.tensor([5, 6, 2**62]), Stream.NOISE, (3, 70, 71))
    for row, seed in zip(together, (5, 6, 2**62), strict=True):
        assert torch.equal(normal(torch.tensor([seed]), Stream.NOISE, (3, 70, 71))[0], row)


def test_position_decides_however_the_work_is_cut(monkeypatch: pytest.MonkeyPatch):
    seeds = torch.tensor([3])
    whole = normal(seeds, Stream.NOISE, (101, 103)), uniform(seeds, Stream.NOISE, (101, 103))
    monkeypatch.setattr("glint_label.distortions.random._AT_ONCE", 1000)
    assert torch.equal(normal(seeds, Stream.NOISE, (101, 103)), whole[0])
    assert torch.equal(uniform(seeds, Stream.NOISE, (101, 103)), whole[1])


def test_float32_is_float64_rounded():
    seeds = torch.tensor([9])
    assert torch.equal(normal(seeds, 3, (500,), torch.float32), normal(seeds, 3, (500,)).float())


def test_streams_seeds_and_parts_differ():
    draws = [normal(torch.tensor([seed]), stream, (1000,)) for seed in (1, 2) for stream in (1, 2)]
    draws.append(normal(torch.tensor([1]), 1, (1000,), part=1))
    correlations = np.corrcoef(torch.cat(draws).numpy())
    assert np.abs(correlations - np.eye(5)).max() < 0.15
    assert len(torch.unique(stream_keys(torch.arange(1000), 1))) == 1000


def test_distributions():
    uniforms = uniform(torch.arange(20), Stream.IMPULSE, (5000,)).flatten().numpy()
    assert 0 < uniforms.min() < uniforms.max() < 1
    assert scipy.stats.kstest(uniforms, "uniform").pvalue > 0.001
    normals = normal(torch.arange(20), Stream.NOISE, (5000,)).flatten().numpy()
    assert scipy.stats.kstest(normals, "norm").pvalue > 0.001
    assert scipy.stats.kurtosis(normals) == pytest.approx(0, abs=0.06)


def test_neighbours_and_seeds_in_a_row_are_independent():
    field = normal(torch.arange(200), Stream.FIELD, (2, 40, 40))
    for one, other in (
        (field[1:], field[:-1]),
        (field[..., 1:], field[..., :-1]),
        (field[:, :, 1:], field[:, :, :-1]),
        (field[:, :1], field[:, 1:]),
    ):
        assert abs((one * other).mean().item()) * one.numel() ** 0.5 < 4
    means = field.mean(0) * 200**0.5
    assert means.std().item() == pytest.approx(1, abs=0.06)
