"""The end of the report of `training.check`: what to train, with which command, how long it takes, what to expect.

Open this to change the sentences. `training.advice` decides.
"""

from __future__ import annotations

from training.advice import FEW_REPLIES, FEWEST_REPLIES, FIRST_MINUTES, Choice, Facts, commands, passes
from training.check_report import row
from training.time_left import duration

FOREIGN = ("other", "other script")
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
    "paper": (106.0, "two cores of a laptop"),
}
SMALL_WIDTH = 100  # of the utterance encoder of the recipe `small`
FEW_UPDATES = 250  # of a language model: its KL was 0.8 nats after 99 updates and 2.5 after 270
FEWEST_OF_TOPIC = 5  # conversations


def verdict(facts: Facts, choice: Choice, speed: float | None) -> list[str]:
    """The lines of a verdict on a file without problems.

    Args:
        facts: about the file.
        choice: what to train, advised or the user's.
        speed: replies a second that were measured here; None if they were not.
    """
    whose = f" of {' and '.join(facts.respond_as)}" if facts.respond_as else ""
    steps = commands(facts, choice)
    return [
        "what to do next:",
        row("data", f"about {facts.replies:,} replies{whose} to learn from, {LANGUAGES[facts.language]}"),
        *_rows("choice", _choice(facts, choice)),
        *_rows("run", steps),
        *_rows("time", _time(facts, choice, speed)),
        *_rows("expect", _expected(facts, choice, speed)),
    ]


def _choice(facts: Facts, choice: Choice) -> list[str]:
    """What is chosen and why, or what would be better than what the user chose."""
    foreign, start = facts.language in FOREIGN, "a language model that knows English"
    if choice.init is not None:
        found = [f"yours: start from {choice.init}, whose tokenizer and licence are kept"]
        if not choice.on_language_model:
            found.append(
                "a start from other conversations was poor: models/swda gave a fitting, specific reply in 6% of"
            )
            found.append(f"contexts, {start} in 72%{'' if foreign else ': rather take --recipe smollm2'}")
    elif choice.on_language_model:
        found = [f"{'yours' if choice.asked else 'best'}: {start}, with its own tokenizer (--recipe smollm2)"]
        if not foreign:
            found.append("500 conversations, 20 minutes of one core: a fitting, specific reply in 72% of contexts,")
            found.append("in 29% from scratch")
    else:
        found = [f"{'yours' if choice.asked else 'best'}: a model of its own, from scratch"]
        if foreign:
            found.append("the language models here know English alone")
        else:
            found.append(
                "worse on such text than --recipe smollm2: with 500 conversations a fitting, specific reply in 29%"
            )
            found.append("of contexts, instead of 72%")
        if choice.asked and choice.config.tokenizer.mode != "unigram":
            found.append("--tokenizer.mode unigram keeps upper case and can write any word")
    if foreign and choice.on_language_model:
        found.append(
            "it does not know this text: take --recipe small --tokenizer.mode unigram, or a Llama-type language"
        )
        found.append("model that does (--recipe smollm2 --language.backbone PATH)")
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
    """What will suffer, the worst first."""
    found = []
    foreign = facts.language in FOREIGN
    if facts.replies < FEWEST_REPLIES:
        found += ["too few replies to learn from: this run shows that all steps work. Until there are a few thousand,"]
        found += ["try models/default" if not foreign else "the replies will be fragments and copies of the file"]
    elif facts.replies < FEW_REPLIES:
        found.append("few replies: many will be copies of what the file says often. A few thousand are better")
    if foreign and not choice.on_language_model and FEWEST_REPLIES <= facts.replies < 10 * FEW_REPLIES:
        found.append(
            "a model of its own needs more: models/swda learnt from 103,000 replies. A Llama-type language model of"
        )
        found.append("this language needs fewer: --recipe smollm2 --language.backbone PATH")
    if facts.language == "mixed":
        found.append("replies in another language than English will be poor on this language model")
    if choice.on_language_model and facts.replies >= FEWEST_REPLIES:
        rate = speed or KNOWN_SPEEDS["language"][0]
        most = passes(choice.config, facts.replies) * facts.replies / choice.config.train.batch_size
        updates = int(min(60 * FIRST_MINUTES * rate / choice.config.train.batch_size, most))
        if updates < FEW_UPDATES:
            helps = "a larger --max-minutes helps" if updates < most - 1 else "more conversations help"
            found.append(
                f"about {max(1, updates)} updates: replies to a context differ little before some {FEW_UPDATES};"
            )
            found.append(helps)
    if facts.topics > 1 and facts.conversations < FEWEST_OF_TOPIC * facts.topics and not choice.on_language_model:
        found.append(
            f"{facts.topics:,} topics in {facts.conversations:,} conversations: little is learnt of each; use fewer, or none"
        )
    if facts.speakers == 1:
        found.append(
            "all messages have the same speaker: if there were several, give them their names, or all are one side's"
        )
    elif facts.roles and not facts.respond_as:
        found.append(f"replies as any speaker; for one side alone add --respond-as, such as {facts.roles[0]!r}")
    elif not facts.roles:
        found.append("no roles: if one side answers, give it the same name everywhere (agent), and --respond-as agent")
    return found or ["nothing special: read what `dialog-cvae eval` says after the run"]


def _rows(label: str, lines: list[str]) -> list[str]:
    return [row("" if number else label, line) for number, line in enumerate(lines)]
