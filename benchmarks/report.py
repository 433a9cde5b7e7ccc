"""How long `glint-label inspect` takes for 50,000 photos, in the terminal and as HTML, and how soon the file opens.

    python benchmarks/report.py          writes benchmarks/results/report.json

The build is made up: 6.25 million rows in the real format, labels drawn at random, photos that are crops of
scikit-image's. Every process is timed from its start; its memory is the most that all its processes held together.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import numpy as np
from build import RESULTS, machine, make_photos

PHOTOS = 12  # different ones; every reference is a link to one of them
VARIANTS = 8  # of a shard's labels
ANCHORS = 80
NEAREST = 10


def make_build(out: Path, refs: Path, references: int) -> None:
    """Write a build of so many references, and their photos."""
    from glint_label.files import format_json
    from glint_label.manifest import (
        FAILED_COLUMNS,
        METADATA_COLUMNS,
        REFERENCES_COLUMNS,
        ShardCounts,
        cut_shards,
        digest_of,
        format_csv,
        shard_folder,
        write_record,
    )

    rng = np.random.default_rng(0)
    refs.mkdir()
    photos = sorted(make_photos(refs / "photos", PHOTOS).iterdir())
    sha256 = [hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos]
    config = {
        "source": "kadid10k",
        "ratings": "made up",
        "embedder": {"embedder": "packaged"},
        "transfer": "gp",
        "size": [512, 384],
        "references": {"count": references},
    }
    digest = digest_of(config)
    tables = [_tables(rng, sha256) for _ in range(VARIANTS)]
    arrays = {"embeddings.npz": rng.bytes(294_000), "features.npz": rng.bytes(1_347_000)}  # as large as those of gp
    header = ",".join(REFERENCES_COLUMNS) + "\n"
    merged = [header]
    names = [f"{number // 64:05d}/{number % 64:02d}.png" for number in range(references)]
    for shard in cut_shards(names, [refs / name for name in names]):
        folder = shard_folder(out, shard.number)
        folder.mkdir(parents=True)
        (refs / f"{shard.number:05d}").mkdir()
        for place, path in enumerate(shard.paths):
            os.link(photos[place % PHOTOS], path)
        metadata, rows = (
            "".join(block.replace("@SHARD", f"{shard.number:05d}") for block in blocks[: len(shard.names)])
            for blocks in tables[shard.number % VARIANTS]
        )
        (folder / "metadata.csv").write_text(",".join(METADATA_COLUMNS) + "\n" + metadata)
        (folder / "references.csv").write_text(header + rows)
        (folder / "failed.csv").write_text(format_csv(FAILED_COLUMNS, []))
        for name, content in arrays.items():
            (folder / name).write_bytes(content)
        write_record(folder, digest, ShardCounts(len(shard.names), 0, 0, 0, 125 * len(shard.names)), {})
        merged.append(rows)
    (out / "references.csv").write_text("".join(merged))
    run = {
        "kind": "build",
        "status": "complete",
        "refs": str(refs),
        "config": config,
        "config_sha256": digest,
        "seed": 0,
        "mos_range": [1, 5],
        "anchors": ANCHORS,
        "missing_anchors": [],
        "counts": {"rows": 125 * references},
        "anchor_similarity": {"5": 0.43},
    }
    (out / "run.json").write_text(format_json(run))


def _tables(rng: np.random.Generator, sha256: list[str]) -> tuple[list[str], list[str]]:
    """Draw the rows of a shard's 64 references; @SHARD stands for its number."""
    from glint_label.manifest import format_csv, format_list
    from glint_label.sources.kadid10k import LEVELS, NUMBERS

    metadata, references = [], []
    for place in range(64):
        name, identity, split = f"@SHARD/{place:02d}.png", f"@SHARD{place:011x}", "val" if place % 10 == 0 else "train"
        alike = np.sort(rng.uniform(0.1, 0.95, NEAREST))[::-1]
        nearest = [f"I{number:02d}" for number in rng.permutation(np.arange(1, ANCHORS + 1))[:NEAREST]]
        rows = []
        for kind, number in NUMBERS.items():
            for level in LEVELS:
                mos = np.clip(5.2 - 0.7 * level + rng.normal(0, 0.3), 1, 5)
                made_of = (f"{identity}_{number:02d}_{level}.png", name, identity, number, kind, level)
                label = (int(rng.integers(2**53)), f"{mos:.4f}", f"{rng.uniform(0.2, 0.4):.4f}")
                rows.append((*made_of, *label, nearest[0], f"{alike[0]:.4f}", split))
        metadata.append(format_csv((), rows).removeprefix("\n"))
        weights = format_list(rng.uniform(0, 0.2, NEAREST))
        sizes = (512, 384, 512, 384, "@SHARD")
        row = (identity, name, sha256[place % PHOTOS], *sizes, json.dumps(nearest), format_list(alike), weights)
        references.append(format_csv((), [(*row, f"{rng.normal(0, 0.1):.4f}", split, "")]).removeprefix("\n"))
    return metadata, references


def timed(*arguments: object, output: IO[str] | int = subprocess.DEVNULL) -> dict:
    """Run a command, and tell its seconds, those of processors, and the most memory of its processes together, MB.

    What it prints goes to `output`.
    """
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([str(part) for part in arguments], stdout=output)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(memory_kb, family(process.pid))))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{arguments}: exit code {process.returncode}")
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "peak_mb": round(peak / 1024)}


def memory_kb(pid: int) -> int:
    """Tell what a process holds; pages that several share count in parts, so that the sum is right."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def family(pid: int) -> list[int]:
    """List a process and those that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(one for child in children for one in family(int(child)))]


def open_seconds(file: Path) -> tuple[float, float] | None:
    """Tell how long the file takes to open in Chromium until its script has run, and how much of it is processor time.

    Medians of five; None where there is no Chromium.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return None
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            seconds, used = [], []
            for _ in range(5):
                page = browser.new_page()
                session = page.context.new_cdp_session(page)
                session.send("Performance.enable")
                page.goto(file.as_uri())
                metrics = session.send("Performance.getMetrics")["metrics"]
                used.append(next(one["value"] for one in metrics if one["name"] == "ThreadTime"))
                seconds.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
                page.close()
            browser.close()
    except Error:
        return None
    return round(statistics.median(seconds), 2), round(statistics.median(used), 2)


def main() -> None:
    """Make the build, run both commands, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=50_000)
    references = parser.parse_args().references
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        out, html = work / "build", work / "report.html"
        started = time.perf_counter()
        make_build(out, work / "refs", references)
        print(f"made up in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        command = (sys.executable, "-m", "glint_cli.main", "inspect", out)
        figures = {
            "machine": machine("cpu"),
            "references": references,
            "rows": 125 * references,
            "terminal": {**timed(*command), "seconds_at_most": 15},
            "html": {**timed(*command, "--html", html), "seconds_at_most": 60, "peak_mb_at_most": 2000},
        }
        opened = open_seconds(html) or (None, None)
        figures["file"] = {
            "bytes": html.stat().st_size,
            "bytes_at_most": 3_000_000,
            "opens_in_seconds": opened[0],
            "opens_in_cpu_seconds": opened[1],
            "opens_in_seconds_at_most": 1,
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
