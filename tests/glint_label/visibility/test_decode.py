"""One decode of a photo for all that is measured of it: what it finds, and the memory that it takes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from glint_label.embed.statistics import StatisticsPreparation
from glint_label.visibility import DecodePhotos, DecodeTask
from tests.conftest import make_photo, save_photos

# The decoded photo (36 MB), Pillow's own copy of it, its luma, and float32 planes of the statistics, a few at a time.
MOST_MEGABYTES = 300


def test_a_bad_photo_is_a_failure_with_its_reason_and_without_its_path(tmp_path):
    path = tmp_path / "half.png"
    Image.fromarray(make_photo(1)).save(path)
    path.write_bytes(path.read_bytes()[:500])
    decoded = DecodePhotos(StatisticsPreparation())(DecodeTask("half.png", path))
    assert decoded.failure is not None
    reason, message = decoded.failure
    assert reason == "truncated"
    assert str(tmp_path) not in message
    assert decoded.hash is None


def no_memory(_: np.ndarray) -> np.ndarray:
    return torch.empty(1 << 50).numpy()


def test_a_photo_that_cannot_be_measured_for_want_of_memory_is_a_failure(tmp_path):
    save_photos(tmp_path, ["a.png"])
    reason, message = DecodePhotos(no_memory)(DecodeTask("a.png", tmp_path / "a.png")).failure
    assert reason == "memory"
    assert message.startswith("not enough memory to measure it")


def test_features_are_measured_where_seeds_are_given(tmp_path):
    save_photos(tmp_path, ["a.png"])
    decode = DecodePhotos(StatisticsPreparation(), (("jpeg", 3),))
    with_features = decode(DecodeTask("a.png", tmp_path / "a.png", (7,)))
    without = decode(DecodeTask("a.png", tmp_path / "a.png"))
    assert with_features.features.shape[0] == 1
    assert without.features is None
    np.testing.assert_array_equal(with_features.prepared, without.prepared)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_a_photo_of_12_megapixels_takes_a_bounded_share_of_memory(tmp_path):
    path = tmp_path / "large.jpg"
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(path, quality=90)
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from glint_label.embed.statistics import StatisticsPreparation\n"
        "from glint_label.visibility import DecodePhotos, DecodeTask, features\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "task = DecodeTask('large.jpg', Path(sys.argv[1]), (1,))\n"
        "decoded = DecodePhotos(StatisticsPreparation(), (('jpeg', 3),))(task)\n"
        "assert decoded.failure is None\nprint(peak() - before)"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert float(result.stdout) < MOST_MEGABYTES
