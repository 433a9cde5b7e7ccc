"""The training loop: resumable at any step, bit for bit on a CPU, since a step depends on its number alone."""

import json
import math
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

import glint_label
from glint_label.errors import UsageError, is_out_of_memory
from glint_label.files import sha256_of
from glint_label.folders import lock_folder
from glint_label.progress import MakeProgress, no_progress
from glint_model.data.batches import Batch, Recipe, iterate, worker_deaths
from glint_model.data.gpu import develop_ahead
from glint_model.data.rows import Data
from glint_model.network.checkpoint import load_weights, put_weights, size_in_words
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.devices import choose_workers, make_fabric, over_processes, share_cores
from glint_model.training.learner import Learner
from glint_model.training.metrics_log import Figures, Journal, diverged
from glint_model.training.run_folder import Checkpoint, Run
from glint_model.training.settings import TrainConfig
from glint_model.training.validation import Validation

_FLUSH = 10  # steps between looks at the loss, each of which waits for the GPU


@dataclass(frozen=True)
class Report:
    """What a run ended with.

    Attributes:
        out: Its folder.
        step: Steps done.
        steps: Steps asked for; more than `step` where the run was told to stop.
        resumed: Steps that were done before.
        figures: What validation found.
        images_per_second: Distorted images that went through the network.
    """

    out: Path
    step: int
    steps: int
    resumed: int
    figures: Figures
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
    with _no_memory(config), worker_deaths():
        if fabric.global_rank:
            return _train(config, data, run, start, fabric.broadcast(False), fabric, no_progress, lambda _: None, stop)
        with lock_folder(out):
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
    _check_processes(config, fabric.world_size)
    saved = _open_checkpoint(run, fabric) if going_on else None
    model, facts = _make_model(config, data, start, saved)
    learner = Learner(model, config, steps, fabric)
    done, figures = 0, Figures()
    if saved is not None:
        learner.restore(saved)
        done, figures = saved.step, Figures(**saved.figures)
    elif fabric.global_rank == 0:
        run.describe(config, facts, None)
    tell(f"{len(data.train):,} images to learn from, {len(data.val):,} to validate on, {steps:,} steps")
    tell(f"weights from: {facts['weights']}")
    if done:
        tell(f"going on after step {done:,} of {steps:,}")
    if done == steps:
        return Report(run.out, done, steps, done, figures, 0.0)
    workers = choose_workers(config.workers, fabric.device.type)
    share_cores(workers, fabric)
    validation = _make_validation(config, data, workers, fabric)
    if validation is None:
        tell("no validation images in the manifest: only last.safetensors is kept, no best.safetensors")
    resumed, started = done, time.perf_counter()
    with (
        closing(Journal(run, config, done, fabric)) as journal,
        closing(_batches(config, data, done, steps, workers, fabric)) as batches,
        closing(progress("steps", steps, done)) as bar,
    ):
        stopping = False
        while done < steps and not stopping:
            loss = learner.learn(done, batches)
            journal.note(done + 1, done * config.batch_size // len(data.train), learner.lr(done), loss)
            done += 1
            bar.update(1)
            stopping = _agree(stop, done, fabric)
            last = done == steps or stopping
            improved = False
            if validation is not None and (done == steps or done % config.val_every == 0):
                srocc, plcc = validation.measure(learner.scorer)
                figures = figures.after(done, srocc)
                improved = figures.best_step == done
                mean = journal.validated(srocc, plcc)
                if fabric.global_rank == 0:
                    validation.save(run.out)
                tell(f"step {done:,}: loss {mean:.4f}; validation SROCC {srocc:.4f}, PLCC {plcc:.4f}")
            if done % _FLUSH == 0:
                journal.flush()
            due = ("best",) * improved + ("last",) * (last or done % config.checkpoint_every == 0)
            if due:
                journal.flush()
                _save(run, learner, due, done, figures, facts, fabric)
        if fabric.global_rank == 0 and done == steps:
            run.describe(config, facts, asdict(figures))
    rate = (done - resumed) * config.batch_size / (time.perf_counter() - started)
    return Report(run.out, done, steps, resumed, figures, rate)


def _save(
    run: Run,
    learner: Learner,
    names: Sequence[str],
    done: int,
    figures: Figures,
    facts: dict[str, str],
    fabric: Fabric,
) -> None:
    """Write checkpoints, unless the weights have ceased to be numbers."""
    if not learner.is_finite():
        raise diverged(run.out, done)
    if fabric.global_rank == 0:
        weights, tensors = learner.scorer.state_dict(), learner.tensors()
        for name in names:
            run.save(name, Checkpoint(done, weights, tensors, asdict(figures), learner.model.config, facts))
    fabric.barrier()


def _open_checkpoint(run: Run, fabric: Fabric) -> Checkpoint:
    """Read the last checkpoint in every process; the first one may have to put its files in place."""
    saved = run.load("last") if fabric.global_rank == 0 else None
    fabric.barrier()
    return saved or run.load("last")


def _make_model(
    config: TrainConfig, data: Data, start: Path | None, saved: Checkpoint | None
) -> tuple[GlintIQA, dict[str, str]]:
    """Make the network and say where its weights come from, for the checkpoints' headers."""
    if saved is not None:
        return GlintIQA(saved.config), dict(saved.facts)
    torch.manual_seed(config.seed)
    if start is None:
        model, origins = GlintIQA.start(config.network, config.vit_weights, config.cnn_weights)
        weights = ", ".join(f"{name.removesuffix('_weights')} {origin}" for name, origin in origins.items())
        if config.init_bias_to_mean:
            torch.nn.init.constant_(model.head.score.bias, float(data.train.mos.mean()))
    else:
        _, state, made = load_weights(start, expected=config.network)
        model = GlintIQA(config.network)
        put_weights(model, state, start)
        if config.init_bias_to_mean and "label_std" in made:
            _rescale(model, float(made["label_mean"]), float(made["label_std"]), data.train.mos)
        weights = f"{start.name}, sha256 {sha256_of(start)}"
    facts = {
        "weights": weights,
        "label_mean": f"{data.train.mos.mean():.6g}",
        "label_std": f"{data.train.mos.std():.6g}",
        "size": size_in_words(data.train.size),
        "data": json.dumps(data.origin),
        "settings": json.dumps(config.identity),
        "version": glint_label.__version__,
        "git": _git_commit(),
        "torch": torch.__version__,
    }
    return model, facts


@torch.no_grad()
def _rescale(model: GlintIQA, mean: float, std: float, labels: NDArray[np.float32]) -> None:
    """Bring a network's scores from the scale of one set of labels to that of another: 1..5 to 0..100, say."""
    if std > 0 and labels.std() > 0:
        factor = float(labels.std()) / std
        model.head.score.weight.mul_(factor)
        model.head.score.bias.sub_(mean).mul_(factor).add_(float(labels.mean()))


def _make_validation(config: TrainConfig, data: Data, workers: int, fabric: Fabric) -> Validation | None:
    if not len(data.val):
        return None
    recipe = Recipe(
        data.val,
        batch=1,
        crops=config.val_crops,
        seed=config.seed,
        pixels=config.pixels,
        cache_bytes=config.cache_mb * 1_000_000,
        synthetic=data.origin["kind"] == "synthetic",
    )
    return Validation(recipe, config.val_images, workers, fabric)


def make_recipe(config: TrainConfig, data: Data, world: int, defer: bool) -> Recipe:
    """Say how training rows become batches.

    Args:
        config: The settings.
        data: The rows.
        world: Number of processes.
        defer: Whether a GPU distorts.
    """
    return Recipe(
        data.train,
        batch=config.batch_size,
        parts=world * config.accumulate,
        group=config.group,
        crops=config.crops,
        seed=config.seed,
        reuse=config.reuse,
        pixels=config.pixels,
        defer=defer,
        cache_bytes=config.cache_mb * 1_000_000,
        synthetic=data.origin["kind"] == "synthetic",
    )


def _batches(
    config: TrainConfig, data: Data, done: int, steps: int, workers: int, fabric: Fabric
) -> Generator[Batch, None, None]:
    """Make this process's parts of the batches of steps done + 1 to the last."""
    on_gpu = fabric.device.type == "cuda"
    recipe = make_recipe(config, data, fabric.world_size, defer=on_gpu)
    first = fabric.global_rank * config.accumulate
    indices = [step * recipe.parts + first + part for step in range(done, steps) for part in range(config.accumulate)]
    batches = iterate(recipe, indices, workers)
    if on_gpu:
        batches = develop_ahead(batches, fabric.device, recipe.batch // recipe.parts)
    yield from batches


def _check_processes(config: TrainConfig, world: int) -> None:
    unit = world * config.accumulate * config.group
    if config.batch_size % unit:
        raise UsageError(
            f"--batch-size {config.batch_size}: must be a multiple of processes x accumulate x group, "
            f"{world} x {config.accumulate} x {config.group}"
        )


def _agree(stop: Callable[[], bool], done: int, fabric: Fabric) -> bool:
    """Let all processes stop after the same step; asking the others costs time, so not after every one."""
    if fabric.world_size == 1:
        return stop()
    if done % _FLUSH:
        return False
    asked = over_processes(fabric, torch.tensor(float(stop()), device=fabric.device), "sum")
    return bool(asked > 0)


def _git_commit() -> str:
    """Name the commit of the source tree that runs, or nothing for an installed package."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""


@contextmanager
def _no_memory(config: TrainConfig) -> Iterator[None]:
    """Turn the several ways of running out of memory into one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        parts = config.accumulate * 2
        remedy = (
            f"try accumulate: {parts} in --config, which learns the same from halves"
            if config.batch_size % (parts * config.group) == 0
            else f"try --batch-size {max(config.group, config.batch_size // 2 // config.group * config.group)}"
        )
        raise UsageError(
            f"--batch-size {config.batch_size} does not fit into memory ({config.crops} crops of each image); {remedy}"
        ) from error
