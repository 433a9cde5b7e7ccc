"""The settings of a training run, and the presets they start from."""

from collections.abc import Mapping
from dataclasses import asdict, field, replace
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from glint_label.errors import UsageError
from glint_label.settings import settings
from glint_model.network.config import GlintConfig

# What may change between a run and its continuation: none of it changes the weights, up to the rounding of a device.
FREE = ("device", "workers", "pixels", "checkpoint_every", "cache_mb", "tensorboard")

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


# Settings that have a flag of their own; the others come from a settings file.
_FLAGS = (
    "steps",
    "epochs",
    "batch_size",
    "device",
    "precision",
    "seed",
    "checkpoint_every",
    "pixels",
    "workers",
    "exclude_anchors",
)


@settings(flags=_FLAGS)
class TrainConfig:
    """Everything that decides what a training run computes.

    Attributes:
        preset: Where the settings started from; it names the run.
        network: What the network is made of.
        vit_weights: What the ViT starts from: `hub`, `packaged`, `random` or a file.
        cnn_weights: The CNN, likewise.
        steps: Length of the run in steps of the optimiser; None: `epochs` counts.
        epochs: Length in passes over the training images.
        batch_size: Images of a step, over all processes and all accumulated parts.
        crops: Crops of each image in its step; all have its label.
        group: Images of the same photo that a step takes together.
        reuse: Steps that use each rendered image, with newly drawn crops; each counts as one use in `epochs`.
        accumulate: Parts that a step's batch is cut into, one after another.
        optimizer: `adam` (decay added to the gradient) or `adamw`.
        lr: Highest learning rate.
        fan_in: Inputs of a layer beyond which its learning rate falls inversely; 0: all layers have the same.
        weight_decay: Of all weights for `adam`, of matrices and kernels for `adamw`.
        schedule: `oscillating` (down and up again every `period` steps) or `warm-up` (`warm_up` steps up, the others
            down).
        period: Steps of one way of the oscillation.
        warm_up: Share of the run in which the learning rate rises.
        grad_clip: Largest norm of the gradient; 0 leaves it unbounded.
        rank_weight: How much the loss on pairs inside a group counts; 0 switches it off.
        noise_weighting: Weight each image by 1 / mos_error^2, bounded to a factor of 4 either way.
        init_bias_to_mean: Start the last layer's bias at the mean label.
        ema: Decay of the moving average of the weights, which is then what is kept; 0 switches it off.
        val_every: Steps between validations.
        val_images: At most so many images of the validation split.
        val_crops: Crops of each.
        exclude_anchors: Anchors held out of training: no label may rest on them.
        min_similarity: Photos less similar to their nearest anchor are left out.
        seed: Of the weights, the order, the crops and the dropout.
        precision: `32`, `bf16`, or `auto`: bf16 on a GPU.
        compile: Compile the network with torch.compile.
        pixels: Make distorted images on the `fly`, or read them from `disk`.
        device: auto, cpu, cuda.
        workers: Processes that make the batches; None: chosen by the device.
        checkpoint_every: Steps between checkpoints.
        cache_mb: Memory for decoded photos in each worker, megabytes.
        tensorboard: Write TensorBoard's event files too.

    Raises:
        UsageError: A setting that does not fit.
    """

    preset: str = "default"
    network: GlintConfig = field(default_factory=GlintConfig)
    vit_weights: str = "hub"
    cnn_weights: str = "hub"
    steps: Count | None = None
    epochs: Positive = 10.0
    batch_size: Count = 128
    crops: Count = 1
    group: Count = 4
    reuse: Count = 4
    accumulate: Count = 1
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: Positive = 3e-4
    fan_in: Whole = 144
    weight_decay: NotNegative = 0.05
    schedule: Literal["oscillating", "warm-up"] = "warm-up"
    period: Count = 30
    warm_up: Share = 0.05
    grad_clip: NotNegative = 1.0
    rank_weight: NotNegative = 0.5
    noise_weighting: bool = True
    init_bias_to_mean: bool = True
    ema: Share = 0.999
    val_every: Count = 500
    val_images: Count = 1000
    val_crops: Count = 2
    exclude_anchors: tuple[str, ...] = ()
    min_similarity: float | None = None
    seed: Whole = 0
    precision: Literal["auto", "32", "bf16"] = "auto"
    compile: bool = False
    pixels: Literal["fly", "disk"] = "fly"
    device: str = "auto"
    workers: Whole | None = None
    checkpoint_every: Count = 500
    cache_mb: Whole = 512
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Check how the numbers go together."""
        if self.batch_size % (self.accumulate * self.group):
            raise UsageError(
                f"--batch-size {self.batch_size}: must be a multiple of group x accumulate, "
                f"{self.group} x {self.accumulate}"
            )
        if self.rank_weight and self.group < 2:
            raise UsageError("group 1: the rank loss compares images inside a group; set group to 2 or more")

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that YAML and JSON can hold."""
        return asdict(self) | {
            "network": self.network.to_dict(),
            "exclude_anchors": list(self.exclude_anchors),
        }

    def to_yaml(self) -> str:
        """Write the file that `--config` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that a continued run must share."""
        return {name: value for name, value in self.to_dict().items() if name not in FREE}


