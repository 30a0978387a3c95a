"""What mail programs write into mails, in several languages.

Open this to add the words of a language.
"""

from __future__ import annotations

import re
from typing import Final

# Before a subject, with a colon: of a reply, and of a forwarded mail.
REPLIES: Final = (
    *("re", "aw", "antw", "antwort", "sv", "vs", "odp", "ynt", "yan", "rif", "r", "res", "rép", "atb", "vá"),
    *("回复", "回覆", "答复", "返信", "ответ"),
)
FORWARDS: Final = (
    *(
        "fw",
        "fwd",
        "wg",
        "tr",
        "rv",
        "enc",
        "vb",
        "vl",
        "doorst",
        "i",
        "pd",
        "ilt",
        "továbbítás",
        "转发",
        "轉寄",
        "転送",
    ),
)
# The labels of a block above an earlier mail, as Outlook writes it: of the sender, of time
# and recipient, and of the subject.
SENDERS: Final = (
    *("From", "Von", "De", "Da", "Van", "Från", "Fra", "Od", "Lähettäjä", "Kimden", "Feladó", "От", "Від"),
    *("差出人", "送信者", "发件人", "寄件者", "보낸 사람"),
)
BELOW: Final = (
    *("Sent", "Date", "To", "Gesendet", "Datum", "An", "Envoyé", "Envoyé le", "Date", "À", "A", "Enviado"),
    *("Enviado el", "Fecha", "Para", "Inviato", "Data", "Enviada em", "Enviado em", "Verzonden", "Aan", "Skickat"),
    *("Till", "Sendt", "Dato", "Til", "Lähetetty", "Päivä", "Vastaanottaja", "Wysłano", "Wysłane", "Do", "Odesláno"),
    *("Komu", "Gönderildi", "Tarih", "Kime", "Elküldve", "Címzett", "Отправлено", "Дата", "Кому", "Надіслано"),
    *("送信日時", "日時", "宛先", "发送时间", "日期", "收件人", "寄件日期", "收件者", "보낸 날짜", "받는 사람"),
)
SUBJECTS: Final = (
    *("Subject", "Betreff", "Objet", "Asunto", "Oggetto", "Assunto", "Onderwerp", "Ämne", "Emne", "Aihe", "Temat"),
    *("Předmět", "Konu", "Tárgy", "Тема", "件名", "主题", "主旨", "제목"),
)
# Between dashes above an earlier mail.
ORIGINALS: Final = (
    *("Original Message", "Original message", "Forwarded message", "Forwarded Message"),
    *("Ursprüngliche Nachricht", "Original-Nachricht", "Originalnachricht", "Weitergeleitete Nachricht"),
    *("Message d'origine", "Message d’origine", "Message original", "Message transféré", "Message initial"),
    *("Mensaje original", "Mensaje reenviado", "Messaggio originale", "Messaggio inoltrato"),
    *("Mensagem original", "Mensagem encaminhada", "Oorspronkelijk bericht", "Doorgestuurd bericht"),
    *("Ursprungligt meddelande", "Originalmeddelande", "Oprindelig meddelelse", "Opprinnelig melding"),
    *("Alkuperäinen viesti", "Wiadomość oryginalna", "Původní zpráva", "Orijinal Mesaj"),
    *("Исходное сообщение", "Пересылаемое сообщение", "原始邮件", "转发邮件", "元のメッセージ", "転送メッセージ"),
)
# Alone on the line above one, with a colon.
BEGINNINGS: Final = (
    *("Begin forwarded message", "Anfang der weitergeleiteten Nachricht", "Anfang der weitergeleiteten E-Mail"),
    *("Début du message transféré", "Début du message réexpédié", "Inicio del mensaje reenviado"),
    *("Inizio messaggio inoltrato", "Início da mensagem encaminhada", "Begin doorgestuurd bericht"),
)
# The verb in a line such as "On Sat, 13 Jan 2024 at 10:00, Ann wrote:".
WROTE: Final = (
    r"wrote|writes|schrieb|schrieben|a écrit|escribió|ha scritto|scrive|escreveu|schreef|skrev|kirjoitti"
    r"|napisał\w*(?:\(a\))?|napsal\w*(?:\(a\))?|yazdı|írta|a scris|написал\w*(?:\(а\))?|пишет|пише"
)
WROTE_WITHOUT_SPACES: Final = "写道|寫道|님이 작성"
# The first word of such a line, which may go on in the next.
OPENERS: Final = (*("On", "At", "Am", "Le", "El", "Il", "Em", "Op", "Den", "På", "W dniu", "Dnia", "Dne", "В"),)
# Lines that phones and their programs add.
PHONES: Final = (
    r"Sent (?:from|via|with) (?:my|the|Outlook|Mail|Yahoo|Proton|Samsung)\b.{0,40}|Get Outlook for .{0,20}"
    r"|Von mein\w* .{1,30} gesendet\.?|Gesendet (?:mit|von|aus) .{1,40}|Envoyé (?:de mon|depuis|à partir) .{1,40}"
    r"|Enviado (?:desde|do|a partir) .{1,40}|Inviato da.{1,40}|(?:Verzonden|Verstuurd) van.{1,40}"
    r"|Skickat från .{1,40}|Sendt fra .{1,40}|Lähetetty .{1,30}ista"
)
# Subjects of automatic replies, from their beginning.
AUTOMATIC: Final = (
    r"auto(?:matic)?[ -]?(?:reply|response)\b|autoreply\b|out of (?:the )?office\b|automatische antwort\b"
    r"|abwesenheits(?:notiz|nachricht|assistent)|réponse automatique\b|respuesta automática\b"
    r"|risposta automatica\b|resposta automática\b|automatisch(?:e)? antwoord\b|autosvar\b|automatisk svar\b"
    r"|automaattinen vastaus\b|odpowiedź automatyczna\b|automatická odpověď\b|автоответ|автоматический ответ"
    r"|自動返信|自動応答|自动回复|自動回覆"
)
# Labels of Gmail for mails that are not part of a conversation.
NOT_KEPT: Final = frozenset(
    {
        *("spam", "trash", "drafts", "draft", "chat"),
        *("papierkorb", "entwürfe", "corbeille", "brouillons", "papelera", "borradores", "cestino", "bozze"),
        *("prullenbak", "concepten", "lixeira", "rascunhos"),
    }
)


def longest_first(words: tuple[str, ...]) -> str:
    """A pattern that matches one of some words."""
    return "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))
