"""Checkpoints: safetensors whose header holds the configuration and where the weights come from. Never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from glint_label.errors import WeightsError
from glint_label.files import write_atomic
from glint_label.images import Size
from glint_label.names import plain_name
from glint_model.network.config import OF_TRAINING, GlintConfig

PACKAGED = Path(__file__).with_name("lite.safetensors")
CROPS = 25  # of an image where a checkpoint does not say otherwise, as published

# The header's one field: safetensors writes several in random order, and the same weights should make the same bytes.
FIELD = "glint-iqa"


def save_weights(path: Path, model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a network's weights; a file that exists is whole.

    Args:
        path: Ends in .safetensors by custom.
        model: A GlintIQA; its `config` goes into the header.
        metadata: Where the weights come from, plain text by name.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    config: Any = model.config
    save_state(path, model.state_dict(), config, metadata)


def save_state(path: Path, state: Mapping[str, Tensor], config: GlintConfig, metadata: Mapping[str, str]) -> None:
    """Write a state dict that a network of this configuration fits, such as a moving average of its weights."""
    header = json.dumps({"config": config.to_dict(), "metadata": dict(metadata)}, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomic(path, safetensors.torch.save(tensors, {FIELD: header}))


def load_weights(
    path: Path, expected: GlintConfig | None = None
) -> tuple[GlintConfig, dict[str, Tensor], dict[str, str]]:
    """Read what `save_weights` wrote.

    Args:
        path: The checkpoint.
        expected: Refuse weights of another network; settings that matter in training only may differ.

    Returns:
        Configuration, state dict on the CPU, metadata.

    Raises:
        WeightsError: It is missing, damaged, none of ours, or of another network than expected.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint")
    try:
        with plain_name(path) as plain, safetensors.safe_open(plain, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: truncated, or not a safetensors file ({str(error).splitlines()[0]})") from error
    if FIELD not in header:
        raise WeightsError(f"{path}: safetensors, but no checkpoint of GlintIQA")
    try:
        fields = json.loads(header[FIELD])
        config = GlintConfig.from_dict(fields["config"])
        metadata = {str(key): str(value) for key, value in fields["metadata"].items()}
    except (KeyError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its header cannot be read ({error}); a newer version may have made it") from error
    if expected is not None and (differences := _differences(config, expected)):
        raise WeightsError(f"{path}: made by another network: {'; '.join(differences)}")
    return config, state, metadata


def size_in_words(size: Size) -> str:
    """Write the size of pictures as a checkpoint's header has it."""
    return "native" if size is None else f"{size[0]}x{size[1]}"


def seen_size(facts: Mapping[str, str]) -> Size:
    """Read at which size a checkpoint's network saw pictures; older ones saw them as they are."""
    return size_of_words(facts.get("size", "native"))


def size_of_words(words: str) -> Size:
    """Read what `size_in_words` wrote."""
    if words == "native":
        return None
    width, height = words.split("x")
    return int(width), int(height)


def _differences(found: GlintConfig, expected: GlintConfig) -> list[str]:
    return [
        f"{name} {value!r}, not {wanted!r}"
        for (name, value), wanted in zip(found.to_dict().items(), expected.to_dict().values(), strict=True)
        if value != wanted and name not in OF_TRAINING
    ]


def put_weights(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put a checkpoint's state dict into a network.

    Raises:
        WeightsError: Its tensors are not those of the network.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines()][1][:200]
        raise WeightsError(f"{path}: does not fit its own configuration ({reason})") from error
