"""What every stage of a build offers: three verbs, so that nothing else need know which stages there are."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class Stage(ABC):
    """A part of a build with its files; what is finished is found again, whoever made it and whatever came between."""

    @abstractmethod
    def missing(self) -> Sequence[Any]:
        """List what is still to be made: never made, lost or damaged."""

    @abstractmethod
    def make(self, missing: Sequence[Any]) -> None:
        """Make it.

        Raises:
            GlintError: What is finished is kept.
        """

    def is_whole(self) -> bool:
        """Tell whether nothing is missing."""
        return not self.missing()
