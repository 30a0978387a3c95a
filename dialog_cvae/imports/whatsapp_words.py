"""WhatsApp's own words among the words of people: for files, deleted and edited messages, and about a group.

Open this to add a language. Phrases are compared without marks and without regard to case.
"""

from __future__ import annotations

import re
from typing import Final

MARKS: Final = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_MARKED: Final = re.compile(f"[{MARKS}]")
_SPACE: Final = MARKS + " \t\n"
_MAX_NAME: Final = 100  # most characters of a speaker's name
_MAX_OMITTED: Final = 5  # most words that iOS writes in place of a file

# Android: `<Media omitted>`, in every language. On a line above a caption, a tag such as <b> does not count.
_OMITTED: Final = re.compile(r"<[^<>\n]+>|null")
_OMITTED_ABOVE: Final = re.compile(r"<(?=[^<>\n]*[^!-~])[^<>\n=\"/]+>")
# iOS: `image omitted`, after a mark.
_OMITTED_AFTER: Final = re.compile(
    r"<[^<>\n]+>|[^\n]*(?:omitted|(?:weg|aus)gelassen|omitid[oa]|omise?\b|absente?\b|manquante?\b|omess[oa]|ocult(?:ad)?[oa]"
    r"|weggelaten|отсутствует|пропущен|dahil edilmedi|pominięt|udelad|utelat|utelämna|jätetty pois|vynechán|kihagyva"
    r"|παραλείφθηκε|略|생략|bỏ qua|tidak disertakan|dikecualikan|استبعاد|הושמט)[^\n]*",
    re.IGNORECASE,
)
_DOCUMENT: Final = re.compile(r"[^\n•]+\.\w{1,10} •(?: [^\n•]*)?")  # iOS, before the mark: a file's name and its pages
_ATTACHMENT: Final = re.compile(r"<[^<>\n:]+:\s?\d{8}-[^<>\n]+>")  # iOS: `<attached: 00000013-report.pdf>`
# Android: `report.pdf (file attached)`; current versions write a mark before it.
_FILE: Final = re.compile(r"(?P<name>[^\n]+\.\w{1,10}) \((?P<words>[^()\n]+)\)")
_OWN_NAME: Final = re.compile(r"[A-Z]{3}-\d{8}-WA\d{4,}\.\w+")
_ATTACHED: Final = re.compile(
    "file attached|datei angehängt|archivo adjunto|fichier joint|file allegato|arquivo anexado|ficheiro anexado"
    "|bestand bijgevoegd|fil bifogad|bifogad fil|fil vedhæftet|fil vedlagt|tiedosto liitetty|plik załączony"
    "|plik dołączony|załączono plik|soubor byl přiložen|přiložený soubor|csatolt fájl|fájl csatolva|fișier atașat"
    "|dosya ekli|файл добавлен|файл додано|συνημμένο αρχείο|الملف مرفق|ملف مرفق|קובץ מצורף|הקובץ מצורף|फ़ाइल संलग्न"
    "|file terlampir|fail dilampirkan|fail disertakan|fitxer adjunt|tệp đính kèm|附件|文件附件|已附加檔案"
    "|檔案已附加|添付ファイル|ファイル添付|첨부 파일|파일 첨부됨|첨부된 파일",
    re.IGNORECASE,
)
# What Android writes for a deleted message, without a mark: for those of others, then for one's own.
_DELETED: Final = re.compile(
    "(?:this message was deleted(?: by admin .+)?"
    "|diese nachricht wurde (?:von (?:admin|dem admin) .+ )?gelöscht"
    "|(?:se eliminó este mensaje|este mensaje fue eliminado)(?: por .+)?"
    "|ce message a été supprimé(?: par .+)?|questo messaggio è stato eliminato(?: da .+)?|mensagem apagada"
    "|es[ts]a mensagem foi (?:apagada|eliminada)(?: por .+)?|dit bericht (?:is|werd) verwijderd|bu mesaj silindi"
    "|(?:данное|это) сообщение (?:было )?удалено|це повідомлення (?:було )?видалено|pesan ini (?:telah )?dihapus"
    "|mesej ini telah dipadam|ta wiadomość została usunięta|tato zpráva byla (?:odstraněna|smazána)"
    "|táto správa bola odstránená|(?:det här meddelandet|detta meddelande) (?:raderades|togs bort)"
    "|denne besked blev slettet|denne meldingen ble slettet|tämä viesti poistettiin"
    "|ez az üzenet (?:törölve lett|törlésre került)|acest mesaj a fost șters|αυτό το μήνυμα διαγράφηκε"
    "|تم حذف هذه الرسالة|הודעה זו נמחקה|यह (?:संदेश|मैसेज) (?:हटाया|मिटाया|डिलीट किया) गया(?: था)?"
    "|此消息已(?:被)?删除|这条消息已删除|此訊息已(?:遭|被)?刪除|このメッセージは削除されました"
    "|이 메시지는 삭제되었습니다|삭제된 메시지입니다|tin nhắn này đã bị x(?:óa|oá)|ข้อความนี้(?:ได้)?ถูกลบ(?:แล้ว)?"
    "|you deleted this message(?: as admin)?|du hast diese nachricht (?:als admin )?gelöscht|eliminaste este mensaje"
    "|(?:vous avez|tu as) supprimé ce message|hai eliminato questo messaggio"
    "|(?:(?:você )?(?:apagou|eliminou)|apagaste|eliminaste) esta mensagem|(?:je|u) hebt dit bericht verwijderd"
    "|bu mesajı sildiniz|вы удалили (?:данное|это) сообщение|ви видалили це повідомлення"
    "|anda (?:telah )?menghapus pesan ini|anda (?:memadam|telah memadamkan) mesej ini|usunięto tę wiadomość"
    r"|usunąłeś\((?:-ęł)?aś\) tę wiadomość|tuto zprávu jste (?:smazal|odstranil)(?:/a|i)|túto správu ste odstránili"
    "|du raderade (?:det här meddelandet|detta meddelande)|du (?:slettede|har slettet) denne besked"
    "|du slettet denne meldingen|poistit tämän viestin|törölted ezt az üzenetet|ezt az üzenetet törölted"
    "|a[țţ]i [șş]ters acest mesaj|διαγράψατε (?:αυτό )?το μήνυμα|izbrisali ste ovu poruku"
    "|has (?:suprimit|esborrat) aquest missatge|(?:لقد|أنت) حذَ?فت هذه الرسالة|מחקת (?:הודעה זו|את ההודעה הזו)"
    "|आपने यह (?:संदेश|मैसेज) (?:मिटाया|डिलीट किया)|[您你]已删除(?:这条|此)消息|[您你]已刪除此訊息"
    "|このメッセージを削除しました|이 메시지를 삭제했습니다|삭제한 메시지입니다|bạn đã x(?:óa|oá) tin nhắn này"
    "|คุณ(?:ได้)?ลบข้อความนี้(?:แล้ว)?|waiting for this message.*)[.。]?",
    re.IGNORECASE,
)
_MISSED_CALL: Final = re.compile(
    r"(?:missed (?:group )?(?:voice|video) call(?: at [\d:. ]+(?:[ap]m)?)?(?:[.,] (?:tap|click) to call back)?"
    r"|verpasster (?:gruppen-?)?(?:sprach|video)anruf(?: um [\d:. ]+(?:uhr)?)?(?:[.,] (?:zum|tippe).*)?"
    "|llamada (?:de voz |de v[ií]deo |grupal )?perdida|videollamada perdida|appel (?:vocal|vidéo) manqué"
    "|(?:chiamata vocale|videochiamata) persa|(?:(?:chamada|ligação) de (?:voz|vídeo)|videochamada) perdida"
    "|gemiste (?:spraakoproep|video-oproep)|gemist (?:spraak|video)gesprek|cevapsız (?:sesli|görüntülü) arama"
    "|пропущенный (?:аудио|видео)звонок|пропущений (?:аудіо|відео)дзвінок"
    r"|nieodebrane (?:połączenie|poł\.) (?:głosowe|wideo)|zmeškaný (?:hlasový hovor|videohovor)"
    "|missat (?:röst|video)samtal|ubesvaret (?:tale|video)opkald|tapt (?:tale|video)anrop"
    "|vastaamaton (?:ääni|video)puhelu|nem fogadott (?:hang|vide[oó])hívás|apel (?:vocal|video) (?:ratat|nepreluat)"
    "|αναπάντητη (?:φωνητική κλήση|βιντεοκλήση)|propušteni (?:glasovni poziv|videopoziv)"
    "|(?:trucada de (?:veu|vídeo)|videotrucada) perduda|panggilan (?:suara|video) (?:tak terjawab|terlepas)"
    "|مكالمة (?:صوتية|فيديو) فائتة|(?:שיחה קולית|שיחת וידאו) שלא נענתה|मिस्ड (?:वॉइस|वीडियो) कॉल"
    "|未接(?:语音|视频)通话|未接(?:語音|視像)通話|(?:音声|ビデオ)通話不在着信|부재중 (?:음성|영상) ?통화)[.。]?",
    re.IGNORECASE,
)
_LOCATION: Final = re.compile(
    r"(?:location|standort|ubicación|localização|localisation|posizione|locatie|konum|местоположение)[ \xa0]?: "
    r"https://maps\.google\.com/\?q=-?\d[\d.]*,-?\d[\d.]*"
    "|live location shared|live-standort wird geteilt|ubicación en tiempo real compartida|live locatie gedeeld",
    re.IGNORECASE,
)
_WHOLE: Final = (_OMITTED, _DELETED, _MISSED_CALL, _LOCATION)  # they match whole messages
# A poll: `POLL:`, a line with the question, and lines such as `OPTION: Pizza (2 votes)`; each language has its words.
_CAPITALS: Final = r"[^\W\d_]+(?: [^\W\d_]+){0,2}"
_POLL: Final = re.compile(rf"({_CAPITALS})[ \xa0]?:")
_CHOICE: Final = re.compile(rf"({_CAPITALS})[ \xa0]?: [^\n]+ \(\d[\d.,]*[ \xa0][^\d()\n]{{1,30}}\)")
_MIN_CHOICES: Final = 2
# Words in `<This message was edited>` at the end of a message.
_EDITED: Final = re.compile(
    "edited|bearbeitet|edit(?:ó|ad[oa])|modifi(?:é|cat[oa])|bewerkt|измен|düzenlendi|diedit|disunting|redigera?[dt]"
    "|redigeret|muokattu|edytowan|upraven|szerkeszt|επεξεργα|編[辑輯集]|编辑|수정|تعديل|נערכה|संपादित|chỉnh sửa|แก้ไข",
    re.IGNORECASE,
)
# Quotation marks around the name of a group, which may have a colon: the closing ones, by the opening one.
_QUOTES: Final = {
    '"': '"',
    "“": "”",
    "”": "”",
    "„": "“”",
    "‚": "‘’",
    "«": "»",
    "»": "«",
    "‹": "›",
    "「": "」",
    "『": "』",
    "《": "》",
}
_CHANGED: Final = re.compile(
    r"\bchanged the (?:group )?(?:description|subject|name)\b"
    r"|\b(?:added you to a group|joined a group via invite) in the community\b"
    r"|\bte añadió a un grupo en la comunidad\b"
    r"|\bhat (?:die|den) gruppen?(?:beschreibung|betreff|namen?)\b"
    r"|\bcambió (?:la descripción|el asunto|el nombre)\b|\ba (?:changé|modifié) (?:la description|le sujet|le nom)\b"
    r"|\bha (?:cambiato|modificato) (?:la descrizione|l'oggetto|il nome)\b|\b(?:mudou|alterou) (?:a descrição|o nome)\b"
    r"|\bheeft (?:de (?:groeps)?(?:beschrijving|naam)|het onderwerp)\b|\bgru(?:p|bun) açıklamasını\b"
    r"|\bизменила?(?:\(а\))? (?:описание|тему|название)\b",
    re.IGNORECASE,
)


