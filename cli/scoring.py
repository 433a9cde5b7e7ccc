"""What `evaluate` and `score` share: the option, the network that scores, and the scores that are kept."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glint_cli.options import FILE
from glint_label.files import sha256_of

if TYPE_CHECKING:
    from glint_model import GlintIQA
    from glint_model.evaluation.score import Scorer

checkpoint_option = click.option(
    "--checkpoint", type=FILE, help="Weights: FILE.safetensors.  [default: the packaged network's]"
)
crops_option = click.option(
    "--crops",
    type=click.IntRange(0),
    metavar="N",
    help="Crops an image, at random places; 0: regular ones.  [default: 25; the packaged network: 0]",
)


def open_scorer(
    checkpoint: Path | None, device: str, crops: int | None, seed: int
) -> "tuple[GlintIQA, Scorer, dict[str, Any]]":
    """Load a network to score images with.

    Returns:
        The network, the scorer that it is, and all that its scores depend on besides the images, for `KeptScores`.

    Raises:
        GlintError: The device is not here, or the checkpoint is none.
    """
    from glint_label import distortions, images
    from glint_label.embed import resolve_device
    from glint_label.provenance import versions
    from glint_model import GlintIQA
    from glint_model.network.checkpoint import PACKAGED

    device = resolve_device(device)
    model = GlintIQA.load(checkpoint, device)
    made_by = {name: found for name, found in versions().items() if name != "platform"}  # another kernel is no matter
    made_with = {
        "checkpoint_sha256": sha256_of(checkpoint or PACKAGED),
        "crops": model.crops if crops is None else crops,
        "seed": seed,
        "device": device,
        "versions": {**made_by, "images": images.VERSION, "distortions": distortions.VERSION},
    }
    return model, partial(model.score_one, crops=crops, seed=seed), made_with
