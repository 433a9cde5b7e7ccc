"""How time and memory grow with the number of references.

    python benchmarks/scale.py                                  all parts; writes benchmarks/results/scale.json
    python benchmarks/scale.py --parts duplicates,labels        some of them; the others' figures stay
    python benchmarks/scale.py --parts duplicates --most 20000  none larger than that

duplicates  near-duplicates of 20,000, 100,000 and 1,000,000 made-up photos, copies planted among them; the smallest
            also by comparing every pair
labels      vectors given, no photo opened: 20,000, 100,000 and 1,000,000 references x 125 rows labelled and written
            (15 GB), or, with a smaller --most, what that comes to for a million; the largest through Ray too
growth      whole builds of 1,000, 10,000 and 100,000 photos of 64 x 64
rendering   a core that renders against one that only decodes and encodes the same images
engines     rendering with one worker, with two, and on a Ray cluster of two nodes on this machine

Seconds are those of the clock and of the processors: where other programs run, look at the latter. Memory is the most
that all processes of a part hold together, pages that they share counted once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from build import RESULTS, child_given, given_plan, machine, make_source
from PIL import Image
from report import timed

DUPLICATES = (20_000, 100_000, 1_000_000)
LABELS = (20_000, 100_000, 1_000_000)
GROWTH = (1_000, 10_000, 100_000)
MILLION = 1_000_000
EXHAUSTIVE = 20_000  # photos up to which every pair is compared too
# name -> columns, how the size of a column falls with its number, threshold. `even` is the hardest for its length:
# the vectors fill all directions. `falling` falls as the packaged embedder's do on photos.
VECTORS = {"even": (42, 0.0, 0.98), "falling": (512, 0.4, 0.9)}


def measured(*arguments: object) -> dict:
    """Run a command; its seconds, those of processors, the most memory of all its processes, MB, and what it prints.

    The last line of its output is JSON.
    """
    with tempfile.TemporaryFile("w+") as output:
        figures = timed(*arguments, output=output)
        output.seek(0)
        printed = json.loads(output.read().splitlines()[-1])
    return {**printed, **figures}


def child(part: str, *arguments: object) -> dict:
    """Run one of this file's child parts in a process of its own."""
    return measured(sys.executable, __file__, "--child", part, *arguments)


# -- child parts: what the measured processes do


