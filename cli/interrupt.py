"""What Ctrl-C and SIGTERM end in: a line that says whether the same command goes on. Each command tells."""

import click

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
