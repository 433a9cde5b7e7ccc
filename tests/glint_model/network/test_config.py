"""The network's settings: presets, the way through JSON, refusals."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from glint_label.errors import GlintError
from glint_model import GlintConfig, GlintIQA

PRESETS = [GlintConfig.paper(), GlintConfig.base(), GlintConfig.tiny(), GlintConfig.lite()]


@pytest.mark.parametrize("config", PRESETS)
def test_settings_survive_json(config):
    assert GlintConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_absent_settings_keep_their_default():
    assert GlintConfig.from_dict({"dropout": 0}) == replace(GlintConfig.paper(), dropout=0.0)


def test_extensions_are_off_in_the_published_network():
    paper = GlintConfig.paper()
    assert paper.attention_temperature == 14  # sqrt(196)
    assert (paper.unscrambled, paper.frozen_batchnorm, paper.vit_width, paper.cnn_width) == (False, False, None, None)
    assert paper.tapped_blocks == (6, 7, 8, 9)
    assert paper.dropout == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 3}, "unknown setting 'depth'"),
        ({"dropout": "high"}, "dropout high: must be a number"),
        ({"dropout": True}, "dropout true: must be something other"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"vit_width": 96.5}, "vit_width 96.5: must be a whole number"),
        ({"tapped_blocks": [9, 6]}, "ascending"),
        ({"tapped_blocks": []}, "ascending"),
        ({"tapped_blocks": [6, "seven"]}, "tapped_blocks"),
        ({"frozen_vit_blocks": 10}, "frozen_vit_blocks 10"),
        ({"frozen_cnn_stages": 4}, "frozen_cnn_stages 4"),
        ({"attention_temperature": 0}, "attention_temperature 0"),
        ({"attention_temperature": float("nan")}, "attention_temperature NaN: must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values, message):
    with pytest.raises(GlintError, match=message):
        GlintConfig.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vit": "vit_of_nobody"}, "timm cannot make 'vit_of_nobody'"),
        ({"vit": "resnet10t", "vit_width": None}, "not a ViT"),
        ({"vit": "vit_small_patch16_384"}, "224"),
        ({"vit": "vit_tiny_patch16_224", "tapped_blocks": (0, 12), "frozen_vit_blocks": 0}, "blocks 0 to 11, not 12"),
        ({"vit_width": 97}, "vit_width 97|embed_dim 97"),
        ({"cnn": "resnet_of_nobody"}, "timm cannot make 'resnet_of_nobody'"),
        ({"cnn": "vit_tiny_patch16_224", "cnn_width": None}, "no feature maps at 1/4"),
        ({"cnn": "convnext_atto", "cnn_width": 16}, "timm cannot make 'convnext_atto'"),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused_by_name(changes, message):
    with pytest.raises(GlintError, match=message) as caught:
        GlintIQA(replace(GlintConfig.tiny(), **changes))
    assert "\n" not in str(caught.value)


def test_settings_can_be_had_without_torch():
    code = "import sys; from glint_model import GlintConfig; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
