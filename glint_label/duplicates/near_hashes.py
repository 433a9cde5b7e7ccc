"""All pairs of perceptual hashes that are of the same picture, without comparing all pairs: multi-index hashing.

The 128 bits are cut into parts. Two hashes that differ in at most 16 bits differ little in one of the parts: if part i
is searched up to r_i differing bits, and the r_i + 1 add up to 17, no pair escapes (the pigeonhole principle; Norouzi,
Punjani and Fleet, 2014). A mirror turns the bits of odd horizontal frequencies and no others, so a part has either
only those, and is searched whichever way round, or none: both views are found at once.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from glint_label.duplicates.disjoint_sets import DisjointSets, Rows
from glint_label.duplicates.perceptual_hash import MIRROR, SAME_PICTURE

_PARTS = 3  # of the bits that a mirror turns, and of the others: about 21 bits each, a key in a million
_CANDIDATES = 1 << 18  # pairs looked at together: 20 MB
_CROWD = 1 << 16  # pairs of two keys from which they are compared as blocks, those that are joined already left out
_BLOCK = 1024  # hashes a side of such a block
_MANY = 2  # pairs a hash, of one difference of keys, from which what is joined already is left out here too
_SAMPLE = 20_000  # hashes that the number of candidates is estimated from

# Estimated cost of a search for one difference of keys, of a look-up in it and of a candidate; and of a pair where all
# are compared as blocks. In the same unit, about 10 ns.
_SEARCH = 30_000
_LOOK_UP = 1
_COMPARE = 6
_EVERY = 0.5

Pairs = tuple[Rows, Rows]
Span = tuple[int, int]


class _Part:
    """Some of the bits of all hashes, sorted by them.

    Args:
        hashes: (n, 16) uint8.
        places: Of the bits.
        turns: A mirror turns them all.
    """

    def __init__(self, hashes: NDArray[np.uint8], places: NDArray[np.int64], turns: bool) -> None:
        self._turns = turns
        self.width = len(places) - turns
        self._keys = np.empty(len(hashes), dtype=np.uint32)
        for start in range(0, len(hashes), _CANDIDATES):
            bits = np.unpackbits(hashes[start : start + _CANDIDATES], axis=1)[:, places]
            if turns:  # both views have one key: the one whose first bit is 0
                bits = bits[:, 1:] ^ bits[:, :1]
            values = np.uint32(1) << np.arange(self.width, dtype=np.uint32)
            self._keys[start : start + _CANDIDATES] = bits.astype(np.uint32) @ values
        self.order = np.argsort(self._keys, kind="stable").astype(np.int32)
        self._keys = self._keys[self.order]
        counts = np.bincount(self._keys, minlength=1 << self.width)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self._large: list[int] = np.flatnonzero(counts**2 > _CROWD).tolist()
        self._last: tuple[int, Rows] = (0, np.empty(0, dtype=np.int64))

    def masks(self, differing: int) -> Iterator[int]:
        """List what the keys of two parts can differ by, where so many bits do."""
        yield from self._subsets(differing)
        if self._turns and differing:  # the first bit is one of them: the key is that of the other view
            everything = (1 << self.width) - 1
            yield from (everything ^ mask for mask in self._subsets(differing - 1))

    def _subsets(self, number: int) -> Iterator[int]:
        return (sum(1 << place for place in places) for places in combinations(range(self.width), number))

    def cost(self, differing: int) -> float:
        """Estimate what it takes to search for so many differing bits."""
        number = comb(self.width + self._turns, differing)
        some = self._keys[:: -(-len(self._keys) // _SAMPLE)]
        masks = [mask for mask, _ in zip(self.masks(differing), range(2 * self.width), strict=False)]
        found = [(self._starts[(some ^ mask) + 1] - self._starts[some ^ mask]).sum(dtype=np.int64) for mask in masks]
        candidates = float(np.mean(found)) / len(some)
        return number * (_SEARCH + len(self._keys) / 2 * (_LOOK_UP + _COMPARE * candidates))

    def matches(self, mask: int) -> tuple[Rows, Rows, Rows]:
        """Find the sorted hashes whose key differs from others' by a mask: their places, and the range of the others.

        Every pair is found once; hashes without a partner are left out.
        """
        if mask == 0:
            places = np.arange(len(self._keys))
            starts, ends = places + 1, self._starts[self._keys + 1].astype(np.int64)
        else:
            places = self._without(mask & -mask)
            keys = self._keys[places] ^ np.uint32(mask)
            starts, ends = self._starts[keys], self._starts[keys + 1]
        some = np.flatnonzero(ends > starts)
        return places[some], starts[some].astype(np.int64), ends[some].astype(np.int64)

    def _without(self, bit: int) -> Rows:
        """List the places of keys without a bit; it is asked for many times in a row."""
        if self._last[0] != bit:
            self._last = bit, np.flatnonzero((self._keys & np.uint32(bit)) == 0)
        return self._last[1]

    def crowds(self, mask: int) -> list[tuple[Span, Span]]:
        """List the ranges of keys that differ by a mask, where they have too many pairs to list."""
        pairs = {(min(key, key ^ mask), max(key, key ^ mask)) for key in self._large}
        spans = [tuple((int(self._starts[key]), int(self._starts[key + 1])) for key in pair) for pair in sorted(pairs)]
        return [(one, other) for one, other in spans if (one[1] - one[0]) * (other[1] - other[0]) > _CROWD]


def near_hashes(hashes: NDArray[np.uint8], rows: Rows, sets: DisjointSets) -> Iterator[Pairs]:
    """Find the pairs of hashes that differ in at most SAME_PICTURE bits, as they are or mirrored.

    Args:
        hashes: (n, 16) uint8, none of them zeros, all different.
        rows: (n,) their numbers in `sets`.
        sets: What is joined already is not always found again. The caller joins every block before asking for more.

    Yields:
        Blocks of pairs of `rows`; a pair may come more than once.
    """
    if len(rows) < 2:
        return
    turning = np.unpackbits(MIRROR).astype(bool)
    places = [np.flatnonzero(turning == turns)[part::_PARTS] for turns in (False, True) for part in range(_PARTS)]
    parts = [_Part(hashes, chosen, turns=bool(turning[chosen[0]])) for chosen in places]
    cost, reaches = _reaches(parts)
    if cost > _EVERY * len(rows) ** 2 / 2:
        everything = 0, len(rows)
        words = np.ascontiguousarray(hashes).view(np.uint64)
        for ones, others in _compare_crowds(everything, everything, words, rows, sets):
            yield rows[ones], rows[others]
        return
    for part, reach in zip(parts, reaches, strict=True):
        words = np.ascontiguousarray(hashes[part.order]).view(np.uint64)
        sorted_rows = rows[part.order]
        for differing in range(reach + 1):
            for mask in part.masks(differing):
                for ones, others in _search(part, mask, words, sorted_rows, sets):
                    yield sorted_rows[ones], sorted_rows[others]


def _reaches(parts: list[_Part]) -> tuple[float, list[int]]:
    """Choose up to how many differing bits each part is searched (-1: not at all) to cost the least, and say how much.

    A part that many photos share is searched little or not at all.
    """
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    wanted = SAME_PICTURE + 1
    deepest = -(-wanted // len(parts)) + 1
    for part in parts:
        costs = [0.0]
        for differing in range(deepest):
            costs.append(costs[-1] + part.cost(differing))
        better: dict[int, tuple[float, list[int]]] = {}
        for done, (cost, reaches) in best.items():
            for more, extra in enumerate(costs):
                total = min(done + more, wanted)
                if total not in better or cost + extra < better[total][0]:
                    better[total] = (cost + extra, [*reaches, more - 1])
        best = better
    return best[wanted]


def _search(part: _Part, mask: int, words: NDArray[np.uint64], rows: Rows, sets: DisjointSets) -> Iterator[Pairs]:
    """Compare the hashes whose keys differ by a mask: blocks of pairs of places in the part's order."""
    places, starts, ends = part.matches(mask)
    counts = ends - starts
    for mine, theirs in part.crowds(mask):
        yield from _compare_crowds(mine, theirs, words, rows, sets)
        for start, end in (mine, theirs):
            counts[(places >= start) & (places < end)] = 0
    if counts.sum() > _MANY * len(rows):
        counts[_are_one_picture(places, starts, ends, sets.leaders(rows))] = 0
    counts_until = np.cumsum(counts)
    first = 0
    while first < len(counts):
        done = counts_until[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(counts_until, done + _CANDIDATES, side="right")))
        span = slice(first, last)
        ones = np.repeat(places[span], counts[span])
        within = np.arange(len(ones)) - np.repeat(counts_until[span] - counts[span] - done, counts[span])
        others = np.repeat(starts[span], counts[span]) + within
        near = np.flatnonzero(_same(words[ones], words[others]))
        if len(near):
            yield ones[near], others[near]
        first = last


