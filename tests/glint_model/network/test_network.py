"""The network against a literal transcription of the published equations, its size, and what training leaves alone."""

from dataclasses import replace
from math import erf, sqrt

import pytest
import timm
import torch
from torch import Tensor
from torch.func import functional_call

from glint_model import GlintConfig, GlintIQA

# As published but for the widths: quick enough for float64.
NARROW = replace(GlintConfig.paper(), vit_width=96, cnn_width=16)
TINY = GlintConfig.tiny()


def lively(config: GlintConfig, seed: int = 0) -> GlintIQA:
    """A network none of whose tensors hides behind a zero, a one or a flat attention."""
    torch.manual_seed(seed)
    model = GlintIQA(replace(config, identity_init=False))
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.2 * torch.randn_like(tensor))
    return model


def tapped(network, prefix: str, layers: list[str], parameters: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """Run timm's whole network on our weights and take what comes out of the layers."""
    outputs = {}
    modules = dict(network.named_modules())
    handles = [
        modules[layer].register_forward_hook(lambda _m, _i, output, layer=layer: outputs.update({layer: output}))
        for layer in layers
    ]
    ours = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    assert set(ours) <= set(network.state_dict())
    functional_call(network, ours, images)
    for handle in handles:
        handle.remove()
    return [outputs[layer] for layer in layers]


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.einsum("...i,oi->...o", x, weight) + bias


def patches(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution whose stride is its kernel: (B, C, H, W) -> (B, N, D)."""
    size = weight.shape[2]
    cut = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, rows, size, columns, size)
    return torch.einsum("bcisjt,dcst->bijd", cut, weight).flatten(1, 2) + bias


def cwsa(x: Tensor, p: dict[str, Tensor], name: str, temperature: float, unscrambled: bool) -> Tensor:
    """X + LayerNorm(reread(softmax(cos(Q, K) / temperature) V)), x (B, C, N)."""
    batch, channels, tokens = x.shape
    weights, biases = p[f"{name}.to_qkv.weight"].chunk(3), p[f"{name}.to_qkv.bias"].chunk(3)
    q, k, v = (linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))
    q, k = (each / each.square().sum(2, keepdim=True).sqrt() for each in (q, k))
    a = torch.exp(torch.einsum("bcn,bdn->bcd", q, k) / temperature)
    y = torch.einsum("bcd,bdn->bcn", a / a.sum(2, keepdim=True), v)
    if not unscrambled:
        place = torch.arange(channels * tokens)  # in the memory of (tokens, channels)
        y = y[:, place % channels, place // channels].reshape(batch, channels, tokens)
    centred = y - y.mean(2, keepdim=True)
    normal = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    return x + normal * p[f"{name}.norm.weight"] + p[f"{name}.norm.bias"]


def siem(x: Tensor, weight: Tensor) -> Tensor:
    """A 3 x 3 convolution as nine shifts: (B, 2D, N) -> (B, N, D)."""
    side = round(sqrt(x.shape[2]))
    grid = torch.nn.functional.pad(x.unflatten(2, (side, side)), (1, 1, 1, 1))
    shifts = [(row, column) for row in range(3) for column in range(3)]
    terms = [
        torch.einsum("bcij,dc->bijd", grid[:, :, r : r + side, c : c + side], weight[:, :, r, c]) for r, c in shifts
    ]
    return sum(terms).flatten(1, 2)


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / sqrt(2))) / 2


def transcription(model: GlintIQA, p: dict[str, Tensor], crops: Tensor) -> Tensor:
    """Score crops by the equations alone; p are the network's parameters and buffers by name."""
    config = model.config
    images = (crops - 0.5) / 0.5
    vit_options = {} if config.vit_width is None else {"embed_dim": config.vit_width}
    vit = timm.create_model(config.vit, **vit_options).double().train(model.training)
    taps = [f"blocks.{block}" for block in config.tapped_blocks]
    content = [tokens[:, 1:] for tokens in tapped(vit, "global_features.vit.", taps, p, images)]  # without CLS
    width = config.cnn_width
    cnn_options = {} if width is None else {"stem_width": width // 2, "channels": [width << n for n in range(4)]}
    cnn = timm.create_model(config.cnn, **cnn_options).double().train(model.training)
    maps = tapped(cnn, "local_features.cnn.", ["layer1", "layer2", "layer3"], p, images)
    name = "local_features.embeddings"
    local = [patches(x, p[f"{name}.{i}.weight"], p[f"{name}.{i}.bias"]) for i, x in enumerate(maps)]
    attention = {"temperature": config.attention_temperature, "unscrambled": config.unscrambled}
    mixed = cwsa(torch.cat(local, dim=2).transpose(1, 2), p, "local_attention", **attention).transpose(1, 2)
    running = linear(mixed, p["local_projection.weight"], p["local_projection.bias"])
    for step, tokens in enumerate(content):
        joined = torch.cat([tokens, running], dim=2).transpose(1, 2)
        running = siem(cwsa(joined, p, f"attentions.{step}", **attention), p[f"interactions.{step}.conv.weight"])
    hidden = gelu(linear(running.mean(dim=1), p["head.hidden.weight"], p["head.hidden.bias"]))
    return linear(hidden, p["head.score.weight"], p["head.score.bias"])[:, 0]


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(
    "config",
    [NARROW, replace(NARROW, unscrambled=True, attention_temperature=0.1), TINY],
    ids=["published", "extensions", "tiny"],
)
def test_forward_and_backward_are_the_published_equations(config, training):
    model = lively(replace(config, dropout=0, frozen_vit_blocks=0, frozen_cnn_stages=0)).double().train(training)
    crops = torch.rand(2, 3, 224, 224, dtype=torch.float64)
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    parameters = {name: state[name].requires_grad_() for name, _ in model.named_parameters()}
    expected = transcription(model, state, crops)
    expected_gradients = torch.autograd.grad(expected @ weights, list(parameters.values()))
    scores = model(crops)
    (scores @ weights).backward()
    torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-9)
    for (name, parameter), gradient in zip(model.named_parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
def test_the_full_size_is_the_published_equations():
    model = lively(GlintConfig.paper()).double().eval()
    crops = torch.rand(1, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(crops), transcription(model, model.state_dict(), crops), rtol=1e-9, atol=1e-9)


def test_reading_the_transpose_is_no_identity():
    published, plain = (lively(replace(NARROW, unscrambled=flag)).eval() for flag in (False, True))
    crops = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert abs(published(crops) - plain(crops)).item() > 1e-3


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def test_size_is_the_published_one_without_what_never_reaches_the_score():
    model = GlintIQA(GlintConfig.paper())
    vit = timm.create_model(GlintConfig.paper().vit)  # as published: blocks 10 and 11, norm and classifier included
    unused = count(vit.blocks[10:].parameters()) + count(vit.norm.parameters()) + count(vit.head.parameters())
    trainable = count(p for p in model.parameters() if p.requires_grad)
    assert unused == 2 * 1_774_464 + 768 + 385_000
    assert count(model.parameters()) == 41_201_877
    assert trainable == 30_589_333
    assert count(model.parameters()) + unused == 45_136_573  # 45.14 M
    assert trainable + unused == 34_524_029  # 34.52 M
    parts = {
        "vit": (count(model.global_features.parameters()) + unused, 22_050_664),
        "cnn": (count(model.local_features.cnn.parameters()), 8_543_296),
        "embeddings": (count(model.local_features.embeddings.parameters()), 2_753_664),
        "attentions": (count(model.local_attention.parameters()) + count(model.attentions.parameters()), 581_140),
        "projection": (count(model.local_projection.parameters()), 442_752),
        "interactions": (count(model.interactions.parameters()), 10_616_832),
        "head": (count(model.head.parameters()), 148_225),
    }
    assert {name: found for name, (found, _) in parts.items()} == {name: due for name, (_, due) in parts.items()}


def test_tiny_stays_tiny():
    assert count(GlintIQA(TINY).parameters()) == 542_583


def test_what_is_published_as_frozen_is_frozen_and_nothing_else():
    model = GlintIQA(GlintConfig.paper())
    vit, cnn = "global_features.vit.", "local_features.cnn."
    blocks = tuple(f"{vit}blocks.{number}." for number in range(5))
    stages = tuple(f"{cnn}{name}." for name in ("conv1", "bn1", "layer1", "layer2"))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith((f"{vit}patch_embed.", *blocks, *stages)), name


@pytest.mark.parametrize("config", [NARROW, TINY], ids=["published", "tiny"])
def test_gradients_reach_every_parameter_that_is_trained(config):
    model = lively(config).train()
    model(torch.rand(2, 3, 224, 224)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None, name


def test_identity_init_begins_with_the_local_branch_alone():
    model = GlintIQA(TINY).eval()
    crops = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        running = model.local_projection(model.local_features(2 * crops - 1).transpose(1, 2))
        torch.testing.assert_close(model(crops), model.head(running.transpose(1, 2)), rtol=0, atol=1e-5)


def test_identity_init_ends_with_gradients_everywhere():
    torch.manual_seed(0)
    model = GlintIQA(TINY).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.rand(4, 3, 224, 224)).square().sum().backward()
        optimizer.step()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


def statistics(model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_buffers() if "running" in name}


def test_statistics_of_frozen_layers_move_on_as_published():
    model = lively(NARROW).train()
    before = statistics(model)
    model(torch.rand(2, 3, 224, 224))
    assert before
    assert all(not torch.equal(before[name], value) for name, value in statistics(model).items())


def test_frozen_batchnorm_uses_its_statistics_and_keeps_them():
    model = lively(replace(TINY, frozen_batchnorm=True, dropout=0)).eval().train()
    before = statistics(model)
    crops = torch.rand(3, 3, 224, 224)
    together = model(crops)
    assert all(torch.equal(before[name], value) for name, value in statistics(model).items())
    alone = torch.cat([model(crop[None]) for crop in crops])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_scores_are_not_rounded_to_half_precision():
    model = lively(TINY).eval()
    with torch.no_grad():
        model.head.score.bias.fill_(4)
        crops = torch.rand(4, 3, 224, 224)
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(crops)
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, model(crops), rtol=0, atol=5e-3)


def test_other_backbones_fit():
    config = replace(
        GlintConfig.base(),
        vit="vit_tiny_patch16_224",
        tapped_blocks=(1, 2),
        frozen_vit_blocks=1,
        cnn="convnext_atto",
    )
    assert GlintIQA(config)(torch.rand(1, 3, 224, 224)).shape == (1,)


def test_gelu_of_the_transcription_is_the_exact_one():
    assert gelu(torch.tensor(1.0)).item() == pytest.approx((1 + erf(1 / sqrt(2))) / 2)
