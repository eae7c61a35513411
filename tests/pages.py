"""What tests of pages share: a page's elements, and a browser that notes what a page complains about or asks for."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from html.parser import HTMLParser

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
NASTY = "</script><script>alert(1)</script><b>&amp;"


class Parsed(HTMLParser):
    """The elements of a page, and the text of its scripts by their id."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.text, self._inside = [], {}, "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = dict(attributes).get("id", "code") if tag == "script" else tag if tag == "style" else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.text += data
        else:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Start a browser of the system, in a profile of its own, which notes what pages ask for and complain about."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as library:
        context = library.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=program,
            args=FLAGS,
            viewport={"width": 1400, "height": 900},
        )
        yield context
        context.close()


@contextmanager
def watched(browser):
    """Give what opens a page in a tab; at the end, check that none complained or asked for anything but itself."""
    errors, asked, tabs = [], [], []

    def open_tab(path, before=""):
        tab = browser.new_page()
        tabs.append(tab)
        tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("dialog", lambda dialog: errors.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.add_init_script(before)
        tab.goto(path.as_uri())
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
