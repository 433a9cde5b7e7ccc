"""GlintIQA, the network: on one page in `glintiqa`; settings, backbones, crops, checkpoints and ONNX beside it."""

from typing import TYPE_CHECKING, Any

from glint_model.network.config import GlintConfig

if TYPE_CHECKING:
    from glint_model.network.glintiqa import GlintIQA

__all__ = ["GlintConfig", "GlintIQA"]


def __getattr__(name: str) -> Any:
    """Import the network when it is first asked for: torch and timm take seconds."""
    if name == "GlintIQA":
        from glint_model.network.glintiqa import GlintIQA

        return GlintIQA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
