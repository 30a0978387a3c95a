"""Talk with a model in the terminal: it proposes replies, you pick one or write your own.

    python -m api.chat                               # uses a service on this machine
    python -m api.chat https://dialog.example.org    # or on another one
    python -m api.chat --checkpoint models/swda      # needs no service

You write as the first speaker. The model then proposes replies of the second: a number picks one, any other text
replaces them, and an empty line draws new ones. Ctrl-D ends the chat. From a pipe, the lines are read one by one.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, get_args

from dialog_cvae import extras
from dialog_cvae.cli import Parser, exit_status, print_any_text
from dialog_cvae.config import CandidateSource
from dialog_cvae.errors import ConfigError, DialogCvaeError
from dialog_cvae.limits import visible

KEY = "DIALOG_CVAE_API_KEY"
URL = "http://127.0.0.1:8000"
MOST_DIGITS = 9  # of the number of a reply
JOINERS, SOFT_HYPHEN = "\u200c\u200d", "\u00ad"

Turns = list[tuple[str, str]]  # speaker and text
Asked = dict[str, Any]  # a request, as `POST /respond` takes it
Answer = Callable[[Asked], list[str]]


class RefusedError(DialogCvaeError):
    """The model or the service refuses the conversation or the options; asking again will not help."""


class Partner(NamedTuple):
    """The model that proposes replies.

    Attributes:
        name: the model's name.
        licence: the licence of its weights, if known.
        most_turns: most utterances of a request; of a longer conversation, the last ones are sent.
        most_chars: most characters of an utterance.
        answer: returns the texts of the replies to a request.
        respond_as: the roles that the model can answer as; empty if it has none.
    """

    name: str
    licence: str | None
    most_turns: int
    most_chars: int
    answer: Answer
    respond_as: Sequence[str] = ()


def remote(url: str, key: str | None, model_name: str | None, stack: ExitStack) -> Partner:
    """A model behind a service; `model_name` chooses one of several."""
    try:
        from api.client import Client, InvalidRequestError
    except ImportError as error:
        raise ConfigError(
            f"talking to a service needs the package {error.name}: pip install 'dialog-cvae[client]'"
        ) from None
    client = stack.enter_context(Client(url, api_key=key))
    model = client.model(model_name)

    def answer(asked: Asked) -> list[str]:
        context = [(turn["speaker"], turn["text"]) for turn in asked["context"]]
        options: Any = {name: value for name, value in asked.items() if name != "context"} | {"model": model_name}
        try:
            return [each.text for each in client.respond(context, **options).responses]
        except InvalidRequestError as error:
            raise RefusedError(str(error)) from None

    limits = model.limits
    return Partner(model.name, model.licence, limits.context, limits.text_chars, answer, model.respond_as)


def local(checkpoint: str, stack: ExitStack) -> Partner:
    """A model in this process, with the settings of the service."""
    if lacks := extras.missing("serve"):
        raise ConfigError(extras.explanation("serve", lacks))
    from fastapi.exceptions import RequestValidationError

    from api.app import load_responder
    from api.batcher import Batcher
    from api.guard import set_refusals
    from api.problems import messages
    from api.request_body import validated
    from api.room import Busy, Room
    from api.service import Service, WorkerThread
    from api.settings import read_settings
    from api.word_filter import configured_filter

    settings = read_settings(checkpoint=checkpoint)
    accepts = configured_filter(settings)  # first: opening the model takes longer
    responder = load_responder(settings)
    set_refusals(responder, settings, accepts)
    # one request at a time, and perhaps an earlier one that took too long
    batcher = Batcher(responder, room=Room(2), max_rows=settings.max_rows)
    worker_thread = WorkerThread()
    service = Service(responder, stack.enter_context(batcher), settings, None, worker_thread)

    def answer(asked: Asked) -> list[str]:
        try:
            found = asyncio.run(service.respond(service.question(validated(asked, settings))))
        except RequestValidationError as error:
            raise RefusedError("; ".join(messages(error.errors()))) from None
        except Busy as busy:
            raise DialogCvaeError(str(busy)) from None
        return [each.text for each in found.responses]

    stack.callback(worker_thread.close)
    limits = settings.max_context, settings.max_text_chars
    return Partner(responder.name, service.licence, *limits, answer, responder.config.respond_as)


class Chat:
    """A conversation of two, one line at a time.

    Args:
        partner: proposes replies.
        speakers: the first one begins; replies of the second are proposed.
        options: options of every request.
        interactive: whether the input is a terminal; then an error does not end the chat.
    """

    def __init__(self, partner: Partner, speakers: tuple[str, str], options: Asked, interactive: bool) -> None:
        self._partner, self._speakers, self._options, self._interactive = partner, speakers, options, interactive
        self.turns: Turns = []

    def run(self) -> None:
        """Run until the input ends."""
        begins, replies = self._speakers
        while (said := self._line(f"{begins}> ")) is not None:
            if not said:
                continue
            self.turns.append((begins, said))
            try:
                reply = self._picked()
            except RefusedError as error:
                self._report(error, "this line is not used")
                self.turns.pop()  # otherwise every later request would be refused too
                continue
            if reply is None:
                return
            if not self._interactive:
                print(f"{replies}> {_printable(reply)}")
            self.turns.append((replies, reply))

    def _picked(self) -> str | None:
        """The chosen reply; None at the end of the input.

        Raises:
            RefusedError: the conversation so far is refused.
        """
        seed = self._options.get("seed")
        offered = self._propose(seed)
        while (choice := self._line(f"{self._speakers[1]} (number or text)> ")) is not None:
            if choice.isdecimal():
                number = int(choice) if len(choice) <= MOST_DIGITS else 0
                picked = offered[number - 1] if 1 <= number <= len(offered) else None
                most = self._partner.most_chars
                wrong = _no_such_reply(choice, len(offered)) if picked is None else _unusable(picked, most)
                if wrong is None:
                    return picked
                self._report(RefusedError(wrong), "choose again")
                continue
            if choice:
                return choice
            seed = None if seed is None else seed + 1
            offered = self._propose(seed)
        return None

    def _propose(self, seed: int | None) -> list[str]:
        """Draw replies and show them with their numbers."""
        latest = self.turns[-self._partner.most_turns :]
        context = [{"speaker": speaker, "text": text} for speaker, text in latest]
        try:
            texts = self._partner.answer(
                {**self._options, "context": context, "respond_as": self._speakers[1], "seed": seed}
            )
        except RefusedError:
            raise
        except DialogCvaeError as error:
            self._report(error, "an empty line tries again")
            return []
        for number, text in enumerate(texts, 1):
            print(f"  {number}  {_printable(text)}")
        if not texts:
            print("no reply was found; an empty line draws again", file=sys.stderr)
        return texts

    def _line(self, prompt: str) -> str | None:
        """The next line of input that can be sent, stripped; None at the end of the input."""
        while True:
            try:
                line = input(prompt if self._interactive else "").strip()
            except EOFError:
                if self._interactive:
                    print()
                return None
            wrong = _unusable(line, self._partner.most_chars)
            if wrong is None:
                return line
            self._report(RefusedError(wrong), "this line is not used")

    def _report(self, error: DialogCvaeError, what_now: str) -> None:
        """Show an error and go on; if the input is a pipe, end the chat."""
        if not self._interactive:
            raise error
        print(f"error: {_printable(str(error))}; {what_now}", file=sys.stderr)


def _no_such_reply(number: str, offered: int) -> str:
    shown = number[:MOST_DIGITS] + ("…" if len(number) > MOST_DIGITS else "")
    numbers = f"the replies have the numbers 1 to {offered}" if offered else "no replies are shown"
    return f"there is no reply {shown}: {numbers}"


def _unusable(line: str, most_chars: int) -> str | None:
    """Why a text can't be sent; None if it can. An arrow key, for example, may leave control characters."""
    if len(line) > most_chars:
        return f"a line has at most {most_chars} characters, this one has {len(line)}"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in line.replace("\t", " ")):
        return f"a line has no control characters, this one is {_printable(line[:80])!r}"
    if line and not visible(line):
        return "a line has a visible character, this one has none"
    return None


