"""Visibility features: nothing changed is nothing seen, more is more, and the cost is bounded."""

import numpy as np
import pytest

from glint_label.embed.statistics import StatisticsEmbedder
from glint_label.images import SEEN
from glint_label.manifest import anchor_seeds, recipe_seeds
from glint_label.sources import load_source
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS
from glint_label.visibility import draw_between, measure_anchors
from glint_label.visibility.features import FEATURES, measure_features
from tests.conftest import make_photo

PHOTO = make_photo(3, 160, 120)
PHOTO[0, 0], PHOTO[0, 1] = 0, 255  # its range is full, so that the stretch around a distortion changes nothing
CONDITIONS = [
    (name, level)
    for name in ("gaussian_blur", "jpeg", "multiplicative_noise", "color_diffusion")
    for level in (1, 3, 5)
]


def features_of(source):
    seeds = anchor_seeds(source, 0, source.conditions)
    return measure_anchors(source, StatisticsEmbedder(), source.conditions, seeds)[1]


def column(features, name):
    return features[..., FEATURES.index(name)].astype(float)


@pytest.fixture(scope="module")
def features():
    features = measure_features(PHOTO, CONDITIONS, [1] * len(CONDITIONS), every_level=True)
    return features.reshape(4, 3, len(FEATURES))


def test_stronger_distortions_show_more(features):
    for name in ("ssim_2", "structure_4", "gradient_similarity_2", "deep_direction_0", "deep_structure_2"):
        assert (np.diff(column(features, name)[:3], axis=1) > 0).all(), name
    assert (np.diff(column(features, "chroma_difference")[3]) > 0).all()


def test_blur_loses_gradients_and_noise_gains_them(features):
    assert column(features, "gradient_ratio_2")[0, 2] < -0.3
    assert column(features, "gradient_ratio_2")[2, 2] > 0.05
    assert column(features, "color_noise")[3, 2] > column(features, "color_noise")[0, 2]


def test_a_distortion_that_changes_nothing_is_not_seen():
    flat = np.full((96, 96, 3), 128, dtype=np.uint8)
    (row,) = measure_features(flat, [("gaussian_blur", 5)], [1])
    assert column(row, "error_2") == pytest.approx(np.log(1e-4), abs=0.01)
    assert column(row, "unchanged") == 1
    assert np.isfinite(row.astype(float)).all()


def test_every_distortion_has_finite_features_but_the_slow_one():
    conditions = [(name, 3) for name in DISTORTIONS]
    features = measure_features(PHOTO, conditions, [1] * len(conditions))
    finite = np.isfinite(features.astype(float)).all(axis=1)
    assert [name for (name, _), good in zip(conditions, finite, strict=True) if not good] == ["denoise"]


def test_levels_between_are_not_measured_but_drawn():
    every = [("gaussian_blur", level) for level in LEVELS]
    features = measure_features(PHOTO, every, [1] * 5)
    assert np.isfinite(features[[1, 4]]).all()
    assert np.isnan(features[[0, 2, 3]]).all()
    whole = measure_features(PHOTO, every, [1] * 5, every_level=True)
    np.testing.assert_array_equal(features[[1, 4]], whole[[1, 4]])
    drawn = draw_between(features[None], every)[0]
    np.testing.assert_array_equal(draw_between(whole[None], every)[0], drawn)  # whether they were measured or not
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_allclose(drawn[2], (2 * drawn[1] + drawn[4]) / 3, rtol=1e-5, atol=1e-5)


def test_a_level_without_those_beside_it_is_measured():
    (alone,) = measure_features(PHOTO, [("gaussian_blur", 3)], [1])
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(draw_between(alone[None, None], [("gaussian_blur", 3)])[0, 0], alone)


def test_where_one_level_is_measured_it_stands_for_all():
    every = [("white_noise", level) for level in LEVELS]
    drawn = draw_between(measure_features(PHOTO, every, [1, 2, 3, 4, 5])[None], every)[0]
    (alone,) = measure_features(PHOTO, every[2:3], [3])
    np.testing.assert_array_equal(drawn, np.tile(alone, (5, 1)))


@pytest.mark.parametrize("upright", [False, True])
def test_of_a_large_photo_the_middle_is_measured(upright):
    wide = make_photo(5, 700, 500)
    top, left = (500 - SEEN[1]) // 2, (700 - SEEN[0]) // 2
    middle = wide[top : top + SEEN[1], left : left + SEEN[0]]
    if upright:
        wide, middle = wide.swapaxes(0, 1).copy(), middle.swapaxes(0, 1).copy()
    conditions, seeds = [("jpeg", 4)], [1]
    np.testing.assert_array_equal(
        measure_features(wide, conditions, seeds), measure_features(middle, conditions, seeds)
    )


def test_a_cache_that_cannot_be_written_is_named_and_the_work_goes_on(rated, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    source = load_source("custom", rated, mos_range=(1, 5))
    assert np.isfinite(features_of(source).astype(float)).all()
    assert "set XDG_CACHE_HOME to a folder that can be written" in caplog.text


def test_a_seed_belongs_to_the_condition_not_to_its_place_in_the_list():
    every = [(name, level) for name in DISTORTIONS for level in LEVELS]
    seeds = dict(zip(every, recipe_seeds("a.png", 7, every), strict=True))
    some = [("white_noise", 5), ("jpeg", 2)]
    assert recipe_seeds("a.png", 7, some) == [seeds[one] for one in some]
    assert len(set(seeds.values())) == 125


def test_anchors_are_measured_once_and_again_when_their_file_changes(rated, monkeypatch):
    source = load_source("custom", rated, mos_range=(1, 5))
    first = features_of(source)
    assert first.shape == (5, 10, len(FEATURES))
    with monkeypatch.context() as patch:
        patch.setattr("glint_label.visibility.features.measure_features", None)  # a second measurement would fail
        np.testing.assert_array_equal(features_of(source), first)
    anchor = next(iter(source.anchors.values()))
    anchor.write_bytes(list(source.anchors.values())[1].read_bytes())
    changed = features_of(source)
    assert (changed[0] != first[0]).any()
    np.testing.assert_array_equal(changed[1:], first[1:])
