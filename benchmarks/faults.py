"""Faults at random moments of tiny builds: each build is then brought to its end, and compared byte for byte.

    python benchmarks/faults.py                      # 1,000 kills and a share of every other fault
    python benchmarks/faults.py --kills 100 --only kill,SIGTERM
    python benchmarks/faults.py --engine ray --out s3://bucket/folder --fresh

Every trial starts the real command line. So that it does not load torch each time, a process that has loaded all of it
forks one that runs the command, which is killed at a moment drawn evenly over the time that the build takes; then the
command runs again and must end well. One that loses a worker must do so by itself. `--fresh` starts a new interpreter
instead.
"""

import argparse
import csv
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "faults.json"
PHOTOS, ANCHORS, LEVELS = 70, 2, 2  # two shards, 140 rows and as many images; too few anchors for an audit
LONGEST = 120.0  # seconds that a command may take
NOT_COMPARED = ("run.json", ".lock")  # run.json tells when and how often the command ran


@dataclass
class Outcome:
    """What came of one kind of fault.

    Attributes:
        fault: In words.
        tried: How often it struck a running command.
        missed: How often the command had ended before.
        exit_codes: Of the struck commands -> how many.
        rows_lost: Rows of the undisturbed build that the other lacks in the end, over all trials.
        rows_wrong: Rows that the undisturbed build does not have.
        files_wrong: Files that differ, are missing or are too many in the end.
        not_resumed: Trials whose last command did not end well.
    """

    fault: str
    tried: int = 0
    missed: int = 0
    exit_codes: dict[str, int] = field(default_factory=dict)
    rows_lost: int = 0
    rows_wrong: int = 0
    files_wrong: int = 0
    not_resumed: int = 0


def save_material(folder: Path) -> None:
    """Draw small photos and a rated dataset of one distortion."""
    rng = np.random.default_rng(0)
    for part, number in (("refs", PHOTOS), ("rated/anchors", ANCHORS)):
        (folder / part).mkdir(parents=True)
        for index in range(number):
            y, x = np.mgrid[:64, :66]
            waves = [np.sin(x / rng.uniform(2, 20) + y / rng.uniform(2, 20)) for _ in range(3)]
            pixels = 128 + 60 * np.stack(waves, axis=-1) + rng.normal(0, 12, (64, 66, 1))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / part / f"{index:02d}.png")
    with (folder / "rated" / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("anchor", "distortion", "level", "mos", "std", "n"))
        for index in range(ANCHORS):
            writer.writerows(
                (f"anchors/{index:02d}.png", "brighten", level, f"{4.5 - level - index / 10:.2f}", "0.5", 30)
                for level in range(1, LEVELS + 1)
            )


