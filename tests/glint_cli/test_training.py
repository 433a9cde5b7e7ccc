"""`pretrain` and `finetune` as a user meets them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.conftest import make_photo, record_again, save_photos, save_rated
from tests.glint_cli.test_commands import run
from tests.glint_model.conftest import manifest, one_thread, small_config  # noqa: F401 (fixtures)


@pytest.fixture
def config(tmp_path) -> Path:
    """Settings of a run of seconds."""
    path = tmp_path / "small.yaml"
    path.write_text(small_config(steps=2).to_yaml())
    return path


@pytest.fixture
def damaged(tmp_path) -> Path:
    """A build of its own, with photos, to be damaged."""
    rated = save_rated(tmp_path / "rated")
    refs = save_photos(tmp_path / "refs", [f"p{number}.png" for number in range(12)])
    fixed = [
        "--source=custom",
        "--mos-range",
        "1",
        "5",
        "--embedder=statistics",
        "--transfer=knn",
        "--k=2",
        "--workers=0",
    ]
    run("build", "--refs", refs, "--source-dir", rated, "--out", tmp_path / "build", *fixed)
    return tmp_path / "build"


def pretrain(*arguments: object, code: int = 0):
    return run("pretrain", *arguments, code=code)


def test_pretrain_tells_what_came_out_and_goes_on(manifest, config, tmp_path):  # noqa: F811
    out = tmp_path / "run"
    printed = pretrain("--manifest", manifest, "--config", config, "--out", out).stdout
    assert f"2 of 2 steps in {out}" in printed
    assert re.search(r"validation SROCC +last -?\d\.\d+, best -?\d\.\d+ at step 2", printed)
    assert "is complete: 2 steps" in pretrain("--manifest", manifest, "--config", config, "--out", out).stdout
    refused = pretrain("--manifest", manifest, "--config", config, "--out", out, "--seed", 5, code=3).stderr
    assert "settings.seed: 0 -> 5" in refused
    assert len(refused.strip().splitlines()) == 1
    assert "2 of 2 steps" in pretrain(
        "--manifest", manifest, "--config", out / "config.yaml", "--out", out, "--seed", 5, "--no-resume"
    ).stdout  # fmt: skip
    assert yaml.safe_load((out / "config.yaml").read_text())["seed"] == 5
    assert json.loads((out / "run.json").read_text())["complete"]


def test_flags_win_over_the_settings_file(config, tmp_path):
    pretrain("--synthetic", "--config", config, "--out", tmp_path / "run", "--steps", 1, "--seed", 7)
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["steps"], saved["seed"], saved["batch_size"]) == (1, 7, 4)


def test_the_only_build_below_manifests_is_the_default(manifest, config, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert "no build below manifests" in pretrain("--config", config, code=3).stderr
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "one").symlink_to(manifest)
    assert "in runs/default-tiny" in pretrain("--config", config, "--refs", manifest.parent / "refs").stdout
    (tmp_path / "manifests" / "two").symlink_to(manifest)
    assert "2 builds below manifests" in pretrain("--config", config, code=3).stderr


def _replace_label(shard: Path) -> None:
    path = shard / "metadata.csv"
    lines = path.read_text().splitlines()
    values = lines[3].split(",")
    values[7] = "nan"
    path.write_text("\n".join([*lines[:3], ",".join(values), *lines[4:]]) + "\n")
    record_again(shard)


def _another_photo(shard: Path) -> None:
    Image.fromarray(make_photo(99)).save(shard.parents[2] / "refs" / "p1.png")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda shard: (shard / "_SUCCESS.json").unlink(), "_SUCCESS.json: is missing; run the same build"),
        (lambda shard: (shard / "metadata.csv").unlink(), "metadata.csv: is missing"),
        (lambda shard: (shard / "_SUCCESS.json").write_text("{"), "_SUCCESS.json: damaged"),
        (lambda shard: (shard / "metadata.csv").write_text("mos\n"), "metadata.csv: has changed since it was built"),
        (_replace_label, "metadata.csv: line 4: mos is 'nan', not a number"),
        (lambda shard: (shard.parents[2] / "refs" / "p1.png").unlink(), "p1.png: is missing (1 of 12 photos)"),
        (_another_photo, "p1.png: is not the file that was labelled"),
        (lambda shard: (shard.parents[2] / "refs" / "p1.png").write_bytes(b"P"), "p1.png: is not the file"),
        (lambda shard: (shard.parents[1] / "run.json").unlink(), "holds no run.json"),
    ],
)
def test_a_damaged_manifest_is_one_line(damaged, config, tmp_path, damage, words):
    damage(damaged / "shards" / "00000")
    result = pretrain("--manifest", damaged, "--config", config, "--out", tmp_path / "run", "--epochs", 1, code=3)
    assert words in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "cuda"), "no CUDA GPU is available"),
        (("--device", "tpu"), "--device tpu: must be one of"),
        (("--preset", "huge"), "--preset huge: must be one of paper, paper-tiny, default, lite, default-tiny"),
        (("--batch-size", 3), "--batch-size 3: must be a multiple of group x accumulate"),
        (("--steps", 1, "--epochs", 1), "give one of them"),
        (("--steps", 0), "--steps 0: must be at least 1"),
        (("--precision", "8"), "--precision 8: must be one of auto, 32, bf16"),
    ],
)
def test_options_that_do_not_fit_are_one_line(config, tmp_path, arguments, words, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    stderr = pretrain("--synthetic", "--config", config, "--out", tmp_path / "run", *arguments, code=2).stderr
    assert words in stderr
    assert len(stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate: 1", "unknown setting 'learning_rate'"),
        ("network: {depth: 3}", "unknown setting 'depth'"),
        ("lr: fast", "lr fast: must be a number"),
        ("- 1", "must hold lines like"),
        ("{", "not readable YAML"),
    ],
)
def test_a_wrong_settings_file_is_one_line(tmp_path, text, words):
    (tmp_path / "c.yaml").write_text(text)
    stderr = pretrain("--synthetic", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run", code=2).stderr
    assert words in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_finetune_starts_from_a_checkpoint_and_leaves_anchors_out(config, tmp_path):
    rated = save_rated(tmp_path / "rated", anchors=4, distortions=("jpeg", "brighten"))
    pretrain("--synthetic", "--config", config, "--out", tmp_path / "run")
    weights = tmp_path / "run" / "last.safetensors"
    settings = tmp_path / "few.yaml"
    settings.write_text("batch_size: 4\nval_every: 2\nval_images: 4\n")
    start = ["finetune", "--checkpoint", weights, "--source", "custom", "--source-dir", rated, "--config", settings]
    more = ["--workers", 0, "--device", "cpu", "--steps", 2, "--out", tmp_path / "tuned"]
    printed = run(*start, *more, "--exclude-anchors", "anchors/a0.png").stdout
    assert "2 of 2 steps" in printed
    origin = json.loads((tmp_path / "tuned" / "run.json").read_text())["identity"]["data"]
    assert origin["train"] + origin["val"] == 3 * 10
    only = ["--train-anchors", "anchors/a1.png,anchors/a2.png", "--no-resume"]
    run(*start, *more, *only)
    origin = json.loads((tmp_path / "tuned" / "run.json").read_text())["identity"]["data"]
    assert origin["train"] + origin["val"] == 2 * 10
    assert "no such checkpoint" in run(*start, "--checkpoint", tmp_path / "none", *more, code=3).stderr
    assert "has no 'I99'" in run(*start, *more, "--exclude-anchors", "I99", code=2).stderr


def test_finetune_takes_a_csv_on_another_scale(config, tmp_path):
    pretrain("--synthetic", "--config", config, "--out", tmp_path / "run")
    names = [f"{number}.png" for number in range(12)]
    save_photos(tmp_path / "photos", names)
    lines = [f"photos/{name},{40 + 3 * number}" for number, name in enumerate(names)]
    (tmp_path / "mine.csv").write_text("file_name,mos\n" + "\n".join(lines) + "\n")
    weights = tmp_path / "run" / "last.safetensors"
    settings = tmp_path / "few.yaml"
    settings.write_text("batch_size: 4\nval_every: 2\nval_images: 4\n")
    command = [
        "finetune", "--checkpoint", weights, "--source", tmp_path / "mine.csv", "--config", settings,
        "--workers", 0, "--device", "cpu", "--steps", 2, "--out", tmp_path / "tuned",
    ]  # fmt: skip
    assert "2 of 2 steps" in run(*command).stdout
    from glint_model import GlintIQA

    scores = GlintIQA.load(tmp_path / "tuned" / "last.safetensors").score([tmp_path / "photos" / "3.png"], crops=2)
    assert 20 < scores[0] < 100
    assert "table_sha256" in run(*command, "--higher-is-worse", code=3).stderr  # other labels: not the same run
    settings.write_text(settings.read_text() + "higher_is_worse: true\n")
    assert "table_sha256" in run(*command, code=3).stderr