def _are_one_picture(places: Rows, starts: Rows, ends: Rows, leaders: Rows) -> NDArray[np.bool_]:
    """Tell which hashes are joined already with all in their range."""
    changes = np.concatenate([[0], np.cumsum(leaders[1:] != leaders[:-1])])
    joined: NDArray[np.bool_] = (changes[ends - 1] == changes[starts]) & (leaders[starts] == leaders[places])
    return joined


def _compare_crowds(
    mine: Span, theirs: Span, words: NDArray[np.uint64], rows: Rows, sets: DisjointSets
) -> Iterator[Pairs]:
    """Compare all hashes of two keys block by block, but for blocks that are one picture already."""
    leaders = sets.leaders(rows[np.r_[slice(*mine), slice(*theirs)]])
    if (leaders == leaders[0]).all():
        return
    others_of = _by_picture(theirs, rows, sets)
    for number, ones in enumerate(_by_picture(mine, rows, sets)):
        for others in others_of[number:] if mine == theirs else others_of:
            leaders = sets.leaders(rows[np.concatenate([ones, others])])
            if (leaders == leaders[0]).all():
                continue
            row, column = np.divmod(np.flatnonzero(_same(words[ones][:, None], words[others][None])), len(others))
            apart = leaders[row] != leaders[len(ones) + column]
            if apart.any():
                yield ones[row[apart]], others[column[apart]]


def _by_picture(span: Span, rows: Rows, sets: DisjointSets) -> list[Rows]:
    """Cut a range into blocks, photos that are joined side by side."""
    places = np.arange(*span)
    places = places[np.argsort(sets.leaders(rows[places]), kind="stable")]
    return [places[start : start + _BLOCK] for start in range(0, len(places), _BLOCK)]


_MIRROR_WORDS = MIRROR.view(np.uint64)


def _same(ones: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which hashes, each two words, differ in at most SAME_PICTURE bits, mirrored or not; shapes broadcast."""
    low, high = ones[..., 0] ^ others[..., 0], ones[..., 1] ^ others[..., 1]
    same: NDArray[np.bool_] = np.bitwise_count(low) + np.bitwise_count(high) <= SAME_PICTURE
    low ^= _MIRROR_WORDS[0]
    high ^= _MIRROR_WORDS[1]
    same |= np.bitwise_count(low) + np.bitwise_count(high) <= SAME_PICTURE
    return same
