"""What the experiment on pre-training and the training of `lite` learn from: photos, labels, rated anchors."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rendered import Rendered
from glint_label.images import SEEN
from glint_label.manifest import anchor_seeds
from glint_label.sources.kadid10k import load_kadid10k
from glint_model.data.rows import Rows

LABELLED = ("gp", "top1", "cell-mean", "lpips-like")
OF_PHOTO, OF_ANCHOR = 22, 40  # images of each that are drawn
DEAR = "denoise"  # takes as long as ten others: made for a fifth of them
Labels = dict[str, NDArray[np.float32]]
Choose = Callable[[Rows, NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.int64]]


@dataclass(frozen=True)
class Material:
    """All images and all opinions about them.

    Attributes:
        rendered: Images of the photos, then of the anchors.
        labels: Arm -> (images,) labels; NaN for images of anchors, and for photos that an arm does not label.
        errors: Arm -> (images,) their standard errors; NaN where unknown.
        mos: (images,) ratings; NaN for images of photos.
        anchor: (images,) name of the anchor; empty for photos.
        test: Anchors that nothing has seen.
        tuning: The others, in the order in which they are taken for fine-tuning.
    """

    rendered: Rendered
    labels: Labels
    errors: Labels
    mos: NDArray[np.float32]
    anchor: NDArray[np.str_]
    test: tuple[str, ...]
    tuning: tuple[str, ...]

    def of(self, anchors: tuple[str, ...]) -> NDArray[np.int64]:
        """Number the rated images of some anchors."""
        return np.flatnonzero(np.isin(self.anchor, anchors) & np.isfinite(self.mos))


def split_anchors(names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the anchors for the test, every fifth by its number, and the others in a fixed random order."""
    test = tuple(name for name in names if int(name[1:]) % 5 == 0)
    others = [name for name in names if name not in test]
    return test, tuple(np.random.default_rng(0).permutation(others).tolist())


def label_photos(refs: Path, source_dir: Path, work: Path, workers: int) -> None:
    """Build the datasets with the command line and keep their labels in labels.npz."""
    from glint_label.manifest import read_manifest

    test, tuning = split_anchors(list(load_kadid10k(source_dir, allow_missing_anchors=True).anchors))
    tables = {}
    for transfer in ("gp", "top1", "cell-mean"):
        out = work / "builds" / transfer
        command = (
            f"build --source kadid10k --embedder packaged --transfer {transfer} --exclude-anchors {','.join(test)} "
            f"--allow-missing-anchors --workers {workers}"
        ).split()
        options = ["--refs", str(refs), "--source-dir", str(source_dir), "--out", str(out)]
        subprocess.run([sys.executable, "-m", "glint_cli.main", *command, *options], check=True)
        tables[transfer] = read_manifest(out).set_index(["reference", "dist_name", "dist_level"]).sort_index()
    table = tables["gp"]
    columns = {f"mos {name}": each["mos"].reindex(table.index).to_numpy(np.float32) for name, each in tables.items()}
    columns |= {
        f"error {name}": each["mos_error"].reindex(table.index).to_numpy(np.float32) for name, each in tables.items()
    }
    measure = map_measure(work / "builds" / "gp", source_dir, tuning, workers)
    rows = table.index.to_frame(index=False)
    keys = zip(rows["reference"], rows["dist_name"], rows["dist_level"], strict=True)
    columns["mos lpips-like"] = np.array([measure.get(key, np.nan) for key in keys], dtype=np.float32)
    columns["error lpips-like"] = np.full(len(rows), np.nan, dtype=np.float32)
    np.savez_compressed(
        work / "labels.npz",
        reference=rows["reference"].to_numpy(str),
        distortion=rows["dist_name"].to_numpy(str),
        level=rows["dist_level"].to_numpy(np.int64),
        seed=table["seed"].to_numpy(np.int64),
        **columns,
    )


