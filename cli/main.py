"""`glint-label`: the command group, and what every command shares."""

import errno
import os
import signal
import sys
from importlib import import_module
from typing import Any

import click

import glint_label
from glint_cli.interrupt import end_in_time, interrupted
from glint_cli.terminal import StdoutError, open_streams
from glint_label.errors import GlintError, InputError

# name -> what it does; each is loaded when it is called, since most need libraries that take seconds to load.
COMMANDS = {
    "build": "Label every photo in a folder.",
    "inspect": "Summarise the build in DIR, and check its files.",
    "audit": "Estimate label accuracy by leave-one-anchor-out.",
    "export": "Write the build in DIR, or a part of it, for other people's programs.",
    "render": "Write the distorted images of the build in DIR, or of a part of it.",
    "verify": "Regenerate a source's own distorted images and compare.",
    "pretrain": "Train the network on a manifest.",
    "finetune": "Fine-tune a checkpoint on human ratings.",
    "evaluate": "Compare a network's scores with human ratings.",
    "score": "Score images, and all images in folders.",
    "export-onnx": "Write a checkpoint as ONNX, to score without torch.",
    "fetch": "Download a rated dataset, or the weights of CLIP.",
    "demo": "Run the whole job offline, on sample photos.",
    "doctor": "Check whether this machine is ready, and how to fix it if not.",
}
# What a file system may say of any path, and what to do. Whether there is a file or a folder is ours to look for: if
# that was forgotten, the traceback stays.
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "grant access to it, or choose another path"),
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the links that lead in a circle",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS), "free some space, or choose another place"),
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN),
        "look after the disk or the file server that holds it, then run the same command again",
    ),
}
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80, "show_default": True}

_INTERRUPTED = {number: 128 + number for number in (signal.SIGINT, signal.SIGTERM)}  # exit codes, as shells expect


class OneLine(click.ClickException):
    """An expected error: one line on stderr, no traceback."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance, its stubs say ClassVar


class GlintGroup(click.Group):
    """Show a GlintError, or what a path cannot be used for, as one line; our own bugs keep their traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a program: what a test that calls `main` must not do to its own process is done here."""
        open_streams()
        end_in_time()
        try:
            return super().__call__(*args, **kwargs)
        except StdoutError as error:
            if not error.closed:
                click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except SystemExit as end:
            if isinstance(end.code, int) and end.code in _INTERRUPTED.values() and "ray" in sys.modules:
                sys.stdout.flush()
                os._exit(end.code)  # Ray's threads, torn from what they were at, at times crash while Python ends
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Name the commands in the order of a user's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"glint_cli.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; end with a line and an exit code after SIGINT and SIGTERM."""
        stopped_by = signal.SIGINT

        def terminate(*_: object) -> None:
            """Unwind as Ctrl-C does, which every library knows."""
            nonlocal stopped_by
            stopped_by = signal.SIGTERM
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, terminate)
        try:
            return super().invoke(ctx)
        except GlintError as error:
            raise OneLine(str(error), error.exit_code) from error
        except OSError as error:
            if error.errno not in _REMEDIES or not isinstance(error.filename, str | bytes | os.PathLike):
                raise
            place = os.fsdecode(error.filename)
            raise OneLine(f"{place}: {error.strerror}; {_REMEDIES[error.errno]}", InputError.exit_code) from error
        except KeyboardInterrupt as error:
            # Where Ctrl-C met code that a library makes with exec(), as dataclasses do, Python would end by the signal
            # itself in spite of our exit code; another exec() lets it forget.
            exec("")  # noqa: S102
            raise OneLine(interrupted(ctx), _INTERRUPTED[stopped_by]) from error


@click.group(cls=GlintGroup, context_settings=_CONTEXT)
@click.version_option(glint_label.__version__, prog_name="glint-label")
def main() -> None:
    """Turn a folder of pristine photos into an image-quality dataset.

    Every photo is labelled from the human ratings of similar photos, for the
    same distortions. To try it out, offline, in about a minute:

    \b
        glint-label demo

    The main job:

    \b
        glint-label build --refs ./pristine --source kadid10k
        glint-label inspect ./manifests/kadid10k
    """


if __name__ == "__main__":
    sys.exit(main())
