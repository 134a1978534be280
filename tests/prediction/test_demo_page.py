from __future__ import annotations

import base64
import ipaddress
import shutil
import socket

import pytest

from prediction.demo import Demo, zero_shot_beside
from tests.helpers.runs.untrained_runs import a_picture, untrained
from tests.helpers.sets.small_set import NAMES

pytest.importorskip("gradio", reason="gradio is not installed: requirements-optional.txt")

from prediction.demo_page import DemoPage

pytestmark = pytest.mark.filterwarnings("ignore:::gradio.queueing")  # its calls of pandas

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DROP = """([element, name, data]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
    element.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
}"""
ROWS = """() => [...document.querySelectorAll("#scores tbody tr")].map(
    row => [...row.children].map(cell => cell.innerText.trim()))"""


@pytest.fixture(scope="module")
def addresses():
    """Every host that this process looks up or connects to."""
    seen = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def recorded_look_up(host, *more, **named):
        seen.append(host)
        return look_up(host, *more, **named)

    def recorded_connect(self, address):
        seen.append(address[0] if isinstance(address, tuple) else "127.0.0.1")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", recorded_look_up)
        patch.setattr(socket.socket, "connect", recorded_connect)
        yield seen


@pytest.fixture(scope="module")
def page(roots, addresses):
    root = roots["ViT"]
    own, shared = untrained(root, "DualCoOp"), untrained(root, "CoOp")
    return DemoPage(Demo([own, zero_shot_beside(own), shared]))


@pytest.fixture(scope="module")
def address(page, addresses):
    """Where the page is served."""
    _, url, _ = page.launch(server_name="127.0.0.1", share=False, prevent_thread_lock=True)
    yield url
    page.blocks.close(verbose=False)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: requirements-optional.txt"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, address):
    """The page as opened on a phone; `requested` holds every address it asked for."""
    tab = browser.new_page(viewport={"width": 375, "height": 800})
    tab.requested = []
    tab.on("request", lambda request: tab.requested.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("#scores p")
    yield tab
    tab.close()


def drop(tab, path):
    data = base64.b64encode(path.read_bytes()).decode()
    zone = tab.wait_for_selector("#drop button")
    tab.evaluate(DROP, [zone, path.name, data])


def as_shown(demo, path, names=None):
    """What the table must read, from the models' own scores of the file."""
    rows = demo.rows(demo.look_at(path), names)
    return {row.classname: row.scores for row in rows}


def assert_shown(found, expected, thresholds):
    assert {row[0] for row in found} == set(expected)
    for name, *cells in found:
        for cell, score, threshold in zip(cells, expected[name], thresholds, strict=True):
            if score is None:
                assert cell == "–"
                continue
            assert float(cell.removesuffix("✓")) == pytest.approx(100 * score, abs=0.06)
            assert cell.endswith("✓") == (threshold is not None and score > threshold)


def test_a_dropped_picture_shows_its_scores_without_the_internet(
    page, tab, roots, address, addresses
):
    path, _ = a_picture(roots["ViT"])
    drop(tab, path)
    tab.wait_for_selector(".score-table")
    assert_shown(tab.evaluate(ROWS), as_shown(page.demo, path), (0.5, None, 0.5))
    tab.wait_for_selector("#region-map img")
    assert tab.locator("#map-key").inner_text().startswith("DualCoOp: similarity of “")
    wide = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0  # nothing to scroll sideways on a phone
    assert tab.requested and all(url.startswith((address, "data:")) for url in tab.requested)
    hosts = {str(host) for host in addresses if host} - {"localhost"}
    assert hosts and all(ipaddress.ip_address(host).is_loopback for host in hosts)


def test_a_bad_picture_and_bad_names_lose_nothing(page, tab, roots, tmp_path):
    path, _ = a_picture(roots["ViT"])
    drop(tab, path)
    tab.wait_for_selector(".score-table")
    before = tab.evaluate(ROWS)
    (tmp_path / "notes.txt").write_text("no picture")
    drop(tab, tmp_path / "notes.txt")
    alert = tab.wait_for_selector("[role=alert]")
    assert "notes.txt is no picture" in alert.inner_text()
    assert tab.evaluate(ROWS) == before
    tab.get_by_text("Class names", exact=True).click()
    box = tab.locator("#names-box textarea")
    box.fill("cat\ncat")
    tab.get_by_text("Use these names").click()
    tab.wait_for_selector("[role=alert] >> text='cat' is there twice")
    assert tab.evaluate(ROWS) == before
    box.fill("wolf\ncat")
    tab.get_by_text("Use these names").click()
    tab.wait_for_selector("#scores >> text=wolf")
    expected = as_shown(page.demo, path, ["wolf", "cat"])
    assert_shown(tab.evaluate(ROWS), expected, (0.5, None, 0.5))
    assert tab.locator("[role=alert]").count() == 0
    assert "DualCoOp keeps its 4 classes" in tab.locator("#names").inner_text()


def test_handlers_answer_with_one_value_for_each_output(page, roots, tmp_path):
    path, _ = a_picture(roots["ViT"])
    (tmp_path / "notes.txt").write_text("no picture")
    good = page.on_picture(str(path), None, None, 0)
    bad = page.on_picture(str(tmp_path / "notes.txt"), None, None, 0)
    assert len(good) == len(bad) == 8
    assert good[3] == "" and "notes.txt" in bad[3]
    picture = good[1]
    assert len(page.on_names("cat\ncat", picture, "dog", 0)) == 6
    assert page.on_names("wolf", None, None, 0)[0] == ["wolf"]
    box, names, *_ = page.on_reset(picture, "dog", 0)
    assert box.splitlines() == NAMES and names is None
    message, classes, image, key = page.on_map(picture, None, "dog", 0)
    assert (message, classes.value, image.size) == ("", "dog", picture.shown.size)
    assert "“dog”" in key
