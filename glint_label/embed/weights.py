"""One wording for weights that are not there or cannot be read."""

from pathlib import Path

from glint_label.errors import WeightsError


def missing_weights(what: str, file: str, cache: str, option: str) -> WeightsError:
    """Say which file is wanted, where it would lie, and what works without it."""
    return WeightsError(
        f"{what}: the weights {file} are neither in the cache {cache} nor to be had over the network; "
        f"pass a local file with {option}, or use --embedder statistics, which needs none"
    )


def unreadable_weights(file: Path, architecture: str, error: Exception) -> WeightsError:
    """Say which file does not load into which network."""
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return WeightsError(f"{file}: cannot be loaded as {architecture} ({reason}); check the file and the model's name")
