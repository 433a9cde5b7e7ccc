"""Quantisation to a few levels at multi-level Otsu thresholds (KADID-10k type 22)."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glint_label.distortions.prepared import Prepared

Vector = npt.NDArray[np.float64]


def quantization(images: Prepared, count: float) -> Tensor:
    """Map all samples to count + 1 values: 0 for the first bin, its upper threshold for every other."""
    # A threshold is a whole number of 255ths, so x <= threshold is decided by the 255ths in x, rounded up.
    quantised = []
    for histogram, cell in zip(images.histograms, images.cells, strict=True):
        thresholds = otsu_thresholds(histogram, int(count))
        values = np.array([0, *thresholds[1:], 255]) / 255
        table = torch.from_numpy(values[np.searchsorted(thresholds, np.arange(256))]).to(images.rgb)
        quantised.append(table.take(cell))
    return torch.stack(quantised)


def otsu_thresholds(histogram: Tensor, count: int) -> list[int]:
    """Return `count` levels of a histogram that a simplex search finds to spread the classes apart.

    A local optimum of Otsu's between-class variance, and meant to be: the search is part of the distortion.
    """
    counts = histogram.numpy()
    shares = counts / counts.sum()
    mass = np.cumsum(shares).tolist()
    moment = np.cumsum(shares * np.arange(256)).tolist()

    def cost(thresholds: Vector) -> float:
        """Return minus the between-class variance, up to a constant."""
        previous, before, sum_before, spread = -1, 0.0, 0.0, 0.0
        for threshold in [*map(int, (thresholds + 0.5).tolist()), 255]:
            if not previous < threshold <= 255:
                return math.inf
            weight = mass[threshold] - before
            if weight <= 0:
                return math.inf
            spread += (moment[threshold] - sum_before) ** 2 / weight
            previous, before, sum_before = threshold, mass[threshold], moment[threshold]
        return -spread

    best = minimise(cost, np.linspace(0, 255, count + 2)[1:-1])
    return [int(t) for t in (best + 0.5).tolist()]


def minimise(cost: Callable[[Vector], float], start: Vector) -> Vector:
    """Find a local minimum by Nelder and Mead's simplex, in the variant of Lagarias et al. (1998)."""
    size = len(start)
    simplex = np.tile(start, (size + 1, 1))
    simplex[1:][np.diag_indices(size)] *= 1.05
    simplex, costs = _best_first(simplex, [cost(vertex) for vertex in simplex])
    calls, rounds = size + 1, 0
    while calls < 200 * size and rounds < 200 * size:
        if costs[-1] - costs[0] <= 1e-4 and np.abs(simplex[1:] - simplex[0]).max() <= 1:
            break
        rounds += 1
        centre = simplex[:-1].sum(0) / size
        vertex, value, used = _next_vertex(cost, simplex, costs, centre)
        calls += used
        if vertex is None:
            simplex[1:] = simplex[0] + 0.5 * (simplex[1:] - simplex[0])
            costs[1:] = [cost(v) for v in simplex[1:]]
            calls += size
        else:
            simplex[-1], costs[-1] = vertex, value
        simplex, costs = _best_first(simplex, costs)
    best: Vector = simplex[0]
    return best


def _best_first(simplex: Vector, costs: list[float]) -> tuple[Vector, list[float]]:
    order = sorted(range(len(costs)), key=costs.__getitem__)
    return simplex[order], [costs[i] for i in order]


def _next_vertex(
    cost: Callable[[Vector], float], simplex: Vector, costs: list[float], centre: Vector
) -> tuple[Vector | None, float, int]:
    """Return what replaces the worst vertex, its cost and the calls it took; no vertex means: shrink."""
    worst = simplex[-1]
    reflected = 2 * centre - worst
    value = cost(reflected)
    if value < costs[0]:
        expanded = 3 * centre - 2 * worst
        further = cost(expanded)
        return (expanded, further, 2) if further < value else (reflected, value, 2)
    if value < costs[-2]:
        return reflected, value, 1
    if value < costs[-1]:
        contracted = 1.5 * centre - 0.5 * worst
        nearer = cost(contracted)
        return (contracted, nearer, 2) if nearer <= value else (None, value, 2)
    contracted = 0.5 * centre + 0.5 * worst
    nearer = cost(contracted)
    return (contracted, nearer, 2) if nearer < costs[-1] else (None, value, 2)
