"""An export from beginning to end: look at the rows, write the parts, describe the whole, put it in its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from glint_label.engines import Loss, run_tasks
from glint_label.errors import ImageError, StateError, UsageError
from glint_label.export.card import export_card
from glint_label.export.folder import CARD, open_export
from glint_label.export.format import NONE, About, Format, Part
from glint_label.export.formats import FORMATS
from glint_label.export.pixels import Pixels
from glint_label.export.rows import Rows, plan_rows
from glint_label.files import write_atomic
from glint_label.folders import EXPORT, check_kind
from glint_label.manifest import EVERYTHING, FileFacts, Selection, read_audit, read_run, root_of, size_of
from glint_label.progress import MakeProgress, no_progress
from glint_label.render import DISTORT, check_codecs
from glint_label.storage import place_of
from glint_label.timeouts import TIME_LIMIT, time_limit

_VERSION = 1  # raise it with every change of the bytes of some format
_OTHERS = 10  # in the time that one photo may take at most, the part's others are made so many at a time


@dataclass(frozen=True)
class Written:
    """What became of a part.

    Attributes:
        files: What was written, below the folder.
        failures: (reference, message) of those that cannot be used; then nothing was written.
        loss: Why it was given up, where it is not known which reference is to blame.
    """

    files: Mapping[str, FileFacts] = field(default_factory=dict)
    failures: Sequence[tuple[str, str]] = ()
    loss: Loss | None = None


@dataclass(frozen=True)
class WritePart:
    """Write one part: the workers' task.

    Attributes:
        form: What is written.
        pixels: Where the images come from.
        folder: Where to.
    """

    form: Format
    pixels: Pixels
    folder: Path

    def __call__(self, part: Part) -> Written:
        """Write it, if all of its references can be used."""
        if failures := self.pixels.lacking(part):
            return Written(failures=failures)
        try:
            written = self.form.write_part(part, self.pixels.samples(part), self.folder)
        except ImageError as error:  # what has been made already cannot be read, and the photo cannot either
            return Written(loss=Loss(error.reason, str(error)))
        return Written({path.relative_to(self.folder).as_posix(): FileFacts.of(path) for path in written})


@dataclass(frozen=True)
class ExportReport:
    """What `export_build` did.

    Attributes:
        rows: Exported.
        references: How many photos they are of.
        kept: Rows of the parts that had been made before.
        failures: (reference, message) of those that cannot be used; then the export is not finished.
    """

    rows: int
    references: int
    kept: int
    failures: tuple[tuple[str, str], ...] = ()


def export_build(
    build: Path,
    to: str,
    out: Path,
    *,
    images: str = NONE,
    refs: Path | None = None,
    selection: Selection = EVERYTHING,
    strict: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    photo_timeout: float = TIME_LIMIT,
    progress: MakeProgress = no_progress,
    command: Sequence[str] = (),
) -> ExportReport:
    """Write a build, or a part of it, in a format that other programs read.

    Nothing is visible in `out` before all of it is there. If this is stopped at any moment, the same call goes on and
    ends in the same bytes.

    Args:
        build: The build, which must be complete.
        to: Name of the format.
        out: Where to: empty, absent, or an export with the same settings.
        images: `none`, or the encoding of the images: png, webp, bmp; those that `render` made are taken.
        refs: The references' root, where it is not the one that run.json names.
        selection: Which rows.
        strict: Refuse to go on where the image codecs are not those of the build.
        overwrite: Delete an earlier export there first.
        workers: Processes that make images; 0 for this one.
        photo_timeout: Seconds that a photo of 512 x 384 may take; larger ones may take longer.
        progress: Makes the progress bars.
        command: The command line, for run.json.

    Raises:
        UsageError: The format is unknown, or has no such images; `out` is within the build or the photos.
        GlintError: The build is not complete or damaged; `out` holds something else; the disk is full.
    """
    form = _check_format(to, images)
    run = read_run(build)
    limit = time_limit(size_of(run), photo_timeout)
    if run["status"] != "complete":
        raise StateError(f"{build}: the build has not finished; run the same build command again to go on")
    if images == NONE:
        root = refs or place_of(run["refs"])
    else:
        root = root_of(run, refs)
        check_codecs(build, run, strict)
    _check_place(out, build, root)
    check_kind(out, EXPORT)  # before all rows are read
    rows = Rows(build, run, selection, form.separate, images != NONE)
    plan = plan_rows(rows, progress)
    about = About(run, read_audit(build), images, plan.rows, plan.references, selection.as_settings(), plan.parts)
    settings = {
        "format": form.name,
        "images": images,
        "filters": about.filters,
        "version": _VERSION,
        "build": {"config_sha256": run["config_sha256"], "tables_sha256": plan.sha256},
    }
    own_files = [pattern for each in FORMATS.values() for pattern in each.files]
    with open_export(out, form, settings, build, own_files, overwrite=overwrite, command=command) as folder:
        parts = plan.sizes if form.writes_parts(images) else {}
        if folder.is_complete(parts):
            return ExportReport(about.total, about.references, about.total)
        folder.begin()
        missing = folder.missing(parts)
        kept = sum(parts.values()) - sum(parts[name] for name in missing)
        failures: list[tuple[str, str]] = []
        lost: list[tuple[Part, Loss]] = []
        if missing:
            pixels = Pixels(build, root, size_of(run), images, form.pristine)
            with run_tasks(
                WritePart(form, pixels, folder.staged),
                (part for part in rows.parts() if part.name in set(missing)),
                workers if images != NONE else 0,
                progress,
                "rows" if images == NONE else "images",
                sum(parts.values()),
                kept,
                lambda part, _: len(part.rows),
                limit * (1 + plan.most / _OTHERS),
                lambda _, loss: Written(loss=loss),
                loads=DISTORT,
            ) as results:
                for part, made in results:
                    failures += made.failures
                    if made.loss is not None:
                        lost.append((part, made.loss))
                    elif not made.failures:
                        folder.record(part.name, made.files)
            failures += _find_lost(pixels, lost, workers, limit, progress)
        if failures:
            return ExportReport(about.total, about.references, kept, tuple(sorted(failures)))
        tables = form.write_tables(lambda: rows.parts(progress), about, folder.staged)
        write_atomic(folder.staged / CARD, export_card(form, about))
        folder.finish([*tables, folder.staged / CARD], plan.rows)
    return ExportReport(about.total, about.references, kept)


def _find_lost(
    pixels: Pixels, lost: Sequence[tuple[Part, Loss]], workers: int, limit: float, progress: MakeProgress
) -> list[tuple[str, str]]:
    """Name the references to blame for parts that were given up: the images of each are made on their own."""
    if not lost:
        return []
    photos = [photo for part, _ in lost for photo in part.photos()]
    with run_tasks(
        pixels.draw,
        photos,
        workers,
        progress,
        "images of lost parts",
        sum(len(photo.rows) for photo in photos),
        size=lambda photo, _: len(photo.rows),
        limit=limit,
        give_up=lambda photo, loss: [(photo.references[0]["reference"], loss.message)],
        loads=DISTORT,
    ) as results:
        failures = [failure for _, found in results for failure in found]
    blamed = {reference for reference, _ in failures}
    for part, loss in lost:
        names = [facts["reference"] for facts in part.references]
        if blamed.isdisjoint(names):
            several = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
            failures.append((several, f"part {part.name}: {loss.message}, though each photo can be used on its own"))
    return failures


def _check_format(to: str, images: str) -> Format:
    if to not in FORMATS:
        raise UsageError(f"--to {to}: unknown format; known are {', '.join(FORMATS)}")
    form = FORMATS[to]
    if images not in form.images:
        raise UsageError(f"--to {to} --images {images}: must be one of {', '.join(form.images)}")
    for module in form.needs:
        if find_spec(module) is None:
            raise UsageError(f"--to {to} needs {module}: pip install 'glint-label[export]'")
    return form


def _check_place(out: Path, build: Path, root: Path) -> None:
    """Keep an export out of the folders that it is made of, where later commands would take it for photos."""
    place = out.resolve()
    for what, folder in (("the build", build.resolve()), ("the folder of the photos", root.resolve())):
        if place == folder or folder in place.parents:
            raise UsageError(f"--out {out}: lies in {what} {folder}; choose a folder outside it")
        if place in folder.parents and place.is_dir():
            raise UsageError(f"--out {out}: holds {what} {folder}; choose a folder of its own")
