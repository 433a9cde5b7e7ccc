"""Training as a whole: it learns, it resumes exactly, it refuses what does not fit, it loses nothing."""

import csv
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.testing import assert_close

from glint_label.errors import OutputError, StateError, TrainingError, UsageError
from glint_model import GlintIQA
from glint_model.data.batches import Batch
from glint_model.data.reuse import steps_between
from glint_model.data.rows import Data, synthetic_rows
from glint_model.training import run_folder
from glint_model.training.devices import make_fabric
from glint_model.training.learner import Learner
from glint_model.training.loop import train
from glint_model.training.settings import TrainConfig
from tests.glint_model.conftest import small_config


@pytest.fixture(scope="module")
def data() -> Data:
    """Drawn photos under the distortions that are made fast."""
    data = synthetic_rows(8)
    quick = [
        number for number, (name, _) in enumerate(data.train.conditions) if name in ("brighten", "jpeg", "pixelate")
    ]
    rows = [part.take(np.isin(part.condition, quick)) for part in (data.train, data.val)]
    return replace(data, train=rows[0], val=rows[1])


def outputs(folder: Path) -> dict[str, bytes]:
    names = [*folder.glob("*.safetensors"), folder / "metrics.csv"]
    return {path.name: path.read_bytes() for path in names}


def read_curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_loss_falls_and_the_best_is_kept(data, tmp_path):
    extremes = [
        number
        for number, condition in enumerate(data.train.conditions)
        if condition in (("pixelate", 1), ("pixelate", 5))
    ]
    easy = data.train.take(np.isin(data.train.condition, extremes))
    easy = replace(data, train=easy.take(easy.photo < 4), val=easy.take(easy.photo >= 4))
    config = small_config(steps=40, batch_size=8, lr=3e-3, val_every=10)
    told: list[str] = []
    report = train(config, easy, tmp_path / "run", tell=told.append)
    losses = [float(row["loss"]) for row in read_curve(tmp_path / "run")]
    assert len(losses) == 40
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    validated = [float(row["val_srocc"]) for row in read_curve(tmp_path / "run") if row["val_srocc"]]
    assert len(validated) == 4
    assert report.figures.best == pytest.approx(max(validated), abs=1e-5)
    assert report.figures.last == pytest.approx(validated[-1], abs=1e-5)
    assert any("weights from: vit random, cnn random" in line for line in told)
    network = GlintIQA.load(tmp_path / "run" / "best.safetensors")
    assert network.config == config.network


@pytest.mark.parametrize("preset", [pytest.param("paper-tiny", marks=pytest.mark.slow), "default-tiny"])
def test_a_run_stopped_at_any_step_ends_as_if_it_had_not_been(preset, data, tmp_path):
    config = small_config(preset, network=replace(small_config(preset).network, dropout=0.3), steps=5)
    train(config, data, tmp_path / "whole")
    for _ in range(20):
        polled = iter([False, True])
        report = train(config, data, tmp_path / "pieces", stop=lambda polled=polled: next(polled))
        if report.step == report.steps:
            break
    assert outputs(tmp_path / "pieces") == outputs(tmp_path / "whole")
    again = train(config, data, tmp_path / "pieces")
    assert again.resumed == again.steps


