"""Train the packaged network, glint_model/network/lite.safetensors: about an hour on two cores.

    PYTHONPATH=. python training/lite.py --refs PHOTOS --source-dir KADID --work FOLDER

It learns from two kinds of images, all rendered here: some distortions of each photo, labelled by `gp`, and some of
KADID-10k's anchors with their own ratings. Every fifth anchor is left out of everything, labels too, for the test.
PHOTOS are those that docs/lite-photos.csv lists, brought to 512 x 384. FOLDER/lite.safetensors is the result: its
weights are rounded to float16.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from numpy.typing import NDArray

import glint_label
from benchmarks.material import Material, draw, gather, label_photos
from benchmarks.pretraining import begin, learn
from glint_label.engines import available_cores
from glint_label.images import SEEN
from glint_model.network.checkpoint import save_state, size_in_words
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.devices import make_fabric
from glint_model.training.settings import PRESETS, TrainConfig

SNAPSHOT = 100  # steps


def train(material: Material, config: TrainConfig, work: Path) -> None:
    """Train on all images; the average of the weights so far is kept every hundred steps."""
    labels = np.where(np.isfinite(material.mos), material.mos, material.labels["gp"])
    unknown = np.full(len(labels), np.nan, dtype=np.float32)  # so all count alike
    started, losses = time.perf_counter(), []

    def note(step: int, loss: torch.Tensor, average: GlintIQA) -> None:
        losses.append(float(loss))
        if step % SNAPSHOT == 0:
            keep(average, work / "lite.safetensors", step, config, labels)
            minutes = (time.perf_counter() - started) / 60
            print(f"{step} steps, {minutes:.1f} min, loss {np.mean(losses[-SNAPSHOT:]):.4f}", flush=True)

    everything = replace(material.rendered.rows, mos=labels, mos_error=unknown)
    batches = material.rendered.batches(np.arange(len(labels)), labels, everything.weights(), config)
    learn(begin(GlintIQA, config, labels), batches, config, make_fabric(config), note)


def keep(model: GlintIQA, path: Path, step: int, config: TrainConfig, labels: NDArray[np.float32]) -> None:
    """Write the weights, matrices and kernels rounded to float16, with what is to be known of them."""
    state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in model.state_dict().items()}
    facts = {
        "size": size_in_words(SEEN),
        "crops": "0",
        "labels": "1..5, KADID-10k's scale, higher is better",
        "label_mean": f"{labels.mean():.6g}",
        "label_std": f"{labels.std():.6g}",
        "settings": json.dumps(config.identity),
        "weights": f"training/lite.py, {step} steps",
        "version": glint_label.__version__,
        "torch": torch.__version__,
    }
    save_state(path, state, model.config, facts)


def main() -> None:
    """Label, render, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refs", type=Path, required=True)
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "labels.npz").is_file():
        label_photos(args.refs, args.source_dir, args.work, available_cores())
    lite = PRESETS["lite"]
    config = replace(lite, compile=True, device=args.device)
    device = make_fabric(config).device
    material = gather(args.refs, args.source_dir, args.work, available_cores(), device, draw, "pixels.bin")
    train(material, config, args.work)


if __name__ == "__main__":
    main()
