"""TID2013 (Ponomarenko et al., 2015): 25 anchors x 24 distortions x 5 levels, scores 0..9.

Official layout: `mos_with_names.txt` (score and file name a line), `mos_std.txt` (a number a line, same order),
`reference_images/I01.BMP`, `distorted_images/i01_01_1.bmp`, ... File names differ in case between copies.
None of its settings equal KADID-10k's, so its pixels cannot be made here: it serves `audit`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import find_labels
from glint_label.sources.source import Source, check_complete, check_ratings, find_anchors
from glint_label.sources.tables import to_numbers
from glint_label.texts import read_text

ANCHORS = tuple(f"I{number:02d}" for number in range(1, 26))
LEVELS = (1, 2, 3, 4, 5)
DISTORTIONS = (
    "tid_additive_gaussian_noise",
    "tid_color_component_noise",
    "tid_spatially_correlated_noise",
    "tid_masked_noise",
    "tid_high_frequency_noise",
    "tid_impulse_noise",
    "tid_quantization_noise",
    "tid_gaussian_blur",
    "tid_denoising",
    "tid_jpeg",
    "tid_jpeg2000",
    "tid_jpeg_transmission_errors",
    "tid_jpeg2000_transmission_errors",
    "tid_non_eccentricity_pattern_noise",
    "tid_local_blockwise",
    "tid_mean_shift",
    "tid_contrast_change",
    "tid_color_saturation_change",
    "tid_multiplicative_gaussian_noise",
    "tid_comfort_noise",
    "tid_lossy_compression_of_noisy_images",
    "tid_color_quantization_with_dither",
    "tid_chromatic_aberrations",
    "tid_sparse_sampling",
)


def load_tid2013(root: Path, *, allow_missing_anchors: bool = False, keep_unanchored_ratings: bool = False) -> Source:
    """Read TID2013 from its official folder layout.

    `mos_std.txt` gives the standard deviation of the mean score itself, so `n` is 1.

    Args:
        root: Its folder.
        allow_missing_anchors: Go on with the anchors that are there.
        keep_unanchored_ratings: Keep the ratings of missing anchors, even if none is there.

    Raises:
        SourceError: Ratings are malformed or incomplete, or anchors are missing.
    """
    folder, label_file = find_labels(root, ["mos_with_names.txt"])
    lines = _read_lines(label_file)
    table = lines.str.extract(r"^(?P<mos>\S+)\s+(?P<name>\S+)$")
    parts = table["name"].str.extract(r"^[iI](\d{2})_(\d{2})_(\d)\.[bB][mM][pP]$")
    number = pd.to_numeric(parts[1])
    wrong = parts[0].isna() | ~number.between(1, len(DISTORTIONS))
    if wrong.any():
        line = table.index[wrong][0]
        raise SourceError(f"{label_file}, line {line}: {lines[line]!r} is not a score and an image of TID2013")
    deviation_file = folder.path("mos_std.txt")
    deviations = _read_lines(deviation_file)
    if len(deviations) != len(table):
        raise SourceError(
            f"{deviation_file}: {len(deviations)} lines, but {label_file.name} has {len(table)}; download both again"
        )
    ratings = pd.DataFrame(
        {
            "anchor": "I" + parts[0],
            "distortion": number.map(dict(enumerate(DISTORTIONS, start=1))),
            "level": parts[2].astype(int),
            "mos": to_numbers(table, "mos", label_file),
            "std": to_numbers(deviations.to_frame("std"), "std", deviation_file),
            "n": 1,
        }
    )
    check_ratings(ratings, label_file, (0, 9))
    check_complete(ratings, label_file, pd.MultiIndex.from_product([ANCHORS, DISTORTIONS, LEVELS]))
    files = {anchor: folder.path(f"reference_images/{anchor}.BMP") for anchor in ANCHORS}
    anchors, missing = find_anchors("tid2013", files, allow_missing_anchors, keep_unanchored_ratings)
    return Source(
        name="tid2013",
        root=folder.root,
        anchors=anchors,
        ratings=ratings if keep_unanchored_ratings else ratings[ratings["anchor"].isin(anchors)],
        mos_range=(0, 9),
        distortions=DISTORTIONS,
        label_file=label_file,
        missing_anchors=missing,
        licence="research and education, cite the authors",
        citation="Ponomarenko et al.: Image database TID2013, Signal Processing: Image Communication 30, 2015",
    )


def _read_lines(path: Path) -> "pd.Series[str]":
    if not path.is_file():
        raise SourceError(f"{path}: no such file; --source-dir must be the folder that holds it")
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read ({error}); download it again") from error
    series = pd.Series(lines, index=np.arange(1, len(lines) + 1)).str.strip()
    return series[series != ""]
