"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

import math


def oscillating_cosine(step: int, period: int) -> float:
    """Swing between 1 and 0 along a cosine, down in `period` steps and up again in as many.

    This is PyTorch's CosineAnnealingLR with T_max = period, stepped after every iteration, as the published code does.

    Args:
        step: From 0.
        period: Half of a full swing.

    Returns:
        The factor on the learning rate.
    """
    return (1 + math.cos(math.pi * step / period)) / 2


def warm_up_cosine(step: int, steps: int, warm_up: int, floor: float = 0.01) -> float:
    """Rise linearly over the first `warm_up` steps, then fall along half a cosine to `floor`.

    Args:
        step: From 0.
        steps: All steps of the run.
        warm_up: Of them, how many rise.
        floor: The factor after the last step.

    Returns:
        The factor on the learning rate.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    share = (step - warm_up) / max(1, steps - warm_up)
    return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2
