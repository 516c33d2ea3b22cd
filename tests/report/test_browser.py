"""The pages in headless Chromium: no error, no request; hover, click, zoom and keys; both widths."""

import os
import shutil

import pytest

from simclr_tf.report import run_page
from simclr_tf.runs import restore
from tests.report.runs import labelled_run, unlabelled_run
from tests.report.test_run_page import small

pytestmark = [pytest.mark.slow, pytest.mark.one_stack]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="module")
def paths(tmp_path_factory, browser):
    """{kind: path of a page}."""
    folder = tmp_path_factory.mktemp("browser")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        for kind, make in (("labelled", labelled_run), ("unlabelled", unlabelled_run)):
            run_dir = make(folder / kind)
            path = os.path.join(run_dir, "report", "index.html")
            found[kind] = run_page.write_run_page(run_dir, path, restore.load_trained(run_dir))
    return found


def opened(browser, path, width=1200, scheme="light"):
    """A page, with what it complained about and asked for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.complaints.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
    page.goto(f"file://{path}")
    page.wait_for_function("() => !document.getElementById('chart-map') || window.mapState")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_it_loads_quietly_and_fits(browser, paths, kind, width, scheme):
    page = opened(browser, paths[kind], width, scheme)
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = "document.querySelectorAll('.chart').length == document.querySelectorAll('.chart svg, .chart canvas').length"  # fmt: skip
    assert page.evaluate(drawn)
    ground, ink = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")  # fmt: skip
    light = [sum(map(int, one[4:-1].split(","))) for one in (ground, ink)]
    assert light[0] > light[1] if scheme == "light" else light[0] < light[1]
    page.context.close()


def place_of(page, row):
    """Where a point of the map is, in pixels of the window."""
    return page.evaluate(
        """row => {
            const place = document.getElementById('chart-map');
            place.scrollIntoView({ behavior: 'instant', block: 'center' });
            const at = mapState.chart.convertToPixel({ seriesIndex: 0 }, mapState.map.points[row]);
            const box = place.getBoundingClientRect();
            return [box.x + at[0], box.y + at[1]];
        }""",
        row,
    )


def test_the_map_answers_hover_and_click(browser, paths):
    page = opened(browser, paths["labelled"])
    name = page.evaluate("mapState.map.names[4]")
    page.mouse.move(*place_of(page, 4))
    page.wait_for_selector(".tip .pic")
    shown = page.inner_text(".tip")
    assert name in shown
    page.mouse.click(*place_of(page, 4))
    page.wait_for_selector("#near button.near")
    near = page.evaluate("mapState.map.near[mapState.chosen]")
    assert page.locator("#near button.near").count() == 1 + len(near)
    page.locator("#near button.near").nth(1).click()
    assert page.evaluate("mapState.chosen") == near[0]
    page.select_option("#only", "1")
    assert page.complaints == []
    page.context.close()


def test_the_map_answers_the_keyboard_and_the_buttons(browser, paths):
    page = opened(browser, paths["unlabelled"])
    page.focus("#chart-map")
    page.keyboard.press("ArrowRight")
    first = page.evaluate("mapState.chosen")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("mapState.chosen")
    assert 0 <= first != second >= 0
    x = page.evaluate(f"[mapState.map.points[{first}][0], mapState.map.points[{second}][0]]")
    assert x[1] > x[0]

    def width():
        return page.evaluate("mapState.zoom.x[1] - mapState.zoom.x[0]")

    assert width() == 100
    page.keyboard.press("+")
    zoomed = width()
    assert zoomed < 100
    page.keyboard.press("Shift+ArrowLeft")
    assert width() == pytest.approx(zoomed)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "near"
    page.focus("#chart-map")
    page.keyboard.press("0")
    assert width() == 100
    page.keyboard.press("Escape")
    assert page.evaluate("mapState.chosen") == -1
    page.click("[data-map=in]")
    assert width() < 100
    page.click("[data-map=reset]")
    assert width() == 100
    x, y = place_of(page, 0)
    page.focus("#chart-map")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_function("mapState.zoom.x[1] - mapState.zoom.x[0] < 100")
    assert page.complaints == []
    page.context.close()
