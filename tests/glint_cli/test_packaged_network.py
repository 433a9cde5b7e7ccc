"""The packaged network, as a user meets it who has photos and nothing else."""

import csv
import io
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image

from glint_label.distortions import distort, prepare
from glint_label.images import bring_to_size
from glint_model import GlintIQA
from glint_model.evaluation.explain import damage_map
from glint_model.network.checkpoint import PACKAGED, load_weights
from tests.glint_cli.test_commands import run


@pytest.fixture(scope="module")
def photo():
    return bring_to_size(skimage.data.coffee(), (512, 384))


@pytest.fixture(scope="module")
def network():
    return GlintIQA.load()


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_score_needs_no_checkpoint(tmp_path, photo):
    files = [save(tmp_path / "good.png", photo)]
    files += [save(tmp_path / f"{name}.png", distort(prepare(photo), name, 5)) for name in ("gaussian_blur", "jpeg")]
    rows = list(csv.DictReader(io.StringIO(run("score", *files, "--workers", "0").stdout)))
    good, blurred, blocky = (float(row["score"]) for row in rows)
    assert 3.5 < good < 5.2
    assert blurred < good - 1
    assert blocky < good - 1


@pytest.mark.parametrize(
    "name",
    [
        *("gaussian_blur", "jpeg", "white_noise"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("lens_blur", "jpeg2000", "impulse_noise", "pixelate", "jitter")
        ),
    ],
)
def test_scores_fall_as_the_damage_grows(name, photo, network):
    scores = network.score([photo, *(distort(prepare(photo), name, level, seed=1) for level in (2, 4, 5))])
    assert scores[0] > scores[1] - 0.05  # level 2 hardly shows
    assert scores[1] > scores[2] > scores[3] - 0.15
    assert scores[0] > scores[3] + 0.8


def test_a_photo_has_one_score_whatever_its_size(photo, network):
    twice = photo.repeat(2, axis=0).repeat(2, axis=1)
    turned = np.ascontiguousarray(photo.transpose(1, 0, 2))
    scores = network.score([photo, twice, turned, photo])
    assert scores[0] == scores[1] == scores[3]
    assert scores[2] == pytest.approx(scores[0], abs=0.5)
    assert np.isfinite(network.score([photo[:100, :70], np.zeros((64, 900, 3), np.uint8)])).all()


def test_scores_are_the_same_alone_in_company_and_from_a_file(tmp_path, photo, network):
    file = save(tmp_path / "photo.png", photo)
    other = save(tmp_path / "other.png", photo[::-1])
    out = tmp_path / "scores.csv"
    run("score", other, file, "--out", out, "--workers", "2")
    kept = {row["file_name"]: row["score"] for row in csv.DictReader(io.StringIO(out.read_text()))}
    assert kept[str(file)] == f"{network.score_one(photo):.6f}"


@pytest.mark.slow
def test_explain_shows_where_the_damage_is(tmp_path, photo, network):
    half = photo.copy()
    half[:, :256] = distort(prepare(photo), "gaussian_blur", 5)[:, :256]
    seen, scores = damage_map(network, half)
    assert seen.shape == half.shape
    assert scores.shape == half.shape[:2]
    assert scores[:, :200].mean() < scores[:, -200:].mean() - 0.3
    out = tmp_path / "scores.csv"
    file = save(tmp_path / "half.png", half)
    said = run("score", file, "--out", out, "--explain", "--workers", "0").stdout
    assert str(tmp_path / "scores-maps") in said
    with Image.open(tmp_path / "scores-maps" / "00001-half.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    redness = pixels[..., 0] - pixels[..., 2]
    assert redness[:, :200].mean() > redness[:, -200:].mean() + 5


def test_explain_needs_a_place_for_its_pictures(tmp_path, photo):
    file = save(tmp_path / "photo.png", photo)
    assert "--explain: writes pictures, so it needs --out" in run("score", file, "--explain", code=2).stderr


def test_evaluate_takes_it_where_no_checkpoint_is_named(tmp_path, photo):
    table = tmp_path / "mine.csv"
    lines = ["file_name,mos,group"]
    for level in (1, 3, 5):
        for name in ("gaussian_blur", "jpeg"):
            save(tmp_path / f"{name}{level}.png", distort(prepare(photo), name, level))
            lines.append(f"{name}{level}.png,{6 - level},a")
    table.write_text("\n".join(lines) + "\n")
    figures = json.loads(run("evaluate", "--dataset", table, "--workers", "0", "--json").stdout)
    assert figures["checkpoint"] == "packaged"
    assert figures["crops"] == 0
    assert figures["pooled"]["srocc"] > 0.8


def test_its_file_is_small_and_says_what_it_is():
    assert PACKAGED.stat().st_size < 20_000_000
    config, state, facts = load_weights(PACKAGED)
    assert sum(tensor.numel() for tensor in state.values()) < 8_000_000
    assert config.cnn == "tf_efficientnet_lite0"
    assert facts["size"] == "512x384"
    assert facts["labels"].startswith("1..5")
