"""Polls and locations of WhatsApp are no replies; shouting and links that people write stay."""

from __future__ import annotations

import time

import pytest

from dialog_cvae.imports.message import MEDIA


@pytest.mark.parametrize(
    "text",
    [
        "POLL:\nWhat do we eat?\nOPTION: Pizza (2 votes)\nOPTION: Pasta (with cheese) (1 vote)",
        "POLL:\nWhat do we eat?\nOPTION: Pizza (\u200e2 votes)\nOPTION: Pasta (\u200e0 votes)\n",
        "UMFRAGE:\nWas: heute?\nOPTION: Pizza (12 Stimmen)\nOPTION: Nudeln (0 Stimmen)\nOPTION: nichts (1 Stimme)",
        "SONDAGE\u00a0:\nQuoi ?\nCHOIX\u00a0: Pizza (2 votes)\nCHOIX\u00a0: Rien (1.234 votes)",
        "ОПРОС:\nКогда?\nВАРИАНТ: завтра (2 голоса)\nВАРИАНТ: никогда (5 голосов)",
        "location: https://maps.google.com/?q=52.5200,13.4050",
        "Standort: https://maps.google.com/?q=-33.8,151.2",
        "Localisation : https://maps.google.com/?q=1,2",
        "live location shared",
        "Live-Standort wird geteilt",
        "ubicación en tiempo real compartida",
    ],
)
def test_polls_and_locations_are_left_out(put, imported, text):
    said = ["Ann: one", f"Ann: {text}", "Bo: two"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in said)))
    assert result.said == [["Ann: one", "Bo: two"]]
    assert result.left_out == {MEDIA: 1}


@pytest.mark.parametrize(
    "text",
    [
        "STOP:\nI mean it\nNOW: or else (2 days)",
        "STOP:\nI mean it\nNOW: or else (2 days)\nNEVER: again (3 days)",
        "LIST:\nwhat we need\nMILK: two (2 bottles)\nBREAD: one (1 loaf)",
        "List:\nwhat we need\nITEM: milk (2 bottles)\nITEM: bread (1 loaf)",
        "LIST:\nwhat we need\nItem: milk (2 bottles)\nItem: bread (1 loaf)",
        "LIST:\nwhat we need\nITEM: milk (2 bottles)\nITEM: bread",
        "LIST:\nwhat we need\nITEM: milk (2 bottles)\nITEM: bread (1 loaf)\nok?",
        "LIST: food\nwhat we need\nITEM: milk (2 bottles)\nITEM: bread (1 loaf)",
        "POLL:",
        "home: https://maps.google.com/?q=52.5,13.4",
        "location: https://maps.google.com/?q=52.5,13.4 at noon",
        "location: https://maps.google.com/?q=Berlin",
        "https://maps.google.com/?q=52.5,13.4",
        "is the live location shared?",
    ],
)
def test_shouting_and_links_stay(put, imported, text):
    result = imported(put("chat.txt", f"13/01/24, 10:00 - Ann: {text}\n13/01/24, 10:01 - Bo: two\n"))
    assert result.said == [[f"Ann: {text}", "Bo: two"]]
    assert result.left_out == {}


@pytest.mark.parametrize("line", ["A: ", "A ", "A: x (1 ", "(1 a) ", "\u200e"])
def test_long_lines_that_resemble_a_poll_take_little_time(put, imported, line):
    said = f"POLL:\nwhat?\n{line * 20_000}\n" + f"A: {line * 20_000}(1 vote)\n" * 2
    start = time.process_time()
    imported(put("chat.txt", f"13/01/24, 10:00 - Ann: {said}13/01/24, 10:01 - Bo: yo\n13/01/24, 10:02 - Ann: hi\n"))
    assert time.process_time() - start < 2
