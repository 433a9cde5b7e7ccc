"""Train the network of distortion 15 on photos, and write its weights. docs/denoiser.md has the command that was used.

    python training/denoiser.py --photos DIR --minutes 60 --seed 0 --out glint_label/distortions/denoiser.safetensors

A killed run goes on from its checkpoint when the same command is given again.
"""

import copy
import hashlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn

from glint_label.distortions.denoise import CHANNELS, LAYERS, Denoiser
from glint_label.files import write_atomic

# Photos that scikit-image packages, in the public domain or CC0 according to its documentation. astronaut and
# chelsea are kept for validation, motorcycle and the microscope images have no such note.
SKIMAGE_PHOTOS = ("coffee.png", "rocket.jpg", "brick.png", "grass.png", "gravel.png")
SKIMAGE_VALIDATION = ("astronaut.png", "chelsea.png")
SCALES = (1.0, 0.75, 0.5)  # the photos are also seen reduced: more detail a pixel, as in KADID-10k
VALIDATION_VARIANCES = (0.01, 0.03, 0.05, 0.1, 0.15)
PEAK_RATE = 1.5e-3
WARM_UP = 200  # steps
REPORT_EVERY = 120  # seconds between checkpoints
AVERAGING = 0.999  # of the weights that are written, per step

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Noise:
    """What the network learns to remove: white Gaussian noise whose deviation is uniform between two bounds."""

    least: float  # variance
    most: float  # variance
    clipped: bool  # to [0, 1], as distortion 11 leaves it

    def add(self, clean: Plane, deviations: Plane, rng: np.random.Generator) -> Plane:
        """Add noise of one deviation to each plane, (N, 1, H, W)."""
        noisy = clean + deviations[:, None, None, None] * rng.standard_normal(clean.shape, dtype=np.float32)
        return np.clip(noisy, 0, 1) if self.clipped else noisy

    def deviations(self, count: int, rng: np.random.Generator) -> Plane:
        """Draw a deviation for each plane of a batch."""
        return rng.uniform(math.sqrt(self.least), math.sqrt(self.most), count).astype(np.float32)


def read_planes(file: Path, scale: float) -> list[Plane]:
    """Read a photo, reduced, stretched to its full range as every distortion does, one plane a channel."""
    with Image.open(file) as opened:
        photo = opened.convert("L" if opened.mode == "L" else "RGB")
    if scale != 1:
        size = (round(photo.width * scale), round(photo.height * scale))
        photo = photo.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(photo, dtype=np.float32)
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return [np.ascontiguousarray(plane) for plane in np.atleast_3d(pixels).transpose(2, 0, 1)]


def batches(
    photos: Sequence[Sequence[Plane]], noise: Noise, size: int, side: int, seed: int, first: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield clean patches, noisy patches and the noise's deviations, from a given step on.

    Each step has its own random numbers, so that a resumed run sees what an unbroken one would have seen.
    """
    step = first
    while True:
        rng = np.random.default_rng((seed, step))
        patches = []
        for _ in range(size):
            planes = photos[int(rng.integers(len(photos)))]
            plane = planes[int(rng.integers(len(planes)))]
            top, left = (int(rng.integers(extent - side + 1)) for extent in plane.shape)
            patch = np.rot90(plane[top : top + side, left : left + side], int(rng.integers(4)))
            patches.append(patch.T if rng.integers(2) else patch)
        clean = np.stack(patches)[:, None]
        deviations = noise.deviations(size, rng)
        noisy = noise.add(clean, deviations, rng)
        yield torch.from_numpy(clean), torch.from_numpy(noisy), torch.from_numpy(deviations)
        step += 1


def initialise(network: Denoiser) -> None:
    """Start from Kaiming's weights and a prediction of no noise at all."""
    for convolution in network.convolutions:
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101 (for mypy)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    nn.init.zeros_(network.convolutions[-1].weight)  # type: ignore[arg-type]


@torch.no_grad()
def validate(network: Denoiser, planes: Sequence[Plane], seed: int = 0) -> dict[float, float]:
    """Mean PSNR over planes for each variance, dB; the noise is clipped as in distortion 15."""
    figures = {}
    for variance in VALIDATION_VARIANCES:
        rng = np.random.default_rng(seed)
        noise = Noise(variance, variance, clipped=True)
        errors = []
        for plane in planes:
            noisy = noise.add(plane[None, None], noise.deviations(1, rng), rng)
            clean = network(torch.from_numpy(noisy))[0, 0].numpy()
            errors.append(-10 * math.log10(float(np.mean((clean - plane) ** 2))))
        figures[variance] = float(np.mean(errors))
    return figures


def hash_of(files: Sequence[Path]) -> str:
    """Hash the contents of the photos, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def weights_file(network: Denoiser, facts: dict[str, str]) -> bytes:
    """Pack the weights in half precision together with where they come from."""
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    return save(tensors, metadata=facts)


def save_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Write under a temporary name, then rename: a checkpoint that exists is whole."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    torch.save(state, temporary)
    temporary.replace(file)


class Run:
    """A training run that can stop at any step and go on from its checkpoint."""

    def __init__(self, settings: dict[str, str], checkpoint: Path, start: Path | None) -> None:
        self.settings = settings
        self.checkpoint = checkpoint
        self.network = Denoiser()
        if start:
            self.network.load_state_dict({name: tensor.float() for name, tensor in load_file(start).items()})
        else:
            initialise(self.network)
        self.network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters())
        self.step, self.spent, self.loss = 0, 0.0, math.nan
        if checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        if state["settings"] != self.settings:
            raise click.ClickException(f"{self.checkpoint}: of a run with other settings; remove it or name another")
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.spent = state["step"], state["spent"]

    def learn(self, clean: Tensor, noisy: Tensor, deviations: Tensor, rate: float) -> None:
        """Take one step of Adam on the squared error, in bfloat16; update the average of the weights."""
        self.optimiser.param_groups[0]["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            result = self.network(noisy)
        # Divided by the deviation, faint and strong noise count about alike.
        loss = ((result.float() - clean).square() / deviations[:, None, None, None]).mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
        self.optimiser.step()
        keep = min(AVERAGING, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)
        self.loss = loss.item() if math.isnan(self.loss) else 0.99 * self.loss + 0.01 * loss.item()
        self.step += 1

    def save(self, out: Path) -> None:
        """Write the checkpoint, and the averaged weights with where they come from."""
        state = {"settings": self.settings, "step": self.step, "spent": self.spent}
        for name in ("network", "average", "optimiser"):
            state[name] = getattr(self, name).state_dict()
        save_checkpoint(self.checkpoint, state)
        facts = {
            "what": "glint-label denoiser: grey, blind, residual; distortion 15 of KADID-10k",
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "licence": "MIT",
            "steps": str(self.step),
            "torch": torch.__version__,
            **self.settings,
        }
        write_atomic(out, weights_file(self.average, facts))


def find_photos(
    folders: Sequence[Path], exclude: Sequence[str], hold_out: Sequence[str]
) -> tuple[list[Path], list[Path]]:
    """List the files to train on and those to validate on; scikit-image's packaged photos join both."""
    found = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in {".png", ".jpg"}]
    if unknown := {*exclude, *hold_out} - {file.name for file in found}:
        raise click.UsageError(f"no such photo: {min(unknown)}")
    found = [file for file in found if file.name not in exclude]
    packaged = Path(skimage.__file__).parent / "data"
    return (
        [file for file in found if file.name not in hold_out] + [packaged / name for name in SKIMAGE_PHOTOS],
        [file for file in found if file.name in hold_out] + [packaged / name for name in SKIMAGE_VALIDATION],
    )


