"""`glint-label finetune`."""

import json
from pathlib import Path
from typing import Any

import click

from glint_cli.interrupt import goes_on, if_interrupted
from glint_cli.options import FILE, PLACE, NameList, higher_is_worse_option, warn_of_rising_scores
from glint_cli.progress import show_progress
from glint_cli.training import merge_config, show_report, sleep_while_waiting, stop_after_step, tell, training_options
from glint_label.errors import UsageError

_EPOCHS = 5.0


@click.command()
@click.option("--checkpoint", type=FILE, help="Weights to start from.  [default: the packaged network's]")
@click.option("--source", required=True, metavar="NAME|CSV", help="Rated images: as for `evaluate --dataset`.")
@click.option("--source-dir", type=PLACE, help="Folder of the dataset.  [default: as for `evaluate`]")
@higher_is_worse_option
@click.option(
    "--train-anchors",
    metavar="LIST|FILE",
    type=NameList(from_file=True),
    help="Train only on images of these contents.",
)
@click.option("--out", type=FILE, help="Folder for the run.  [default: runs/finetune-SOURCE]")
@click.option(
    "--preset", metavar="NAME", help="Training settings; the network is the checkpoint's.  [default: the checkpoint's]"
)
@training_options
def finetune(checkpoint: Path | None, config_file: Path | None, **options: Any) -> None:
    """Fine-tune a checkpoint on human ratings.

    The images are generated from the anchors of the rated dataset, or read
    from disk with --pixels disk; those of a CSV (file_name, mos[, group]) are
    always read. A tenth of the contents is kept for validation.
    """
    sleep_while_waiting()
    from glint_model.data.from_ratings import rated_rows
    from glint_model.datasets import load_dataset
    from glint_model.network.checkpoint import PACKAGED, load_weights, seen_size
    from glint_model.training.loop import train
    from glint_model.training.settings import resolve

    turned = options.pop("higher_is_worse")  # a flag that is not given must not overrule the settings file
    given = merge_config(config_file, options)
    turned = given.pop("higher_is_worse", False) or turned
    resume = given.pop("resume", None)
    if_interrupted(goes_on(without="--no-resume" if resume is False else ""))
    checkpoint = checkpoint or PACKAGED
    network, _, facts = load_weights(checkpoint)
    source_dir, out = (given.pop(name, None) for name in ("source_dir", "out"))
    source, wanted = given.pop("source"), given.pop("train_anchors", ())
    excluded = set(given.get("exclude_anchors", ()))
    preset = given.pop("preset", json.loads(facts.get("settings", "{}")).get("preset", "default"))
    rated = load_dataset(source, source_dir, higher_is_worse=turned)
    if rated.source is not None:
        warn_of_rising_scores(rated.source, turned)
    known = set(rated.images["group"]) | set(rated.source.missing_anchors if rated.source else ())
    if unknown := sorted(excluded - known):
        raise UsageError(f"--exclude-anchors: {rated.name} has no {unknown[0]!r}")
    contents = [name for name in sorted(set(wanted or rated.images["group"])) if name not in excluded]
    rated = rated.select(contents)
    if rated.source is None:
        given["pixels"] = "disk"
    if "steps" not in given:
        given.setdefault("epochs", _EPOCHS)
    config = resolve(preset, {**given, "network": network})
    data = rated_rows(rated, config.pixels, config.seed, seen_size(facts))
    folder = out or Path("runs") / f"finetune-{Path(source).stem}"
    with stop_after_step() as stop:
        report = train(config, data, folder, checkpoint, resume, show_progress, tell, stop)
    show_report(report)
