"""`glint-label export-onnx`."""

from pathlib import Path

import click

from glint_cli.options import FILE
from glint_label.errors import UsageError


@click.command()
@click.argument("checkpoint", metavar="[CHECKPOINT]", required=False, type=FILE)
@click.option("--out", type=FILE, help="FILE.onnx.  [default: the checkpoint's name with .onnx]")
def export_onnx(checkpoint: Path | None, out: Path | None) -> None:
    """Write a checkpoint as ONNX, to score without torch.

    Without CHECKPOINT: the packaged network.

    Input: crops (batch, 3, 224, 224), float32 in 0..1. Output: scores (batch,).
    The file is run once and compared with torch before it is written.
    """
    if out is not None and out.suffix != ".onnx":
        raise UsageError(f"--out {out}: must end in .onnx")

    from glint_model import GlintIQA
    from glint_model.network.onnx import export_onnx as export

    network = GlintIQA.load(checkpoint)  # first: what is no file, as `.`, need not have a name that can be changed
    place = out or (checkpoint.with_suffix(".onnx") if checkpoint else Path("lite.onnx"))
    difference = export(network, place)
    click.echo(f"{place} written; its scores differ from torch's by at most {difference:.1g}")
