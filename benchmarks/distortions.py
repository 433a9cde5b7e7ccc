"""How fast the distortions are, next to the fastest Python port of each.

    python benchmarks/distortions.py                 every type on one thread
    python benchmarks/distortions.py --device cuda   batches of 64 mixed types on a GPU
    python benchmarks/distortions.py --types 19 24   some types, printed only

The first two write benchmarks/results/distortions-DEVICE.json, the first also a page of it.

One 512x384 photo, level 3, both stretches included. Machines differ, so the ports' times are scaled by a Pillow JPEG
round trip at quality 24, timed here all along and 1.40 ms where the ports were timed. Times are the median processor
time of the thread: what the clock would show if nothing else ran. Types 6 and 15 are apart: no port has them.
"""

import argparse
import csv
import io
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import skimage.data
import torch
from PIL import Image

from glint_label.distortions import DISTORTIONS, distort, distort_batch, prepare

HERE = Path(__file__).parent
JPEG_MS = 1.40  # of the round trip, where the ports were timed
APART = ("color_quantization", "denoise")


def port_times() -> dict[int, float]:
    """Read the time of each type's fastest port, milliseconds."""
    with (HERE / "port_timings.csv").open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    times: dict[int, float] = {}
    for row in rows:
        if row["median_ms"]:
            times[int(row["type"])] = min(float(row["median_ms"]), times.get(int(row["type"]), float("inf")))
    return times


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Time some work after a first call that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1000 * statistics.median(times)


def round_trip(photo: np.ndarray) -> None:
    """Do what the machine's speed is measured by."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=24)
    np.array(Image.open(file))


def machine() -> dict[str, object]:
    """Say what this is."""
    names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "processor": names[0].strip() if names else platform.processor(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
    }


def time_types(names: list[str], photo: np.ndarray, repeats: int) -> tuple[list[dict[str, object]], float]:
    """Time each type in both precisions; return the rows and the JPEG round trip's time."""
    exact = torch.from_numpy(photo).permute(2, 0, 1)[None].double().div(255).contiguous()
    ports = port_times()
    rows, probes = [], []
    for name in names:
        number = DISTORTIONS[name].number
        count = 3 if name == "denoise" else repeats
        probes.append(milliseconds(lambda: round_trip(photo), repeats))
        fast = milliseconds(lambda: distort_batch(exact.float(), name, 3, 1), count)  # noqa: B023 - called at once
        slow = milliseconds(lambda: distort_batch(exact, name, 3, 1), count)  # noqa: B023
        rows.append(
            {"number": number, "name": name, "float32_ms": fast, "float64_ms": slow, "port": ports.get(number)}
        )
    jpeg = statistics.median(probes)
    for row in rows:
        if row["port"] is None or row["name"] in APART:
            row["port"] = row["limit_ms"] = None
            continue
        port = row["port"] * jpeg / JPEG_MS
        slack = 1.5 * port if row["port"] >= 5 else port + 5 * jpeg / JPEG_MS
        row.update(port=port, ratio=row["float32_ms"] / port, limit_ms=slack, within=row["float32_ms"] <= slack)
    return rows, jpeg


def time_reference(photo: np.ndarray, repeats: int = 5) -> dict[str, float]:
    """Time all types and levels of one photo, from the photo each time and from one `prepare`."""
    names = [name for name in DISTORTIONS if name != "denoise"]

    def make_all(prepared: bool) -> None:
        source = prepare(photo) if prepared else photo
        for name in names:
            for level in range(1, 6):
                distort(source, name, level, 3)

    denoised = 5 * milliseconds(lambda: distort(photo, "denoise", 3, 3), 3)
    # By turns, so that a slower spell of the machine is in both.
    pairs = [
        (milliseconds(lambda: make_all(False), 1), milliseconds(lambda: make_all(True), 1)) for _ in range(repeats)
    ]
    single, shared = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "single_ms": single,
        "prepared_ms": shared,
        "ratio": statistics.median(b / a for a, b in pairs),
        "denoise_ms": denoised,
        "ratio_with_denoise": (shared + denoised) / (single + denoised),
    }


