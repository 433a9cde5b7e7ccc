"""`glint-label pretrain`."""

from pathlib import Path
from typing import Any

import click

from glint_cli.interrupt import goes_on, if_interrupted
from glint_cli.options import FILE, PLACE, refs_option
from glint_cli.progress import show_progress
from glint_cli.training import merge_config, show_report, sleep_while_waiting, stop_after_step, tell, training_options


@click.command()
@click.option("--manifest", type=PLACE, help="Folder of a build.  [default: the only build under ./manifests]")
@refs_option
@click.option(
    "--synthetic", is_flag=True, default=None, help="Train on generated images instead of a manifest, as a trial."
)
@click.option("--out", type=FILE, help="Folder for the run.  [default: runs/PRESET]")
@click.option(
    "--preset",
    metavar="NAME",
    help="lite (no download), default (full size, for a GPU), paper, paper-tiny or default-tiny.  [default: lite]",
)
@click.option(
    "--min-similarity", type=float, metavar="X", help="Leave out photos less similar than this to every anchor."
)
@training_options
def pretrain(config_file: Path | None, **options: Any) -> None:
    """Train the network on a manifest.

    If it is stopped, run the same command again to continue. To use several
    GPUs, start it with torchrun.
    """
    sleep_while_waiting()
    from glint_model.data.from_manifest import find_build, read_manifest_rows
    from glint_model.data.rows import synthetic_rows
    from glint_model.training.loop import train
    from glint_model.training.settings import resolve

    given = merge_config(config_file, options)
    manifest, refs, out = (given.pop(name, None) for name in ("manifest", "refs", "out"))
    synthetic, resume = given.pop("synthetic", False), given.pop("resume", None)
    if_interrupted(goes_on(without="--no-resume" if resume is False else ""))
    config = resolve(given.pop("preset", "lite"), given)
    if synthetic:
        data = synthetic_rows()
    else:
        data = read_manifest_rows(
            manifest or find_build(), refs, config.exclude_anchors, config.min_similarity, config.pixels
        )
    with stop_after_step() as stop:
        report = train(
            config,
            data,
            out or Path("runs") / config.preset,
            resume=resume,
            progress=show_progress,
            tell=tell,
            stop=stop,
        )
    show_report(report)
