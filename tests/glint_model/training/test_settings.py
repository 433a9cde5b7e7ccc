"""Settings: presets, what lies over them, what is refused."""

import pytest
import yaml

from glint_label.errors import UsageError
from glint_label.settings import differences
from glint_model.training.settings import PRESETS, resolve


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_file(name):
    preset = PRESETS[name]
    assert preset.preset == name
    entries = yaml.safe_load(preset.to_yaml())
    assert resolve(entries["preset"], entries) == preset


def test_paper_is_the_published_protocol():
    paper = PRESETS["paper"]
    assert (paper.optimizer, paper.lr, paper.weight_decay, paper.schedule, paper.period) == (
        "adam", 1e-5, 1e-5, "oscillating", 30,
    )  # fmt: skip
    assert (paper.batch_size, paper.epochs, paper.crops, paper.group, paper.reuse) == (128, 50, 1, 1, 1)
    extensions = (paper.rank_weight, paper.noise_weighting, paper.ema, paper.grad_clip, paper.fan_in)
    assert not any((*extensions, paper.init_bias_to_mean))
    assert (paper.network.frozen_vit_blocks, paper.network.frozen_cnn_stages) == (5, 2)
    assert not paper.network.frozen_batchnorm


def test_given_settings_lie_over_the_preset():
    config = resolve("default-tiny", {"lr": "1e-4", "network": {"dropout": 0.2}, "epochs": 2})
    assert config.lr == 1e-4
    assert config.network.dropout == 0.2
    assert config.network.vit_width == PRESETS["default-tiny"].network.vit_width
    assert (config.steps, config.epochs) == (None, 2)
    assert resolve("default-tiny", {"steps": 7}).steps == 7


def test_batchnorm_is_not_frozen_over_random_weights():
    assert PRESETS["default"].network.frozen_batchnorm
    assert not resolve("default", {"cnn_weights": "random"}).network.frozen_batchnorm
    given = {"cnn_weights": "random", "network": {"frozen_batchnorm": True}}
    assert resolve("default", given).network.frozen_batchnorm


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lr": 0}, "lr 0: must be above 0"),
        ({"lr": float("nan")}, "lr NaN: must be a number"),
        ({"ema": 1}, "ema 1: must be below 1"),
        ({"group": 1}, "the rank loss compares images inside a group"),
        ({"batch_size": 30}, "must be a multiple of group x accumulate"),
        ({"optimizer": "sgd"}, "optimizer sgd: must be one of adam, adamw"),
        ({"noise_weighting": "yes"}, "noise_weighting yes: must be true or false"),
        ({"steps": 1.5}, "--steps 1.5"),
        ({"exclude_anchors": "I01"}, "exclude-anchors I01: must be a list"),
        ({"network": 3}, "is not a mapping of network settings"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, words):
    with pytest.raises(UsageError) as caught:
        resolve("default", given)
    assert words in str(caught.value)


def test_differences_name_what_changed():
    old, new = {"lr": 1, "network": {"a": 1, "b": 2}}, {"lr": 2, "network": {"a": 1, "b": 3}}
    assert differences(old, new) == ["lr: 1 -> 2", "network.b: 2 -> 3"]
