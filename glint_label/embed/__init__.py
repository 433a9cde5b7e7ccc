"""Content vectors of photos: embedders by name (EMBEDDERS lists them), embedded photos."""

from collections.abc import Callable, Iterable
from pathlib import Path

from glint_label.embed.clip import DEFAULT_MODEL, ClipEmbedder
from glint_label.embed.device import resolve_device
from glint_label.embed.embedded import (
    HASH_BYTES,
    DecodedPhoto,
    EmbeddedPhotos,
    embed_photos,
    read_embedded,
    write_embedded,
)
from glint_label.embed.embedder import Embedder, Preparation
from glint_label.errors import UsageError
from glint_label.storage import place_of

__all__ = [
    "DEFAULT_MODEL",
    "EMBEDDERS",
    "HASH_BYTES",
    "DecodedPhoto",
    "EmbeddedPhotos",
    "Embedder",
    "Preparation",
    "check_embedder_name",
    "embed_photos",
    "make_embedder",
    "read_embedded",
    "resolve_device",
    "write_embedded",
]

EMBEDDERS = ("clip", "resnet101", "efficientnet", "statistics", "packaged", "hybrid", "file:PATH")


def check_embedder_name(name: str) -> str:
    """Refuse a name that is none of EMBEDDERS, and return it.

    Raises:
        UsageError: Names the allowed ones.
    """
    if name in EMBEDDERS[:-1] or (name.startswith("file:") and len(name) > len("file:")):
        return name
    raise UsageError(f"unknown embedder {name!r}; known are {', '.join(EMBEDDERS)}")


def make_embedder(
    name: str,
    photos: Iterable[Path],
    *,
    clip_model: str = DEFAULT_MODEL,
    clip_weights: Path | None = None,
    resnet_weights: Path | None = None,
    device: str = "auto",
) -> Embedder:
    """Make an embedder, its weights loaded or known to be there.

    Args:
        name: One of EMBEDDERS.
        photos: Every file that will be embedded; `file:` looks them all up at once.
        clip_model: open_clip `ARCHITECTURE:TAG`, for clip and hybrid.
        clip_weights: Local weights instead of the tag's.
        resnet_weights: Local weights instead of the hub's, for resnet101.
        device: Torch device; `auto` takes a GPU when there is one.

    Raises:
        UsageError: Unknown name, model or device.
        WeightsError: Weights that are not cached and cannot be downloaded, or a package with weights that is missing.
        InputError: A vector file that does not fit.
    """
    from glint_label.embed.efficientnet import EfficientNetEmbedder
    from glint_label.embed.file import FileEmbedder
    from glint_label.embed.mixed import MIXTURES, MixedEmbedder
    from glint_label.embed.resnet import ResNetEmbedder
    from glint_label.embed.statistics import StatisticsEmbedder

    check_embedder_name(name)
    if name.startswith("file:"):
        return FileEmbedder(place_of(name.removeprefix("file:")), photos)
    makers: dict[str, Callable[[], Embedder]] = {
        "clip": lambda: ClipEmbedder(clip_model, clip_weights, device),
        "resnet101": lambda: ResNetEmbedder(resnet_weights, device),
        "efficientnet": EfficientNetEmbedder,
        "statistics": StatisticsEmbedder,
    }
    if name in MIXTURES:
        return MixedEmbedder(name, [makers[part]() for part in MIXTURES[name].shares])
    return makers[name]()
