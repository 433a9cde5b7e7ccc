"""Where a network sees the damage: its score token by token, laid over the picture."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from glint_label.files import make_folder, write_atomic
from glint_label.images import bring_to_size, encode_image, read_photo
from glint_label.names import as_text
from glint_label.progress import MakeProgress, no_progress
from glint_model.network.crops import CROP, check_pixels, continued, cut_at, grid_corners
from glint_model.network.glintiqa import GlintIQA, scoring

Floats = NDArray[np.float64]

_LETTERS = 50  # of a name: with more, four bytes each, it could be too long for a file
_GREY = np.array([0.299, 0.587, 0.114])
# Scores, on the scale of KADID-10k: shown as plain red, and left grey.
LOW, HIGH = 1.5, 4.5
_RED = np.array([214.0, 39.0, 40.0])


def damage_map(model: GlintIQA, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Floats]:
    """Ask the network for a score at every token instead of one for their mean.

    One forward through the crops that cover the picture; where they overlap, the mean counts. It needs no gradient.

    Args:
        model: The network.
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        The picture as the network saw it, (h, w, 3) uint8; and (h, w) scores on the scale of the labels, lower where
        it sees more damage. Their mean is near the picture's score, not equal to it: the head is not linear.

    Raises:
        InputError: Not such an image.
    """
    check_pixels(pixels)
    seen = bring_to_size(pixels, model.size)
    height, width = seen.shape[:2]
    shape = max(height, CROP), max(width, CROP)  # smaller pictures are continued
    corners = grid_corners(*shape)
    crops = cut_at(continued(seen), corners)
    device = next(model.parameters()).device
    network = model.folded()
    with scoring(network):
        local = network.local_scores(crops.to(device).float() / 255)[:, None]  # (n, 1, side, side)
        fine = interpolate(local, size=(CROP, CROP), mode="bilinear", align_corners=False)[:, 0].double().cpu().numpy()
    total, times = np.zeros(shape), np.zeros(shape)
    for (top, left), scores in zip(corners, fine, strict=True):
        total[top : top + CROP, left : left + CROP] += scores
        times[top : top + CROP, left : left + CROP] += 1
    return seen, (total / times)[:height, :width]


def draw_damage(seen: NDArray[np.uint8], scores: Floats, low: float, high: float) -> NDArray[np.uint8]:
    """Lay the damage over the picture in grey: the worse, the redder.

    Args:
        seen: (h, w, 3) uint8 RGB.
        scores: (h, w).
        low: Score that is shown as plain red.
        high: Score that leaves the picture grey.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    grey = (seen @ _GREY)[..., None]
    share = np.clip((high - scores) / (high - low), 0, 1)[..., None]
    mixed: NDArray[np.uint8] = (grey * (1 - 0.8 * share) + _RED * 0.8 * share).round().astype(np.uint8)
    return mixed


def write_maps(model: GlintIQA, files: Sequence[Path], folder: Path, progress: MakeProgress = no_progress) -> None:
    """Write one map an image, NUMBER-NAME.png: its place among the files, and its name without the ending.

    Args:
        model: The network.
        files: Images, all of which open.
        folder: Made where it is not there; maps of an earlier call are replaced.
        progress: Makes the progress bar, which counts images.

    Raises:
        ImageError: An image that opened before does not any more.
        OutputError: The folder cannot be written.
    """
    make_folder(folder)
    with closing(progress("maps", len(files), 0)) as bar:
        for number, file in enumerate(files, start=1):
            seen, scores = damage_map(model, read_photo(file).pixels)
            drawn = encode_image(draw_damage(seen, scores, LOW, HIGH), ".png")
            write_atomic(folder / f"{number:05d}-{as_text(Path(file.stem))[:_LETTERS]}.png", drawn)
            bar.update(1)
