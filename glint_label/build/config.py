"""The settings of a build, and those of them that determine the output's bytes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from glint_label.embed import DEFAULT_MODEL, check_embedder_name
from glint_label.errors import UsageError
from glint_label.images import MAX_SIDES, MIN_SIDE, SEEN
from glint_label.settings import Place, settings
from glint_label.timeouts import TIME_LIMIT, time_limit

if TYPE_CHECKING:
    from glint_label.duplicates.watched import Watched
    from glint_label.sources import Source

PACKAGED_RATINGS = "packaged label model"  # where a build's settings say what its labels are made from

Side = Annotated[int, Field(ge=MIN_SIDE)]


def _check_landscape(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] < size[1]:
        raise UsageError(f"--size {size[0]}x{size[1]}: must be wider than tall; for upright photos it is turned")
    return size


@settings()
class BuildConfig:
    """Everything `glint-label build` can be told.

    `out`, `workers`, `device` and `photo_timeout` do not change the output and are not part of its hash.

    Raises:
        UsageError: A name or number that does not exist or does not fit.
    """

    refs: Place | tuple[Place, ...]
    out: Place
    source: Literal["kadid10k", "tid2013", "custom"] = "kadid10k"
    source_dir: Place | None = None
    allow_missing_anchors: bool = False
    exclude_anchors: tuple[str, ...] = ()
    exclude_near: Place | None = None
    mos_range: tuple[float, float] | None = None
    higher_is_worse: bool = False
    # None: clip where the ratings are at hand, that of the packaged label model where it labels.
    embedder: Annotated[str, AfterValidator(check_embedder_name)] | None = None
    clip_model: str = DEFAULT_MODEL
    clip_weights: Path | None = None
    resnet_weights: Path | None = None
    size: Annotated[tuple[Side, Side], AfterValidator(_check_landscape)] | None = SEEN
    transfer: Literal["top1", "knn", "syndr", "cell-mean", "gp-content", "gp"] = "gp"
    k: Annotated[int, Field(ge=1)] = 10
    min_similarity: float | None = None
    images: Literal["none", "png", "webp"] = "none"
    seed: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1)] | None = None
    max_failures: Annotated[int, Field(ge=0)] | None = None
    workers: Annotated[int, Field(ge=0)] = 1
    device: str = "auto"
    photo_timeout: Annotated[float, Field(gt=0)] = TIME_LIMIT

    @property
    def seconds_a_photo(self) -> float:
        """Longest time that a photo may take in a worker."""
        return time_limit(self.size, self.photo_timeout)

    @property
    def longest_side(self) -> int:
        """Most pixels a side that a photo may have once it is brought to size: all files made of it must hold it."""
        return MAX_SIDES[".webp" if self.images == "webp" else ".jpg"]

    @property
    def suffix(self) -> str:
        """Ending of the pixel files; PNG where there are none yet."""
        return ".webp" if self.images == "webp" else ".png"


def settings_of(
    config: BuildConfig,
    references: Sequence[str],
    source: "Source",
    embedder: dict[str, Any],
    near_duplicate: float,
    watched: "Sequence[Watched]" = (),
    packaged: bool = False,
    features: str | None = None,
) -> dict[str, Any]:
    """List what determines the output's bytes: the hashed part of a build.

    Args:
        config: As asked for.
        references: Names of the photos.
        source: Its ratings and anchors are hashed.
        embedder: The embedder's own description, weights' hash included.
        near_duplicate: Its threshold.
        watched: DuplicateKeys that references are compared with; hashed.
        packaged: Whether the source is the packaged label model.
        features: Versions of what the full-reference features depend on, for transfers that use them.
    """
    from glint_label.duplicates.perceptual_hash import PERHAPS_SAME_PICTURE, SAME_PICTURE
    from glint_label.duplicates.watched import describe_watched
    from glint_label.files import sha256_of

    anchors = "\n".join(f"{sha256_of(path)} {name}" for name, path in source.anchors.items())
    return {
        "source": config.source,
        "ratings": PACKAGED_RATINGS if packaged else "dataset",
        "ratings_sha256": sha256_of(source.label_file),
        "anchors_sha256": hashlib.sha256(anchors.encode()).hexdigest(),
        "allow_missing_anchors": config.allow_missing_anchors,
        "exclude_anchors": list(config.exclude_anchors),
        **describe_watched(watched),
        "near_duplicate": {"similarity": near_duplicate, "bits": [SAME_PICTURE, PERHAPS_SAME_PICTURE]},
        "mos_range": config.mos_range and [float(bound) for bound in config.mos_range],
        # Only where it is set: builds made before it could be set go on.
        **({"higher_is_worse": True} if config.higher_is_worse else {}),
        "embedder": json.loads(json.dumps(embedder)),
        "size": "native" if config.size is None else list(config.size),
        "transfer": config.transfer,
        "features": features,
        "k": config.k,
        "min_similarity": None if config.min_similarity is None else float(config.min_similarity),
        "images": config.images,
        "seed": config.seed,
        "references": describe_references(references),
    }


def describe_references(names: Sequence[str]) -> dict[str, Any]:
    """Say which photos a build is of, by their names: they tell more than a folder, which may have moved."""
    return {"count": len(names), "names_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest()}
