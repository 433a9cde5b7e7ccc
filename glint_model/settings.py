"""The settings of a training run, the presets they start from, and how those of two runs differ."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import yaml

from glint_label.errors import UsageError
from glint_model.config import GlintConfig

# What may change between a run and its continuation: none of it changes the weights, up to the rounding of a device.
FREE = ("device", "workers", "pixels", "checkpoint_every", "cache_mb", "tensorboard")
_CHOICES = {
    "optimizer": ("adam", "adamw"),
    "schedule": ("oscillating", "warm-up"),
    "precision": ("auto", "32", "bf16"),
    "pixels": ("fly", "disk"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run computes.

    Attributes:
        preset: Where the settings started from; it names the run.
        network: What the network is made of.
        vit_weights: What the ViT starts from: `hub`, `random` or a file.
        cnn_weights: The CNN, likewise.
        steps: Length of the run in steps of the optimiser; None: `epochs` counts.
        epochs: Length in passes over the training images.
        batch_size: Images of a step, over all processes and all accumulated parts.
        crops: Crops of each image in its step; all have its label.
        group: Images of the same photo that a step takes together.
        accumulate: Parts that a step's batch is cut into, one after another.
        optimizer: `adam` (decay added to the gradient) or `adamw`.
        lr: Highest learning rate.
        fan_in: Inputs of a layer beyond which its learning rate falls inversely; 0: all layers have the same.
        weight_decay: Of all weights for `adam`, of matrices and kernels for `adamw`.
        schedule: `oscillating` (down and up again every `period` steps) or `warm-up` (`warm_up` steps up, the others
            down).
        period: Steps of one way of the oscillation.
        warm_up: Share of the run in which the learning rate rises.
        clip: Largest norm of the gradient; 0 lets any through.
        rank_weight: How much the loss on pairs inside a group counts; 0 switches it off.
        noise_weighting: Weigh each image by 1 / mos_std^2, bounded to a factor of 4 either way.
        centre: Start the last layer's bias at the mean label.
        ema: Decay of the moving average of the weights, which is then what is kept; 0 switches it off.
        val_every: Steps between validations.
        val_images: At most so many images of the validation split.
        val_crops: Crops of each.
        exclude_anchors: Rated photos on which no training label may rest.
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
    steps: int | None = None
    epochs: float = 10.0
    batch_size: int = 128
    crops: int = 1
    group: int = 4
    accumulate: int = 1
    optimizer: str = "adamw"
    lr: float = 3e-4
    fan_in: int = 144
    weight_decay: float = 0.05
    schedule: str = "warm-up"
    period: int = 30
    warm_up: float = 0.05
    clip: float = 1.0
    rank_weight: float = 0.5
    noise_weighting: bool = True
    centre: bool = True
    ema: float = 0.999
    val_every: int = 500
    val_images: int = 1000
    val_crops: int = 2
    exclude_anchors: tuple[str, ...] = ()
    min_similarity: float | None = None
    seed: int = 0
    precision: str = "auto"
    compile: bool = False
    pixels: str = "fly"
    device: str = "auto"
    workers: int | None = None
    checkpoint_every: int = 500
    cache_mb: int = 512
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Check names and numbers before any work."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{_option(name)} {getattr(self, name)}: must be one of {', '.join(allowed)}")
        at_least_one = (
            "batch_size", "crops", "group", "accumulate", "period", "val_every", "val_images", "val_crops",
            "checkpoint_every",
        )  # fmt: skip
        lowest = dict.fromkeys(at_least_one, 1) | {"steps": 1, "seed": 0, "workers": 0, "fan_in": 0, "cache_mb": 0}
        for name, bound in lowest.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UsageError(f"{_option(name)} {value}: must be at least {bound}")
        for name in ("weight_decay", "clip", "rank_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{_option(name)} {getattr(self, name)}: must not be negative")
        for name in ("ema", "warm_up"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{_option(name)} {getattr(self, name)}: must be at least 0 and below 1")
        for name in ("lr", "epochs"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{_option(name)} {getattr(self, name)}: must be above 0")
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
    optimizer="adam",
    lr=1e-5,
    fan_in=0,
    weight_decay=1e-5,
    schedule="oscillating",
    clip=0.0,
    rank_weight=0.0,
    noise_weighting=False,
    centre=False,
    ema=0.0,
)
_DEFAULT = TrainConfig(preset="default", network=replace(GlintConfig.paper(), frozen_batchnorm=True))
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
    "default-tiny": replace(
        _DEFAULT,
        preset="default-tiny",
        network=_TINY,
        steps=2400,
        batch_size=16,
        crops=2,
        lr=2e-3,
        ema=0.99,
        val_every=250,
        val_images=256,
        val_crops=1,
        checkpoint_every=100,
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
    known = {entry.name: entry.type for entry in fields(TrainConfig)}
    if unknown := sorted(set(values) - set(known)):
        raise UsageError(f"unknown setting {unknown[0]!r}; known are {', '.join(known)}")
    return replace(base, **{name: _checked(name, value) for name, value in values.items()})


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say in words which settings differ: `lr: 0.001 -> 0.01`."""
    lines = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before} -> {after}")
    return lines


def _network(base: GlintConfig, given: Any) -> GlintConfig:
    if isinstance(given, GlintConfig):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(f"network: {given!r} is not a mapping of network settings")
    return GlintConfig.from_dict(base.to_dict() | dict(given))


def _checked(name: str, value: Any) -> Any:
    """Take a value of the setting's kind: YAML reads `1e-4` as text and `1` as a whole number."""
    if value is None and name in ("steps", "workers", "min_similarity"):
        return None
    default = {"steps": 1, "workers": 1, "min_similarity": 0.5}.get(name, getattr(PRESETS["default"], name))
    convert: Callable[[Any], Any] = _KINDS.get(type(default), lambda given: given)
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{_option(name)} {value!r}: is not of the kind of {default!r}") from error


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(value)
    return int(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(value)
    return tuple(sorted(str(entry) for entry in value))


_KINDS: dict[type, Callable[[Any], Any]] = {bool: _truth, int: _whole, float: float, str: str, tuple: _names}


def _option(name: str) -> str:
    flags = ("steps", "epochs", "batch_size", "device", "precision", "seed", "checkpoint_every", "pixels", "workers")
    return f"--{name.replace('_', '-')}" if name in flags else name
