"""How fast and how lean a build is, as ratios to bare loops in the same run.

    python benchmarks/build.py                   all parts; writes benchmarks/results/build-DEVICE.json
    python benchmarks/build.py --parts labels    some of them, with commas between

default the first command, without a dataset: photos a second and core of each stage, against decode + forward alone
sizes   the same photos with 12 megapixels and with 512 x 384: building, and rendering one in all ways
embed   a build with a ViT-B-32 against a bare loop that decodes and runs the same model on the same files
paper   photos a second of the published scheme (ResNet-101, one photo at a time, native size) and of a ViT-B-32
labels  vectors given, no photo opened: references x 125 rows labelled and written
transfer  the same with gp-content and with top1
features  the full-reference features of a photo, against its 120 distortions alone in float32
memory  peak memory of the same at 1,000 and at 100,000 references

Every process is timed from its start. Weights are random: speed does not depend on them.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg", "rocket.jpg")
SIZE = (512, 384)
RESULTS = Path(__file__).parent / "results"
DIMENSIONS = 41


def make_photos(folder: Path, number: int) -> Path:
    """Save random crops of scikit-image's colour photos as PNG."""
    rng = np.random.default_rng(0)
    data = Path(skimage.__file__).parent / "data"
    photos = [Image.open(data / name).convert("RGB").resize((700, 560)) for name in PHOTOS]
    folder.mkdir()
    for index in range(number):
        photo = photos[index % len(photos)]
        left, top = rng.integers(0, photo.width - SIZE[0]), rng.integers(0, photo.height - SIZE[1])
        crop = photo.crop((left, top, left + SIZE[0], top + SIZE[1]))
        crop.save(folder / f"{index:05d}.png", compress_level=3)
    return folder


def make_source(folder: Path, anchors: int) -> Path:
    """Save a rated dataset of KADID-10k's shape in the `custom` layout, its scores drawn at random."""
    from glint_label.sources.kadid10k import DISTORTIONS

    rng = np.random.default_rng(1)
    folder.mkdir()
    lines = ["anchor,distortion,level,mos"]
    for index in range(anchors):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"a{index:02d}.png")
        for name in DISTORTIONS:
            lines += [f"a{index:02d}.png,{name},{level},{rng.uniform(1, 5):.2f}" for level in range(1, 6)]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_weights(path: Path) -> Path:
    """Save a randomly initialised ViT-B-32."""
    import open_clip
    import torch

    torch.manual_seed(0)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)
    return path


def timed(*arguments: object) -> tuple[float, dict]:
    """Run this file's child part, or any command, and time the whole process; its last line is JSON or ignored."""
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in arguments], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    last = (done.stdout.strip().splitlines() or ["{}"])[-1]
    return seconds, json.loads(last) if last.startswith("{") else {}


def child(part: str, *arguments: object) -> tuple[float, dict]:
    """Run one of this file's child parts in a process of its own."""
    return timed(sys.executable, __file__, "--child", part, *arguments)


# -- child parts: what the timed processes do


def child_stages(photos: str) -> None:
    """Time what each photo goes through in the default build, on one core."""
    import torch

    from glint_label.duplicates.perceptual_hash import perceptual_hash
    from glint_label.embed import make_embedder
    from glint_label.images import SEEN, read_photo
    from glint_label.transfer.packaged import EMBEDDER, packaged_path, read_model
    from glint_label.visibility.features import measure_features

    torch.set_num_threads(1)
    model = read_model(packaged_path())
    seeds = [0] * len(model.conditions)
    prepare = make_embedder(EMBEDDER, []).preparation
    stages = {
        "decode": lambda path: read_photo(path, size=SEEN).pixels,
        "hash": perceptual_hash,
        "embed": prepare,
        "visibility": lambda pixels: measure_features(pixels, model.conditions, seeds),
    }
    paths = sorted(Path(photos).iterdir())
    pixels = [stages["decode"](path) for path in paths]
    prepare(pixels[0])  # loads the network
    seconds = {}
    for name, stage in stages.items():
        started = time.process_time()
        for item in paths if name == "decode" else pixels:
            stage(item)
        seconds[name] = (time.process_time() - started) / len(paths)
    print(json.dumps(seconds))


def child_decode(photos: str) -> None:
    """Decode every photo, and nothing else."""
    for path in sorted(Path(photos).iterdir()):
        np.asarray(Image.open(path).convert("RGB"))


