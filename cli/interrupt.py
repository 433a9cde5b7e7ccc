"""What Ctrl-C and SIGTERM end in: a line that says whether the same command goes on. Each command tells."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress

import click

SECONDS_TO_END = 8.0  # Docker and batch systems kill ten seconds after SIGTERM
STARTS_OVER = "the same command starts from the beginning"
_KEY = f"{__name__}.words"


def goes_on(*, without: str = "") -> str:
    """Say that nothing finished is lost.

    Args:
        without: The flag of this call that would delete it, if there is one.
    """
    how = f"without {without}" if without else "again"
    return f"what is finished is kept: run the same command {how} to go on"


def needs_out(out: object, metavar: str) -> str:
    """Say whether a command goes on that keeps what is finished beside its output, if it has one."""
    return f"nothing was kept: give --out {metavar} to be able to go on" if out is None else goes_on()


def if_interrupted(words: str) -> None:
    """Set what is said if the running command is stopped from here on."""
    click.get_current_context().meta[_KEY] = words


def interrupted(ctx: click.Context) -> str:
    """Write the line; it promises nothing where the command had not begun."""
    words = ctx.meta.get(_KEY)
    return f"interrupted; {words}" if words else "interrupted"


def end_in_time(seconds: float = SECONDS_TO_END) -> None:
    """Let SIGTERM end this process within some seconds, even where it waits for ever or a library does not return.

    Python handles a signal between two steps of the main thread alone; what the signal wakes here is another thread.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    threading.Thread(target=_end_after_sigterm, args=(woken, seconds), name="end in time", daemon=True).start()


def _end_after_sigterm(woken: int, seconds: float) -> None:
    while signal.SIGTERM not in os.read(woken, 64):
        pass
    time.sleep(seconds)
    with suppress(OSError):
        os.write(2, b"Error: interrupted, and ended by force as something did not respond; what was saved is kept\n")
    workers = multiprocessing.active_children()
    sys.setswitchinterval(SECONDS_TO_END)  # the main thread, which may wait for them, must not go on and fail first
    for worker in workers:
        worker.kill()
    os._exit(128 + signal.SIGTERM)
