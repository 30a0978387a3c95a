"""A service that is busy, refuses, fails or is unreachable: the page says so, and loses nothing that was typed."""

from __future__ import annotations

import json

import pytest

PETS = "do you like cats ?"
ALERT = "#problem-text"


def problem(status: int, kind: str, **more: object) -> dict[str, object]:
    body = {"type": f"/problems/{kind}", "title": "t", "status": status, "detail": "d", "instance": "urn:x"} | more
    return {"status": status, "content_type": "application/problem+json", "body": json.dumps(body)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("queue-full", "The service is busy."), ("answer-too-slow", "The answer took too long.")],
)
def test_the_page_retries_a_busy_service_after_the_time_it_names(person, kind, words):
    person.expected.append("503")
    person.refuse(**problem(503, kind), headers={"Retry-After": "1", "Content-Type": "application/problem+json"})
    person.page.fill("#draft", PETS)
    person.press("Enter")
    person.page.wait_for_selector(f"{ALERT}:has-text('{words} Trying again in 1 second.')")
    assert person.page.get_by_role("alert").filter(has_text=words).count() == 1
    person.page.wait_for_selector(".card")
    assert not person.page.locator("#problem").is_visible()
    assert (len(person.asked), person.turns) == (2, [("A", PETS)])


def test_the_user_can_retry_at_once(person):
    person.expected.append("503")
    person.refuse(status=503, headers={"Retry-After": "600"}, body="")
    person.say(PETS)
    person.page.click("#problem-retry:has-text('Try now')")
    assert len(person.settle()) == 5
    assert person.at("#draft")


def test_the_page_stops_retrying_a_service_that_stays_busy(person):
    person.expected.append("503")
    person.refuse(times=6, status=503, headers={"Retry-After": "600"}, body="")
    person.say(PETS)
    for _ in range(5):
        person.page.click("#problem-retry:has-text('Try now')")
        person.settle()
    assert person.text(ALERT) == "The service is busy. Try again later. Your text is not lost."
    person.page.click("#problem-retry")
    person.page.wait_for_selector(".card")


def test_a_refused_line_returns_to_the_input_field(person):
    errors = [{"loc": ["body", "context", 0, "text"], "msg": "context.0.text: too strange", "type": "x"}]
    person.expected.append("422")
    person.refuse(**problem(422, "invalid-request", errors=errors))
    person.page.fill("#draft", PETS)
    person.press("Enter")
    person.page.wait_for_selector(
        "#draft-problem:has-text('The service refused this line: context.0.text: too strange')"
    )
    assert (person.turns, person.value("#draft")) == ([], PETS)
    assert person.page.get_attribute("#draft", "aria-invalid") == "true"
    assert person.at("#draft")
    person.press("Enter")
    person.page.wait_for_selector(".card")
    assert person.text("#draft-problem") == ""


def test_any_other_refusal_is_shown(person):
    errors = [{"loc": ["body", "topic"], "msg": "topic: unknown", "type": "x"}]
    person.expected.append("422")
    person.refuse(**problem(422, "invalid-request", errors=errors))
    person.say(PETS)
    assert person.text(ALERT) == "The service refused this request: topic: unknown."
    assert person.turns == [("A", PETS)]


def test_a_failed_answer_keeps_what_was_typed_meanwhile(person):
    person.expected.append("500")
    held = person.hold()
    person.page.fill("#draft", PETS)
    person.press("Enter")
    person.page.fill("#draft", "meanwhile")
    held.next().fulfill(**problem(500, "internal-error"))
    person.page.wait_for_selector(f"{ALERT}:has-text('The service could not answer (error 500, urn:x).')")
    assert (person.value("#draft"), person.turns) == ("meanwhile", [("A", PETS)])


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 502, "body": "<html>bad gateway</html>", "content_type": "text/html"},
        {"status": 200, "body": "<html>a portal that wants you to log in</html>", "content_type": "text/html"},
    ],
)
def test_an_answer_that_is_not_json_is_reported(person, answer):
    person.expected.append("502")
    person.refuse(**answer)
    person.say(PETS)
    assert person.text(ALERT) == f"The service could not answer (error {answer['status']})."
    person.page.click("#problem-retry")
    assert len(person.settle()) == 5


def test_a_lost_connection_is_reported_and_retried_when_online(person):
    person.expected.append("ERR_INTERNET_DISCONNECTED")
    old = person.say(PETS)
    person.page.context.set_offline(True)
    person.page.click("#new-seed")
    person.settle()
    assert person.text(ALERT).startswith("The service can't be reached. Check your connection")
    assert person.cards == old
    person.page.context.set_offline(False)  # the browser reports that it is online, and the page retries
    person.page.wait_for_function("() => document.querySelector('#problem').hidden")
    assert person.cards != old


