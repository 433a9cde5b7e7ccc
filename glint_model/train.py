"""The training loop: resumable at any step, bit for bit on a CPU, since a step depends on its number alone."""

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

import glint_label
from glint_label.errors import TrainingError, UsageError
from glint_label.files import sha256_of
from glint_label.progress import MakeProgress, no_progress
from glint_model.checkpoint import load_weights, put_weights
from glint_model.config import GlintConfig
from glint_model.data import Batch, Recipe, iterate
from glint_model.develop import develop_ahead
from glint_model.devices import choose_workers, make_fabric
from glint_model.learner import Learner
from glint_model.network import GlintIQA
from glint_model.rows import Data
from glint_model.runs import Checkpoint, Curve, Run, lock_run
from glint_model.settings import TrainConfig
from glint_model.validation import Validation

_FLUSH = 10  # steps between looks at the loss, each of which waits for the GPU


@dataclass(frozen=True)
class Report:
    """What a run ended with.

    Attributes:
        out: Its folder.
        step: Steps done.
        steps: Steps asked for; more than `step` where the run was told to stop.
        resumed: Steps that were done before.
        last: SROCC of the last validation; None without validation images.
        best: SROCC of the best one.
        best_step: Its step.
        images_per_second: Distorted images that went through the network.
    """

    out: Path
    step: int
    steps: int
    resumed: int
    last: float | None
    best: float | None
    best_step: int | None
    images_per_second: float


def count_steps(config: TrainConfig, images: int) -> int:
    """Turn epochs into steps."""
    return config.steps or max(1, math.ceil(config.epochs * images / config.batch_size))


def train(
    config: TrainConfig,
    data: Data,
    out: Path,
    start: Path | None = None,
    resume: bool | None = None,
    progress: MakeProgress = no_progress,
    tell: Callable[[str], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Train a network, or go on with it.

    Args:
        config: The settings.
        data: What to learn from.
        out: The run's folder.
        start: A checkpoint to start from, instead of fresh backbones.
        resume: See `Run.open`.
        progress: Makes the progress bar, which counts steps.
        tell: Takes lines for the log.
        stop: Asked after every step; once it says so, the run is saved and ends.

    Raises:
        GlintError: Bad input, a folder of another run, no memory, a loss that is no number.
    """
    fabric = make_fabric(config)
    identity = {
        "settings": config.identity,
        "steps": count_steps(config, len(data.train)),
        "data": data.origin,
        "start_sha256": sha256_of(start) if start else None,
    }
    run = Run(out, identity)
    with _no_memory(config):
        if fabric.global_rank:
            return _train(config, data, run, start, fabric.broadcast(False), fabric, no_progress, lambda _: None, stop)
        with lock_run(out):
            going_on = fabric.broadcast(run.open(resume))
            return _train(config, data, run, start, going_on, fabric, progress, tell, stop)


def _train(
    config: TrainConfig,
    data: Data,
    run: Run,
    start: Path | None,
    going_on: bool,
    fabric: Fabric,
    progress: MakeProgress,
    tell: Callable[[str], None],
    stop: Callable[[], bool],
) -> Report:
    steps = count_steps(config, len(data.train))
    chief = fabric.global_rank == 0
    _check_processes(config, fabric.world_size)
    saved = None
    if going_on:
        saved = run.load("last") if chief else None
        fabric.barrier()  # whoever opens a checkpoint first may have to put its files in place
        saved = saved or run.load("last")
    model, origins = _make_model(config, start, saved)
    if config.centre and start is None and saved is None:
        torch.nn.init.constant_(model.head.score.bias, float(data.train.mos.mean()))
    facts = _facts(config, data, origins)
    learner = Learner(model, config, steps, fabric)
    done, figures = 0, {"last": None, "best": None, "best_step": None}
    if saved is not None:
        learner.restore(saved)
        done, figures = saved.step, saved.figures
    elif chief:
        run.describe(config, {"facts": facts, "status": "running"})
    tell(f"{len(data.train):,} images to learn from, {len(data.val):,} to validate on, {steps:,} steps")
    tell(", ".join(f"{name.replace('_', ' ')}: {origin}" for name, origin in origins.items()))
    if done:
        tell(f"going on after step {done:,}")
    resumed, started = done, time.perf_counter()
    if done < steps:
        workers = choose_workers(config.workers, fabric.device.type)
        validation = _make_validation(config, data, workers, fabric, tell)
        curve = Curve(run.out / "metrics.csv", done) if chief else None
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []
        losses: list[torch.Tensor] = []
        with (
            closing(_batches(config, data, done, steps, workers, fabric)) as batches,
            closing(progress("steps", steps, done)) as bar,
            _event_writer(run.out if chief and config.tensorboard else None) as events,
        ):
            stopping = False
            while done < steps and not stopping:
                losses.append(learner.learn(done, batches))
                rows.append({"step": done + 1, "epoch": done * config.batch_size // len(data.train), "lr": learner.lr(done)})
                done += 1
                bar.update(1)
                due = done == steps
                flush = due or done % _FLUSH == 0
                stopping = _agree(stop(), fabric, flush)
                validate = validation is not None and (due or done % config.val_every == 0)
                save = due or stopping or done % config.checkpoint_every == 0
                if flush or validate or save:
                    _note_losses(rows, losses, fabric, run)
                if validate and validation is not None:
                    srocc, plcc = validation.measure(learner.scorer)
                    rows[-1] |= {"val_srocc": srocc, "val_plcc": plcc}
                    figures = figures | {"last": srocc}
                    better = figures["best"] is None or srocc > figures["best"]
                    if better:
                        figures = figures | {"best": srocc, "best_step": done}
                    tell(f"step {done:,}: loss {rows[-1]['loss']:.4f}, validation SROCC {srocc:.4f}, PLCC {plcc:.4f}")
                if curve is not None and (flush or validate or save):
                    curve.add(rows)
                    events(rows)
                if flush or validate or save:
                    rows, losses = [], []
                if chief and (save or validate):
                    checkpoint = Checkpoint(done, learner.scorer.state_dict(), learner.tensors(), figures)
                    if not learner.is_finite():
                        raise _diverged(done, run)
                    if save:
                        run.save("last", checkpoint, learner.model.config, facts)
                    if validate and better:
                        run.save("best", checkpoint, learner.model.config, facts)
        if chief and done == steps:
            run.describe(config, {"facts": facts, "status": "complete", "result": figures})
    rate = (done - resumed) * config.batch_size / max(1e-9, time.perf_counter() - started)
    return Report(run.out, done, steps, resumed, figures["last"], figures["best"], figures["best_step"], rate)
