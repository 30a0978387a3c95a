"""Advice on what to train on a file of conversations: the choice and its command, from facts about the file.

Open this to change what `training.check` advises. All figures here were measured; docs/your-conversations.md and the
model cards have them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialog_cvae.errors import DialogCvaeError
from dialog_cvae.storage.find_backbone import DEFAULT, locate
from dialog_cvae.text.language import Language
from training.config import DEFAULT_EPOCHS, FitConfig
from training.schedules import rises_fully

FIRST_MINUTES = 20  # duration of a first run, as for the figures in the docs
FEWEST_REPLIES = 200  # with fewer replies, a run only shows that all steps work
FEW_REPLIES = 3_000  # "a few thousand"
SOME_READ = 6_400  # replies that a language model reads in 20 minutes of one core
MOST_PASSES = 10  # passes of a language model over a small file; over a larger file it makes one
FEW_READ = 16_000  # replies read, few for a language model: its KL was 0.8 nats after 6,300 and 2.4 after 17,300
FOREIGN = ("other", "other script")  # languages that the language model does not know
SMALL_WIDTH = 100  # width of the utterance encoder in the recipe `small`
MOST_OPENED = 0.2  # share of the conversations that a role may begin if it answers rather than asks


@dataclass(frozen=True)
class Facts:
    """What advice depends on.

    Attributes:
        path: path of the file, as the user named it.
        replies: about how many replies to learn from: those of the training split, of one role if there is one.
        conversations: number of conversations in the file.
        speakers: number of different names.
        roles: speakers who take part in most conversations.
        respond_as: the role that answers, if that is clear, or the roles that the user named.
        language: language of the text.
        topics: number of different topics.
        enough_tokens: token limit that is enough for 95% of the messages; None if the model's limit is.
        block: most utterances of a block that a language model has positions for; None if the recipe's fit.
    """

    path: str
    replies: int
    conversations: int
    speakers: int
    roles: tuple[str, ...]
    respond_as: tuple[str, ...]
    language: Language
    topics: int
    enough_tokens: int | None = None
    block: int | None = None


@dataclass(frozen=True)
class Choice:
    """What to train.

    Attributes:
        config: configuration of the run.
        options: options of `fit` that give it, without those that depend on the file's size.
        asked: whether the user chose it.
        init: the checkpoint that it starts from.
    """

    config: FitConfig
    options: tuple[str, ...]
    asked: bool
    init: Path | None = None

    @property
    def on_language_model(self) -> bool:
        """Whether it is trained on a pre-trained language model."""
        return self.config.language is not None

    @property
    def language_model_is_here(self) -> bool:
        """Whether the language model that it needs, if any, is on this machine."""
        try:
            return self.config.language is None or locate(self.config.language.backbone).exists()
        except DialogCvaeError:
            return False


def advised_options(language: Language) -> tuple[str, ...]:
    """The options for a language: a language model if it knows the language, else a model without one."""
    if language in FOREIGN:
        return ("--recipe", "small", "--tokenizer.mode", "unigram", "--bow", "--model.skip")
    return ("--recipe", "smollm2")


def respond_as_option(name: str) -> list[str]:
    """The words of the option for a speaker; a name that begins like an option is part of its word."""
    return [f"--respond-as={name}"] if name.startswith("-") else ["--respond-as", name]


def passes(config: FitConfig, replies: int) -> int:
    """Passes over the training replies: the recipe's; for a language model more if they are few."""
    epochs = config.train.epochs or DEFAULT_EPOCHS
    if config.language is None:
        return epochs
    return max(epochs, min(MOST_PASSES, -(-SOME_READ // max(1, replies))))


def commands(facts: Facts, choice: Choice) -> list[str]:
    """The commands to run next, to copy and paste."""
    config, found = choice.config, [*choice.options]
    for name in facts.respond_as:
        found += respond_as_option(name)
    if facts.enough_tokens is not None:
        option = "language.max-reply-tokens" if choice.on_language_model else "model.max-utterance-tokens"
        found += [f"--{option}", str(facts.enough_tokens)]
    if facts.block is not None:
        found += ["--language.block", str(facts.block)]
    if (rounds := passes(config, facts.replies)) != (config.train.epochs or DEFAULT_EPOCHS):
        # Validate more often: a pass is shorter than the recipe's interval, and validations decide what is kept.
        updates = _updates(config, facts.replies)
        found += ["--epochs", str(rounds), "--train.validate-every", str(max(2, updates))]
        if not rises_fully(config.beta, updates * rounds):
            found += ["--beta.cycles", "1"]
    name = re.sub(r"[^\w.-]+", "-", Path(facts.path).stem).strip("-.") or "mine"
    words: Sequence[Any] = ["--data", facts.path, *found, "--max-minutes", FIRST_MINUTES, "--out", f"runs/{name}"]
    fit = f"dialog-cvae fit {shlex.join(map(str, words))}"
    backbone = choice.config.language.backbone if choice.config.language is not None else None
    if backbone == DEFAULT and not choice.language_model_is_here:
        return ["dialog-cvae backbone", fit]
    return [fit]


def _updates(config: FitConfig, replies: int) -> int:
    return config.train.steps_per_epoch(max(1, replies))
