"""A build that has been checked and not begun."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from glint_label.build.config import BuildConfig, settings_of
from glint_label.duplicates.watched import Watched, watched_pictures
from glint_label.embed import Embedder, make_embedder
from glint_label.errors import SourceError, UsageError
from glint_label.listing import Listing, find_images
from glint_label.manifest import Shard, cut_shards, digest_of
from glint_label.names import Below
from glint_label.sources import (
    Condition,
    Source,
    can_be_made,
    find_source_dir,
    how_to_get,
    load_source,
    not_found,
)
from glint_label.storage import lies_in
from glint_label.transfer import make_transfer
from glint_label.transfer.packaged import EMBEDDER, SOURCE, TRANSFERS, PackagedModel, packaged_path, read_model
from glint_label.visibility import features_version

DEFAULT_EMBEDDER = "clip"  # where the ratings are at hand


@dataclass(frozen=True)
class Plan:
    """A build that has been checked and not begun: what every stage needs.

    Attributes:
        config: As asked for.
        source: Without the anchors held out.
        conditions: (distortion, level) of each label of a reference.
        left_out: Distortions of the source that cannot be made here.
        refs: The references' root.
        listing: The references, and what is passed over among them.
        names: Of the references that are labelled, sorted.
        shards: The references, cut.
        embedder: Its weights loaded.
        settings: What determines the output's bytes.
        watched: Pictures that references are compared with, besides the anchors.
        packaged: The packaged label model, where it labels.
    """

    config: BuildConfig
    source: Source
    conditions: list[Condition]
    left_out: tuple[str, ...]
    refs: Path
    listing: Listing
    names: list[str]
    shards: list[Shard]
    embedder: Embedder
    settings: dict[str, Any]
    watched: tuple[Watched, ...] = ()
    packaged: PackagedModel | None = None

    @property
    def digest(self) -> str:
        """Hash of everything that determines the output's bytes."""
        return digest_of(self.settings)

    @property
    def uses_features(self) -> bool:
        """Whether the transfer wants full-reference features."""
        return make_transfer(self.config.transfer, self.config.k).uses_features

    @property
    def labelled_by(self) -> str:
        """Say in a line what the labels are made from: the first thing that a build tells."""
        if self.packaged is None:
            return (
                f"Labels from the ratings in {self.source.label_file} "
                f"({len(self.source.anchors)} anchors, embedder {self.embedder.name})"
            )
        return (
            f"Labels from the packaged model of {self.config.source}'s ratings (embedder {self.embedder.name}): "
            f"the dataset is not on this machine. With it (`glint-label fetch {self.config.source}`), CLIP and other "
            "transfers can be used and anchors held out"
        )


def make_plan(config: BuildConfig) -> Plan:
    """Read the source, list the photos and load the embedder; nothing is written.

    Raises:
        GlintError: The source, the photos or the weights cannot be used.
    """
    packaged = _packaged_model(config)
    if packaged is None:
        source = load_source(
            config.source,
            config.source_dir,
            allow_missing_anchors=config.allow_missing_anchors,
            mos_range=config.mos_range,
            higher_is_worse=config.higher_is_worse,
        )
    else:
        source = packaged.source()
    watched = watched_pictures(source, config.exclude_anchors, config.exclude_near)
    if config.exclude_anchors:
        source = source.without_anchors(config.exclude_anchors)
    conditions, left_out = makeable_conditions(source) if packaged is None else (packaged.conditions, ())
    places = config.refs if isinstance(config.refs, tuple) else (config.refs,)
    for place in places:
        if place.is_dir() and lies_in(config.out, place):
            raise UsageError(f"--out {config.out} lies inside --refs {place}: its images would be taken for photos")
    refs, listing = find_images(places)
    names = listing.names[: config.limit]
    paths = Below(refs, names)
    anchors = list(source.anchors.values()) if packaged is None else []
    embedder = make_embedder(
        config.embedder or (DEFAULT_EMBEDDER if packaged is None else EMBEDDER),
        chain(paths, anchors, (one.path for one in watched)),
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
        packaged=packaged is not None,
        features=features_version() if make_transfer(config.transfer, config.k).uses_features else None,
    )
    shards = cut_shards(names, paths)
    return Plan(
        config, source, conditions, left_out, refs, listing, names, shards, embedder, settings, watched, packaged
    )


def _packaged_model(config: BuildConfig) -> PackagedModel | None:
    """Take the packaged label model, where it can do what was asked and the dataset is not there.

    Raises:
        SourceError: It cannot do what was asked.
    """
    asked = config.source_dir == packaged_path()
    there = config.source_dir is not None or find_source_dir(config.source) is not None
    if config.source != SOURCE or (there and not asked):
        return None
    if config.embedder not in (None, EMBEDDER):
        raise SourceError(
            f"{not_found(SOURCE)}, and the packaged label model knows no --embedder but {EMBEDDER}; "
            f"leave --embedder out, {how_to_get(SOURCE)}"
        )
    if config.transfer not in TRANSFERS:
        raise SourceError(
            f"{not_found(SOURCE)}, and the packaged label model knows no --transfer but {' and '.join(TRANSFERS)}; "
            f"use one of these, {how_to_get(SOURCE)}"
        )
    if config.exclude_anchors:
        raise SourceError(
            f"--exclude-anchors needs the ratings of {SOURCE}, which are not here (the packaged label model "
            f"has learnt from all its anchors); {how_to_get(SOURCE)}"
        )
    return read_model(packaged_path())


def makeable_conditions(source: Source) -> tuple[list[Condition], tuple[str, ...]]:
    """Split a source's conditions into those that can be made here and the names of the other distortions.

    Raises:
        SourceError: None can be made.
    """
    conditions = [condition for condition in source.conditions if can_be_made(condition)]
    makeable = {name for name, _ in conditions}
    left_out = tuple(name for name in source.distortions if name not in makeable)
    if not conditions:
        raise SourceError(
            f"{source.name}: none of its distortions ({left_out[0]}, ...) can be made here, so nothing can be built "
            "from it; `glint-label doctor` lists those that can"
        )
    return conditions, left_out
