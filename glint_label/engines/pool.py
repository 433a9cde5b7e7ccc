"""What a kind of workers must offer to the schedule."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Event:
    """What a worker reports, in the order in which it was given items.

    Attributes:
        worker: Its number.
        kind: `ready` once it has started, then for each item `result` or `raised`; `died`, and nothing after that.
        value: The result, the exception, or what it died of in words.
        blameless: It died of something that no item can cause, such as the loss of its machine.
    """

    worker: int
    kind: Literal["ready", "result", "raised", "died"]
    value: Any = None
    blameless: bool = False


class Pool(Protocol):
    """Workers of one task, each of which takes one item after another."""

    def capacity(self) -> int:
        """Count the workers that fit now."""

    def start(self) -> int:
        """Begin a worker and number it; a `ready` follows."""

    def send(self, worker: int, item: Any) -> None:
        """Give a worker that is ready an item, which waits for those that it was given before."""

    def wait(self, seconds: float | None) -> list[Event]:
        """Wait for what is reported next, at most so long; None for ever."""

    def kill(self, worker: int) -> None:
        """End a worker at once; nothing more is heard of it."""

    def close(self) -> None:
        """End all workers."""
