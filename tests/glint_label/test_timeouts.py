"""How long a photo may take."""

import pytest

from glint_label.errors import UsageError
from glint_label.timeouts import time_limit


def test_larger_pictures_may_take_longer():
    assert time_limit((512, 384), 300) == 300
    assert time_limit((256, 192), 300) == 300
    assert time_limit((1024, 768), 300) == 1200
    assert time_limit(None, 300) == 3000


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_no_time_at_all_is_refused(seconds):
    with pytest.raises(UsageError, match="--photo-timeout"):
        time_limit(None, seconds)
