"""The documentation page in a real browser: it renders under its own policy and asks no other host."""

from __future__ import annotations

from typing import Any


def test_a_request_can_be_tried_out(browser: Any, site: str) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)  # the page renders the whole interface
    urls: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{site}docs")
    page.locator(".opblock-post .opblock-summary-control").first.click()
    page.get_by_text("Try it out").click()
    page.get_by_text("Execute", exact=True).click()
    page.locator(".live-responses-table").wait_for()
    assert page.locator(".live-responses-table .response-col_status").last.inner_text().startswith("200")
    assert [url for url in urls if not url.startswith((site, "data:", f"blob:{site}"))] == []
    assert f"{site}respond" in urls
    assert complaints == []
    context.close()
