"""A network in training: its weights, their moving average, its optimiser; one step; what must be saved of it."""

import copy
import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from glint_model.data.batches import Batch
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.losses import pairwise_rank, weighted_l1
from glint_model.training.run_folder import Checkpoint
from glint_model.training.schedule import oscillating_cosine, warm_up_cosine
from glint_model.training.settings import TrainConfig

_OPTIMIZER = "optimizer."
_MODEL = "model."


class Learner:
    """The network and all that training adds to it.

    Args:
        model: The network, with the weights to start from.
        config: The settings.
        steps: Length of the run.
        fabric: The device and the processes.
    """

    def __init__(self, model: GlintIQA, config: TrainConfig, steps: int, fabric: Fabric) -> None:
        self.model = model.to(fabric.device)
        self._config = config
        self._steps = steps
        self._fabric = fabric
        self.average = copy.deepcopy(model).eval().requires_grad_(False) if config.ema else None
        groups = _groups(model, config)
        self._names = [name for group in groups for name in group["names"]]
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self._optimizer: torch.optim.Optimizer = kind(
            [{name: value for name, value in group.items() if name != "names"} for group in groups],
            lr=config.lr,
            fused=fabric.device.type == "cuda",
        )
        network: Any = torch.compile(self.model) if config.compile else self.model
        self._network, self._wrapped = fabric.setup(network, self._optimizer)
        self._network.train()

    @property
    def scorer(self) -> GlintIQA:
        """The network to score with: the average where there is one."""
        return self.average or self.model

    def lr(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        config = self._config
        if config.schedule == "oscillating":
            return config.lr * oscillating_cosine(step, config.period)
        return config.lr * warm_up_cosine(step, self._steps, round(config.warm_up * self._steps))

    def learn(self, step: int, parts: Iterator[Batch]) -> Tensor:
        """Do one step on its parts and return its loss, still on the device."""
        config, fabric = self._config, self._fabric
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr(step) * group["share"]
        total = torch.zeros((), device=fabric.device)
        for part in range(config.accumulate):
            batch = next(parts)
            torch.manual_seed(_dropout_seed(config.seed, step, part, fabric.global_rank))
            with fabric.no_backward_sync(self._network, enabled=part + 1 < config.accumulate):
                loss = self._loss(batch) / config.accumulate
                fabric.backward(loss)
            total += loss.detach()
        if config.grad_clip:
            fabric.clip_gradients(self._network, self._wrapped, max_norm=config.grad_clip, error_if_nonfinite=False)
        self._wrapped.step()
        self._wrapped.zero_grad(set_to_none=True)
        if self.average is not None:
            self._follow(self.average, step)
        return total

    def _loss(self, batch: Batch) -> Tensor:
        device, config = self._fabric.device, self._config
        mos, weights = batch.labels.to(device, non_blocking=True)
        if not config.noise_weighting:
            weights = torch.ones_like(weights)
        images, count = batch.crops.shape[:2]
        scores = self._network(batch.inputs(device)).float().view(images, count)
        loss = weighted_l1(scores, mos, weights)
        if config.rank_weight:
            loss = loss + config.rank_weight * pairwise_rank(scores, mos, weights, config.group)
        return loss

    @torch.no_grad()
    def _follow(self, average: GlintIQA, step: int) -> None:
        # Early on the average is over few steps, or it would still hold the random weights.
        decay = min(self._config.ema, (1 + step) / (10 + step))
        new: list[Tensor] = [*self.model.parameters()]
        torch._foreach_lerp_([*average.parameters()], new, 1 - decay)
        for kept, buffer in zip(average.buffers(), self.model.buffers(), strict=True):
            kept.copy_(buffer)

    def is_finite(self) -> bool:
        """Tell whether all weights are numbers."""
        return bool(torch.stack([weight.isfinite().all() for weight in self.model.parameters()]).all())

    def tensors(self) -> dict[str, Tensor]:
        """Gather what training needs besides the weights that one scores with."""
        state = self._optimizer.state_dict()["state"]
        found = {
            f"{_OPTIMIZER}{self._names[index]}.{key}": value
            for index, entries in state.items()
            for key, value in entries.items()
        }
        if self.average is not None:
            found |= {f"{_MODEL}{name}": value for name, value in self.model.state_dict().items()}
        return found

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put back what was saved."""
        self.scorer.load_state_dict(checkpoint.weights)
        raw = {key.removeprefix(_MODEL): value for key, value in checkpoint.tensors.items() if key.startswith(_MODEL)}
        if self.average is not None:
            self.model.load_state_dict(raw)
        number = {name: index for index, name in enumerate(self._names)}
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in checkpoint.tensors.items():
            if key.startswith(_OPTIMIZER):
                name, _, entry = key.removeprefix(_OPTIMIZER).rpartition(".")
                entries.setdefault(number[name], {})[entry] = value
        state = self._optimizer.state_dict()
        self._optimizer.load_state_dict({**state, "state": entries})


def _groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Sort what is trained by its share of the learning rate and its decay.

    Adam moves each weight by about the learning rate, so a layer's output jumps the farther the more inputs it has:
    beyond `fan_in` of them the share falls inversely. AdamW's decay pulls weights to zero, which is no place for
    biases and norms; Adam's is part of the gradient.
    """
    inputs = {
        f"{name}.weight": module.weight[0].numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            share = min(1.0, config.fan_in / inputs[name]) if config.fan_in and name in inputs else 1.0
            decay = config.weight_decay if name in inputs or config.optimizer == "adam" else 0.0
            group = groups.setdefault(
                (share, decay), {"names": [], "params": [], "share": share, "weight_decay": decay}
            )
            group["names"].append(name)
            group["params"].append(weight)
    return list(groups.values())


def _dropout_seed(seed: int, step: int, part: int, rank: int) -> int:
    digest = hashlib.sha256(f"dropout {seed} {step} {part} {rank}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
