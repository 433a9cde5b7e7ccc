"""Rated datasets from their authors' addresses, put where `build` looks for them, whole or not at all; CLIP."""

import errno
import hashlib
import lzma
import os
import shutil
import stat
import struct
import subprocess
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryFile
from urllib.parse import urlsplit
from zipfile import BadZipFile, ZipFile, ZipInfo

from glint_label.download import PAUSES, download, is_web_page
from glint_label.embed import DEFAULT_MODEL
from glint_label.embed.clip import CLIP_FILES, DEFAULT_REPOSITORY
from glint_label.errors import DownloadError, GlintError, InputError, OutputError, SourceError, StateError
from glint_label.folders import lock_folder, own_content
from glint_label.progress import MakeProgress, no_progress
from glint_label.sources import Source, load_source, source_places
from glint_label.weights import find_weights

_MOST_BYTES, _MOST_FILES = 20e9, 100_000  # that an archive may unpack to: KADID-10k has 3 GB in 10,208 files
_MOST_RATIO, _SMALL = (
    50,
    1e8,
)  # times the size of the archive, where it is more than so many bytes: pictures are packed
_DAMAGED = (BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error, zlib.error, lzma.LZMAError)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True)
class Archive:
    """Where a dataset's authors publish it.

    Attributes:
        address: Of the archive, ZIP or RAR.
        page: Of the authors, for people.
        size: Of the archive, bytes; None where it is not known.
        checksum: `sha256:HEX` or `md5:HEX`; empty where none is compared.
    """

    address: str
    page: str
    size: int | None = None
    checksum: str = ""


# The addresses are those that the authors' pages link to; none wants a form filled in. The authors publish no
# checksums: these were recorded by others who downloaded the archives (that of TID2013 by DeepMind's nevis benchmark).
ARCHIVES = {
    "kadid10k": Archive(
        "https://datasets.vqa.mmsp-kn.de/archives/kadid10k.zip",
        "https://database.mmsp-kn.de/kadid-10k-database.html",
        3_067_408_471,
        "sha256:fe59ace86a2525d5785ff011a2119fa88839e0329f5029f7b23994727efd185c",
    ),
    "tid2013": Archive(
        "https://www.ponomarenko.info/tid2013/tid2013.rar",
        "https://www.ponomarenko.info/tid2013.htm",
        checksum="md5:2c42bec2407adc49cf4d7858daf8f99b",
    ),
}
# Programs that unpack RAR, which Python does not, and their arguments; the first that does it is taken.
_UNRAR = {
    "bsdtar": ("-xf", "{archive}", "-C", "{folder}"),
    "unrar": ("x", "-y", "-idq", "{archive}", "{folder}/"),
    "7zz": ("x", "-y", "-o{folder}", "{archive}"),
    "7z": ("x", "-y", "-o{folder}", "{archive}"),
    "unar": ("-q", "-o", "{folder}", "{archive}"),
}


def fetch_source(
    name: str,
    to: Path | None = None,
    *,
    origin: str | None = None,
    archive: Archive | None = None,
    pauses: Sequence[float] = PAUSES,
    progress: MakeProgress = no_progress,
) -> tuple[Source, bool]:
    """Download and unpack a rated dataset, and check that it is complete; nothing is done where it is already.

    Until then all lies in a folder beside it, `.NAME.fetch`, from which a stopped call goes on.

    Args:
        name: One of ARCHIVES.
        to: The dataset's folder: absent or empty. By default where `build` looks: the first of `source_places` that
            is there, else the last.
        origin: Take the archive from another address, or from a file; its size and checksum are not compared.
        archive: Where it is published; by default what ARCHIVES says.
        pauses: See `download`.
        progress: Makes the progress bars.

    Returns:
        The dataset, and whether it was there before.

    Raises:
        InputError: `origin` is no file.
        DownloadError: The archive cannot be had, is damaged, or is not the dataset.
        StateError: The folder holds something else, or another call is at work on it.
        OutputError: The disk is full or the folder cannot be written.
    """
    archive = archive or ARCHIVES[name]
    target = _choose_folder(name, to)
    if own_content(target):
        return _already_there(name, target), True
    instead = f"open {archive.page} in a browser, download the archive, then: glint-label fetch {name} --from FILE"
    local = Path(origin) if origin and not urlsplit(origin).netloc else None
    if local and not local.is_file():
        raise InputError(f"--from {local}: no such file; {instead}")
    work = target.with_name(f".{target.name}.fetch")
    with lock_folder(work, "--to"):
        packed = local or work / f"{name}.archive"
        if local is None:
            size = None if origin else archive.size
            download(origin or archive.address, packed, instead=instead, size=size, pauses=pauses, progress=progress)
            if origin is None:
                _check_sum(name, packed, archive)
        try:
            source = _unpack_source(name, packed, work / "unpacked", progress)
        except DownloadError as error:
            if local is None:
                packed.unlink()  # so that the next call downloads it again
            again = "" if local else "run the same command again, or "
            raise DownloadError(f"{error}; {again}{instead}") from error
        _move(source.root, target)
        shutil.rmtree(work, ignore_errors=True)
    return load_source(name, target), False


