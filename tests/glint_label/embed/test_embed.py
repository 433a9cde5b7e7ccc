"""Embedders: the real loading code, on weights made on the spot."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glint_label.embed import make_embedder
from glint_label.embed.statistics import StatisticsEmbedder
from glint_label.errors import InputError, UsageError, WeightsError
from tests.conftest import make_photo

PHOTOS = [make_photo(seed, 120, 90) for seed in range(3)]
PATHS = [Path(f"{number}.png") for number in range(3)]


@pytest.fixture(scope="session")
def clip_weights(tmp_path_factory) -> Path:
    """The state dict of a randomly initialised ViT-B-32."""
    import open_clip
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "vit-b-32.pt"
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)
    return path


@pytest.fixture(scope="session")
def clip(clip_weights):
    return make_embedder("clip", [], clip_weights=clip_weights, device="cpu")


def embed(embedder, photos=PHOTOS, paths=PATHS):
    return embedder.embed([None if photo is None else embedder.preparation(photo) for photo in photos], paths)


def test_clip_gives_what_open_clip_gives(clip, clip_weights):
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=str(clip_weights))
    with torch.inference_mode():
        batch = torch.stack([preprocess(Image.fromarray(photo)) for photo in PHOTOS])
        expected = model.eval().encode_image(batch).numpy()
    np.testing.assert_allclose(embed(clip), expected, atol=1e-5)
    unit = clip.normalise(expected, expected)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_clip_takes_the_preprocessing_and_activation_of_the_tag(clip_weights):
    import open_clip

    embedder = make_embedder("clip", [], clip_model="ViT-B-32:openai", clip_weights=clip_weights, device="cpu")
    reference = open_clip.get_pretrained_cfg("ViT-B-32", "openai")
    assert embedder.describe()["preprocessing"]["mean"] == reference["mean"]
    activations = {type(module).__name__ for module in embedder._placed.network.modules()}
    assert "QuickGELU" in activations


def test_clip_says_which_weights_it_used(clip, clip_weights):
    from glint_label.files import sha256_of

    described = clip.describe()
    assert described["weights_sha256"] == sha256_of(clip_weights)
    assert described["precision"] == "float32"
    assert described["preprocessing"]["size"] in (224, (224, 224))


def test_a_vector_does_not_depend_on_which_others_failed(clip):
    together = embed(clip)
    np.testing.assert_array_equal(embed(clip, [None, PHOTOS[1], None])[1], together[1])
    assert not embed(clip, [None, PHOTOS[1], None])[0].any()


def test_preparations_travel_to_workers_small(clip):
    travelled = pickle.dumps(clip.preparation)
    assert len(travelled) < 2000
    np.testing.assert_array_equal(pickle.loads(travelled)(PHOTOS[0]), clip.preparation(PHOTOS[0]))


def test_an_embedder_travels_to_where_a_gpu_is(clip):
    np.testing.assert_array_equal(embed(pickle.loads(pickle.dumps(clip))), embed(clip))


@pytest.mark.slow
def test_hybrid_mixes_the_similarities_of_both(clip_weights, clip):
    hybrid = make_embedder("hybrid", [], clip_weights=clip_weights, device="cpu")
    statistics = StatisticsEmbedder()
    mixed = hybrid.normalise(embed(hybrid), embed(hybrid))
    plain = statistics.normalise(embed(statistics), embed(statistics))
    centred = embed(clip) - embed(clip).mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(mixed @ mixed.T, 0.9 * plain @ plain.T + 0.1 * centred @ centred.T, atol=1e-4)


def test_resnet101_gives_what_timm_gives(tmp_path):
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model("resnet101.tv_in1k", pretrained=False, num_classes=0)
    path = tmp_path / "resnet101.pth"
    torch.save(model.state_dict(), path)
    embedder = make_embedder("resnet101", [], resnet_weights=path, device="cpu")
    image = torch.from_numpy(PHOTOS[0]).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = model.eval()((image - mean) / std)[0].numpy()
    vectors = embed(embedder, [PHOTOS[0], None, PHOTOS[2]])
    np.testing.assert_allclose(vectors[0], expected, rtol=1e-4, atol=1e-5)
    assert not vectors[1].any()


def test_statistics_know_flat_from_busy_and_grey_from_colour():
    rng = np.random.default_rng(0)
    flat = np.full((100, 100, 3), 120, np.uint8)
    busy = rng.integers(0, 256, (100, 100, 1), dtype=np.uint8).repeat(3, axis=2)
    prepare = StatisticsEmbedder().preparation
    plain, noisy = prepare(flat), prepare(busy)
    assert plain.shape == (41,)
    assert np.isfinite(plain).all()
    assert plain[0] == pytest.approx(120 / 255, abs=1e-6)  # mean luma
    assert plain[-3] == 1  # all windows are flat
    assert noisy[-3] == 0
    assert (noisy[10:28] > plain[10:28]).all()  # every band carries more
    red = flat.copy()
    red[..., 1:] = 20
    assert prepare(red)[6] > plain[6] + 0.5  # mean saturation


def test_statistics_of_a_huge_photo_are_those_of_the_photo_reduced():
    small = make_photo(5, 700, 500)
    huge = small.repeat(3, axis=0).repeat(3, axis=1)
    prepare = StatisticsEmbedder().preparation
    np.testing.assert_allclose(prepare(huge), prepare(small), atol=0.05)


def save_vectors(path: Path, names: list[str], vectors: np.ndarray) -> str:
    np.savez(path, names=np.array(names), vectors=vectors)
    return f"file:{path}"


def test_vectors_are_found_by_the_end_of_the_path(tmp_path):
    photos = [Path("/data/set/a/1.png"), Path("/data/set/aa/1.png"), Path("/data/kadid10k/images/I01.png")]
    name = save_vectors(tmp_path / "v.npz", ["I01.png", "a/1.png", "aa/1.png", "unused.png"], np.eye(4))
    vectors = make_embedder(name, photos).embed([1, 1, None], photos)
    np.testing.assert_array_equal(vectors[:2], np.eye(4)[[1, 2]])
    assert not vectors[2].any()


@pytest.mark.parametrize(
    ("names", "vectors", "words"),
    [
        (["a/1.png"], np.eye(1), "has no vector for /data/b/2.png"),
        (["1.png", "a/1.png", "2.png"], np.eye(3), "both fit /data/a/1.png"),
        (["a/1.png", "2.png", "2.png"], np.eye(3), "names '2.png' twice"),
        (["a/1.png", "2.png"], np.array([[1, 0], [np.nan, 0]]), "of '2.png' holds NaN"),
        (["a/1.png", "2.png"], np.array([[1, 0], [0, 0]]), "all zeros"),
        (["a/1.png", "2.png"], np.eye(3), "must hold text names"),
        (["a/1.png", "2.png"], np.array([["x", "y"]] * 2), "not numbers"),
        ([b"a/1.png", b"2.png"], np.array([[object()], [object()]]), "not an .npz file with plain arrays"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path, names, vectors, words):
    name = save_vectors(tmp_path / "v.npz", names, vectors)
    with pytest.raises(InputError, match=words):
        make_embedder(name, [Path("/data/a/1.png"), Path("/data/b/2.png")])


def test_one_vector_for_two_photos_is_ambiguous(tmp_path):
    name = save_vectors(tmp_path / "v.npz", ["1.png"], np.eye(1))
    with pytest.raises(InputError, match=r"fits both /data/a/1\.png and /data/b/1\.png"):
        make_embedder(name, [Path("/data/a/1.png"), Path("/data/b/1.png")])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"text"])
def test_a_broken_vector_file_is_refused(tmp_path, content):
    (tmp_path / "v.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"not an \.npz"):
        make_embedder(f"file:{tmp_path / 'v.npz'}", [])
    with pytest.raises(InputError, match="no such file"):
        make_embedder(f"file:{tmp_path / 'w.npz'}", [])


@pytest.mark.parametrize("name", ["truncated.pt", "truncated.safetensors", "other.pt"])
def test_weights_that_do_not_load_are_named(tmp_path, clip_weights, name):
    import torch

    path = tmp_path / name
    if name == "other.pt":
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(clip_weights.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=f"{name}: cannot be loaded as ViT-B-32"):
        make_embedder("clip", [], clip_weights=path, device="cpu")


def test_weights_may_not_carry_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError, match=r"evil\.pt: cannot be loaded"):
        make_embedder("clip", [], clip_weights=tmp_path / "evil.pt", device="cpu")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("embedder", "file"),
    [
        ("clip", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K/open_clip_model.safetensors"),
        ("resnet101", "timm/resnet101.tv_in1k/model.safetensors"),
    ],
)
def test_no_weights_and_no_network_is_one_line_that_helps(tmp_path, refs, rated, embedder, file):
    options = f"--refs {refs} --source custom --source-dir {rated} --out {tmp_path / 'out'} --embedder {embedder}"
    process = subprocess.run(
        [sys.executable, "-m", "glint_cli.main", "build", *options.split()],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )
    assert process.returncode == 3
    (line,) = process.stderr.strip().splitlines()
    for words in (file, str(tmp_path / "hub"), f"--{embedder.removesuffix('101')}-weights", "--embedder packaged"):
        assert words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"name": "vgg"},
            "unknown embedder 'vgg'; known are clip, resnet101, efficientnet, statistics, packaged, hybrid",
        ),
        ({"name": "clip", "clip_model": "ViT-Z:openai"}, "knows no architecture 'ViT-Z'"),
        ({"name": "clip", "clip_model": "ViT-B-32:mine"}, "has no weights tag 'mine'; known are .*openai"),
        ({"name": "clip", "device": "cuda:77"}, "--device cuda:77: not usable here"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(options, words):
    options = dict(options)
    with pytest.raises(UsageError, match=words):
        make_embedder(options.pop("name"), [], **options)
