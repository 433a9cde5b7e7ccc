"""The report of a training run."""

import csv

import pytest

from glint_label.errors import StateError
from glint_model.data.from_manifest import read_manifest_rows
from glint_model.training.loop import train
from glint_model.training.report import report_run
from tests.glint_model.conftest import small_config


@pytest.fixture(scope="module")
def out(manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(small_config(), read_manifest_rows(manifest), folder)
    return folder


def test_a_run_keeps_the_scores_of_its_validation_images_and_shows_the_hardest(out):
    with (out / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert len({row["score"] for row in rows}) > 1
    html = report_run(out)
    assert html.count('class="tile miss" data-picture=') == 6
    for words in ("4 of 4 done", "agree with an SROCC of", "Learning rate, as the schedule sets it", "All settings"):
        assert words in html
    worst = max(rows, key=lambda row: abs(float(row["score"]) - float(row["mos"])))
    first = html.partition('class="tile miss"')[2].partition("</button>")[0]
    assert f"{worst['distortion'].replace('_', ' ')}, level {worst['level']}" in first
    assert report_run(out) == html


def test_a_run_of_an_earlier_version_and_a_damaged_one(out):
    kept = (out / "validation.csv").read_text()
    (out / "validation.csv").write_text(kept.partition("\n")[0] + "\n" + "a,b,native,jpeg,1,1,high,2\n")
    with pytest.raises(StateError, match=r"validation.csv: damaged"):
        report_run(out)
    (out / "validation.csv").unlink()
    assert "keeps no scores of single images" in report_run(out)
    (out / "validation.csv").write_text(kept)