def child_bare(photos: str, weights: str, device: str) -> None:
    """Decode and embed every photo in batches of 64: what cannot be left out."""
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=weights, device=device)
    model.eval()
    names = sorted(Path(photos).iterdir())
    with torch.inference_mode():
        for start in range(0, len(names), 64):
            batch = [preprocess(Image.open(name).convert("RGB")) for name in names[start : start + 64]]
            model.encode_image(torch.stack(batch).to(device)).cpu()


def child_paper(photos: str, device: str) -> None:
    """Embed one photo at a time at its native size with a ResNet-101, as published."""
    import timm
    import torch

    model = timm.create_model("resnet101", num_classes=0).eval().to(device)
    names = sorted(Path(photos).iterdir())[:64]
    started = time.perf_counter()
    with torch.inference_mode():
        for name in names:
            pixels = np.asarray(Image.open(name).convert("RGB"))
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().to(device) / 255
            model(image).cpu()
    print(json.dumps({"photos_per_second": len(names) / (time.perf_counter() - started)}))


def child_given(folder: str, references: str, transfer: str) -> None:
    """Save drawn vectors of the photos and the anchors, as if a build had measured them."""
    from glint_label.build.folder import open_build
    from glint_label.embed import EmbeddedPhotos, write_embedded
    from glint_label.files import write_atomic
    from glint_label.manifest import FAILED_COLUMNS, format_csv, shard_folder

    plan = given_plan(Path(folder), int(references), transfer)
    rng = np.random.default_rng(2)

    def write(place: Path, names: tuple[str, ...]) -> None:
        photos = EmbeddedPhotos(
            names=names,
            vectors=rng.normal(size=(len(names), DIMENSIONS)).astype(np.float32),
            hashes=rng.integers(0, 256, (len(names), 16), dtype=np.uint8),
            sha256=("0" * 64,) * len(names),
            sizes=np.full((len(names), 4), 512),
        )
        write_embedded(place / "embeddings.npz", photos)

    out = plan.config.out
    with open_build(plan, overwrite=False, repair=False, strict=False, command=["benchmark"]):
        write(out / "anchors", tuple(plan.source.anchors))
        for shard in plan.shards:
            write(shard_folder(out, shard.number), shard.names)
            write_atomic(shard_folder(out, shard.number) / "failed.csv", format_csv(FAILED_COLUMNS, []))


def child_labels(folder: str, references: str, transfer: str) -> None:
    """Label from the vectors: near-duplicates, neighbours, transfer, tables. The audit is made before."""
    from glint_label.build.fit import FitSource
    from glint_label.build.pipeline import build
    from glint_label.progress import no_progress

    plan = given_plan(Path(folder), int(references), transfer)
    fit = FitSource(plan, no_progress)
    fit.make(fit.missing())
    started = time.perf_counter()
    with PeakMemory() as memory:
        report = build(plan)
    seconds = time.perf_counter() - started
    peak = sum(memory.peaks.values()) / 1024
    print(json.dumps({"rows": report.counts["rows"], "seconds": seconds, "peak_mb": peak}))


def child_features() -> None:
    """Measure the full-reference features of a photo on one core, and make its 120 distortions alone, in turn."""
    import torch

    from glint_label.distortions import Prepared, find
    from glint_label.distortions.prepared import to_bytes
    from glint_label.distortions.random import as_seeds
    from glint_label.sources.kadid10k import DISTORTIONS, LEVELS
    from glint_label.visibility.features import SLOW, measure_features

    torch.set_num_threads(1)
    with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as image:
        photo = np.asarray(image.convert("RGB"))[:384]
    picture = torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255
    conditions = [(name, level) for name in DISTORTIONS for level in LEVELS if name not in SLOW]

    def distort_alone() -> None:
        with torch.inference_mode():
            prepared = Prepared(picture[None])
            for name, level in conditions:
                to_bytes(find(name).apply(prepared, level, as_seeds([0])))

    def measure() -> None:
        measure_features(photo, conditions, [0] * len(conditions))

    def seconds(work: Callable[[], None]) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    measure_features(photo, conditions[:1], [0])  # loads the network
    rounds = [(seconds(measure), seconds(distort_alone)) for _ in range(5)]
    print(json.dumps({"rounds": rounds}))