@click.command()
@click.option("--photos", type=click.Path(exists=True, path_type=Path), multiple=True, required=True, help="Folders.")
@click.option("--exclude", multiple=True, help="Names of photos to leave out; may be given several times.")
@click.option("--hold-out", multiple=True, help="Names of photos to validate on, besides astronaut and chelsea.")
@click.option("--minutes", type=float, default=60, show_default=True, help="Time to train; the schedule follows it.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .safetensors file to write.")
@click.option("--variances", type=float, nargs=2, default=(0.005, 0.2), show_default=True, help="Bounds of the noise.")
@click.option("--clipped/--unclipped", default=True, help="Clip the noisy planes to [0, 1], as distortion 15 does.")
@click.option("--start", type=click.Path(exists=True, path_type=Path), help="Weights to start from.")
@click.option("--batch", type=int, default=16, show_default=True)
@click.option("--side", type=int, default=80, show_default=True, help="Of the patches, pixels.")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Default: in the folder for temporary files.")
def main(
    photos: tuple[Path, ...],
    exclude: tuple[str, ...],
    hold_out: tuple[str, ...],
    minutes: float,
    seed: int,
    out: Path,
    variances: tuple[float, float],
    clipped: bool,
    start: Path | None,
    batch: int,
    side: int,
    threads: int,
    checkpoint: Path | None,
) -> None:
    """Train on freely licensed photos; write the averaged weights with every checkpoint."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    training_files, validation_files = find_photos(photos, exclude, hold_out)
    training = [read_planes(file, scale) for file in training_files for scale in SCALES]
    training = [planes for planes in training if min(planes[0].shape) >= side]
    validation = [plane[:256, :256] for file in validation_files for plane in read_planes(file, 0.75)]
    noise = Noise(*variances, clipped=clipped)
    settings = {
        "seed": str(seed),
        "minutes": f"{minutes:g}",
        "noise": str(noise),
        "batch": str(batch),
        "side": str(side),
        "channels": str(CHANNELS),
        "layers": str(LAYERS),
        "photos_sha256": hash_of(training_files),
        "start_sha256": hash_of([start]) if start else "none",
    }
    run = Run(settings, checkpoint or Path(tempfile.gettempdir()) / f"{out.stem}.checkpoint.pt", start)
    click.echo(
        f"{len(training_files)} photos, {len(validation)} planes to validate on, from step {run.step}", err=True
    )

    def report() -> None:
        run.save(out)
        figures = validate(run.average, validation)
        psnr = " ".join(f"{variance:g}: {value:.2f}" for variance, value in figures.items())
        click.echo(f"step {run.step}, {run.spent / 60:.1f} min, loss {run.loss:.5f}, dB {psnr}", err=True)

    budget, reported = minutes * 60, run.spent
    for clean, noisy, deviations in batches(training, noise, batch, side, seed, run.step):
        if run.spent >= budget:
            break
        began = time.monotonic()
        cosine = 0.5 * (1 + math.cos(math.pi * run.spent / budget))
        run.learn(clean, noisy, deviations, rate=PEAK_RATE * min(1, (run.step + 1) / WARM_UP) * cosine)
        run.spent += time.monotonic() - began
        if run.spent - reported > REPORT_EVERY:
            reported = run.spent
            report()
    report()


if __name__ == "__main__":
    main()
