"""Find personal data in text and put placeholders in its place.

Open this to add a kind of personal data. It finds e-mail addresses, links, card numbers (Luhn's check), account numbers
(IBAN, ISO 13616, with its check digits), telephone numbers (by the library `phonenumbers`) and the names in a list. It
finds nothing else, such as postal addresses and other names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import regex

from dialog_cvae import extras, limits
from dialog_cvae.errors import ConfigError
from dialog_cvae.text.placeholders import ACCOUNT, CARD, EMAIL, LINK, NAME, PHONE, PLACEHOLDERS
from dialog_cvae.text.words import UNSPACED

# Between letters of these scripts, a name or an address may begin and end anywhere: they have no spaces between words.
# Korean has, but not before particles.
_UNSPACED: Final = rf"{UNSPACED}\p{{Hangul}}"
SPACED: Final = rf"\w--[{_UNSPACED}]"
"""Letters and digits of all other scripts, as the content of a character class of `regex` with its flag V1."""
_IN_LINK: Final = rf'(?:@{NAME}|[^\s<>"])'  # a name in a link may already be replaced
_LINK: Final = regex.compile(
    rf"(?:(?:https?|ftp)://|(?<![[{SPACED}]@.])www\.){_IN_LINK}+"
    rf"|(?<![[{SPACED}]@.-])(?:[a-z0-9-]+\.)+[a-z]{{2,}}/{_IN_LINK}*",
    regex.IGNORECASE | regex.V1,
)
_END: Final = ".,;:!?)]}'\"…»”"  # marks after a link that belong to the sentence
_EMAIL: Final = regex.compile(
    rf"(?:(?<![[{SPACED}].+%-])[[{SPACED}].+%-]+|(?<![\w.+%-])[\w.+%-]*[{_UNSPACED}])"
    rf"@(?:[\w-]+\.)+(?:[\p{{L}}--[{_UNSPACED}]]{{2,}}|\p{{L}}{{2,}})",
    regex.IGNORECASE | regex.V1,
)
_DIGITS: Final = regex.compile(r"\d(?:[\s.-]?\d){12,}+")
_CARD_DIGITS: Final = range(13, 20)  # digits of a card number
_IBAN: Final = regex.compile(
    rf"(?<![{SPACED}])[A-Z]{{2}}\d{{2}}(?:[\s-]?[A-Z0-9]){{10,30}}", regex.IGNORECASE | regex.V1
)
# WhatsApp's: @4930901820
_PHONE_MENTION: Final = regex.compile(rf"(?<=(?<![[{SPACED}].+%-])@)\d{{7,15}}(?![{SPACED}])", regex.V1)
_NAME: Final = (
    rf"(?:(?<![{SPACED}])|(?=[{_UNSPACED}]))(?!(?<=<)(?:{'|'.join(each[1:-1] for each in PLACEHOLDERS)})>)"
    rf"\L<names>(?!\p{{M}})(?:(?![{SPACED}])|(?<=[{_UNSPACED}]))"
)
_MANY_DIGITS: Final = regex.compile(r"\d(?:\D{0,4}\d){5}")
_IBAN_LENGTHS: Final = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18
    FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21
    MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25
    SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
_LENGTH: Final = {each[:2]: int(each[2:]) for each in _IBAN_LENGTHS.split()}  # length of an account number, by country


def name_pattern(names: Sequence[str]) -> Any:
    """A pattern for the whole names in any case; it does not match the name in a placeholder.

    Args:
        names: at least one; none is empty.
    """
    # The list takes time in proportion to its length, so it is tried only where a name can begin.
    first = regex.escape("".join(sorted({name[0] for name in names})))
    return regex.compile(f"(?=[{first}]){_NAME}", regex.IGNORECASE | regex.V1, names=names)


class Redaction:
    """Replaces personal data and counts it by placeholder.

    Args:
        region: two letters of the country whose telephone numbers may lack the country code; None finds only numbers
            with a code, such as +44.
        names: to replace, in any case.

    Raises:
        ConfigError: `phonenumbers` is not installed, or it does not know the region.
    """

    def __init__(self, region: str | None = None, names: Iterable[str] = ()) -> None:
        self._phones: Any = _phone_library()
        if region is not None and region not in self._phones.SUPPORTED_REGIONS:
            raise ConfigError(f"--region is {region!r}, not the two capital letters of a country, such as DE or US")
        self._region = region
        wanted = sorted({limits.normal(" ".join(name.split())) for name in names} - {""})
        self._names = name_pattern(wanted) if wanted else None
        self.counts: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """The text with placeholders."""
        if _may_have_links(text):
            text = self._replaced(_LINK, text, LINK, lambda found: found[: len(found.rstrip(_END))])
            text = self._replaced(_EMAIL, text, EMAIL, lambda found: found) if "@" in text else text
        if _MANY_DIGITS.search(text):
            text = self._replaced(_IBAN, text, ACCOUNT, _account)
            text = _DIGITS.sub(lambda match: self._without_cards(match[0]), text)
            text = self._replaced(_PHONE_MENTION, text, PHONE, lambda found: found)
            text = self._without_phones(text)
        return text if self._names is None else self._replaced(self._names, text, NAME, lambda found: found)

    def _replaced(self, pattern: Any, text: str, placeholder: str, part: Callable[[str], str]) -> str:
        """The text with a placeholder for the part at the beginning of each match; an empty part keeps the match."""

        def replace(match: Any) -> str:
            found: str = match[0]
            taken = part(found)
            if not taken or found in PLACEHOLDERS:
                return found
            self.counts[placeholder] += 1
            return placeholder + found[len(taken) :]

        replaced: str = pattern.sub(replace, text)
        return replaced

    def _without_cards(self, digits: str) -> str:
        """Groups of digits, such as a card number with its date, with a placeholder for each card number."""
        groups = [match.span() for match in regex.finditer(r"\d+", digits)]
        pieces, end, first = [], 0, 0
        while first < len(groups):
            begin = groups[first][0]
            near = range(first, min(first + _CARD_DIGITS[-1], len(groups)))
            lasts = [last for last in near if groups[last][1] - begin < 2 * _CARD_DIGITS[-1]]
            spans = ((last, digits[begin : groups[last][1]]) for last in reversed(lasts))
            last = next((last for last, span in spans if _is_card(span)), None)
            if last is not None:
                pieces += [digits[end:begin], CARD]
                end = groups[last][1]
                self.counts[CARD] += 1
            first = first + 1 if last is None else last + 1
        return "".join([*pieces, digits[end:]])

    def _without_phones(self, text: str) -> str:
        pieces, end = [], 0
        for match in self._phones.PhoneNumberMatcher(text, self._region):
            pieces += [text[end : match.start], PHONE]
            end = match.end
            self.counts[PHONE] += 1
        return "".join([*pieces, text[end:]])


def address_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the links, e-mail addresses and account numbers (IBAN) of a text begin and end; some may overlap."""
    if _may_have_links(text):
        yield from ((match.start(), match.start() + len(match[0].rstrip(_END))) for match in _LINK.finditer(text))
        yield from (match.span() for match in (_EMAIL.finditer(text) if "@" in text else ()))
    if _MANY_DIGITS.search(text):
        found = ((match.start(), _account(match[0])) for match in _IBAN.finditer(text))
        yield from ((begin, begin + len(account)) for begin, account in found if account)


def _may_have_links(text: str) -> bool:
    return "." in text or "://" in text


def _account(found: str) -> str:
    """The account number at the beginning of a text; empty if there is none."""
    length = _LENGTH.get(found[:2].upper(), 0)
    places = [place for place, character in enumerate(found) if not character.isspace() and character != "-"][:length]
    characters = [found[place].upper() for place in places]
    taken = places[-1] + 1 if places else 0
    if len(characters) != length or found[taken : taken + 1].isalnum():
        return ""
    number = "".join(str(int(character, 36)) for character in (*characters[4:], *characters[:4]))
    return found[:taken] if int(number) % 97 == 1 else ""


def _is_card(found: str) -> bool:
    """Whether a number passes Luhn's check and looks like that of a card."""
    digits = [int(character) for character in reversed(found) if character.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(digits) in _CARD_DIGITS and len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _phone_library() -> Any:
    try:
        import phonenumbers
    except ModuleNotFoundError:
        raise ConfigError(extras.explanation("import", ["phonenumbers"])) from None
    return phonenumbers
