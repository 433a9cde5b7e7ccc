"""Scores that are kept as they are made, so that a command that was stopped goes on where it was."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from glint_label.errors import OutputError
from glint_label.files import append_text


class KeptScores:
    """Scores by what their images are made of, in a file beside the output that is only ever appended to.

    A line is a JSON list: a hash of what all scores were made with, what the image is made of, its score, and what
    else was measured of it. It is handed to the system as soon as it is known, so a process that is killed loses
    nothing. Lines that were made with other settings are passed over, and so is one that was cut.

    Args:
        output: The file that the scores end in; None keeps nothing.
        made_with: What every line depends on besides its image, as values for JSON: weights, crops, seed, versions,
            and what is measured.

    Raises:
        OutputError: There is a file of earlier scores, and it cannot be read.
    """

    def __init__(self, output: Path | None = None, made_with: Mapping[str, object] | None = None) -> None:
        self._path = None if output is None else output.with_name(f"{output.name}.partial")
        self._made_with = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:16]
        self._scores = dict(self._read())
        self.reused = 0

    @property
    def known(self) -> frozenset[str]:
        """What the images are made of that need not be scored."""
        return frozenset(self._scores)

    def reuse(self, made_of: str) -> tuple[float, ...]:
        """Give an earlier score and what else was measured, and count it in `reused`."""
        self.reused += 1
        return self._scores[made_of]

    def add(self, made_of: str, numbers: Sequence[float]) -> None:
        """Keep a new score, and what else was measured.

        Raises:
            OutputError: The disk is full or the folder cannot be written.
        """
        if self._path is not None:
            # The break comes first: it ends a line that was cut.
            append_text(self._path, "\n" + json.dumps([self._made_with, made_of, *numbers]))

    def remove(self) -> None:
        """Delete the file: the output is written."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[str, tuple[float, ...]]]:
        if self._path is None or not self._path.exists():
            return
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read ({error.strerror}); remove it to start again") from error
        for line in lines:
            try:
                made_with, made_of, *numbers = json.loads(line)
            except (ValueError, TypeError):
                continue
            whole = bool(numbers) and all(isinstance(number, float) for number in numbers)
            if made_with == self._made_with and isinstance(made_of, str) and whole:
                yield made_of, tuple(numbers)