def fetch_clip(to: Path | None = None) -> Path:
    """Download the weights of the default CLIP model unless they are there; return their path.

    Args:
        to: A folder for them; by default the hub's cache, where `build` looks.

    Raises:
        WeightsError: The download failed.
    """
    instead = "run the same command again when there is a network: what has arrived is kept"
    return find_weights(
        f"CLIP {DEFAULT_MODEL}", DEFAULT_REPOSITORY, CLIP_FILES, instead=instead, folder=to and to.resolve()
    )


def _choose_folder(name: str, to: Path | None) -> Path:
    """Choose the dataset's folder: it holds something, or can be put in place in one go.

    Raises:
        StateError: It cannot be read, or is empty and cannot be replaced.
    """
    places = source_places(name)
    try:
        target = (to or next((place for place in places if place.is_dir()), places[-1])).resolve()
        fixed = os.path.ismount(target) or target == Path.cwd() or (target.exists() and not target.is_dir())
        if fixed and not own_content(target):
            raise StateError(f"{target}: cannot be made anew; choose a folder below it or beside it with --to")
    except PermissionError as error:
        raise StateError(f"{error.filename}: cannot be read; choose another folder with --to") from error
    return target


def _already_there(name: str, target: Path) -> Source:
    try:
        return load_source(name, target)
    except SourceError as error:
        raise StateError(
            f"{target}: is not empty, and holds no complete {name} ({_first_part(error)}); "
            "move it away, or choose another folder with --to"
        ) from error


def _check_sum(name: str, packed: Path, archive: Archive) -> None:
    """Set an archive aside whose checksum is not the one on record.

    Raises:
        DownloadError: Says how to download it again, or to take it as it is.
    """
    method, _, wanted = archive.checksum.partition(":")
    if not wanted:
        return
    with packed.open("rb") as file:
        found = hashlib.file_digest(file, method).hexdigest()
    if found != wanted:
        aside = packed.replace(packed.with_suffix(".doubtful"))
        raise DownloadError(
            f"{archive.address}: the {method} of what arrived is {found}, not {wanted}; run the same command again. "
            f"If that ends here too, the authors have changed it: glint-label fetch {name} --from {aside} takes it so"
        )


