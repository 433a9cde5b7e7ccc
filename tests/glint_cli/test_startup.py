"""What the commands load, what they are called, how they look in 80 columns."""

import subprocess
import sys
from typing import get_type_hints

import click
import pytest
from click.testing import CliRunner

from glint_cli.main import COMMANDS, main
from glint_label.build.config import BuildConfig
from glint_label.embed import DEFAULT_MODEL
from glint_label.sources import SOURCES
from glint_label.transfer import TRANSFERS

SLOW = ("torch", "faiss", "open_clip", "timm", "pandas", "scipy", "skimage", "matplotlib")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=lambda names: " ".join(names) or "group")
def test_help_fits_80_columns_and_every_option_says_what_it_does(command):
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert max(len(line) for line in result.output.splitlines()) <= 80
    for name in command:
        shown = main.get_command(click.Context(main), name)
        assert all(parameter.help for parameter in shown.params if isinstance(parameter, click.Option))


def test_the_list_of_commands_says_what_each_says_of_itself():
    for name, words in COMMANDS.items():
        assert main.get_command(click.Context(main), name).get_short_help_str(limit=100) == words


@pytest.mark.parametrize("arguments", [["--help"], ["build"], ["build", "--refs", "x", "--source", "koniq"]])
def test_help_and_usage_errors_wait_for_no_slow_library(arguments):
    code = (
        "import sys\nfrom glint_cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code in (0, 2), end.code\n"
        f"print(*[name for name in {SLOW} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[-1] == ""


def test_labelling_takes_no_torch_into_memory():
    code = "import sys, glint_label.build.pipeline\nprint('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_names_in_settings_and_help_are_those_of_the_tables():
    kinds = get_type_hints(BuildConfig)
    assert kinds["source"].__args__ == SOURCES
    assert kinds["transfer"].__args__ == tuple(TRANSFERS)
    options = {parameter.name: parameter for parameter in main.get_command(click.Context(main), "build").params}
    assert options["clip_model"].default == DEFAULT_MODEL
    assert ", ".join(SOURCES) in options["source"].help
    assert ", ".join(TRANSFERS) in options["transfer"].help
    assert tuple(options["images"].type.choices) == kinds["images"].__args__
