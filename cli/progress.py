"""Progress on stderr: a bar on a terminal, one plain line every 30 seconds elsewhere."""

import sys
from typing import Any

from tqdm import tqdm

from glint_cli.terminal import shows_unicode
from glint_label.progress import Progress

_PLAIN_SECONDS = 30.0


class _PlainLines(tqdm):  # type: ignore[type-arg] # tqdm is generic only in its stubs
    """Write each update as a line of its own, for log files."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002 (tqdm's signature)
        """Print the line instead of redrawing it."""
        self.fp.write(f"{msg or str(self)}\n")
        self.fp.flush()


def show_progress(what: str, total: int, done: int) -> Progress:
    """Make a progress bar with an ETA."""
    options: dict[str, Any] = {"desc": f"{what:<10}", "total": total, "initial": done, "file": sys.stderr}
    if sys.stderr.isatty():
        return tqdm(**options, dynamic_ncols=True, unit="", smoothing=0.05, ascii=not shows_unicode(sys.stderr))
    layout = "{desc} {n_fmt}/{total_fmt}, {elapsed} elapsed, {remaining} remaining, {rate_fmt}"
    return _PlainLines(**options, mininterval=_PLAIN_SECONDS, miniters=1, bar_format=layout)