def map_measure(
    build: Path, source_dir: Path, anchors: tuple[str, ...], workers: int
) -> dict[tuple[str, str, int], float]:
    """Label the photos of a build by a full-reference measure, mapped monotonically to the anchors' ratings."""
    from glint_label.audit.baselines import fit_monotonic, value_of
    from glint_label.build.photos import read_measured
    from glint_label.build.plan import makeable_conditions
    from glint_label.embed import make_embedder
    from glint_label.manifest import read_run, shard_folders
    from glint_label.visibility.anchors import measure_anchors

    source = load_kadid10k(source_dir, allow_missing_anchors=True)
    source = replace(source, anchors={name: source.anchors[name] for name in anchors})
    conditions, _ = makeable_conditions(source)
    seeds = anchor_seeds(source, int(read_run(build)["config"]["seed"]), conditions)
    _, features = measure_anchors(
        source, make_embedder("packaged", source.anchors.values()), conditions, seeds, workers
    )
    ratings = source.ratings.set_index(["anchor", "distortion", "level"])["mos"]
    wanted = np.array([[ratings.get((name, *condition), np.nan) for condition in conditions] for name in anchors])
    values = value_of("lpips-like", np.asarray(features))
    usable = np.isfinite(values) & np.isfinite(wanted)
    fitted = fit_monotonic(values[usable], wanted[usable])
    found = {}
    for folder in shard_folders(build):
        photos, features, _ = read_measured(folder, with_features=True)
        mapped = np.interp(value_of("lpips-like", features), *fitted)
        for name, row in zip(photos.names, mapped, strict=True):
            found |= {(name, *condition): float(label) for condition, label in zip(conditions, row, strict=True)}
    return found


def gather(
    refs: Path, source_dir: Path, work: Path, workers: int, device: torch.device, choose: Choose, pixels: str
) -> Material:
    """Render images of the photos and the anchors, and lay their labels and ratings beside them.

    Args:
        refs: Folder of the photos.
        source_dir: Folder of KADID-10k.
        work: Where labels.npz is, and the pixels are kept.
        workers: Processes that render.
        device: Where the images are to be.
        choose: Given all rows, which of them are of anchors and which of those for the test, chooses some.
        pixels: Name of the file of pixels.
    """
    kept = np.load(work / "labels.npz")
    source = load_kadid10k(source_dir, allow_missing_anchors=True)
    names, photo = np.unique(kept["reference"], return_inverse=True)
    pairs = list(zip(kept["distortion"].tolist(), kept["level"].tolist(), strict=True))
    conditions = sorted(set(pairs))
    number = {condition: index for index, condition in enumerate(conditions)}
    ratings = source.ratings
    made = ratings[[pair in number for pair in zip(ratings["distortion"], ratings["level"], strict=True)]]
    seeds_of = anchor_seeds(source, 0, conditions)
    anchors = list(source.anchors)
    of_anchor = [number[pair] for pair in zip(made["distortion"], made["level"], strict=True)]
    empty = np.full(len(made), np.nan, dtype=np.float32)
    rows = Rows(
        photos=(*(refs / name for name in names), *source.anchors.values()),
        sha256=("",) * (len(names) + len(anchors)),
        conditions=tuple(conditions),
        photo=np.concatenate([photo, len(names) + made["anchor"].map(anchors.index).to_numpy(np.int64)]),
        condition=np.array([number[pair] for pair in pairs] + of_anchor),
        seed=np.concatenate(
            [kept["seed"], [seeds_of[name][at] for name, at in zip(made["anchor"], of_anchor, strict=True)]]
        ),
        mos=np.concatenate([np.full(len(pairs), np.nan), made["mos"]]).astype(np.float32),
        mos_error=np.full(len(pairs) + len(made), np.nan, dtype=np.float32),
        size=SEEN,
    )
    test, tuning = split_anchors(anchors)
    anchor = np.array([""] * len(pairs) + made["anchor"].tolist())
    chosen = choose(rows, anchor != "", np.isin(anchor, test))
    return Material(
        rendered=Rendered(rows.take(chosen), work / pixels, workers, device),
        labels={arm: np.concatenate([kept[f"mos {arm}"], empty])[chosen] for arm in LABELLED},
        errors={arm: np.concatenate([kept[f"error {arm}"], empty])[chosen] for arm in LABELLED},
        mos=rows.mos[chosen],
        anchor=anchor[chosen],
        test=test,
        tuning=tuning,
    )


def draw(rows: Rows, of_anchor: NDArray[np.bool_], test: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose images at random, by their own seeds, so that the choice does not depend on the others."""
    dear = np.array([name == DEAR for name, _ in rows.conditions])[rows.condition]
    taken = []
    for photo in range(len(rows.photos)):
        members = np.flatnonzero((rows.photo == photo) & ~test)
        if not len(members):
            continue
        drawn = members[np.argsort(np.random.default_rng(photo).random(len(members)))]
        drawn = drawn[~dear[drawn] | (photo % 5 == 0)]
        taken.append(drawn[: OF_ANCHOR if of_anchor[drawn[0]] else OF_PHOTO])
    return np.sort(np.concatenate(taken))


def for_test(_: Rows, __: NDArray[np.bool_], test: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose all images of the anchors for the test."""
    return np.flatnonzero(test)
