"""Whether pre-training on transferred labels makes a better network, and whose labels do it best.

    export PYTHONPATH=.
    python benchmarks/pretraining.py --refs PHOTOS --source-dir KADID --work FOLDER
    python benchmarks/pretraining.py --refs PHOTOS --source-dir KADID --work FOLDER --labels-only
    python benchmarks/pretraining.py ... --device cuda --workers 0 --samples 60000 --seeds 5

The same small network, the same budget, several seeds: (none) from the packaged ImageNet weights straight to
fine-tuning on N rated anchors of KADID-10k; pre-trained on the labels of `gp`, of `top1` (the paper's), of
`cell-mean`, of a full-reference measure (LPIPS-like, mapped monotonically to the ratings), then the same. Every fifth
anchor is kept for the test: none of these contents is in any label, in training or in any choice. Labels rest on the
other anchors' ratings. The test is on real ratings, all distortions, exact pixels. Intervals are over contents; a
difference is paired by seed and content.

To be affordable on two cores, the network is preset `lite` with a narrower ViT and its whole CNN frozen, for all arms
alike. The CNN's maps of one fixed crop an image are computed once: at random of what is learnt from, in the middle of
each test image. The learning rate of fine-tuning is chosen on anchors that are not for the test (`choose_rates`), once
without and once with pre-training.

Needs photos that are 512 x 384 or 384 x 512 once brought to size; 11 GB of disk for 394 of them, memory for the 3 GB
of maps. By the time of its parts, some 45 minutes of one free slow core for three seeds (8 ms a sample, 38 ms a map),
25 for `none` and `gp`. Every finished network is a line of FOLDER/results.jsonl, so a run that is stopped goes on;
pixels and maps that were not complete are made anew. `none` and `gp` come first, then one arm after the other, each on
all seeds. At the end benchmarks/results/pretraining.json is written from these lines.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from benchmarks.cached import Cached, OnMaps, keep_maps
from benchmarks.material import LABELLED, Labels, Material, draw, for_test, gather, label_photos
from glint_label.engines import available_cores, run_tasks
from glint_label.metrics import spearman
from glint_model.data.batches import Batch
from glint_model.data.rows import Rows
from glint_model.data.sampler import Crop, draw_crops
from glint_model.network.checkpoint import load_weights, put_weights, save_weights
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.devices import make_fabric
from glint_model.training.learner import Learner
from glint_model.training.settings import PRESETS, TrainConfig

RESULTS = Path(__file__).parent / "results"
ARMS = ("none", *LABELLED)
TUNED = {0: 0, 4: 800, 16: 1_600, 64: 3_200}  # anchors to fine-tune on -> images that fine-tuning sees
RATES = (5e-4, 1.5e-3, 4.5e-3)  # of fine-tuning, to choose among
CHOOSING = 16  # anchors to learn from, and as many others to judge by, when rates are chosen
TRIAL = 100  # seed of these
CENTRE = Crop(0.5, 0.5, False, False)
OF_PHOTO, OF_ANCHOR = 8, 20  # images of each that are learnt from
RESAMPLES = 500
Network = TypeVar("Network", bound=GlintIQA)


def begin(kind: type[Network], config: TrainConfig, labels: NDArray[np.float32]) -> Network:
    """Make a network with its packaged weights that starts at the mean label."""
    torch.manual_seed(config.seed)
    model: Any
    model = (
        kind(config.network)
        if kind is OnMaps
        else kind.start(config.network, config.vit_weights, config.cnn_weights)[0]
    )
    torch.nn.init.constant_(model.head.score.bias, float(labels.mean()))
    return model


def learn(
    model: Network,
    batches: Iterator[Batch],
    config: TrainConfig,
    fabric: Fabric,
    after: Callable[[int, torch.Tensor, GlintIQA], None] = lambda *_: None,
) -> Network:
    """Train a network; the average of its weights is what counts.

    Args:
        model: With the weights to start from.
        batches: To learn from.
        config: The settings, `steps` among them.
        fabric: The device.
        after: Told of every step: how many are done, its loss, the average of the weights so far.
    """
    steps = config.steps or 1
    learner = Learner(model, config, steps, fabric)
    for step in range(steps):
        after(step + 1, learner.learn(step, batches), learner.scorer)
    trained: Any = learner.scorer.eval()
    return trained


@dataclass(frozen=True)
class Experiment:
    """All that a network of the experiment is made from and tested on; calling it trains those of a seed and an arm.

    Attributes:
        photos: Crops of the photos' images.
        labels: Arm -> their labels.
        errors: Arm -> standard errors of these.
        anchors: Crops of the images of anchors that are not for the test.
        names: Which anchor each of these shows.
        mos: Their ratings.
        order: Anchors in the order in which they are taken.
        test: Crops of the test's images.
        config: The settings of training.
        samples: Images that pre-training sees.
        work: Where networks and results are kept.
        rates: Learning rate of fine-tuning without and with pre-training.
        until: Time after which no network is begun.
    """

    photos: Cached
    labels: Labels
    errors: Labels
    anchors: Cached
    names: NDArray[np.str_]
    mos: NDArray[np.float32]
    order: tuple[str, ...]
    test: Cached
    config: TrainConfig
    samples: int
    work: Path
    rates: tuple[float, float]
    until: float

    def __call__(self, unit: tuple[int, str]) -> None:
        """Train and test what is not in results.jsonl yet."""
        seed, arm = unit
        set_threads(self.config)
        done = {(line["arm"], line["seed"], line["anchors"]) for line in read_lines(self.work)}
        for anchors, samples in TUNED.items():
            if (arm, seed, anchors) in done or (arm == "none" and anchors == 0):
                continue
            if time.time() > self.until:
                return
            started = time.perf_counter()
            start = self.pretrained(arm, seed)
            rate = self.rates[arm != "none"]
            model = self.tuned(start, self.order[:anchors], samples, rate, seed)
            every = np.arange(len(self.test.photo))
            line = {
                "arm": arm,
                "seed": seed,
                "anchors": anchors,
                "seconds": round(time.perf_counter() - started, 1),
                "scores": np.round(self.test.score(model, every, make_fabric(self.config).device), 4).tolist(),
            }
            with (self.work / "results.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def pretrained(self, arm: str, seed: int) -> Path | None:
        """Pre-train on the labels of an arm, unless that is done: the file of weights; None for `none`."""
        if arm == "none":
            return None
        path = self.work / f"{arm}-{seed}.safetensors"
        if not path.is_file():
            among = np.flatnonzero(np.isfinite(self.labels[arm]))
            labels, errors = self.labels[arm][among], self.errors[arm][among]
            weights = weigh(errors)
            config = replace(self.config, seed=seed, steps=self.samples // self.config.batch_size)
            batches = self.photos.batches(among, labels, weights, config)
            save_weights(path, learn(begin(OnMaps, config, labels), batches, config, make_fabric(config)), {})
        return path

    def load(self, path: Path) -> OnMaps:
        """Open what `pretrained` wrote."""
        network, state, _ = load_weights(path)
        model = OnMaps(network)
        put_weights(model, state, path)
        return model

    def tuned(self, start: Path | None, anchors: tuple[str, ...], samples: int, rate: float, seed: int) -> OnMaps:
        """Fine-tune on the ratings of some anchors, if any."""
        if start and not anchors:
            return self.load(start)
        among = np.flatnonzero(np.isin(self.names, anchors))
        config = replace(self.config, seed=seed, lr=rate, steps=samples // self.config.batch_size)
        labels = self.mos[among]
        model = self.load(start) if start else begin(OnMaps, config, labels)
        batches = self.anchors.batches(among, labels, np.ones(len(among), dtype=np.float32), config)
        return learn(model, batches, config, make_fabric(config))


class Rates(Experiment):
    """Tries every rate of fine-tuning an arm, on anchors that are not for the test, and a seed that is not used."""

    def __call__(self, unit: tuple[int, str]) -> list[float]:
        """Give the SROCC with each of `RATES`."""
        seed, arm = unit
        set_threads(self.config)
        start = self.pretrained(arm, seed)
        judges = np.flatnonzero(np.isin(self.names, self.order[-CHOOSING:]))
        found = []
        for rate in RATES:
            model = self.tuned(start, self.order[:CHOOSING], TUNED[CHOOSING], rate, seed)
            found.append(
                spearman(self.anchors.score(model, judges, make_fabric(self.config).device), self.mos[judges])
            )
        return found


def set_threads(config: TrainConfig) -> None:
    """Let a worker on a CPU keep to its core."""
    if config.device == "cpu":
        torch.set_num_threads(1)


def weigh(errors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh images by the errors of their labels, as training does."""
    none = np.zeros(len(errors), dtype=np.int64)
    return Rows((), (), (), none, none, none, errors, errors).weights()


