"""What a build would cost: a few photos are opened, embedded and, if pixels are asked for, distorted."""

import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from glint_label.build.plan import Plan
from glint_label.errors import ImageError
from glint_label.images import Photo, encode_image, read_photo
from glint_label.names import Below
from glint_label.storage import is_stored

_SAMPLE = 8
# Bytes of a row of metadata.csv without the reference's name, which it holds once, and the anchor's.
_ROW_BYTES = 130
# Measured by benchmarks/scale.py: a row labelled and written, near-duplicates searched, on one core.
_ROW_SECONDS = 5e-6


def estimate(plan: Plan) -> dict[str, Any]:
    """Time a sample of the photos and scale it up.

    Args:
        plan: The build.

    Returns:
        references, shards, conditions, rows, table_bytes, pixel_bytes, seconds, workers, free_bytes, out.
    """
    config = plan.config
    references = len(plan.names)
    picked = list(Below(plan.refs, plan.names[:: max(1, references // _SAMPLE)][:_SAMPLE]))
    photos: list[Photo] = []
    prepared, paths = [], []
    with _as_a_worker(config.workers):
        plan.embedder.preparation(np.zeros((64, 64, 3), np.uint8))  # the first call loads its network, once a worker
        started = time.perf_counter()
        for path in picked:
            try:
                photo = read_photo(path, size=config.size, longest=config.longest_side)
            except ImageError:
                continue
            photos.append(photo)
            prepared.append(plan.embedder.preparation(photo.pixels))
            paths.append(path)
        opened = (time.perf_counter() - started) / len(picked)
    started = time.perf_counter()
    plan.embedder.embed(prepared, paths)
    embedded = (time.perf_counter() - started) / max(1, len(paths))
    rows = references * len(plan.conditions)
    processes = max(1, config.workers)
    seconds = references * max(opened / processes, embedded) + rows * _ROW_SECONDS / processes
    pixel_bytes = 0.0
    with _as_a_worker(config.workers):
        if photos and plan.uses_features:
            seconds += references * _sample_features(plan, photos[0]) / processes
        if config.images != "none" and photos:
            seconds_an_image, bytes_an_image = _sample_pixels(plan, photos[0])
            pixel_bytes = bytes_an_image * rows
            seconds += seconds_an_image * rows / processes
    name_bytes = float(np.mean([len(name.encode()) for name in plan.names]))
    vector_bytes = 4 * plan.embedder.dimensions
    return {
        "references": references,
        "shards": len(plan.shards),
        "conditions": len(plan.conditions),
        "rows": rows,
        "table_bytes": rows * (_ROW_BYTES + name_bytes) + references * (vector_bytes + 500),
        "pixel_bytes": pixel_bytes,
        "seconds": seconds,
        "workers": config.workers,
        "free_bytes": _free_bytes(config.out),
        "out": str(config.out),
    }


def _as_a_worker(workers: int) -> AbstractContextManager[object]:
    """Take one thread, as each worker does: threads that wait for a busy core take many times as long."""
    return threadpool_limits(1) if workers else nullcontext()


def _sample_pixels(plan: Plan, photo: Photo) -> tuple[float, float]:
    """Distort one photo in every way at its middle level: seconds and bytes an image."""
    from glint_label.distortions import distort

    distortions = dict(plan.conditions)
    started = time.perf_counter()
    size = 0
    for name in distortions:
        size += len(encode_image(distort(photo.pixels, name, 3), plan.config.suffix))
    return (time.perf_counter() - started) / len(distortions), size / len(distortions)


def _sample_features(plan: Plan, photo: Photo) -> float:
    """Measure one photo's middle levels and scale up to all conditions: seconds a photo."""
    from glint_label.visibility.features import measure_features

    conditions = [condition for condition in plan.conditions if condition[1] == 3] or plan.conditions[:1]
    started = time.perf_counter()
    measure_features(photo.pixels, conditions, [0] * len(conditions))
    return (time.perf_counter() - started) * len(plan.conditions) / len(conditions)


def _free_bytes(folder: Path) -> int | None:
    if is_stored(folder):
        return None
    existing = next((path for path in (folder, *folder.resolve().parents) if path.is_dir()), None)
    return None if existing is None else shutil.disk_usage(existing).free
