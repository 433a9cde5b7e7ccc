"""Random numbers as a pure function of (seed, stream, position), the same on every device.

SplitMix64 (Steele, Lea & Flood 2014) read as a counter-based generator: word number i of a stream is
`mix(key + i * GOLDEN)`, and the key is a hash of the seed and the stream. It is integer arithmetic, so it
gives the same bits on CPU and CUDA, in any batch and any order.
"""

import enum
import math
from collections.abc import Iterator

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_SECOND = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
_AT_ONCE = 1 << 15  # words on the CPU: what stays in its cache


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


def _pieces(seeds: Tensor, stream: int, count: int, start: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield the two 32-bit halves of each word, as float64 from 0.5 to 2^32 - 0.5, with the words' places."""
    step = count if seeds.is_cuda else _AT_ONCE
    for begin in range(0, count, step):
        end = min(begin + step, count)
        words = random_words(seeds, stream, end - begin, start + begin)
        low = (words & 0xFFFFFFFF).double().add_(0.5)
        yield slice(begin, end), low, _logical_shift(words, 32).double().add_(0.5)


def uniform(seeds: Tensor, stream: int, shape: tuple[int, ...]) -> Tensor:
    """Return (B, *shape) float64, uniform on the open interval (0, 1) in steps of 2^-32."""
    count = math.prod(shape)
    numbers = seeds.new_empty(len(seeds), 2, (count + 1) // 2, dtype=torch.float64)
    for place, low, high in _pieces(seeds, stream, numbers.shape[2], 0):
        torch.mul(low, 2.0**-32, out=numbers[:, 0, place])
        torch.mul(high, 2.0**-32, out=numbers[:, 1, place])
    return numbers.flatten(1)[:, :count].reshape(-1, *shape)


def normal(
    seeds: Tensor, stream: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64, part: int = 0
) -> Tensor:
    """Return (B, *shape), standard normal (Box-Muller in float64; each word gives a cosine and a sine).

    Args:
        seeds: (B,) int64, not negative.
        stream: Which of the seed's independent sequences.
        shape: Shape for one seed.
        dtype: What the numbers are rounded to.
        part: Which of the stream's parts of this shape, from 0.
    """
    count = math.prod(shape)
    words = (count + 1) // 2
    numbers = seeds.new_empty(len(seeds), 2, words, dtype=dtype)
    for place, low, high in _pieces(seeds, stream, words, part * words):
        radius = low.mul_(2.0**-32).log_().mul_(-2).sqrt_()
        angle = high.mul_(2 * math.pi * 2.0**-32)
        torch.mul(torch.cos(angle), radius, out=numbers[:, 0, place])
        torch.mul(angle.sin_(), radius, out=numbers[:, 1, place])
    return numbers.flatten(1)[:, :count].reshape(-1, *shape)