@pytest.mark.slow
def test_a_run_stopped_while_images_are_used_again_ends_as_if_it_had_not_been(data, tmp_path):
    config = small_config(steps=110, reuse=2, batch_size=2, checkpoint_every=200, val_every=200)
    assert steps_between(config.batch_size) == 48
    train(config, data, tmp_path / "whole")
    for most in (30, 30, 60):  # the second stop is after images have come again
        polls = iter([False] * most + [True])
        train(config, data, tmp_path / "pieces", stop=lambda polls=polls: next(polls))
    assert outputs(tmp_path / "pieces") == outputs(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
    config = small_config(steps=25, val_every=7, checkpoint_every=3, batch_size=2, val_images=2)
    train(config, synthetic_rows(), tmp_path / "whole")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    arguments = ["pretrain", "--synthetic", "--config", tmp_path / "config.yaml", "--out", tmp_path / "killed"]
    command = [sys.executable, "-c", "from glint_cli.main import main; main()", *map(str, arguments)]
    # Sums are rounded by the number of threads, which other tests of this process may have set.
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    rng = random.Random(os.environ.get("PYTEST_CURRENT_TEST"))
    for least in sorted(rng.sample(range(3, 20), 2)):
        process = subprocess.Popen(command, env=threads, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        curve = tmp_path / "killed" / "metrics.csv"
        while process.poll() is None and not (curve.is_file() and len(curve.read_bytes().splitlines()) > least):
            time.sleep(0.002)
        process.kill()
        process.wait()
    train(config, synthetic_rows(), tmp_path / "killed")
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole")


@pytest.mark.parametrize("moment", [pytest.param("before the state", marks=pytest.mark.slow), "after the state"])
def test_a_kill_between_the_two_files_of_a_checkpoint(moment, data, tmp_path, monkeypatch):
    config = small_config(steps=6)
    train(config, data, tmp_path / "whole")
    polled = iter([False, False, True])
    write, rename = run_folder.write_atomic, Path.replace
    train(config, data, tmp_path / "torn", stop=lambda: next(polled))

    def die(path, content):
        if path.name == "last.state.safetensors":
            if moment == "after the state":
                write(path, content)
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_atomic", die)
        with pytest.raises(KeyboardInterrupt):
            train(config, data, tmp_path / "torn")
    assert Path.replace is rename
    train(config, data, tmp_path / "torn")
    assert outputs(tmp_path / "torn") == outputs(tmp_path / "whole")
    assert not list((tmp_path / "torn").glob(".*next*"))


def test_another_configuration_is_refused_with_what_differs(data, tmp_path):
    config = small_config(steps=2)
    train(config, data, tmp_path / "run")
    before = outputs(tmp_path / "run")
    with pytest.raises(StateError, match=re.escape("settings.lr: 0.002 -> 0.01")):
        train(replace(config, lr=0.01), data, tmp_path / "run")
    with pytest.raises(StateError, match=r"data\.train"):
        train(config, replace(data, origin={"kind": "synthetic", "train": 1}), tmp_path / "run")
    assert outputs(tmp_path / "run") == before
    train(replace(config, workers=0, checkpoint_every=1), data, tmp_path / "run")
    train(replace(config, lr=0.01), data, tmp_path / "run", resume=False)
    assert outputs(tmp_path / "run") != before
    with pytest.raises(StateError, match="no run to resume"):
        train(config, data, tmp_path / "other", resume=True)


@pytest.mark.parametrize("name", ["last.safetensors", "last.state.safetensors"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(name, data, tmp_path):
    config = small_config(steps=4)
    polled = iter([False, True])
    train(config, data, tmp_path / "run", stop=lambda: next(polled))
    path = tmp_path / "run" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StateError, match=f"{re.escape(name)}: truncated"):
        train(config, data, tmp_path / "run")
    assert path.read_bytes() == content[: len(content) // 2]


def test_a_checkpoint_of_another_run_is_refused(data, tmp_path):
    for name, seed in (("one", 0), ("other", 1)):
        train(small_config(steps=2, seed=seed), data, tmp_path / name)
    for path in (tmp_path / "other").glob("last*"):
        (tmp_path / "one" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(StateError, match="belongs to a run with other settings"):
        train(small_config(steps=2), data, tmp_path / "one")


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(data, tmp_path, monkeypatch):
    config = small_config(steps=12, checkpoint_every=2)
    learn = Learner.learn
    monkeypatch.setattr(
        Learner, "learn", lambda self, step, parts: learn(self, step, parts) * (float("nan") if step == 6 else 1)
    )
    with pytest.raises(TrainingError, match=r"step 7: .* no longer a number; the checkpoint before it is kept"):
        train(config, data, tmp_path / "run")
    monkeypatch.undo()
    whole = train(config, data, tmp_path / "whole")
    assert train(config, data, tmp_path / "run").resumed == 6
    assert whole.step == 12
    assert outputs(tmp_path / "run") == outputs(tmp_path / "whole")


def test_weights_that_are_no_numbers_are_not_saved(data, tmp_path):
    with pytest.raises(TrainingError, match="no longer a number"):
        train(small_config(steps=12, lr=1e30, grad_clip=0.0, val_every=50, checkpoint_every=3), data, tmp_path / "run")
    saved = list((tmp_path / "run").glob("*.safetensors"))
    assert all(tensor.isfinite().all() for path in saved for tensor in load_file(path).values())


def test_too_little_memory_says_what_to_try(data, tmp_path, monkeypatch):
    def learn(self, step, parts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "learn", learn)
    with pytest.raises(UsageError, match=r"--batch-size 4 does not fit into memory .*accumulate: 2"):
        train(small_config(), data, tmp_path / "run")


def test_a_full_disk_loses_nothing(data, tmp_path, monkeypatch):
    def fail(path, content):
        raise OutputError(f"{path}: cannot be written (No space left on device)")

    config = small_config(steps=4)
    polled = iter([False, True])
    train(config, data, tmp_path / "run", stop=lambda: next(polled))
    with monkeypatch.context() as patch:
        patch.setattr("glint_model.network.checkpoint.write_atomic", fail)
        with pytest.raises(OutputError):
            train(config, data, tmp_path / "run")
    assert train(config, data, tmp_path / "run").resumed == 2


def test_accumulated_parts_learn_what_the_whole_batch_does(data, tmp_path):
    network = replace(small_config().network, dropout=0.0, frozen_batchnorm=True)
    config = small_config(network=network, batch_size=8, steps=3, lr=1e-4)
    train(config, data, tmp_path / "whole")
    train(replace(config, accumulate=4), data, tmp_path / "parts")
    _same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    network = replace(small_config().network, dropout=0.0, frozen_batchnorm=True)
    config = small_config(network=network, batch_size=8, steps=5, lr=1e-4)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    for name, processes in (("one", 1), ("two", 2)):
        arguments = ["pretrain", "--synthetic", "--config", tmp_path / "config.yaml", "--out", tmp_path / name]
        start = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            "-m",
            "glint_cli.main",
        ]
        subprocess.run([sys.executable, *start, *map(str, arguments)], check=True, timeout=300)
    _same_weights(tmp_path / "one", tmp_path / "two")
    losses = [[float(row["loss"]) for row in read_curve(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def _same_weights(one: Path, other: Path) -> None:
    first, second = (load_file(folder / "last.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        assert_close(first[name], second[name], rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_wide_layers_learn_more_slowly():
    config = small_config(steps=10, lr=1e-2, fan_in=100)
    learner = Learner(GlintIQA(config.network), config, 10, make_fabric(config))
    before = {name: weight.detach().clone() for name, weight in learner.model.named_parameters()}
    learner.learn(5, iter([Batch(torch.randint(256, (4, 1, 3, 224, 224), dtype=torch.uint8), torch.rand(2, 4))]))
    after = learner.model.state_dict()
    moved = {name: float((after[name] - weight).abs().max()) for name, weight in before.items()}
    wide = "interactions.0.conv.weight"
    assert moved["head.score.bias"] == pytest.approx(learner.lr(5), rel=0.01)
    assert moved[wide] == pytest.approx(learner.lr(5) * 100 / before[wide][0].numel(), rel=0.1)


def test_the_saved_settings_are_the_run_s(data, tmp_path):
    config = small_config(steps=1)
    train(config, data, tmp_path / "run")
    from glint_model.training.settings import resolve

    entries = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert resolve(entries["preset"], entries) == config
    assert isinstance(config, TrainConfig)
