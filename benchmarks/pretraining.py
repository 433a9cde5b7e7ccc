"""Whether pre-training on transferred labels makes a better network, and whose labels do it best.

    export PYTHONPATH=.
    python benchmarks/pretraining.py --refs PHOTOS --source-dir KADID --work FOLDER
    python benchmarks/pretraining.py --refs PHOTOS --source-dir KADID --work FOLDER --labels-only
    python benchmarks/pretraining.py ... --device cuda --samples 60000 --seeds 3

The same small network (preset `lite`), the same budget, several seeds: (none) from the packaged ImageNet weights
straight to fine-tuning on N rated anchors of KADID-10k; pre-trained on the labels of `gp`, of `top1` (the paper's), of
`cell-mean`, of a full-reference measure (LPIPS-like, mapped monotonically to the ratings), then the same fine-tuning.
Every fifth anchor is kept for the test: none of these contents is in any label, in training or in any choice. Labels
rest on the other anchors' ratings. The test is on real ratings, all distortions that can be made here, pixels
regenerated. Intervals are over contents; a difference is paired by seed and content.

Needs all photos of the manifest to be 512 x 384 or 384 x 512 once brought to size, and 590 kB of disk an image. Every
finished network is a line of FOLDER/results.jsonl, so a run that is stopped goes on. At the end
benchmarks/results/pretraining.json is written from these lines.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from benchmarks.rendered import Rendered
from glint_label.engines import available_cores
from glint_label.images import SEEN
from glint_label.manifest import anchor_seeds
from glint_label.metrics import spearman
from glint_label.sources.kadid10k import load_kadid10k
from glint_model.data.rows import Rows
from glint_model.network.checkpoint import load_weights, put_weights, save_weights
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.devices import make_fabric
from glint_model.training.learner import Learner
from glint_model.training.settings import PRESETS, TrainConfig

RESULTS = Path(__file__).parent / "results"
ARMS = ("none", "gp", "top1", "cell-mean", "lpips-like")
TUNED = {0: 0, 4: 6_000, 16: 16_000, 64: 32_000}  # anchors to fine-tune on -> images that fine-tuning sees
TUNING_RATE = 3e-4
RESAMPLES = 500
Labels = dict[str, NDArray[np.float32]]


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


Choose = Callable[[Rows, NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.int64]]


def gather(
    refs: Path, source_dir: Path, work: Path, workers: int, device: torch.device, choose: Choose | None = None
) -> Material:
    """Render images of the photos and the anchors, and lay their labels and ratings beside them.

    Args:
        refs: Folder of the photos.
        source_dir: Folder of KADID-10k.
        work: Where labels.npz is, and the pixels are kept.
        workers: Processes that render.
        device: Where the images are to be.
        choose: Given all rows, which of them are of anchors and which of those for the test, chooses some; None: all.
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
    chosen = choose(rows, anchor != "", np.isin(anchor, test)) if choose else np.arange(len(rows))
    return Material(
        rendered=Rendered(rows.take(chosen), work / "pixels.bin", workers, device),
        labels={arm: np.concatenate([kept[f"mos {arm}"], empty])[chosen] for arm in ARMS[1:]},
        errors={arm: np.concatenate([kept[f"error {arm}"], empty])[chosen] for arm in ARMS[1:]},
        mos=rows.mos[chosen],
        anchor=anchor[chosen],
        test=test,
        tuning=tuning,
    )


def learn(
    material: Material,
    among: NDArray[np.int64],
    labels: NDArray[np.float32],
    errors: NDArray[np.float32],
    config: TrainConfig,
    fabric: Fabric,
    start: Path | None = None,
    after: Callable[[int, torch.Tensor, GlintIQA], None] = lambda *_: None,
) -> GlintIQA:
    """Train a network on some images; the average of its weights is what counts.

    Args:
        material: The images.
        among: Which of them.
        labels: Theirs.
        errors: Of the labels.
        config: The settings, `steps` among them.
        fabric: The device.
        start: Weights to start from; None for the packaged ones.
        after: Told of every step: how many are done, its loss, the average of the weights so far.
    """
    torch.manual_seed(config.seed)
    if start is None:
        model, _ = GlintIQA.start(config.network, config.vit_weights, config.cnn_weights)
        torch.nn.init.constant_(model.head.score.bias, float(labels.mean()))
    else:
        network, state, _ = load_weights(start)
        model = GlintIQA(network)
        put_weights(model, state, start)
    weights = replace(material.rendered.rows.take(among), mos=labels, mos_error=errors).weights()
    batches = material.rendered.batches(among, labels, weights, config)
    steps = config.steps or 1
    learner = Learner(model, config, steps, fabric)
    for step in range(steps):
        after(step + 1, learner.learn(step, batches), learner.scorer)
    return learner.scorer.eval()


