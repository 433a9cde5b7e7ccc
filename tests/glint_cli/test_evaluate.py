"""`evaluate` and `score` as a user meets them, with a network of random weights."""

import csv
import json
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

import glint_model.evaluation.evaluate
from glint_model import GlintConfig, GlintIQA
from glint_model.network.checkpoint import save_weights
from tests.conftest import file_bytes, make_photo, save_photos, save_rated
from tests.glint_cli.test_commands import run
from tests.glint_model.conftest import one_thread  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, GlintIQA(GlintConfig.tiny()), {"backbones": "random"})
    return path


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Draw the intervals of these tests from twenty resamples: a thousand take seconds."""
    monkeypatch.setattr(
        glint_model.evaluation.evaluate, "evaluate", partial(glint_model.evaluation.evaluate.evaluate, resamples=20)
    )


@pytest.fixture
def table(tmp_path) -> Path:
    """Eight photos of four contents with opinions."""
    names = [f"images/{number}.png" for number in range(8)]
    save_photos(tmp_path, names)
    rows = [f"{name},{number + 1},content{number // 2}" for number, name in enumerate(names)]
    (tmp_path / "mine.csv").write_text("\n".join(["file_name,mos,group", *rows]) + "\n")
    return tmp_path / "mine.csv"


def test_evaluate_shows_and_saves_its_figures(checkpoint, table, tmp_path):
    fixed = ["--checkpoint", checkpoint, "--dataset", table, "--crops", "2", "--workers", "0", "--device", "cpu"]
    output = run("evaluate", *fixed, "--splits", "2", "--out", tmp_path / "out").stdout
    for words in ("8 images of 4 contents; read from disk, 2 crops each", "95 % over contents", "median of splits"):
        assert words in output
    assert "scores.csv, metrics.json and scatter.png are in" in output
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (figures["contents"], figures["pooled"]["images"], figures["crops"]) == (4, 8, 2)
    for line in ("this network", "JPEG size per pixel", "sharpness", "little noise", "the same score for all"):
        assert re.search(rf"^  {line} +(-?[01]\.\d{{3}}|-) ", output, re.MULTILINE)
    assert figures["baselines"]["constant"]["pooled"]["rmse"] == pytest.approx(5.25**0.5)  # ratings of 1..8
    low, high = figures["pooled"]["interval"]["srocc"]
    assert low <= figures["pooled"]["srocc"] <= high
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == [f"images/{number}.png" for number in range(8)]
    assert (tmp_path / "out" / "scatter.png").read_bytes().startswith(b"\x89PNG")
    alone = json.loads(run("score", table.parent / "images/3.png", *fixed[:2], *fixed[4:], "--json").stdout)
    assert alone[0]["score"] == pytest.approx(float(rows[3]["score"]), abs=1e-6)


def test_evaluate_makes_the_pixels_of_chosen_contents_and_prints_json(checkpoint, tmp_path):
    rated = save_rated(tmp_path, anchors=3)
    (tmp_path / "held_out.txt").write_text("anchors/a1.png\nanchors/a2.png\n")
    fixed = ["--checkpoint", checkpoint, "--dataset", "custom", "--data-dir", rated, "--pixels", "regenerate"]
    chosen = ["--anchors", tmp_path / "held_out.txt", "--types", "lens_blur"]
    whole = ["--crops", "0", "--workers", "0", "--device", "cpu", "--json"]
    figures = json.loads(run("evaluate", *fixed, *chosen, *whole).stdout)
    assert (figures["contents"], figures["pooled"]["images"]) == (2, 10)
    assert list(figures["distortions"]) == ["lens_blur"]


def test_evaluate_turns_a_scale_on_which_higher_is_worse_and_warns_of_one_turned_in_error(checkpoint, table, tmp_path):
    fixed = ["--checkpoint", checkpoint, "--crops", "1", "--workers", "0", "--device", "cpu", "--json"]
    plain, turned = (
        json.loads(run("evaluate", "--dataset", table, *fixed, *extra).stdout) for extra in ([], ["--higher-is-worse"])
    )
    assert turned["pooled"]["srocc"] == pytest.approx(-plain["pooled"]["srocc"])
    custom = ["--dataset", "custom", "--data-dir", save_rated(tmp_path / "rated", anchors=2), "--pixels", "regenerate"]
    one = [*custom, "--anchors", "anchors/a0.png", "--types", "lens_blur"]
    assert "Warning" not in run("evaluate", *one, *fixed).stderr
    assert "leave --higher-is-worse out" in run("evaluate", *one, *fixed, "--higher-is-worse").stderr


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (["--dataset", "kadid10k", "--higher-is-worse"], 2, "the scale of kadid10k is known"),
        (["--dataset", "pipal"], 2, "unknown dataset 'pipal'; known are"),
        (["--dataset", "kadid10k", "--data-dir", "/nowhere"], 3, "pass the folder of kadid10k with --data-dir"),
        (["--anchors", "content9"], 2, "no images of 'content9'; its contents are content0"),
        (["--types", "fog"], 2, "no distortion 'fog'; known are none"),
        (["--pixels", "regenerate"], 2, "its images cannot be made here"),
        (["--checkpoint", "/nowhere.safetensors"], 3, "no such checkpoint"),
        (["--device", "abacus"], 2, "--device abacus: not usable here"),
        (["--out", "/proc/nowhere"], 3, "/proc/nowhere: cannot be written"),
        (["--crops", "-1"], 2, "-1 is not in the range"),
    ],
)
def test_evaluate_refuses_in_one_line_with_the_right_code(checkpoint, table, extra, code, words):
    result = run("evaluate", "--checkpoint", checkpoint, "--dataset", table, "--workers", "0", *extra, code=code)
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert words in line


def test_evaluate_counts_missing_images_and_goes_on_if_told_to(checkpoint, table):
    (table.parent / "images" / "5.png").unlink()
    fixed = ["--checkpoint", checkpoint, "--dataset", table, "--crops", "1", "--workers", "0", "--device", "cpu"]
    error = run("evaluate", *fixed, code=3).stderr
    assert "1 of 8 images are missing from" in error
    assert "first images/5.png; restore them, or go on without them with --allow-missing" in error
    assert "7 images of 4 contents, 1 are missing" in run("evaluate", *fixed, "--allow-missing").stdout


def test_score_writes_a_table_and_says_what_could_not_be_scored(checkpoint, tmp_path):
    save_photos(tmp_path / "in", ["b.png", "sub/a.jpg"])
    (tmp_path / "in" / "bad.png").write_bytes(b"broken")
    Image.fromarray(make_photo(9)).save(tmp_path / "first.png")
    fixed = ["--checkpoint", checkpoint, "--crops", "2", "--workers", "0", "--device", "cpu"]
    inputs = [tmp_path / "first.png", tmp_path / "in"]
    result = run("score", *inputs, *fixed, "--out", tmp_path / "scores.csv")
    assert f"3 images scored in {tmp_path / 'scores.csv'}, 1 could not be scored" in result.stdout
    assert "no score: " in result.stderr
    assert "bad.png: not a PNG" in result.stderr
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ["first.png", "in/b.png", "in/bad.png", "in/sub/a.jpg"]
    assert [row["file_name"] for row in rows] == [str(tmp_path / name) for name in names]
    assert [bool(row["score"]) for row in rows] == [True, True, False, True]
    assert "not a PNG" in rows[2]["error"]
    run("score", *inputs, *fixed, "--out", tmp_path / "scores.json")
    entries = json.loads((tmp_path / "scores.json").read_text())
    assert [entry["score"] for entry in entries] == [float(row["score"]) if row["score"] else None for row in rows]
    assert run("score", *inputs, *fixed).stdout == (tmp_path / "scores.csv").read_text()


def test_score_fails_only_if_nothing_could_be_scored(checkpoint, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"broken")
    fixed = ["--checkpoint", checkpoint, "--workers", "0", "--device", "cpu"]
    assert "none of 1 images could be scored" in run("score", tmp_path, *fixed, code=3).stderr
    assert "no such file or folder" in run("score", tmp_path / "nowhere", *fixed, code=3).stderr
    assert "must end in .csv or .json" in run("score", tmp_path, *fixed, "--out", "scores.txt", code=2).stderr


def count_scores(monkeypatch, stop_before: int = -1, number: signal.Signals = signal.SIGINT) -> list[int]:
    """Note every image that is scored; a signal comes before that many are."""
    scored, score_one = [], GlintIQA.score_one

    def counted(*arguments, **options):
        if len(scored) == stop_before:
            signal.raise_signal(number)
        scored.append(len(scored))
        return score_one(*arguments, **options)

    monkeypatch.setattr(GlintIQA, "score_one", counted)
    return scored


@pytest.mark.parametrize(("pixels", "number"), [("disk", signal.SIGINT), ("regenerate", signal.SIGTERM)])
def test_a_stopped_evaluation_goes_on_and_ends_in_the_same_bytes(
    checkpoint, table, tmp_path, monkeypatch, pixels, number
):
    command = ["evaluate", "--checkpoint", checkpoint, "--crops", "2", "--workers", "0", "--device", "cpu"]
    command += ["--dataset", table] if pixels == "disk" else ["--dataset", "custom", "--pixels", pixels]
    if pixels == "regenerate":
        command += ["--data-dir", save_rated(tmp_path / "rated", anchors=3, distortions=("white_noise",))]
    with monkeypatch.context() as patch:
        whole = count_scores(patch)
        run(*command, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        count_scores(patch, stop_before=5, number=number)
        run(*command, "--out", tmp_path / "out", code=128 + number)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.csv.partial"]
    with monkeypatch.context() as patch:
        rest = count_scores(patch)
        output = run(*command, "--out", tmp_path / "out").stdout
    assert len(rest) == len(whole) - 5
    assert f"are in {tmp_path / 'out'}; 5 images had been scored before" in output
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "whole")


def test_evaluate_does_not_take_the_scores_that_a_stopped_score_left_in_its_folder(
    checkpoint, table, tmp_path, monkeypatch
):
    same = ["--checkpoint", checkpoint, "--crops", "2", "--workers", "0", "--device", "cpu", "--out"]
    with monkeypatch.context() as patch:
        count_scores(patch, stop_before=3)
        run("score", table.parent / "images", *same, tmp_path / "out" / "scores.csv", code=130)
    assert (tmp_path / "out" / "scores.csv.partial").exists()
    scored = count_scores(monkeypatch)
    run("evaluate", "--dataset", table, *same, tmp_path / "out")  # they lack what the baselines need
    assert len(scored) == 8


@pytest.mark.slow
def test_score_goes_on_where_it_was_killed_and_ends_in_the_same_bytes(checkpoint, tmp_path, monkeypatch):
    save_photos(tmp_path / "in", [f"{number:02d}.png" for number in range(60)])
    (tmp_path / "in" / "02.png").write_bytes(b"broken")
    command = ["score", tmp_path / "in", "--checkpoint", checkpoint, "--crops", "2", "--device", "cpu"]
    command += ["--workers", "0", "--out"]
    run(*command, tmp_path / "whole.json")
    out, partial_file = tmp_path / "out" / "scores.json", tmp_path / "out" / "scores.json.partial"
    program = [sys.executable, "-m", "glint_cli.main", *map(str, command), out]
    process = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    while not partial_file.exists() or len(partial_file.read_text().split("\n")) <= 5:
        assert process.poll() is None  # it is at work
    process.kill()
    process.wait()
    scored = count_scores(monkeypatch)
    told = re.fullmatch(
        rf"59 images scored in {out}, (\d+) of them before, 1 could not be scored\n", run(*command, out).stdout
    )
    assert told
    assert 5 <= int(told[1]) == 59 - len(scored)
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("command", ["evaluate", "score"])
def test_help_fits_80_columns(command):
    assert max(len(line) for line in run(command, "--help").stdout.splitlines()) <= 80
