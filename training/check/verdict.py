"""The end of the report of `training.check`: what to train, with which command, how long it takes, what to expect.

Open this to change the sentences; `training.check.advice` makes the decisions.
"""

from __future__ import annotations

import shlex
from textwrap import wrap

from training.check.advice import (
    FEW_READ,
    FEW_REPLIES,
    FEWEST_REPLIES,
    FIRST_MINUTES,
    FOREIGN,
    SMALL_WIDTH,
    Choice,
    Facts,
    advised_options,
    commands,
    passes,
    respond_as_option,
)
from training.check.report_lines import row
from training.time_left import duration

LANGUAGES = {
    "English": "in English",
    "mixed": "partly in English",
    "other": "not in English",
    "other script": "in another script than Latin",
    "unknown": "too few words to recognise their language, taken as English",
}
# Replies a second that were measured elsewhere, and where.
KNOWN_SPEEDS = {
    "language": (8.5, "two cores of a server"),
    "small": (280.0, "one core of a server"),
    "paper": (106.0, "two cores of a server"),
}
WIDTH = 100  # characters of a line, without its label
FEWEST_OF_TOPIC = 5  # conversations


def verdict(facts: Facts, choice: Choice, speed: float | None) -> list[str]:
    """The lines of a verdict on a file without problems.

    Args:
        facts: about the file.
        choice: what to train, advised or the user's.
        speed: replies per second, as measured here; None if not measured.
    """
    whose = f" of {' and '.join(facts.respond_as)}" if facts.respond_as else ""
    steps = commands(facts, choice)
    return [
        "what to do next:",
        row("data", f"about {facts.replies:,} replies{whose} to learn from, {LANGUAGES[facts.language]}"),
        *_rows("choice", _choice(facts, choice)),
        *(row("" if number else "run", step) for number, step in enumerate(steps)),  # not broken, to copy it
        *_rows("time", _time(facts, choice, speed)),
        *_rows("expect", _expected(facts, choice, speed)),
    ]


def _choice(facts: Facts, choice: Choice) -> list[str]:
    """The choice and its reason, or what would be better than the user's choice."""
    foreign, whose = facts.language in FOREIGN, "yours" if choice.asked else "best"
    if choice.init is not None:
        found = [f"{whose}: start from {choice.init}, whose tokenizer, sizes and licence are kept"]
        if not choice.on_language_model and not foreign:
            found.append(
                "a start from other conversations was poor: models/swda gave a fitting, specific reply in 6% of "
                "contexts, --recipe smollm2 in 72%"
            )
    elif choice.on_language_model:
        found = [f"{whose}: a language model that knows English, with its own tokenizer"]
        if not foreign:
            found.append(
                "measured with 500 conversations and 20 minutes of one core: a fitting, specific reply in 72% of "
                "contexts, in 29% from scratch"
            )
    else:
        found = [f"{whose}: a model of its own, from scratch"]
        if foreign:
            found.append("the language models here know English alone")
        else:
            found.append(
                "--recipe smollm2 is better for such text: a fitting, specific reply in 72% of contexts, in 29% from "
                "scratch (500 conversations, 20 minutes of one core)"
            )
        if choice.config.tokenizer.mode != "unigram":
            found.append("--tokenizer.mode unigram keeps upper case and can write any word")
    if foreign and choice.on_language_model:
        found.append(
            f"it does not know this text: rather take {' '.join(advised_options(facts.language))}, or a Llama-type "
            "language model that does (--recipe smollm2 --language.backbone PATH)"
        )
    return found


def _time(facts: Facts, choice: Choice, speed: float | None) -> list[str]:
    rounds = passes(choice.config, facts.replies)
    kind = "small" if choice.config.model.utterance_size <= SMALL_WIDTH else "paper"
    known, where = KNOWN_SPEEDS["language" if choice.on_language_model else kind]
    seconds = rounds * facts.replies / (speed or known)
    whole = f"{rounds} passes" if rounds > 1 else "a pass"
    source = f"{known:g} replies a second on {where}; it was not measured here"
    if speed:
        source = f"measured here: {speed:.3g} replies a second, while other programs ran as now"
    if seconds > 60 * FIRST_MINUTES:
        first = f"{FIRST_MINUTES} minutes for a first run; {whole} would take {duration(seconds)}"
    else:
        first = f"about {duration(seconds)} for {whole}, and some more for validations"
    return [first, f"({source}{'' if speed else ': an estimate'})"]


def _expected(facts: Facts, choice: Choice, speed: float | None) -> list[str]:
    """Expected problems, the worst first."""
    found = []
    foreign, few = facts.language in FOREIGN, facts.replies < FEWEST_REPLIES
    if few:
        found.append(
            "too few replies to learn from: this run shows that all steps work, and its replies will be copies and "
            "fragments; collect a few thousand" + ("" if foreign else ", and try models/default until then")
        )
    elif facts.replies < FEW_REPLIES:
        found.append("few replies: many will be copies of what the file says often; a few thousand are better")
    if foreign and not choice.on_language_model and facts.replies < 10 * FEW_REPLIES and not few:
        found.append(
            "few for a model of its own, which must learn the language too (models/swda had 118,000 replies): a "
            "Llama-type language model of this language needs fewer, --recipe smollm2 --language.backbone PATH"
        )
    if facts.language == "mixed" and choice.on_language_model:
        found.append("replies in another language than English will be poor")
    if choice.on_language_model and not few:
        found += _little_use_of_z(facts, choice, speed)
    if facts.topics > 1 and facts.conversations < FEWEST_OF_TOPIC * facts.topics and not choice.on_language_model:
        found.append(f"{facts.topics:,} topics in {facts.conversations:,} conversations: little is learnt of each")
    return [*found, *_speakers(facts)] or ["nothing special: see what `dialog-cvae eval` says after the run"]


def _little_use_of_z(facts: Facts, choice: Choice, speed: float | None) -> list[str]:
    size = choice.config.train.batch_size
    most = passes(choice.config, facts.replies) * facts.replies
    read = min(60 * FIRST_MINUTES * (speed or KNOWN_SPEEDS["language"][0]), most)
    if read >= FEW_READ:
        return []
    helps = "a larger --max-minutes helps" if read < most - size else "more conversations help"
    return [
        f"about {max(1, int(read)):,} replies are read: those to one context differ little before some {FEW_READ:,}; "
        f"{helps}"
    ]


def _speakers(facts: Facts) -> list[str]:
    if facts.speakers == 1:
        return ["all messages have the same speaker: if there were several, give them their names"]
    if facts.respond_as:
        return []
    if facts.roles:
        option = shlex.join(respond_as_option(facts.roles[0]))
        return [f"replies as any speaker; for one alone add, for example, {option}"]
    return ["no roles: if one side answers, give it the same name everywhere, such as agent, and check again"]


def _rows(label: str, sentences: list[str]) -> list[str]:
    """Sentences, each broken into lines."""
    lines = [line for each in sentences for line in wrap(each, WIDTH, break_long_words=False, break_on_hyphens=False)]
    return [row("" if number else label, line) for number, line in enumerate(lines)]
