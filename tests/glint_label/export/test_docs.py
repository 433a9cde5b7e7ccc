"""What docs/export.md shows works as it stands."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from glint_cli.export import FORMATS as NAMES
from glint_cli.export import IMAGES
from glint_cli.main import main
from glint_label.export import FORMATS

DOCS = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the other programs
def test_every_command_and_every_line_of_python_runs(built, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "kadid10k").symlink_to(built)
    commands = re.findall(r"^    glint-label (export .*)$", DOCS, re.MULTILINE)
    assert len(commands) >= len(FORMATS)
    for command in commands:
        result = CliRunner().invoke(main, [*shlex.split(command), "--workers", "0"])
        assert result.exit_code == 0, result.output
        assert "How to load it: exports/" in result.output
    for block in re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL):
        if "from streaming" in block and find_spec("streaming") is None:
            continue
        exec(compile(block, "export.md", "exec"), {})
        assert capsys.readouterr().out.strip()


def test_the_formats_and_encodings_in_help_and_docs_are_those_of_the_table():
    assert tuple(FORMATS) == NAMES
    assert set(IMAGES) == {name for form in FORMATS.values() for name in form.images}
    for form in FORMATS.values():
        images = ", ".join(f"`{name}`" for name in form.images)
        assert re.search(rf"^\| `{form.name}` \| .* \| {images} \|$", DOCS, re.MULTILINE)


def test_errors_are_one_line_with_their_codes(built, tmp_path):
    def run(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["export", str(built), "--out", str(tmp_path / "out"), *options])
        assert len(result.stderr.strip().splitlines()) == 1
        return result.exit_code, result.stderr

    assert run("--to", "tfrecord")[0] == 2
    assert run("--to", "croissant", "--images", "png")[0] == 2
    code, line = run("--to", "hf", "--images", "png", "--refs", str(tmp_path / "nowhere"))
    assert (code, "no such folder" in line) == (3, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert run("--to", "hf")[0] == 3