def some(photo: NDArray[np.int64], among: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Draw so many images of each photo."""
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(np.flatnonzero(photo == each))[:count] for each in np.unique(photo[among])]
    return np.sort(np.concatenate(drawn))


def prepare(args: argparse.Namespace, config: TrainConfig) -> tuple[Experiment, Material]:
    """Render images, cut them and let the CNN look at them, as far as that is not done yet; and the test's images."""
    cpu = torch.device("cpu")

    def keep(material: Material, rows: NDArray[np.int64], cuts: list[list[Crop]], name: str) -> Cached:
        return keep_maps(material.rendered, rows, cuts, args.work / name, config.network, args.workers)

    tested = gather(args.refs, args.source_dir, args.work, args.workers, cpu, for_test, "test.bin")
    every = np.arange(len(tested.mos))
    test = keep(tested, every, [[CENTRE]] * len(every), "test")
    learnt = gather(args.refs, args.source_dir, args.work, args.workers, cpu, draw, "pixels.bin")
    photos = some(learnt.rendered.rows.photo, learnt.anchor == "", OF_PHOTO)
    anchors = some(learnt.rendered.rows.photo, learnt.anchor != "", OF_ANCHOR)
    experiment = Experiment(
        photos=keep(learnt, photos, [draw_crops(0, row, 1) for row in photos.tolist()], "photos"),
        labels={arm: labels[photos] for arm, labels in learnt.labels.items()},
        errors={arm: errors[photos] for arm, errors in learnt.errors.items()},
        anchors=keep(learnt, anchors, [draw_crops(0, row, 1) for row in anchors.tolist()], "anchors"),
        names=learnt.anchor[anchors],
        mos=learnt.mos[anchors],
        order=learnt.tuning,
        test=test,
        config=config,
        samples=args.samples,
        work=args.work,
        rates=(config.lr, config.lr),
        until=time.time() + 60 * args.minutes,
    )
    return experiment, tested


def choose_rates(experiment: Experiment, workers: int) -> dict[str, list[float]]:
    """Try the rates of fine-tuning without pre-training and after it: arm -> SROCC of each."""
    kept = experiment.work / "rates.json"
    if not kept.is_file():
        task = Rates(**vars(experiment))
        with run_tasks(task, [(TRIAL, arm) for arm in ("none", "gp")], workers) as results:
            kept.write_text(json.dumps({arm: found for (_, arm), found in results}))
    tried: dict[str, list[float]] = json.loads(kept.read_text())
    return tried


def run(experiment: Experiment, args: argparse.Namespace) -> None:
    """Train and test as long as there is time: the pair that matters most first, each arm on all seeds."""
    stages = (("none", "gp"), ("top1",), ("cell-mean",), ("lpips-like",))
    units = [(seed, arm) for arms in stages for seed in range(args.seeds) for arm in arms if arm in args.arms]
    with run_tasks(experiment, units, args.workers) as results:
        for unit, _ in results:
            print(*unit, "done", flush=True)


def report(
    tested: Material, lines: list[dict[str, Any]], rates: dict[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Average over seeds, with intervals over contents, and take the differences to other arms at the same N.

    Only seeds that both arms have at this N count in a difference.
    """
    mos, anchors = tested.mos.astype(np.float64), tested.anchor
    rows = tested.rendered.rows
    types = np.array([name for name, _ in rows.conditions])[rows.condition]
    members = [np.flatnonzero(anchors == name) for name in tested.test]
    draws = np.random.default_rng(0).integers(0, len(members), (RESAMPLES, len(members)))
    chosen = [np.arange(len(mos)), *(np.concatenate([members[one] for one in draw]) for draw in draws)]
    # SROCC of all contents, then of each resample; and by type
    pooled, typed = {}, {}
    for line in lines:
        key, scores = (line["arm"], line["anchors"], line["seed"]), np.array(line["scores"])
        pooled[key] = np.array([spearman(scores[some], mos[some]) for some in chosen])
        typed[key] = np.array([spearman(scores[types == name], mos[types == name]) for name in np.unique(types)])

    def figures(values: NDArray[np.float64]) -> dict[str, Any]:
        low, high = np.percentile(values[1:], [2.5, 97.5])
        return {"srocc": round(float(values[0]), 4), "interval": [round(float(low), 4), round(float(high), 4)]}

    def by_type(values: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(np.unique(types).tolist(), np.round(values, 3).tolist(), strict=True))

    found = []
    for arm, number in sorted({key[:2] for key in pooled}, key=lambda key: (key[1], ARMS.index(key[0]))):
        seeds = sorted(seed for *key, seed in pooled if tuple(key) == (arm, number))
        row: dict[str, Any] = {"arm": arm, "anchors": number, "seeds": seeds}
        row |= figures(np.mean([pooled[arm, number, seed] for seed in seeds], axis=0))
        row["of seeds"] = [round(float(pooled[arm, number, seed][0]), 4) for seed in seeds]
        row["mean over types"] = round(float(np.mean([typed[arm, number, seed] for seed in seeds])), 4)
        row["types"] = by_type(np.mean([typed[arm, number, seed] for seed in seeds], axis=0))
        for other in ("none", "top1", "cell-mean"):
            both = [seed for seed in seeds if (other, number, seed) in pooled and other != arm]
            if both:
                apart = [pooled[arm, number, seed] - pooled[other, number, seed] for seed in both]
                within = [typed[arm, number, seed] - typed[other, number, seed] for seed in both]
                row[f"minus {other}"] = figures(np.mean(apart, axis=0)) | {
                    "of seeds": [round(float(each[0]), 4) for each in apart],
                    "types": by_type(np.mean(within, axis=0)),
                }
        found.append(row)
    return {
        "samples": args.samples,
        "tuning samples": TUNED,
        "test anchors": list(tested.test),
        "test images": len(mos),
        "rates tried": dict(zip(map(str, RATES), zip(*rates.values(), strict=True), strict=True))
        | {"of": list(rates)},
        "rows": found,
    }


def read_lines(work: Path) -> list[dict[str, Any]]:
    """Read what has been finished."""
    path = work / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def make_config(args: argparse.Namespace) -> TrainConfig:
    """Take the preset `lite`, its ViT narrower and its CNN frozen, for many short runs; each sets its own length."""
    lite = PRESETS["lite"]
    network = replace(lite.network, vit_width=48, frozen_cnn_stages=4)
    return replace(lite, network=network, lr=args.lr, ema=0.99, device=args.device)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refs", type=Path, required=True)
    parser.add_argument("--source-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=6_000, help="images that pre-training sees")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate of pre-training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes; 0 with a GPU")
    parser.add_argument("--labels-only", action="store_true", help="stop once the photos are labelled")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no network after so long")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    return args


def main() -> None:
    """Do what is not done yet, and write the report."""
    args = parse()
    if not (args.work / "labels.npz").is_file():
        label_photos(args.refs, args.source_dir, args.work, args.workers)
    if args.labels_only:
        return
    experiment, tested = prepare(args, make_config(args))
    tried = choose_rates(experiment, args.workers)
    best = RATES[int(np.argmax(tried["none"]))], RATES[int(np.argmax(tried["gp"]))]
    run(replace(experiment, rates=best), args)
    found = report(tested, read_lines(args.work), tried, args) | {"rates": best}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "pretraining.json").write_text(json.dumps(found, indent=1) + "\n")
    for row in found["rows"]:
        print({key: value for key, value in row.items() if key != "types"})


if __name__ == "__main__":
    main()
