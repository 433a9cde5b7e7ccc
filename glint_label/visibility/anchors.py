"""What is measured of a source's anchors: vectors, hashes, and features, which are kept in the user's cache."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from glint_label.embed import DecodedPhoto, EmbeddedPhotos, Embedder, embed_photos
from glint_label.engines import run_tasks
from glint_label.errors import OutputError, SourceError, StateError
from glint_label.files import read_arrays, sha256_of, write_arrays
from glint_label.progress import MakeProgress, no_progress
from glint_label.provenance import codec_versions, library_versions
from glint_label.sources import Condition, Source
from glint_label.visibility.decode import DecodePhotos, DecodeTask

_MANY = 200  # anchors; processes take longer to start than so many to decode
_LOG = logging.getLogger(__name__)


def measure_anchors(
    source: Source,
    embedder: Embedder,
    conditions: Sequence[Condition] = (),
    seeds: Mapping[str, Sequence[int]] | None = None,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> tuple[EmbeddedPhotos, NDArray[np.float16] | None]:
    """Decode each anchor once, embed it, and measure its features or find them in the cache.

    Args:
        source: All its anchors must open.
        embedder: Its network runs in this process.
        conditions: What the features are measured in.
        seeds: Anchor -> seeds of its recipes, one a condition; None where no features are wanted.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar.

    Returns:
        The anchors, and (anchors, conditions, features) of every level, NaN where a distortion is not measured; None
        if not wanted.

    Raises:
        SourceError: Names the anchor that does not open.
    """
    wanted = {name: tuple(seeds[name]) if seeds is not None else () for name in source.anchors}
    places = {name: _place(source.anchors[name], conditions, of) for name, of in wanted.items() if of}
    features = {name: _read(place) for name, place in places.items()}
    tasks = [
        DecodeTask(name, path, wanted[name] if features.get(name) is None else ())
        for name, path in source.anchors.items()
    ]
    measured = any(task.seeds for task in tasks)
    processes = workers if measured or len(tasks) > _MANY else 0
    decoded: dict[str, DecodedPhoto] = {}
    what = "features of anchors" if measured else "anchors"
    task = DecodePhotos(embedder.preparation, tuple(conditions), every_level=True)
    with run_tasks(task, tasks, processes, progress, what, len(tasks)) as results:
        for item, photo in results:
            if photo.failure is not None:
                raise SourceError(
                    f"{item.path}: the anchor does not open ({photo.failure[1]}); restore the file, "
                    "or remove it and continue without it with --allow-missing-anchors"
                )
            if photo.features is not None:
                _keep(places[item.name], photo.features)
                features[item.name] = photo.features
            decoded[item.name] = photo
    names = tuple(source.anchors)
    photos = embed_photos(names, list(source.anchors.values()), [decoded[name] for name in names], embedder)
    if not places:
        return photos, None
    return photos, np.stack([np.asarray(features[name], dtype=np.float16) for name in names])


def features_version() -> str:
    """Name the versions of what the features depend on: a kept number must not outlive the code that made it."""
    from glint_label import distortions, images
    from glint_label.visibility import features

    return f"features {features.VERSION}, distortions {distortions.VERSION}, decoding {images.VERSION}"


def _place(anchor: Path, conditions: Sequence[Condition], seeds: Sequence[int]) -> Path:
    made_by = json.dumps([features_version(), library_versions(), codec_versions()])
    recipe = f"{sha256_of(anchor)} {list(conditions)} {list(seeds)} {made_by}"
    key = hashlib.sha256(recipe.encode()).hexdigest()
    return user_cache_path("glint-label") / "features" / f"{key[:32]}.npz"


def _keep(place: Path, features: NDArray[np.float16]) -> None:
    try:
        write_arrays(place, features=features)
    except OutputError as error:
        _LOG.warning("%s: not kept for the next time; set XDG_CACHE_HOME to a folder that can be written", error)


def _read(path: Path) -> NDArray[np.float16] | None:
    """Read kept features; an .npz holds a checksum, so that none that a disk has damaged are taken."""
    try:
        (features,) = read_arrays(path, "features")
    except StateError:
        return None
    from glint_label.visibility.features import FEATURES

    whole = features.dtype == np.float16 and features.ndim == 2 and features.shape[1] == len(FEATURES)
    return features if whole else None
