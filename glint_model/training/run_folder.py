"""The folder of a training run: whose it is, its curve, its checkpoints.

    config.yaml   the settings, as `--config` reads them
    run.json      the same with what was trained on, versions and the result
    metrics.csv   one row a step
    validation.csv   every validation image with its label and its score at the last validation
    last.safetensors, best.safetensors               weights to score with
    last.state.safetensors, best.state.safetensors   what training needs to go on

A checkpoint is two files, and a kill may come between their two renames. So the weights are first written to a hidden
name; the state, which names their sha256, is then put in place, and with it the checkpoint is made; last, the weights
take their name. Whoever opens the checkpoint finishes what is unfinished.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from glint_label.errors import StateError
from glint_label.files import format_json, read_json, sha256_of, write_atomic
from glint_label.folders import RUN, check_kind, delete_own, remove_temporaries
from glint_label.names import plain_name
from glint_label.settings import differences
from glint_model.network.checkpoint import load_weights, save_state
from glint_model.network.config import GlintConfig
from glint_model.training.settings import TrainConfig

FIELD = "glint-training-state/1"  # of the header; one field, as the library writes several in any order
_FILES = (
    r"config\.yaml",
    r"run\.json",
    r"(metrics|validation)\.csv",
    r"\.?(last|best)(\.state|\.next)?\.safetensors",
    r"tensorboard/events\.out\.tfevents\..*",
)


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run.

    Attributes:
        step: Steps done.
        weights: What one would score with: the moving average where there is one.
        tensors: What else training needs: `optimizer.*`, and `model.*` where `weights` are an average.
        figures: What was reached: the last and the best validation.
        config: Of the network.
        facts: Where the weights come from, for the header.
    """

    step: int
    weights: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]
    figures: dict[str, Any]
    config: GlintConfig
    facts: Mapping[str, str]


class Run:
    """One folder.

    Args:
        out: The folder.
        identity: What a continued run must share: settings and data.
    """

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        self.out = out
        self._identity = json.loads(json.dumps(identity))
        self.digest = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()

    def open(self, resume: bool | None) -> bool:
        """Find out whether there is a run to go on with; the folder is then ready for either.

        Args:
            resume: None: go on if there is one. True: there must be one. False: delete it and start again.

        Raises:
            StateError: The folder holds something else, or a run with other settings, or none to go on with.
        """
        there = check_kind(self.out, RUN)
        remove_temporaries(self.out)
        if there and resume is False:
            delete_own(self.out, _FILES)
        path = self.out / "run.json"
        if not path.is_file():
            if resume:
                raise StateError(f"{self.out}: holds no run to resume; leave out --resume to start one")
            return False
        try:
            old = read_json(path)["identity"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path}: damaged; start again with --no-resume") from error
        if changes := differences(old, self._identity):
            raise StateError(
                f"{self.out}: was made with other settings ({'; '.join(changes)}); "
                "choose another --out, or start again with --no-resume"
            )
        return (self.out / "last.state.safetensors").is_file()

    def describe(self, config: TrainConfig, facts: Mapping[str, str], result: dict[str, Any] | None) -> None:
        """Write config.yaml and run.json.

        Args:
            config: The settings.
            facts: Where the weights come from.
            result: What was reached; None at the start.
        """
        write_atomic(self.out / "config.yaml", config.to_yaml())
        made_with = {name: facts[name] for name in ("weights", "version", "git", "torch")}
        content = {
            "kind": RUN,
            "identity": self._identity,
            **made_with,
            "complete": result is not None,
            "result": result,
        }
        write_atomic(self.out / "run.json", format_json(content))

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; the one before stays whole until this one is.

        Args:
            name: last or best.
            checkpoint: What to write.

        Raises:
            OutputError: The disk is full.
        """
        hidden = self._hidden(name)
        save_state(hidden, checkpoint.weights, checkpoint.config, {**checkpoint.facts, "step": str(checkpoint.step)})
        header = {
            "step": checkpoint.step,
            "run_sha256": self.digest,
            "weights_sha256": sha256_of(hidden),
            "figures": checkpoint.figures,
        }
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in checkpoint.tensors.items()}
        write_atomic(self._state(name), safetensors.torch.save(tensors, {FIELD: json.dumps(header)}))
        hidden.replace(self._weights(name))

    def load(self, name: str) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            StateError: It is damaged, or another run's.
        """
        path, weights = self._state(name), self._weights(name)
        remedy = "start again with --no-resume, or train on from another checkpoint with `glint-label finetune`"
        try:
            with plain_name(path) as plain, safetensors.safe_open(plain, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(FIELD, "{}"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no dict
        except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
            raise StateError(f"{path}: truncated or damaged ({str(error).splitlines()[0]}); {remedy}") from error
        if not header:
            raise StateError(f"{path}: holds no state of a training run ({FIELD}); {remedy}")
        if header.get("run_sha256") != self.digest:
            raise StateError(f"{path}: belongs to a run with other settings or other data; {remedy}")
        hidden = self._hidden(name)
        if hidden.is_file() and sha256_of(hidden) == header["weights_sha256"]:
            hidden.replace(weights)
        hidden.unlink(missing_ok=True)
        if not weights.is_file() or sha256_of(weights) != header["weights_sha256"]:
            what = "truncated or changed" if weights.is_file() else "missing"
            raise StateError(f"{weights}: {what}, it is not the file that {path.name} goes with; {remedy}")
        config, state, facts = load_weights(weights)
        step = int(facts.pop("step"))
        return Checkpoint(step, state, tensors, header["figures"], config, facts)

    def _weights(self, name: str) -> Path:
        return self.out / f"{name}.safetensors"

    def _state(self, name: str) -> Path:
        return self.out / f"{name}.state.safetensors"

    def _hidden(self, name: str) -> Path:
        return self.out / f".{name}.next.safetensors"
