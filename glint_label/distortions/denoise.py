"""Removal of white noise by our own small grey residual network; blind to how strong the noise is.

The raters of KADID-10k saw the output of a network whose weights are not public. This one stands in for it:
docs/denoiser.md says how it was made and how far from the original it is.
"""

import functools
import itertools
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from glint_label.errors import WeightsError

WEIGHTS = Path(__file__).with_name("denoiser.safetensors")
CHANNELS = 48
LAYERS = 10  # at half resolution: every output pixel sees 42 x 42 input pixels, much as DnCNN's 20 layers see 41 x 41


class Denoiser(nn.Module):
    """Predict the noise of grey planes and subtract it: DnCNN at half resolution, without batch normalisation."""

    def __init__(self, channels: int = CHANNELS, layers: int = LAYERS) -> None:
        super().__init__()
        widths = [4, *[channels] * (layers - 1), 4]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1) for before, after in itertools.pairwise(widths)
        )

    def forward(self, noisy: Tensor) -> Tensor:
        """Clean planes.

        Args:
            noisy: (N, 1, H, W), about [0, 1]; odd sides are padded by replication and cropped again.

        Returns:
            The same shape, not clipped.
        """
        height, width = noisy.shape[-2:]
        even = pad(noisy, (0, width % 2, 0, height % 2), mode="replicate")
        # Mid-grey becomes 0, which is what the convolutions see beyond the border.
        features = pixel_unshuffle(even - 0.5, 2).contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions[:-1]:
            features = convolution(features).relu_()
        noise = pixel_shuffle(self.convolutions[-1](features), 2)
        return noisy - noise[..., :height, :width]


def denoise_planes(planes: Tensor) -> Tensor:
    """Subtract the predicted noise from each plane.

    The network runs in float32 whatever the input's precision, and on one plane at a time, so that what else is in
    the batch cannot change a bit.

    Args:
        planes: (N, 1, H, W) in [0, 1], noisy.

    Returns:
        The same shape, dtype and device, not clipped.

    Raises:
        WeightsError: The packaged weights are missing or damaged.
    """
    network = _load(WEIGHTS, planes.device)
    clean = torch.empty_like(planes)
    with (
        torch.no_grad(),
        torch.autocast(planes.device.type, enabled=False),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        for plane, result in zip(torch.split(planes, 1), torch.split(clean, 1), strict=True):
            result.copy_(network(plane.float()))
    return clean


@functools.cache
def _load(file: Path, device: torch.device) -> Denoiser:
    """Read half-precision weights into a float32 network."""
    try:
        with safe_open(file, framework="pt") as weights:
            tensors = {name: weights.get_tensor(name).float() for name in weights.keys()}  # noqa: SIM118 (not a dict)
        network = Denoiser()
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise WeightsError(
            f"{file}: the denoiser's weights cannot be read ({reason}); reinstall glint-label"
        ) from error
    network.requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)
