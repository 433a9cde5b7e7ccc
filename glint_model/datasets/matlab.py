"""Variables of MATLAB's .mat files, flat."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from glint_label.errors import SourceError
from glint_label.storage import is_stored


def read_numbers(path: Path, name: str) -> NDArray[np.float64]:
    """Read an array of numbers.

    Raises:
        SourceError: The file is missing or damaged, or has no such variable of numbers.
    """
    values = _read(path, name)
    if values.dtype.kind not in "biuf":
        raise SourceError(f"{path}: {name} does not hold numbers; download it again")
    return values.ravel().astype(np.float64)


def read_texts(path: Path, name: str) -> list[str]:
    """Read a cell array of texts.

    Raises:
        SourceError: The file is missing or damaged, or has no such variable of texts.
    """
    # A cell holds an array of one text.
    texts = [np.ravel(cell).tolist() for cell in _read(path, name).ravel()]
    if any(len(cell) != 1 or not isinstance(cell[0], str) for cell in texts):
        raise SourceError(f"{path}: {name} does not hold texts; download it again")
    return [cell[0] for cell in texts]


def _read(path: Path, name: str) -> NDArray[Any]:
    if not path.is_file():
        raise SourceError(f"{path}: no such file; --source-dir must be the dataset's folder")
    try:
        variables = loadmat(path.open("rb") if is_stored(path) else path, variable_names=[name])
    except (MatReadError, NotImplementedError, OSError, ValueError, TypeError, IndexError, zlib.error) as error:
        raise SourceError(f"{path}: not a readable MATLAB file ({error}); download it again") from error
    if name not in variables:
        raise SourceError(f"{path}: has no variable {name!r}; download it again")
    return np.asarray(variables[name])
