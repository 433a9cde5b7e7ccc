"""The photos of a build: decoded once, hashed, embedded, their features measured, shard by shard."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glint_label.build.plan import Plan
from glint_label.build.stage import Stage
from glint_label.embed import DecodedPhoto, EmbeddedPhotos, Embedder, embed_photos, read_embedded, write_embedded
from glint_label.engines import Loss, run_tasks
from glint_label.errors import InputError, StateError, TooManyFailuresError
from glint_label.files import read_arrays, write_arrays, write_atomic
from glint_label.manifest import (
    FAILED_COLUMNS,
    Shard,
    cut_shards,
    format_csv,
    read_record,
    read_rows,
    recipe_seeds,
    shard_folder,
)
from glint_label.manifest.shards import MEASURED, SUCCESS
from glint_label.names import as_text
from glint_label.progress import MakeProgress
from glint_label.visibility import DecodePhotos, DecodeTask

_LOG = logging.getLogger(__name__)

Failure = tuple[str, str, str]  # reference, reason, message
Features = NDArray[np.float16]


class MeasurePhotos(Stage):
    """shards/N/failed.csv, embeddings.npz and, where the transfer wants them, features.npz: one decode a photo.

    Args:
        plan: The build.
        retry_failed: Try the photos in failed.csv once more.
        progress: Makes the progress bar.
    """

    def __init__(self, plan: Plan, retry_failed: bool, progress: MakeProgress) -> None:
        self._plan = plan
        self._progress = progress
        self._retry = {shard.number for shard in plan.shards} if retry_failed else set()
        self._whole: dict[int, int] = {}  # shard -> failures, of those that have been looked at
        self._features = tuple(plan.conditions) if plan.uses_features else ()

    def missing(self) -> Sequence[tuple[Shard, frozenset[str]]]:
        """List the shards that lack something, each with the photos to be decoded."""
        waiting = []
        for shard in self._plan.shards:
            if shard.number in self._whole and shard.number not in self._retry:
                continue
            failures = self._failures_of_whole(shard)
            if failures is None:
                waiting.append((shard, frozenset(shard.names)))
            elif failures and shard.number in self._retry:
                waiting.append((shard, frozenset(name for name, *_ in failures)))
            else:
                self._whole[shard.number] = len(failures)
        if not waiting:
            self._check_failures()
        return waiting

    def make(self, missing: Sequence[tuple[Shard, frozenset[str]]]) -> None:
        """Decode, embed and write."""
        plan = self._plan
        wanted = {shard.number: names for shard, names in missing}
        tasks = (
            DecodeTask(name, path, tuple(recipe_seeds(name, plan.config.seed, self._features)), shard.number)
            for shard, names in missing
            for name, path in zip(shard.names, shard.paths, strict=True)
            if name in names
        )
        total = len(plan.names)
        task = DecodePhotos(plan.embedder.preparation, self._features, plan.config.size, plan.config.longest_side)
        done = total - sum(map(len, wanted.values()))
        with run_tasks(
            task,
            tasks,
            plan.config.workers,
            self._progress,
            "references",
            total,
            done,
            limit=plan.config.seconds_a_photo,
            give_up=_fail,
            loads="glint_label.visibility.features" if self._features else "",
        ) as results:
            whole = _whole_shards(results, plan.shards, wanted)
            with _embedded(whole, plan.embedder) as embedded:
                for opened, photos in embedded:
                    self._finish(opened, photos)

    def drop(self, lost: Mapping[str, tuple[str, str]]) -> None:
        """Turn photos that vanished or changed after they were measured into failures, as if they had never opened.

        Args:
            lost: Reference -> (reason, message).
        """
        for shard in self._plan.shards:
            if not lost.keys() & set(shard.names):
                continue
            folder = shard_folder(self._plan.config.out, shard.number)
            photos, features, failures = read_measured(folder, bool(self._features))
            failures += [(name, *lost[name]) for name in photos.names if name in lost]
            kept = [row for row, name in enumerate(photos.names) if name not in lost]
            self._write(shard, photos.take(kept), features[kept], failures)
        forget_labels(self._plan)
        self._check_failures()

    def _failures_of_whole(self, shard: Shard) -> list[Failure] | None:
        """Read the failures of a shard; None where one of its files is missing, damaged or not that of its record."""
        folder = shard_folder(self._plan.config.out, shard.number)
        record = read_record(folder)
        if record is not None and record.broken(folder, MEASURED, hashed=True):
            return None
        try:
            photos, _, failures = read_measured(folder, bool(self._features))
        except StateError:
            return None
        # Before there is a record, nothing else tells that a table has lost a line.
        return failures if {*photos.names, *(name for name, *_ in failures)} == set(shard.names) else None

    def _finish(self, opened: "_Opened", photos: EmbeddedPhotos) -> None:
        """Join what was embedded with what was known before, when only the failures were tried again."""
        shard, decoded = opened.shard, opened.photos
        folder = shard_folder(self._plan.config.out, shard.number)
        failures = [(name, *photo.failure) for name, photo in decoded.items() if photo.failure is not None]
        features = self._stack([photo for photo in opened.slots() if photo is not None and photo.failure is None])
        if len(decoded) < len(shard.names):
            known, known_features, _ = read_measured(folder, bool(self._features))
            photos = _join(known, photos)
            features = np.concatenate([known_features, features])
        place = {name: row for row, name in enumerate(photos.names)}
        order = [place[name] for name in shard.names if name in place]
        self._retry.discard(shard.number)
        self._write(shard, photos.take(order), features[order], failures)
        record = read_record(folder)
        if record is not None and record.broken(folder, MEASURED, hashed=True):
            forget_labels(self._plan)
        self._check_failures()

    def _stack(self, photos: Sequence[DecodedPhoto]) -> Features:
        """Stack the features of photos; (n, 0, 0) where none are wanted."""
        if not self._features:
            return np.zeros((len(photos), 0, 0), dtype=np.float16)
        from glint_label.visibility.features import FEATURES

        stacked = np.zeros((len(photos), len(self._features), len(FEATURES)), dtype=np.float16)
        for row, photo in zip(stacked, photos, strict=True):
            row[:] = photo.features
        return stacked

    def _write(self, shard: Shard, photos: EmbeddedPhotos, features: Features, failures: Sequence[Failure]) -> None:
        folder = shard_folder(self._plan.config.out, shard.number)
        place = {name: row for row, name in enumerate(shard.names)}
        ordered = sorted(failures, key=lambda failure: place[failure[0]])
        write_atomic(folder / "failed.csv", format_csv(FAILED_COLUMNS, ordered))
        if self._features:
            names = np.array(photos.names, dtype=np.str_)
            write_arrays(folder / "features.npz", compressed=True, names=names, features=features)
        write_embedded(folder / "embeddings.npz", photos)
        self._whole[shard.number] = len(ordered)

    def _check_failures(self) -> None:
        limit, failed = self._plan.config.max_failures, sum(self._whole.values())
        if limit is not None and failed > limit:
            raise TooManyFailuresError(
                f"{failed} photos could not be used, more than --max-failures {limit}: see "
                f"{self._plan.config.out / 'shards'}/*/failed.csv; what is finished is kept"
            )


class MeasureWatched(Stage):
    """watched/: vectors and hashes of the pictures that references are compared with, all of which must open."""

    def __init__(self, plan: Plan, progress: MakeProgress) -> None:
        self._plan = plan
        self._progress = progress
        self._shards = cut_shards([one.value for one in plan.watched], [one.path for one in plan.watched])

    def missing(self) -> Sequence[Shard]:
        """List the parts that are missing or damaged."""
        return [shard for shard in self._shards if self._read(shard) is None]

    def make(self, missing: Sequence[Shard]) -> None:
        """Decode and embed them.

        Raises:
            InputError: A picture does not open, so the guard would have a hole.
        """
        tasks = [
            DecodeTask(name, path, shard=shard.number)
            for shard in missing
            for name, path in zip(shard.names, shard.paths, strict=True)
        ]
        config = self._plan.config
        task = DecodePhotos(self._plan.embedder.preparation, size=config.size)
        wanted = {shard.number: frozenset(shard.names) for shard in missing}
        limit = config.seconds_a_photo
        with run_tasks(
            task, tasks, config.workers, self._progress, "held out", len(tasks), limit=limit, give_up=_fail
        ) as results:
            whole = _whole_shards(_must_open(results), self._shards, wanted)
            with _embedded(whole, self._plan.embedder) as embedded:
                for opened, photos in embedded:
                    write_embedded(self._file(opened.shard), photos)

    def photos(self) -> list[EmbeddedPhotos]:
        """Read them all."""
        return [read_embedded(self._file(shard)) for shard in self._shards]

    def _file(self, shard: Shard) -> Path:
        return shard_folder(self._plan.config.out / "watched", shard.number) / "embeddings.npz"

    def _read(self, shard: Shard) -> EmbeddedPhotos | None:
        try:
            return read_embedded(self._file(shard))
        except StateError:
            return None


@dataclass(frozen=True)
class _Opened:
    """A shard whose wanted photos have been decoded."""

    shard: Shard
    photos: Mapping[str, DecodedPhoto]

    def slots(self) -> list[DecodedPhoto | None]:
        """Give one slot a reference, wanted or not."""
        return [self.photos.get(name) for name in self.shard.names]


@dataclass(frozen=True)
class _EmbedShard:
    """The task of what holds the embedder."""

    embedder: Embedder

    def __call__(self, opened: _Opened) -> EmbeddedPhotos:
        return embed_photos(opened.shard.names, opened.shard.paths, opened.slots(), self.embedder)


def _whole_shards(
    results: Iterable[tuple[DecodeTask, DecodedPhoto]], shards: Sequence[Shard], wanted: Mapping[int, Set[str]]
) -> Iterator[_Opened]:
    """Give each shard as soon as all its wanted photos are decoded."""
    decoded: dict[int, dict[str, DecodedPhoto]] = {}
    for item, photo in results:
        of_shard = decoded.setdefault(item.shard, {})
        of_shard[item.name] = photo
        if photo.warning:
            _LOG.warning("%s: %s", item.name, photo.warning)
        if len(of_shard) == len(wanted[item.shard]):
            yield _Opened(shards[item.shard], decoded.pop(item.shard))


def _embedded(
    whole: Iterable[_Opened], embedder: Embedder
) -> AbstractContextManager[Iterator[tuple[_Opened, EmbeddedPhotos]]]:
    return run_tasks(_EmbedShard(embedder), whole, 0, network=embedder.runs_network)


def _must_open(results: Iterable[tuple[DecodeTask, DecodedPhoto]]) -> Iterator[tuple[DecodeTask, DecodedPhoto]]:
    for item, photo in results:
        if photo.failure is not None:
            raise InputError(
                f"{as_text(item.path)}: does not open ({photo.failure[1]}), so its copies cannot be found; "
                "restore the file, or take it out of the folder"
            )
        yield item, photo


def _fail(_: DecodeTask, loss: Loss) -> DecodedPhoto:
    """Let a photo that no worker survives be one that cannot be used."""
    return DecodedPhoto(failure=(loss.reason, loss.message))


def read_measured(folder: Path, with_features: bool) -> tuple[EmbeddedPhotos, Features, list[Failure]]:
    """Read what was measured of a shard's photos; the features are empty where there are none.

    Raises:
        StateError: A file is missing or damaged.
    """
    photos = read_embedded(folder / "embeddings.npz")
    features: Features = np.zeros((len(photos.names), 0, 0), dtype=np.float16)
    if with_features:
        names, features = read_arrays(folder / "features.npz", "names", "features")
        if names.tolist() != list(photos.names):
            raise StateError(f"{folder / 'features.npz'}: is not of the photos in embeddings.npz")
    return photos, features, read_failures(folder)


def read_failures(folder: Path) -> list[Failure]:
    """Read a shard's failed.csv.

    Raises:
        StateError: It is missing or damaged.
    """
    rows = read_rows(folder / "failed.csv", FAILED_COLUMNS)
    return [(row["reference"], row["reason"], row["message"]) for row in rows]


def forget_labels(plan: Plan) -> None:
    """Let all shards be labelled again: photos that come or go can move the splits of others."""
    for shard in plan.shards:
        (shard_folder(plan.config.out, shard.number) / SUCCESS).unlink(missing_ok=True)


def _join(first: EmbeddedPhotos, second: EmbeddedPhotos) -> EmbeddedPhotos:
    return EmbeddedPhotos(
        first.names + second.names,
        np.concatenate([first.vectors, second.vectors]),
        np.concatenate([first.hashes, second.hashes]),
        first.sha256 + second.sha256,
        np.concatenate([first.sizes, second.sizes]),
    )
