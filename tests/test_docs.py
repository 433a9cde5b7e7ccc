"""What the documentation tells people to type exists: commands, options, choices; its diffs fit the code."""

import re
import shlex
from pathlib import Path

import click
import pytest

from glint_cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "manifests/README.md", *sorted((ROOT / "docs").glob("*.md")))
}
OF_OTHER_PROGRAMS = {"--nproc-per-node", "--dataset-root", "--label-path", "--similarity-csv"}


def whole_lines(page: str) -> list[str]:
    """List the command lines that stand in blocks of code, continued ones joined."""
    text = PAGES[page].replace("\\\n", " ")
    return re.findall(r"^(?: {4,})?glint-label .*$", "\n".join(blocks(text)), re.MULTILINE)


def blocks(text: str) -> list[str]:
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [*fenced, *re.findall(r"^ {4,}.*$", text, re.MULTILINE)]


def spans(page: str) -> list[str]:
    """List the pieces of code within the text."""
    text = re.sub(r"^```.*?^```|^ {4,}.*$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def check(line: str, *, whole: bool) -> None:
    """Parse a command line as the program would, short of looking at files."""
    name, *arguments = shlex.split(line, comments=True)[1:]
    if name.startswith("-"):
        assert name in {"--help", "--version"}
        return
    assert name in COMMANDS, f"there is no command {name}"
    command = main.get_command(click.Context(main), name)
    assert command is not None
    context = click.Context(command, info_name=name)
    values, left, _ = command.make_parser(context).parse_args(arguments)
    assert not left, f"arguments that {name} does not take: {left}"
    for parameter in command.get_params(context):
        value = values.get(parameter.name)
        if value and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)
        if whole and parameter.required:
            assert value, f"{name} needs {parameter.opts[0]}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_can_be_typed(page: str):
    for line in whole_lines(page):
        check(line, whole=True)
    for span in spans(page):
        if span.startswith("glint-label "):
            check(span.replace("|", " ").split(" ...")[0], whole=False)


def test_every_option_that_is_named_exists():
    context = click.Context(main)
    known = {"--help", "--version"} | OF_OTHER_PROGRAMS
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        known |= {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    for page in PAGES:
        for span in spans(page):
            if span.startswith("-"):
                named = set(re.findall(r"(?<!\S)--[\w-]+", span))
                assert named <= known, f"{page}: {named - known}"


def test_a_mistake_would_be_found():
    for wrong in (
        "glint-label bild --refs photos",
        "glint-label build --refs photos --source kadid10k --colour",
        "glint-label build --refs photos",
        "glint-label build --refs photos --source kadid10k --images gif",
        "glint-label render manifests/demo extra",
    ):
        with pytest.raises((AssertionError, click.UsageError)):
            check(wrong, whole=True)
    assert sum(len(whole_lines(page)) for page in PAGES) >= 30


def test_the_diffs_of_the_architecture_fit_the_code():
    diffs = re.findall(r"```diff\n(.*?)```", PAGES["docs/architecture.md"], re.DOTALL)
    assert len(diffs) == 5
    for diff in diffs:
        head, *hunks = diff.split("@@\n")
        code = (ROOT / head.splitlines()[1].removeprefix("+++ b/")).read_text(encoding="utf-8")
        for hunk in hunks:
            before = "".join(f"{line[1:]}\n" for line in hunk.splitlines() if not line.startswith("+"))
            assert f"\n{before}" in code, f"{head}{hunk}"
