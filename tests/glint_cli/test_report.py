"""`inspect --html` and `evaluate --html` as a user meets them: output, errors, exit codes."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

import glint_model.evaluation.evaluate
from glint_label.build.pipeline import build
from glint_model import GlintConfig, GlintIQA
from glint_model.network.checkpoint import save_weights
from tests.conftest import custom_build, save_photos, save_rated
from tests.glint_cli.test_commands import run
from tests.glint_model.conftest import one_thread  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    rated, refs = save_rated(root / "rated", anchors=4), save_photos(root / "refs", ["a.png", "b.png"])
    build(custom_build(refs, rated, root / "out", transfer="knn", k=2))
    return root


@pytest.fixture
def built(whole, tmp_path) -> Path:
    """A build, `out`, and the photos that it is made of, `refs`."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


def test_inspect_writes_a_report_into_a_new_folder(built, tmp_path):
    file = tmp_path / "reports" / "report.html"
    output = run("inspect", built, "--html", file, "--workers", "0").stdout
    assert output.startswith(f"{file}: the report of {built} (")
    assert file.read_text().startswith("<!doctype html>")
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_or_unfinished_build_gets_a_report_that_says_so_and_exit_code_3(built, tmp_path):
    file = tmp_path / "report.html"
    (built / "shards" / "00000" / "metadata.csv").unlink()
    content = json.loads((built / "run.json").read_text())
    (built / "run.json").write_text(json.dumps({**content, "status": "running"}))
    line = run("inspect", built, "--html", file, "--workers", "0", code=3).stderr.splitlines()[-1]
    assert line.startswith(f"Error: {built}: 3 problems, first: ")
    assert "metadata.csv: is missing" in file.read_text()
    assert "the build has not finished" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--html", "a.html"], "nowhere: does not exist, so it is not the output of"),
        (["out", "--html", "refs"], "refs: is a folder; give --html the name of a file in it"),
        (["out", "--html", "/proc/nowhere/a.html"], "/proc/nowhere: cannot be written"),
        (["out", "--html", "refs/a.png/a.html"], "choose another --html"),
        (["out", "--html", "a.html", "--refs", "gone"], "gone: no such folder"),
        (["run"], "run: is a training run; add --html FILE for its report"),
        (["run", "--html", "a.html"], "run.json: damaged"),
    ],
)
def test_what_cannot_be_reported_is_one_line(built, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"kind": "training run"}')
    line = run("inspect", *arguments, "--workers", "0", code=3).stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert words in line
    assert not (tmp_path / "a.html").exists()


def test_evaluate_reports_its_worst_misses_with_their_pictures(tmp_path, monkeypatch):
    quick = partial(glint_model.evaluation.evaluate.evaluate, resamples=20)
    monkeypatch.setattr(glint_model.evaluation.evaluate, "evaluate", quick)
    torch.manual_seed(0)
    save_weights(tmp_path / "tiny.safetensors", GlintIQA(GlintConfig.tiny()), {"backbones": "random"})
    rated = save_rated(tmp_path / "rated", anchors=2)
    fixed = ["--checkpoint", tmp_path / "tiny.safetensors", "--workers", "0", "--device", "cpu", "--crops", "1"]
    custom = ["--dataset", "custom", "--data-dir", rated, "--pixels", "regenerate"]
    run("evaluate", *custom, *fixed, "--html", tmp_path / "one.html")
    html = (tmp_path / "one.html").read_text()
    assert html.count('class="tile miss" data-picture=') == 20
    assert "lens blur, level 5" in html
    for words in ("the same score for all", "JPEG size per pixel", "95 % interval", "PLCC after the fit"):
        assert words in html
    save_photos(tmp_path, ["<b>1.png", "2.png", "3.png"])
    (tmp_path / "mine.csv").write_text("file_name,mos\n<b>1.png,1\n2.png,2\n3.png,3\n")
    run("evaluate", "--dataset", tmp_path / "mine.csv", *fixed, "--html", tmp_path / "two.html")
    assert "&lt;b&gt;1.png" in (tmp_path / "two.html").read_text()
    error = run("evaluate", *custom, *fixed, "--html", tmp_path, code=3).stderr
    assert "is a folder; give --html the name of a file in it" in error
