"""Images that people have rated become rows to train on."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.errors import InputError
from glint_label.files import sha256_of
from glint_label.images import Size
from glint_label.manifest import anchor_seeds, split_of
from glint_label.sources import can_be_made
from glint_model.data.rows import Data, Rows
from glint_model.datasets import RatedImages


def rated_rows(rated: RatedImages, pixels: str = "fly", seed: int = 0, size: Size = None) -> Data:
    """Make rows of images that people have rated.

    A tenth of the contents, at least one, is for validation, by the hash of its name.

    Args:
        rated: Only what is to be trained on.
        pixels: `fly` makes the images from their anchors, with our distortions; `disk` reads them.
        seed: Of the random distortions.
        size: What the network sees pictures at: anchors are brought to it before they are distorted, images that are
            read as they are.

    Raises:
        InputError: Images or anchors that are missing, distortions that cannot be made here, too few contents.
    """
    images = rated.images
    if pixels == "fly" and rated.source is not None:
        images = images[images["group"].isin(rated.source.anchors)]
    images = images.reset_index(drop=True)
    group, names = pd.factorize(images["group"], sort=True)
    if len(names) < 2:
        raise InputError(f"{rated.name}: one content is left; training needs two, one of them for validation")
    if pixels == "fly":
        rows = _made_from_anchors(rated, images, seed)
    else:
        # Images that all differ in content are compared with any others; a photo's, with one another.
        photo = np.zeros(len(images), dtype=np.int64) if len(names) == len(images) else group
        if missing := rated.missing():
            raise InputError(
                f"{rated.root / missing[0]}: is missing ({len(missing)} of {len(images)} images); restore it"
                + (", or train with --pixels fly" if rated.source else "")
            )
        files = np.array([name.encode() for name in images["file_name"]])
        rows = replace(_unseeded(images, photo), files=files, root=rated.root)
    rows = replace(rows, size=size)
    held_out = np.array([split_of(f"finetune\0{name}") == "val" for name in names])
    if held_out.all() or not held_out.any():
        held_out = np.arange(len(names)) == 0
    is_val = held_out[group]
    table = images.to_csv(index=False, float_format="%.6f")
    origin = {
        "kind": rated.name,
        "table_sha256": hashlib.sha256(table.encode()).hexdigest(),
        "train": int((~is_val).sum()),
        "val": int(is_val.sum()),
    }
    return Data(rows.take(~is_val), rows.take(is_val), origin)


def _unseeded(images: pd.DataFrame, photo: NDArray[np.int64]) -> Rows:
    return Rows(
        photos=(),
        sha256=(),
        conditions=(),
        photo=photo.astype(np.int64),
        condition=np.full(len(images), -1),
        seed=np.zeros(len(images), dtype=np.int64),
        mos=images["mos"].to_numpy(dtype=np.float32),
        mos_error=np.full(len(images), np.nan, dtype=np.float32),
    )


def _made_from_anchors(rated: RatedImages, images: pd.DataFrame, seed: int) -> Rows:
    if rated.source is None:
        raise InputError(f"{rated.name}: has no anchors to make its images from; train with --pixels disk")
    asked = set(zip(images["distortion"], images["level"], strict=True))
    if strange := sorted(one for one in asked if not can_be_made(one)):
        name, level = strange[0]
        raise InputError(f"{rated.name}: {name} at level {level} cannot be made here; train with --pixels disk")
    group, names = pd.factorize(images["group"], sort=True)
    paths = tuple(rated.source.anchors[name] for name in names)
    conditions = [one for one in rated.source.conditions if one in asked]
    number_of = {condition: number for number, condition in enumerate(conditions)}
    condition = np.array([number_of[each] for each in zip(images["distortion"], images["level"], strict=True)])
    seeds_of = anchor_seeds(rated.source, seed, conditions)
    seeds = np.array([seeds_of[name] for name in names], dtype=np.int64)
    return replace(
        _unseeded(images, group),
        photos=paths,
        sha256=tuple(sha256_of(path) for path in paths),
        conditions=tuple(conditions),
        condition=condition.astype(np.int64),
        seed=seeds[group, condition],
    )