def test_a_failed_request_from_the_map_keeps_the_replies(person):
    person.expected.append("500")
    replies = person.say(PETS)
    person.refuse(**problem(500, "internal-error"))
    person.page.click("#map", position={"x": 20, "y": 20})
    person.page.wait_for_selector(ALERT)
    assert person.cards == replies
    assert person.page.locator("#map .waiting").count() == 0
    person.page.click("#problem-retry")
    person.page.wait_for_function("() => document.querySelectorAll('.dot').length === 6")


def test_the_page_opens_before_the_service_is_ready(person):
    person.expected.append("503")
    left = [1]

    def loading(route):
        left[0] -= 1
        if left[0] < 0:
            return route.fallback()
        return route.fulfill(**problem(503, "not-loaded"), headers={"Retry-After": "1"})

    person.page.route("**/model", loading)
    person.page.goto(person.url)
    person.page.wait_for_selector(f"{ALERT}:has-text('The model is still being loaded. Trying again in 1 second.')")
    assert "could not be loaded" in person.text("#model")
    person.page.wait_for_selector("#model:has-text('Model: sayings')")
    assert not person.page.locator("#problem").is_visible()


def test_a_new_request_aborts_the_old_one(person):
    page = person.page
    held = person.hold()
    page.fill("#draft", PETS)
    person.press("Enter")
    held.next()
    with page.expect_event("requestfailed") as gone:
        page.click("#new-seed")
    assert gone.value.failure == "net::ERR_ABORTED"
    with page.expect_event("requestfailed") as gone:
        page.click("#undo")
    assert gone.value.failure == "net::ERR_ABORTED"
    assert not page.locator("#problem").is_visible()
    for route in held.routes:
        route.abort()
    person.press("Enter")
    assert (person.turns, person.value("#draft")) == ([], PETS)


def test_empty_and_overlong_lines_are_not_sent(person):
    for text in ("", "   ", "\u200b \u2060"):
        person.page.fill("#draft", text)
        person.page.press("#draft", "Enter")
        assert person.text("#draft-problem") == "Write something first."
    person.page.fill("#draft", "é😀" * 1001)
    person.page.press("#draft", "Enter")
    assert person.text("#draft-problem") == "This line has 2002 characters, 2 more than the limit."
    assert (person.asked, person.turns) == ([], [])
    person.page.fill("#draft", "é😀" * 1000)
    person.page.press("#draft", "Enter")
    assert len(person.settle()) == 5
    person.page.fill("#draft", "two\nlines\tand\u0007 a bell")
    person.page.press("#draft", "Enter")
    person.settle()
    assert person.turns[-1] == ("B", "two lines and a bell")


def test_the_page_asks_for_a_key_and_keeps_it_in_this_tab_only(visit, guarded_site):
    url, key = guarded_site
    person = visit(url)
    person.expected.append("401")
    page = person.page
    page.goto(url)
    page.wait_for_selector("#key-dialog[open]")
    assert person.at("#key")
    page.keyboard.type("two words")
    person.press("Enter")
    assert person.text("#key-problem") == "A key has only ASCII characters, and no spaces."
    page.fill("#key", "a-key-that-is-wrong")
    person.press("Enter")
    page.wait_for_selector("#key-problem:has-text('The service did not accept that key.')")
    assert person.value("#key") == ""
    page.fill("#key", key)
    person.press("Enter")
    page.wait_for_selector("#model:has-text('Model: sayings')")
    assert len(person.say(PETS)) == 5

    page.click("#copy-curl")
    page.wait_for_selector("#status:has-text('Command copied.')")
    command = page.evaluate("navigator.clipboard.readText()")
    assert key not in command
    assert '-H "X-API-Key: $API_KEY"' in command
    assert key in page.evaluate("Object.values(sessionStorage)")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert key not in "".join(person.urls)
    page.reload()
    page.wait_for_selector(".card")


def test_a_cancelled_key_dialog_can_be_opened_again(visit, guarded_site):
    person = visit(guarded_site[0])
    person.expected.append("401")
    person.page.goto(person.url)
    person.page.click("text=Not now")
    person.page.wait_for_selector(f"{ALERT}:has-text('This service requires an API key.')")
    person.page.click("#problem-retry:has-text('Enter a key')")
    person.page.fill("#key", guarded_site[1])
    person.press("Enter")
    person.page.wait_for_selector("#model:has-text('Model: sayings')")
    assert not person.page.locator("#problem").is_visible()


def test_a_late_refusal_does_not_ask_for_a_key_again_that_was_declined(visit, guarded_site):
    person = visit(guarded_site[0])
    person.expected.append("401")
    page, held = person.page, person.hold("**/topics")
    page.goto(person.url)
    page.click("text=Not now")
    page.wait_for_selector(f"{ALERT}:has-text('This service requires an API key.')")
    with page.expect_response("**/topics"):
        held.next().continue_()
    person.settle()
    assert not page.locator("#key-dialog").is_visible()
