"""The report of a build in a browser: it runs, asks for nothing, can be filtered, read on a phone and by everybody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import launch, violations
from tests.glint_label.report.conftest import MARKUP

WIDTHS = (1280, 390)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def file(html, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html)
    return path


@pytest.fixture
def opened(browser, file):
    """Open the report in a window of 1280 px; what it says and asks for is in `said` and `asked`."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    page.close()


def shown(page: Any, selector: str) -> int:
    return sum(element.is_visible() for element in page.query_selector_all(selector))


def test_it_says_nothing_and_asks_for_nothing(opened, file):
    opened.mouse.wheel(0, 20_000)
    opened.wait_for_function("document.querySelectorAll('.tile.full').length > 0")
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()]


def test_a_name_that_is_markup_shows_as_text(opened):
    assert MARKUP in opened.inner_text("main")
    assert opened.query_selector_all("img") == []


def test_filters_change_what_is_shown(opened):
    bars = "[...document.querySelectorAll('[data-bars] rect')].map(bar => bar.getAttribute('height')).join()"
    before, everything = opened.evaluate(bars), shown(opened, ".tile")
    assert everything == 30
    opened.select_option("[name=distortion]", "lens_blur")
    assert shown(opened, ".tile") == 15
    assert shown(opened, ".small-plots figure") == 1
    assert "15 of 30 pictures" in opened.inner_text("#matches")
    assert opened.evaluate(bars) != before
    opened.select_option("[name=level]", "5")
    assert shown(opened, ".tile") == 3
    opened.fill("[name=label-to]", "1")
    assert shown(opened, ".tile") == 0
    assert opened.locator("#pixels .none").first.is_visible()
    opened.click("button[type=reset]")
    opened.wait_for_function(f"document.querySelectorAll('.tile:not([hidden])').length === {everything}")
    opened.fill("[name=text]", "ONERROR")
    names = {
        card.get_attribute("data-text") for card in opened.query_selector_all("article.card") if card.is_visible()
    }
    assert all("onerror" in name for name in names if name)
    opened.fill("[name=text]", "")
    opened.fill("[name=similarity-from]", "0.99")
    assert shown(opened, ".tile") < everything


def test_a_picture_opens_at_its_natural_size_and_by_keyboard(opened):
    opened.locator(".tile.full").first.focus()
    opened.keyboard.press("Enter")
    image = opened.wait_for_selector("#viewer img")
    sizes = "image => [image.naturalWidth, image.naturalHeight, image.clientWidth, image.clientHeight]"
    opened.wait_for_function("document.querySelector('#viewer img').complete")
    assert image.evaluate(sizes) == [96, 80, 96, 80]
    title = opened.inner_text("#viewer-title")
    opened.keyboard.press("ArrowRight")
    assert opened.inner_text("#viewer-title") != title
    opened.keyboard.press("Escape")
    opened.wait_for_selector("#viewer", state="hidden")
    assert "tile" in opened.evaluate("document.activeElement.className")


def test_thumbnails_show_their_part_of_the_sheet(opened):
    sheet = opened.evaluate(
        """async () => {
            const sheet = document.querySelector('#sheet-tiles'), image = new Image();
            image.src = sheet.getAttribute('href');
            await image.decode();
            const said = ['width', 'height'].map((name) => Number(sheet.getAttribute(name)));
            return [image.naturalWidth, image.naturalHeight, ...said];
        }"""
    )
    assert sheet[:2] == sheet[2:]
    for box in opened.eval_on_selector_all(".tile svg", "all => all.map(one => one.getAttribute('viewBox'))"):
        x, y, width, height = map(int, box.split())
        assert x + width <= sheet[0]
        assert y + height <= sheet[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_everybody_can_read_it_on_any_screen(browser, file, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert violations(page) == []
    page.close()


def test_it_prints_everything(browser, file):
    page = browser.new_page()
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    assert not page.locator(".filters").is_visible()
    assert len(page.pdf()) > 50_000
    page.close()
