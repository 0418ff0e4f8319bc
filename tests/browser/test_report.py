"""The report in a browser: the sample's, a large one, and one of hostile records; and the list of all packages.

With SCREENSHOTS naming a folder the pages are saved there; the README's pictures come from it. Accessibility is checked
by axe-core: `npm pack axe-core`, unpacked, its axe.min.js named by AXE_CORE.
"""

import base64
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.exporter import Exporter
from support.hostile import records, write_records

from landscape_assets.sample import COMPLETED_RUN, write_sample

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

AXE_PLACES = (os.environ.get("AXE_CORE", ""), "node_modules/axe-core/axe.min.js")


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    for place in AXE_PLACES:
        if place and Path(place).is_file():
            return Path(place).read_text("utf-8")
    pytest.skip("there is no axe-core (npm pack axe-core; AXE_CORE names its axe.min.js)")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by name; not to be changed."""
    folder = tmp_path_factory.mktemp("pages")
    exporter, sample = Exporter(folder), folder / "landscape.db"
    write_sample(sample)
    assert exporter.export(sample, "--all").exit_code == 0
    sources = {
        "report": exporter.output / COMPLETED_RUN,
        "report-hostile": write_records(folder / "hostile", records()),
        "report-large": write_records(folder / "large", records(2_000, 200, failing=3)),
        "report-empty": write_records(
            folder / "empty", (one for one in records(0, 0) if one["record_type"] in ("run", "node"))
        ),
        "overview": exporter.output,
    }
    made = {name: folder / f"{name}.html" for name in sources}
    for name, source in sources.items():
        result = exporter.run("report", source, "-o", made[name])
        assert result.exit_code == 0, result.stderr
    return made


def see(browser: "Chrome", page: Path, scheme: str = "light") -> None:
    """Opens a page in a colour scheme."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.set_window_size(1240, 1000)
    browser.get(page.as_uri())
    if folder := os.environ.get("SCREENSHOTS"):
        size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": 1240, "height": min(size["height"], 1300), "scale": 1}
        taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        name = page.stem if scheme == "light" else f"{page.stem}-{scheme}"
        (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


def violations(browser: "Chrome", axe: str) -> list[Any]:
    """What the accessibility checker finds wrong with the page; it is put there beside the page's own policy."""
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    browser.set_script_timeout(240)
    return browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations']}).then(result => done(result.violations.map("
        "each => [each.id, each.help, each.nodes.slice(0, 3).map(node => node.html.slice(0, 200))])));"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "report-hostile", "report-empty", "overview"])
def test_the_page_is_accessible(browser, pages, axe, name, scheme):
    """No violation of any rule of the checker, contrast in both schemes included."""
    see(browser, pages[name], scheme)
    assert violations(browser, axe) == []


@pytest.mark.parametrize("name", ["report", "report-hostile", "report-large", "report-empty", "overview"])
def test_the_page_fits_and_loads_nothing(browser, pages, name):
    """Nothing is cut off at the side, on a small screen either; nothing is asked of a network; the order of headings
    has no gap, and every picture has a name."""
    for width in (1240, 420):
        see(browser, pages[name])
        browser.set_window_size(width, 1000)
        assert browser.execute_script(
            "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), width
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    levels = browser.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    names = browser.execute_script("return [...document.querySelectorAll('svg[role]')].map(s => s.ariaLabel)")
    assert all(names)


@pytest.mark.parametrize("name", ["report-hostile", "report-large"])
def test_nothing_of_hostile_text_takes_effect(browser, pages, name):
    """No script ran, no element but those of the template is there, nothing leads elsewhere, the page is seen; and if
    something were let through, the policy would forbid it."""
    see(browser, pages[name])
    assert "owned" not in browser.title.replace("document.title='owned'", "")
    found = browser.execute_script("return [...new Set([...document.querySelectorAll('*')].map(e => e.localName))]")
    assert not set(found) & {"script", "img", "form", "input", "base", "iframe", "object", "embed", "link"}
    assert browser.execute_script("return document.querySelectorAll('style').length") == 1
    assert browser.execute_script("return getComputedStyle(document.body).display") == "block"
    assert browser.execute_script(
        "return [...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#'))"
    )
    attributes = browser.execute_script(
        "return [...new Set([...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()))]"
    )
    assert not [one for one in attributes if one.startswith("on") or one in ("style", "src", "srcdoc")]
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s);"
        "const p = document.createElement('p'); p.setAttribute('style', 'color: red'); p.id = 'p';"
        "document.body.append(p);"
    )
    assert browser.title != "1"
    assert browser.execute_script("return getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"


def test_packages_are_searched_and_sorted(browser, pages):
    """By a script that the page's policy names by its hash."""
    see(browser, pages["overview"])

    def shown() -> list[str]:
        return browser.execute_script(
            "return [...document.querySelectorAll('#packages tbody tr')].filter(r => !r.hidden)"
            ".map(r => r.querySelector('bdi').textContent)"
        )

    newest_first = shown()
    assert len(newest_first) == 2
    browser.find_element("css selector", "#packages thead th button").click()
    assert shown() == newest_first[::-1]
    browser.find_element("css selector", "#search").send_keys(COMPLETED_RUN)
    assert shown() == [COMPLETED_RUN]


def test_the_page_prints(browser, pages):
    """On paper: the whole page, as a PDF of a few sheets."""
    see(browser, pages["report"])
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert printed.startswith(b"%PDF")
    assert 3 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 16
