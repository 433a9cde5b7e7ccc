"""`glint-label`: the command group, and what every command shares."""

import signal
import sys
from types import FrameType

import click

import glint_label
from glint_cli.audit import audit
from glint_cli.build import build
from glint_cli.demo import demo
from glint_cli.doctor import doctor
from glint_cli.evaluate import evaluate
from glint_cli.finetune import finetune
from glint_cli.inspect import inspect
from glint_cli.pretrain import pretrain
from glint_cli.render import render
from glint_cli.score import score
from glint_cli.verify import verify
from glint_label.errors import GlintError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80, "show_default": True}


class OneLine(click.ClickException):
    """An expected error: one line on stderr, no traceback."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance, its stubs say ClassVar


class Terminated(BaseException):
    """SIGTERM arrived: unwind like Ctrl-C does."""


class GlintGroup(click.Group):
    """Show a GlintError as one line and exit with its code; our own bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; 130 after SIGINT, 143 after SIGTERM, as shells expect."""
        signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except GlintError as error:
            raise OneLine(str(error), error.exit_code) from error
        except (KeyboardInterrupt, Terminated) as error:
            code = 130 if isinstance(error, KeyboardInterrupt) else 143
            message = "interrupted; what is finished is kept: run the same command again to go on"
            raise OneLine(message, code) from error


def _terminate(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's signature)
    raise Terminated


@click.group(cls=GlintGroup, context_settings=_CONTEXT)
@click.version_option(glint_label.__version__, prog_name="glint-label")
def main() -> None:
    """Turn a folder of pristine photos into an image-quality dataset.

    Every photo is given the human ratings of similar rated photos, for the
    same distortions. A first try, offline, in a minute:

    \b
        glint-label demo

    The main job:

    \b
        glint-label build --refs ./pristine --source kadid10k
        glint-label inspect ./manifests/kadid10k
    """


for command in (build, inspect, audit, render, verify, pretrain, finetune, evaluate, score, demo, doctor):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
