"""`glint-label doctor`."""

from dataclasses import asdict

import click

from glint_cli.interrupt import STARTS_OVER, if_interrupted
from glint_cli.options import json_option
from glint_cli.text import to_json
from glint_label.errors import InputError

_MARKS = {"ok": "ok", "note": "--", "problem": "!!"}


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check whether this machine is ready, and how to fix it if not.

    Exit code 3 if something does not work.
    """
    if_interrupted(STARTS_OVER)
    from glint_label.doctor import diagnose

    findings = diagnose()
    if as_json:
        click.echo(to_json([asdict(finding) for finding in findings]))
    else:
        width = max(len(finding.topic) for finding in findings)
        for finding in findings:
            click.echo(f"{_MARKS[finding.state]}  {finding.topic:<{width}}  {finding.detail}")
            if finding.remedy:
                click.echo(f"    {'':<{width}}  -> {finding.remedy}")
    problems = [finding for finding in findings if finding.state == "problem"]
    if problems:
        raise InputError(f"{len(problems)} problems, first: {problems[0].topic}: {problems[0].detail}")
    if not as_json:
        click.echo("Ready.")
