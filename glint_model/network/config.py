"""The settings of the network: what it is made of, and what training leaves alone."""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field

from glint_label.errors import UsageError
from glint_label.settings import settings

# Settings that change what training does, not what the weights mean.
OF_TRAINING = ("frozen_vit_blocks", "frozen_cnn_stages", "frozen_batchnorm", "dropout", "identity_init")


@settings(flags=())
class GlintConfig:
    """What a GlintIQA network is made of; the default is the published one.

    Attributes:
        vit: timm name of the global branch, a plain ViT for 224 px crops.
        vit_width: Token width other than the named model's; there are no pretrained weights for it.
        tapped_blocks: Blocks whose outputs are used, from 0; later blocks are left out.
        cnn: timm name of the local branch; stages after the last map in use are left out.
        cnn_reductions: Its maps that are used, by how much smaller than the crop they are: 4, 8, 16 or 32.
        cnn_width: Channels at 1/4 of a ResNet other than the named model's, doubled at each stage.
        attention_temperature: The channel attention's cosines are divided by it; 14 is sqrt(196 tokens).
        unscrambled: Leave the attention's output in its own layout, instead of reading the memory of its transpose
            as (channels, tokens) as the published network does.
        dropout: Rate in the channel attentions and in the head.
        frozen_vit_blocks: That many blocks and the patch embedding are not trained; 0 trains all.
        frozen_cnn_stages: The stem and that many stages are not trained; 0 trains all. As published, their
            BatchNorm statistics move on all the same.
        identity_init: Begin with every integration step passing the running features on as they are, its attention
            silent, so that the local branch learns from the first step; helps when the backbones are random.
        frozen_batchnorm: Use the running statistics in training too, and leave them as they are.

    Raises:
        UsageError: A number that does not fit.
    """

    vit: str = "vit_small_patch16_224.augreg_in21k_ft_in1k"
    vit_width: Annotated[int, Field(ge=1, le=4096)] | None = None
    tapped_blocks: tuple[int, ...] = (6, 7, 8, 9)
    cnn: str = "resnet50.tv_in1k"
    cnn_reductions: tuple[int, ...] = (4, 8, 16)
    cnn_width: Annotated[int, Field(ge=1, le=1024)] | None = None
    attention_temperature: Annotated[float, Field(gt=0)] = 14.0
    unscrambled: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    frozen_vit_blocks: Annotated[int, Field(ge=0)] = 5
    frozen_cnn_stages: Annotated[int, Field(ge=0)] = 2
    identity_init: bool = False
    frozen_batchnorm: bool = False

    def __post_init__(self) -> None:
        """Check how the numbers go together; timm checks names when the network is made."""
        for name in (self.vit, self.cnn):
            # timm asks the model hub about a name such as hf-hub:OWNER/MODEL: a checkpoint must not make it do so.
            if not re.fullmatch(r"[\w.]+", name):
                raise UsageError(f"{name!r}: must be a name of timm's own, of letters, digits, _ and .")
        taps = self.tapped_blocks
        if not taps or taps[0] < 0 or any(a >= b for a, b in pairwise(taps)):
            raise UsageError(f"tapped_blocks {list(taps)}: must be block numbers from 0, ascending")
        maps = self.cnn_reductions
        if not maps or not set(maps) <= {4, 8, 16, 32} or any(a >= b for a, b in pairwise(maps)):
            raise UsageError(f"cnn_reductions {list(maps)}: must be some of 4, 8, 16 and 32, ascending")
        if self.frozen_cnn_stages > len(maps):
            raise UsageError(f"frozen_cnn_stages {self.frozen_cnn_stages}: must be 0 to {len(maps)}")
        if self.frozen_vit_blocks > taps[-1]:
            raise UsageError(f"frozen_vit_blocks {self.frozen_vit_blocks}: must be 0 to {taps[-1]}")

    @classmethod
    def paper(cls) -> "GlintConfig":
        """The published network: ViT-S/16 and ResNet-50, 41 million parameters."""
        return cls()

    @classmethod
    def base(cls) -> "GlintConfig":
        """The published network around ViT-B/16."""
        return cls(vit="vit_base_patch16_224.augreg2_in21k_ft_in1k")

    @classmethod
    def tiny(cls) -> "GlintConfig":
        """Half a million parameters, trained from random weights on a laptop.

        It leaves the published network where that helps a short training: patches of 32 px (49 tokens), two narrow
        integration steps for four wide ones, sharper attention in its own layout, less dropout, attention
        that is silent at first, nothing frozen.
        """
        return cls(
            vit="vit_small_patch32_224",
            vit_width=48,
            tapped_blocks=(1, 3),
            cnn="resnet10t",
            cnn_width=16,
            attention_temperature=0.1,
            unscrambled=True,
            dropout=0.1,
            frozen_vit_blocks=0,
            frozen_cnn_stages=0,
            identity_init=True,
        )

    @classmethod
    def lite(cls) -> "GlintConfig":
        """A small network that starts from packaged weights: EfficientNet-Lite0 sees the detail, a small ViT the rest.

        It departs from the published network as `tiny` does; the CNN's map at 1/32 is used too. BatchNorm keeps the
        packaged statistics, and the CNN its stages down to 1/8, whose training would take two thirds of the time.
        """
        return replace(
            cls.tiny(),
            vit_width=96,
            cnn="tf_efficientnet_lite0",
            cnn_reductions=(4, 8, 16, 32),
            cnn_width=None,
            frozen_cnn_stages=2,
            frozen_batchnorm=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        lists = {"tapped_blocks": list(self.tapped_blocks), "cnn_reductions": list(self.cnn_reductions)}
        return asdict(self) | lists

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GlintConfig":
        """Take what `to_dict` gave; a setting that is absent keeps its default.

        Raises:
            UsageError: A setting that does not exist, or of the wrong kind.
        """
        return cls(**values)