def _unpack_source(name: str, packed: Path, folder: Path, progress: MakeProgress) -> Source:
    """Unpack an archive, and read the dataset in it.

    Raises:
        DownloadError: It is damaged, or is not the dataset.
        OutputError: The disk is full or the folder cannot be written.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with packed.open("rb") as file:
            start = file.read(256)
        if start.startswith(b"PK"):
            _unpack_zip(packed, folder, progress)
        elif start.startswith(b"Rar!"):
            _unpack_rar(packed, folder)
        else:
            raise DownloadError(f"{packed}: is {'a web page' if is_web_page(start) else 'neither ZIP nor RAR'}")
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: cannot be read or written ({error.strerror}); make room, or choose another "
            "--to"
        ) from error
    try:
        return load_source(name, folder)
    except SourceError as error:
        raise DownloadError(f"{packed}: does not hold a complete {name} ({_first_part(error)})") from error


def _unpack_zip(packed: Path, folder: Path, progress: MakeProgress) -> None:
    try:
        with ZipFile(packed) as archive:
            entries = archive.infolist()
            _check_entries(packed, entries, folder)
            bar = progress("unpack", len(entries), 0)
            try:
                for entry in entries:
                    archive.extract(entry, folder)  # compares the checksum of each
                    bar.update(1)
            finally:
                bar.close()
    except GlintError:
        raise
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise DownloadError(f"{packed}: is a damaged archive ({error})") from error


def _check_entries(packed: Path, entries: Sequence[ZipInfo], folder: Path) -> None:
    """Refuse what no dataset needs, before anything is written.

    Raises:
        DownloadError: An entry leads out of the folder or is a link, or there is more than a dataset holds.
        OutputError: There is no room.
    """
    for entry in entries:
        path = PureWindowsPath(entry.filename)  # knows both slashes, and drives
        if path.anchor or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16):
            raise DownloadError(f"{packed}: {entry.filename!r} is a link or leads out of the folder")
    size = sum(entry.file_size for entry in entries)  # no more than these bytes are read of an entry
    if size > _most_bytes(packed) or len(entries) > _MOST_FILES:
        raise DownloadError(
            f"{packed}: would unpack to {size / 1e9:.0f} GB in {len(entries):,} files, more than any of these datasets"
        )
    if size > (free := shutil.disk_usage(folder).free):
        raise OutputError(f"{folder}: {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; make room")


def _most_bytes(packed: Path) -> float:
    """Tell how much an archive may unpack to: a small one that unpacks to a full disk is a trap."""
    return min(_MOST_BYTES, max(_SMALL, _MOST_RATIO * packed.stat().st_size))


def _unpack_rar(packed: Path, folder: Path) -> None:
    """Let one of the programs unpack it that can.

    Raises:
        InputError: None of them is installed.
        DownloadError: They could not, or there is more in it than a dataset holds, or anything but files and folders.
    """
    installed = {program: path for program in _UNRAR if (path := shutil.which(program))}
    if not installed:
        raise InputError(
            f"{packed}: is a RAR archive, which {', '.join(_UNRAR)} can unpack, but none of them is installed; "
            "install one (Debian and Ubuntu: apt install libarchive-tools), then run the same command again: what has "
            "been downloaded is kept"
        )
    for program, path in installed.items():
        arguments = [part.format(archive=packed.resolve(), folder=folder) for part in _UNRAR[program]]
        code, said = _watched([path, *arguments], packed, folder)
        if code == 0:
            break
    else:
        reason = said.strip()[:200]
        raise DownloadError(f"{packed}: cannot be unpacked with {' or '.join(installed)} ({reason})")
    if any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in folder.rglob("*")):
        raise DownloadError(f"{packed}: holds links or devices, which the dataset does not")


def _watched(command: Sequence[str], packed: Path, folder: Path) -> tuple[int, str]:
    """Run a program that unpacks, and end it where it writes more than a dataset holds; its exit code and words."""
    most = _most_bytes(packed)
    with TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said) as run:  # noqa: S603
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    run.wait(timeout=0.5)
                code = run.poll()
                files = [path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
                if sum(files) > most or len(files) > _MOST_FILES:
                    limit = f"{most / 1e9:.1f} GB or {_MOST_FILES:,} files"
                    raise DownloadError(f"{packed}: unpacks to more than {limit}, more than any of these datasets")
                if code is not None:
                    said.seek(0)
                    return code, said.read(10_000).decode(errors="replace")
        finally:
            run.kill()  # does nothing to one that has ended


def _move(folder: Path, target: Path) -> None:
    try:
        if target.is_dir():
            target.rmdir()  # it is empty
        folder.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be made ({error.strerror}); choose another folder with --to") from error


def _first_part(error: Exception) -> str:
    """Leave out the remedy, which is for another command."""
    return str(error).partition(";")[0]
