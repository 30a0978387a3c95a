"""From a conversation to ranked, distinct candidate replies.

z ~ p(z | c) and the draws within the decoder come from NumPy generators that are seeded by the caller, so that a reply
depends on its request and seed alone, whichever engine computes it.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dialog_cvae.checkpoint import Checkpoint, CheckpointConfig
from dialog_cvae.data.batches import EncodedCorpus, collate, encode_corpus
from dialog_cvae.decoding import Decoding, Draw, decode, special_ids
from dialog_cvae.errors import ConfigError
from dialog_cvae.runtime.base import Engine, Floats
from dialog_cvae.selection import normalised, select
from dialog_cvae.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Utterance

ROUND = 16  # candidates drawn at a time; a multiple of the decoder's rows wastes none
MIN_ROUNDS = 8  # made, if need be, however few replies are wanted
DRAWS_PER_REPLY = 4  # made, if need be, for each reply wanted; then no more distinct ones are expected

__all__ = ["Decoding", "Responder", "Response"]


@dataclass(frozen=True, slots=True)
class Response:
    """A candidate reply.

    Attributes:
        text: as a person would write it.
        log_prob: log p(x | z, c) of the drawn z, in nats.
        tokens: the tokens that `log_prob` sums over, `</s>` included if it was reached.
        finished: whether it was reached; else the reply is cut off.
    """

    text: str
    log_prob: float
    tokens: int
    finished: bool


class Responder:
    """A loaded checkpoint that answers.

    Attributes:
        name: what the model was fitted on, for people.
        config: the checkpoint's configuration.
        topics: the topics it knows.
        max_context: utterances it looks back, at most.
        decoding: how replies are drawn by default.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, config: CheckpointConfig, name: str) -> None:
        self.engine, self.tokenizer, self.config, self.name = engine, tokenizer, config, name
        self.topics: tuple[str, ...] = config.topics
        self.max_context: int = config.model.max_context
        self.decoding: Decoding = config.decoding

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> Responder:
        """Open a checkpoint folder.

        Raises:
            CheckpointError: a part is missing, truncated or does not fit; the message names it.
        """
        from dialog_cvae.runtime.torch_engine import TorchEngine, build_model

        checkpoint = Checkpoint.load(path)
        name = f"{checkpoint.config.provenance.data}, step {checkpoint.config.provenance.step}"
        engine = TorchEngine(build_model(checkpoint, f"{path}/model.safetensors"), device)
        return cls(engine, checkpoint.tokenizer, checkpoint.config, name)

    def encode(self, conversations: Sequence[Conversation]) -> EncodedCorpus:
        """Conversations as the model reads them."""
        return encode_corpus(conversations, self.tokenizer, self.topics, self.config.model.max_utterance_tokens)

    def respond(
        self,
        conversation: Conversation,
        *,
        respond_as: str,
        n: int = 5,
        seed: int = 0,
        decoding: Decoding | None = None,
    ) -> list[Response]:
        """At most `n` distinct replies.

        Without `decoding.candidates` they are the first `n` distinct draws, not the likeliest of many: a fair sample of
        what the model would say, best log probability per token first; fewer come back when `max(ROUND * MIN_ROUNDS,
        n * DRAWS_PER_REPLY)` draws held no more. With it they are selected from exactly so many draws, the most
        typical first (see `selection`), and fewer come back when fewer of those are distinct.

        Args:
            conversation: what was said so far; profiles and topic are used if given.
            respond_as: the speaker who answers.
            n: replies wanted, at least 1.
            seed: at least 0; equal seeds give equal replies.
            decoding: how they are drawn; default the checkpoint's.

        Raises:
            ConfigError: `n` or `seed` is out of its range.
        """
        for name, value, least in (("n", n, 1), ("seed", seed, 0)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, but is {value}")
        decoding = decoding or self.decoding
        ending = Utterance(respond_as, "")
        encoded = self.encode([_extended(conversation, ending)])
        if decoding.candidates:
            return selected(self._drawn(encoded, max(n, decoding.candidates), (seed,), decoding), n)
        found: dict[str, Response] = {}
        for attempt in range(max(MIN_ROUNDS, math.ceil(n * DRAWS_PER_REPLY / ROUND))):
            for reply in self._drawn(encoded, ROUND, (seed, attempt), decoding):
                found.setdefault(normalised(reply.text), reply)
            if len(found) >= n:
                break
        return sorted(list(found.values())[:n], key=lambda reply: reply.log_prob / reply.tokens, reverse=True)

    def _drawn(self, encoded: EncodedCorpus, count: int, seed: tuple[int, ...], decoding: Decoding) -> list[Response]:
        """The readable ones of `count` draws in place of the last utterance."""
        place, rng = np.array([len(encoded.speaker) - 1]), np.random.default_rng(seed)
        (draws,) = self.draw(encoded, place, [rng], count, decoding)
        return self.readable(draws)

    def draw(
        self,
        corpus: EncodedCorpus,
        responses: np.ndarray[tuple[int], np.dtype[np.int64]],
        rngs: Sequence[np.random.Generator],
        samples: int,
        decoding: Decoding,
    ) -> Iterator[list[Draw]]:
        """Draw `samples` replies for each of the windows that end in `responses`, each z from the prior.

        Args:
            corpus: encoded conversations.
            responses: (B,) indices of utterances to answer in place of.
            rngs: one generator a window; what it yields is all that decides the window's draws.
            samples: draws for each window.
            decoding: how tokens are drawn.
        """
        condition = self.engine.condition(collate(corpus, responses, self.max_context))
        latent = condition.prior_mean.shape[1]
        noise = np.stack([rng.standard_normal((samples, latent), dtype=np.float32) for rng in rngs])  # (B, S, Z)
        uniforms = np.concatenate([rng.random((samples, decoding.max_tokens), dtype=np.float32) for rng in rngs])
        std = np.float32(decoding.prior_temperature) * np.exp(0.5 * condition.prior_logvar)[:, None]
        z: Floats = (condition.prior_mean[:, None] + std * noise).reshape(len(rngs) * samples, latent)
        tokenizer = self.tokenizer
        special = special_ids(tokenizer.bos_id, tokenizer.eos_id, tokenizer.never_generated, tokenizer.unk_id, decoding)
        vectors = np.repeat(condition.vector, samples, axis=0)
        draws = decode(self.engine, vectors, z, uniforms, decoding, special)
        for begin in range(0, len(draws), samples):
            yield draws[begin : begin + samples]

    def readable(self, draws: Iterable[Draw]) -> list[Response]:
        """The draws that are replies: byte pieces may also spell nothing."""
        replies = (Response(self.text(draw), draw.log_prob, draw.length, draw.finished) for draw in draws)
        return [reply for reply in replies if reply.text]

    def text(self, draw: Draw) -> str:
        """What a draw reads; control characters, which byte pieces can spell, are no part of a reply."""
        read = "".join(c for c in self.tokenizer.decode(draw.tokens) if unicodedata.category(c) != "Cc")
        return " ".join(read.split())


def selected(replies: Sequence[Response], n: int) -> list[Response]:
    """At most `n` of the replies drawn for one context, distinct and standing for all; see `selection`."""
    chosen = select([reply.text for reply in replies], [reply.finished for reply in replies], n)
    return [replies[index] for index in chosen]


def _extended(conversation: Conversation, utterance: Utterance) -> Conversation:
    return Conversation(
        conversation.id,
        (*conversation.utterances, utterance),
        conversation.topic,
        conversation.prompt,
        conversation.speakers,
    )
