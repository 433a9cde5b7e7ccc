"""How close training from recipes comes to training on pixels that are there already.

    python benchmarks/train.py                    the tiny network on the CPU
    python benchmarks/train.py --device cuda      the published network on a GPU, batches of 128 in bf16
    python benchmarks/train.py --steps 20 --print-only

It writes benchmarks/results/train-DEVICE.json. The photos are random crops of scikit-image's, 512 x 384; the recipes,
all distortions and levels of each. Each rendered image is used as often as the preset's `reuse` says; timed are steps
after the first of them have come for the last time. `ratio` is the images/s of training from these recipes, without
checkpoints and validations, divided by those of the same steps on one random batch that stays on the device.
`without_host_types` leaves out the distortions that run on the CPU even where there is a GPU (6, 9, 10, 22) and the
denoiser (15). `disk` reads images of all types from PNG files. The shares are of the time that a single process would
take: decoding, distortions, forward, backward with the optimiser.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `pretrain` does; it is read when torch is loaded


import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from lightning_fabric import Fabric
from PIL import Image

from glint_label.distortions import DISTORTIONS, distort
from glint_label.engines import available_cores
from glint_label.images import encode_image
from glint_model.data.batches import Batch, Batches, iterate
from glint_model.data.gpu import develop, develop_ahead
from glint_model.data.reuse import steps_between
from glint_model.data.rows import Data, Rows
from glint_model.network.crops import CROP
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.devices import choose_workers, make_fabric, share_cores
from glint_model.training.learner import Learner
from glint_model.training.loop import make_recipe
from glint_model.training.settings import PRESETS, TrainConfig

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg", "rocket.jpg")
SIZE = (512, 384)
LEFT_OUT = (6, 9, 10, 15, 22)
RESULTS = Path(__file__).parent / "results"


def make_photos(folder: Path, number: int) -> tuple[Path, ...]:
    """Save random crops of scikit-image's colour photos as PNG."""
    rng = np.random.default_rng(0)
    data = Path(skimage.__file__).parent / "data"
    photos = [Image.open(data / name).convert("RGB").resize((700, 560)) for name in PHOTOS]
    paths = []
    for index in range(number):
        photo = photos[index % len(photos)]
        left, top = rng.integers(0, photo.width - SIZE[0]), rng.integers(0, photo.height - SIZE[1])
        pixels = np.array(photo.crop((left, top, left + SIZE[0], top + SIZE[1])))
        paths.append(folder / f"{index:05d}.png")
        paths[-1].write_bytes(encode_image(pixels, ".png"))
    return tuple(paths)


def make_rows(paths: tuple[Path, ...], left_out: tuple[int, ...]) -> Rows:
    """Name all distortions and levels of each photo, but for some types."""
    names = [name for name, row in DISTORTIONS.items() if row.number not in left_out]
    conditions = tuple((name, level) for name in names for level in range(1, 6))
    count = len(paths) * len(conditions)
    return Rows(
        photos=paths,
        sha256=("",) * len(paths),
        conditions=conditions,
        photo=np.repeat(np.arange(len(paths)), len(conditions)),
        condition=np.tile(np.arange(len(conditions)), len(paths)),
        seed=np.arange(count),
        mos=np.random.default_rng(1).uniform(1, 5, count).astype(np.float32),
        mos_error=np.full(count, 0.3, dtype=np.float32),
    )


def write_images(folder: Path, rows: Rows, number: int) -> Rows:
    """Save the images of some photos' rows as PNG, random levels of all types, as `render` does."""
    types = len(rows.conditions) // 5
    levels = np.random.default_rng(2).integers(0, 5, number)
    chosen = np.arange(number) * 5 + levels  # rows are ordered by photo, type and level
    some = rows.take(chosen)
    names = [f"{index // types:05d}/{index:05d}.png" for index in range(number)]
    for index, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        condition, level = some.conditions[some.condition[index]]
        photo = np.array(Image.open(some.photos[some.photo[index]]))
        path.write_bytes(encode_image(distort(photo, condition, level, int(some.seed[index])), ".png"))
    return replace(some, files=np.array(names, dtype=np.bytes_), root=folder / "images")


