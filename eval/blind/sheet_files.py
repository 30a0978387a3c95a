"""The files of a sheet: a table for spreadsheets with its rules, and a page that works without a network.

Open it to change the rules for readers or how a sheet looks. `page.html` has the page.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from eval.blind.sheet import Sheet

QUESTIONS = ("fluent", "fits", "specific")
"""The columns that readers fill in."""

RULES = {
    "fluent": "A person could have said it. Spoken language counts, and so does a short reply.",
    "fits": "It answers or continues this conversation, at this point, said by this speaker.",
    "specific": "It says something of its own, which would not fit most other conversations. Listening noises "
    '("Uh-huh.", "Right.", "I know.") may fit, but they are not specific.',
}
"""What each question means."""

ADVICE = (
    "Read the conversation, then judge each reply to it. The replies are alternatives, in random order.",
    "Answer each question by itself: a reply can be specific and not fit.",
    "Do not guess where a reply comes from, and do not talk to the other readers before all have finished.",
)

SPREADSHEET = "In the table, write 1 for yes and 0 for no under fluent, fits and specific. Leave the ids unchanged."
COLUMNS = ("id", "topic", "conversation", "reply", *QUESTIONS)

_TEMPLATE = Path(__file__).with_name("page.html")
_FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet treats a cell that begins with one of these as a formula


def csv_bytes(sheet: Sheet) -> bytes:
    """The table: a header, then one row for each reply. UTF-8 with the byte order mark that Excel needs."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for context in sheet.contexts:
        conversation = "\n".join(f"{speaker}: {text}" for speaker, text in context.turns)
        for one, text in context.replies:
            cells = (one, context.topic, conversation, f"{context.speaker}: {text}")
            table.writerow([*map(_cell, cells), *("" for _ in QUESTIONS)])
    return buffer.getvalue().encode("utf-8-sig")


def rules_bytes() -> bytes:
    """What readers of the table must know, in Markdown. It is not in the table, whose first row is the header."""
    rules = [f"- **{name}**: {rule}" for name, rule in RULES.items()]
    return (
        "\n".join(("# Reading the sheet", "", *(f"- {line}" for line in ADVICE), "", *rules, "", SPREADSHEET)) + "\n"
    ).encode()


def page_bytes(sheet: Sheet) -> bytes:
    """The page, with all data inside."""
    data = {
        "sheet": sheet.id,
        "advice": ADVICE,
        "rules": RULES,
        "contexts": [context._asdict() for context in sheet.contexts],
    }
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace('"SHEET"', text).encode()


def _cell(text: str) -> str:
    return f" {text}" if text.startswith(_FORMULA) else text
