"""What is measured on a source's anchors: vectors, and the visibility of every distortion, which is kept for later."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from glint_label.embed import Embedder
from glint_label.engines import run_local
from glint_label.errors import OutputError, SourceError
from glint_label.files import sha256_of, write_atomic
from glint_label.images import read_photo
from glint_label.manifest import recipe_seeds
from glint_label.progress import MakeProgress, no_progress
from glint_label.provenance import codec_versions, library_versions
from glint_label.shards import Measured, OpenPhotos, Request, Shard, measure
from glint_label.sources import Cell, Source
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS

_MANY = 200  # anchors; processes take longer to start than so many to open
_LOG = logging.getLogger(__name__)
ANCHOR_SEED = 0  # what the raters' random positions were is not published: any one draw stands for them


def embed_anchors(source: Source, embedder: Embedder, workers: int, progress: MakeProgress = no_progress) -> Measured:
    """Open and embed the anchors, all of which must open.

    Raises:
        SourceError: Names the anchor that does not open.
    """
    shard = Shard(0, tuple(source.anchors), tuple(source.anchors.values()))
    parts = [Shard(0, (name,), (path,)) for name, path in source.anchors.items()]
    opened: dict[str, Any] = {}
    task = OpenPhotos(embedder.preparation)
    with (
        closing(progress("anchors", len(parts), 0)) as bar,
        closing(run_local(task, map(Request, parts), workers if len(parts) > _MANY else 0)) as results,
    ):
        for request, (photo,) in results:
            if photo is not None and photo.failure is not None:
                raise SourceError(
                    f"{request.shard.paths[0]}: the anchor does not open ({photo.failure[1]}); restore the file, "
                    "or remove it and go on without it with --allow-missing-anchors"
                )
            opened[request.shard.names[0]] = photo
            bar.update(1)
    return measure(shard, [opened[name] for name in shard.names], embedder, None)


def anchor_visibility(
    source: Source, cells: Sequence[Cell], workers: int, progress: MakeProgress = no_progress
) -> NDArray[np.float16]:
    """Measure the anchors' visibility features, or find them in the user's cache.

    Returns:
        (anchors, cells, features), NaN where a distortion is not measured.
    """
    task = MeasureAnchor(tuple(cells))
    kept = {path: _read(_place(path, task)) for path in source.anchors.values()}
    waiting = [path for path, features in kept.items() if features is None]
    if waiting:
        with (
            closing(progress("visibility of anchors", len(kept), len(kept) - len(waiting))) as bar,
            closing(run_local(task, waiting, workers)) as results,
        ):
            for path, features in results:
                _keep(_place(path, task), features)
                kept[path] = features
                bar.update(1)
    return np.stack([np.asarray(kept[path], dtype=np.float16) for path in source.anchors.values()])


def _keep(place: Path, features: NDArray[np.float16]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, features)
    try:
        write_atomic(place, buffer.getvalue())
    except OutputError as error:
        _LOG.warning("%s: not kept for the next time; set XDG_CACHE_HOME to a folder that can be written", error)


@dataclass(frozen=True)
class MeasureAnchor:
    """The workers' part: the visibility features of one anchor."""

    cells: tuple[Cell, ...]

    def __call__(self, path: Path) -> NDArray[np.float16]:
        """Measure the anchor in a file."""
        from glint_label.visibility import measure_visibility

        return measure_visibility(read_photo(path).pixels, self.cells, cell_seeds(path.name, ANCHOR_SEED, self.cells))


def cell_seeds(ref_file_name: str, seed: int, cells: Sequence[Cell]) -> list[int]:
    """Draw the recipe seeds of one photo's cells; each belongs to (KADID-10k's number, level)."""
    seeds = recipe_seeds(ref_file_name, seed, len(DISTORTIONS) * len(LEVELS)).tolist()
    return [seeds[DISTORTIONS.index(name) * len(LEVELS) + level - 1] for name, level in cells]


def _place(anchor: Path, task: MeasureAnchor) -> Path:
    versions = json.dumps([library_versions(), codec_versions()])
    recipe = f"{sha256_of(anchor)} {anchor.name} {task.cells} {features_code()} {versions}"
    key = hashlib.sha256(recipe.encode()).hexdigest()
    return user_cache_path("glint-label") / "visibility" / f"{key[:32]}.npy"


@cache
def features_code() -> str:
    """Hash the code that makes the features, hex: a kept number must not outlive it."""
    package = files("glint_label")
    names = ("visibility.py", "images.py", "manifest.py")
    sources = [*package.joinpath("distortions").iterdir(), *(package.joinpath(name) for name in names)]
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda file: file.name):
        if source.is_file():
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> NDArray[np.float16] | None:
    try:
        features: NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    from glint_label.visibility import FEATURES

    whole = features.dtype == np.float16 and features.ndim == 2 and features.shape[1] == len(FEATURES)
    return features if whole else None
