"""The two backbones: made by timm, cut behind the last layer in use, and given weights."""

import dataclasses
import socket
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from glint_label.errors import UsageError, WeightsError
from glint_label.files import sha256_of
from glint_model.config import GlintConfig
from glint_model.crops import CROP

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
REDUCTIONS = (4, 8, 16)
# What opening or fitting a wrong file is known to raise.
_DAMAGE = (
    OSError,
    SafetensorError,
    RuntimeError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    UnpicklingError,
)


def make_vit(config: GlintConfig) -> Any:
    """Make the ViT up to its last tapped block, with random weights.

    Raises:
        UsageError: A name that timm does not know, or a network that is no plain ViT for 224 px.
    """
    width = {} if config.vit_width is None else {"embed_dim": config.vit_width}
    vit = _made(config.vit, width)
    if not hasattr(vit, "blocks") or not hasattr(vit, "patch_embed") or not hasattr(vit, "prune_intermediate_layers"):
        raise UsageError(f"{config.vit}: not a ViT with blocks to tap; vit_small_patch16_224 is one")
    patch = vit.patch_embed.patch_size[0]
    if vit.patch_embed.grid_size != (CROP // patch, CROP // patch) or patch % REDUCTIONS[-1]:
        raise UsageError(f"{config.vit}: needs an input of {CROP} px and patches of 16 or 32 px")
    if config.tapped_blocks[-1] >= len(vit.blocks):
        raise UsageError(f"{config.vit}: has blocks 0 to {len(vit.blocks) - 1}, not {config.tapped_blocks[-1]}")
    vit.prune_intermediate_layers(list(config.tapped_blocks), prune_norm=True, prune_head=True)
    return vit


def make_cnn(config: GlintConfig) -> tuple[Any, list[int]]:
    """Make the CNN up to its map at 1/16, with random weights.

    Returns:
        The network and the indices of its maps at 1/4, 1/8 and 1/16.

    Raises:
        UsageError: A name that timm does not know, or a network without such maps.
    """
    width = config.cnn_width
    options = {} if width is None else {"stem_width": width // 2, "channels": tuple(width << n for n in range(4))}
    cnn = _made(config.cnn, options)
    described = list(getattr(cnn, "feature_info", []))
    stages = [max((i for i, s in enumerate(described) if s["reduction"] == r), default=-1) for r in REDUCTIONS]
    if -1 in stages or not hasattr(cnn, "prune_intermediate_layers"):
        raise UsageError(f"{config.cnn}: has no feature maps at 1/4, 1/8 and 1/16; resnet50 has")
    cnn.prune_intermediate_layers(stages, prune_norm=True, prune_head=True)
    return cnn, stages


def _made(name: str, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        asked = "".join(f", {option} {value}" for option, value in options.items())
        raise UsageError(f"timm cannot make {name!r}{asked}: {_first_line(error)}") from error


def thawed(config: GlintConfig, vit: str | Path, cnn: str | Path) -> GlintConfig:
    """Freeze nothing that starts from random weights."""
    return dataclasses.replace(
        config,
        frozen_vit_blocks=0 if vit == "random" else config.frozen_vit_blocks,
        frozen_cnn_stages=0 if cnn == "random" else config.frozen_cnn_stages,
    )


def load_backbone(network: nn.Module, name: str, weights: str | Path) -> str:
    """Give a backbone its weights; what it has no place for, as a classifier, is passed over.

    Args:
        network: As `make_vit` and `make_cnn` give it.
        name: Its timm name; the part behind the dot chooses among the hub's weights.
        weights: `hub`, `random` (left as it is), or a file of safetensors or torch tensors.

    Returns:
        What was used: `random`, or the place and the sha256 of the file.

    Raises:
        WeightsError: Weights that are neither here nor to be had, or do not fit.
    """
    if weights == "random":
        return "random"
    known = timm.get_pretrained_cfg(name) if weights == "hub" else None
    repository = (known and known.hf_hub_id) or ""
    path = _from_hub(name, repository) if weights == "hub" else Path(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; pass the weights of {name}, or 'hub' or 'random'")
    try:
        found = _read(path)
        wanted = network.state_dict()
        if missing := [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]:
            raise ValueError(f"{len(missing)} of {len(wanted)} tensors are missing, first {missing[0]}")
        network.load_state_dict({key: found.get(key, wanted[key]) for key in wanted})
    except _DAMAGE as error:
        reason = _first_line(error, 1 if "Error(s) in loading" in str(error) else 0)
        raise WeightsError(f"{path}: cannot be loaded as {name} ({reason})") from error
    place = f"hub {repository}" if repository else path.name
    return f"{place} sha256 {sha256_of(path)}"


def _read(path: Path) -> dict[str, Tensor]:
    """Read tensors by name, without the wrappers that training scripts put around them."""
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of the format
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in ("state_dict", "model"):
        content = content.get(wrapper, content)
    return {key.removeprefix("module."): value for key, value in content.items()}


def _from_hub(name: str, repository: str) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
    from huggingface_hub.errors import EntryNotFoundError

    if not repository:
        raise WeightsError(f"{name}: the hub has no weights for it; pass a local file, or 'random'")
    for file in HUB_FILES:
        if isinstance(cached := try_to_load_from_cache(repository, file), str):
            return Path(cached)
    advice = WeightsError(
        f"{name}: the weights {repository}/{HUB_FILES[0]} are neither in the cache {HF_HUB_CACHE} nor to be had over "
        "the network; pass a local file of them, or 'random'"
    )
    if not _has_a_name(ENDPOINT):
        raise advice
    for file in HUB_FILES:
        try:
            return Path(hf_hub_download(repository, file))
        except EntryNotFoundError:
            continue
        except (OSError, RuntimeError, ValueError) as error:
            raise advice from error
    raise advice


def _has_a_name(endpoint: str) -> bool:
    """Ask for the hub's address first: without a network its client would retry for most of a minute."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(endpoint).hostname, 443)
    except OSError:
        return False
    return True


def _first_line(error: Exception, line: int = 0) -> str:
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    return lines[min(line, len(lines) - 1)][:200] if lines else type(error).__name__