def _printable(text: str) -> str:
    """The text without control characters, which could change the terminal, but with joiners of emoji and letters."""
    shown = text.replace(SOFT_HYPHEN, "")
    return "".join(char if char.isprintable() or char in JOINERS else " " for char in shown)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m api.chat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="?", default=URL, help=f"URL of the service (default: {URL})")
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="load this model in this process instead of using a service"
    )
    parser.add_argument("--model", metavar="NAME", help="of several models of a service, the one to talk with")
    parser.add_argument(
        "--topic",
        help="what the conversation is about: one of the model's topics, or any text for a language model",
    )
    parser.add_argument("-n", type=int, default=5, metavar="N", help="replies to propose (default: 5)")
    parser.add_argument("--diversity", type=float, metavar="D", help="0 (likely) to 1 (varied); default: the model's")
    parser.add_argument(
        "--candidates-from",
        choices=get_args(CandidateSource),
        help="who wrote the replies: the model, people of the conversations that it was fitted on (corpus), or both; "
        "default: the model's",
    )
    parser.add_argument("--seed", type=int, help="the same seed and input give the same replies")
    parser.add_argument(
        "--speakers",
        nargs=2,
        metavar=("FIRST", "SECOND"),
        help="your name, and the name of the speaker whose replies are proposed (default: A, and the role that the "
        "model learnt to answer as, else B)",
    )
    parser.epilog = f"If the service requires an API key, set the variable {KEY}."
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = _parser().parse_args(arguments)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # the chat refuses such a line, and a terminal can go on
    print_any_text()
    options: Asked = {
        "topic": given.topic,
        "num_responses": given.n,
        "diversity": given.diversity,
        "seed": given.seed,
        "candidates_from": given.candidates_from,
    }

    def run() -> int:
        with ExitStack() as stack:
            if given.checkpoint is None:
                partner = remote(given.url, os.environ.get(KEY) or None, given.model, stack)
            elif given.model is not None:
                raise ConfigError("--model chooses one of a service's models; leave it out with --checkpoint")
            else:
                partner = local(given.checkpoint, stack)
            interactive = sys.stdin.isatty()
            if interactive:
                licence = "" if partner.licence is None else f" ({partner.licence})"
                print(f"{_printable(partner.name)}{licence}. Ctrl-D ends.")
            speakers = given.speakers or ("A", next(iter(partner.respond_as), "B"))
            Chat(partner, tuple(speakers), options, interactive).run()
        return 0

    return exit_status(run, interrupted="")


if __name__ == "__main__":
    sys.exit(main())
