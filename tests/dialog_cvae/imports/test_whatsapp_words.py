"""Polls, locations, deleted messages and missed calls of WhatsApp are no replies; what people write stays."""

from __future__ import annotations

import time

import pytest

from dialog_cvae.imports.message import MEDIA, SYSTEM


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


@pytest.mark.parametrize(
    "text",
    [
        "You deleted this message",
        "You deleted this message as admin",
        "Du hast diese Nachricht gelöscht.",
        "Vous avez supprimé ce message",
        "Eliminaste este mensaje.",
        "Hai eliminato questo messaggio",
        "Você apagou esta mensagem",
        "Eliminou esta mensagem",
        "Je hebt dit bericht verwijderd",
        "U hebt dit bericht verwijderd",
        "Вы удалили это сообщение",
        "Ви видалили це повідомлення",
        "Bu mesajı sildiniz",
        "Usunąłeś(-ęłaś) tę wiadomość",
        "Tuto zprávu jste smazal/a",
        "Du raderade det här meddelandet",
        "Du slettede denne besked",
        "Du slettet denne meldingen",
        "Poistit tämän viestin",
        "Törölted ezt az üzenetet",
        "Ați șters acest mesaj",
        "Διαγράψατε αυτό το μήνυμα",
        "\u200fמחקת הודעה זו",
        "لقد حذَفت هذه الرسالة",
        "आपने यह मैसेज डिलीट किया",
        "您已删除这条消息。",
        "您已刪除此訊息。",
        "このメッセージを削除しました。",
        "이 메시지를 삭제했습니다",
        "Missed video call",
        "Verpasster Videoanruf",
        "Appel vidéo manqué",
        "Llamada de video perdida",
        "Chiamata vocale persa",
        "Videochiamata persa",
        "Chamada de voz perdida",
        "Videochamada perdida",
        "Gemiste spraakoproep",
        "Gemist videogesprek",
        "Пропущенный аудиозвонок",
        "Cevapsız görüntülü arama",
        "Nieodebrane połączenie głosowe",
        "Missat röstsamtal",
        "Panggilan suara tak terjawab",
        "未接视频通话",
    ],
)
def test_deleted_messages_and_missed_calls_are_left_out(put, imported, text):
    said = ["Ann: one", f"Ann: {text}", "Bo: two", f"Bo: I wrote: {text}", f"Ann: {text}?"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {line}\n" for line in said)), merge=False)
    assert [line.partition(": ")[0] for line in result.said[0]] == ["Ann", "Bo", "Bo", "Ann"]
    assert result.left_out == {MEDIA: 1}


@pytest.mark.parametrize(
    "line",
    [
        "Ann added you to a group in the community: Trips",
        "You joined a group via invite in the community: Trips",
        "Ann te añadió a un grupo en la comunidad: Viajes",
    ],
)
def test_lines_about_a_community_have_no_speaker(put, imported, line):
    lines = ["Ann: one", line, "Bo: two"]
    result = imported(put("chat.txt", "".join(f"13/01/24, 10:00 - {each}\n" for each in lines)))
    assert result.said == [["Ann: one", "Bo: two"]]
    assert result.left_out == {SYSTEM: 1}