def child_keys(folder: str, photos: str, kind: str) -> None:
    """Make up what photos are recognised by: a hundredth plain, a twentieth copies, half of them moved far."""
    from glint_label.duplicates.perceptual_hash import mirrored
    from glint_label.embed.embedder import unit_rows

    count, (columns, fall, threshold) = int(photos), VECTORS[kind]
    rng = np.random.default_rng(0)
    scale = np.arange(1, columns + 1, dtype=np.float32) ** -fall
    out = Path(folder)
    vectors = np.lib.format.open_memmap(out / "vectors.npy", "w+", np.float32, (count, columns))
    for start in range(0, count, 10_000):
        rows = vectors[start : start + 10_000]
        rows[:] = unit_rows(rng.standard_normal(rows.shape, dtype=np.float32) * scale)
    hashes = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    hashes[: count // 100] = 0
    originals = rng.permutation(count // 2)[: count // 20]
    copies = count // 2 + rng.permutation(count // 2)[: count // 20]
    half = len(copies) // 2
    away = unit_rows(rng.standard_normal((len(copies), columns), dtype=np.float32))
    vectors[copies] = unit_rows(vectors[originals] + 0.6 * np.sqrt(2 - 2 * threshold) * away)
    flipped = rng.random((len(copies), 128)) < np.where(np.arange(len(copies)) < half, 0.06, 0.25)[:, None]
    plain = ~hashes[originals].any(axis=1, keepdims=True)
    hashes[copies] = np.where(plain, 0, hashes[originals] ^ np.packbits(flipped, axis=1))
    hashes[copies[::2]] = mirrored(hashes[copies[::2]])
    np.savez(out / "rest.npz", hashes=hashes, originals=originals, copies=copies)
    print("{}")


def child_duplicates(folder: str, kind: str) -> None:
    """Group them; the smallest sets also by comparing every pair."""
    from glint_label.duplicates import index
    from glint_label.duplicates.perceptual_hash import PERHAPS_SAME_PICTURE, SAME_PICTURE, distances
    from glint_label.engines import available_cores

    threshold = VECTORS[kind][2]
    vectors = np.load(Path(folder) / "vectors.npy", mmap_mode="r")
    with np.load(Path(folder) / "rest.npz") as arrays:
        hashes, originals, copies = (arrays[name] for name in ("hashes", "originals", "copies"))
    keys = index.DuplicateKeys(vectors, hashes)

    def group() -> tuple[np.ndarray, float]:
        used = time.process_time()
        leaders = index.find_near_duplicates(keys, threshold, available_cores())
        return leaders, time.process_time() - used

    leaders, cpu = group()
    differing = distances(hashes[originals], hashes[copies])
    similar = np.einsum("ij,ij->i", vectors[originals], vectors[copies]) > threshold
    plain = ~hashes[originals].any(axis=1)
    same = np.where(plain, similar, (differing <= SAME_PICTURE) | (similar & (differing <= PERHAPS_SAME_PICTURE)))
    figures = {
        "search_cpu_seconds": round(cpu, 1),
        "planted": int(same.sum()),
        "recall": float(np.mean((leaders[originals] == leaders[copies])[same])),
    }
    if len(hashes) <= EXHAUSTIVE:
        index._EXHAUSTIVE = len(hashes)
        every, every_cpu = group()
        figures |= {
            "same_groups_as_every_pair": bool((every == leaders).all()),
            "every_pair_cpu_seconds": round(every_cpu, 1),
        }
    print(json.dumps(figures))


def child_measured(folder: str, references: str, transfer: str) -> None:
    """Leave everything as if photos had been measured and the source fitted and audited: only labels are missing."""
    from glint_label.build.fit import FitSource
    from glint_label.progress import no_progress

    child_given(folder, references, transfer)
    fit = FitSource(given_plan(Path(folder), int(references), transfer), no_progress)
    fit.make(fit.missing())
    print("{}")


def child_labels(folder: str, references: str, transfer: str, engine: str) -> None:
    """Label from the vectors: near-duplicates, neighbours, transfer, tables, on all cores."""
    from glint_label.build.pipeline import build
    from glint_label.engines import on_ray

    with on_ray() if engine == "ray" else nullcontext():
        report = build(given_plan(Path(folder), int(references), transfer))
    print(json.dumps({"rows": report.counts["rows"]}))


def child_build(refs: str, source: str, out: str) -> None:
    """Build from photos, on all cores."""
    from glint_label.build.config import BuildConfig
    from glint_label.build.pipeline import build
    from glint_label.engines import available_cores

    report = build(
        BuildConfig(
            refs=Path(refs),
            out=Path(out),
            source="custom",
            source_dir=Path(source),
            embedder="statistics",
            transfer="cell-mean",
            workers=available_cores(),
        )
    )
    print(json.dumps({"rows": report.counts["rows"]}))


# -- parts


def part_duplicates(work: Path, most: int) -> dict:
    """Group made-up photos; the pairs grow a hundredfold from 100,000 to a million."""
    figures: dict[str, dict] = {}
    for kind in VECTORS:
        for count in (count for count in DUPLICATES if count <= most and (kind == "even" or count < MILLION)):
            with tempfile.TemporaryDirectory(dir=work) as folder:
                child("keys", folder, count, kind)
                found = child("duplicates", folder, kind)
            figures[f"{kind} {count}"] = {
                "photos": count,
                "columns": VECTORS[kind][0],
                "threshold": VECTORS[kind][2],
                **found,
                **({"seconds_at_most": 600, "peak_mb_at_most": 4000} if count == MILLION else {}),
            }
    return figures


def part_labels(work: Path, most: int) -> dict:
    """Label from given vectors, and say what the growth comes to at a million references."""
    make_source(work / "rated", 81)
    counts = [count for count in LABELS if count <= most]
    figures: dict[str, dict] = {}
    for count, engine in [*((count, "local") for count in counts), (counts[-1], "ray")]:
        child("measured", work, count, "cell-mean")
        found = child("labels", work, count, "cell-mean", engine)
        remove(work / f"out{count}-cell-mean")
        figures[f"{count} {engine}"] = {
            "references": count,
            **{name: found[name] for name in ("rows", "seconds", "cpu_seconds", "peak_mb")},
            "rows_per_second": round(found["rows"] / found["seconds"]),
            "rows_per_cpu_second": round(found["rows"] / found["cpu_seconds"]),
            **({"seconds_at_most": 600} if count == MILLION else {}),
            **({"peak_mb_at_most": 1000} if count == MILLION and engine == "local" else {}),  # Ray's own is more
        }
    if len(counts) > 1 and max(LABELS) > most:
        first, last = figures[f"{counts[0]} local"], figures[f"{counts[-1]} local"]
        more = last["references"] - first["references"]
        # Not the memory: at a million, near-duplicates take more than labels, and their part measures it.
        figures["a million, extrapolated"] = {
            name: round(last[name] + (last[name] - first[name]) / more * (MILLION - last["references"]))
            for name in ("seconds", "cpu_seconds")
        }
    return figures


def part_growth(work: Path, most: int) -> dict:
    """Build from tiny photos of which no two are alike."""
    if not (work / "rated").exists():
        make_source(work / "rated", 81)
    figures: dict[str, dict] = {}
    for count in (count for count in GROWTH if count <= most):
        refs = make_tiny_photos(work / f"tiny{count}", count)
        found = child("build", refs, work / "rated", work / f"built{count}")
        figures[str(count)] = {"references": count, **found}
        remove(refs)
        remove(work / f"built{count}")
    sizes = list(figures.values())
    for number in range(1, len(sizes) - 1):
        (before, middle, after) = sizes[number - 1 : number + 2]
        slopes = [
            (more["cpu_seconds"] - less["cpu_seconds"]) / (more["references"] - less["references"])
            for less, more in ((before, middle), (middle, after))
        ]
        figures |= {"cpu_slope_ratio": round(slopes[1] / slopes[0], 3), "cpu_slope_ratio_at_most": 1.1}
    if len(sizes) > 1:
        figures |= {"memory_growth_mb": sizes[-1]["peak_mb"] - sizes[0]["peak_mb"], "memory_growth_mb_at_most": 200}
    return figures


def part_rendering(work: Path, _: int) -> dict:
    """See `engines`, which loads what must not be in the memory that the other parts measure."""
    from engines import measure_rendering

    return measure_rendering(work)


def part_engines(work: Path, _: int) -> dict:
    """See `engines`."""
    from engines import measure_engines

    return measure_engines(work)


def make_tiny_photos(folder: Path, count: int) -> Path:
    """Save photos of 64 x 64, drawn at random and smoothed."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(path, quality=85)
    return folder


def remove(folder: Path) -> None:
    """Make room on the disk."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)


PARTS: dict[str, Callable[[Path, int], dict]] = {
    "duplicates": part_duplicates,
    "labels": part_labels,
    "growth": part_growth,
    "rendering": part_rendering,
    "engines": part_engines,
}
CHILDREN: dict[str, Callable[..., None]] = {
    "keys": child_keys,
    "duplicates": child_duplicates,
    "measured": child_measured,
    "labels": child_labels,
    "build": child_build,
}


def main() -> None:
    """Measure, and write the figures beside those of earlier calls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--most", type=int, default=MILLION, help="references of the largest measurement")
    parser.add_argument("--work", type=Path, help="where files are made and removed again; a temporary folder")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        CHILDREN[options.child[0]](*options.child[1:])
        return
    path = RESULTS / "scale.json"
    for part in options.parts.split(","):
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            figures = PARTS[part](Path(folder), options.most)
        results = json.loads(path.read_text()) if path.exists() else {}
        results |= {"machine": machine("cpu"), part: figures}
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(json.dumps({part: figures}, indent=1), flush=True)


if __name__ == "__main__":
    main()