def time_gpu(photo: np.ndarray, repeats: int) -> list[dict[str, object]]:
    """Time batches of 64 mixed types, and what the types that run on the host take of it."""
    on_host = [name for name, row in DISTORTIONS.items() if row.on_host]
    rng = np.random.default_rng(0)
    results = []
    for width, height in ((512, 384), (384, 384)):
        crop = torch.from_numpy(photo[:height, :width].copy()).permute(2, 0, 1).float().div(255).cuda()
        images = crop.expand(64, -1, -1, -1).contiguous()
        names, levels = rng.choice(list(DISTORTIONS), 64).tolist(), rng.integers(1, 6, 64).tolist()

        def seconds(indices: list[int], images: torch.Tensor, names: list[str], levels: list[int]) -> float:
            times = []
            for repeat in range(repeats + 1):
                torch.cuda.synchronize()
                start = time.perf_counter()
                distort_batch(images[indices], [names[i] for i in indices], [levels[i] for i in indices], repeat)
                torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
            return statistics.median(times[1:])

        every = seconds(list(range(64)), images, names, levels)
        host = seconds([i for i in range(64) if names[i] in on_host], images, names, levels)
        device = seconds([i for i in range(64) if names[i] not in on_host], images, names, levels)
        results.append(
            {
                "size": f"{width}x{height}",
                "images_per_second": 64 / every,
                "host_bound_share": host / (host + device),
                "images_per_second_without_host_types": sum(name not in on_host for name in names) / device,
            }
        )
    return results


def as_markdown(result: dict[str, object]) -> str:
    """Write a CPU result as a page."""
    total, reference, this = result["total"], result["reference"], result["machine"]
    lines = [
        "# Speed of the distortions on one thread",
        "",
        f"{this['processor']}, torch {this['torch']}, Pillow {this['pillow']}; 512x384, level 3, milliseconds.",
        f"The ports' times are scaled by a JPEG round trip of {result['jpeg_ms']:.2f} ms here ({JPEG_MS} ms where",
        "they were taken). `benchmarks/distortions.py` makes this page.",
        "",
        "| type | float32 | float64 | fastest port, scaled | float32 / port |",
        "|---|---|---|---|---|",
    ]
    for row in result["types"]:
        port = "- | -" if row["port"] is None else f"{row['port']:.1f} | {row['ratio']:.2f}"
        times = f"{row['float32_ms']:.1f} | {row['float64_ms']:.1f}"
        lines.append(f"| {row['number']} {row['name']} | {times} | {port} |")
    times = f"{total['float32_ms']:.0f} | {total['float64_ms']:.0f} | {total['port_ms']:.0f}"
    ratios = f"{total['float32_ratio']:.2f} (float64: {total['float64_ratio']:.2f})"
    lines += [
        f"| **total** of the 23 types that a port has | {times} | {ratios} |",
        "",
        "Beyond 1.5 times the fastest port, or 5 ms more for those under 5 ms, both scaled: "
        f"{', '.join(total['over_limit']) or 'none'}.",
        "",
        f"The 120 images of one photo, all types but denoise: {reference['single_ms']:.0f} ms one by one,",
        f"{reference['prepared_ms']:.0f} ms from one `prepare`, {reference['ratio']:.2f} of it. With the five",
        f"denoised ones, which share nothing: {reference['ratio_with_denoise']:.2f}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--types", type=int, nargs="*", help="numbers of types to time and print, nothing written")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    photo = skimage.data.astronaut()[:384].copy()
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    if options.device == "cuda":
        if not torch.cuda.is_available():
            parser.error("there is no GPU here")
        result = {
            "machine": machine() | {"gpu": torch.cuda.get_device_name()},
            "batches": time_gpu(photo, options.repeats),
        }
        (results / "distortions-cuda.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result, indent=1))
        return
    names = [name for name, row in DISTORTIONS.items() if not options.types or row.number in options.types]
    rows, jpeg = time_types(names, photo, options.repeats)
    compared = [row for row in rows if row["port"] is not None]
    sums = {key: sum(row[key] for row in compared) for key in ("float32_ms", "float64_ms", "port")}
    result = {
        "machine": machine(),
        "jpeg_ms": jpeg,
        "types": rows,
        "total": {
            "float32_ms": sums["float32_ms"],
            "float64_ms": sums["float64_ms"],
            "port_ms": sums["port"],
            "float32_ratio": sums["float32_ms"] / sums["port"],
            "float64_ratio": sums["float64_ms"] / sums["port"],
            "over_limit": [row["name"] for row in compared if not row["within"]],
        },
    }
    if options.types:
        print(json.dumps(result, indent=1))
        return
    result["reference"] = time_reference(photo)
    (results / "distortions-cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    page = as_markdown(result)
    (results / "distortions-cpu.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
