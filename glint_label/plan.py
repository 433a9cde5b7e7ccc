"""A build that has been checked and not begun."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glint_label.anchors import features_code
from glint_label.config import BuildConfig, digest_of, settings_of
from glint_label.embed import Embedder, make_embedder
from glint_label.errors import SourceError, UsageError
from glint_label.images import list_images
from glint_label.label_model import EMBEDDER as SHIPPED_EMBEDDER
from glint_label.label_model import SOURCE as SHIPPED_SOURCE
from glint_label.label_model import TRANSFERS as SHIPPED_TRANSFERS
from glint_label.label_model import ShippedModel, read_model, shipped_path
from glint_label.shards import Shard, cut_shards, make_shards
from glint_label.sources import Cell, Source, load_source, source_places
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS
from glint_label.transfer import make_transfer
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
    shipped: ShippedModel | None = None

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
    shipped = _shipped_model(config)
    if shipped is None:
        source = load_source(
            config.source,
            config.source_dir,
            allow_missing_anchors=config.allow_missing_anchors,
            mos_range=config.mos_range,
        )
    else:
        source = shipped.source()
    watched = watched_pictures(source, config.exclude_anchors, config.exclude_near)
    if config.exclude_anchors:
        source = source.without_anchors(config.exclude_anchors)
    cells, left_out = makeable_cells(source) if shipped is None else (shipped.cells, ())
    refs = config.refs.resolve()
    if config.out.resolve().is_relative_to(refs):
        raise UsageError(f"--out {config.out} lies inside --refs {config.refs}: its images would be taken for photos")
    names = list_images(refs)[: config.limit]
    anchors = list(source.anchors.values()) if shipped is None else []
    embedder = make_embedder(
        config.embedder,
        [*(refs / name for name in names), *anchors, *(one.path for one in watched)],
        clip_model=config.clip_model,
        clip_weights=config.clip_weights,
        resnet_weights=config.resnet_weights,
        device=config.device,
    )
    settings = settings_of(
        config,
        names,
        source,
        embedder.describe(),
        embedder.near_duplicate,
        watched,
        shipped=shipped is not None,
        features_sha256=features_code() if make_transfer(config.transfer, config.k).uses_visibility else None,
    )
    shards = make_shards(names, refs)
    return Plan(config, source, cells, left_out, names, shards, embedder, settings, watched, shipped)


def _shipped_model(config: BuildConfig) -> ShippedModel | None:
    """Take the model that ships with the package, where it can do what was asked and the dataset is not there.

    Raises:
        SourceError: It could not leave out what was asked to be left out.
    """
    asked = config.source_dir == shipped_path()
    there = config.source_dir is not None or any(place.is_dir() for place in source_places(config.source))
    fits = config.source == SHIPPED_SOURCE and config.embedder == SHIPPED_EMBEDDER
    if (there and not asked) or not fits or config.transfer not in SHIPPED_TRANSFERS:
        return None
    if config.exclude_anchors:
        raise SourceError(
            f"--exclude-anchors needs the ratings of {config.source}, which are not here (the model that ships with "
            "glint-label has learnt from all its anchors); pass the dataset with --source-dir"
        )
    return read_model(shipped_path())


def makeable_cells(source: Source) -> tuple[list[Cell], tuple[str, ...]]:
    """Split a source's (distortion, level) cells into those that can be made here and the other distortions' names.

    Raises:
        SourceError: None can be made.
    """
    cells = [cell for cell in source.cells if can_be_made(cell)]
    makeable = {name for name, _ in cells}
    left_out = tuple(name for name in source.distortions if name not in makeable)
    if not cells:
        raise SourceError(
            f"{source.name}: none of its distortions ({left_out[0]}, ...) can be made here, so nothing can be built "
            "from it; `glint-label doctor` lists those that can"
        )
    return cells, left_out


def can_be_made(cell: Cell) -> bool:
    """Tell whether a (distortion, level) is one of KADID-10k's, so that its pixels can be made here."""
    name, level = cell
    return name in DISTORTIONS and level in LEVELS
