"""Evaluation with scorers whose figures are known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glint_label.distortions import distort
from glint_label.errors import InputError
from glint_label.images import read_photo
from glint_label.manifest import recipe_seeds
from glint_label.metrics import content_splits, intervals
from glint_model.datasets import RatedImages, load_dataset
from glint_model.evaluation.evaluate import choose_images, evaluate, score_rated
from glint_model.evaluation.plots import scatter
from tests.conftest import save_rated


def brightness(pixels: np.ndarray) -> float:
    return float(pixels.mean()) / 50


@pytest.fixture
def grey(tmp_path) -> RatedImages:
    """Ten contents at five levels of two distortions: grey images, as bright as their opinion is good."""
    rng = np.random.default_rng(0)
    lines = ["file_name,mos,group,distortion,level"]
    for number, value in enumerate(rng.permutation(100) + 50):
        Image.new("RGB", (64, 64), (int(value),) * 3).save(tmp_path / f"{number}.png")
        lines.append(
            f"{number}.png,{value / 50},c{number // 10},{('dark', 'bright')[number % 2]},{number // 2 % 5 + 1}"
        )
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    return load_dataset(str(tmp_path / "mine.csv"))


def test_a_perfect_network_gets_perfect_figures(grey):
    scored = score_rated(grey, brightness)
    found = evaluate(scored, grey.distortions, splits=10, resamples=50)
    assert (found.contents, found.pooled.metrics.images, list(found.distortions)) == (10, 100, ["dark", "bright"])
    for agreement in (found.pooled, *found.distortions.values()):
        assert agreement.metrics.srocc == pytest.approx(1)
        assert agreement.metrics.rmse == pytest.approx(0, abs=1e-9)
        assert agreement.interval["srocc"] == pytest.approx((1, 1))
    assert found.median["krocc"] == pytest.approx(1)
    assert [split["images"] for split in found.splits] == [20] * 10
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_network_that_has_it_backwards_gets_negative_figures(grey):
    found = evaluate(score_rated(grey, lambda pixels: -brightness(pixels)), resamples=20).pooled.metrics
    assert (found.srocc, found.krocc, found.plcc) == pytest.approx((-1, -1, -1))
    assert found.plcc_fitted == pytest.approx(-1, abs=1e-6)


def test_a_network_that_says_the_same_of_all_has_no_figures_and_a_reason(grey):
    found = evaluate(score_rated(grey, lambda pixels: 3.0), grey.distortions, splits=2, resamples=20)
    assert np.isnan(found.pooled.metrics.srocc)
    assert "all scores are the same" in found.pooled.metrics.warning
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["pooled"]["srocc"] is None
    assert plain["splits"]["median"]["plcc"] is None
    assert plain["pooled"]["rmse"] > 0


def test_intervals_and_splits_are_over_contents(grey):
    rng = np.random.default_rng(1)
    scored = grey.images.assign(score=grey.images["mos"] + rng.normal(0, 0.5, 100))
    found = evaluate(scored, grey.distortions, splits=3, resamples=80, seed=4)
    arguments = scored["score"], scored["mos"], scored["group"]
    assert found.pooled.interval == intervals(*arguments, resamples=80, seed=4)
    for split, mask in zip(found.splits, content_splits(scored["group"], 3), strict=True):
        assert split["srocc"] == pytest.approx(scored[mask]["score"].corr(scored[mask]["mos"], method="spearman"))
    assert found.median["srocc"] == sorted(split["srocc"] for split in found.splits)[1]


def test_an_image_that_does_not_open_or_score_is_an_error_that_names_it(grey):
    (grey.root / "7.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"1 images have no score, first 7\.png: .* not a PNG"):
        score_rated(grey, brightness)
    with pytest.raises(InputError, match=r"100 images have no score, first 0\.png: non-finite score \(nan\)"):
        score_rated(grey, lambda pixels: float("nan"))


@pytest.mark.slow
def test_pixels_are_made_from_recipes_whatever_the_selection_and_the_workers(tmp_path):
    """As the raters saw them: each level of each distortion, with the recipe's seed."""
    rated = load_dataset("custom", save_rated(tmp_path, anchors=2, distortions=("impulse_noise", "jpeg")))
    expected = {}
    for row in rated.images.itertuples():
        photo = read_photo(tmp_path / row.group).pixels
        (seed,) = recipe_seeds(Path(row.group).name, 3, [(row.distortion, row.level)])
        pixels = distort(photo, row.distortion, row.level, seed)
        expected[row.file_name] = number_of(pixels)

    def scores(selected: RatedImages, workers: int) -> dict[str, float]:
        scored = score_rated(selected, number_of, "regenerate", seed=3, workers=workers)
        return dict(zip(scored["file_name"], scored["score"], strict=True))

    assert scores(rated, workers=1) == expected
    some = scores(rated.select(["anchors/a1.png"], ["impulse_noise"]), workers=0)
    assert some == {name: value for name, value in expected.items() if name in some}
    assert len(some) == 5


def number_of(pixels: np.ndarray) -> float:
    weights = np.random.default_rng(0).normal(size=pixels.shape)
    return float((pixels * weights).sum())


def test_pixels_made_here_score_as_the_published_ones(shared):
    rated = load_dataset("kadid10k", shared / "data" / "kadid10k").select(distortions=["gaussian_blur", "jpeg"])
    there, missing = choose_images(rated, "disk", allow_missing=True)
    assert (len(there.images), missing) == (26, 10 * 81 - 26)
    made = score_rated(there, number_of, "regenerate")
    assert made["score"].tolist() == score_rated(there, number_of, "disk")["score"].tolist()


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_the_scatter_plot_is_a_png_even_of_scores_on_another_scale(grey, scale):
    scored = grey.images.assign(score=grey.images["mos"] * scale)
    picture = scatter(scored, evaluate(scored, resamples=5).pooled.metrics, "mine on grey")
    assert picture.startswith(b"\x89PNG")
    assert picture == scatter(scored, evaluate(scored, resamples=5).pooled.metrics, "mine on grey")


def test_the_scatter_plot_of_images_without_figures_has_no_curve():
    scored = pd.DataFrame({"score": [1.0, 1.0, 1.0], "mos": [1.0, 2.0, 3.0], "group": list("abc"), "distortion": ""})
    assert scatter(scored, evaluate(scored, resamples=5).pooled.metrics, "constant").startswith(b"\x89PNG")
