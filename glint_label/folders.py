"""Whose a folder is, who may write there, and what of it is ours."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from glint_label.errors import OutputError, StateError
from glint_label.files import make_folder, read_json
from glint_label.storage import is_stored
from glint_label.storage.lease import hold_lease
from glint_label.temporaries import is_left_behind, is_temporary

# What run.json says of its folder as `kind`.
BUILD, RUN, EXPORT = KINDS = "build", "training run", "dataset export"
RUN_FILE = "run.json"
LOCK_FILE = ".lock"


@contextmanager
def lock_folder(out: Path, option: str = "--out") -> Iterator[None]:
    """Make a folder if need be and keep other processes out, until the block is left or this one dies.

    Args:
        out: The folder.
        option: Names another one, for the errors.

    Raises:
        StateError: Another one is writing there.
        OutputError: The folder cannot be written.
        StorageError: The object store cannot be used.
    """
    if is_stored(out):
        with hold_lease(out / LOCK_FILE, out, option):
            yield
        return
    make_folder(out, option)
    if (out / LOCK_FILE).is_symlink():  # some versions of filelock empty the file that it leads to
        raise StateError(f"{out / LOCK_FILE}: is a link, which no command made; remove it")
    lock = FileLock(out / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StateError(
            f"{out}: another glint-label command is writing here; wait for it to finish or choose another {option}"
        ) from error
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another {option}") from error
    try:
        yield
    finally:
        lock.release()


def refuse_links(folder: Path) -> None:
    """Refuse to write below a folder that came from somebody else and holds linked folders: they may lead anywhere.

    Raises:
        StateError: Names the link.
    """
    for place in ("*", "shards/*", "watched/*", "watched/shards/*"):
        for path in folder.glob(place):
            if path.is_symlink() and path.is_dir():
                raise StateError(f"{path}: is a link, which may lead anywhere; put the folder itself in its place")


def own_content(folder: Path) -> list[str]:
    """List what a folder holds, sorted, but for the lock and what a killed run left half written."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK_FILE and not is_temporary(path.name))


def kind_of(folder: Path) -> str | None:
    """Tell what a folder is by its run.json: BUILD, RUN, EXPORT, or None where that says none of them."""
    try:
        content = read_json(folder / RUN_FILE)
    except (OSError, ValueError):
        return None
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if kind in KINDS else None


def describe_folder(folder: Path) -> str:
    """Say in words what a folder is: `is a training run`, `is empty`, ..."""
    if not folder.is_dir():
        return "is not a folder" if folder.exists() else "does not exist"
    if not own_content(folder):
        return "is empty"
    if kind := kind_of(folder):
        return f"is a {kind}"
    if (folder / RUN_FILE).is_file():
        return f"holds a {RUN_FILE} that is damaged or not of glint-label"
    return f"holds no {RUN_FILE}"


def check_kind(folder: Path, wanted: str) -> bool:
    """Refuse to write into a folder of another kind.

    Args:
        folder: Where to write; it may be empty or absent.
        wanted: BUILD, RUN or EXPORT.

    Returns:
        Whether it already holds one of that kind.

    Raises:
        StateError: It holds something else, and what.
    """
    content = own_content(folder)
    if not content:
        return False
    if kind_of(folder) == wanted:
        return True
    if RUN_FILE not in content and "shards" in content:
        raise StateError(
            f"{folder}: has lost its {RUN_FILE}, so it is not touched; restore that file, run the same "
            "build command with --repair, or choose another --out"
        )
    if RUN_FILE not in content:
        raise StateError(f"{folder}: holds files that no {wanted} made ({content[0]}); choose another --out")
    raise StateError(
        f"{folder}: {describe_folder(folder)}, not a {wanted}, so nothing in it is touched; choose another --out"
    )


def delete_own(folder: Path, patterns: Sequence[str]) -> None:
    """Delete the files that we wrote, run.json last: a folder half deleted still says whose it is.

    Whatever else lies there stays. A symbolic link in place of one of our files or folders is removed, what it points
    to is not.

    Args:
        folder: Of a kind that `check_kind` accepts.
        patterns: Regular expressions of our files' whole paths below the folder, with forward slashes.
    """
    ours = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    if is_stored(folder):
        folder.delete([name for name in folder.sizes() if ours.fullmatch(name) and name != RUN_FILE])
        (folder / RUN_FILE).unlink(missing_ok=True)
        return
    emptied: list[Path] = []
    for here, folders, names in os.walk(folder, followlinks=False):
        place = Path(here)
        links = [name for name in folders if (place / name).is_symlink()]
        for name in [*names, *links]:
            path = place / name
            inside = path.relative_to(folder).as_posix()
            # A linked folder is ours if it stands where one of ours would.
            own = ours.fullmatch(inside) or (name in links and any(_leads_to(pattern, inside) for pattern in patterns))
            if own and inside != RUN_FILE:
                path.unlink()
        emptied += [place / name for name in folders if name not in links]
    for path in sorted(emptied, reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    (folder / RUN_FILE).unlink(missing_ok=True)


def _leads_to(pattern: str, inside: str) -> bool:
    """Tell whether a path is one of the folders above the files of a pattern."""
    parts, wanted = inside.split("/"), pattern.split("/")
    return len(parts) < len(wanted) and all(map(re.fullmatch, wanted, parts))


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed run left half written below a folder; in an object store nothing of that is visible."""
    if is_stored(folder):
        return
    for here, _, names in os.walk(folder, followlinks=False):
        for name in filter(is_temporary, names):
            if is_left_behind(Path(here) / name):
                (Path(here) / name).unlink(missing_ok=True)
