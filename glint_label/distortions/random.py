"""Random numbers as a pure function of (seed, stream, position), the same on every device.

SplitMix64 (Steele, Lea & Flood 2014) read as a counter-based generator: word number i of a stream is
`mix(key + i * GOLDEN)`, and the key is a hash of the seed and the stream. It is integer arithmetic, so it
gives the same bits on CPU and CUDA, in any batch and any order.
"""

import enum
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from numbers import Integral

import torch
from torch import Tensor

from glint_label.errors import UsageError

GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_SECOND = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
_AT_ONCE = 1 << 16  # words on the CPU: what stays in its cache
_ANGLE_BITS = 12


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


def as_seeds(seeds: Sequence[object]) -> Tensor:
    """Check seeds, whole numbers from 0 to 2^63 - 1, and return them as a tensor."""
    checked = []
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
            raise UsageError(f"a seed is a whole number from 0 to 2^63 - 1, not {seed!r}")
        checked.append(int(seed))
    return torch.tensor(checked)


def _logical_shift(words: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, which `>>` on signed integers does not."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix_(words: Tensor) -> Tensor:
    """Scramble 64-bit words in place so that every input bit reaches every output bit."""
    words.bitwise_xor_(_logical_shift(words, 30)).mul_(_FIRST)
    words.bitwise_xor_(_logical_shift(words, 27)).mul_(_SECOND)
    return words.bitwise_xor_(_logical_shift(words, 31))


def stream_keys(seeds: Tensor, stream: int) -> Tensor:
    """Return where each seed's stream starts: (B, 1) int64. Seeds are not negative."""
    return _mix_(_mix_(seeds * GOLDEN + GOLDEN) + stream)[:, None]


def random_words(keys: Tensor, start: int, stop: int) -> Tensor:
    """Return words start .. stop - 1 of each stream: (B, stop - start) int64, all 64 bits random."""
    return _mix_(_steps(stop - start, keys.device) + (keys + torch.tensor(start, device=keys.device) * GOLDEN))


@lru_cache(maxsize=8)
def _steps(count: int, device: torch.device) -> Tensor:
    """Return 0, GOLDEN, 2 GOLDEN, ...; kept, as every piece of an image needs them."""
    return torch.arange(count, device=device).mul_(GOLDEN)


def _pieces(count: int, device: torch.device) -> Iterator[slice]:
    step = count if device.type == "cuda" else _AT_ONCE
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def uniform(seeds: Tensor, stream: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Return (B, *shape), uniform on (0, 1) in steps of 2^-32, computed in float64; each word gives two."""
    count = math.prod(shape)
    keys = stream_keys(seeds, stream)
    numbers = seeds.new_empty(len(seeds), 2, (count + 1) // 2, dtype=dtype)
    for piece in _pieces(numbers.shape[2], seeds.device):
        words = random_words(keys, piece.start, piece.stop)
        low, high = words & 0xFFFFFFFF, _logical_shift(words, 32)
        torch.mul(low.double().add_(0.5), 2.0**-32, out=numbers[:, 0, piece])
        torch.mul(high.double().add_(0.5), 2.0**-32, out=numbers[:, 1, piece])
    return numbers.flatten(1)[:, :count].reshape(-1, *shape)


def normal(
    seeds: Tensor, stream: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64, part: int = 0
) -> Tensor:
    """Return (B, *shape), standard normal, computed in float64.

    Box and Muller's method: 52 bits of each word are a radius, the rest one of 4096 angles, whose cosine and
    sine are looked up. So many angles give all moments that matter exactly, at half the time.

    Args:
        seeds: (B,) int64, not negative.
        stream: Which of the seed's independent sequences.
        shape: Shape for one seed.
        dtype: What the numbers are rounded to.
        part: Which of the stream's parts of this shape, from 0.
    """
    count = math.prod(shape)
    keys = stream_keys(seeds, stream)
    cosine, sine = (table.to(seeds.device).expand(len(seeds), -1) for table in _circle())
    numbers = seeds.new_empty(len(seeds), 2, (count + 1) // 2, dtype=dtype)
    skipped = part * numbers.shape[2]
    for piece in _pieces(numbers.shape[2], seeds.device):
        words = random_words(keys, skipped + piece.start, skipped + piece.stop)
        angle = _logical_shift(words, 64 - _ANGLE_BITS)
        share = words.bitwise_and_((1 << (64 - _ANGLE_BITS)) - 1).double().add_(0.5)
        radius = share.mul_(2.0 ** (_ANGLE_BITS - 64)).log_().mul_(-2).sqrt_()
        torch.mul(cosine.gather(1, angle), radius, out=numbers[:, 0, piece])
        torch.mul(sine.gather(1, angle), radius, out=numbers[:, 1, piece])
    return numbers.flatten(1)[:, :count].reshape(-1, *shape)


@lru_cache
def _circle() -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of evenly spaced angles, the same numbers on every device."""
    count = 1 << _ANGLE_BITS
    angles = [(k + 0.5) / count * 2 * math.pi for k in range(count)]
    return (
        torch.tensor([math.cos(a) for a in angles], dtype=torch.float64),
        torch.tensor([math.sin(a) for a in angles], dtype=torch.float64),
    )
