"""What the sender of a mail wrote, in several languages and of several programs."""

from __future__ import annotations

import pytest

from dialog_cvae.imports.mail_text import own_text

BLOCKS = [
    "From: Ann Lee <ann@example.com>\nSent: Saturday, January 13, 2024 10:00 AM\nTo: Bo\nSubject: Parcel",
    "*From:* Ann Lee\n*Date:* Saturday, January 13, 2024 10:00 AM\n*To:* Bo\n*Subject:* Parcel",
    "Von: Ann Lee\nGesendet: Samstag, 13. Januar 2024 10:00\nAn: Bo\nBetreff: Paket",
    "Gesendet: Samstag, 13. Januar 2024 um 10:00 Uhr\nVon: Ann <ann@example.com>\nAn: Bo\nBetreff: Paket",
    "De : Ann Lee\nEnvoyé : samedi 13 janvier 2024 10:00\nÀ : Bo\nObjet : Colis",
    "De: Ann Lee\nEnviado el: sábado, 13 de enero de 2024 10:00\nPara: Bo\nAsunto: Paquete",
    "Da: Ann Lee\nInviato: sabato 13 gennaio 2024 10:00\nA: Bo\nOggetto: Pacco",
    "De: Ann Lee\nEnviado: sábado, 13 de janeiro de 2024 10:00\nPara: Bo\nAssunto: Encomenda",
    "Van: Ann Lee\nVerzonden: zaterdag 13 januari 2024 10:00\nAan: Bo\nOnderwerp: Pakket",
    "Från: Ann Lee\nSkickat: den 13 januari 2024 10:00\nTill: Bo\nÄmne: Paket",
    "Od: Ann Lee\nWysłano: sobota, 13 stycznia 2024 10:00\nDo: Bo\nTemat: Paczka",
    "От: Ann Lee\nОтправлено: 13 января 2024 г. 10:00\nКому: Bo\nТема: Посылка",
    "差出人: Ann Lee\n送信日時: 2024年1月13日 10:00\n宛先: Bo\n件名: 荷物",
    "发件人: Ann Lee\n发送时间: 2024年1月13日 10:00\n收件人: Bo\n主题: 包裹",
    "-----Original Message-----",
    "-----Ursprüngliche Nachricht-----\nVon: Ann",
    "-------- Message d'origine --------",
    "---------- Forwarded message ---------",
    "Begin forwarded message:",
]
HEADS = [
    "On Sat, Jan 13, 2024 at 10:00 AM Ann Lee <ann@example.com> wrote:",
    "On Sat, Jan 13, 2024 at 10:00 AM Ann Lee <ann.lee@long.example.com>\nwrote:",
    "Am Sa., 13. Jan. 2024 um 10:00 Uhr schrieb Ann Lee <ann@example.com>:",
    "Ann Lee <ann@example.com> schrieb am Sa., 13. Jan. 2024, 10:00:",
    "Le sam. 13 janv. 2024 à 10:00, Ann Lee <ann@example.com> a écrit :",
    "El sáb, 13 ene 2024 a las 10:00, Ann Lee (<ann@example.com>) escribió:",
    "Il giorno sab 13 gen 2024 alle ore 10:00 Ann Lee <ann@example.com> ha\nscritto:",
    "Em sáb., 13 de jan. de 2024 às 10:00, Ann Lee <ann@example.com> escreveu:",
    "Op za 13 jan 2024 om 10:00 schreef Ann Lee <ann@example.com>:",
    "Den lör 13 jan. 2024 kl 10:00 skrev Ann Lee <ann@example.com>:",
    "W dniu 13.01.2024 o 10:00 Ann Lee napisał(a):",
    "сб, 13 янв. 2024 г. в 10:00, Ann Lee <ann@example.com>:\n> Ann пишет:",
    "2024年1月13日(土) 10:00 Ann Lee <ann@example.com>:",
    "Ann Lee <ann@example.com> 于2024年1月13日周六 10:00写道：",
]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("rule", ["", "________________________________\n"])
def test_an_earlier_mail_below_is_removed(block, rule):
    assert own_text(f"On its way.\r\n\r\n{rule}{block}\n\nWhere is it?\nAnn\n") == "On its way."


@pytest.mark.parametrize("head", [head for head in HEADS if "\n>" not in head])
def test_a_quoted_mail_is_removed_with_its_head(head):
    below = f"On its way.\n\n{head}\n\n> Where is it?\n>\n>> Hello\n> Ann\n"
    assert own_text(below) == "On its way."
    assert own_text(f"{head}\n> Where is it?\n\nOn its way.\n> And when?\nToday.") == "On its way.\nToday."
    # Without marks at the lines, all that follows is the earlier mail.
    assert own_text(f"On its way.\n\n{head}\nWhere is it?\nAnn\n") == "On its way."
    assert own_text(f"On its way.\n\n{head}\n") == "On its way."


def test_an_answer_below_a_quoted_original_message_stays():
    quoted = "> From: Ann\n> Sent: Saturday\n> To: Bo\n> Subject: Parcel\n>\n> Where is it?"
    assert own_text(f"-----Original Message-----\n\n{quoted}\n\nOn its way.") == "On its way."


@pytest.mark.parametrize(
    "text",
    [
        "My colleague wrote on 3 May 2021:\nit will come.",
        "She wrote:\nit will come.",
        "Am 12.01.2024 schrieb die Post:\nEs ist weg.\n\nWas nun?",
        "I travel.\nVon: Berlin\nAn: Hamburg\nDatum: 3. Mai",
        "From: my desk\nTo: yours\nDate: today",
        "Subject: none\nTo: you\nDate: today",
        "On Monday we met.\nOn Tuesday too.",
        "Prices:\n- 3 > 2\n- a -- b",
        "A list\n--\nwith\n" + "a\n" * 12 + "long rest",
        "I was sent from my school to the fair.",
    ],
)
def test_what_the_sender_wrote_stays(text):
    assert own_text(text) == text.strip()


@pytest.mark.parametrize(
    "end",
    [
        "-- \nAnn Lee\n+1 555 0100",
        "--\nAnn Lee",
        "Sent from my iPhone",
        "Von meinem iPhone gesendet",
        "Get Outlook for Android",
        "Envoyé de mon iPhone",
        "_______________________________________________\nGarden mailing list\ngarden@lists.example.org",
        "[image: logo.png]",
        "[cid:image001.png@01DA46]",
    ],
)
def test_a_signature_is_removed(end):
    assert own_text(f"Hello\n\n\n\nBo,\nthanks.\n\n{end}\n") == "Hello\n\nBo,\nthanks."


def test_a_signature_above_the_quoted_mail():
    assert own_text("Yes.\n-- \nBo\n\nOn 13/01/2024 10:00, Ann wrote:\n> Now?\n") == "Yes."


def test_nothing_but_an_earlier_mail():
    assert own_text("> Where is it?\n> Ann\n") == ""
