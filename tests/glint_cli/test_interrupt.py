"""Ctrl-C and SIGTERM: the right code, and a line that is true of the command that was stopped."""

import signal

import pytest

from tests.glint_cli.test_commands import run

KEPT = "what is finished is kept: run the same command again to go on"
STARTS_OVER = "the same command starts from the beginning"
BUILD = ["build", "--refs", "in", "--source", "kadid10k"]
SCORE = ["score", "in", "--checkpoint", "a.safetensors"]
EVALUATE = ["evaluate", "--dataset", "kadid10k", "--checkpoint", "a.safetensors"]
TUNE = ["finetune", "--source", "kadid10k", "--checkpoint", "a.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "at_work", "words"),
    [
        (BUILD, "glint_label.build.plan.make_plan", KEPT),
        ([*BUILD, "--overwrite"], "glint_label.build.plan.make_plan", KEPT.replace("again", "without --overwrite")),
        ([*BUILD, "--dry-run"], "glint_label.build.plan.make_plan", STARTS_OVER),
        (["inspect", "out"], "glint_label.manifest.inspect.summarise", STARTS_OVER),
        (["audit"], "glint_label.sources.load_source", STARTS_OVER),
        (["render", "out"], "glint_label.render.render_build", KEPT),
        (["verify"], "glint_label.sources.load_source", STARTS_OVER),
        (["pretrain"], "glint_model.data.from_manifest.find_build", KEPT),
        (
            ["pretrain", "--no-resume"],
            "glint_model.data.from_manifest.find_build",
            KEPT.replace("again", "without --no-resume"),
        ),
        (TUNE, "glint_model.network.checkpoint.load_weights", KEPT),
        (EVALUATE, "glint_model.datasets.load_dataset", "nothing was kept: give --out DIR to be able to go on"),
        ([*EVALUATE, "--out", "results"], "glint_model.datasets.load_dataset", KEPT),
        (SCORE, "glint_model.evaluation.score.list_inputs", "nothing was kept: give --out FILE to be able to go on"),
        ([*SCORE, "--out", "scores.csv"], "glint_model.evaluation.score.list_inputs", KEPT),
        (["demo"], "glint_label.demo.run_demo", STARTS_OVER),
        (["doctor"], "glint_label.doctor.diagnose", STARTS_OVER),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_line_says_whether_the_same_command_goes_on(monkeypatch, arguments, at_work, words, number, code):
    monkeypatch.setattr(at_work, lambda *_, **__: signal.raise_signal(number))
    assert run(*arguments, code=code).stderr.splitlines()[-1] == f"Error: interrupted; {words}"


def test_a_command_that_had_not_begun_promises_nothing(monkeypatch):
    monkeypatch.setattr("glint_label.engines.available_cores", lambda: signal.raise_signal(signal.SIGINT))
    assert run(*BUILD, code=130).stderr == "Error: interrupted\n"
