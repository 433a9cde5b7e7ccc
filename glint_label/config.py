"""The settings of a build, their hash, and how two of them differ."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glint_label.embed import DEFAULT_MODEL, check_embedder_name
from glint_label.errors import UsageError
from glint_label.files import sha256_of
from glint_label.fingerprint import PERHAPS_SAME_PICTURE, SAME_PICTURE
from glint_label.sources import SOURCES, Source
from glint_label.transfer import make_transfer
from glint_label.watched import Watched, describe_watched

IMAGES = ("none", "png", "webp")


@dataclass(frozen=True)
class BuildConfig:
    """Everything `glint-label build` can be told.

    `out`, `workers` and `device` do not change the output and are not part of its hash.

    Raises:
        UsageError: A name or number that does not exist or does not fit.
    """

    refs: Path
    out: Path
    source: str = "kadid10k"
    source_dir: Path | None = None
    allow_missing_anchors: bool = False
    exclude_anchors: tuple[str, ...] = ()
    exclude_near: Path | None = None
    mos_range: tuple[float, float] | None = None
    embedder: str = "clip"
    clip_model: str = DEFAULT_MODEL
    clip_weights: Path | None = None
    resnet_weights: Path | None = None
    transfer: str = "gp"
    k: int = 10
    min_similarity: float | None = None
    images: str = "none"
    seed: int = 0
    limit: int | None = None
    max_failures: int | None = None
    workers: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check names and numbers before any work."""
        if self.source not in SOURCES:
            raise UsageError(f"unknown source {self.source!r}; known are {', '.join(SOURCES)}")
        check_embedder_name(self.embedder)
        make_transfer(self.transfer, self.k)
        if self.images not in IMAGES:
            raise UsageError(f"--images {self.images}: must be one of {', '.join(IMAGES)}")
        numbers = {
            "seed": self.seed,
            "limit": self.limit,
            "max-failures": self.max_failures,
            "workers": self.workers,
        }
        for option, value in numbers.items():
            lowest = 1 if option == "limit" else 0
            if value is not None and value < lowest:
                raise UsageError(f"--{option} {value}: must be at least {lowest}")

    @property
    def suffix(self) -> str:
        """Ending of the pixel files; PNG where there are none yet."""
        return ".webp" if self.images == "webp" else ".png"


def settings_of(
    config: BuildConfig,
    references: Sequence[str],
    source: Source,
    embedder: dict[str, Any],
    near_duplicate: float,
    watched: Sequence[Watched] = (),
    shipped: bool = False,
    features_sha256: str | None = None,
) -> dict[str, Any]:
    """List what determines the output's bytes: the hashed part of a build.

    Args:
        config: As asked for.
        references: Names of the photos.
        source: Its ratings and anchors are hashed.
        embedder: The embedder's own description, weights' hash included.
        near_duplicate: Its threshold.
        watched: Pictures that references are compared with; hashed.
        shipped: Whether the source is the model that ships with the package.
        features_sha256: Hash of the code that measures visibility, for transfers that use it.
    """
    listing = hashlib.sha256("\n".join(references).encode()).hexdigest()
    anchors = "\n".join(f"{sha256_of(path)} {name}" for name, path in source.anchors.items())
    return {
        "source": config.source,
        "ratings": "shipped label model" if shipped else "dataset",
        "ratings_sha256": sha256_of(source.label_file),
        "anchors_sha256": hashlib.sha256(anchors.encode()).hexdigest(),
        "allow_missing_anchors": config.allow_missing_anchors,
        "exclude_anchors": list(config.exclude_anchors),
        **describe_watched(watched),
        "near_duplicate": {"similarity": near_duplicate, "bits": [SAME_PICTURE, PERHAPS_SAME_PICTURE]},
        "mos_range": config.mos_range and [float(bound) for bound in config.mos_range],
        "embedder": json.loads(json.dumps(embedder)),
        "transfer": config.transfer,
        "features_sha256": features_sha256,
        "k": config.k,
        "min_similarity": None if config.min_similarity is None else float(config.min_similarity),
        "images": config.images,
        "seed": config.seed,
        "references": {"count": len(references), "names_sha256": listing},
    }


def digest_of(settings: dict[str, Any]) -> str:
    """Hash the settings; hex."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Say in words which settings differ: `k: 10 -> 5`."""
    lines = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {_short(before)} -> {_short(after)}")
    return lines


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"
