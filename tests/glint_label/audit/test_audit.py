"""The audit: agreement against SciPy, leaving out for real, baselines, and the figures on KADID-10k."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import pearsonr, spearmanr

from glint_label.audit import audit, leave_one_out
from glint_label.audit.agreement import by_distortion, by_similarity, measure_agreement
from glint_label.audit.baselines import MEASURES
from glint_label.audit.plot import write_audit
from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import SourceError
from glint_label.manifest import read_manifest
from glint_label.sources import load_source
from glint_label.transfer import TRANSFERS

SCORES = np.random.default_rng(0).normal(3, 1, (12, 8)).round(2)
MOS = SCORES + np.random.default_rng(1).normal(0, 0.3, SCORES.shape)
STD = np.full(SCORES.shape, 0.3)


def test_agreement_is_scipys():
    scores = SCORES.copy()
    scores[2, 3] = np.nan
    rated = np.isfinite(scores)
    figures = measure_agreement(scores, MOS, STD)
    assert figures.srocc == pytest.approx(spearmanr(scores[rated], MOS[rated]).statistic, abs=1e-12)
    assert figures.plcc == pytest.approx(pearsonr(scores[rated], MOS[rated]).statistic, abs=1e-12)
    assert figures.rmse == pytest.approx(np.sqrt(np.mean((scores - MOS)[rated] ** 2)))
    columns = [spearmanr(scores[rated[:, c], c], MOS[rated[:, c], c]).statistic for c in range(8)]
    assert figures.srocc_within == pytest.approx(np.mean(columns), abs=1e-12)
    each = [spearmanr(scores[a][rated[a]], MOS[a][rated[a]]).statistic for a in range(12)]
    assert figures.srocc_per_anchor == pytest.approx(np.mean(each), abs=1e-12)
    assert figures.srocc_low < figures.srocc < figures.srocc_high
    assert figures.rmse_low < figures.rmse < figures.rmse_high


def test_coverage_counts_the_ratings_inside():
    wide, narrow = measure_agreement(SCORES, MOS, 100 * STD), measure_agreement(SCORES, MOS, STD / 1000)
    assert wide.coverage90 == 1
    assert narrow.coverage90 < 0.03
    assert 0.8 < measure_agreement(SCORES, MOS, STD).coverage90 < 0.98
    assert np.isnan(measure_agreement(SCORES, MOS, np.full(SCORES.shape, np.nan)).coverage90)


def test_what_is_not_defined_is_nan_not_a_number():
    figures = measure_agreement(np.full((4, 3), 2.0), np.full((4, 3), 2.0), STD[:4, :3])
    assert np.isnan([figures.srocc, figures.plcc, figures.srocc_per_anchor]).all()
    assert figures.rmse == 0


def test_parts_add_up():
    conditions = [("gaussian_blur", level) for level in (1, 2, 3, 4)] + [("jpeg", level) for level in (1, 2, 3, 4)]
    parts = by_distortion(SCORES, MOS, STD, conditions)
    assert [part["distortion"] for part in parts] == ["gaussian_blur", "jpeg"]
    total = np.sqrt(np.mean([part["rmse"] ** 2 for part in parts]))
    assert total == pytest.approx(measure_agreement(SCORES, MOS, STD).rmse, abs=1e-5)
    bins = by_similarity(SCORES, MOS, STD, np.linspace(0, 1, 12))
    assert [part["anchors"] for part in bins] == [3, 3, 3, 3]
    assert bins[0]["from"] == 0
    assert bins[-1]["to"] == 1


@pytest.fixture
def source(rated):
    return load_source("custom", rated, mos_range=(1, 5))


def test_every_transfer_is_audited_next_to_the_baselines(source):
    table = audit(source, ["statistics"], list(TRANSFERS))
    names = table["transfer"].tolist()
    assert sorted(names) == sorted(["random-anchor", "oracle", "noise-ceiling", *MEASURES, *TRANSFERS])
    assert {"embedder", "srocc", "plcc", "rmse", "srocc_per_anchor", "coverage90"} <= set(table.columns)
    figures = table.set_index("transfer")
    assert figures.loc["cell-mean", "embedder"] == "none"
    assert figures.loc["oracle", "rmse"] <= figures.loc["random-anchor", "rmse"]
    assert figures.loc["noise-ceiling", "srocc"] > 0.9


@pytest.mark.slow
def test_labels_of_a_build_without_an_anchor_are_those_of_its_audit(source, rated, tmp_path):
    """The audit runs the code that labels: leave two anchors out, label their photos, and find its predictions."""
    names = sorted(source.anchors)
    for transfer in ("gp", "gp-content", "knn"):
        report = leave_one_out(source, ["statistics"], [transfer], k=2)
        predicted = report.find(transfer)
        config = BuildConfig(
            refs=rated / "anchors",
            out=tmp_path / transfer,
            source="custom",
            source_dir=rated,
            mos_range=(1, 5),
            exclude_anchors=(names[1],),
            embedder="statistics",
            transfer=transfer,
            k=2,
            workers=0,
        )
        build(config)
        rows = read_manifest(tmp_path / transfer)
        rows = rows[rows["reference"] == names[1].split("/")[1]]
        np.testing.assert_allclose(rows["mos"], predicted.mos[1], atol=1e-4)
        np.testing.assert_allclose(rows["mos_error"], predicted.mos_error[1], atol=1e-4)


@pytest.mark.slow
def test_workers_do_not_change_the_audit(source):
    alone = audit(source, ["statistics"], ["gp", "top1"])
    together = audit(source, ["statistics"], ["gp", "top1"], workers=2)
    for column in ("srocc", "rmse", "coverage90"):
        np.testing.assert_allclose(alone[column], together[column], atol=1e-9)


def test_the_report_is_json_and_a_picture(source, tmp_path):
    report = leave_one_out(source, ["statistics"], ["gp", "cell-mean"])
    write_audit(report, tmp_path)
    saved = json.loads((tmp_path / "audit.json").read_text(), parse_constant=pytest.fail)
    gp = next(row for row in saved["rows"] if row["transfer"] == "gp")
    assert [part["distortion"] for part in gp["by_distortion"]] == ["gaussian_blur", "lens_blur"]
    assert sum(part["anchors"] for part in gp["by_similarity"]) == 5
    with Image.open(tmp_path / "audit.png") as picture:
        assert min(picture.size) > 500


def test_copies_of_a_picture_are_left_out_together(rated):
    """Or the audit would learn from the anchor under test."""
    names = [f"anchors/a{number}.png" for number in range(5)]
    table = (rated / "ratings.csv").read_text()
    copies = [line.replace("a0.png", "a5.png") for line in table.splitlines() if "a0.png" in line]
    (rated / "ratings.csv").write_text(table + "\n".join(copies) + "\n")
    with Image.open(rated / names[0]) as photo:
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(rated / "anchors" / "a5.png")
    source = load_source("custom", rated, mos_range=(1, 5))
    report = leave_one_out(source, ["statistics"], ["top1"])
    assert np.abs(report.find("top1").mos[0] - report.scores[0]).max() > 0
    assert report.find("top1").similarity[0] < 0.98


def test_a_fold_with_nothing_to_learn_from_is_no_reason_to_stop(source):
    holes = source.ratings[~((source.ratings["level"] > 1) & (source.ratings["anchor"] != "anchors/a0.png"))]
    table = audit(replace(source, ratings=holes), ["statistics"], list(TRANSFERS))
    assert len(table) == 3 + len(MEASURES) + len(TRANSFERS)


def test_two_anchors_are_too_few(source):
    few = source.without_anchors(sorted(source.anchors)[2:])
    with pytest.raises(SourceError, match="has 2 anchors; an audit needs at least 3"):
        audit(few, ["statistics"], ["top1"])


def test_a_source_whose_distortions_cannot_be_made_is_audited_on_content(source):
    renamed = source.ratings.replace({"distortion": {"gaussian_blur": "rain", "lens_blur": "snow"}})
    other = type(source)(
        **{**vars(source), "ratings": renamed, "distortions": ("rain", "snow"), "label_file": source.label_file}
    )
    table = audit(other, ["statistics"], ["gp", "gp-content"]).set_index("transfer")
    assert table.loc["gp", "rmse"] == pytest.approx(table.loc["gp-content", "rmse"], abs=1e-9)


@pytest.mark.slow
def test_kadid10k_is_labelled_as_well_as_promised(shared):
    source = load_source("kadid10k", shared / "data" / "kadid10k", allow_missing_anchors=True)
    report = leave_one_out(source, ["statistics"], list(TRANSFERS), workers=2)
    figures = report.table.set_index("transfer")
    assert figures.loc["gp", "srocc"] >= 0.960
    assert figures.loc["gp", "rmse"] <= 0.300
    assert figures.loc["gp", "srocc_per_anchor"] >= 0.964
    assert 0.87 <= figures.loc["gp", "coverage90"] <= 0.93
    assert figures.loc["gp", "srocc_low"] > figures.loc["cell-mean", "srocc"]
    gp = report.find("gp")
    for part in by_distortion(report.scores, gp.mos, gp.mos_error, report.conditions):
        assert 0.80 <= part["coverage90"] <= 0.97, part
