"""What `pretrain` and `finetune` share: options, the settings file, signals, the report."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click
from tqdm import tqdm

from glint_cli.options import FILE, anchors_option, fit_options, read_yaml
from glint_cli.text import count
from glint_label.errors import UsageError

if TYPE_CHECKING:
    from glint_model.training.loop import Report

Command = TypeVar("Command", bound=Callable[..., Any])
_SAME_SIGNAL = 2.0  # seconds


_OPTIONS = (
    click.option("--config", "config_file", type=FILE, help="YAML file with settings and options; flags override it."),
    click.option("--steps", type=int, metavar="N", help="Number of training steps.  [default: the preset's]"),
    click.option("--epochs", type=float, metavar="N", help="Number of passes over the images, instead of --steps."),
    click.option("--batch-size", type=int, metavar="N", help="Images per step, over all processes."),
    click.option("--device", metavar="NAME", help="auto, cpu or cuda.  [default: auto]"),
    click.option("--precision", metavar="NAME", help="32, bf16, or auto: bf16 on a GPU.  [default: auto]"),
    click.option("--seed", type=int, metavar="N", help="Seed of weights, order, crops and dropout.  [default: 0]"),
    click.option("--workers", type=int, metavar="N", help="Processes that prepare the batches."),
    click.option("--checkpoint-every", type=int, metavar="N", help="Steps between checkpoints."),
    click.option(
        "--resume/--no-resume",
        default=None,
        help="Require a run to continue, or delete it and start again.  [default: continue one if it is there]",
    ),
    click.option(
        "--pixels", metavar="NAME", help="fly: generate images from recipes; disk: read them.  [default: fly]"
    ),
    anchors_option("Anchors held out of training, to test on them later."),
)


def training_options(command: Command) -> Command:
    """Add the options that both commands have. Those that are not given are None, for the preset to decide."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def sleep_while_waiting() -> None:
    """Let threads that wait for one another sleep, not spin, so that the network and the workers can share all cores.

    The library behind torch reads it when it is loaded, so afterwards it would be a false claim.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def merge_config(config_file: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """Lay the given flags over the entries of the settings file.

    Raises:
        UsageError: The file is not a mapping, or an entry does not fit.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if config_file is None:
        return given
    entries = {key: value for key, value in read_yaml(config_file).items() if value != []}  # as a run writes "none"
    settings = fit_options(click.get_current_context().command, entries, config_file)
    if "steps" in given or "epochs" in given:  # the one that a flag names replaces both of the file
        settings = {key: value for key, value in settings.items() if key not in ("steps", "epochs")}
    if "steps" in given and "epochs" in given:
        raise UsageError("--steps and --epochs: give one of them")
    return settings | given


def tell(line: str) -> None:
    """Write a line to stderr without breaking the progress bar."""
    tqdm.write(line, file=sys.stderr)


@contextmanager
def stop_after_step() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM end the step and save; a later one ends at once.

    Not one within two seconds: `timeout` and terminals may send a signal twice, to the process and to its group.

    Yields:
        Tells whether a signal has come. When the block is left after one, it acts as it would have.
    """
    arrived: list[int] = []
    first = 0.0
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: FrameType | None) -> None:
        nonlocal first
        if not arrived:
            arrived.append(number)
            first = time.monotonic()
        elif time.monotonic() - first > _SAME_SIGNAL:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for name, handler in before.items():
            signal.signal(name, handler)

    for name in before:
        signal.signal(name, note)
    try:
        yield lambda: bool(arrived)
    finally:
        restore()
    if arrived:
        signal.raise_signal(arrived[0])


def show_report(report: "Report") -> None:
    """Print what a run ended with; of the processes of torchrun, the first one does."""
    if os.environ.get("RANK", "0") != "0":
        return
    weights = report.out / "last.safetensors"
    if report.resumed == report.steps:
        click.echo(f"{report.out} is complete: {count(report.steps)} steps")
    else:
        speed = f"{report.images_per_second:.1f} images/s"
        click.echo(f"{count(report.step)} of {count(report.steps)} steps in {report.out} ({speed})")
    figures = report.figures
    if figures.best is not None:
        last = "none" if figures.last is None else f"{figures.last:.4f}"
        click.echo(f"  validation SROCC  last {last}, best {figures.best:.4f} at step {count(figures.best_step or 0)}")
    click.echo(f"  weights           {weights}")
