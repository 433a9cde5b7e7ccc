"""Random numbers as a pure function of (seed, stream, position), the same on every device.

SplitMix64 (Steele, Lea & Flood 2014) read as a counter-based generator: word number i of a stream is
`mix(key + i * GOLDEN)`, and the key is a hash of the seed and the stream. It is integer arithmetic, so it
gives the same bits on CPU and CUDA, in any batch and any order.
"""

import enum
import math

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_SECOND = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB


class Stream(enum.IntEnum):
    """What the numbers are for: one seed gives independent numbers to each purpose."""

    ANGLE = 1
    DIRECTION = 2
    NOISE = 3
    IMPULSE = 4
    SPECKLE = 5
    FIELD = 6
    PATCHES = 7
    BLOCKS = 8


def _logical_shift(words: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, which `>>` on signed integers does not."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix_(words: Tensor) -> Tensor:
    """Scramble 64-bit words in place so that every input bit reaches every output bit."""
    words.bitwise_xor_(_logical_shift(words, 30)).mul_(_FIRST)
    words.bitwise_xor_(_logical_shift(words, 27)).mul_(_SECOND)
    return words.bitwise_xor_(_logical_shift(words, 31))


def random_words(seeds: Tensor, stream: int, count: int, start: int = 0) -> Tensor:
    """Return words start .. start + count of each seed's stream: (B, count) int64, all 64 bits random.

    Args:
        seeds: (B,) int64, not negative.
        stream: Which of the seed's independent sequences.
        count: Words per seed.
        start: Position of the first word.
    """
    keys = _mix_(_mix_(seeds * GOLDEN + GOLDEN) + stream)
    counter = torch.arange(start, start + count, device=seeds.device).mul_(GOLDEN)
    return _mix_(keys[:, None] + counter)


def uniform(seeds: Tensor, stream: int, shape: tuple[int, ...]) -> Tensor:
    """Return (B, *shape) float64, uniform on the open interval (0, 1) in steps of 2^-52."""
    words = random_words(seeds, stream, math.prod(shape))
    return _logical_shift(words, 12).double().add_(0.5).mul_(2.0**-52).view(-1, *shape)


def normal(seeds: Tensor, stream: int, shape: tuple[int, ...], start: int = 0) -> Tensor:
    """Return (B, *shape) float64, standard normal (Box-Muller; each word gives a sine and a cosine).

    Args:
        seeds: (B,) int64, not negative.
        stream: Which of the seed's independent sequences.
        shape: Shape for one seed.
        start: How many words of the stream were used before.
    """
    count = math.prod(shape)
    words = random_words(seeds, stream, (count + 1) // 2, start)
    radius = (words & 0xFFFFFFFF).double().add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    angle = _logical_shift(words, 32).double().mul_(2 * math.pi * 2.0**-32)
    pairs = torch.cat([torch.cos(angle).mul_(radius), torch.sin(angle).mul_(radius)], dim=1)
    return pairs[:, :count].reshape(-1, *shape)
