"""CLIP image embeddings through open_clip: any architecture and tag, or a weights file of your own."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glint_label.embed.device import PlacedNetwork, resolve_device
from glint_label.embed.embedder import CosineSpace, check_finite
from glint_label.errors import UsageError, WeightsError
from glint_label.files import sha256_of
from glint_label.weights import find_weights, put_tensors, read_tensors

DEFAULT_MODEL = "ViT-B-32:laion2b_s34b_b79k"
CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # on the hub, best first
DEFAULT_REPOSITORY = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"  # its weights; open_clip would take seconds to tell
INSTEAD = "pass a local file with --clip-weights, or use --embedder packaged, which needs none"


class ClipPreparation:
    """open_clip's own inference transform, built on first use in the process that runs it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @cached_property
    def _transform(self) -> Any:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        return image_transform_v2(PreprocessCfg(**self.config), is_train=False)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to a worker without the transform: it is rebuilt there."""
        return {"config": self.config}

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize, crop and normalise one photo: (3, size, size) float32."""
        prepared: NDArray[np.float32] = self._transform(Image.fromarray(pixels)).numpy()
        return prepared


class ClipEmbedder(CosineSpace):
    """The image tower of a CLIP model, in float32.

    Args:
        model: `ARCHITECTURE:TAG`; the tag names the weights and their preprocessing. `ARCHITECTURE` alone needs
            `weights`.
        weights: A local .safetensors, .pt or .bin file; used instead of the tag's download.
        device: Torch device, or `auto`.

    Raises:
        UsageError: Unknown architecture, tag or device.
        WeightsError: The weights are not cached and the download failed, or they do not fit the architecture.
    """

    name = "clip"
    # Copies of a picture lie close to 1. Not calibrated: a model's own weights decide how close different photos come.
    near_duplicate = 0.96

    def __init__(self, model: str, weights: Path | None, device: str) -> None:
        resolve_device(device)  # what is wrong with it is said before weights are fetched
        architecture, tag = _parse_model(model, weights)
        self._weights = weights or _download(architecture, tag)
        self._model_name = model
        network = _load(architecture, tag, self._weights)
        self._placed = PlacedNetwork(network.visual, device)
        self.runs_network = self._placed.movable
        preprocessing = dict(network.visual.preprocess_cfg)
        self.preparation = ClipPreparation(preprocessing)
        size = preprocessing["size"]
        self._shape = (3, *(size if isinstance(size, (tuple, list)) else (size, size)))
        self.dimensions = int(network.visual.output_dim)

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Embed a shard in one batch of as many slots as the shard has references."""
        import torch

        batch = np.zeros((len(paths), *self._shape), dtype=np.float32)
        for slot, image in zip(batch, inputs, strict=True):
            if image is not None:
                slot[:] = image
        with torch.inference_mode(), exact_float32():
            features = self._placed.network(torch.from_numpy(batch).to(self._placed.device))
        vectors: NDArray[np.float32] = features.float().cpu().numpy()
        vectors[[image is None for image in inputs]] = 0
        check_finite(vectors, paths)
        return vectors

    def describe(self) -> dict[str, Any]:
        """Model, hash of its weights and preprocessing."""
        return {
            "embedder": self.name,
            "model": self._model_name,
            "weights": self._weights.name,
            "weights_sha256": sha256_of(self._weights),
            "precision": "float32",
            "preprocessing": self.preparation.config,
            "dimensions": self.dimensions,
        }


def exact_float32() -> Any:
    """Keep convolutions in true float32: on a GPU cuDNN would round them to TF32 by default."""
    import torch

    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _parse_model(model: str, weights: Path | None) -> tuple[str, str]:
    import open_clip

    architecture, _, tag = model.partition(":")
    if architecture not in open_clip.list_models():
        raise UsageError(
            f"--clip-model {model}: open_clip knows no architecture {architecture!r}; "
            "`python -c 'import open_clip; print(open_clip.list_models())'` lists them"
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags and (tag or weights is None):
        raise UsageError(
            f"--clip-model {model}: {architecture} has no weights tag {tag!r}; known are {', '.join(tags) or 'none'}"
        )
    return architecture, tag


def hub_files(architecture: str, tag: str) -> tuple[str, tuple[str, ...]]:
    """Name a tag's repository on the model hub and the files under which its weights may lie there."""
    import open_clip

    repository, _, file = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").rpartition("/")
    if file:
        return repository, (str(Path(file).with_suffix(".safetensors")), file)
    return repository, CLIP_FILES


def _download(architecture: str, tag: str) -> Path:
    what = f"CLIP {architecture}:{tag}"
    repository, files = hub_files(architecture, tag)
    if not repository:
        raise WeightsError(f"{what}: the model hub does not hold these weights; {INSTEAD}")
    return find_weights(what, repository, files, instead=INSTEAD)


def _load(architecture: str, tag: str, weights: Path) -> Any:
    """Make the model and give its image tower the tensors of the file; the text tower is not used, nor fetched."""
    import open_clip
    from open_clip.convert import convert_state_dict
    from open_clip.model import resize_pos_embed

    tensors = read_tensors(weights, architecture)
    config = open_clip.get_pretrained_cfg(architecture, tag)
    preprocessing = asdict(open_clip.transform.PreprocessCfg())
    preprocessing = {key: config[key] for key in preprocessing if config.get(key) is not None}
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # open_clip warns that it was given no weights: they come below
    try:
        network = open_clip.create_model(
            architecture,
            precision="fp32",
            force_quick_gelu=config.get("quick_gelu", False),
            force_preprocess_cfg=preprocessing,
            pretrained_hf=False,
        )
    finally:
        logging.disable(before)
    tensors = convert_state_dict(network, {name: tensor.float() for name, tensor in tensors.items()})
    resize_pos_embed(tensors, network)
    tower = {name.removeprefix("visual."): tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    put_tensors(network.visual, tower, weights, architecture)
    return network