def synchronise(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_learner(config: TrainConfig, fabric: Fabric) -> Learner:
    """Make a network of random weights."""
    torch.manual_seed(0)
    model, _ = GlintIQA.start(config.network, "random", "random")
    return Learner(model, config, 10_000, fabric)


def resident(config: TrainConfig, device: torch.device) -> Batch:
    """Make a random batch on the device."""
    shape = (config.batch_size, config.crops, 3, CROP, CROP)
    crops = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    labels = torch.stack([torch.rand(config.batch_size) * 4 + 1, torch.ones(config.batch_size)]).to(device)
    return Batch(crops, labels)


def forever(batch: Batch) -> Iterator[Batch]:
    """Repeat a batch."""
    while True:
        yield batch


def rate(learner: Learner, batches: Iterator[Batch], config: TrainConfig, steps: int, warm: int) -> float:
    """Measure images/s over some steps, after others that do not count."""
    device = learner.model.head.score.weight.device
    for step in range(warm):
        learner.learn(step, batches)
    synchronise(device)
    started = time.perf_counter()
    for step in range(steps):
        learner.learn(step, batches)
    synchronise(device)
    return steps * config.batch_size / (time.perf_counter() - started)


def trained_rate(config: TrainConfig, rows: Rows, fabric: Fabric, steps: int, warm: int) -> float:
    """Measure images/s of training from recipes, as `train` makes its batches."""
    on_gpu = fabric.device.type == "cuda"
    recipe = make_recipe(config, Data(rows, rows.take(slice(0, 0)), {"kind": "benchmark"}), 1, defer=on_gpu)
    workers = choose_workers(config.workers, fabric.device.type)
    threads = torch.get_num_threads()
    share_cores(workers, fabric)
    # More than are taken, or the last ones would find the workers idle.
    batches = iterate(recipe, range(warm + steps + 64), workers)
    if on_gpu:
        batches = develop_ahead(batches, fabric.device, config.batch_size)
    try:
        return rate(make_learner(config, fabric), batches, config, steps, warm)
    finally:
        batches.close()  # type: ignore[attr-defined] # both are generators
        torch.set_num_threads(threads)


def time_parts(config: TrainConfig, rows: Rows, fabric: Fabric, steps: int) -> dict[str, float]:
    """Time each part of a step alone, seconds a step, what is reused divided by its uses."""
    device = fabric.device
    recipe = make_recipe(config, Data(rows, rows.take(slice(0, 0)), {"kind": "benchmark"}), 1, device.type == "cuda")
    source = Batches(replace(recipe, cache_bytes=0, reuse=1))
    made: list[Batch] = []
    for index in range(steps):
        batch = source[index]
        if not isinstance(batch, Batch):
            raise batch
        made.append(batch)
    uses = steps * recipe.reuse
    seconds = {name: sum(batch.seconds[name] for batch in made) / uses for name in ("decode", "distort")}
    if device.type == "cuda":
        develop(made, device)
        synchronise(device)
        started = time.perf_counter()
        develop(made, device)
        synchronise(device)
        seconds["distort on the GPU"] = (time.perf_counter() - started) / steps
    learner, batch = make_learner(config, fabric), resident(config, device)
    forward, whole = [], []
    for _ in range(5):
        synchronise(device)
        started = time.perf_counter()
        with torch.no_grad(), fabric.autocast():
            learner.model(batch.crops.flatten(0, 1).float().div_(255))
        synchronise(device)
        forward.append(time.perf_counter() - started)
        started = time.perf_counter()
        learner.learn(0, forever(batch))
        synchronise(device)
        whole.append(time.perf_counter() - started)
    seconds["forward"] = statistics.median(forward)
    seconds["backward"] = statistics.median(whole) - seconds["forward"]
    return seconds


def machine(device: torch.device) -> dict[str, Any]:
    """Say what this is."""
    names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": gpu or (names[0].strip() if names else platform.processor()),
        "processor": names[0].strip() if names else platform.processor(),
        "cores": available_cores(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def measure(config: TrainConfig, fabric: Fabric, photos: int, steps: int) -> dict[str, Any]:
    """Measure training from recipes, with and without the types that are left out, and from files."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(Path(folder), photos)
        kinds = {"without_host_types": make_rows(paths, LEFT_OUT), "all_types": make_rows(paths, ())}
        kinds["disk"] = write_images(Path(folder), kinds["all_types"], min(640, photos * len(DISTORTIONS)))
        for name, rows in kinds.items():
            pixels: Any = "disk" if name == "disk" else "fly"
            results[name] = measure_kind(replace(config, pixels=pixels), rows, fabric, steps)
    return results


def measure_kind(config: TrainConfig, rows: Rows, fabric: Fabric, steps: int) -> dict[str, Any]:
    """Measure the same model on a resident batch and from some rows."""
    warm = min(steps // 4, 8) + 2
    # Until then, more images are new in a step than in all later ones.
    filling = (config.reuse - 1) * steps_between(config.batch_size)
    # The resident one before and after, so that a slower spell of the machine is in both.
    before = rate(make_learner(config, fabric), forever(resident(config, fabric.device)), config, steps // 4, warm)
    from_recipes = trained_rate(config, rows, fabric, steps, warm + filling)
    after = rate(make_learner(config, fabric), forever(resident(config, fabric.device)), config, steps // 4, warm)
    alone = (before + after) / 2
    parts = time_parts(config, rows, fabric, max(2, steps // 10))
    total = sum(parts.values())
    return {
        "resident_images_per_second": [before, after],
        "images_per_second": from_recipes,
        "ratio": from_recipes / alone,
        "seconds_per_step": parts,
        "share": {part: seconds / total for part, seconds in parts.items()},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--preset", choices=tuple(PRESETS), help="default-tiny on a CPU, default on a GPU")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--crops", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--reuse", type=int)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, help="timed ones")
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--print-only", action="store_true")
    given = parser.parse_args()
    on_gpu = given.device == "cuda"
    preset = PRESETS[given.preset or ("default" if on_gpu else "default-tiny")]
    flags = ("batch_size", "crops", "workers", "reuse")
    chosen = {name: getattr(given, name) for name in flags if getattr(given, name)}
    network = replace(preset.network, frozen_batchnorm=False)
    config = replace(preset, network=network, device=given.device, compile=given.compile, **chosen)
    fabric = make_fabric(config)
    steps = given.steps or (200 if on_gpu else 60)
    workers = choose_workers(config.workers, given.device)
    results = {
        "machine": machine(fabric.device),
        "preset": config.preset,
        "batch_size": config.batch_size,
        "crops": config.crops,
        "reuse": config.reuse,
        "workers": workers,
        "steps": steps,
        **measure(config, fabric, given.photos, steps),
        "peak_memory_mb": {
            "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            "workers": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000,
            "gpu": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
        },
    }
    text = json.dumps(results, indent=1)
    print(text)
    if not given.print_only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"train-{given.device}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
