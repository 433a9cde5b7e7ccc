"""GlintIQA, from crops to scores: a ViT sees the content, a ResNet the detail, channel attention joins them.

Built from the published description (Wang & Zhang, arXiv 2408.03885). In the comments B is the batch,
N = 14 x 14 = 196 the tokens of a crop, D = 384 the ViT's token width. Features are kept channels first, (B, C, N).
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, normalize, scaled_dot_product_attention

from glint_label.efficientnet import fold_batch_norms
from glint_label.errors import UsageError
from glint_label.images import Size, bring_to_size, read_photo
from glint_model.network import backbones, checkpoint
from glint_model.network.config import GlintConfig
from glint_model.network.crops import CROP, check_pixels, cut_crops

CROPS_AT_ONCE = 25


class GlobalFeatures(nn.Module):
    """VGFE: the patch tokens of a few blocks of a ViT, before its final norm; no later block exists here."""

    def __init__(self, config: GlintConfig) -> None:
        super().__init__()
        self.taps = list(config.tapped_blocks)
        self.vit = backbones.make_vit(config)
        self.width: int = self.vit.embed_dim
        self.patch: int = self.vit.patch_embed.patch_size[0]
        if config.frozen_vit_blocks:
            self.vit.patch_embed.requires_grad_(False)
            self.vit.blocks[: config.frozen_vit_blocks].requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, 224, 224) in [-1, 1] -> one (B, D, N) a tapped block, without the class token."""
        tokens = self.vit.forward_intermediates(  # 4 x (B, N, D)
            images, indices=self.taps, output_fmt="NLC", intermediates_only=True, stop_early=True
        )
        return [each.transpose(1, 2) for each in tokens]  # 4 x (B, D, N)


class LocalFeatures(nn.Module):
    """CLFE: a CNN's M = 3 maps at 1/4, 1/8 and 1/16, each cut into patches that match the ViT's tokens."""

    def __init__(self, config: GlintConfig, width: int, patch: int) -> None:
        super().__init__()
        self.cnn, self.stages = backbones.make_cnn(config)
        self.cnn.to(memory_format=torch.channels_last)
        described = [self.cnn.feature_info[stage] for stage in self.stages]
        self.embeddings = nn.ModuleList(
            nn.Conv2d(stage["num_chs"], width, patch // stage["reduction"], stride=patch // stage["reduction"])
            for stage in described
        )
        if config.frozen_cnn_stages:
            last = described[config.frozen_cnn_stages - 1]["module"]
            parameters = list(self.cnn.named_parameters())  # in the order in which they are used
            end = max(index for index, (name, _) in enumerate(parameters) if name.startswith(f"{last}."))
            for _, parameter in parameters[: end + 1]:
                parameter.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, 224, 224) in [-1, 1] -> (B, MD, N)."""
        images = images.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        maps = self.cnn.forward_intermediates(  # (B, 256, 56, 56), (B, 512, 28, 28), (B, 1024, 14, 14)
            images, indices=self.stages, intermediates_only=True, stop_early=True
        )
        tokens = [embed(each).flatten(2) for embed, each in zip(self.embeddings, maps, strict=True)]  # M x (B, D, N)
        return torch.cat(tokens, dim=1)  # (B, MD, N)


class ChannelAttention(nn.Module):
    """CWSA: every channel looks at every other; queries, keys and values mix the tokens of one channel."""

    def __init__(self, tokens: int, config: GlintConfig) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(tokens, 3 * tokens)
        self.norm = nn.LayerNorm(tokens)
        self.scale = 1 / config.attention_temperature
        self.unscrambled = config.unscrambled
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, N)."""
        q, k, v = self.to_qkv(x)[:, None].chunk(3, dim=3)  # (B, 1, C, N) each: a single head
        q, k = normalize(q, dim=3), normalize(k, dim=3)  # their products are cosines
        y: Tensor = scaled_dot_product_attention(q, k, v, scale=self.scale)[:, 0]  # (B, C, N)
        if not self.unscrambled:
            y = y.transpose(1, 2).reshape(x.shape)  # the memory of (B, N, C) read as (B, C, N): as published
        y = self.norm(dropout(y, self.dropout, self.training))  # (B, C, N)
        return x + y  # (B, C, N)

    def start_gently(self) -> None:
        """Hand the input on as it is, until training finds a use for the attention."""
        nn.init.zeros_(self.norm.weight)


