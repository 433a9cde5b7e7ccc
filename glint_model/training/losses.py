"""What training minimises: the error of the scores, and of their differences among comparable images."""

import torch
from torch import Tensor


def weighted_l1(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean of |score - label|, each times its weight.

    It is divided by the number of images, not by the sum of the weights: the mean over two processes is then that
    over their images together.

    Args:
        scores: (B, K), one a crop.
        labels: (B,) on the same scale.
        weights: (B,), of mean 1 over the data.

    Returns:
        A scalar.
    """
    return ((scores - labels[:, None]).abs() * weights[:, None]).mean()


def pairwise_rank(scores: Tensor, labels: Tensor, weights: Tensor, members: int) -> Tensor:
    """How far differences of scores fall short of those of the labels, over the pairs inside each group.

    A pair that is ordered rightly and lies at least as far apart as its labels costs nothing. The mean goes over all
    pairs of the batch, so groups count by their size whatever process they are on.

    Args:
        scores: (B, K), one a crop; a pair compares the means of its images' crops.
        labels: (B,) on the same scale.
        weights: (B,), of mean 1; a pair has the smaller of its two.
        members: Images of a group; they follow each other.

    Returns:
        A scalar.
    """
    groups = scores.mean(1).view(-1, members)
    label, weight = labels.view(-1, members), weights.view(-1, members)
    first, second = torch.triu_indices(members, members, offset=1, device=scores.device)
    wanted = label[:, first] - label[:, second]
    found = groups[:, first] - groups[:, second]
    short = (wanted.abs() - wanted.sign() * found).relu()
    return (short * torch.minimum(weight[:, first], weight[:, second])).mean()
