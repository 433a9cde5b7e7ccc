"""Variables of MATLAB's .mat files, as flat lists."""

import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from glint_label.errors import SourceError


def read_mat(path: Path, name: str) -> list[Any]:
    """Read one variable: numbers, or the texts of a cell array.

    Raises:
        SourceError: The file is missing or damaged, or has no such variable.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file; --data-dir must be the dataset's folder")
    try:
        variables = loadmat(path, variable_names=[name])
    except (MatReadError, NotImplementedError, OSError, ValueError, TypeError, zlib.error) as error:
        raise SourceError(f"{path}: not a readable MATLAB file ({error}); download it again") from error
    if name not in variables:
        raise SourceError(f"{path}: has no variable {name!r}; download it again")
    values = variables[name].ravel().tolist()
    # A cell holds an array of one text.
    return [value.ravel().tolist()[0] if hasattr(value, "ravel") and value.size else value for value in values]
