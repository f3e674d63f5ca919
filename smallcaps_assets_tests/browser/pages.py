"""Pages of Dagster's UI in headless Chromium: opened, read, clicked, photographed."""

import io
import re
import shutil
import time
from pathlib import Path
from typing import Final

import pytest
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.browser.dagster_ui import PATIENCE_S, PartitionCounts

SIZE: Final = (1600, 1000)
SETTLING_S: Final = 1.5
"""Until nothing moves any more: a picture is for people."""
SWITCHES: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
GROUPS: Final = ("reference", "events", "plan", "ticks", "serve", "audit")
LINEAGE: Final = "/asset-groups?expanded=" + ",".join(f"global@global:{name}" for name in GROUPS)
PARTITIONS: Final = "/assets/trades?view=partitions"
CHECKS: Final = "/assets/trades?view=checks"
LOCATION: Final = "/locations/smallcaps_assets.definitions"


def start_chromium(folder: Path) -> webdriver.Chrome:
    """Return a driver of a new headless Chromium, or skip the test where there is none."""
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in (*SWITCHES, f"--user-data-dir={folder}"):
        options.add_argument(switch)
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    width, height = SIZE
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return chromium


class Pages:
    """The pages of one UI.

    Attributes:
        pictures: Folder of the pictures; ``None`` takes none.
    """

    def __init__(self, driver: webdriver.Chrome, url: str, pictures: Path | None) -> None:
        self.pictures = pictures
        self._driver = driver
        self._url = url

    def open(self, address: str, *texts: str) -> str:
        """Open a page, wait until it shows ``texts``, and return all that it shows."""
        self._driver.get(f"{self._url}{address}")
        return self.wait_for(*texts)

    def open_file(self, path: Path, *texts: str) -> None:
        """Open a page on the disk, as who pastes its path does, and wait for these texts."""
        self._driver.get(path.as_uri())
        self.wait_for(*texts)

    def wait_for(self, *texts: str) -> str:
        """Wait until the page shows ``texts``, and return all that it shows."""

        def is_shown(_: webdriver.Chrome) -> bool:
            shown = self.read()
            return all(text in shown for text in texts)

        WebDriverWait(self._driver, PATIENCE_S).until(is_shown, f"{texts} do not appear")
        return self.read()

    def read(self) -> str:
        """Return the text that the page shows."""
        text: str = self._driver.execute_script("return document.body.innerText")
        return text

    def click(self, label: str) -> None:
        """Click the button or link of this label."""
        labelled = f'normalize-space()="{label}"'
        self.click_element(f"//button[{labelled}]|//a[{labelled}]")

    def click_element(self, path: str) -> None:
        """Click the first element at an XPath, as soon as it can be."""

        def is_clicked(_: webdriver.Chrome) -> bool:
            found = self._driver.find_elements(By.XPATH, path)
            ready = [e for e in found if e.is_displayed() and e.is_enabled()]
            if ready:
                ready[0].click()
            return bool(ready)

        waiting = WebDriverWait(self._driver, PATIENCE_S, ignored_exceptions=[WebDriverException])
        waiting.until(is_clicked, f"nothing to click at {path}")

    def materialize_job(self, job: str) -> None:
        """Launch a job from its page; `universe` is optional, so its absence is confirmed."""
        self.open(f"{LOCATION}/jobs/{job}", job)
        self.click("Materialize all")
        self.click("Confirm")

    def switch_sensor(self, sensor: str, *, is_on: bool) -> None:
        """Turn a sensor on or off by its switch, and wait until the page shows it."""
        self.open(f"{LOCATION}/sensors/{sensor}", sensor, "Running")
        switch = "//tr[td[normalize-space()='Running']]//label"
        self.click_element(switch)

        def is_switched(driver: webdriver.Chrome) -> bool:
            box = driver.find_element(By.XPATH, f"{switch}/input")
            return box.is_selected() == is_on

        WebDriverWait(self._driver, PATIENCE_S).until(is_switched, f"{sensor} is not switched")

    def count_partitions(self, expected: PartitionCounts) -> None:
        """Open the partitions page of `trades`; it has to show these counts."""
        labels = {
            "Failed": expected.failed,
            "Materialized": expected.materialized,
            "Materializing": expected.materializing,
            "Missing": expected.missing,
        }
        self.open(PARTITIONS, *(f"{label} ({count:,})" for label, count in labels.items()))

    def list_checks(self) -> dict[str, str]:
        """Open the checks page of `trades`, and return the result of each check."""
        shown = self.open(CHECKS, f"Checks ({len(AUDITS)})", *(audit.name for audit in AUDITS))
        results = "Succeeded|Failed|Not Evaluated|In Progress|Skipped"
        return dict(re.findall(rf"^([a-z_]+)\n+({results})$", shown, re.MULTILINE))

    def widen_lineage(self) -> None:
        """Open the lineage and give its graph the whole window, so that names can be read."""
        self.open(LINEAGE, *GROUPS)
        self.click("Hide navigation")
        self.click_element("//button[.//*[@aria-label='panel_show_right']]")
        x, y = SIZE[0] // 2, SIZE[1] - 50
        ActionChains(self._driver).move_by_offset(x, y).double_click().perform()

    def take_picture(self, name: str, address: str = "", *texts: str) -> None:
        """Store a picture of a page where pictures are wanted.

        Args:
            name: Name of the file.
            address: Page to open first; the open one if empty.
            texts: What it has to show.
        """
        if self.pictures is None:
            return
        if address:
            self.open(address, *texts)
        time.sleep(SETTLING_S)
        shown = Image.open(io.BytesIO(self._driver.get_screenshot_as_png())).convert("RGB")
        self.pictures.mkdir(parents=True, exist_ok=True)
        # The default method would lose rare colours, and a red dot is rare.
        small = shown.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(self.pictures / f"{name}.png", optimize=True)
