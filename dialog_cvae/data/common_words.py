"""Words and numbers that many training conversations have, and the information in a text beyond them.

Open it to change what may give a person away, or what counts as information. Numbers, names and addresses that few
conversations have can belong to one person. Those in at least k conversations belong to no one, such as the name of a
city or the number of a hotline. Only these are listed, so that the list itself gives no one away. Copies of a
conversation count once (`dialog_cvae.data.readers.jsonl_splits`). The selection of replies uses the same list: a word
that most conversations have says little.

A name is a word that begins with a capital letter. If a model writes only lower case, every word counts as a name.
Numbers of one or two digits give no one away; letters joined to them, as in a user name, are a name if there are three
or more. Two limits: full names of two common words and names in scripts without capital letters are not found, and in
languages that capitalise every noun, rare nouns count as names.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple, Self

import regex

from dialog_cvae.data.readers.jsonl_splits import KEY_BYTES, content_keys
from dialog_cvae.errors import CheckpointError
from dialog_cvae.imports.personal_data import address_spans
from dialog_cvae.limits import normal
from dialog_cvae.text.pieces import UNK
from dialog_cvae.text.placeholders import without_placeholders
from dialog_cvae.text.words import WORD
from dialog_cvae.types import Conversation

MIN_CONVERSATIONS = 3
MAX_BYTES = 200_000
LEAST_DIGITS = 3  # digits from which a number can belong to one person
LONG_DIGITS = 7  # digits from which a number is that of a telephone, a card or an account
BETWEEN = "\n\n"  # separator of utterances; it ends a number or an address
_HEAD = "# said in at least {} of {} training conversations, and in how many"
_FIRST_LINE = re.compile(_HEAD.format(r"(\d{1,9})", r"(\d{1,9})"), re.ASCII)
_LINE = re.compile(r"([^\t]+)\t(\d{1,9})", re.ASCII)
_WORD = regex.compile(WORD, regex.V1)
_TIME, _YEAR, _PRICE = r"\d{1,2}[:.]\d{2}", r"(?:19|20)\d{2}", r"[$€£]\d+(?:[.,]\d{1,2})?"
_AMOUNT = r"[$€£]?[1-9]\d{0,2}(?:[.,]\d{3})+(?:[.,]\d{1,2})?"  # an amount with thousands separators
_ONE = rf"(?:{_AMOUNT}|{_PRICE}|{_TIME}|{_YEAR})"
_RANGE = regex.compile(rf"(?<![\w.,:–-]){_ONE}(?:[-–/]{_ONE})+(?![\w–-]|[.,:]\d)")  # 10:00-18:00, 1990-95 is none
# Dates and amounts belong to no one, however many digits they have. Points alone do not show an amount: numbers of
# persons have them too.
_DATE = rf"{_YEAR}([./-])[01]?\d\1[0-3]?\d|[0-3]?\d([./-])[0-3]?\d\2{_YEAR}"
_SURE_AMOUNT = r"[$€£]\d[\d.,]*|[1-9]\d{0,2}(?:,\d{3})+(?:\.\d{1,2})?|[1-9]\d{0,2}(?:\.\d{3})+,\d{1,2}"
_DATE_OR_AMOUNT = regex.compile(rf"(?<![\w.,:–-])(?:{_DATE}|{_SURE_AMOUNT})(?![\w-]|[.,]\d)")
_NO_CENTS = regex.compile(r"([$€£]\d(?:[\d.,]*\d)?)[.,]00(?!\d)")
_GROUPS = regex.compile(r"(?<![\w.,])\+?\(?\d(?:[ ().-]{0,2}\d){6,}(?!\w)")
_DIGIT = regex.compile(r"\d")
_MARKS = regex.compile(r"[\W_]")
_APART = " " * 3  # more spaces than _GROUPS allows inside a number
_SPACED = str.maketrans(dict.fromkeys("-–/", _APART))
_ASCII_WORD = re.compile(r"\w+")
_WITH_DIGITS = regex.compile(r"\w*\d\w*")
_LETTERS = regex.compile(r"[^\W\d_]{3,}")  # in a word with digits; fewer are a unit or an ending, as in 5km and 2nd
# Without such a mark, a slash and the end of a sentence make no address: "fine. he/she".
_MARKS_OF_ADDRESSES = re.compile(
    r"@|:\s*/\s*/|www|\.\s*(?:com|org|net|edu|gov|io|info|app|dev|biz|me|gg|ly|be|co|tv|xyz|link|site|online|ai|"
    r"de|uk|fr|eu|ch|nl|es|pl|ca|au|jp|cn|ru|br|se|dk|fi)\s*/"
)
_MOST_PIECES = 16  # between the points of an address that is searched for among the sentences around it
_AROUND_MARKS = re.compile(r"\s*([@./:?&=#%+~_-])\s*")


class Found(NamedTuple):
    """Something in a text that may belong to one person.

    Attributes:
        text: as written.
        key: equal for all spellings of the same thing.
        is_name: whether it is a word; otherwise it is a number or an address.
        joined: whether it is an address whose parts may have had spaces between them; its parts are also found alone.
    """

    text: str
    key: str
    is_name: bool
    joined: bool = False

    @property
    def by_rule(self) -> bool:
        """Whether its form alone shows that it belongs to someone: a link, an e-mail address or a long number.

        A date, and an amount with marks for the thousands, are not such numbers.
        """
        if self.is_name:
            return False
        long = sum(map(str.isdecimal, self.key)) >= LONG_DIGITS and not _DATE_OR_AMOUNT.fullmatch(self.text)
        return long or not self.key.isalnum()

    def among(self, keys: Container[str]) -> bool:
        """Whether it is one of these, or a joined address that is one with the sentences before and after it."""
        return self.key in keys or (self.joined and any(part in keys for part in self._parts()))

    def _parts(self) -> Iterator[str]:
        """The parts of an address that begin and end at points and have a point between them."""
        pieces = self.key.split(".")
        for begin in range(len(pieces)):
            part = pieces[begin]
            for piece in pieces[begin + 1 : begin + _MOST_PIECES]:
                part = f"{part}.{piece}"
                yield part


def personal(text: str, *, lower_case: bool = False) -> list[Found]:
    """Addresses, numbers and names in a text.

    Args:
        text: to search.
        lower_case: whether it is written by a model that has no capital letters. Then every word counts as a name, and
            the parts of an address may have spaces between them, as such a model's tokens do.
    """
    text = without_placeholders(normal(text)).replace(UNK, " ")
    found, rest = _addresses_and_numbers(text)
    if lower_case and _MARKS_OF_ADDRESSES.search(text):
        joined, _ = _without_addresses(_AROUND_MARKS.sub(r"\1", text))
        found += [each._replace(joined=True) for each in joined]
    names = (word for word in _words(rest) if len(word) > 1 and (lower_case or word[0].isupper()))
    return found + [Found(word, word.casefold(), is_name=True) for word in names]


def is_lower_case(text: str) -> bool:
    """Whether a text has no capital letter outside placeholders."""
    plain = without_placeholders(text)
    return plain == plain.lower()


def numbers(text: str) -> set[str]:
    """The keys of the addresses and numbers in a text."""
    return {each.key for each in _addresses_and_numbers(normal(text))[0]}


class SaidIn(NamedTuple):
    """In how many different conversations each number, address and word occurs, and the number of conversations."""

    counts: Counter[str]
    conversations: int


def said_in(conversations: Iterable[Conversation]) -> SaidIn:
    """Count all numbers, addresses and words by their keys."""
    seen: set[bytes] = set()
    counts: Counter[str] = Counter()
    for conversation in conversations:
        identity = content_keys(conversation, 0)[2 * KEY_BYTES :]
        if identity not in seen:
            seen.add(identity)
            found, rest = _addresses_and_numbers(BETWEEN.join(normal(u.text) for u in conversation.utterances))
            counts.update({each.key for each in found} | set(_words(rest.casefold())))
    return SaidIn(counts, len(seen))


def _addresses_and_numbers(text: str) -> tuple[list[Found], str]:
    """The addresses and numbers in a text, and the text without them."""
    found, text = _without_addresses(text)
    if not _DIGIT.search(text):
        return found, text
    # The ends of a range are numbers of their own.
    text = _RANGE.sub(lambda match: match[0].translate(_SPACED), text)
    written = [match[0] for match in _DATE_OR_AMOUNT.finditer(text)]
    text = _DATE_OR_AMOUNT.sub(_APART, text) if written else text
    groups = [match[0] for match in _GROUPS.finditer(text)]
    parts = (_GROUPS.sub(" ", text) if groups else text).split()
    rest = []
    for part in (*written, *groups, *parts):
        key = _MARKS.sub("", _NO_CENTS.sub(r"\1", part)).casefold()
        if sum(map(str.isdecimal, key)) >= LEAST_DIGITS:
            found.append(Found(part, key, is_name=False))
        else:
            rest.append(part)
    return found, _WITH_DIGITS.sub(lambda match: f" {' '.join(_LETTERS.findall(match[0]))} ", " ".join(rest))


def _without_addresses(text: str) -> tuple[list[Found], str]:
    """The different addresses in a text, and the text with a space for each."""
    spans = list(address_spans(text))
    pieces, end = [], 0
    for begin, stop in sorted(spans):
        if begin >= end:
            pieces.append(text[end:begin])
        end = max(end, stop)
    written = dict.fromkeys(text[begin:stop] for begin, stop in spans)
    return [_address(each) for each in written], " ".join((*pieces, text[end:]))


def _address(written: str) -> Found:
    """An address; the groups of an account number may have any spaces and hyphens between them."""
    account = written.replace("-", "")
    return Found(written, _compact(account if _compact(account).isalnum() else written), is_name=False)


def _compact(text: str) -> str:
    return "".join(text.split()).casefold()


def _words(text: str) -> list[str]:
    """The words of a text, in their case; underscores, as around words in italics, are not part of them."""
    text = text.replace("_", " ")
    found: list[str] = (_ASCII_WORD if text.isascii() else _WORD).findall(text)
    return found


class CommonWords(NamedTuple):
    """Words, numbers and addresses that occur in at least `min_conversations` training conversations.

    Attributes:
        counts: how many conversations have each key; see `said_in`.
        conversations: number of different conversations.
        min_conversations: all keys in at least so many conversations are listed, and no others; at least 2.
    """

    counts: Mapping[str, int]
    conversations: int
    min_conversations: int = MIN_CONVERSATIONS

    @classmethod
    def of(cls, said: SaidIn) -> Self:
        """The keys in at least MIN_CONVERSATIONS conversations; only the most common if all exceed MAX_BYTES.

        If the keys with the same count do not all fit, none of them is kept.
        """
        kept: dict[str, int] = {}
        size = len(_HEAD) + 16
        for key, count in sorted(said.counts.items(), key=lambda item: (-item[1], item[0])):
            size += len(_line(key, count).encode())
            if count < MIN_CONVERSATIONS:
                break
            if size > MAX_BYTES:
                return cls({key: more for key, more in kept.items() if more > count}, said.conversations, count + 1)
            kept[key] = count
        return cls(kept, said.conversations)

    def information(self, text: str) -> float:
        """The information in a text, in nats: the sum of -log(share of conversations that have it) over all words,
        numbers and addresses.

        A key that is not listed counts as if `min_conversations` - 1 conversations had it.
        """
        found, rest = _addresses_and_numbers(normal(text))
        unlisted = self.min_conversations - 1
        counts = (self.counts.get(key, unlisted) for key in (*(each.key for each in found), *_words(rest.casefold())))
        return sum(math.log(max(1.0, self.conversations / count)) for count in counts)

    def to_bytes(self) -> bytes:
        """The counts as text: a key and its count on each line, in alphabetical order."""
        head = _HEAD.format(self.min_conversations, self.conversations) + "\n"
        return "".join((head, *(_line(key, self.counts[key]) for key in sorted(self.counts)))).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The counts that `to_bytes` wrote.

        Raises:
            CheckpointError: it is another kind of file, or not UTF-8.
        """
        try:
            first, *lines = data.decode().split("\n")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"not UTF-8 text ({error.reason} at byte {error.start})") from None
        if (head := _FIRST_LINE.fullmatch(first)) is None or int(head[1]) < 2:
            raise CheckpointError("not a list of common words (its first line is another)")
        counts: dict[str, int] = {}
        for number, line in enumerate(lines[:-1], start=2):
            if (found := _LINE.fullmatch(line)) is None or not int(head[1]) <= int(found[2]) <= int(head[2]):
                raise CheckpointError(f"line {number}: must be a word, a tab and a count, but is {line[:80]!r}")
            counts["".join(found[1].split())] = int(found[2])  # older lists have spaces in account numbers
        return cls(counts, int(head[2]), int(head[1]))


def _line(key: str, count: int) -> str:
    return f"{key}\t{count}\n"
