"""Transfers by name: top1 (the paper's), knn, cell-mean, gp-content and gp."""

from collections.abc import Callable

from glint_label.errors import UsageError
from glint_label.transfer.gp import GaussianProcess
from glint_label.transfer.nearest import NearestMean
from glint_label.transfer.transfer import Labels, RatedAnchors, Transfer

__all__ = ["TRANSFERS", "GaussianProcess", "Labels", "RatedAnchors", "Transfer", "make_transfer"]

TRANSFERS: dict[str, Callable[[int], Transfer]] = {
    "top1": lambda _: NearestMean(1),
    "knn": NearestMean,
    "cell-mean": lambda _: NearestMean(None),
    "gp-content": lambda _: GaussianProcess(uses_features=False),
    "gp": lambda _: GaussianProcess(uses_features=True),
}


def make_transfer(name: str, k: int) -> Transfer:
    """Make a transfer by name, not yet fitted.

    Args:
        name: One of TRANSFERS.
        k: Number of neighbours, for knn.

    Raises:
        UsageError: Unknown name, or no neighbour asked for.
    """
    if name not in TRANSFERS:
        raise UsageError(f"unknown transfer {name!r}; known are {', '.join(TRANSFERS)}")
    if k < 1:
        raise UsageError(f"--k {k}: at least one neighbour is needed")
    return TRANSFERS[name](k)
