"""What a network is held against: numbers whose value is known, and which way they point."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from glint_label.distortions import distort
from glint_model.datasets import load_dataset
from glint_model.evaluation.baselines import BASELINES, measure_pixels
from glint_model.evaluation.evaluate import evaluate, score_rated
from tests.conftest import make_photo, save_photos, save_rated


def numbers(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip((baseline.name for baseline in BASELINES), measure_pixels(pixels), strict=True))


def grey(luma: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(np.rint(luma), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_noise_is_the_deviation_of_white_noise(sigma):
    noisy = grey(128 + np.random.default_rng(0).normal(0, sigma, (256, 256)))
    assert numbers(noisy)["noise"] == pytest.approx(sigma, rel=0.03)
    rising = np.add.outer(np.arange(64), 2 * np.arange(64))  # what changes evenly is no noise
    assert numbers(grey(rising))["noise"] == 0


def test_sharpness_is_the_variance_of_the_laplacian():
    photo = make_photo(3)
    luma = np.asarray(Image.fromarray(photo).convert("L")).astype(np.float64)
    assert numbers(photo)["sharpness"] == pytest.approx(ndimage.laplace(luma)[1:-1, 1:-1].var(), rel=1e-9)
    blurred = [numbers(distort(photo, "gaussian_blur", level))["sharpness"] for level in range(1, 6)]
    assert blurred == sorted(blurred, reverse=True)


def test_jpeg_size_is_that_of_the_file(tmp_path):
    photo, file = make_photo(3), io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=75, subsampling="4:2:0")
    expected = len(file.getvalue()) / (photo.shape[0] * photo.shape[1])
    assert numbers(photo)["jpeg_bytes_per_pixel"] == expected


def test_of_a_large_image_the_middle_is_measured():
    wide = np.random.default_rng(0).integers(0, 256, (80, 1300, 3), dtype=np.uint8)
    middle = wide[:, 128 : 128 + 1024]
    assert measure_pixels(wide) == measure_pixels(middle)


def test_baselines_point_the_way_that_they_mean_and_the_constant_is_the_deviation_of_the_ratings():
    mos = np.random.default_rng(0).permutation(40) / 10
    scored = pd.DataFrame({"score": mos, "mos": mos, "group": [f"c{n % 10}" for n in range(40)], "distortion": "fog"})
    scored = scored.assign(sharpness=mos**3, noise=mos)
    found = evaluate(scored, ["fog"], resamples=30)
    assert list(found.baselines) == ["sharpness", "noise", "constant"]
    pooled = {name: comparison.pooled.metrics for name, comparison in found.baselines.items()}
    assert (pooled["sharpness"].srocc, pooled["noise"].srocc) == pytest.approx((1, -1))
    assert found.baselines["sharpness"].pooled.interval["srocc"] == pytest.approx((1, 1))
    assert found.baselines["noise"].distortions["fog"].srocc == pytest.approx(-1)
    assert pooled["constant"].rmse_fitted == pytest.approx(mos.std())
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))["baselines"]
    assert plain["constant"]["pooled"]["srocc"] is None
    assert "all scores are the same" in plain["constant"]["pooled"]["warning"]
    assert plain["sharpness"]["pooled"]["rmse"] is None  # it is not on the scale of the ratings


@pytest.mark.parametrize("pixels", ["disk", "regenerate"])
def test_they_are_taken_of_the_pixels_that_the_network_sees(tmp_path, pixels):
    seen = []

    def scorer(image: np.ndarray) -> float:
        seen.append(measure_pixels(image))
        return float(image.mean())

    if pixels == "disk":
        save_photos(tmp_path, ["a.png", "b.jpg"])
        (tmp_path / "mine.csv").write_text("file_name,mos\na.png,1\nb.jpg,2\n")
        rated = load_dataset(str(tmp_path / "mine.csv"))
    else:
        rated = load_dataset("custom", save_rated(tmp_path, anchors=1, distortions=("lens_blur",)))
    scored = score_rated(rated, scorer, pixels)
    columns = [baseline.name for baseline in BASELINES]
    assert list(scored[columns].itertuples(index=False, name=None)) == seen
