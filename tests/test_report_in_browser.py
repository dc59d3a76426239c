"""The report in a real browser: from disk, without a request, on a desk and on a phone.

Names would like to be code, and some of the numbers are none.
"""

import dataclasses
import json
import math
import shutil
import time

import numpy as np
import pytest

from benchmarks.lineage import fill
from components.metadata.snapshot import read
from components.metadata.store import note_run, open_store
from components.metadata.stored_run import StoredRun
from components.report import pictures, plots
from components.report.contents import collect
from components.report.page import render
from components.report.scores import ModelRow

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver"
)

HOSTILE = (
    "<script>document.title='broken in'</script>",
    "<img src=x onerror=\"document.title='broken in'\">",
    '"onmouseover="document.title=\'broken in\'" x="',
    "</script><script>document.title='broken in'</script>",
    "<a href=\"javascript:document.title='broken in'\">link</a>",
    "{{ 7 * 7 }}<!--",
    "line\nbreak",
    "\u202egnp.exe\u202c",
)
IMAGES = 40


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report in which every name that a user chooses is hostile.

    Lineage and settings come from rows as TFX writes them.
    """
    folder = tmp_path_factory.mktemp("report")
    fill(str(folder / "metadata.sqlite"), folder, ["data", "parameter"])
    store = open_store(str(folder / "metadata.sqlite"), read_only=False)
    latest = list(read(store).runs)[-1]
    note_run(store, latest, {"command": HOSTILE[0], "git_commit": HOSTILE[1]})
    path = folder / "report.html"
    path.write_text(render(_hostile(collect(StoredRun(read(store), latest)))), encoding="utf-8")
    return path


def _hostile(contents):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    kinds = [HOSTILE[index % len(HOSTILE)] for index in range(IMAGES)]
    captions = [[kind, f"true: {kind}"] for kind in kinds]
    shown = {
        "uri": pictures.picture(images[0]),
        "caption": captions[0],
        "label": HOSTILE[0],
        "look": "same",
    }
    ages = np.array([1.0, math.nan, math.inf, 2.0])
    figure = {
        "title": "Features h",
        "meaning": "",
        "figure": plots.flat_map(rng.normal(size=(IMAGES, 2)), kinds),
    }
    counts = rng.integers(0, 9, (len(HOSTILE), len(HOSTILE)))
    classes = [
        {"name": name, "images": 10 + index, "accuracy": index / 10, "interval": (0.0, 1.0)}
        for index, name in enumerate(HOSTILE)
    ]
    pair = {
        "true": HOSTILE[0],
        "said": HOSTILE[1],
        "count": 3,
        "share": 0.5,
        "pictures": [{"uri": shown["uri"], "caption": HOSTILE[2]}],
    }
    return dataclasses.replace(
        contents,
        title=HOSTILE[0],
        verdict={"state": "refused", "reasons": list(HOSTILE), "pushed": ""},
        learning=[
            {
                "title": "Loss",
                "meaning": "",
                "figure": plots.curves({HOSTILE[0]: [2.0, math.nan, 1.0]}, "loss"),
            },
            {
                "title": "Ages",
                "meaning": "",
                "figure": plots.against_truth(ages, ages[::-1], "age"),
            },
        ],
        models=[
            ModelRow("this run", HOSTILE[3], is_this=True, probe=0.5),
            ModelRow("before", probe=0.09),
            ModelRow("earlier", "x", probe=0.1),
        ],
        answers={
            "kind": "classes",
            "matrix": plots.confusion(counts, HOSTILE),
            "left_out": 0,
            "images": 9,
            "classes": classes,
            "pairs": [pair],
        },
        views={"triples": [[shown["uri"]] * 3]},
        maps={
            "figures": [figure, figure | {"title": "Embeddings g(h)"}],
            "sheet": pictures.sheet(images),
            "captions": captions,
            "coloured_by": "class",
        },
        neighbours=[{"query": shown, "near": [shown] * 6, "classes": True}],
        class_balance=plots.bars({"train": dict.fromkeys(HOSTILE, 3)}, "class"),
        anomalies=list(HOSTILE),
        sample=Sampled(list(kinds), "eval", IMAGES, images),
    )


@dataclasses.dataclass
class Sampled:
    """What the page tells of a sample."""

    names: list
    split: str
    total: int
    images: np.ndarray


@pytest.fixture(scope="module")
def driver():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, page):
    """The page, opened anew on a screen of 1200 x 900 pixels."""
    show(driver, page, 1200)
    return driver


def show(driver, page, width):
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    driver.get(page.as_uri())
    until(
        lambda: driver.execute_script("return document.querySelectorAll('.plot .main-svg').length")
    )


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return value


def differs(now, before):
    return now if all(one != other for one, other in zip(now, before, strict=True)) else None


def point_at(driver, element, x=0, y=0):
    from selenium.webdriver import ActionChains

    driver.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )
    ActionChains(driver).move_to_element_with_offset(element, x, y).perform()


def column(driver, section, number):
    rows = driver.execute_script(
        f"return [...document.querySelectorAll('#{section} table.sortable tbody tr')].map(r => "
        f"r.cells[{number}].innerText)"
    )
    return [row.strip() for row in rows]


def test_it_opens_from_disk_without_an_error_or_a_request(browser):
    errors = [entry["message"] for entry in browser.get_log("browser")]
    assert errors == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        event["params"]["request"]["url"].partition(":")[0]
        for event in messages
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked <= {"file", "data"}
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource').filter(e => "
            "!e.name.startsWith('data:')).length"
        )
        == 0
    )


def test_every_plot_is_drawn_where_some_values_are_no_numbers(browser):
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(plot => "
        "plot.querySelectorAll('.main-svg').length > 0)"
    )
    assert len(drawn) == 5 and all(drawn)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#learning .plot')].map(plot => "
        "plot.querySelectorAll('.points path').length)"
    )
    assert shown == [2, 2]


def test_hostile_names_are_shown_and_do_nothing(browser):
    for element in browser.find_elements("css selector", "#answers img, .legend text, #models td"):
        browser.execute_script(
            "arguments[0].dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))", element
        )
    assert browser.title == f"{HOSTILE[0]}: refused"
    assert (
        browser.execute_script("return document.querySelectorAll('main script:not([type])').length")
        == 0
    )
    assert (
        browser.execute_script(
            "return document.querySelectorAll('main a[href], img[src=x], [onerror], "
            "[onmouseover]').length"
        )
        == 0
    )
    text = browser.find_element("tag name", "body").text
    assert HOSTILE[0] in text and HOSTILE[5] in text
    assert "line\\nbreak" in text
    assert "\\u202egnp.exe" in text
    assert not any(mark in browser.page_source for mark in "\u202e\u200f\u2066")


def test_a_click_on_a_step_shows_its_parameters_and_artifacts(browser):
    node = browser.find_element("css selector", ".node[data-node=Pretrainer]")
    assert not browser.find_element(
        "css selector", "#details article[data-node=Pretrainer]"
    ).is_displayed()
    point_at(browser, node)
    node.click()
    shown = [
        item
        for item in browser.find_elements("css selector", "#details article")
        if item.is_displayed()
    ]
    assert [item.get_attribute("data-node") for item in shown] == ["Pretrainer"]
    assert "temperature" in shown[0].text
    assert "transformed_examples" in shown[0].text
    lit = {
        (path.get_attribute("data-from"), path.get_attribute("data-to"))
        for path in browser.find_elements("css selector", "path.lit")
    }
    assert lit >= {("Transform", "Pretrainer"), ("Pretrainer", "Finetuner")}


def test_the_graph_can_be_used_from_the_keyboard(browser):
    browser.execute_script("document.querySelector('.node[data-node=Pusher]').focus()")
    browser.switch_to.active_element.send_keys("\ue007")  # Enter
    assert browser.find_element("css selector", "#details article[data-node=Pusher]").is_displayed()


def test_pointing_at_a_dot_of_the_map_shows_its_image_and_name(browser):
    tip = browser.find_element("id", "tip")
    assert not tip.is_displayed()
    dot = browser.find_elements("css selector", "#maps .plot:first-of-type .points path.point")[0]
    point_at(browser, dot)
    until(tip.is_displayed)
    assert tip.text.count("\n") == 1 and any(name in tip.text for name in HOSTILE)
    background = browser.execute_script(
        "return getComputedStyle(document.querySelector('#tip .tile')).backgroundImage"
    )
    assert background.startswith('url("data:image/jpeg;base64,')


@pytest.mark.parametrize(
    "section, number, rising",
    [
        ("answers", 1, [str(10 + index) for index in range(len(HOSTILE))]),
        ("models", 3, ["9.00 %", "10.00 %", "50.00 %"]),
    ],
)
def test_a_click_on_a_heading_sorts_by_number_and_another_turns_round(
    browser, section, number, rising
):
    heading = browser.find_elements("css selector", f"#{section} table.sortable th button")[number]
    browser.execute_script("arguments[0].click()", heading)
    assert column(browser, section, number) == rising
    browser.execute_script("arguments[0].click()", heading)
    assert column(browser, section, number) == rising[::-1]


def test_a_phone_of_400_pixels_needs_no_scrolling_sideways(driver, page):
    show(driver, page, 400)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 400


def test_numbers_stay_on_one_line_and_their_headings_may_wrap(browser):
    spaces = browser.execute_script(
        "return ['td.number', 'th.number', 'td code'].map(cell => "
        "getComputedStyle(document.querySelector(`table ${cell}`)).whiteSpace)"
    )
    assert spaces == ["nowrap", "normal", "nowrap"]


def test_in_the_dark_the_page_and_its_plots_are_dark(browser):
    ink = (
        "return [getComputedStyle(document.body).backgroundColor, "
        "getComputedStyle(document.querySelector('#learning .xtitle')).fill]"
    )
    light = browser.execute_script(ink)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    try:
        dark = until(lambda: differs(browser.execute_script(ink), light))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    brightness = [sum(map(int, colour[4:-1].split(",")[:3])) for colour in (*light, *dark)]
    assert brightness[0] > 600 > brightness[1] and brightness[2] < 200 < brightness[3]