class Builds:
    """Runs the command on made-up material."""

    def __init__(self, material: Path, out: str, more: Sequence[str], fresh: bool) -> None:
        self._fixed = f"--refs {material / 'refs'} --source custom --source-dir {material / 'rated'} --mos-range 1 5"
        self._fixed += " --embedder statistics --transfer knn --k 2 --images png"
        self._more = more
        self._fresh = fresh
        self._prefix = out.rstrip("/")
        self._log = material / "log.txt"
        self._number = 0

    def new_out(self) -> str:
        """Name a folder that is not there."""
        self._number += 1
        return f"{self._prefix}/{self._number}"

    def start(self, out: str, *more: str, workers: int = 0, largest_file: int | None = None) -> int:
        """Start the command; return its process.

        Args:
            out: Folder of the build.
            more: Further arguments.
            workers: Worker processes.
            largest_file: Bytes; what writes more gets an error, as on a full disk.
        """
        arguments = ["build", *self._fixed.split(), "--out", out, "--workers", str(workers), *self._more, *more]
        fresh = self._fresh or workers > 0  # workers load this file's imports anyway
        if (process := os.fork()) != 0:
            return process
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
            if fresh:
                os.execv(sys.executable, [sys.executable, "-m", "glint_cli.main", *arguments])  # noqa: S606
            from glint_cli.main import main

            main(args=arguments)
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 1)
        except BaseException:  # noqa: BLE001 (whatever it is, this process must not go on as its parent)
            import traceback

            traceback.print_exc()
        os._exit(1)

    def end(self, process: int) -> int:
        """Wait for a command; its exit code, less than 0 for a signal. One that hangs is killed."""
        until = time.monotonic() + LONGEST
        while time.monotonic() < until:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.killpg(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def run(self, out: str, *more: str) -> int:
        """Run the command to its end."""
        return self.end(self.start(out, *more))

    @property
    def said(self) -> str:
        """What the last command printed."""
        return self._log.read_text(errors="replace")


def read_files(out: str) -> dict[str, bytes]:
    """Read every file of a build, in a folder or at an address that fsspec knows."""
    if "://" not in out:
        return {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in sorted(Path(out).rglob("*"))
            if path.is_file() and path.name not in NOT_COMPARED
        }
    import fsspec

    system, root = fsspec.core.url_to_fs(out)
    names = [name for name in system.find(root) if name.rpartition("/")[2] not in NOT_COMPARED]
    return {name.removeprefix(root).lstrip("/"): system.cat_file(name) for name in names}


def rows_of(files: dict[str, bytes]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Read the rows of all shards: (reference, distortion, level) -> all of its row."""
    rows = {}
    for name, content in files.items():
        if name.endswith("/metadata.csv"):
            for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
                rows[row["reference"], row["dist_name"], row["dist_level"]] = tuple(row.values())
    return rows


class Trials:
    """Strikes builds at random moments, and compares what becomes of them."""

    def __init__(self, builds: Builds, seed: int) -> None:
        self._builds = builds
        self._chance = random.Random(seed)  # noqa: S311
        started = time.monotonic()
        out = builds.new_out()
        if builds.run(out) != 0:
            raise SystemExit(f"the undisturbed build failed: {builds.said}")
        self.seconds = {0: time.monotonic() - started}
        self._whole = read_files(out)
        self._rows = rows_of(self._whole)

    @property
    def files(self) -> dict[str, bytes]:
        """Those of the undisturbed build."""
        return self._whole

    def seconds_with(self, workers: int) -> float:
        """Measure once how long a build takes with so many workers."""
        if workers not in self.seconds:
            started = time.monotonic()
            self._builds.end(self._builds.start(self._builds.new_out(), workers=workers))
            self.seconds[workers] = time.monotonic() - started
        return self.seconds[workers]

    def strike(self, outcome: Outcome, number: signal.Signals, *, workers: int = 0, at_worker: bool = False) -> bool:
        """Send a signal to a command, after which it runs again, or to one of its workers, at a random moment."""
        out = self._builds.new_out()
        moment = self._chance.uniform(0, self.seconds_with(workers))
        process = self._builds.start(out, workers=workers)
        time.sleep(moment)
        target = self._worker_of(process) if at_worker else process
        ended = os.waitpid(process, os.WNOHANG)[0] if target is not None else 0
        if target is None or ended:
            if not ended:
                self._builds.end(process)
            return self._miss(outcome, out)
        os.kill(target, number)
        if (code := self._builds.end(process)) == 0 and not at_worker:
            return self._miss(outcome, out)  # it was about to end
        self._finish(outcome, out, code, again=not at_worker)  # a worker is replaced at once
        return True

    def _miss(self, outcome: Outcome, out: str) -> bool:
        outcome.missed += 1
        if "://" not in out:
            shutil.rmtree(out, ignore_errors=True)
        return False

    def fill_disk(self, outcome: Outcome) -> bool:
        """Let no file grow beyond a random size; then go on with a disk that has room."""
        out = self._builds.new_out()
        largest = self._chance.randrange(max(len(content) for content in self._whole.values()))
        code = self._builds.end(self._builds.start(out, largest_file=largest))
        self._finish(outcome, out, code)
        return True

    def damage(self, outcome: Outcome) -> bool:
        """Damage or delete up to three files of a finished build, and repair it."""
        out = self._builds.new_out()
        for name, content in self._whole.items():
            (path := Path(out, name)).parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name in self._chance.sample(sorted(self._whole), self._chance.randint(1, 3)):
            content = bytearray(self._whole[name] or b"x")
            place = self._chance.randrange(len(content))
            content[place] ^= 1 << self._chance.randrange(8)
            damaged = self._chance.choice([bytes(content), bytes(content[:place]), None])
            Path(out, name).unlink() if damaged is None else Path(out, name).write_bytes(damaged)
        # Nor is there a run.json: the shards say whose the folder is.
        self._finish(outcome, out, 0, "--repair")
        return True

    def _worker_of(self, process: int) -> int | None:
        try:
            found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        except OSError:
            return None
        workers = [int(one) for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
        return self._chance.choice(workers) if workers else None

    def _finish(self, outcome: Outcome, out: str, code: int, *more: str, again: bool = True) -> None:
        outcome.tried += 1
        outcome.exit_codes[str(code)] = outcome.exit_codes.get(str(code), 0) + 1
        if (ended := self._builds.run(out, *more) if again else code) != 0:
            outcome.not_resumed += 1
            print(f"{outcome.fault}: the last command ended with {ended}: {self._builds.said}", file=sys.stderr)
        files = read_files(out)
        rows = rows_of(files)
        outcome.rows_lost += len(self._rows.keys() - rows.keys())
        outcome.rows_wrong += sum(self._rows.get(key) != row for key, row in rows.items())
        names = files.keys() | self._whole.keys()
        outcome.files_wrong += sum(files.get(name) != self._whole.get(name) for name in names)
        if "://" not in out:
            shutil.rmtree(out)


def faults_of(trials: Trials, kills: int) -> dict[str, tuple[str, int, Callable[[Outcome], bool]]]:
    """List the faults: key -> (in words, how often, what strikes)."""
    some, few = max(1, kills // 10), max(1, kills // 50)
    kill, stop = signal.SIGKILL, {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
    return {
        "kill": ("kill -9 of the command", kills, lambda one: trials.strike(one, kill)),
        "driver": ("kill -9 of a command with two workers", few, lambda one: trials.strike(one, kill, workers=2)),
        "worker": (
            "kill -9 of a worker",
            few,
            lambda one: trials.strike(one, kill, workers=2, at_worker=True),
        ),
        **{name: (name, some, lambda one, number=number: trials.strike(one, number)) for name, number in stop.items()},
        "full": ("disk full (no file can grow further), then not", some, trials.fill_disk),
        "damage": ("up to three files damaged or lost, run.json lost; --repair", some, trials.damage),
    }


def load_everything(material: Path) -> None:
    """Build once in this process, on one thread: others do not survive a fork."""
    import torch  # before the limit, which is that of what is loaded
    from threadpoolctl import threadpool_limits

    import glint_cli.build  # noqa: F401
    from glint_label.build.config import BuildConfig
    from glint_label.build.pipeline import build

    threadpool_limits(1)
    torch.set_num_threads(1)
    fixed = {"source": "custom", "mos_range": (1, 5), "embedder": "statistics", "transfer": "knn", "images": "png"}
    refs, rated, out = (material / name for name in ("refs", "rated", "loaded"))
    build(BuildConfig(refs=refs, source_dir=rated, out=out, workers=0, **fixed))


def main() -> None:
    """Run the trials and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="kills of the command; other faults follow from it")
    parser.add_argument("--only", default="", help="faults, separated by commas; all by default")
    parser.add_argument("--engine", help="--engine of the command")
    parser.add_argument("--out", help="folder or address below which builds are made; by default in memory")
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for every command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(exist_ok=True)
    memory = Path("/dev/shm")  # noqa: S108 (what is killed are processes: no disk has to be waited for)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        save_material(Path(folder))
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        more = ["--engine", arguments.engine] if arguments.engine else []
        if not arguments.fresh:
            load_everything(Path(folder))
        builds = Builds(Path(folder), arguments.out or f"{folder}/out", more, arguments.fresh)
        started = time.monotonic()
        trials = Trials(builds, arguments.seed)
        print(f"a build takes {trials.seconds[0]:.2f} s", flush=True)
        chosen = arguments.only.split(",") if arguments.only else []
        outcomes = []
        for key, (words, wanted, strike) in faults_of(trials, arguments.kills).items():
            if (chosen and key not in chosen) or (key in ("full", "damage") and "://" in builds.new_out()):
                continue  # those two are faults of a folder
            outcome = Outcome(words)
            while outcome.tried < wanted and outcome.missed < 3 * wanted + 10:
                strike(outcome)
            outcomes.append(outcome)
            print(describe(outcome), flush=True)
            report = {
                "machine": f"{os.cpu_count()} cores",
                "engine": arguments.engine or "local",
                "storage": arguments.out or "memory",
                "seed": arguments.seed,
                "seconds_of_a_build": round(trials.seconds[0], 2),
                "rows_of_a_build": PHOTOS * LEVELS,
                "files_of_a_build": len(trials.files),
                "seconds": round(time.monotonic() - started),
                "faults": [asdict(one) for one in outcomes],
            }
            arguments.results.write_text(json.dumps(report, indent=1) + "\n")  # so far: it takes an hour
    bad = sum(one.rows_lost + one.rows_wrong + one.files_wrong + one.not_resumed for one in outcomes)
    sys.exit(1 if bad else 0)


def describe(outcome: Outcome) -> str:
    """Write one line of the table."""
    codes = ", ".join(f"{number} x {code}" for code, number in sorted(outcome.exit_codes.items()))
    return (
        f"{outcome.fault:<60} {outcome.tried:>5} tried, {outcome.rows_lost} rows lost, {outcome.rows_wrong} wrong, "
        f"{outcome.files_wrong} files differ (exit codes: {codes})"
    )


if __name__ == "__main__":
    main()
