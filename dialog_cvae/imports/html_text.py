"""Removes HTML tags from texts, such as the bodies of messages of help desks.

Open this if tags stay in a text, or if text that is not HTML is changed. Only text with tags where such bodies have
them is changed at all, and of other names in angle brackets, such as <EMAIL>, none is removed.
"""

from __future__ import annotations

import html
import re
from html.entities import html5
from typing import Final

from dialog_cvae.imports.message import Log
from dialog_cvae.text.placeholders import PLACEHOLDERS

WITH_HTML: Final = "texts with HTML, whose tags were removed"
_BLOCKS: Final = (
    "p|div|li|ul|ol|tr|table|h[1-6]|blockquote|hr|pre|tbody|thead|tfoot|center|html|head|body|title|section|article|"
    "header|footer|figure|figcaption"
)
_CELLS: Final = "td|th"
_OTHERS: Final = "span|a|b|i|u|s|em|strong|font|small|big|sub|sup|img|code|meta|link|label|wbr"
_PLACEHOLDER: Final = f"(?-i:{'|'.join(PLACEHOLDERS)})"
# A quoted value ends before the next tag, so that no search goes on beyond it: long texts take little time.
_VALUES: Final = rf"""(?:[^<>"']|{_PLACEHOLDER}|"(?:[^"<]|{_PLACEHOLDER})*+"|'(?:[^'<]|{_PLACEHOLDER})*+'|["'])*+"""
# The first attribute has a value, or is one of those that never have one; so `a <b and c> d` has no tag.
_INSIDE: Final = rf"(?:\s++(?:[\w:-]++\s*+=|(?:nowrap|noshade|hidden)(?![\w:-])){_VALUES}|\s*+/?)"
# Text is HTML with the end of a block, a link, or such a tag at the beginning of a line, after a word, or after a
# sentence. A tag between two words is rather one that the text is about.
_IS_HTML: Final = re.compile(
    rf"</(?:{_BLOCKS}|{_CELLS}|span)\s*+>|<a\s(?:[^<>]*\s)?href\s*+="
    rf"|(?:^|[.!?>] {{0,3}}|[\w,;:)])<(?:p|br|div|span|ul|ol|table){_INSIDE}>",
    re.IGNORECASE | re.MULTILINE,
)
_CODE: Final = r"```.*?(?:```|\Z)|`[^`\n]*`"  # code in Markdown
_MARKDOWN: Final = re.compile(_CODE, re.DOTALL)
_OPENING: Final = re.compile(
    rf"(?P<code>{_CODE})|(?P<comment><!--)|(?P<style><style\b[^<>]*>)|(?P<script><script\b[^<>]*>)",
    re.IGNORECASE | re.DOTALL,
)
_ENDS: Final = {
    "comment": re.compile("-->"),
    "style": re.compile(r"</style\s*+>", re.IGNORECASE),
    "script": re.compile(r"</script\s*+>", re.IGNORECASE),
}
_TAG: Final = re.compile(
    rf"(?!{_PLACEHOLDER})"
    rf"(?:(?P<line><br{_INSIDE}>)|(?P<block></?(?:{_BLOCKS}){_INSIDE}>)|(?P<cell></?(?:{_CELLS}){_INSIDE}>)"
    rf"|</?(?:{_OTHERS}){_INSIDE}>|<!doctype[^<>]*>)",
    re.IGNORECASE,
)
_UNKNOWN_TAG: Final = re.compile(
    rf"</?(?!(?:br|{_BLOCKS}|{_CELLS}|{_OTHERS}|style|script)[\s/>])[a-z][\w:-]*(?:\s[^<>]*)?/?>", re.IGNORECASE
)
_CODE_MARK, _BLOCK_MARK, _CELL_MARK = "\0", "\1", "\2"  # stand-ins until the text is finished
_MARKS: Final = str.maketrans("", "", _CODE_MARK + _BLOCK_MARK + _CELL_MARK)
_SPACE: Final = " \t\r\xa0"
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


def without_html(text: str, log: Log) -> str:
    """The text without tags, with lines where blocks begin or end, and with characters for entities; counted.

    Text that is not HTML is returned as it is, and so is code between the marks of Markdown.
    """
    if "<" not in text or not _IS_HTML.search(_MARKDOWN.sub("", text) if "`" in text else text):
        return text
    log.changed[WITH_HTML] += 1
    code: list[str] = []
    found = without_entities(_TAG.sub(_mark, _seen(text.translate(_MARKS), code)))
    blocks = [_joined(" ", block.split(_CELL_MARK)) for block in found.split(_BLOCK_MARK)]
    lines = _joined("\n", blocks).replace("\xa0", " ").split("\n")
    found = re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip(_SPACE) for line in lines))
    return re.sub(_CODE_MARK, lambda _: code.pop(0), found) if code else found


def text_of_html(text: str, log: Log) -> str:
    """The text of what is known to be HTML; counted. Tags are removed wherever they are, also those of other names."""
    return without_html(f"<div>{_UNKNOWN_TAG.sub('', text)}</div>", log)


def without_entities(text: str) -> str:
    """The text with characters for entities such as `&amp;`; without the semicolon it may be part of a link."""
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(entity: re.Match[str]) -> str:
    whole = entity[0]
    return html.unescape(whole) if whole[1] == "#" else html5.get(whole[1:], whole)


def _mark(tag: re.Match[str]) -> str:
    """The mark for a tag; placeholders in its attributes, such as that of a link's address, are kept."""
    mark = {"line": "\n", "block": _BLOCK_MARK, "cell": _CELL_MARK}.get(tag.lastgroup or "", "")
    return mark + "".join(f"{each} " for each in re.findall(_PLACEHOLDER, tag[0][1:]))


def _seen(text: str, code: list[str]) -> str:
    """The text without comments, styles and scripts, and with a mark for each code, which is added to the list.

    If the end of a comment, style or script is missing, it stays; that end is searched once only.
    """
    found, at, start = [], 0, 0
    endless: set[str] = set()
    while (opening := _OPENING.search(text, start)) is not None:
        start, kind = opening.end(), opening.lastgroup or ""
        if kind == "code":
            code.append(opening[0])
        elif kind in endless:
            continue
        elif (end := _ENDS[kind].search(text, start)) is not None:
            start = end.end()
        else:
            endless.add(kind)
            continue
        found += [text[at : opening.start()], _CODE_MARK if kind == "code" else ""]
        at = start
    return "".join([*found, text[at:]])


def _joined(between: str, parts: list[str]) -> str:
    """The parts without spaces around them; those that hold nothing are left out."""
    return between.join(part for each in parts if (part := each.strip(_SPACE + "\n")))
