"""GlintIQA, the network that learns image quality from a manifest."""

from typing import TYPE_CHECKING, Any

from glint_model import network
from glint_model.network import GlintConfig

if TYPE_CHECKING:
    from glint_model.network import GlintIQA

__all__ = ["GlintConfig", "GlintIQA"]


def __getattr__(name: str) -> Any:
    """Import the network when it is first asked for: torch and timm take seconds."""
    if name == "GlintIQA":
        return network.GlintIQA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
