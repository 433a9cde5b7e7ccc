"""The model that ships: labels without the dataset, the figures inside it, and no ratings to be read back."""

import json
from pathlib import Path

import numpy as np
import pytest

from glint_label.audit.leave_one_out import measure
from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.build.plan import make_plan
from glint_label.embed import make_embedder
from glint_label.errors import SourceError
from glint_label.files import read_arrays
from glint_label.manifest import read_manifest
from glint_label.sources import load_source
from glint_label.transfer import RatedAnchors, make_transfer
from glint_label.transfer.gp import kernel
from glint_label.transfer.packaged import CONTENT_RANK, TRANSFERS, packaged_path, read_model
from glint_label.visibility import features_version
from tests.conftest import save_photos


@pytest.fixture(scope="module")
def model():
    return read_model(packaged_path())


def config_of(refs, out, **options):
    return BuildConfig(refs=refs, out=out, workers=0, **options)


@pytest.fixture
def empty_place(tmp_path, monkeypatch):
    """A working folder and a home without KADID-10k."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLINT_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path


def test_labels_come_without_the_dataset(empty_place):
    refs = save_photos(empty_place / "refs", ["a.png", "b.png"])
    build(config_of(refs, empty_place / "out", transfer="gp-content"))
    rows = read_manifest(empty_place / "out")
    assert len(rows) == 250
    assert rows["mos"].between(1, 5).all()
    assert rows["anchor"].str.fullmatch(r"I\d\d").all()
    means = rows.groupby("dist_level")["mos"].mean()
    assert means[1] > means[3] > means[5]
    run = json.loads((empty_place / "out" / "run.json").read_text())
    assert run["config"]["ratings"] == "packaged label model"
    audit = json.loads((empty_place / "out" / "audit.json").read_text())
    assert "gp-content" in {row["transfer"] for row in audit["rows"]}


def test_the_figures_of_the_audit_are_inside(model):
    rows = {row["transfer"]: row for row in model.facts["audit"]["rows"]}
    assert rows["gp"]["srocc"] >= 0.960
    assert rows["gp"]["rmse"] <= 0.300
    assert 0.87 <= rows["gp"]["coverage90"] <= 0.93
    assert rows["gp"]["srocc"] > rows["gp-content"]["srocc"] > rows["cell-mean"]["srocc"] > rows["top1"]["srocc"]
    assert len(model.facts["ratings_sha256"]) == 64


def test_it_is_small_and_of_low_rank(model):
    assert packaged_path().stat().st_size < 1_500_000
    learnt = ("means", "content_columns", "feature_rows", "feature_columns", "noise")
    numbers = sum(one.arrays[name].size for one in model.models.values() for name in learnt)
    assert numbers < 80 * 125  # fewer than the ratings that they were learnt from


def test_it_was_made_by_the_code_that_measures_visibility_now(model):
    assert model.facts["features"] == features_version(), "run training/label_model.py again"


def test_blank_pictures_and_noise_get_the_condition_means_and_their_error(model):
    """A direction alone would not tell: from afar, blank pictures lie where anchors of little texture do."""
    embedder = make_embedder("packaged", [])
    blank = np.full((200, 300, 3), 120, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    raw = embedder.embed([embedder.preparation(photo) for photo in (blank, noise)], [Path("blank"), Path("noise")])
    vectors = embedder.normalise(raw, model.anchors.vectors)
    anchors = embedder.normalise(model.anchors.vectors, model.anchors.vectors)
    assert (vectors @ anchors.T).max() < 0.7  # 0.91 by direction
    transfer = model.models["gp-content"]
    strange, usual = transfer.label(vectors), transfer.label(anchors)
    means = transfer.arrays["means"]
    assert np.abs(strange.mos - means).mean() < 0.9 * np.abs(usual.mos - means).mean()
    assert strange.mos_error.mean() > 1.08 * usual.mos_error.mean()
    audit = {row["transfer"]: row["mean_error"] for row in model.facts["audit"]["rows"]}
    assert 0.88 * audit["cell-mean"] < strange.mos_error.mean() < 1.05 * audit["cell-mean"]


def test_a_held_out_anchor_needs_the_ratings(empty_place):
    refs = save_photos(empty_place / "refs", ["a.png"])
    with pytest.raises(SourceError, match="--exclude-anchors needs the ratings of kadid10k"):
        make_plan(config_of(refs, empty_place / "out", exclude_anchors=("I13",)))


def test_another_embedder_or_transfer_says_what_it_needs(empty_place):
    refs = save_photos(empty_place / "refs", ["a.png"])
    for option, known in (("transfer", "gp and gp-content"), ("embedder", "packaged")):
        wanted = rf"kadid10k was not found .*no --{option} but {known}; .*glint-label fetch kadid10k"
        with pytest.raises(SourceError, match=wanted):
            make_plan(config_of(refs, empty_place / "out", **{option: {"transfer": "top1"}.get(option, "statistics")}))


def test_a_damaged_model_is_one_line(tmp_path):
    broken = tmp_path / "kadid10k.safetensors"
    broken.write_bytes(packaged_path().read_bytes()[:1000])
    with pytest.raises(SourceError, match="not a readable label model"):
        read_model(broken)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFERS)
def test_its_labels_are_those_of_the_dataset_it_was_fitted_on(name, shared, empty_place):
    refs = save_photos(empty_place / "refs", ["a.png", "b.png"])
    build(config_of(refs, empty_place / "out", transfer=name))
    source = load_source("kadid10k", shared / "data" / "kadid10k", allow_missing_anchors=True)
    assert source.missing_anchors == ("I04",)
    embedder, visible = make_embedder("packaged", []), name == "gp"
    measured = measure(source, [embedder], source.conditions, with_features=visible, workers=2)
    ((_, anchors),) = measured.photos
    vectors = embedder.normalise(anchors.vectors, anchors.vectors)
    scores, variances = source.scores(source.conditions), source.variances(source.conditions)
    transfer = make_transfer(name, 10, CONTENT_RANK)
    transfer.fit(RatedAnchors(vectors, scores, variances, tuple(source.conditions), measured.features))
    shard = empty_place / "out" / "shards" / "00000"
    (photos,) = read_arrays(shard / "embeddings.npz", "vectors")
    features = read_arrays(shard / "features.npz", "features")[0] if visible else None
    labels = transfer.label(embedder.normalise(photos, anchors.vectors), features)
    rows = read_manifest(empty_place / "out")
    np.testing.assert_allclose(rows["mos"], np.clip(labels.mos, 1, 5).ravel(), atol=5e-3)
    np.testing.assert_allclose(rows["mos_error"], labels.mos_error.ravel(), atol=5e-3)


def test_no_rating_can_be_read_back(shared, model):
    """Not from the labels of the anchors, nor from what is left of the ratings in the weights, even with help.

    The weights of a Gaussian process hold the ratings' residuals: y = m + K w + c w for some c. The attacker is given
    the best c of every condition, which only the ratings could tell.
    """
    source = load_source("kadid10k", shared / "data" / "kadid10k", allow_missing_anchors=True)
    ratings = source.scores(source.conditions)
    vectors = make_embedder("packaged", []).normalise(model.anchors.vectors, model.anchors.vectors)
    for name in TRANSFERS:
        arrays = model.models[name].arrays
        weights = arrays["content_rows"].astype(np.float64) @ arrays["content_columns"]
        labels = arrays["means"] + kernel(vectors, arrays["anchors"], model.models[name].width) @ weights
        left = ratings - labels
        best = (left * weights).sum(axis=0) / (weights**2).sum(axis=0)
        errors = left - best * weights
        assert np.sqrt((errors**2).mean()) > 0.25
        assert (np.abs(errors) < 0.005).mean() < 0.03
