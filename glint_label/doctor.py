"""Is this machine ready? Versions, codecs, devices, weights, sources, disk; what to do about each problem."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import glint_label
from glint_label.efficientnet import MODEL as EFFICIENTNET
from glint_label.efficientnet import installed_weights
from glint_label.embed import DEFAULT_MODEL
from glint_label.embed.clip import CLIP_FILES, DEFAULT_REPOSITORY
from glint_label.embed.resnet import HUB_REPOSITORY
from glint_label.embed.resnet import MODEL as RESNET
from glint_label.engines import available_cores, workers_start
from glint_label.errors import SourceError, WeightsError, WorkerError
from glint_label.provenance import codec_versions, library_versions
from glint_label.sources import SOURCES, how_to_get, load_source, source_places
from glint_label.weights import HUB_FILES, cached_weights

_ROOM = 5e9  # bytes; the weights, and tables of a few million rows

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where Linux has it; nothing is written there)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What.
        state: `ok`, `note` (something optional is absent) or `problem`.
        detail: What was found.
        remedy: What to do about it; empty when nothing is to be done.
    """

    topic: str
    state: str
    detail: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Look at everything; nothing is downloaded or written."""
    return [*_libraries(), *_codecs(), _distortions(), _device(), _workers(), *_weights(), *_sources(), _disk()]


def _libraries() -> Iterator[Finding]:
    yield Finding("glint-label", "ok", glint_label.__version__)
    for name, version in library_versions().items():
        if version is None:
            yield Finding(name, "problem", "not installed", f"pip install {name}")
        else:
            yield Finding(name, "ok", version)


def _codecs() -> Iterator[Finding]:
    for name, version in codec_versions().items():
        if version is None:
            remedy = "pip install --force-reinstall pillow (its wheels carry every codec)"
            yield Finding(f"{name} codec", "problem", "missing from Pillow", remedy)
        else:
            yield Finding(f"{name} codec", "ok", version)


def _distortions() -> Finding:
    from glint_label.distortions import DISTORTIONS

    return Finding("distortions", "ok", f"{len(DISTORTIONS)}: {', '.join(DISTORTIONS)}")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", "ok", f"cuda ({torch.cuda.get_device_name(0)}), {available_cores()} CPU cores")
    remedy = "embedding is slower without a GPU; nothing else changes"
    return Finding("device", "note", f"no GPU, {available_cores()} CPU cores", remedy)


def _workers() -> Finding:
    try:
        with workers_start():
            pass
    except WorkerError as error:
        return Finding("workers", "problem", str(error), "mount a writable /dev/shm, or train with --workers 0")
    if not SHARED_MEMORY.is_dir():
        return Finding("workers", "ok", "worker processes can be started")
    shared = shutil.disk_usage(SHARED_MEMORY)
    detail = f"{shared.total / 1e6:,.0f} MB of shared memory, {shared.free / 1e6:,.0f} MB free; batches do not need it"
    return Finding("workers", "ok", detail)


def _weights() -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    first_use = "it is fetched on first use"
    networks = {
        f"CLIP {DEFAULT_MODEL}": (DEFAULT_REPOSITORY, CLIP_FILES, f"{first_use}, or with `glint-label fetch clip`"),
        f"ResNet-101 {RESNET}": (HUB_REPOSITORY, HUB_FILES, first_use),
    }
    for topic, (repository, files, how) in networks.items():
        found = cached_weights(repository, files)
        if found is not None:
            yield Finding(topic, "ok", str(found))
        else:
            remedy = f"{how}; offline, pass a local file, or --embedder packaged, which needs none"
            yield Finding(topic, "note", f"{repository}: not in {HF_HUB_CACHE}", remedy)
    topic = f"EfficientNet {EFFICIENTNET}"
    try:
        yield Finding(topic, "ok", str(installed_weights()))
    except WeightsError as error:
        detail, _, remedy = str(error).rpartition("; ")
        yield Finding(topic, "problem", detail, remedy)


def _sources() -> Iterator[Finding]:
    for name in SOURCES[:-1]:
        place = next((place for place in source_places(name) if place.is_dir()), None)
        if place is None:
            tried = ", ".join(str(place) for place in source_places(name))
            yield Finding(name, "note", f"not in {tried}", how_to_get(name))
            continue
        try:
            source = load_source(name, place)
        except SourceError as error:
            yield Finding(name, "problem", str(error), "restore the dataset's official files")
        else:
            yield Finding(name, "ok", f"{place}: {len(source.anchors)} anchors, {len(source.ratings)} ratings")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / 1e9:.0f} GB free in {Path.cwd()}"
    if free < _ROOM:
        return Finding("disk", "problem", detail, "make room, or give --out a folder on another disk")
    return Finding("disk", "ok", detail)
