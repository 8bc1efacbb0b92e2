"""A browser on the page of a real server; a test fails for any request to elsewhere and for any error of the page."""

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import headway
from headway.models.gpt2 import GPT2, GPT2Config
from headway.serve.admission import Guard

sys.path.append(str(Path(__file__).parents[1] / "serve"))
from running import running  # noqa: E402  # the server of the tests of serve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MODELS = ("writer", "en-fr", "en-fr-rnnsearch", "en-fr-rnn-fixed", "reader", "reader-fnet")


ABORTED = ("fetch", "other")  # what the page may let go of, and its icon, which a reload breaks off


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = "Chromium" if CHROMIUM is None else "playwright"
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"{missing} is not installed: see CONTRIBUTING.md"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a second writer, which has learned nothing and cuts texts as the bundled one does."""
    torch.manual_seed(3)
    tokenizer = headway.Writer("writer", device="cpu").tokenizer
    config = GPT2Config(vocabulary=tokenizer.size, context=128, width=32, n_layers=2, n_heads=2, initial_deviation=0.3)
    folder = tmp_path_factory.mktemp("models") / "other"
    headway.save(GPT2(config).eval(), tokenizer, folder)
    return str(folder)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, other: str) -> Iterator[str]:
    with running((*MODELS, other), tmp_path_factory.mktemp("kept"), guard=Guard()) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


class Tab:
    """One page in a context of its own, and what went wrong on it.

    expected: the statuses from 400 on that a test provokes; an answer with any other of them is wrong.
    """

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.address = address
        self.wrong: list[str] = []
        self.expected: set[int] = set()
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        self.context.set_default_timeout(30_000)
        self.page = self.context.new_page()
        own = (f"{address}/", "data:", f"blob:{address}/")
        self.page.on(
            "request", lambda request: request.url.startswith(own) or self.wrong.append(f"left: {request.url}")
        )
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", self._said)
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _failed(self, request: Any) -> None:
        # The page lets go of what it does not need any more, and a browser that goes elsewhere of everything; a server
        # that breaks off has other names.
        let_go = request.failure == "net::ERR_ABORTED" and request.resource_type in ABORTED
        if not let_go:
            self.wrong.append(f"failed: {request.resource_type} {request.url} {request.failure}")

    def _answered(self, answer: Any) -> None:
        if answer.status >= 400 and answer.status not in self.expected:
            self.wrong.append(f"answered {answer.status}: {answer.url}")

    def _said(self, said: Any) -> None:
        refusal = re.fullmatch(r"Failed to load resource: .* status of (\d+) .*", said.text)
        if said.type == "error" and not (refusal and int(refusal[1]) in self.expected):
            self.wrong.append(f"console: {said.text}")

    def open(self, view: str) -> Any:
        self.page.goto(f"{self.address}/#/{view}")
        self.page.wait_for_selector("#view h1")
        return self.page


@pytest.fixture
def new_tab(browser: Any, address: str) -> Iterator[Any]:
    tabs: list[Tab] = []

    def make(**settings: Any) -> Tab:
        tabs.append(Tab(browser, address, **settings))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.context.close()
    assert [wrong for tab in tabs for wrong in tab.wrong] == []


@pytest.fixture
def tab(new_tab: Any) -> Tab:
    found: Tab = new_tab()
    return found
