"""What `evaluate` and `score` share: the option, the network that scores, and the scores that are kept."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glint_label.files import sha256_of

if TYPE_CHECKING:
    from glint_model.evaluation.score import Scorer

crops_option = click.option(
    "--crops", default=25, type=click.IntRange(0), metavar="N", help="Crops an image; 0: all of it."
)


def open_scorer(checkpoint: Path, device: str, crops: int, seed: int) -> "tuple[Scorer, dict[str, Any]]":
    """Load a network to score images with.

    Returns:
        The scorer, and all that its scores depend on besides the images, for `KeptScores`.

    Raises:
        GlintError: The device is not here, or the checkpoint is none.
    """
    from glint_label import distortions, images
    from glint_label.embed import resolve_device
    from glint_label.provenance import versions
    from glint_model import GlintIQA

    device = resolve_device(device)
    model = GlintIQA.load(checkpoint, device)
    made_by = {name: found for name, found in versions().items() if name != "platform"}  # another kernel is no matter
    made_with = {
        "checkpoint_sha256": sha256_of(checkpoint),
        "crops": crops,
        "seed": seed,
        "device": device,
        "versions": {**made_by, "images": images.VERSION, "distortions": distortions.VERSION},
    }
    return partial(model.score_one, crops=crops, seed=seed), made_with
