"""Every error that a user can cause, and the exit code each one ends in.

GlintError
+-- UsageError (2)          an option or name that does not exist or does not fit
+-- InputError (3)          data that cannot be used: images, ratings, manifests, vectors
|   +-- ImageError          one image; becomes a row in failed.csv
|   +-- SourceError         a rated dataset that is incomplete or malformed
|   +-- WeightsError        weights that are missing or unusable
|   +-- DownloadError       an address that does not give what it should
|   +-- StateError          an output folder that another configuration made, or that is damaged
|   +-- OutputError         a disk that is full or read-only
+-- StorageError (3)        an object store that cannot be used: credentials, bucket, connection; no OSError
+-- TooManyFailuresError (4)
+-- WorkerError (1)         a worker process died
+-- TrainingError (1)       a loss that is no longer a number
+-- ThresholdError (5)      audit or verify below the asked-for figure
"""

from collections.abc import Iterator
from contextlib import contextmanager

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # as PyTorch says it, on CPU and GPU


class GlintError(Exception):
    """Base of all expected errors: one line that says what, which file or row, and what to do."""

    exit_code = 1


class UsageError(GlintError, ValueError):
    """An option or name that does not exist or does not fit."""

    exit_code = 2


class InputError(GlintError, ValueError):
    """Data that cannot be used."""

    exit_code = 3


class ImageError(InputError):
    """One image that cannot be used; `reason` is a short code for failed.csv."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        """Survive the way back from a worker process: both arguments, not only the message."""
        return type(self), (self.reason, str(self))


class SourceError(InputError):
    """A rated dataset that is incomplete or malformed."""


class WeightsError(InputError):
    """Network weights that are missing or unusable."""


class DownloadError(InputError):
    """A download that broke off, or that brought something else than what was wanted."""


class StateError(InputError):
    """An output folder that another configuration made, or that is damaged."""


class OutputError(InputError, OSError):
    """An output that cannot be written: disk full, no permission."""


class StorageError(GlintError):
    """An object store that cannot be used. It is no OSError, so that nobody takes it for one bad file."""

    exit_code = 3


class WorkerError(GlintError):
    """A worker process died."""


class TrainingError(GlintError):
    """Training that cannot go on: a loss that is no longer a number."""


class TooManyFailuresError(GlintError):
    """More images failed than `--max-failures` allows."""

    exit_code = 4


class ThresholdError(GlintError):
    """A measured figure is below the one asked for."""

    exit_code = 5


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that memory ran out; PyTorch raises a RuntimeError for that."""
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    return told or isinstance(error, MemoryError)


@contextmanager
def enough_memory(name: str, purpose: str) -> Iterator[None]:
    """Let memory that runs out in this block be a fault of one image.

    Args:
        name: The image.
        purpose: What is done to it: a verb.

    Raises:
        ImageError: `memory`.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        message = f"{name}: not enough memory to {purpose} it; free some, or use fewer --workers"
        raise ImageError("memory", message) from error
