"""A dataset's folder as people really have it: names in another case, one folder further in."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from glint_label.errors import SourceError


class DatasetFolder:
    """Finds files and folders below `root` without regard to case: copies of a dataset differ in it.

    Args:
        root: Folder of the dataset.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, dict[str, str]] = {}

    def find(self, *names: str) -> str:
        """Spell the first of these names that is there as the disk does; else give the first as it is.

        Args:
            names: Relative to `root`, with forward slashes.

        Raises:
            SourceError: A folder cannot be read.
        """
        for name in names:
            found = self._spelled(name)
            if found is not None:
                return found
        return names[0]

    def path(self, *names: str) -> Path:
        """Find the path of the first of these names that is there, else of the first; see `find`."""
        return self.root / self.find(*names)

    def _spelled(self, name: str) -> str | None:
        found = ""
        for part in PurePosixPath(name).parts:
            names = self._names(found)
            true = names.get(part, names.get(part.lower()))
            if true is None:
                return None
            found = f"{found}/{true}" if found else true
        return found or None

    def _names(self, folder: str) -> dict[str, str]:
        """Map what lies in a folder, as it is and in lower case, to its true name; the true name wins."""
        if folder not in self._listed:
            path = self.root / folder
            try:
                names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
            except OSError as error:
                raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
            self._listed[folder] = {name.lower(): name for name in names} | {name: name for name in names}
        return self._listed[folder]


def find_labels(root: Path, names: Sequence[str]) -> tuple[DatasetFolder, Path]:
    """Find the label file of a dataset, and with it the dataset's folder.

    An archive unpacked in a folder of its own name leaves one folder that holds all: it is looked into.

    Args:
        root: Where the dataset should be.
        names: What the label file is called, relative to the folder; the first one that is there is taken.

    Returns:
        The folder, which is `root` or the only one in it, and the label file.

    Raises:
        SourceError: None of the names is there.
    """
    for place in (root, *_only_folder(root)):
        folder = DatasetFolder(place)
        label_file = folder.path(*names)
        if label_file.is_file():
            return folder, label_file
    others = f", nor is {' or '.join(names[1:])} there" if names[1:] else ""
    raise SourceError(f"{root / names[0]}: no such file{others}; --source-dir must be the folder that holds it")


def _only_folder(root: Path) -> list[Path]:
    """Give the folder in `root` if there is just one, besides hidden ones and macOS's `__MACOSX`."""
    folders = [path for path in root.iterdir() if path.is_dir() and path.name[0] not in "._"] if root.is_dir() else []
    return folders if len(folders) == 1 else []
