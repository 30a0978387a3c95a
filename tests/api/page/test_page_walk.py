"""Normal use of the page by mouse and by keyboard, from the choice of a topic to the copied command."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.api.page.conftest import serving

PETS = "do you like cats ?"
EVERYTHING = {"context", "topic", "respond_as", "num_responses", "seed", "map"}


def test_a_whole_conversation_by_mouse(person):
    page = person.page
    page.click("#topic")
    assert page.get_by_role("option").all_inner_texts()[0] == "No topic"
    page.get_by_role("option", name="PETS").click()
    page.fill("#draft", PETS)
    page.click("text=Say it")
    first = person.settle()
    assert (len(first), len(set(first))) == (5, 5)
    assert person.text("#replies-title") == "B could say"

    page.click(".card >> nth=1")
    person.settle()
    assert person.turns == [("A", PETS), ("B", first[1])]
    assert person.text("#draft-label") == "Or write what A says"
    page.fill("#draft", "we hear birds")
    page.click("text=Say it")
    person.settle()
    page.fill("#draft", "my own words")
    page.click("text=Say it")
    person.settle()

    spoken = [("A", PETS), ("B", first[1]), ("A", "we hear birds"), ("B", "my own words")]
    assert person.turns == spoken
    assert person.asked[-1].keys() == EVERYTHING
    assert person.asked[-1]["context"] == [{"speaker": speaker, "text": text} for speaker, text in spoken]
    assert [body["respond_as"] for body in person.asked] == ["B", "A", "B", "A"]
    assert {body["topic"] for body in person.asked} == {"PETS"}


def test_lines_have_the_direction_of_their_script(person):
    def direction(selector: str) -> str:
        return person.page.eval_on_selector(selector, "element => getComputedStyle(element).direction")

    person.page.fill("#draft", "שלום, מה שלומך?")
    assert direction("#draft") == "rtl"
    person.page.click("text=Say it")
    person.settle()
    assert (direction("#turns p"), direction(".card .text"), direction("#draft")) == ("rtl", "ltr", "ltr")


def test_a_whole_conversation_by_keyboard(person):
    person.tab_to("#topic")
    person.press("m", "u", "s", "Enter")
    assert person.value("#topic") == "MUSIC"
    person.tab_to("#draft")
    page = person.page
    page.keyboard.type(PETS)
    person.press("Enter")
    first = person.settle()
    assert person.at("#replies-title")

    person.press("3")
    assert person.at("#draft")
    person.settle()
    page.keyboard.type("see you")
    person.press("Enter")
    second = person.settle()
    assert person.turns == [("A", PETS), ("B", first[2]), ("A", "see you")]
    assert person.value("#draft") == ""

    person.tab_to(".card")
    person.press("ArrowDown", "Enter")
    person.settle()
    assert person.turns[-1] == ("B", second[1])

    person.press("Escape")
    assert person.at("#replies-title")
    person.press("Escape")
    assert person.at("#draft")
    person.tab_to("#undo")
    person.press("Enter")
    assert person.settle() == second
    assert person.at("#undo")

    person.tab_to("#map")
    person.press("ArrowRight", "Shift+ArrowUp")
    assert person.text("#map-place").startswith("Cursor: 0.25 right, 1 up")
    person.press("Enter")
    page.wait_for_selector("#status:has-text('From 0.25 right, 1 up')")
    assert person.asked[-1]["at"] == [0.25, 1]
    assert person.asked[-1]["num_responses"] == 1
    for stop in ("#number", "#diversity", "#seed", "#new-seed", "footer a"):
        person.tab_to(stop)
    person.tab_to("[name=next]", "Shift+Tab")


def test_digits_pick_a_reply_unless_the_user_types_or_switches_them_off(person):
    page = person.page
    person.say(PETS)
    page.focus("#draft")
    person.press("2")
    assert (person.value("#draft"), len(person.turns)) == ("2", 1)
    page.focus("#seed")
    person.press("2")
    assert len(person.turns) == 1
    page.uncheck("#number-keys")
    person.press("2")
    assert len(person.turns) == 1
    assert page.locator("[aria-keyshortcuts]").count() == 0
    page.check("#number-keys")
    person.press("7", "Control+2")
    assert len(person.turns) == 1
    person.press("2")
    assert len(person.turns) == 2


def test_topics_can_be_searched_and_removed_again(person):
    page = person.page
    person.say(PETS)
    page.click("#topic")
    page.keyboard.type("cook food")
    assert page.get_by_role("option").all_inner_texts() == ["RECIPES/FOOD/COOKING"]
    person.press("Escape")
    assert person.value("#topic") == "No topic"
    page.fill("#topic", "volcanoes")
    assert "No matching topic" in person.text("#topic-list")
    person.press("Enter", "Tab")
    assert (person.value("#topic"), len(person.asked)) == ("No topic", 1)
    page.fill("#topic", "air pollution")
    person.press("Tab")
    person.settle()
    assert person.asked[-1]["topic"] == "AIR POLLUTION"
    page.click("#topic")
    person.press("ArrowUp", "Enter")
    person.settle()
    assert "topic" not in person.asked[-1]


def test_sliders_ask_for_new_replies(person):
    page = person.page
    person.say(PETS)
    page.focus("#number")
    person.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert len(person.settle()) == 8
    assert "diversity" not in person.asked[-1]  # the checkpoint's own options apply
    assert person.value("#diversity") == "1"  # the model's temperature is 1
    assert page.get_attribute("#diversity", "aria-valuetext") == "server's default"
    page.focus("#diversity")
    person.press("Home")
    person.settle()
    assert person.asked[-1]["diversity"] == 0
    person.press("End")
    person.settle()
    assert (person.asked[-1]["num_responses"], person.asked[-1]["diversity"]) == (8, 1)
    assert page.get_attribute("#diversity", "aria-valuetext") == "1.00, the most varied"
    page.focus("#number")
    person.press("End")
    person.settle()
    assert person.asked[-1]["num_responses"] == 20


@pytest.mark.parametrize(
    ("texts", "note"),
    [
        (["yes", "no"], "Only 2 different replies were found."),
        (["yes"], "Only 1 different reply was found."),
        ([], "The model found no reply."),
    ],
)
def test_fewer_replies_and_no_map(person, texts, note):
    answer = {"responses": [{"text": text, "log_prob": -1.0} for text in texts], "topic": None, "seed": 7, "model": "m"}
    person.refuse(status=200, json=answer)
    assert person.say(PETS) == texts
    assert person.text("#replies-note") == note
    assert person.text("#map-place") == "This model has no map."
    person.page.click("#map", force=True)
    assert len(person.asked) == 1


def test_the_page_respects_the_limits_of_the_service(visit, checkpoint):
    with serving(checkpoint, max_responses=3, max_context=2, max_text_chars=12, diversity=0.83) as url:
        person = visit(url).arrive()
        assert (person.page.get_attribute("#number", "max"), person.value("#number")) == ("3", "3")
        assert person.value("#diversity") == "0.85"  # the slider's nearest step
        assert person.page.get_attribute("#diversity", "aria-valuetext") == "0.83"
        for text in ("we hear", "you see", "they like"):
            assert len(person.say(text)) == 3
        assert [turn["text"] for turn in person.asked[-1]["context"]] == ["you see", "they like"]
        assert person.asked[-1]["diversity"] == 0.83
        person.page.fill("#draft", "thirteen char")
        person.page.press("#draft", "Enter")
        assert person.text("#draft-problem") == "This line has 13 characters, 1 more than the limit."


@pytest.mark.slow
def test_the_shipped_model(visit):
    with serving(Path(__file__).parents[3] / "models" / "swda") as url:
        person = visit(url).arrive()
        person.page.fill("#topic", "pets")
        assert len(person.say("Do you have any pets?")) == 5
        for count, x in enumerate((20, 160, 300), 6):
            person.page.click("#map", position={"x": x, "y": 20})
            person.page.wait_for_function("count => document.querySelectorAll('.dot').length === count", arg=count)
        assert len(set(person.cards)) > 5
        assert "CC BY-NC-SA 3.0" in person.text("#model")


def test_the_same_seed_gives_the_same_replies(visit, person):
    page = person.page
    drawn, seed = person.say(PETS), person.value("#seed")
    page.click("#new-seed")
    assert person.settle() != drawn
    assert person.value("#seed") != seed
    page.fill("#seed", seed)
    person.press("Enter")
    assert person.settle() == drawn

    other = visit().arrive()
    other.page.fill("#seed", f" {seed} ")
    assert other.say(PETS) == drawn


def test_an_invalid_seed_is_reported_and_not_sent(person):
    seed = int(person.value("#seed"))
    for text in ("-1", "1.5", "seven", "", str(2**53)):
        person.page.fill("#seed", text)
        person.press("Tab")
        assert person.text("#seed-problem").startswith("A seed is a whole number")
    person.say(PETS)
    assert person.asked[-1]["seed"] == seed
    person.page.fill("#seed", str(2**53 - 1))
    person.press("Tab")
    assert person.text("#seed-problem") == ""
    person.settle()
    assert person.asked[-1]["seed"] == 2**53 - 1


def test_a_click_on_the_map_adds_a_reply_from_that_place(person):
    page = person.page
    replies = person.say(PETS)
    assert page.locator(".dot").count() == 5
    box = page.locator("#map svg").bounding_box()
    places = [(0.06, 0.06), (0.94, 0.06), (0.06, 0.94), (0.94, 0.94), (0.5, 0.03)]
    for count, (across, down) in enumerate(places, 6):
        page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
        page.wait_for_function("count => document.querySelectorAll('.dot').length === count", arg=count)
        newest = page.locator(".dot.lit >> nth=-1").bounding_box()
        middle = newest["x"] + newest["width"] / 2, newest["y"] + newest["height"] / 2
        assert middle == pytest.approx((box["x"] + across * box["width"], box["y"] + down * box["height"]), abs=2)
        assert person.asked[-1]["at"] == pytest.approx(person.asked[-1]["at"])
        assert len(person.asked[-1]["at"]) == 2
    cards = person.cards
    assert cards[:5] == replies
    assert len(set(cards)) == len(cards) > 5
    assert page.locator(".card .from").count() == len(cards) - 5
    picked = cards[5]
    page.mouse.move(0, 0)
    page.click("h1")
    person.press("6")
    person.settle()
    assert person.turns[-1] == ("B", picked)


def test_dots_do_not_overlap(person):
    places = [[0.5, 0.5], [0.5, 0.5], [0.52, 0.5], [-1.5, 2.0], [5.5, -5.9]]
    texts = [{"text": f"reply {i}", "log_prob": -1.0, "place": place} for i, place in enumerate(places)]
    person.refuse(status=200, json={"responses": texts, "topic": None, "seed": 7, "model": "m"})
    person.say(PETS)
    boxes = [dot.bounding_box() for dot in person.page.locator(".dot circle").all()]
    middles = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    for index, one in enumerate(middles):
        assert all(math.dist(one, other) > 15 for other in middles[:index])
    frame = person.page.locator("#map").bounding_box()
    assert all(frame["x"] < x < frame["x"] + frame["width"] for x, _ in middles)
    assert all(frame["y"] < y < frame["y"] + frame["height"] for _, y in middles)


def test_a_card_and_its_dot_are_highlighted_together(person):
    page = person.page
    person.say(PETS)
    lit = "[...document.querySelectorAll('.lit')].map(e => `${e.classList[0]} ${e.dataset.card}`).sort()"
    page.hover(".card >> nth=3")
    assert page.evaluate(lit) == ["card 3", "dot 3"]
    page.mouse.move(0, 0)
    assert page.evaluate(lit) == []
    person.tab_to(".card")
    assert page.evaluate(lit) == ["card 0", "dot 0"]
    person.press("End")
    assert page.evaluate(lit) == ["card 4", "dot 4"]
    page.locator(".dot[data-card='2']").dispatch_event("click", {"bubbles": True})
    assert page.evaluate(lit) == ["card 2", "dot 2"]
    assert person.at(".card[data-card='2']")
    assert len(person.asked) == 1


def test_undo_restores_every_step(person):
    page = person.page
    first = person.say(PETS)
    page.click(".card >> nth=0")
    person.settle()
    person.say("a line of mine")
    asked = len(person.asked)
    page.click("#undo")
    assert person.value("#draft") == "a line of mine"
    assert len(person.turns) == 2
    page.click("#undo")
    assert (person.turns, person.settle()) == ([("A", PETS)], first)
    assert len(person.asked) == asked, "the replies shown before are reused"

    page.fill("#draft", "")
    page.click("#restart")
    assert (person.turns, page.locator("#replies").is_visible()) == ([], False)
    page.click("text=Restore old conversation")
    assert (person.turns, person.settle()) == ([("A", PETS)], first)
    page.click("#undo")
    assert (person.turns, person.value("#draft")) == ([], PETS)
    page.focus("#undo")
    person.press("Enter")
    page.wait_for_selector("#status:has-text('There is nothing to undo.')")


def test_either_speaker_can_be_next(person):
    page = person.page
    page.click(".speakers label:has-text('B')")
    person.say("i begin")
    assert person.text("#replies-title") == "A could say"
    page.click(".speakers label:has-text('B')")
    person.settle()
    assert person.asked[-1]["respond_as"] == "B"
    page.click(".card >> nth=0")
    person.settle()
    assert [speaker for speaker, _ in person.turns] == ["B", "B"]


def test_the_conversation_and_the_curl_command_can_be_copied(person):
    page = person.page
    replies = person.say("don't they like 'cats' & \"dogs\" ? $HOME `ls` ü😀")
    page.click("#copy-curl")
    page.wait_for_selector("#status:has-text('Command copied.')")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()").replace("\\\n", " "))
    assert words[:3] == ["curl", "-s", f"{person.url}respond"]
    assert words[3:6] == ["-H", "Content-Type: application/json", "-d"]
    with urlopen(Request(words[2], words[6].encode(), {"Content-Type": "application/json"})) as answer:
        assert [each["text"] for each in json.load(answer)["responses"]] == replies
    page.click(".card >> nth=0")
    page.click("#copy-text")
    page.wait_for_selector("#status:has-text('Conversation copied.')")
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(f"{who}: {text}" for who, text in person.turns)


def test_without_a_clipboard_the_text_is_shown_for_copying(visit):
    person = visit()
    person.page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    person.arrive().say(PETS)
    person.page.click("#copy-text")
    assert person.value("#copy-source") == f"A: {PETS}"
    assert person.at("#copy-source")
    person.press("Escape")
    assert not person.page.locator("#copy-dialog").is_visible()


def test_a_reload_keeps_the_conversation_and_settings(person):
    page = person.page
    page.fill("#topic", "music")
    person.say(PETS)
    page.click(".card >> nth=0")
    person.settle()
    page.focus("#number")
    person.press("ArrowRight")
    cards, turns = person.settle(), person.turns
    page.fill("#draft", "half a li")
    page.reload()
    page.wait_for_selector(".card")
    assert (person.turns, person.cards, person.value("#draft")) == (turns, cards, "half a li")
    assert (person.value("#topic"), person.value("#number")) == ("MUSIC", "6")
    page.click("#undo")
    assert person.turns == turns[:1]


def test_markup_is_shown_as_text(person):
    markup = "<img src=x onerror=alert(1)><b>bold</b> &amp;"
    person.say(markup)
    assert person.turns == [("A", markup)]
    assert person.page.locator("#turns b, #turns img").count() == 0
