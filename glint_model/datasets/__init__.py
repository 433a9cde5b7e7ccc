"""Datasets to evaluate on, in their official layouts: `load_dataset("koniq10k", path)`."""

from collections.abc import Callable
from pathlib import Path

from glint_label.errors import SourceError, UsageError
from glint_label.sources import require_source_dir
from glint_label.storage import place_of
from glint_model.datasets.anchored import load_anchored
from glint_model.datasets.clive import load_clive
from glint_model.datasets.csiq import load_csiq
from glint_model.datasets.koniq10k import load_koniq10k
from glint_model.datasets.live import load_live
from glint_model.datasets.rated import RatedImages
from glint_model.datasets.spaq import load_spaq
from glint_model.datasets.table import load_table

__all__ = ["DATASETS", "RatedImages", "load_dataset"]

_READERS: dict[str, Callable[[Path], RatedImages]] = {
    "kadid10k": lambda root: load_anchored("kadid10k", root),
    "tid2013": lambda root: load_anchored("tid2013", root),
    "csiq": load_csiq,
    "live": load_live,
    "koniq10k": load_koniq10k,
    "clive": load_clive,
    "spaq": load_spaq,
}
_OWN = "custom"
DATASETS = (*_READERS, _OWN)


def load_dataset(name: str, data_dir: Path | None = None, *, higher_is_worse: bool = False) -> RatedImages:
    """Read the opinions of a dataset; its images may be elsewhere or missing.

    Args:
        name: One of DATASETS, or the path of a CSV.
        data_dir: Its folder, by default ./NAME, $GLINT_DATA/NAME or NAME in the user's data folder; of a CSV, the
            folder that its file names start from, by default that of the CSV.
        higher_is_worse: Turn the scores of `custom` or a CSV within their range, as DMOS and the like need.

    Raises:
        UsageError: Unknown name, or `higher_is_worse` for a dataset whose scale is known.
        SourceError: The dataset is not there, malformed or incomplete.
    """
    if name not in DATASETS and not name.lower().endswith(".csv"):
        raise UsageError(f"unknown dataset {name!r}; known are {', '.join(DATASETS)} and any FILE.csv")
    if higher_is_worse and name in _READERS:
        raise UsageError(f"--higher-is-worse is for your own ratings; the scale of {name} is known")
    try:
        if name not in DATASETS:
            return load_table(place_of(name), data_dir, higher_is_worse=higher_is_worse)
        root = data_dir or require_source_dir(name)
        if not root.is_dir():
            raise SourceError(f"{root}: no such folder; pass the folder of {name} with --data-dir")
        if name == _OWN:
            return load_anchored(name, root, higher_is_worse=higher_is_worse)
        return _READERS[name](root)
    except SourceError as error:
        # The readers of sources speak of the flag that `build` has for it.
        raise SourceError(str(error).replace("--source-dir", "--data-dir")) from error
