"""A browser shows a page: on a phone and on a desk, nothing is wider than the screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from craft_ray.reports.run_page import run_page
from tests.reports.made_up import search, trial
from tests.reports.test_run_page import facts

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FRAME = """<!doctype html><title>none</title>
<iframe style="border: 0; width: {width}px; height: 800px" srcdoc="{page}" onload="
  const page = this.contentDocument;
  document.title = [page.documentElement.scrollWidth, page.documentElement.clientWidth,
    getComputedStyle(page.body).backgroundColor].join(' / ')"></iframe>"""
"""A window of a browser is never as narrow as a phone."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium"),
]


def measured(text: str, folder: Path, width: int, *words: str) -> tuple[int, int, str]:
    """Width of the content, of the screen, and the colour behind it."""
    page = folder / "page.html"
    page.write_text(FRAME.format(width=width, page=escape(text)))
    assert BROWSER is not None
    shown = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900"),
            *(*words, "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    found = re.search(r"<title>(\d+) / (\d+) / (.*?)</title>", shown)
    assert found is not None, shown[:2000]
    return int(found[1]), int(found[2]), found[3]


@pytest.mark.parametrize("width", [390, 1200])
def test_only_tables_are_moved_sideways(width: int, tmp_path: Path) -> None:
    names = [f"a class with a name of some length {label}" for label in range(20)] + ["x" * 60]
    trials = [trial(n, 0.5 + 0.05 * n, method="a_method_with_a_name") for n in range(1, 7)]
    what = facts(search(*trials), class_names=names, folder="/a/folder/" + "deeper/" * 20)
    content, screen, _ = measured(run_page(what), tmp_path, width)
    assert screen == width
    assert content == screen


def test_it_is_dark_where_all_is_dark(tmp_path: Path) -> None:
    text = run_page(facts(search(trial(1, 0.7))))
    colours = [
        measured(text, tmp_path, 600, f"--blink-settings=preferredColorScheme={scheme}")[2]
        for scheme in (0, 1)
    ]
    assert colours == ["rgb(18, 22, 27)", "rgb(255, 255, 255)"]
