"""Values of the wrong kind in a settings file: read where they can mean one thing only, else one line with the key."""

import json

import pytest
from click.testing import CliRunner

from glint_cli.main import main
from tests.glint_cli.test_commands import run

BUILD = ["build", "--refs", "in", "--source", "custom", "--source-dir", "in"]
TRAIN = ["pretrain", "--synthetic"]


WRONG: list[tuple[list[str], dict[str, str]]] = [
    (["build"], dict.fromkeys(("refs", "out", "source", "device", "source_dir", "embedder", "size"), "2024")),
    (["build"], {"refs": "2024-01-31", "out": "[a, b]", "source": "{a: b}", "embedder": "[clip]", "transfer": "no"}),
    (["build"], {"images": "off", "size": "[512, 384]", "clip_model": "1.5", "exclude_near": "true"}),
    *((BUILD, {"workers": value}) for value in ("1.5", "true", "-1.5", "[2]", ".inf", ".nan", "two", "0x1z", "{}")),
    (BUILD, {"k": "2.5", "seed": "1e-3", "limit": "2023-01-01", "max_failures": "[1]"}),
    *((BUILD, {"mos_range": value}) for value in ("5", "[1]", "[1, 2, 3]", "[1, x]", "[true, 5]", "[1, .nan]", "1 5")),
    *((BUILD, {"min_similarity": value}) for value in ("yes", "[0.5]", "high", ".nan", "0,5")),
    *((BUILD, {"strict": value}) for value in ("1", "0", "'yes'", "[true]", "1.0")),
    *((BUILD, {"exclude_anchors": value}) for value in ("true", "1.5", "{a: 1}", "[true]", "[[a]]", "[a, null]")),
    (["audit"], {"embedder": "1.5", "transfer": "{gp: 1}", "min_srocc": "[0.9]", "as_json": "json"}),
    (["render", "in"], {"levels": "1.5", "split": "1", "reference": "2024", "types": "yes"}),
    (["render", "in"], {"levels": "[1, yes]", "split": "{train: 1}", "reference": "[[a]]", "types": "[1.5]"}),
    (TRAIN, {"manifest": "2024", "out": "[a]", "preset": "5", "synthetic": "3", "resume": "'no'", "seed": "1.5"}),
    (TRAIN, {"batch_size": "4.5", "steps": "yes", "precision": "32", "exclude_anchors": "1.5", "epochs": "[1]"}),
    (TRAIN, {"group": "1.5", "lr": "yes", "ema": ".inf", "network": "5", "cache_mb": "[1]", "rank_weight": ".nan"}),
    *((TRAIN, {"tapped_blocks": value}) for value in ("[true, 2]", "[0.5, 1]", "3", "{a: 1}")),
]


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [(command, key, value) for command, entries in WRONG for key, value in entries.items()],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_value_of_the_wrong_kind_is_one_line_that_names_its_key(tmp_path, command, key, value):
    path = tmp_path / "settings.yaml"
    path.write_text(f"network: {{{key}: {value}}}" if key == "tapped_blocks" else f"{key}: {value}")
    arguments = [*command, "--config", str(path)]
    result = CliRunner().invoke(main, arguments)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert key in lines[0].replace("-", "_")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_settings_file_is_read_in_any_usual_encoding(tmp_path, encoding):
    path = tmp_path / "settings.yaml"
    path.write_bytes("refs: 'nowhere é'\nsource: custom\nsource-dir: nowhere\n".encode(encoding))
    assert "nowhere" in run("build", "--config", path, code=3).stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k: '2'\nmin_similarity: 0\nexclude_anchors: anchors/a0.png", {"k": 2, "min_similarity": 0.0}),
        ("k: 2.0\nmin_similarity: 1e-6\nexclude_anchors: [anchors/a0.png]", {"k": 2, "min_similarity": 1e-6}),
        ("k: 2\nmos_range: ['1', 5.5]\nexclude-anchors: [anchors/a0.png,]\nlimit:", {"k": 2, "mos_range": [1.0, 5.5]}),
    ],
)
def test_what_can_mean_one_thing_only_is_read(tmp_path, refs, rated, text, expected):
    path = tmp_path / "settings.yaml"
    path.write_text(text + "\nworkers: 0\nembedder: statistics\ntransfer: top1\nlimit: 1\n")
    out = tmp_path / "out"
    arguments = ["--refs", refs, "--source", "custom", "--source-dir", rated, "--out", out, "--config", path]
    run("build", *arguments)
    config = json.loads((out / "run.json").read_text())["config"]
    assert expected.items() <= config.items()
    assert config["exclude_anchors"] == ["anchors/a0.png"]


@pytest.mark.parametrize(
    "text", ["a: 2024-13-45", "{[1]: 2}", "a: !!int x", "a:\tb: c", "- " * 3000 + "a", "\x07", "a: 1\n---\nb: 2"]
)
def test_what_is_no_settings_file_is_one_line(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    lines = run(*BUILD, "--config", path, code=2).stderr.strip().splitlines()
    assert len(lines) == 1
    assert "settings.yaml: not readable YAML" in lines[0]
