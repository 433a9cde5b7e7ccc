"""Every option that names a file or a folder either takes an address in an object store, or refuses it in a line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from glint_cli.main import COMMANDS, main
from glint_cli.options import PlacePath
from glint_label.errors import UsageError

ADDRESS = "s3://bucket/folder"
TAKEN = {
    "build": {"refs", "source_dir", "exclude_near", "out"},
    "inspect": {"folder", "html", "refs"},
    "audit": {"source_dir", "out"},
    "export": {"folder", "out", "refs"},
    "render": {"folder", "refs"},
    "verify": {"source_dir"},
    "pretrain": {"manifest", "refs"},
    "finetune": {"source_dir"},
    "evaluate": {"data_dir"},
    "score": {"paths"},
}


def parameters(command: str) -> list[click.Parameter]:
    params = main.get_command(click.Context(main), command).params
    return [one for one in params if isinstance(one.type, click.Path | click.File)]


def convert(parameter: click.Parameter, text: str) -> object:
    return parameter.type.convert(text, parameter, click.Context(main))


@pytest.mark.parametrize("command", COMMANDS)
def test_addresses_are_taken_or_refused_and_never_a_path(command):
    for parameter in parameters(command):
        assert isinstance(parameter.type, PlacePath)
        if parameter.name in TAKEN.get(command, ()):
            assert str(convert(parameter, ADDRESS)) == ADDRESS
        else:
            with pytest.raises(UsageError, match="must be a path on a disk of this machine"):
                convert(parameter, ADDRESS)
        for spoilt in ("s3:/bucket/folder", "http://host/folder"):
            with pytest.raises(UsageError, match=r"as text|address of s3://, gs://, file://"):
                convert(parameter, spoilt)


@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain", "--synthetic", "--out", ADDRESS],
        ["finetune", "--source", "kadid10k", "--out", ADDRESS],
        ["demo", "--out", ADDRESS],
        ["fetch", "kadid10k", "--to", ADDRESS],
        ["score", "photo.png", "--out", f"{ADDRESS}.csv"],
        ["export-onnx", ADDRESS],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_refusal_is_one_line_and_makes_no_folder(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert re.search(rf"{ADDRESS}(\.csv)?: must be a path on a disk", result.stderr)
    assert not list(tmp_path.iterdir())


def test_addresses_in_a_settings_file_are_those_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("settings.yml").write_text(f"synthetic: true\nout: {ADDRESS}\n")
    result = CliRunner().invoke(main, ["pretrain", "--config", "settings.yml"])
    assert result.exit_code == 2
    assert f"--out {ADDRESS}: must be a path on a disk" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yml"]


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    settings = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1", "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "glint_cli.main", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=settings | environment, timeout=60)


@pytest.mark.slow
def test_what_is_wrong_with_the_store_is_one_line():
    pytest.importorskip("s3fs")
    result = run("inspect", ADDRESS)
    assert (result.returncode, len(result.stderr.splitlines())) == (3, 1), result.stderr
    assert "no credentials were found; set AWS_ACCESS_KEY_ID" in result.stderr
    given = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    result = run("inspect", ADDRESS, **given)
    assert (result.returncode, len(result.stderr.splitlines())) == (3, 1), result.stderr
    assert "the store does not answer" in result.stderr
