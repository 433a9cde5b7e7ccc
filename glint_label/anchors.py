"""What is measured on a source's anchors: vectors, and the visibility of every distortion, which is kept for later."""

import hashlib
import io
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
from glint_label.errors import SourceError
from glint_label.files import sha256_of, write_atomic
from glint_label.images import read_photo
from glint_label.manifest import recipe_seeds
from glint_label.progress import MakeProgress, no_progress
from glint_label.shards import Measured, OpenPhotos, Request, Shard, measure
from glint_label.sources import Cell, Source
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS
from glint_label.visibility import FEATURES, measure_visibility

ANCHOR_SEED = 0  # what the raters' random positions were is not published: any one draw stands for them


def embed_anchors(source: Source, embedder: Embedder, workers: int, progress: MakeProgress = no_progress) -> Measured:
    """Open and embed the anchors, all of which must open.

    Raises:
        SourceError: Names the anchor that does not open.
    """
    shard = Shard(0, tuple(source.anchors), tuple(source.anchors.values()))
    parts = [Shard(0, (name,), (path,)) for name, path in source.anchors.items()]
    opened: dict[str, Any] = {}
    with (
        closing(progress("anchors", len(parts), 0)) as bar,
        closing(run_local(OpenPhotos(embedder.preparation), map(Request, parts), workers)) as results,
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
    names = list(source.anchors)
    kept = {name: _read(_place(path, task)) for name, path in source.anchors.items()}
    waiting = [path for name, path in source.anchors.items() if kept[name] is None]
    if waiting:
        owners = {path: name for name, path in source.anchors.items()}
        with (
            closing(progress("visibility of anchors", len(names), len(names) - len(waiting))) as bar,
            closing(run_local(task, waiting, workers)) as results,
        ):
            for path, features in results:
                buffer = io.BytesIO()
                np.save(buffer, features)
                write_atomic(_place(path, task), buffer.getvalue())
                kept[owners[path]] = features
                bar.update(1)
    return np.stack([np.asarray(kept[name], dtype=np.float16) for name in names])


@dataclass(frozen=True)
class MeasureAnchor:
    """The workers' part: the visibility features of one anchor."""

    cells: tuple[Cell, ...]

    def __call__(self, path: Path) -> NDArray[np.float16]:
        """Measure the anchor in a file."""
        return measure_visibility(read_photo(path).pixels, self.cells, cell_seeds(path.name, ANCHOR_SEED, self.cells))


def cell_seeds(ref_file_name: str, seed: int, cells: Sequence[Cell]) -> list[int]:
    """Draw the recipe seeds of one photo's cells; each belongs to (KADID-10k's number, level)."""
    seeds = recipe_seeds(ref_file_name, seed, len(DISTORTIONS) * len(LEVELS)).tolist()
    return [seeds[DISTORTIONS.index(name) * len(LEVELS) + level - 1] for name, level in cells]


def _place(anchor: Path, task: MeasureAnchor) -> Path:
    recipe = f"{sha256_of(anchor)} {anchor.name} {task.cells} {_code()}"
    key = hashlib.sha256(recipe.encode()).hexdigest()
    return user_cache_path("glint-label") / "visibility" / f"{key[:32]}.npy"


@cache
def _code() -> str:
    """Hash the code that makes the features: a kept number must not outlive it."""
    package = files("glint_label")
    sources = [*package.joinpath("distortions").iterdir(), package.joinpath("visibility.py")]
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
    whole = features.dtype == np.float16 and features.ndim == 2 and features.shape[1] == len(FEATURES)
    return features if whole else None
