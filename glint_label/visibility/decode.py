"""A photo, decoded once for all that is measured of it: perceptual hash, the embedder's input, features."""

from dataclasses import dataclass
from pathlib import Path

from glint_label.duplicates.perceptual_hash import perceptual_hash
from glint_label.embed import DecodedPhoto, Preparation
from glint_label.errors import ImageError, enough_memory
from glint_label.images import Photo, Size, read_photo
from glint_label.names import as_text
from glint_label.sources import Condition


@dataclass(frozen=True)
class DecodeTask:
    """A photo to be decoded.

    Attributes:
        name: As in the manifest.
        path: Its file.
        seeds: Of its recipes, one a condition, where the full-reference features are wanted; else empty.
        shard: Its number, for the caller.
    """

    name: str
    path: Path
    seeds: tuple[int, ...] = ()
    shard: int = 0


@dataclass(frozen=True)
class DecodePhotos:
    """The workers' part: decode a photo and measure everything that is wanted of it.

    Attributes:
        preparation: The embedder's.
        conditions: (distortion, level) pairs of the features.
        size: What photos are brought to; see `images.bring_to_size`.
        longest: Most pixels a side that they may have then; None for any.
        every_level: Measure the features of all conditions; see `measure_features`.
    """

    preparation: Preparation
    conditions: tuple[Condition, ...] = ()
    size: Size = None
    longest: int | None = None
    every_level: bool = False

    def __call__(self, task: DecodeTask) -> DecodedPhoto:
        """Decode one photo; what is wrong with it is in `failure`."""
        try:
            photo = read_photo(task.path, size=self.size, longest=self.longest)
            with enough_memory(as_text(task.path), "measure"):
                return self._measure(photo, task.seeds)
        except ImageError as error:
            return DecodedPhoto(failure=(error.reason, str(error).removeprefix(f"{as_text(task.path)}: ")))

    def _measure(self, photo: Photo, seeds: tuple[int, ...]) -> DecodedPhoto:
        features = None
        if seeds:
            from glint_label.visibility.features import measure_features

            features = measure_features(photo.pixels, self.conditions, seeds, every_level=self.every_level)
        height, width = photo.pixels.shape[:2]
        return DecodedPhoto(
            self.preparation(photo.pixels),
            perceptual_hash(photo.pixels),
            photo.sha256,
            (*photo.file_size, width, height),
            features,
            photo.warning,
        )