_TINY = GlintConfig.tiny()
_RANDOM: dict[str, Any] = {"vit_weights": "random", "cnn_weights": "random"}
# Adam, L1 on the labels as they are, one image at a time, no average of weights: the published training.
_PAPER = TrainConfig(
    preset="paper",
    epochs=50.0,
    group=1,
    reuse=1,
    optimizer="adam",
    lr=1e-5,
    fan_in=0,
    weight_decay=1e-5,
    schedule="oscillating",
    grad_clip=0.0,
    rank_weight=0.0,
    noise_weighting=False,
    init_bias_to_mean=False,
    ema=0.0,
)
_DEFAULT = TrainConfig(preset="default", network=replace(GlintConfig.paper(), frozen_batchnorm=True))
# What a small network learns in, on a laptop.
_SMALL: dict[str, Any] = {
    "steps": 2400,
    "batch_size": 16,
    "crops": 2,
    "ema": 0.99,
    "val_every": 250,
    "val_images": 256,
    "val_crops": 1,
    "checkpoint_every": 100,
}
PRESETS = {
    "paper": _PAPER,
    # The published arithmetic in small backbones. They start from random weights, for which 1e-5 is too slow to watch.
    "paper-tiny": replace(
        _PAPER,
        preset="paper-tiny",
        network=replace(_TINY, attention_temperature=14.0, unscrambled=False, dropout=0.5),
        lr=1e-3,
        batch_size=16,
        epochs=1.0,
        val_every=100,
        val_images=128,
        val_crops=1,
        checkpoint_every=50,
        **_RANDOM,
    ),
    "default": _DEFAULT,
    # Needs no download and no GPU: under an hour on two cores.
    "lite": replace(
        _DEFAULT,
        preset="lite",
        network=GlintConfig.lite(),
        vit_weights="random",
        cnn_weights="packaged",
        lr=1e-3,
        **{**_SMALL, "steps": 1200, "batch_size": 32, "crops": 1, "ema": 0.998},
    ),
    "default-tiny": replace(
        _DEFAULT,
        preset="default-tiny",
        network=_TINY,
        lr=2e-3,
        **_SMALL,
        **_RANDOM,
    ),
}


def resolve(preset: str, given: Mapping[str, Any]) -> TrainConfig:
    """Lay settings over a preset.

    Args:
        preset: Its name.
        given: Settings by name, from a file or the command line. `network` may name some of its settings only. Of
            `steps` and `epochs` the given one counts.

    Raises:
        UsageError: An unknown preset or setting, or a value that does not fit.
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: must be one of {', '.join(PRESETS)}")
    base = PRESETS[preset]
    values = dict(given)
    if "epochs" in values and values.get("steps") is None:
        values["steps"] = None
    if "network" in values:
        values["network"] = _network(base.network, values["network"])
    if values.get("cnn_weights") == "random" and "frozen_batchnorm" not in (given.get("network") or {}):
        # Random weights have no statistics worth keeping.
        values["network"] = replace(values.get("network", base.network), frozen_batchnorm=False)
    return replace(base, **values)


def _network(base: GlintConfig, given: Any) -> GlintConfig:
    if isinstance(given, GlintConfig):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(f"network: {given!r} is not a mapping of network settings")
    return GlintConfig.from_dict(base.to_dict() | dict(given))