class SpatialInteraction(nn.Module):
    """SIEM: one 3 x 3 convolution over the grid of tokens, two feature sets in, one out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2D, N) -> (B, D, N)."""
        side = math.isqrt(x.shape[2])  # 14
        grid = x.unflatten(2, (side, side))  # (B, 2D, 14, 14)
        joined: Tensor = self.conv(grid)  # (B, D, 14, 14)
        return joined.flatten(2)  # (B, D, N)

    def start_gently(self) -> None:
        """Hand the second half of the input, the running features, on as they are."""
        width = self.conv.out_channels
        nn.init.zeros_(self.conv.weight)
        nn.init.dirac_(self.conv.weight[:, width:])


class Head(nn.Module):
    """Mean over the tokens, two layers, one unbounded score."""

    def __init__(self, width: int, config: GlintConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, N) -> (B,)."""
        x = gelu(self.hidden(x.mean(dim=2)))  # (B, D)
        x = dropout(x, self.dropout, self.training)
        # Not self.score(x): under autocast a linear layer's output is bfloat16, whose steps at 4 are 0.03.
        return (x * self.score.weight[0]).sum(dim=1) + self.score.bias  # (B,)


class GlintIQA(nn.Module):
    """The network; `GlintIQA(config)` has random weights, `start` and `load` give it others.

    Args:
        config: What it is made of.

    Attributes:
        config: As given.
        size: What pictures are brought to before they are scored, as those it learnt from were; None: left alone.
        crops: Of an image, unless another number is asked for; 0: regular ones.
        facts: What the checkpoint says of the weights.

    Raises:
        UsageError: A backbone that timm does not know or that does not fit.
    """

    def __init__(self, config: GlintConfig) -> None:
        super().__init__()
        self.config = config
        self.size: Size = None
        self._folded: tuple[list[tuple[int, int]], GlintIQA] | None = None
        self.crops = checkpoint.CROPS
        self.facts: dict[str, str] = {}
        self.global_features = GlobalFeatures(config)
        width, patch = self.global_features.width, self.global_features.patch
        tokens = (CROP // patch) ** 2
        self.local_features = LocalFeatures(config, width, patch)
        self.local_attention = ChannelAttention(tokens, config)
        self.local_projection = nn.Linear(len(config.cnn_reductions) * width, width)
        self.attentions = nn.ModuleList(ChannelAttention(tokens, config) for _ in config.tapped_blocks)
        self.interactions = nn.ModuleList(SpatialInteraction(width) for _ in config.tapped_blocks)
        self.head = Head(width, config)
        if config.identity_init:
            for part in (self.local_attention, *self.attentions, *self.interactions):
                part.start_gently()

    def forward(self, crops: Tensor) -> Tensor:
        """Score crops, (B, 3, 224, 224) in [0, 1] -> (B,) on the scale of the labels, higher is better."""
        score: Tensor = self.head(self._joined_features(crops))  # (B,)
        return score

    def local_scores(self, crops: Tensor) -> Tensor:
        """Score every token of crops by itself, (B, 3, 224, 224) in [0, 1] -> (B, 14, 14), on the same scale."""
        running = self._joined_features(crops)  # (B, D, N)
        side = math.isqrt(running.shape[2])
        scores: Tensor = self.head(running.transpose(1, 2).flatten(0, 1)[:, :, None])  # (B * N,)
        return scores.view(len(crops), side, side)

    def _joined_features(self, crops: Tensor) -> Tensor:
        images = 2 * crops - 1  # mean and deviation 0.5, for both branches
        local = self.local_attention(self.local_features(images))  # (B, MD, N)
        running: Tensor = self.local_projection(local.transpose(1, 2)).transpose(1, 2)  # (B, D, N)
        steps = zip(self.global_features(images), self.attentions, self.interactions, strict=True)
        for tokens, attend, interact in steps:
            running = interact(attend(torch.cat([tokens, running], dim=1)))  # (B, 2D, N) -> (B, D, N)
        return running

    def train(self, mode: bool = True) -> "GlintIQA":
        """Switch to training or back; BatchNorm stays in evaluation if the configuration freezes it."""
        super().train(mode)
        if self.config.frozen_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @classmethod
    def start(
        cls, config: GlintConfig, vit: str | Path = "hub", cnn: str | Path = "hub"
    ) -> tuple["GlintIQA", dict[str, str]]:
        """Make a network to be trained; everything but the backbones is random.

        A backbone with random weights is trained as a whole: there is nothing in it worth freezing.

        Args:
            config: What it is made of.
            vit: Weights of the ViT: `hub`, `packaged`, `random`, or a file of safetensors or torch tensors.
            cnn: Weights of the CNN, likewise.

        Returns:
            The network and what its backbones started from, for the log and the checkpoint.

        Raises:
            UsageError: A width of one's own, for which the hub has no weights.
            WeightsError: The weights are missing and cannot be downloaded, or do not fit.
        """
        for name, weights in (("vit_width", vit), ("cnn_width", cnn)):
            if weights == "hub" and getattr(config, name) is not None:
                raise UsageError(f"{name} {getattr(config, name)}: the hub has no weights of that width; use 'random'")
        model = cls(backbones.thawed(config, vit, cnn))
        origins = {
            "vit_weights": backbones.load_backbone(model.global_features.vit, config.vit, vit),
            "cnn_weights": backbones.load_backbone(model.local_features.cnn, config.cnn, cnn),
        }
        return model, origins

    @classmethod
    def load(cls, path: str | Path | None = None, device: str | torch.device = "cpu") -> "GlintIQA":
        """Open a checkpoint for scoring.

        Args:
            path: The file; None: the packaged network.
            device: Where it is to run.

        Raises:
            WeightsError: It is missing, damaged, or none of ours.
        """
        place = checkpoint.PACKAGED if path is None else Path(path)
        config, state, facts = checkpoint.load_weights(place)
        model = cls(config)
        checkpoint.put_weights(model, state, place)
        model.facts = facts
        model.size = checkpoint.seen_size(facts)
        model.crops = int(facts.get("crops", checkpoint.CROPS))
        return model.to(device).eval()

    def score(
        self,
        images: Sequence[str | Path | NDArray[np.uint8]],
        crops: int | None = None,
        batch_size: int = CROPS_AT_ONCE,
        seed: int = 0,
    ) -> NDArray[np.float64]:
        """Score images, each the mean of its crops.

        Args:
            images: Paths, or (H, W, 3) uint8 RGB.
            crops: Random crops an image; 0: regular ones, see cut_crops; None: as the checkpoint says.
            batch_size: Crops that go through the network at once.
            seed: Of the random places.

        Returns:
            (n,), in the order of the images.

        Raises:
            ImageError: A file that is no usable image.
        """
        if isinstance(images, str | Path | np.ndarray):
            raise UsageError("score takes a list of images; put a single one in brackets")
        return np.array([self.score_one(image, crops, batch_size, seed) for image in images], dtype=np.float64)

    def score_one(
        self,
        image: str | Path | NDArray[np.uint8],
        crops: int | None = None,
        batch_size: int = CROPS_AT_ONCE,
        seed: int = 0,
    ) -> float:
        """Score one image as `score` does.

        Two images never share a batch, so a score does not depend on the company to the last bit; another `batch_size`
        may round differently, by less than 1e-5 of the score.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: must be at least 1")
        pixels = image if isinstance(image, np.ndarray) else read_photo(Path(image)).pixels
        check_pixels(pixels)
        squares = cut_crops(
            bring_to_size(pixels, self.size), self.crops if crops is None else crops, seed
        )  # (n, 3, 224, 224) uint8
        device = next(self.parameters()).device
        network = self.folded()
        with scoring(network):
            scores = [network(part.to(device).float() / 255).double() for part in squares.split(batch_size)]
            return float(torch.cat(scores).mean())

    def folded(self) -> "GlintIQA":
        """Give a copy whose batch norms are part of the convolutions: as good as the same scores, sooner.

        It is kept until a weight changes; the network itself can be trained further.
        """
        weights = [(id(tensor), tensor._version) for tensor in (*self.parameters(), *self.buffers())]
        if self._folded is None or self._folded[0] != weights:
            self._folded = None
            network = copy.deepcopy(self).eval()
            fold_batch_norms(network.local_features.cnn)
            self._folded = weights, network
        return self._folded[1]


@contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Evaluate without gradients and, on a GPU, in true float32; leave the network as it was."""
    training = model.training
    model.eval()
    try:
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        model.train(training)
