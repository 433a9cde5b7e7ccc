"""Damage is found by the hashes that were written with every file, and taken away: the stages make what is missing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from glint_label.build.folder import OWN_FILES, BuildRun, beside_shards
from glint_label.build.plan import Plan
from glint_label.engines import run_tasks
from glint_label.folders import RUN_FILE
from glint_label.manifest import shard_folder
from glint_label.manifest.damage import CHANGED, MISSING, counts_agree, damage_beside_shards, damage_of_shard
from glint_label.manifest.shards import SUCCESS, read_record
from glint_label.progress import MakeProgress

_OWN = re.compile("|".join(OWN_FILES))


def discard_damaged(plan: Plan, run: BuildRun, *, every_file: bool, progress: MakeProgress) -> tuple[str, ...]:
    """Delete the files of a build that are not as they were written.

    Args:
        plan: The build.
        run: Its run.json, which this call has opened.
        every_file: Look at the shards too, and read all of their files. Otherwise the stages do: they compare tables
            and arrays by their hashes, pixels by their sizes.
        progress: Makes the progress bar, which counts shards.

    Returns:
        What was damaged or lost: `PATH: has changed since it was built`, sorted.
    """
    out = plan.config.out
    damage = damage_beside_shards(out, run.earlier)
    if run.lost:
        damage[RUN_FILE] = CHANGED if (out / RUN_FILE).is_file() else MISSING
        for path in beside_shards(out):  # nothing vouches for them any more
            path.unlink()
    if every_file:
        finished = run.lost or run.earlier["status"] == "complete"
        numbers = [shard.number for shard in plan.shards]
        check = _CheckShard(out, plan.digest, finished, plan.config.suffix)
        with run_tasks(check, numbers, plan.config.workers, progress, "check", len(numbers)) as results:
            for number, found in results:
                place = shard_folder(out, number).relative_to(out).as_posix()
                damage |= {f"{place}/{name}": state for name, state in found.items()}
    for name in damage:
        if _OWN.fullmatch(name) and name != RUN_FILE:  # a run.json may come from anyone
            (out / name).unlink(missing_ok=True)
    return tuple(f"{name}: {state}" for name, state in sorted(damage.items()))


@dataclass(frozen=True)
class _CheckShard:
    """The workers' part: read all files of a shard.

    Attributes:
        out: The build.
        digest: Hash of its settings.
        finished: Whether every shard has been finished, so that one without a record has lost it.
        suffix: Ending of pixel files.
    """

    out: Path
    digest: str
    finished: bool
    suffix: str

    def __call__(self, number: int) -> dict[str, str]:
        """Find what is damaged: name -> state."""
        folder = shard_folder(self.out, number)
        damage = damage_of_shard(folder, self.digest, pixels=True)
        if not damage and not counts_agree(folder):
            damage = {SUCCESS: CHANGED}
        elif SUCCESS in damage and read_record(folder) is None:
            # Nothing vouches for the pixels any more. Tables are made again, arrays hold checksums of their own.
            self._delete(folder.glob(f"*{self.suffix}"))
            if damage[SUCCESS] == MISSING and not self.finished:
                return {}
        return damage

    def _delete(self, files: Iterable[Path]) -> None:
        for file in files:
            if _OWN.fullmatch(file.relative_to(self.out).as_posix()):
                file.unlink()
