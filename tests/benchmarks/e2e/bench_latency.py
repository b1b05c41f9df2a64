"""From the capture of the frame that decides a crossing to the dashboard's counter, with the four demo cameras.

Starts `countline up` on a data folder of its own, opens the page in headless Chromium, and waits for crossings. The
limit is one second at the 95th percentile; the rest of the table says where the time goes.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table
from tests.fixtures.dashboard.visit import CHROMIUM

LIMIT_S = 1.0
READY_WITHIN_S = 180
COUNTLINE = Path(sys.executable).with_name("countline")
PASSWORD = Path("credentials", "admin-password")


def wait_until_ready(data: Path) -> str:
    """The dashboard's address, once everything runs."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        said = subprocess.run([COUNTLINE, "status", "--json", "--data", data], capture_output=True, check=False).stdout
        status = json.loads(said) if said.strip() else {}
        if status.get("ready"):
            return str(status["url"])
        time.sleep(1)
    raise TimeoutError(f"not ready after {READY_WITHIN_S} s")


def watch(page: Page, url: str, password: str, crossings: int) -> list[dict[str, float]]:
    """What the page noted of each crossing: decided_at, received_at, shown_at, in Unix seconds."""
    page.goto(url)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_function("() => document.querySelectorAll('[data-state=running]').length === 4", timeout=120_000)
    # What was under way while the system started says nothing about how it runs.
    page.wait_for_timeout(10_000)
    page.evaluate("window.countlineLatency.length = 0")
    page.wait_for_function(f"() => window.countlineLatency.length >= {crossings}", timeout=600_000)
    found: list[dict[str, float]] = page.evaluate("window.countlineLatency")
    return found


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def show(found: list[dict[str, float]]) -> None:
    """Print the table; the last row is what is held against the limit."""
    table = Table("from", "to", "p50 s", "p95 s", "ratio to the limit")
    for start, end in (("decided_at", "received_at"), ("received_at", "shown_at"), ("decided_at", "shown_at")):
        spans = [one[end] - one[start] for one in found]
        ratio = f"{p95(spans) / LIMIT_S:.2f}"
        table.add_row(start, end, f"{sorted(spans)[len(spans) // 2]:.3f}", f"{p95(spans):.3f}", ratio)
    Console().print(table)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crossings", type=int, default=100)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or CHROMIUM
    if chromium is None:
        sys.exit("no Chromium here (Debian: apt-get install chromium-headless-shell)")
    data = Path(tempfile.mkdtemp(prefix="countline-"))
    up = subprocess.Popen(
        [COUNTLINE, "up", "--data", data, "--any-ports"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = wait_until_ready(data)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            show(watch(browser.new_page(), url, (data / PASSWORD).read_text().strip(), options.crossings))
            browser.close()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(timeout=30)
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
