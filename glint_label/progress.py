"""How a long job tells how far it is; the library itself prints nothing."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """What a progress bar must offer; tqdm does."""

    def update(self, n: int) -> object:
        """Count n more."""

    def close(self) -> None:
        """End the bar."""


class NoProgress:
    """Show nothing."""

    def update(self, n: int) -> None:
        """Count n more."""

    def close(self) -> None:
        """End the bar."""


MakeProgress = Callable[[str, int, int], Progress]  # (what, total, already done)


def no_progress(what: str, total: int, done: int) -> Progress:  # noqa: ARG001 (the signature of MakeProgress)
    """Make a progress bar that shows nothing."""
    return NoProgress()
