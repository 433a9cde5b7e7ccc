"""Turn pristine photos into an image-quality dataset with human-grade pseudo-labels."""

from importlib.metadata import version

__version__ = version("glint-label")
