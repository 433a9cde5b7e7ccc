"""Weights of the backbones: from a file, from the hub's cache, or an error that says what is wanted."""

import socket
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from glint_label.errors import UsageError, WeightsError
from glint_label.files import sha256_of
from glint_model import GlintConfig, GlintIQA

CONFIG = replace(GlintConfig.tiny(), cnn="resnet10t.c3_in1k", cnn_width=None, frozen_vit_blocks=2, frozen_cnn_stages=1)


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(1)
    return timm.create_model("resnet10t")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and an empty hub cache at the returned place."""

    def fail(*_args, **_kwargs):
        raise socket.gaierror(-3, "no network")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def check_same(model: GlintIQA, resnet) -> None:
    state = resnet.state_dict()
    for name, tensor in model.local_features.cnn.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def write(resnet, path, kind):
    state = resnet.state_dict()
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "torch":
        torch.save(state, path)
    else:  # as training scripts save it
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)


@pytest.mark.parametrize("kind", ["safetensors", "torch", "wrapped"])
def test_a_local_file_of_the_whole_network_is_taken(resnet, tmp_path, kind):
    path = tmp_path / ("r.safetensors" if kind == "safetensors" else "r.pth")
    write(resnet, path, kind)
    model, origins = GlintIQA.start(CONFIG, vit="random", cnn=path)
    check_same(model, resnet)
    assert origins == {"vit_weights": "random", "cnn_weights": f"{path.name} sha256 {sha256_of(path)}"}


def test_random_weights_are_not_frozen_and_given_ones_are(resnet, tmp_path):
    save_file(resnet.state_dict(), tmp_path / "r.safetensors")
    model, _ = GlintIQA.start(CONFIG, vit="random", cnn=tmp_path / "r.safetensors")
    assert model.config == replace(CONFIG, frozen_vit_blocks=0)
    assert all(parameter.requires_grad for parameter in model.global_features.parameters())
    frozen = {name.split(".")[0] for name, p in model.local_features.cnn.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}


def test_the_cache_of_the_hub_is_used_without_a_network(resnet, offline):
    folder = offline / "models--timm--resnet10t.c3_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(resnet.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    model, origins = GlintIQA.start(CONFIG, vit="random", cnn="hub")
    check_same(model, resnet)
    assert origins["cnn_weights"].startswith("hub timm/resnet10t.c3_in1k sha256 ")


def test_without_a_network_the_file_that_is_wanted_is_named(offline):
    with pytest.raises(WeightsError) as caught:
        GlintIQA.start(GlintConfig.paper(), vit="random")
    message = str(caught.value)
    assert "timm/resnet50.tv_in1k/model.safetensors" in message
    assert str(offline) in message
    assert "pass a local file of them, or 'random'" in message
    assert "\n" not in message


def test_packaged_weights_need_no_hub(offline):
    model, origins = GlintIQA.start(GlintConfig.lite(), vit="random", cnn="packaged")
    assert origins["cnn_weights"].startswith("efficientnet-lite0-57934424.pth sha256 579344248a93")
    assert sum(one.numel() for one in model.parameters()) < 8e6
    photo = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = model.local_features.cnn.eval().forward_intermediates(2 * photo - 1, intermediates_only=True)
    assert float(maps[0].abs().mean()) > 0.1  # weights and statistics are there
    with pytest.raises(WeightsError, match=r"resnet10t\.c3_in1k: only tf_efficientnet_lite0 has packaged weights"):
        GlintIQA.start(CONFIG, vit="random", cnn="packaged")


def test_a_width_of_ones_own_has_no_weights_on_the_hub():
    with pytest.raises(UsageError, match="vit_width 48: the hub has no weights of that width; use 'random'"):
        GlintIQA.start(CONFIG, cnn="random")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none.pth: no such file"):
        GlintIQA.start(CONFIG, vit="random", cnn=tmp_path / "none.pth")


@pytest.mark.parametrize("kind", ["text", "truncated", "another network", "another width", "list"])
def test_a_file_that_does_not_fit_is_named(resnet, tmp_path, kind):
    path = tmp_path / "r.pth"
    torch.save(resnet.state_dict(), path)
    if kind == "text":
        path.write_text("no weights")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:10_000])
    elif kind == "another network":
        torch.save({"weight": torch.zeros(2)}, path)
    elif kind == "another width":
        torch.save(timm.create_model("resnet10t", channels=(16, 32, 64, 128)).state_dict(), path)
    else:
        torch.save([1, 2], path)
    with pytest.raises(WeightsError, match=r"r.pth: cannot be loaded as resnet10t") as caught:
        GlintIQA.start(CONFIG, vit="random", cnn=path)
    assert "\n" not in str(caught.value)