class PeakMemory:
    """Watch the peak of this process and of each of its children, kB.

    getrusage will not do: a child's figure there begins with its parent's size at the fork.
    """

    def __init__(self) -> None:
        self.peaks: dict[int, int] = {}
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakMemory":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        me = os.getpid()
        while not self._done.wait(0.2):
            children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
            for pid in (me, *map(int, children)):
                with contextlib.suppress(OSError, StopIteration, ProcessLookupError):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    self.peaks[pid] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def given_plan(folder: Path, references: int, transfer: str):
    """Plan a build of so many references that are not there."""
    from glint_label.build.config import BuildConfig, settings_of
    from glint_label.build.plan import Plan, makeable_conditions
    from glint_label.embed import make_embedder
    from glint_label.engines import available_cores
    from glint_label.listing import Listing
    from glint_label.manifest import cut_shards
    from glint_label.names import Below
    from glint_label.sources import load_source

    config = BuildConfig(
        refs=folder,
        out=folder / f"out{references}-{transfer}",
        source="custom",
        source_dir=folder / "rated",
        embedder="statistics",
        transfer=transfer,
        workers=available_cores(),
    )
    source = load_source("custom", folder / "rated")
    conditions, left_out = makeable_conditions(source)
    names = [f"{index // 1000:03d}/{index:06d}.png" for index in range(references)]
    embedder = make_embedder("statistics", [])
    settings = settings_of(config, names, source, embedder.describe(), embedder.near_duplicate)
    shards = cut_shards(names, Below(folder, names))
    listing = Listing(names, {}, {})
    return Plan(config, source, conditions, left_out, folder, listing, names, shards, embedder, settings)


# -- parts


def default_build(photos: Path, out: Path) -> float:
    """Time the first command on one core, where there is no dataset."""
    command = f"-m glint_cli.main build --refs {photos} --source kadid10k --out {out} --workers 1"
    seconds, _ = timed(sys.executable, *command.split())
    return seconds


def part_default(work: Path, photos: int = 24) -> dict:
    """Time the first command and its stages."""
    files = make_photos(work / "default", photos)
    _, seconds = child("stages", files)
    start, _ = timed(sys.executable, "-m", "glint_cli.main", "--help")
    build = default_build(files, work / "default-out")
    return {
        "photos": photos,
        "photos_per_second_and_core": {name: round(1 / each, 2) for name, each in seconds.items()},
        "build_photos_per_second_and_core": round(photos / (build - start), 3),
        "ratio_to_decode_and_forward": round(build / photos / (seconds["decode"] + seconds["embed"]), 1),
        "ratio_to_all_stages": round(build / photos / sum(seconds.values()), 2),
    }


def part_sizes(work: Path, photos: int = 24) -> dict:
    """Compare photos of 12 megapixels with the same ones as the raters would have seen them."""
    small, large = make_photos(work / "small", photos), work / "large"
    large.mkdir()
    for path in sorted(small.iterdir()):
        Image.open(path).resize((4096, 3072), Image.Resampling.BOX).save(large / f"{path.stem}.jpg", quality=95)
    times = {files.name: default_build(files, work / f"{files.name}-out") for files in (small, large)}
    decode = {files.name: child("decode", files)[0] for files in (small, large)}
    name = sorted(path.stem for path in small.iterdir())[0]
    for files, suffix in ((small, ".png"), (large, ".jpg")):
        command = f"-m glint_cli.main render {work / f'{files.name}-out'} --reference {name}{suffix} --workers 1"
        times[f"{files.name} rendered"], _ = timed(sys.executable, *command.split())
    return {
        "photos": photos,
        "build_s": {files: round(times[files], 1) for files in ("small", "large")},
        "decode_s": {files: round(seconds, 1) for files, seconds in decode.items()},
        "build_ratio": round(times["large"] / (times["small"] + decode["large"] - decode["small"]), 2),
        "build_ratio_at_most": 1.3,
        "render_s": {files: round(times[f"{files} rendered"], 1) for files in ("small", "large")},
        "render_ratio": round(times["large rendered"] / times["small rendered"], 2),
        "render_ratio_at_most": 1.2,
    }


