"""A build that has been checked and not begun."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glint_label.config import BuildConfig, digest_of, settings_of
from glint_label.embed import Embedder, make_embedder
from glint_label.errors import SourceError, UsageError
from glint_label.images import list_images
from glint_label.shards import Shard, cut_shards, make_shards
from glint_label.sources import Cell, Source, load_source
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS
from glint_label.watched import Watched, watched_pictures


@dataclass(frozen=True)
class Plan:
    """A build that has been checked and not begun: what every stage needs."""

    config: BuildConfig
    source: Source
    cells: list[Cell]
    left_out: tuple[str, ...]
    names: list[str]
    shards: list[Shard]
    embedder: Embedder
    settings: dict[str, Any]
    watched: tuple[Watched, ...] = ()

    @property
    def digest(self) -> str:
        """Hash of everything that determines the output's bytes."""
        return digest_of(self.settings)

    @property
    def watched_shards(self) -> list[Shard]:
        """The watched pictures, under the value that names them."""
        return cut_shards([one.value for one in self.watched], [one.path for one in self.watched])

    @property
    def watched_folder(self) -> Path:
        """Where their vectors and fingerprints are kept."""
        return self.config.out / "watched"


def make_plan(config: BuildConfig) -> Plan:
    """Read the source, list the photos and load the embedder; nothing is written.

    Raises:
        GlintError: The source, the photos or the weights cannot be used.
    """
    source = load_source(
        config.source,
        config.source_dir,
        allow_missing_anchors=config.allow_missing_anchors,
        mos_range=config.mos_range,
    )
    watched = watched_pictures(source, config.exclude_anchors, config.exclude_near)
    if config.exclude_anchors:
        source = source.without_anchors(config.exclude_anchors)
    cells, left_out = makeable_cells(source)
    refs = config.refs.resolve()
    if config.out.resolve().is_relative_to(refs):
        raise UsageError(f"--out {config.out} lies inside --refs {config.refs}: its images would be taken for photos")
    names = list_images(refs)[: config.limit]
    anchors = list(source.anchors.values())
    embedder = make_embedder(
        config.embedder,
        [*(refs / name for name in names), *anchors, *(one.path for one in watched)],
        clip_model=config.clip_model,
        clip_weights=config.clip_weights,
        resnet_weights=config.resnet_weights,
        device=config.device,
    )
    settings = settings_of(config, names, source, embedder.describe(), embedder.near_duplicate, watched)
    return Plan(config, source, cells, left_out, names, make_shards(names, refs), embedder, settings, watched)


def makeable_cells(source: Source) -> tuple[list[Cell], tuple[str, ...]]:
    """Split a source's (distortion, level) cells into those that can be made here and the other distortions' names.

    Raises:
        SourceError: None can be made.
    """
    cells = [(name, level) for name, level in source.cells if name in DISTORTIONS and level in LEVELS]
    makeable = {name for name, _ in cells}
    left_out = tuple(name for name in source.distortions if name not in makeable)
    if not cells:
        raise SourceError(
            f"{source.name}: none of its distortions ({left_out[0]}, ...) can be made here, so nothing can be built "
            "from it; `glint-label doctor` lists those that can"
        )
    return cells, left_out
