"""A photo's perceptual hash: 128 signs of its coarse structure, which survive recompression, rescaling and mirroring.

It recognises a picture; it does not say how alike two contents are, that is the embedder's part. Recolouring leaves it
alone too, which moves an embedding far away. Cropping is the other way round: beyond 3 % of a side it moves the
perceptual hash more than the embedding, so the two are used together (index.py).
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from glint_label.embed import HASH_BYTES

# Differing bits up to which two hashes are of the same picture. Measured on 184 photos: every copy saved as JPEG
# of quality 90, 50 or 10, scaled by 0.9 to 0.25, mirrored, or all of it, lies within; 66 % of those that lost 5 % of
# each side, in equal parts left and right. Different photos begin at 35. 580,006 pairs of sixths of different photos,
# plain skies among them, begin at 28; their count falls by a factor of 1.7 a bit.
SAME_PICTURE = 16
# Differing bits up to which similar vectors are believed. Every copy that the statistics still recognise after it lost
# 10 % of each side, in equal parts, lies within; of 23 pairs of sixths that they take for each other, none.
PERHAPS_SAME_PICTURE = 44

_SIDE = 32  # the photo is reduced to so many samples a side
# A sign is a fact only where there is something to see: a photo with fewer than half its coefficients above a quarter
# of a grey level has no perceptual hash. Clear skies and black frames would otherwise all be the same picture.
_VISIBLE = 0.25  # amplitude, grey levels
_ENOUGH = 4 * HASH_BYTES


def _lowest_frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the 128 lowest (vertical, horizontal) frequencies but the mean, the lowest first."""
    vertical, horizontal = (axis.ravel() for axis in np.mgrid[:_SIDE, :_SIDE])
    order = np.lexsort((horizontal, vertical, vertical**2 + horizontal**2))[1 : 8 * HASH_BYTES + 1]
    return vertical[order], horizontal[order]


_VERTICAL, _HORIZONTAL = _lowest_frequencies()
MIRROR = np.packbits(_HORIZONTAL % 2 == 1)  # the bits that a mirror turns


def perceptual_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take a photo's perceptual hash: the signs of the 128 lowest DCT coefficients of its luma, stretched to a square.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (16,) uint8, the bits packed; zeros for a photo without enough structure.
    """
    luma = Image.fromarray(pixels).convert("L").convert("F")
    reduced = np.asarray(luma.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64)
    coefficients = dctn(reduced, norm="ortho")[_VERTICAL, _HORIZONTAL]
    amplitudes = np.abs(coefficients) * 2 / _SIDE
    if np.count_nonzero(amplitudes > _VISIBLE) < _ENOUGH:
        return np.zeros(HASH_BYTES, dtype=np.uint8)
    return np.packbits(coefficients > 0)


def distances(ones: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the bits in which photos differ, mirrored or not, whichever is less: (n, 16) and (n, 16) give (n,)."""
    mine, theirs = (np.ascontiguousarray(each).view(np.uint64).T for each in (ones, others))
    turns = np.where((mine[0] | mine[1]) != 0, ~np.uint64(0), np.uint64(0))
    differing = mine[0] ^ theirs[0], mine[1] ^ theirs[1]
    turned = (word ^ (turns & mirror) for word, mirror in zip(differing, MIRROR.view(np.uint64), strict=True))
    views = (np.add(*(np.bitwise_count(word) for word in words)) for words in (differing, turned))
    least: NDArray[np.int64] = np.minimum(*views).astype(np.int64)
    return least


def mirrored(hashes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give the hashes that the same photos have when left and right are exchanged.

    A mirror turns the sign of every odd horizontal frequency and changes nothing else. Zeros stay.

    Args:
        hashes: (..., 16) uint8.
    """
    return hashes ^ np.where(hashes.any(axis=-1, keepdims=True), MIRROR, 0)
