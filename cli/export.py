"""`glint-label export`."""

import sys
from pathlib import Path

import click

from glint_cli.interrupt import goes_on, if_interrupted
from glint_cli.options import (
    PLACE,
    config_option,
    engine_options,
    folder_argument,
    photo_timeout_option,
    refs_option,
    selection_options,
    strict_option,
)
from glint_cli.progress import show_progress
from glint_cli.text import count, many
from glint_label.errors import InputError

# The table of formats itself waits until an export begins: it needs libraries that take seconds to load.
FORMATS = ("hf", "imagefolder", "webdataset", "streaming", "pyiqa", "glintiqa", "croissant")
IMAGES = ("none", "png", "webp", "bmp")


@click.command()
@folder_argument
@click.option("--to", required=True, metavar="FORMAT", help=f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
@click.option("--out", required=True, type=PLACE, metavar="FOLDER", help="Where to write; empty or absent.")
@click.option(
    "--images",
    default="none",
    type=click.Choice(IMAGES),
    help="Pixels in this encoding, all without loss; none writes labels and recipes.",
)
@refs_option
@selection_options
@engine_options
@photo_timeout_option
@strict_option
@click.option("--overwrite", is_flag=True, help="Delete an earlier export in FOLDER first.")
@config_option
def export(
    folder: Path,
    to: str,
    out: Path,
    images: str,
    refs: Path | None,
    types: tuple[str, ...],
    levels: tuple[int, ...],
    split: tuple[str, ...],
    reference: tuple[str, ...],
    min_mos: float | None,
    max_mos: float | None,
    workers: int,
    photo_timeout: float,
    strict: bool,
    overwrite: bool,
) -> None:
    """Write the build in DIR, or a part of it, for other people's programs.

    Nothing is seen in FOLDER before all of it is there. If it is stopped, run
    the same command again to continue. If a photo is missing, has changed or
    cannot be decoded, the rest is made and kept, and the exit code is 3.
    """
    if_interrupted(goes_on(without="--overwrite" if overwrite else ""))
    from glint_label.export import export_build
    from glint_label.manifest import Selection

    made = export_build(
        folder,
        to,
        out,
        images=images,
        refs=refs,
        selection=Selection(types, levels, split, reference, min_mos, max_mos),
        strict=strict,
        overwrite=overwrite,
        workers=workers,
        photo_timeout=photo_timeout,
        progress=show_progress,
        command=sys.argv,
    )
    for name, message in made.failures:
        click.echo(f"not exported: {name}: {message}", err=True)
    if made.failures:
        name, message = made.failures[0]
        raise InputError(
            f"{many(len(made.failures), 'reference')} cannot be used, first {name}: {message}; put the photos back, "
            "pass --refs or a longer --photo-timeout, then run the same command again"
        )
    done = f", {count(made.kept)} of them finished before" if made.kept else ""
    click.echo(f"{many(made.rows, 'row')} of {many(made.references, 'photo')} in {out}{done}")
    click.echo(f"How to load it: {out / 'README.md'}")