def part_embed(work: Path, device: str, photos: int, pairs: int) -> dict:
    """Time a build with a ViT-B-32 against the bare loop."""
    files = make_photos(work / "photos", photos)
    weights = make_weights(work / "vit.pt")
    source = make_source(work / "rated-small", 3)
    runs = []
    for pair in range(pairs):
        options = (
            f"--refs {files} --source custom --source-dir {source} --out {work / f'built{pair}'} --device {device}"
        )
        command = f"-m glint_cli.main build {options} --embedder clip --clip-model ViT-B-32 --clip-weights {weights}"
        built, _ = timed(sys.executable, *command.split(), "--transfer", "knn")
        bare, _ = child("bare", files, weights, device)
        runs.append({"build_s": round(built, 1), "bare_s": round(bare, 1), "ratio": round(built / bare, 3)})
    ratio = float(np.median([run["ratio"] for run in runs]))
    return {"photos": photos, "runs": runs, "ratio": ratio, "at_most": 1.15}


def part_paper(work: Path, device: str, embed: dict | None) -> dict:
    """Time the published scheme."""
    files = work / "photos" if (work / "photos").is_dir() else make_photos(work / "photos", 64)
    _, figures = child("paper", files, device)
    result = {"published_photos_per_second": round(figures["photos_per_second"], 2)}
    if embed:
        ours = embed["photos"] / float(np.median([run["build_s"] for run in embed["runs"]]))
        result |= {"build_photos_per_second": round(ours, 2)}
        result |= {"times_faster": round(ours / figures["photos_per_second"], 1)}
    return result


def label(work: Path, references: int, transfer: str = "knn") -> dict:
    """Time the labelling of so many references, whose vectors are given."""
    child("given", work, references, transfer)
    _, figures = child("labels", work, references, transfer)
    return {
        "references": references,
        "rows": figures["rows"],
        "seconds": round(figures["seconds"], 1),
        "peak_mb": round(figures["peak_mb"]),
    }


def part_labels(work: Path) -> dict:
    """Label 50,000 references."""
    return {**label(work, 50_000), "seconds_at_most": 60, "peak_mb_at_most": 1500}


def part_transfer(work: Path) -> dict:
    """Label 50,000 references with the Gaussian process and with the published rule."""
    slow, quick = label(work, 50_000, "gp-content"), label(work, 50_000, "top1")
    return {
        "gp-content": slow,
        "top1": quick,
        "ratio": round(slow["seconds"] / quick["seconds"], 2),
        "ratio_at_most": 2,
    }


def part_features() -> dict:
    """Compare what the features of a photo take with its 120 distortions alone in float32."""
    _, figures = child("features")
    measured, alone = np.median(figures["rounds"], axis=0)
    ratios = [one / other for one, other in figures["rounds"]]
    return {
        "features_s": round(float(measured), 2),
        "distortions_s": round(float(alone), 2),
        "ratio": round(float(np.median(ratios)), 2),
        "at_most": 1.5,
    }


def part_memory(work: Path) -> dict:
    """Compare the peak memory of a small and a large build."""
    small, large = label(work, 1_000), label(work, 100_000)
    return {
        "small": small,
        "large": large,
        "difference_mb": large["peak_mb"] - small["peak_mb"],
        "difference_mb_at_most": 200,
    }


def machine(device: str) -> str:
    """Name the processor or the accelerator."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name()
    from glint_label.engines import available_cores

    info = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{(models or [platform.processor()])[0]}, {available_cores()} cores"


def main() -> None:
    """Run the parts and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="default,sizes,embed,paper,labels,transfer,features,memory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        globals()[f"child_{options.child[0]}"](*options.child[1:])
        return
    figures: dict = {"machine": machine(options.device)}
    parts = options.parts.split(",")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # The first command's own case: no dataset on the machine, and none is looked for here.
        os.environ["XDG_DATA_HOME"] = str(work / "home")
        os.environ.pop("GLINT_DATA", None)
        if "default" in parts:
            figures["default"] = part_default(work)
        if "sizes" in parts:
            figures["sizes"] = part_sizes(work)
        if "embed" in parts:
            figures["embed"] = part_embed(work, options.device, options.photos, options.pairs)
        if "paper" in parts:
            figures["paper"] = part_paper(work, options.device, figures.get("embed"))
        if {"labels", "transfer", "memory"} & set(parts):
            make_source(work / "rated", 80)
        if "labels" in parts:
            figures["labels"] = part_labels(work)
        if "transfer" in parts:
            figures["transfer"] = part_transfer(work)
        if "features" in parts:
            figures["features"] = part_features()
        if "memory" in parts:
            figures["memory"] = part_memory(work)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"build-{options.device.split(':')[0]}.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**before, **figures}, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
