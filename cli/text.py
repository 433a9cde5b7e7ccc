"""How numbers and tables look on a terminal."""

import json
import re
import sys
from collections.abc import Sequence

from glint_cli.terminal import shows_unicode

# Control characters that JSON lets stand, and marks that change the order of letters on a terminal.
_HARMFUL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def count(number: int) -> str:
    """Write 12345 as 12,345."""
    return f"{number:,}"


def many(number: int, noun: str) -> str:
    """Write `1 photo` or `1,234 photos`."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def size(number: float) -> str:
    """Write a number of bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float) -> str:
    """Write seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, indent: str = "  ") -> str:
    """Lay out a table: the first `left` columns to the left, the others, numbers, to the right."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = []
    for line in (header, *rows):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def bar(share: float, width: int) -> str:
    """Draw a share of 0..1 as a bar of eighth blocks, or of `#` where stdout has no blocks."""
    if not shows_unicode(sys.stdout):
        return "#" * round(share * width)
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def to_json(value: object) -> str:
    """Write JSON for stdout, with its own escapes for what stdout cannot hold."""
    text = json.dumps(value, indent=1, ensure_ascii=not shows_unicode(sys.stdout))
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
