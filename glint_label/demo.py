"""The demo: the whole job offline, on the photos that come with scikit-image.

The labels are those of the model of human ratings that ships with the package, so the demo ends in a real dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import skimage

from glint_label.build.config import PACKAGED_RATINGS, BuildConfig, describe_references
from glint_label.build.pipeline import BuildReport, build
from glint_label.errors import InputError, StateError, UsageError
from glint_label.files import make_folder, read_limited, write_atomic
from glint_label.folders import BUILD, check_kind
from glint_label.manifest import read_run
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
        out: The build's folder: empty, absent, or that of an earlier demo, which is replaced. The photos go into a
            folder beside it with `-photos` at the end of the name.
        workers: Processes.
        progress: Makes the progress bars.
        command: The command line, for run.json.

    Raises:
        UsageError: No folder can be beside `out`.
        StateError: `out` holds something else, or the photos' folder a link or another photo of one of the names.
        OutputError: One of the folders cannot be written.
    """
    out = out.resolve()
    if not out.name:
        raise UsageError(f"--out {out}: must be a folder that another one can stand beside")
    earlier = check_kind(out, BUILD)
    if earlier and not _is_demo(out):
        raise StateError(f"{out}: holds a build that is not a demo, so it is not replaced; choose another --out")
    photos = _put_photos(out.with_name(f"{out.name}-photos"))
    config = BuildConfig(
        refs=photos, out=out, source=SOURCE, source_dir=packaged_path(), embedder=EMBEDDER, workers=workers
    )
    # Where there was none, a build that another command has made in the meantime is not replaced either.
    report = build(config, overwrite=earlier, progress=progress, command=command)
    return Demo(photos[0].parent, report)


def _is_demo(build: Path) -> bool:
    """Tell whether a build is of the demo's photos, wherever they were, and by the packaged label model."""
    try:
        config = read_run(build)["config"]
    except InputError:
        return False
    made_of = (config.get("references"), config.get("ratings"))
    return made_of == (describe_references(PHOTOS), PACKAGED_RATINGS)


def _put_photos(folder: Path) -> tuple[Path, ...]:
    """Write those photos that are not there yet, once it is clear that nothing is in their way; return all of them."""
    if folder.is_symlink():
        raise StateError(f"{folder}: is a link, which may lead anywhere; remove it, or choose another --out")
    data = Path(skimage.__file__).parent / "data"
    try:
        photos = {folder / name: (data / name).read_bytes() for name in PHOTOS}
    except OSError as error:
        raise InputError(
            f"{error.filename}: a photo of scikit-image cannot be read ({error.strerror}); install scikit-image again"
        ) from error
    make_folder(folder)
    missing = [path for path, content in photos.items() if not _is_there(path, content)]
    for path in missing:
        write_atomic(path, photos[path])
    return tuple(photos)


def _is_there(path: Path, content: bytes) -> bool:
    """Tell whether a photo has been written already.

    Raises:
        StateError: Something else is there.
    """
    if path.is_symlink():
        raise StateError(f"{path}: is a link, which may lead anywhere; remove it, or choose another --out")
    try:
        found, _ = read_limited(path, len(content))
    except FileNotFoundError:
        return False
    except OSError:
        found = b""
    if found != content:
        raise StateError(f"{path}: is not the demo's photo of that name; move it away, or choose another --out")
    return True
