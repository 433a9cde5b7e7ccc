"""Checkpoints: what comes back, and what a wrong file says."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from glint_label.errors import OutputError, WeightsError
from glint_model import GlintConfig, GlintIQA
from glint_model.network.checkpoint import load_weights, save_weights

TINY = GlintConfig.tiny()


@pytest.fixture(scope="module")
def model() -> GlintIQA:
    torch.manual_seed(0)
    return GlintIQA(TINY)


@pytest.fixture
def saved(model, tmp_path) -> Path:
    path = tmp_path / "runs" / "last.safetensors"
    save_weights(path, model, {"vit_weights": "random", "step": "7"})
    return path


def test_everything_comes_back(model, saved):
    config, state, metadata = load_weights(saved)
    assert config == TINY
    assert metadata == {"vit_weights": "random", "step": "7"}
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_loaded_network_gives_the_same_scores(model, saved):
    crops = torch.rand(2, 3, 224, 224)
    loaded = GlintIQA.load(str(saved))
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(crops), model.eval()(crops))


def test_the_same_weights_make_the_same_file(model, saved, tmp_path):
    save_weights(tmp_path / "again.safetensors", model, {"step": "7", "vit_weights": "random"})
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_settings_of_training_may_differ(saved):
    load_weights(saved, expected=replace(TINY, dropout=0.5, frozen_batchnorm=True, frozen_cnn_stages=1))


def test_weights_of_another_network_are_refused(saved):
    with pytest.raises(WeightsError, match="another network: vit_width 48, not 192; unscrambled True, not False"):
        load_weights(saved, expected=replace(TINY, vit_width=192, unscrambled=False))


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none.safetensors: no such checkpoint"):
        GlintIQA.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 1000, 0.5, 0.999])
def test_a_truncated_checkpoint_is_named(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(WeightsError, match=r"last.safetensors: truncated"):
        load_weights(saved)


def test_other_safetensors_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="no checkpoint of GlintIQA"):
        load_weights(path)


def test_a_setting_of_a_newer_version_is_named(model, tmp_path):
    path = tmp_path / "newer.safetensors"
    header = {"glint-iqa": '{"config": {"mixture": 4}, "metadata": {}}'}
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, header)
    with pytest.raises(WeightsError, match=r"unknown setting 'mixture'.*newer version"):
        load_weights(path)


def test_tensors_that_do_not_fit_their_own_header_are_refused(tmp_path):
    path = tmp_path / "odd.safetensors"
    other = GlintIQA(replace(TINY, vit_width=96))
    other.config = TINY
    save_weights(path, other, {})
    with pytest.raises(WeightsError, match="does not fit its own configuration") as caught:
        GlintIQA.load(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_run(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    with pytest.raises(WeightsError):
        load_weights(path)
    path = path.rename(tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"model.pt: cannot be loaded as resnet10t"):
        GlintIQA.start(TINY, vit="random", cnn=path)
    assert not (tmp_path / "ran").exists()


class Planted:
    """A pickle that leaves a trace when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_folder_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        save_weights(tmp_path / "file" / "last.safetensors", model, {})


def test_a_kill_leaves_the_old_checkpoint_or_the_new_one(saved):
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from glint_model.network.checkpoint import load_weights, save_state\n"
        "path = Path(sys.argv[1]); config, state, _ = load_weights(path); step = 8\n"
        "while True: save_state(path, state, config, {'step': str(step)}); step += 1; print(step, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(saved)], stdout=subprocess.PIPE, text=True)
    for _ in range(4):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert int(load_weights(saved)[2]["step"]) >= 10
