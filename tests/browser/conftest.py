"""A deployment as operators meet it: `dg dev` on the sample, and a browser.

Belongs here: starting the two. The browser is Debian's Chromium, headless, with a profile of its own; where it or
Selenium is missing, the tests that need it are skipped and say so.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.deployment import Deployment, dagster_dev

from landscape_assets.sample import write_sample

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """`dg dev` on the sample's audit database, with nothing exported yet."""
    if os.environ.get("SCREENSHOTS"):  # pictures show paths that mean something to their readers
        folder = Path(tempfile.gettempdir()) / "landscape"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    else:
        folder = tmp_path_factory.mktemp("deployment")
    database = folder / "landscape.db"
    write_sample(database)
    with dagster_dev(folder, database) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """A browser of its own."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no Chromium (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1440,1060"):
        options.add_argument(option)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()
