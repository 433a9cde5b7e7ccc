"""The report of a build as a file: what is in it, what is not, and that it is the same every time."""

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import Markup

from glint_label.distortions import distort
from glint_label.errors import OutputError
from glint_label.images import SEEN, read_photo
from glint_label.manifest import read_manifest
from glint_label.manifest.inspect import inspect_build
from glint_label.report import Picture, Sprites, histogram, render_page, report_build, write_page
from glint_label.report.page import MOST_BYTES
from glint_label.report.sprites import encode_full, shrink
from glint_label.report.svg import Scale
from tests.conftest import make_photo
from tests.glint_label.report.conftest import MARKUP


class Elements(HTMLParser):
    """Collect a page's elements, its text, and what its scripts and styles hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        last = self.tags[-1][0] if self.tags else ""
        if last in self.raw and self.cdata_elem == last:
            self.raw[last].append(data)
        else:
            self.text += data


def parts(html: str) -> tuple[dict, dict]:
    """Read the two blocks of JSON."""
    found = re.findall(r'<script type="application/json" id="\w+">(.*?)</script>', html, re.DOTALL)
    return tuple(json.loads(text) for text in found)


def test_nothing_is_asked_for_and_the_policy_allows_just_what_is_there(html):
    page = Elements(html)
    (policy,) = (attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind, content in (("style", page.raw["style"][0]), ("script", page.raw["script"][-1])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for _, attrs in page.tags:
        assert not {"style", "onclick", "onerror", "onload"} & set(attrs)
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))


def test_a_name_that_is_markup_stays_text(html):
    assert "<img" not in html.partition('<script type="application/json"')[0]
    assert MARKUP in Elements(html).text
    assert "onerror=alert(1)>" not in html


def test_it_answers_the_questions_in_order_and_holds_counts_not_rows(built, html):
    page = Elements(html)
    words = ("how was it made", "How good", "look like", "come from", "pixels", "went wrong")
    headings = re.findall("<h2>(.*?)</h2>", html)
    assert all(word in heading for word, heading in zip(words, headings, strict=True))
    rows = read_manifest(built)
    data, _ = parts(html)
    counts = Counter()
    for name, level, split, bands in data["cells"]:
        counts[name, level, split] += sum(sum(band) for band in bands if band)
    assert counts == Counter(zip(rows["dist_name"], rows["dist_level"], rows["split"], strict=True))
    assert "1 of other photos" in page.text
    assert "damaged.png" in page.text


def test_pictures_are_made_as_render_makes_them(built, html):
    _, pictures = parts(html)
    assert len(pictures) == 30  # three photos, two distortions, five levels
    rows = read_manifest(built)
    known = {f"{row.reference_id}-{row.dist_name}-{row.dist_level}": row for row in rows.itertuples()}
    assert set(pictures) <= set(known)
    row = known[next(iter(pictures))]
    photo = read_photo(built.parent / "refs" / row.reference, size=SEEN).pixels
    wanted = encode_full(distort(photo, row.dist_name, row.dist_level, seed=row.seed))
    assert base64.b64decode(pictures[next(iter(pictures))].partition(",")[2]) == wanted
    assert all(url.startswith("data:image/webp;base64,UklGR") for url in pictures.values())


def test_the_same_build_gives_the_same_bytes(built, html):
    assert report_build(built, inspect_build(built)) == html


def test_without_the_photos_it_says_so(built, tmp_path):
    text = Elements(report_build(built, inspect_build(built), tmp_path / "gone")).text
    assert "The photos are not on this machine" in text
    assert "This report has no pictures" in text
    assert MARKUP in text


def test_a_photo_that_has_changed_is_left_out_of_the_pictures(built, tmp_path):
    run = json.loads((built / "run.json").read_text())
    moved = tmp_path / "refs"
    moved.mkdir()
    for name in ("photo 1.png", "photo 2.png"):
        (moved / name).write_bytes(((built.parent / "refs") / name).read_bytes() + b"!" * (name == "photo 1.png"))
    assert run["refs"] != str(moved)
    html = report_build(built, inspect_build(built), moved)
    assert 'aria-label="Photo photo 1.png"' not in html
    assert len(parts(html)[1]) == 10


def test_full_pictures_stop_where_the_file_would_grow_too_large():
    big = [Picture(f"p{number}", bytes([number]) * 700_000) for number in range(5)]
    context = {"figures": None, "distortions": (), "levels": (), "label_range": (), "splits": (), "similarity": False}
    html = render_page("page.html.j2", context, pictures=big)
    assert len(html.encode()) <= MOST_BYTES
    assert list(parts(html)[1]) == ["p0", "p1", "p2"]


def test_thumbnails_keep_their_shape_and_lie_beside_each_other():
    sheet = Sprites("test", (40, 30))
    wide = sheet.add(shrink(make_photo(1, 400, 100), (40, 30)))
    tall = sheet.add(shrink(make_photo(2, 100, 200), (40, 30)))
    assert ((wide.width, wide.height), (tall.width, tall.height)) == ((40, 10), (15, 30))
    assert (tall.x, tall.y) == (40, 0)
    found = sheet.finish()
    assert (found.width, found.height) == (80, 30)
    assert shrink(np.zeros((20, 10, 3), np.uint8), (40, 30)).shape == (20, 10, 3)  # never enlarged
    assert encode_full(make_photo(3))[8:12] == b"WEBP"


def test_charts_escape_what_they_are_given():
    chart = histogram([0, 1, 2], [3, 4], "<b>label</b>", name='"x"')
    assert isinstance(chart, Markup)
    assert "&lt;b&gt;label" in chart
    assert "<b>" not in chart


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1, 5, [1, 2, 3, 4, 5]), (0, 0.87, [0, 0.2, 0.4, 0.6, 0.8]), (0, 3963, [0, 1000, 2000, 3000]), (2, 2, [2])],
)
def test_ticks_are_round(low, high, ticks):
    assert Scale(low, high, 0, 100).ticks() == ticks


def test_a_file_that_cannot_be_written_keeps_what_is_there(tmp_path):
    (tmp_path / "report").write_text("old")
    with pytest.raises(OutputError, match="choose another --html"):
        write_page(tmp_path / "report" / "a.html", "new")
    assert (tmp_path / "report").read_text() == "old"
