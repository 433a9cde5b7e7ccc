"""How long a photo may take. `--help` shows it, so nothing is imported here that takes time to load."""

from math import isfinite

from glint_label.errors import UsageError

TIME_LIMIT = 300.0  # seconds for what is made of a picture of 512 x 384, which takes one to fifteen
_NATIVE = 10  # how much longer a photo of any size may take


def time_limit(size: tuple[int, int] | None, seconds: float = TIME_LIMIT) -> float:
    """Say how many seconds a photo may take that is brought to a size; None for the size of its file.

    Raises:
        UsageError: `seconds` is no time at all, or has no end.
    """
    if not (isfinite(seconds) and seconds > 0):
        raise UsageError(f"--photo-timeout {seconds:g}: must be a number of seconds above 0")
    return seconds * (_NATIVE if size is None else max(1.0, size[0] * size[1] / (512 * 384)))
