"""A build, and a network small enough to train in a test."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from glint_label.build.pipeline import build
from glint_model.network.config import GlintConfig
from glint_model.training.settings import PRESETS, TrainConfig
from tests.conftest import custom_build, save_photos, save_rated

# A head count of 3 divides the width.
SMALL = {
    "vit": "vit_tiny_patch16_224",
    "vit_width": 24,
    "tapped_blocks": [0, 1],
    "cnn": "resnet10t",
    "cnn_width": 8,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Train on one thread: test processes side by side would spin, waiting for one another's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_config(preset: str = "default-tiny", **settings: Any) -> TrainConfig:
    """A few steps of a tiny network, in this process."""
    base = PRESETS[preset]
    network = GlintConfig.from_dict(base.network.to_dict() | SMALL)
    chosen = {
        "network": network,
        "steps": 4,
        "batch_size": 4,
        "group": min(base.group, 2),
        "crops": 1,
        "val_every": 2,
        "val_images": 6,
        "checkpoint_every": 2,
        "workers": 0,
        "device": "cpu",
    }
    return replace(base, **(chosen | settings))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of twelve photos, some of them of the validation split, and its photos beside it."""
    root = tmp_path_factory.mktemp("manifest")
    rated = save_rated(root / "rated", anchors=6, distortions=("gaussian_blur", "white_noise", "jpeg"))
    refs = save_photos(root / "refs", [f"p{number:02d}.png" for number in range(24)])
    build(custom_build(refs, rated, root / "build", transfer="knn", k=2))
    return root / "build"
