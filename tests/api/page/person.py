"""A user of the page: what they do, and what they see."""

from __future__ import annotations

import json
from typing import Any, Self

SETTLED = "() => !document.querySelector('#replies').hasAttribute('aria-busy')"
MODEL_KNOWN = "() => document.querySelector('#model').textContent.startsWith('Model:')"
FOCUS_SHOWN = """() => {
    const active = document.activeElement;
    const style = getComputedStyle(active.matches(".speakers input") ? active.nextElementSibling : active);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""


class Held:
    """A page's requests to `url`, none of which is answered until the test answers it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.routes: list[Any] = []
        page.route(url, lambda route: self.routes.append(route))

    def next(self) -> Any:
        """The oldest of them, removed from here; waits for one: the page has sent it before its route is known."""
        for _ in range(1000):
            if self.routes:
                return self.routes.pop(0)
            self.page.wait_for_timeout(10)
        raise AssertionError("the page sent no such request within 10 seconds")


class Person:
    """A page of the browser and its user.

    Attributes:
        urls: all URLs that the page requested.
        asked: bodies of its POST /respond requests.
        complaints: errors and warnings on the browser's console, except those in `expected`.
        expected: parts of the messages that are allowed on the console.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.urls: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self._listeners = {"request": self._request, "console": self._console, "pageerror": self._error}
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self) -> None:
        """Stop listening, and remove all changed answers of `refuse`."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.unroute_all(behavior="ignoreErrors")

    def _request(self, request: Any) -> None:
        self.urls.append(request.url)
        if request.url == f"{self.url}respond":
            self.asked.append(json.loads(request.post_data))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.complaints.append(message.text)

    def _error(self, error: Any) -> None:
        self.complaints.append(str(error))

    def arrive(self) -> Self:
        """Open the page, and wait until it knows the model."""
        self.page.goto(self.url)
        self.page.wait_for_function(MODEL_KNOWN)
        return self

    def settle(self) -> list[str]:
        """Wait until the current request is answered; returns the replies shown."""
        self.page.wait_for_function(SETTLED)
        return self.cards

    def say(self, text: str) -> list[str]:
        """Write a line and send it; returns the replies to it."""
        self.page.fill("#draft", text)
        self.page.press("#draft", "Enter")
        return self.settle()

    @property
    def cards(self) -> list[str]:
        """The replies shown."""
        return self.page.locator(".card .text").all_inner_texts()

    @property
    def turns(self) -> list[tuple[str, str]]:
        """The conversation: speaker and text of each turn."""
        return [
            (turn.locator(".who").inner_text(), turn.locator("p").inner_text())
            for turn in self.page.get_by_role("log").get_by_role("listitem").all()
        ]

    def text(self, selector: str) -> str:
        """The text of an element."""
        return self.page.locator(selector).inner_text().strip()

    def value(self, selector: str) -> str:
        """The value of a field."""
        return str(self.page.locator(selector).input_value())

    def press(self, *keys: str) -> None:
        """Press keys, one after another, on the element that has the focus."""
        for key in keys:
            self.page.keyboard.press(key)

    def at(self, selector: str) -> bool:
        """Whether the element has the focus."""
        return bool(self.page.evaluate("selector => document.activeElement.matches(selector)", selector))

    def tab_to(self, selector: str, key: str = "Tab") -> None:
        """Press Tab until the element has the focus; at every stop the focus must be visible."""
        for _ in range(60):
            self.press(key)
            assert self.page.evaluate(FOCUS_SHOWN), self.page.evaluate("document.activeElement.outerHTML")
            if self.at(selector):
                return
        raise AssertionError(f"{key} does not lead to {selector}")

    def hold(self, url: str = "**/respond") -> Held:
        """Keep the page waiting for the answers to its requests to `url`."""
        return Held(self.page, url)

    def refuse(self, times: int = 1, **answer: Any) -> None:
        """Replace the service's next answers (`times` of them) by this one, or by none (`abort=...`)."""
        left = [times]

        def handle(route: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                route.fallback()
            elif "abort" in answer:
                route.abort(answer["abort"])
            else:
                route.fulfill(**answer)

        self.page.route("**/respond", handle)
