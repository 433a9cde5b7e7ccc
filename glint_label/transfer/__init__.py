"""Transfers by name: top1 (the paper's), knn, syndr, cell-mean, gp-content and gp."""

from glint_label.errors import UsageError
from glint_label.transfer.gp import GaussianProcess
from glint_label.transfer.nearest import NearestMean
from glint_label.transfer.transfer import Labels, RatedAnchors, Transfer

__all__ = ["TRANSFERS", "GaussianProcess", "Labels", "RatedAnchors", "Transfer", "make_transfer"]

TRANSFERS = ("top1", "knn", "syndr", "cell-mean", "gp-content", "gp")


def make_transfer(name: str, k: int, content_rank: int | None = None) -> Transfer:
    """Make a transfer by name, not yet fitted.

    Args:
        name: One of TRANSFERS.
        k: Number of neighbours, for knn.
        content_rank: At most so many directions of content count, for gp and gp-content; see GaussianProcess.

    Raises:
        UsageError: Unknown name, or no neighbour asked for.
    """
    if name not in TRANSFERS:
        raise UsageError(f"unknown transfer {name!r}; known are {', '.join(TRANSFERS)}")
    if k < 1:
        raise UsageError(f"--k {k}: at least one neighbour is needed")
    if name in ("gp", "gp-content"):
        return GaussianProcess(uses_features=name == "gp", content_rank=content_rank)
    if name == "syndr":
        return NearestMean(5, within=0.05)
    return NearestMean({"top1": 1, "knn": k, "cell-mean": None}[name])
