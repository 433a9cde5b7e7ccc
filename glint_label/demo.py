"""The demo: the whole job offline, on the photos that come with scikit-image.

The labels are those of the model of human ratings that ships with the package, so the demo ends in a real dataset.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import skimage

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import BuildReport, build
from glint_label.progress import MakeProgress, no_progress
from glint_label.transfer.packaged import EMBEDDER, SOURCE, packaged_path

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


@dataclass(frozen=True)
class Demo:
    """Where the demo put its things."""

    photos: Path
    report: BuildReport


def run_demo(out: Path, workers: int, progress: MakeProgress = no_progress, command: Sequence[str] = ()) -> Demo:
    """Label scikit-image's colour photos.

    Args:
        out: The build's folder; the photos go into a folder beside it with `-photos` at the end of the name.
        workers: Processes.
        progress: Makes the progress bars.
        command: The command line, for run.json.
    """
    photos = out.with_name(f"{out.name}-photos")
    photos.mkdir(parents=True, exist_ok=True)
    data = Path(skimage.__file__).parent / "data"
    for name in PHOTOS:
        shutil.copyfile(data / name, photos / name)
    config = BuildConfig(
        refs=photos, out=out, source=SOURCE, source_dir=packaged_path(), embedder=EMBEDDER, workers=workers
    )
    return Demo(photos, build(config, overwrite=True, progress=progress, command=command))
