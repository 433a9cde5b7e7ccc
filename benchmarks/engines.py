"""The parts of scale.py that render: a core against the physical limit, two workers against one, Ray against two."""

import io
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from build import make_source
from PIL import Image
from train import make_photos

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.distortions import DISTORTIONS, distort, prepare
from glint_label.engines import on_ray
from glint_label.files import write_atomic
from glint_label.images import encode_image, read_photo
from glint_label.render import render_build

PHOTOS = 16  # 512 x 384, of 120 images each: those of KADID-10k but for the denoiser, which alone takes as long as ten
ROUNDS = 2


def measure_rendering(work: Path) -> dict:
    """Compare a core that renders with one that only decodes and encodes the same images.

    The limit is what the file format costs: each image is read, decoded, encoded and written again.
    """
    torch.set_num_threads(1)
    (work / "limit").mkdir()
    photo = read_photo(make_photos(work / "limit", 1)[0])
    seconds: dict[str, dict[str, list[float]]] = {}
    for _round in range(ROUNDS):
        prepared = prepare(photo.pixels)  # once for all, as `render` does
        for name in DISTORTIONS:
            found = seconds.setdefault(name, {"render": [], "limit": []})
            for level in range(1, 6):
                file = work / "limit" / f"{name}_{level}.png"
                started = time.perf_counter()
                content = encode_image(distort(prepared, name, level, seed=3), ".png")
                write_atomic(file, content)
                found["render"].append(time.perf_counter() - started)
                started = time.perf_counter()
                pixels = np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))
                write_atomic(file, encode_image(pixels, ".png"))
                found["limit"].append(time.perf_counter() - started)
    ratios = {name: sum(found["limit"]) / sum(found["render"]) for name, found in seconds.items()}
    together = {kind: sum(sum(found[kind]) for found in seconds.values()) for kind in ("render", "limit")}
    count = ROUNDS * 5 * len(DISTORTIONS)
    return {
        "images_per_second": round(count / together["render"], 1),
        "limit_images_per_second": round(count / together["limit"], 1),
        "ratio_averaged_over_distortions": round(statistics.mean(ratios.values()), 3),
        "ratio_averaged_at_least": 0.5,
        "ratio_of_all_images_together": round(together["limit"] / together["render"], 3),
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
    }


def measure_engines(work: Path) -> dict:
    """Render and label with one worker, with two, and on a Ray cluster of two nodes with a core each."""
    names = [name for name in DISTORTIONS if name != "denoise"]
    make_source(work / "rated", 8)
    (work / "refs").mkdir()
    make_photos(work / "refs", PHOTOS)
    config = BuildConfig(
        refs=work / "refs",
        out=work / "build",
        source="custom",
        source_dir=work / "rated",
        embedder="statistics",
        transfer="top1",
        workers=0,
    )
    build(config)
    with _two_nodes() as address:
        seconds: dict[str, list[float]] = {"one worker": [], "two workers": [], "ray": []}
        for _round in range(ROUNDS):
            seconds["one worker"].append(_render(config.out, names, 1))
            seconds["two workers"].append(_render(config.out, names, 2))
            with on_ray(address):
                seconds["ray"].append(_render(config.out, names, 2))
    median = {kind: statistics.median(found) for kind, found in seconds.items()}
    return {
        "images": PHOTOS * 5 * len(names),
        "seconds": {kind: [round(one, 1) for one in found] for kind, found in seconds.items()},
        "two_workers_against_one": round(median["one worker"] / median["two workers"], 2),
        "two_workers_against_one_at_least": 1.8,
        "ray_against_two_workers": round(median["ray"] / median["two workers"], 2),
        "ray_against_two_workers_at_most": 1.25,
    }


def _render(out: Path, names: list[str], workers: int) -> float:
    """Render all images anew: seconds."""
    from glint_label.manifest import Selection

    for file in out.rglob("shards/*/*.png"):
        file.unlink()
    started = time.perf_counter()
    made = render_build(out, selection=Selection(distortions=names), workers=workers)
    seconds = time.perf_counter() - started
    if made.failures:
        raise SystemExit(f"{made.failures[0]}")
    return seconds


@contextmanager
def _two_nodes() -> Iterator[str]:
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (as Ray spells it)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()
