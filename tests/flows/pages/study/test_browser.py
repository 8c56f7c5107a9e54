"""The raters' page in a real browser: keys, progress, going back, and going on after the server was killed."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.studies.preference.folder import read_study
from stages.studies.preference.raters import read_raters
from stages.studies.preference.results import gather
from tests.flows.conftest import ROOT
from tests.stages.studies.preference.made_up_study import HOSTILE, make_study

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,860",
)
PATIENCE = 60  # seconds, on a machine with other work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="no chromium with chromedriver is installed here (Debian: apt-get install chromium chromium-driver)",
    ),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install .[test]")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


class Served:
    """`comat study serve` in a process of its own, and its first rater's link."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "flows.command_line.cli", "study", "serve", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--raters", "1", "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()

    @property
    def port(self) -> int:
        return int(self.link.split("/")[2].rpartition(":")[2])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def until(browser: Any, condition: str) -> None:
    """Wait for an expression of the page's to be true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, PATIENCE).until(lambda driver: driver.execute_script(f"return Boolean({condition})"))


def press(browser: Any, key: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(key).perform()


def counts(text: str) -> str:
    return f"document.getElementById('count').textContent === '{text}'"


def test_a_rater_answers_with_keys_and_goes_on_after_a_kill(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver import Keys

    folder = make_study(tmp_path, pairs=2)
    first = Served(folder)
    try:
        browser.get(first.link)
        until(browser, counts("0 of 4"))
        until(browser, "[...document.images].length === 2 && [...document.images].every((one) => one.naturalWidth)")
        shown = browser.execute_script("return document.getElementById('prompt').textContent")
        assert shown in {pair.prompt for pair in read_study(folder).pairs}  # as text, whatever is in it
        assert HOSTILE in shown
        press(browser, Keys.ARROW_LEFT)
        until(browser, counts("1 of 4"))
        press(browser, Keys.ARROW_DOWN)
        until(browser, counts("2 of 4"))
        press(browser, Keys.ARROW_UP)  # back, to change the answer
        until(browser, "document.querySelector('.chosen').dataset.choice === 'tie'")
        press(browser, Keys.ARROW_RIGHT)
        until(browser, "document.querySelector('.chosen') === null")
        port = first.port
    finally:
        first.kill()
    press(browser, Keys.ARROW_LEFT)
    until(browser, "document.getElementById('message').textContent.startsWith('Not saved')")

    second = Served(folder, port)
    try:
        assert second.link == first.link
        browser.find_element("css selector", ".buttons [data-choice='left']").click()
        until(browser, counts("3 of 4"))
        browser.refresh()
        until(browser, counts("3 of 4"))
        browser.find_element("css selector", ".image[data-choice='right']").click()
        until(browser, "!document.getElementById('done').hidden")
        errors = [entry for entry in browser.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
        assert errors == []
    finally:
        second.kill()

    assert list(read_raters(folder).values()) == [1]
    alignment, quality = gather(folder).questions
    assert (sum(alignment.counts.values()), sum(quality.counts.values())) == (2, 2)
    assert quality.counts["tie"] == 0
