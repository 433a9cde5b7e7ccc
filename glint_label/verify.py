"""Are our pixels those that the raters saw? A source's own distorted images, made again and compared."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.engines import run_tasks
from glint_label.errors import ImageError, InputError, SourceError
from glint_label.files import absent_files
from glint_label.images import read_photo
from glint_label.progress import MakeProgress, no_progress
from glint_label.sources import Condition, Source

# How the pixels of a distortion relate to the published ones.
EXACT, RANDOM, NETWORK = "exact", "random", "network"


@dataclass(frozen=True)
class Comparison:
    """One published image and ours.

    Attributes:
        anchor: Its name.
        distortion: Its name.
        level: 1..5.
        kind: `exact`: the same pixels are expected; `random`: the same statistics; `network`: another denoiser.
        psnr: Ours to the published image, dB; infinite where they are identical.
        largest: Largest difference of a sample, grey levels.
        off: Share of samples that differ.
        psnr_published: The published image to its anchor, dB.
        psnr_ours: Ours to the anchor, dB.
    """

    anchor: str
    distortion: str
    level: int
    kind: str
    psnr: float
    largest: int
    off: float
    psnr_published: float
    psnr_ours: float


@dataclass(frozen=True)
class CompareAnchor:
    """The workers' part: make the published images of one anchor again."""

    source: Source
    conditions: tuple[Condition, ...]

    def __call__(self, anchor: str) -> list[Comparison]:
        """Compare every image of an anchor that is there."""
        from glint_label.distortions import distort, prepare

        path = self.source.anchors[anchor]
        files = {condition: self.source.image_path(anchor, *condition) for condition in self.conditions}
        absent = set(absent_files(self.source.root, list(files.values())))
        present = {condition: file for condition, file in files.items() if file not in absent}
        if not present:
            return []
        pristine = _read(path)
        prepared = prepare(pristine)
        compared = []
        for (distortion, level), file in present.items():
            published = _read(file)
            if published.shape != pristine.shape:
                raise SourceError(f"{file}: has another size than its anchor {path}; restore the official file")
            ours = distort(prepared, distortion, level)
            difference = np.abs(ours.astype(np.int16) - published)
            compared.append(
                Comparison(
                    anchor=anchor,
                    distortion=distortion,
                    level=level,
                    kind=kind_of(distortion),
                    psnr=psnr(ours, published),
                    largest=int(difference.max()),
                    off=float((difference > 0).mean()),
                    psnr_published=psnr(published, pristine),
                    psnr_ours=psnr(ours, pristine),
                )
            )
        return compared


def kind_of(name: str) -> str:
    """Tell how a distortion's pixels relate to the published ones."""
    from glint_label.distortions import DISTORTIONS

    distortion = DISTORTIONS[name]
    if name == "denoise":
        return NETWORK
    return RANDOM if distortion.draw or distortion.noise else EXACT


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit images, dB; infinite for identical ones."""
    error = float(np.mean((first.astype(np.float64) - second) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_photo(path).pixels
    except ImageError as error:
        raise SourceError(f"{error}; restore the official file") from error


def verify(
    source: Source,
    distortions: Collection[str] = (),
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> tuple[pd.DataFrame, int]:
    """Make a source's own distorted images again and compare.

    Args:
        source: A rated dataset with its images.
        distortions: Names; all by default.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar, which counts anchors.

    Returns:
        One row per image (the fields of Comparison), and the number of images that are not there.

    Raises:
        InputError: The source's images are not at hand.
        SourceError: A file does not open or has another size than its anchor.
    """
    if not source.image_name:
        raise InputError(f"{source.name}: has no distorted images that could be made here; use kadid10k")
    wanted = tuple(condition for condition in source.conditions if not distortions or condition[0] in distortions)
    compared: list[Comparison] = []
    anchors = list(source.anchors)
    with run_tasks(CompareAnchor(source, wanted), anchors, workers, progress, "anchors", len(anchors)) as results:
        for _, found in results:
            compared += found
    missing = len(source.anchors) * len(wanted) - len(compared)
    if not compared:
        first = source.image_path(next(iter(source.anchors)), *wanted[0])
        raise InputError(f"{source.name}: none of its distorted images is there, first {first}; check --source-dir")
    order = {name: number for number, name in enumerate(source.distortions)}
    compared.sort(key=lambda one: (order[one.distortion], one.level, one.anchor))
    return pd.DataFrame(compared), missing


def summarise_comparisons(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Sum a comparison up: a row per distortion and level, in the table's order.

    Returns:
        distortion, level, kind, images, identical (share), psnr_median, psnr_least (dB; None where all images are
        identical), largest, off (largest share of differing samples), psnr_to_anchor_difference (mean of ours less
        published, dB).
    """
    rows = []
    for (distortion, level), group in table.groupby(["distortion", "level"], sort=False):
        # An identity has an infinite PSNR to its anchor on both sides: no difference.
        ours, published = group["psnr_ours"], group["psnr_published"]
        gap = (ours - published).where(np.isfinite(ours) & np.isfinite(published)).dropna()
        rows.append(
            {
                "distortion": distortion,
                "level": level,
                "kind": group["kind"].iloc[0],
                "images": len(group),
                "identical": float((group["largest"] == 0).mean()),
                "psnr_median": _finite(float(group["psnr"].median())),
                "psnr_least": _finite(float(group["psnr"].min())),
                "largest": int(group["largest"].max()),
                "off": float(group["off"].max()),
                "psnr_to_anchor_difference": float(gap.mean()) if len(gap) else 0.0,
            }
        )
    return rows


def _finite(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
