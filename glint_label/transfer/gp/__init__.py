"""The transfers gp and gp-content: fit.py learns from rated anchors, model.py is what remains and makes labels."""

from glint_label.transfer.gp.fit import GaussianProcess
from glint_label.transfer.gp.model import LabelModel, kernel, standardise

__all__ = ["GaussianProcess", "LabelModel", "kernel", "standardise"]