@torch.inference_mode()
def score(model: GlintIQA, crops: torch.Tensor, device: torch.device) -> NDArray[np.float64]:
    """Score images by their grids of crops, (images, crops, 3, 224, 224) uint8."""
    model = model.eval().to(device)
    found = []
    for part in crops.split(64):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            scores_of_crops = model(part.to(device).flatten(0, 1).float() / 255)
        found.append(scores_of_crops.view(part.shape[:2]).double().mean(1).cpu())
    scores: NDArray[np.float64] = torch.cat(found).numpy()
    return scores


def run(material: Material, args: argparse.Namespace, config: TrainConfig, fabric: Fabric) -> None:
    """Train and test what is not in results.jsonl yet."""
    results = args.work / "results.jsonl"
    done = {(line["arm"], line["seed"], line["anchors"]) for line in read_lines(results)}
    test = material.of(material.test)
    crops = material.rendered.grid(test)
    for seed in range(args.seeds):
        for arm in ARMS:
            for anchors, samples in TUNED.items():
                if (arm, seed, anchors) in done or (arm == "none" and anchors == 0):
                    continue
                started = time.perf_counter()
                here = replace(config, seed=seed)
                start = args.work / f"{arm}-{seed}.safetensors" if arm != "none" else None
                if start and not start.is_file():
                    among = np.flatnonzero(np.isfinite(material.labels[arm]))
                    length = replace(here, steps=args.samples // here.batch_size)
                    labels, errors = material.labels[arm][among], material.errors[arm][among]
                    save_weights(start, learn(material, among, labels, errors, length, fabric), {})
                if anchors:
                    among = material.of(material.tuning[:anchors])
                    length = replace(here, lr=TUNING_RATE, steps=samples // here.batch_size)
                    unknown = np.full(len(among), np.nan, dtype=np.float32)
                    model = learn(material, among, material.mos[among], unknown, length, fabric, start)
                else:
                    model = GlintIQA.load(start)
                scores = score(model, crops, fabric.device)
                line = {
                    "arm": arm,
                    "seed": seed,
                    "anchors": anchors,
                    "srocc": spearman(scores, material.mos[test]),
                    "seconds": round(time.perf_counter() - started, 1),
                    "scores": np.round(scores, 4).tolist(),
                }
                with results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print({key: value for key, value in line.items() if key != "scores"}, flush=True)
                if time.perf_counter() > args.until:
                    print("out of time; the same command goes on", flush=True)
                    return


def report(material: Material, lines: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """Average over seeds, with intervals over contents, and take the differences to no pre-training and to `top1`."""
    test = material.of(material.test)
    mos, anchors = material.mos[test].astype(np.float64), material.anchor[test]
    members = [np.flatnonzero(anchors == name) for name in material.test]
    draws = np.random.default_rng(0).integers(0, len(members), (RESAMPLES, len(members)))
    chosen = [np.arange(len(test)), *(np.concatenate([members[one] for one in draw]) for draw in draws)]
    of: dict[tuple[str, int], NDArray[np.float64]] = {}  # (arm, N) -> SROCC of all contents, then of each resample
    for arm, number in sorted({(line["arm"], line["anchors"]) for line in lines}):
        runs = [np.array(line["scores"]) for line in lines if (line["arm"], line["anchors"]) == (arm, number)]
        of[arm, number] = np.mean([[spearman(run[rows], mos[rows]) for rows in chosen] for run in runs], axis=0)

    def figures(values: NDArray[np.float64]) -> dict[str, Any]:
        low, high = np.percentile(values[1:], [2.5, 97.5])
        return {"srocc": round(float(values[0]), 4), "interval": [round(float(low), 4), round(float(high), 4)]}

    rows = []
    for (arm, number), values in of.items():
        differences = {
            f"minus {other}": figures(values - of[other, number])
            for other in ("none", "top1")
            if other != arm and (other, number) in of
        }
        seeds = sum((line["arm"], line["anchors"]) == (arm, number) for line in lines)
        rows.append({"arm": arm, "anchors": number, "seeds": seeds, **figures(values), **differences})
    return {"samples": args.samples, "tuning samples": TUNED, "test anchors": list(material.test), "rows": rows}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what has been finished."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def make_config(args: argparse.Namespace) -> TrainConfig:
    """Take the preset `lite` for many short runs, in larger batches; each sets its own length."""
    return replace(PRESETS["lite"], batch_size=args.batch_size, lr=args.lr, ema=0.99, device=args.device)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refs", type=Path, required=True)
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--labels-only", action="store_true", help="stop once the photos are labelled")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no network after so long")
    args = parser.parse_args()
    args.until = time.perf_counter() + 60 * args.minutes
    args.work.mkdir(parents=True, exist_ok=True)
    return args


def main() -> None:
    """Do what is not done yet, and write the report."""
    args = parse()
    if not (args.work / "labels.npz").is_file():
        label_photos(args.refs, args.source_dir, args.work, args.workers)
    if args.labels_only:
        return
    config = make_config(args)
    fabric = make_fabric(config)
    material = gather(args.refs, args.source_dir, args.work, args.workers, fabric.device)
    run(material, args, config, fabric)
    found = report(material, read_lines(args.work / "results.jsonl"), args)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "pretraining.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["rows"], indent=1))


if __name__ == "__main__":
    main()
