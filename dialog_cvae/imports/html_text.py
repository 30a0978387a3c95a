"""Removes HTML tags from texts, such as the bodies of messages of help desks.

Open this if tags stay in a text, or if text that is not HTML is changed. Only text with tags that such bodies have is
changed at all, and of other names in angle brackets, such as <EMAIL>, none is removed.
"""

from __future__ import annotations

import html
import re
from typing import Final

from dialog_cvae.imports.message import Log

WITH_HTML: Final = "texts with HTML, whose tags were removed"
_ATTRIBUTES: Final = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?"""
# Text with one of these is HTML.
_IS_HTML: Final = re.compile(
    rf"<(?:p|br|div|span){_ATTRIBUTES}>|</(?:p|div|span)\s*>|<a\s(?:[^<>]*\s)?href\s*=", re.IGNORECASE
)
_CODE: Final = r"```.*?(?:```|\Z)|`[^`\n]*`"  # in Markdown
_ENDS_LINE: Final = r"br|/(?:p|div|li|ul|ol|tr|table|h[1-6]|blockquote)"
_NAMES: Final = (
    "p|div|li|ul|ol|tr|table|h[1-6]|blockquote|span|a|b|i|u|s|em|strong|font|small|big|sub|sup|img|hr|pre|code|td|th|"
    "tbody|thead|tfoot|center|html|head|body|title|meta|link|section|article|header|footer|figure|figcaption|label|wbr"
)
_INSIDE: Final = rf"(?:{_ATTRIBUTES}|\s[^<>]*)"  # text that is HTML may have attributes without a value
_UNSEEN: Final = r"<!--.*?-->|<(?P<unseen>style|script)\b[^>]*>.*?</(?P=unseen)\s*>|<!doctype[^>]*>"
_TAG: Final = re.compile(
    rf"(?P<code>{_CODE})|{_UNSEEN}|(?P<end><(?:{_ENDS_LINE}){_INSIDE}>)|</?(?:{_NAMES}){_INSIDE}>",
    re.IGNORECASE | re.DOTALL,
)
_MARKDOWN: Final = re.compile(_CODE, re.DOTALL)
_AROUND_END: Final = re.compile(r"[ \t\r\xa0]*\n[ \t\r\xa0]*")


def without_html(text: str, log: Log) -> str:
    """The text without tags, with lines where they end in HTML, and with its characters for entities; counted.

    Text that is not HTML is returned as it is, and so is code between the marks of Markdown.
    """
    if "<" not in text or not _IS_HTML.search(_MARKDOWN.sub("", text) if "`" in text else text):
        return text
    log.changed[WITH_HTML] += 1
    code: list[str] = []

    def replaced(tag: re.Match[str]) -> str:
        if tag["code"] is None:
            return "\n" if tag["end"] else ""
        code.append(tag["code"])
        return "\0"

    found = html.unescape(_TAG.sub(replaced, text.replace("\0", ""))).replace("\xa0", " ")
    found = re.sub(r"\n{3,}", "\n\n", _AROUND_END.sub("\n", found)).strip()
    return re.sub("\0", lambda _: code.pop(0), found) if code else found
