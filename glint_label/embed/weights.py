"""Weights from the model hub, its cache, or a local file; one wording for all that can go wrong."""

import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from glint_label.errors import WeightsError


def find_weights(what: str, repository: str, files: Sequence[str], option: str) -> Path:
    """Take the first of a hub repository's files that is in the cache, else download it.

    Args:
        what: The network, for the error.
        repository: On the model hub.
        files: Names under which the weights may lie there, best first.
        option: The flag that takes a local file.

    Raises:
        WeightsError: They are neither here nor to be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if cached := cached_weights(repository, files):
        return cached
    if _hub_has_a_name():
        for file in files:
            try:
                return Path(hf_hub_download(repository, file))
            except EntryNotFoundError:
                continue
            except (OSError, RuntimeError, ValueError) as error:
                raise missing_weights(what, f"{repository}/{file}", option) from error
    raise missing_weights(what, f"{repository}/{files[0]}", option)


def cached_weights(repository: str, files: Sequence[str]) -> Path | None:
    """Look into the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _hub_has_a_name() -> bool:
    """Ask for the hub's address first: without a network its client would retry for most of a minute."""
    from huggingface_hub.constants import ENDPOINT

    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def missing_weights(what: str, file: str, option: str) -> WeightsError:
    """Say which file is wanted, where it would lie, and what works without it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return WeightsError(
        f"{what}: the weights {file} are neither in the cache {HF_HUB_CACHE} nor to be had over the network; "
        f"pass a local file with {option}, or use --embedder statistics, which needs none"
    )


def unreadable_weights(file: Path, architecture: str, error: Exception) -> WeightsError:
    """Say which file does not load into which network."""
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return WeightsError(f"{file}: cannot be loaded as {architecture} ({reason}); check the file and the model's name")
