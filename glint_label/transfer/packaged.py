"""The packaged label model of KADID-10k: labels of human origin without the dataset or weights.

It holds what the default transfers learnt from the ratings, at low rank, with the figures of their audit; the ratings
themselves are not in it and cannot be read back. `training/label_model.py` makes it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from glint_label.embed import EmbeddedPhotos
from glint_label.errors import SourceError
from glint_label.files import write_atomic
from glint_label.sources import Source
from glint_label.sources.source import Condition
from glint_label.transfer.gp import GaussianProcess, LabelModel

SOURCE: Final = "kadid10k"
EMBEDDER: Final = "packaged"
TRANSFERS = ("gp", "gp-content")
CONTENT_RANK = 14  # with more of them, ratings could be read back to less than a quarter of a point
_NOTE = "The labels come from the packaged model of human ratings; the ratings themselves were not on this machine."


@dataclass(frozen=True)
class PackagedModel:
    """A source in fitted form.

    Attributes:
        path: Its file.
        anchors: The anchors' raw statistics and hashes.
        models: Transfer -> fitted model.
        facts: conditions, mos_range, distortions, missing_anchors, licence, citation, mean_score, ratings_sha256,
            features, audit.
    """

    path: Path
    anchors: EmbeddedPhotos
    models: Mapping[str, LabelModel]
    facts: dict[str, Any]

    @property
    def conditions(self) -> list[Condition]:
        """(distortion, level) of each label."""
        return [(name, level) for name, level in self.facts["conditions"]]

    def source(self) -> Source:
        """Describe the source; it has no ratings, and its anchors no files."""
        columns = ["anchor", "distortion", "level", "mos", "std", "n"]
        low, high = self.facts["mos_range"]
        return Source(
            name=SOURCE,
            root=self.path.parent,
            anchors=dict.fromkeys(self.anchors.names, self.path),
            ratings=pd.DataFrame(columns=columns),
            mos_range=(low, high),
            distortions=tuple(self.facts["distortions"]),
            label_file=self.path,
            missing_anchors=tuple(self.facts["missing_anchors"]),
            licence=self.facts["licence"],
            citation=self.facts["citation"],
            note=_NOTE,
        )

    def transfer(self, name: str) -> GaussianProcess:
        """Make a fitted transfer."""
        return GaussianProcess.fitted(self.models[name])


def packaged_path() -> Path:
    """Where the package keeps the model."""
    return Path(str(files("glint_label").joinpath("transfer", "kadid10k.safetensors")))


def write_model(path: Path, anchors: EmbeddedPhotos, models: Mapping[str, LabelModel], facts: dict[str, Any]) -> None:
    """Save a model: arrays, and the facts as JSON in the header."""
    tensors: dict[str, NDArray[Any]] = {
        "vectors": anchors.vectors,
        "hashes": anchors.hashes,
        "sizes": anchors.sizes[:, 2:],
    }
    for name, model in models.items():
        tensors["anchors"] = model.arrays["anchors"]  # the same of each
        own = {key: array for key, array in model.arrays.items() if array.size and key != "anchors"}
        tensors |= {f"{name}.{key}": array for key, array in own.items()}
    text = {
        "names": list(anchors.names),
        "sha256": list(anchors.sha256),
        "widths": {name: model.width for name, model in models.items()},
        "shapes": {name: {key: array.shape for key, array in model.arrays.items()} for name, model in models.items()},
        "facts": facts,
    }
    plain = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_atomic(path, save(plain, {"label_model": json.dumps(text)}))


def read_model(path: Path) -> PackagedModel:
    """Load a model.

    Raises:
        SourceError: It is not there, or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stored:
            text = json.loads(stored.metadata()["label_model"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        conditions = tuple((str(name), int(level)) for name, level in text["facts"]["conditions"])
        anchors = EmbeddedPhotos(
            tuple(text["names"]),
            tensors["vectors"],
            tensors["hashes"],
            tuple(text["sha256"]),
            np.hstack([tensors["sizes"], tensors["sizes"]]),  # anchors are labelled as they are
        )
        models = {
            name: LabelModel(
                conditions,
                float(width),
                {
                    key: tensors.get("anchors" if key == "anchors" else f"{name}.{key}", np.zeros(shape, np.float32))
                    for key, shape in text["shapes"][name].items()
                },
            )
            for name, width in text["widths"].items()
        }
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise SourceError(f"{path}: not a readable label model ({error}); install glint-label again") from error
    return PackagedModel(path, anchors, models, text["facts"])
