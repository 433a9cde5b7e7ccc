"""How well and how fast distortion 15's network removes noise, next to classical filters; one thread.

    python benchmarks/denoise.py [--photo FILE ...] [--anchor I01.png] [--csv benchmarks/denoise.csv]

PSNR is to the clean plane before the output stretch, mean over the planes of the photos; noise is clipped to [0, 1].
Each classical filter gets its best setting for each variance, chosen on these very photos.
"""

import csv
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import gaussian
from skimage.restoration import denoise_tv_chambolle

from glint_label.distortions.denoise import denoise_planes

VARIANCES = (0.01, 0.03, 0.05, 0.1, 0.15)  # levels 1..5
HELD_OUT = ("astronaut.png", "chelsea.png")  # of scikit-image's packaged photos
PUBLISHED = 20.95  # dB, I01_15_05.png of KADID-10k to I01.png

Planes = NDArray[np.float32]
Filter = Callable[[Planes], Planes]


def stretched(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map the smallest value to 0 and the largest to 1, over all channels together."""
    result: NDArray[np.float64] = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return result


def read(file: Path) -> NDArray[np.float64]:
    """Read a photo as (3, H, W)."""
    with Image.open(file) as photo:
        pixels = np.asarray(photo.convert("RGB"), dtype=np.float64)
    planes: NDArray[np.float64] = pixels.transpose(2, 0, 1)
    return planes


def psnr(clean: NDArray[np.floating], other: NDArray[np.floating], peak: float) -> float:
    """Peak signal-to-noise ratio, dB."""
    return 10 * math.log10(peak**2 / float(np.mean((clean - other) ** 2)))


def ours(planes: Planes) -> Planes:
    """Run the packaged network."""
    clean: Planes = denoise_planes(torch.from_numpy(planes)[:, None])[:, 0].numpy()
    return clean


def plane_by_plane(function: Callable[..., Planes], **settings: float) -> Filter:
    """Apply a filter of scikit-image to each plane."""
    return lambda planes: np.stack([function(plane, **settings) for plane in planes])


def peers(variance: float) -> dict[str, list[Filter]]:
    """Name the classical filters and the settings to choose from."""
    deviation = variance**0.5
    return {
        "gaussian": [plane_by_plane(gaussian, sigma=sigma) for sigma in (0.7, 1, 1.4, 1.8, 2.2, 2.8)],
        "total variation": [
            plane_by_plane(denoise_tv_chambolle, weight=factor * deviation) for factor in (0.6, 0.9, 1.2, 1.6)
        ],
    }


def quality(photos: Sequence[NDArray[np.float64]]) -> list[dict[str, float]]:
    """One row a variance: mean PSNR of the noisy planes, of each filter at its best, of the network."""
    rows = []
    for variance in VARIANCES:
        rng = np.random.default_rng(0)
        pairs = []
        for photo in photos:
            noisy = np.clip(photo + variance**0.5 * rng.standard_normal(photo.shape), 0, 1)
            pairs.append((photo.astype(np.float32), noisy.astype(np.float32)))
        row = {"variance": variance, "noisy": mean_psnr(pairs, lambda planes: planes)}
        for name, settings in peers(variance).items():
            row[name] = max(mean_psnr(pairs, setting) for setting in settings)
        rows.append(row | {"ours": mean_psnr(pairs, ours)})
    return rows


def mean_psnr(pairs: Sequence[tuple[Planes, Planes]], function: Filter) -> float:
    """Mean over planes, dB."""
    values = []
    for clean, noisy in pairs:
        for plane, result in zip(clean, function(noisy), strict=True):
            values.append(psnr(plane, result, peak=1))
    return statistics.fmean(values)


def speed() -> float:
    """Median seconds for a 512 x 384 colour image, first call left out."""
    planes = np.random.default_rng(0).random((3, 384, 512), dtype=np.float32)
    ours(planes)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        ours(planes)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def anchor_figures(file: Path, repeats: int = 8) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """PSNR of the whole distortion at level 5, stretches and 8 bits included; means and deviations of R, G, B."""
    pixels = read(file)
    outputs = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        noisy = np.clip(stretched(pixels) + VARIANCES[-1] ** 0.5 * rng.standard_normal(pixels.shape), 0, 1)
        outputs.append(np.round(255 * stretched(ours(noisy.astype(np.float32)).astype(np.float64))))
    ratio = statistics.fmean(psnr(pixels, output, peak=255) for output in outputs)
    flat = np.stack(outputs).reshape(repeats, 3, -1)
    return ratio, flat.mean(axis=(0, 2)), flat.std(axis=2).mean(axis=0)


@click.command()
@click.option("--photo", "photos", type=click.Path(exists=True, path_type=Path), multiple=True)
@click.option("--anchor", type=click.Path(exists=True, path_type=Path), help="I01.png of KADID-10k.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Also write the table of PSNR there.")
def main(photos: tuple[Path, ...], anchor: Path | None, table: Path | None) -> None:
    """Print PSNR per variance, seconds per image, and the anchor's figures."""
    torch.set_num_threads(1)
    packaged = Path(skimage.__file__).parent / "data"
    files = [*(packaged / name for name in HELD_OUT), *photos]
    rows = quality([stretched(read(file)) for file in files])
    print("photos:", ", ".join(file.name for file in files))
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print(
            "| " + " | ".join(f"{value:g}" if name == "variance" else f"{value:.2f}" for name, value in row.items()),
            "|",
        )
    if table:
        with table.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(rows[0])
            writer.writerows([f"{value:.4g}" for value in row.values()] for row in rows)
    print(f"{speed():.2f} s per 512 x 384 colour image")
    if anchor:
        ratio, means, deviations = anchor_figures(anchor)
        print(f"{anchor.name}, variance 0.15, mean of 8: {ratio:.2f} dB (published image {PUBLISHED})")
        print("means", means.round(1), "deviations", deviations.round(1))


if __name__ == "__main__":
    main()
