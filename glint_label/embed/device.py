"""Networks on the device where they run, which may differ from process to process."""

from copy import deepcopy
from typing import Any

from glint_label.errors import UsageError


class PlacedNetwork:
    """A network for inference on a device; pickled, it is placed anew in the process that loads it.

    Args:
        network: A torch module.
        device: Torch device; `auto` takes a GPU where there is one, in each process for itself.

    Attributes:
        network: The module, in evaluation mode, without gradients.
        device: Where it is.
        movable: Whether a GPU in another process may take it.

    Raises:
        UsageError: The device is not on this machine.
    """

    def __init__(self, network: Any, device: str) -> None:
        import torch

        self._wanted = device
        self.movable = device != "cpu"
        self.device = torch.device(resolve_device(self._wanted))
        self.network = network.to(self.device).eval().requires_grad_(False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by way of the CPU: where this goes, there may be another device."""
        return PlacedNetwork, (deepcopy(self.network).cpu(), self._wanted)


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is a GPU, else `cpu`.

    Raises:
        UsageError: The device is not on this machine.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: not usable here ({reason}); try --device cpu") from error
    return device