def is_system(speaker: str) -> bool:
    """Whether the text before a colon is from a line of the program, such as `Ann changed the group description to`."""
    return len(speaker) > _MAX_NAME or _CHANGED.search(speaker) is not None


def closes_quotation(speaker: str, text: str) -> bool:
    """Whether a quotation begins before the colon of a line and ends after it, as in `Ann created “Trip: Harz”`."""
    return any(mark in text for mark in _closing(speaker))


def said(text: str, *, is_ios: bool) -> str:
    """What a person wrote in a message; empty for a file without words, a deleted message, a poll or a location.

    Args:
        text: all lines of a message.
        is_ios: whether it is from iOS, which marks what the program wrote.
    """
    is_marked = text.startswith("\u200e")
    if is_marked and is_ios:
        return ""
    text = _without_edited(text.strip(" \t\n"))
    text = _before_omitted(text) if is_ios else text
    text = _stripped(text)
    if any(pattern.fullmatch(text) for pattern in _WHOLE) or _is_poll(text):
        return ""
    first, _, caption = text.partition("\n")
    if _OMITTED_ABOVE.fullmatch(first.strip(_SPACE)) or _is_attached(first, is_marked):
        return _stripped(caption)
    return text


def _stripped(text: str) -> str:
    """The text without marks and spaces around it, except the mark U+2069 that ends a WhatsApp mention."""
    found = text.strip(_SPACE)
    return found + "\u2069" if found.rfind("@\u2068") > found.rfind("\u2069") else found


