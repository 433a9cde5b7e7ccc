"""The demo: the whole job offline, on the photos that come with scikit-image.

Its ratings are made here and now with an objective metric: reduced photos serve as anchors, each is degraded in every
way that can be made, and SSIM stands in for the raters. That shows the machinery, not human opinion, and says so.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from glint_label.config import BuildConfig
from glint_label.engines import run_local
from glint_label.files import write_atomic
from glint_label.images import encode_image, read_photo
from glint_label.manifest import format_csv, format_numbers
from glint_label.pipeline import BuildReport, build
from glint_label.progress import MakeProgress, no_progress
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS

PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
ANCHORS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "rocket.jpg")
ANCHOR_SIDE = 192  # pixels, the long side of an anchor
NOTE = (
    "DEMO RATINGS, NOT HUMAN: the scores are 1 + 4 SSIM, computed by the demo itself between each degraded anchor "
    "and the anchor. Use them to see how the tool works, not to train a model."
)


@dataclass(frozen=True)
class Demo:
    """Where the demo put its things."""

    photos: Path
    source: Path
    report: BuildReport


def run_demo(out: Path, workers: int, progress: MakeProgress = no_progress, command: Sequence[str] = ()) -> Demo:
    """Rate a few small anchors with SSIM, then label scikit-image's colour photos from them.

    Args:
        out: The build's folder; its inputs go into a folder beside it with `-input` at the end of the name.
        workers: Processes.
        progress: Makes the progress bars.
        command: The command line, for run.json.
    """
    inputs = out.with_name(f"{out.name}-input")
    photos, source = inputs / "photos", inputs / "rated"
    photos.mkdir(parents=True, exist_ok=True)
    data = Path(skimage.__file__).parent / "data"
    for name in PHOTOS:
        shutil.copyfile(data / name, photos / name)
    make_source(photos, source, workers, progress)
    config = BuildConfig(
        refs=photos,
        out=out,
        source="custom",
        source_dir=source,
        mos_range=(1, 5),
        embedder="statistics",
        transfer="knn",
        k=3,
        workers=workers,
    )
    return Demo(photos, source, build(config, overwrite=True, progress=progress, command=command))


def make_source(photos: Path, source: Path, workers: int, progress: MakeProgress = no_progress) -> None:
    """Write a rated dataset in the `custom` layout: reduced photos, ratings.csv with SSIM scores, NOTE.txt."""
    for name in ANCHORS:
        pixels = reduce_photo(read_photo(photos / name).pixels)
        write_atomic(source / "anchors" / _anchor(name), encode_image(pixels, ".png"))
    items = [(name, distortion) for name in ANCHORS for distortion in DISTORTIONS]
    scores: dict[tuple[str, str], list[float]] = {}
    with (
        closing(progress("demo ratings", len(items), 0)) as bar,
        closing(run_local(RateAnchor(source / "anchors"), items, workers)) as results,
    ):
        for item, result in results:
            scores[item] = result
            bar.update(1)
    rows = [
        (f"anchors/{_anchor(name)}", distortion, level, score)
        for name, distortion in items
        for level, score in zip(LEVELS, format_numbers(scores[name, distortion]), strict=True)
    ]
    write_atomic(source / "ratings.csv", format_csv(("anchor", "distortion", "level", "mos"), rows))
    write_atomic(source / "NOTE.txt", NOTE + "\n")


@dataclass(frozen=True)
class RateAnchor:
    """The workers' part: score one anchor's five levels of one distortion with SSIM."""

    anchors: Path

    def __call__(self, item: tuple[str, str]) -> list[float]:
        """Score an (anchor, distortion)."""
        from glint_label.distortions import distort

        name, distortion = item
        pixels = read_photo(self.anchors / _anchor(name)).pixels
        return [rate(pixels, distort(pixels, distortion, level)) for level in LEVELS]


def rate(reference: NDArray[np.uint8], degraded: NDArray[np.uint8]) -> float:
    """Score like a MOS of 1..5: 1 + 4 SSIM, negative SSIM counting as none (Wang et al., IEEE TIP 2004)."""
    similarity = structural_similarity(reference, degraded, channel_axis=2, data_range=255)
    return 1 + 4 * max(0.0, float(similarity))


def reduce_photo(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a photo so that its long side is ANCHOR_SIDE."""
    photo = Image.fromarray(pixels)
    photo.thumbnail((ANCHOR_SIDE, ANCHOR_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(photo)


def _anchor(name: str) -> str:
    return f"{Path(name).stem}.png"
