"""Access to the page: assistive technology, contrast, phones, and the browser's content security policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import api

PAGE = Path(api.__file__).parent / "page"
CHECKS = (Path(__file__).parent / "checks.js").read_text(encoding="utf-8").partition("\n")[2]
PETS = "do you like cats ?"
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
MUST_BE_NAMED = {
    "button", "link", "textbox", "slider", "checkbox", "radio", "combobox", "option", "listbox", "application", "log",
    "dialog", "region", "heading", "complementary", "group", "searchbox", "spinbutton",
}  # fmt: skip


def faults(person, *kinds: str) -> dict[str, list[str]]:
    found = person.page.evaluate(
        f"kinds => {{ const c = {CHECKS}; return kinds.map(kind => c[kind]()); }}", list(kinds)
    )
    return {kind: each for kind, each in zip(kinds, found, strict=True) if each}


def tree(person) -> list[dict[str, Any]]:
    """The accessibility tree: role, name and properties of each node that assistive technology sees."""
    session = person.page.context.new_cdp_session(person.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "").strip()}
        | {prop["name"]: prop["value"].get("value") for prop in node.get("properties", [])}
        for node in nodes
        if not node["ignored"]
    ]


def states(person):
    """Bring the page into each of its states; yields the name of the state."""
    page = person.page
    yield "empty"
    page.fill("#draft", "w" * 300 + " and wörds " * 20)
    page.press("#draft", "Enter")
    person.settle()
    page.click(".card >> nth=0")
    person.settle()
    yield "replies"
    page.locator("#map").click(position={"x": 30, "y": 30})
    page.wait_for_selector("#status:not(:empty)")
    page.focus("#map")
    person.press("ArrowUp")
    yield "map"
    page.click("#topic")
    yield "topics"
    person.press("Escape")
    page.fill("#seed", "x")
    page.fill("#draft", "\u200b")
    page.press("#draft", "Enter")
    person.expected.append("503")
    person.refuse(status=503, headers={"Retry-After": "600"}, body="")
    page.click("#new-seed")
    page.fill("#seed", "x")
    person.settle()
    yield "problems"


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_every_state_is_readable_and_large_enough_to_touch(visit, options):
    person = visit(reduced_motion="reduce", **options).arrive()
    found = {}
    for state in states(person):
        found[state] = faults(person, "wide", "broken", "pale", *(["small"] if options else []))
        person.page.emulate_media(color_scheme="dark")
        found[f"{state}, dark"] = faults(person, "pale")
        person.page.emulate_media(color_scheme="light")
    assert {state: wrong for state, wrong in found.items() if wrong} == {}


def test_the_checks_find_faults(person):
    person.page.evaluate(
        """() => {
            const main = document.querySelector("main");
            const worse = document.createElement("button");
            worse.id = "draft";
            worse.textContent = "pale";
            worse.style.cssText = "color: rgb(190 190 190); width: 2000px; min-height: 10px; height: 10px";
            worse.setAttribute("aria-labelledby", "nowhere");
            main.append(worse);
        }"""
    )
    found = faults(person, "pale", "wide", "broken", "small")
    assert any(text.startswith("button#draft") for text in found["pale"])
    assert "button#draft." in found["wide"]
    assert found["broken"] == ["draft", "nowhere"]
    assert "button#draft." in found["small"]


def test_everything_has_a_name_and_a_role(person):
    page = person.page
    person.say(PETS)
    page.click("#topic")
    nodes = tree(person)
    assert [node for node in nodes if node["role"] in MUST_BE_NAMED and not node["name"]] == []
    roles = {node["role"] for node in nodes}
    assert {"banner", "main", "complementary", "contentinfo", "log", "status", "application"} <= roles
    names = {node["name"] for node in nodes if node["role"] in ("button", "textbox", "slider", "combobox", "radio")}
    wanted = {
        "Topic",
        "Or write what B says",
        "Say it",
        "A",
        "B",
        "Undo last turn",
        "Start again",
        "Number",
        "Diversity",
    }
    assert wanted | {"Seed", "New seed", "Copy conversation", "Copy as curl"} <= names
    shown = [re.sub(r"\s+", " ", name) for name in names]
    assert any(re.fullmatch(rf"1 \. {re.escape(person.cards[0])}( … \(cut off\))?", name) for name in shown)
    combobox = next(node for node in nodes if node["role"] == "combobox")
    assert combobox["expanded"] is True
    assert sum(node["role"] == "option" for node in nodes) == 6
    assert {node.get("live") for node in nodes if node["role"] in ("status", "log")} == {"polite"}


def test_replies_are_announced(person):
    person.say(PETS)
    person.page.wait_for_selector("#announcement[role=status]:has-text('5 replies for B.')", state="attached")
    assert person.page.get_by_role("status").filter(has_text="replies").count() == 1


def test_on_a_phone_no_keyboard_covers_the_replies(visit):
    person = visit(reduced_motion="reduce", **PHONE).arrive()
    person.page.tap("#draft")
    person.page.keyboard.type(PETS)
    person.page.tap("text=Say it")
    person.settle()
    person.page.tap(".card >> nth=1")
    person.settle()
    assert person.at("#replies-title")
    assert not person.page.locator(".keys").first.is_visible()
    last = person.page.locator(".turn").last.bounding_box()
    first = person.page.locator(".card").first.bounding_box()
    assert last["y"] >= 0
    assert first["y"] + first["height"] <= 640


def test_reduced_motion_shows_no_animation(visit):
    person = visit(reduced_motion="reduce").arrive()
    person.expected.append("ERR_FAILED")
    held = person.hold()
    person.page.fill("#draft", PETS)
    person.press("Enter")
    request = held.next()
    moving = "[...document.querySelectorAll('*')].filter(e => e.getAnimations().length).length"
    assert person.page.locator(".skeleton").count() == 5
    assert person.page.evaluate(moving) == 0
    request.abort()


def test_the_page_names_its_model_and_warns_about_its_replies(person):
    assert person.text("#model").startswith("Model: sayings, step 3, licence CC BY 4.0. Version ")
    assert "suggestions by a model that knows no facts" in person.text("footer")


def test_the_content_security_policy_blocks_inline_scripts(person):
    person.expected += ["Content Security Policy", "404"]
    response = person.page.goto(person.url)
    assert "default-src 'self'" in response.headers["content-security-policy"]
    person.page.evaluate(
        """() => new Promise((resolve) => {
            const script = document.createElement("script");
            script.textContent = "window.intruded = true";
            document.body.append(script);
            const image = document.createElement("img");
            image.setAttribute("onerror", "window.intruded = true");
            image.addEventListener("error", resolve); // runs after the attribute's handler would have run
            image.src = "page/nothing.png";
            document.body.append(image);
        })"""
    )
    assert person.page.evaluate("window.intruded") is None


def test_the_files_load_nothing_from_other_hosts():
    files = sorted(PAGE.iterdir())
    assert {file.suffix for file in files} == {".html", ".css", ".js", ".svg"}
    for file in files:
        text = file.read_text(encoding="utf-8")
        outside = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'`]*", text))
        assert outside <= {"http://www.w3.org/2000/svg"}, file
        assert len(text.splitlines()) < 300 or file.suffix == ".css", file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), file
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)", html)
    assert set(re.findall(r"\bid=\"([^\"]+)\"", html)) >= set(
        re.findall(r"\$\(\"([^\"]+)\"\)", (PAGE / "app.js").read_text(encoding="utf-8"))
    )