def _without_edited(text: str) -> str:
    """The text without `<This message was edited>` at its end."""
    end = text.rstrip(_SPACE)
    start = end.rfind("<") if end.endswith(">") else -1
    if start < 0 or "\n" in end[start:] or _ATTACHMENT.fullmatch(end, start):
        return text
    is_marked = text[:start].endswith(tuple(MARKS))
    return text[:start] if is_marked or _EDITED.search(end, start) else text


def _before_omitted(text: str) -> str:
    """The words before iOS's phrase for a picture or document; the whole text if it does not end with one."""
    start = text.rfind("\u200e")
    phrase = text[start:].strip(_SPACE)
    is_short = len(phrase.split()) <= _MAX_OMITTED or _ATTACHMENT.fullmatch(phrase)
    if start < 0 or not is_short or not _OMITTED_AFTER.fullmatch(phrase):
        return text
    above, line_end, last = text[:start].rpartition("\n")
    return above if _DOCUMENT.fullmatch(last.strip(_SPACE)) else above + line_end + last


def _is_attached(line: str, is_marked: bool) -> bool:
    """Whether a line is the name of a file with a note that it is attached.

    People write such lines too: `see you at 10.30 (maybe)`. So there must be a mark, a known note or one of the
    program's own file names.
    """
    match = _FILE.fullmatch(line.strip(_SPACE)) if line.rstrip(_SPACE).endswith(")") else None
    if match is None:
        return False
    return is_marked or bool(_ATTACHED.fullmatch(match["words"]) or _OWN_NAME.fullmatch(match["name"]))


def _is_poll(text: str) -> bool:
    """Whether the text is a poll: a title in capitals, a question, and choices with votes, all with the same word."""
    title, *lines = text.split("\n")
    match = _POLL.fullmatch(title.strip(_SPACE))
    if match is None or not match[1].isupper() or len(lines) <= _MIN_CHOICES:
        return False
    words = set()
    for line in lines[1:]:
        choice = _CHOICE.fullmatch(_MARKED.sub("", line).strip())
        if choice is None:
            return False
        words.add(choice[1])
    return len(words) == 1 and words.pop().isupper()


def _closing(text: str) -> str:
    """The marks that end the quotation in which the text ends; empty if it is in none."""
    ends = ""
    for character in text:
        if not ends:
            ends = _QUOTES.get(character, "")
        elif character in ends:
            ends = ""
    return ends
