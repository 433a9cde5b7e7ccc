"""What a run has to tell: a row of metrics.csv for every step, and what validation found."""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from glint_label.errors import OutputError, TrainingError, UsageError
from glint_label.files import write_atomic
from glint_model.training.devices import over_processes
from glint_model.training.run_folder import Run
from glint_model.training.settings import TrainConfig

COLUMNS = ("step", "epoch", "lr", "loss", "val_srocc", "val_plcc")


@dataclass(frozen=True)
class Figures:
    """What validation found so far; None where nothing was, or all scores were alike.

    Attributes:
        last: SROCC of the last validation.
        best: SROCC of the best one.
        best_step: Its step.
    """

    last: float | None = None
    best: float | None = None
    best_step: int | None = None

    def after(self, step: int, srocc: float) -> "Figures":
        """Add a validation."""
        if math.isnan(srocc):
            return replace(self, last=None)
        if self.best is None or srocc > self.best:
            return Figures(srocc, srocc, step)
        return replace(self, last=srocc)


class Journal:
    """metrics.csv, and TensorBoard's files where they are wanted.

    The losses stay on the device until they are written, so that no step waits for them.

    Args:
        run: The folder.
        config: The settings.
        done: Steps whose rows stay; later ones, of steps that will be done again, go.
        fabric: The processes; the first one writes the mean loss of all.

    Raises:
        OutputError: The folder cannot be written.
        UsageError: TensorBoard is wanted and not installed.
    """

    def __init__(self, run: Run, config: TrainConfig, done: int, fabric: Fabric) -> None:
        self._out = run.out
        self._path = run.out / "metrics.csv"
        self._fabric = fabric
        self._rows: list[dict[str, Any]] = []
        self._losses: list[Tensor] = []
        self._chief = fabric.global_rank == 0
        self._events = _event_writer(run.out / "tensorboard", done) if self._chief and config.tensorboard else None
        if self._chief:
            write_atomic(self._path, "".join(f"{line}\n" for line in _kept_lines(self._path, done)))

    def note(self, step: int, epoch: int, lr: float, loss: Tensor) -> None:
        """Add a step.

        Args:
            step: From 1.
            epoch: From 0.
            lr: Its learning rate.
            loss: A scalar, still on the device.
        """
        self._rows.append({"step": step, "epoch": epoch, "lr": f"{lr:.6g}"})
        self._losses.append(loss)

    def validated(self, srocc: float, plcc: float) -> float:
        """Add a validation to the last step, write what there is, and return the mean loss of these steps."""
        self._rows[-1] |= {"val_srocc": f"{srocc:.6f}", "val_plcc": f"{plcc:.6f}"}
        return self.flush()

    def flush(self) -> float:
        """Write what there is and return the mean loss of these steps.

        Raises:
            TrainingError: A loss is no number.
            OutputError: The disk is full.
        """
        if not self._rows:
            return math.nan
        losses: list[float] = over_processes(self._fabric, torch.stack(self._losses), "mean").tolist()
        rows, self._rows, self._losses = self._rows, [], []
        for row, loss in zip(rows, losses, strict=True):
            row["loss"] = f"{loss:.8g}"
            if not math.isfinite(loss):
                raise diverged(self._out, row["step"])
        if self._chief:
            self._write(rows)
        return sum(losses) / len(losses)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n").writerows(rows)
        except OSError as error:
            message = f"{self._path}: cannot be written ({error.strerror}); make room, then run the same command again"
            raise OutputError(message) from error
        if self._events is None:
            return
        for row in rows:
            for name in COLUMNS[2:]:
                if name in row:
                    self._events.add_scalar(name, float(row[name]), row["step"])

    def close(self) -> None:
        """End TensorBoard's files."""
        if self._events:
            self._events.close()


def diverged(out: Path, step: int) -> TrainingError:
    """Say that training has left the numbers."""
    kept = (
        f"the checkpoint before it is kept in {out}" if (out / "last.safetensors").is_file() else "nothing was saved"
    )
    return TrainingError(
        f"step {step}: the loss or a weight is no longer a number; {kept}; start again with a lower lr"
    )


def _kept_lines(path: Path, done: int) -> list[str]:
    lines = [",".join(COLUMNS)]
    if done and path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            step = line.partition(",")[0]
            if step.isdigit() and int(step) <= done:
                lines.append(line)
    return lines


def _event_writer(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "tensorboard: is not installed; `pip install tensorboard`, or leave the setting out"
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1)
