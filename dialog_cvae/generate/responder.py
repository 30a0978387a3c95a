"""A loaded checkpoint that answers a conversation with ranked, distinct replies.

Open it to see how the service and evaluation load a model and reply.

z ~ p(z | c) and the draws within the decoder come from NumPy generators that the caller seeds. So a reply depends on
its question and seed alone, not on what else is decoded in the same pool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.engines.base import Engine, Floats
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate import preparation
from dialog_cvae.generate.codec import Codec
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.guard import Guard
from dialog_cvae.generate.opening import EngineName, Options, engine_name, opened
from dialog_cvae.generate.pool import Pool, Start, decode
from dialog_cvae.generate.preparation import shown
from dialog_cvae.generate.question import Question, Reply, Retrieved, Seed, seed_numbers
from dialog_cvae.generate.replies import Replies
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig
from dialog_cvae.types import Conversation, Utterance

__all__ = ["Decoding", "EngineName", "Question", "Reply", "Responder"]

NO_INDEX = "this checkpoint has no index of replies; python -m training.export --with-index adds one to a copy"


class Responder:
    """A loaded checkpoint that replies.

    Attributes:
        engine: computes the model.
        codec: encodes conversations for the engine, and decodes replies.
        config: the checkpoint's configuration.
        name: what the model was fitted on, for display.
        decoding: how replies are drawn by default.
        accepts: a word filter; replies that it refuses are never returned. None accepts all.
        guard: refuses replies that may give a person away, given their context; None refuses none.
        index: the index of replies of training conversations, if the checkpoint has one.
        common: words and numbers of many training conversations, if the checkpoint lists them.
    """

    def __init__(self, engine: Engine, codec: Codec, config: CheckpointConfig, name: str) -> None:
        self.engine, self.codec, self.config, self.name = engine, codec, config, name
        self.decoding: Decoding = config.decoding
        self.accepts: Callable[[str], bool] | None = None
        self.guard: Guard | None = None
        self.index: ReplyIndex | None = None
        self.common: CommonWords | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "cpu",
        engine: EngineName = "auto",
        threads: int | None = None,
        backbone: Path | None = None,
    ) -> Responder:
        """Open a checkpoint folder.

        Args:
            path: a folder such as `runs/mine/best`.
            device: where the model runs, "cpu" or a CUDA device.
            engine: "onnx" is fast on a CPU and needs no PyTorch; it multiplies in single precision for a dialog model
                and in 8 bits for a language model. "onnx-int8" and "onnx-fp32" choose the precision. "torch" is the
                reference and works on any device. "auto" is "onnx" on a CPU if it is installed, else "torch".
            threads: threads of ONNX Runtime; default one for each core. PyTorch has its own setting.
            backbone: file or folder of the language model that a checkpoint of adapters needs; default: the one that
                the checkpoint names, where `dialog-cvae backbone` puts it.

        Raises:
            CheckpointError: a part is missing, truncated or does not fit, or the language model that it needs is
                missing or a different one; the message names it.
            ConfigError: the engine is unknown, not installed or not available for this device.
        """
        options = Options(engine_name(engine, device), device, threads, backbone)
        checkpoint = Checkpoint.load(path)
        config = checkpoint.config
        base = "" if config.base is None else f" on {config.base.name}"
        name = f"{config.provenance.data}{base}, step {config.provenance.step}"
        responder = cls(*opened(checkpoint, path, options), config, name)
        responder.index, responder.common = checkpoint.replies, checkpoint.common
        return responder

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that the model was fitted on; empty if the topic is free text."""
        return self.codec.topics

    @property
    def max_context(self) -> int:
        """The most utterances of a context that the model reads."""
        return self.codec.max_context

    def pool(self) -> Pool[tuple[Replies, int]]:
        """A pool in which the rows of any number of `Replies` are decoded together."""
        return Pool(self.engine, self.codec.special, self.codec.vocabulary)

    def encode(self, conversations: Sequence[Conversation]) -> Any:
        """Conversations as the model reads them; see `Codec.encode`."""
        return self.codec.encode(conversations)

    def respond(
        self,
        conversation: Conversation,
        *,
        respond_as: str,
        n: int = 5,
        seed: Seed = 0,
        decoding: Decoding | None = None,
        at: tuple[float, float] | None = None,
        places: bool = False,
    ) -> list[Reply]:
        """At most `n` distinct replies, by the model or, with `decoding.candidates_from`, by people.

        Without `decoding.candidates` they are the first `n` distinct draws, a fair sample of what the model would say,
        not the likeliest of many. The one with the best log probability per token is first. With it they are selected
        from exactly that many draws, the most typical first (see `selection`). There are fewer if fewer were distinct.
        Draws that are refused are replaced if fewer than `n` distinct replies are left.

        Args:
            conversation: what was said so far; profiles and topic are used if given. Case and spacing of the topic
                and of the names of roles are ignored.
            respond_as: the speaker who answers.
            n: replies wanted, at least 1.
            seed: equal seeds give equal replies; see `Seed`.
            decoding: how they are drawn; default the checkpoint's.
            at: all are decoded from this place of the context's latent map (see `latent_map`).
            places: give the place of each reply on that map.

        Raises:
            ConfigError: an argument has the wrong type, the model does not know the topic, or as in `check`.
        """
        question = Question(conversation, respond_as, n, seed, decoding or self.decoding, at, places)
        self.check(question)
        question = question._replace(
            conversation=self.prepared(conversation), respond_as=self.prepared_name(respond_as)
        )
        return self.finish(self.begin([question]))[0]

    def finish(self, begun: Sequence[Replies]) -> list[list[Reply]]:
        """Decode everything that these replies still need, in one pool; returns the replies to each question."""
        pool, waiting = self.pool(), deque(begun)
        working: list[Replies] = []
        while working or waiting:
            # add the next questions as soon as there is room for their rows
            while waiting and len(pool) < self.engine.rows:
                working.append(waiting.popleft())
                pool.add(*working[-1].wanted())
            for (replies, index), draw in pool.step():
                replies.take(index, draw)
            for replies in working:
                if replies.wants:
                    pool.add(*replies.wanted())
            working = [replies for replies in working if not replies.complete]
        return [replies.answer() for replies in begun]

    def check(self, question: Question) -> None:
        """Refuse an invalid question.

        Raises:
            ConfigError: `n` or `seed` is out of range; a place is given, but the model has no z; or candidates of the
                corpus are wanted, but there is no index or a place is given too.
        """
        if not isinstance(question.respond_as, str):
            raise ConfigError(f"respond_as must be the name of a speaker, but is {shown(question.respond_as)}")
        seeds = question.seed if isinstance(question.seed, tuple) else (question.seed,)
        if not seeds:
            raise ConfigError("seed must have at least one number, but has none")
        for name, value in (("n", question.n), *(("seed", number) for number in seeds)):
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ConfigError(f"{name} must be a whole number, but is {shown(value)}")
        least_seed = min(seed_numbers(question.seed))
        for name, value, least in (("n", question.n, 1), ("seed", least_seed, 0)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, but is {value}")
        if question.at is not None and not self.codec.latent_size:
            raise ConfigError("at: this model has no latent variable, and so no map of it")
        source = question.decoding.candidates_from
        if source != "model" and self.index is None:
            raise ConfigError(f"candidates_from {source}: {NO_INDEX}")
        if source != "model" and question.at is not None:
            raise ConfigError(
                f"at: only the model decodes replies from a place of the map; candidates_from is {source}"
            )

    def prepared(self, conversation: Conversation) -> Conversation:
        """The conversation as the model reads it; see `generate.preparation`.

        Raises:
            ConfigError: a part has the wrong type, or the model does not know the topic.
        """
        return preparation.prepared(conversation, self._roles, self.codec)

    def prepared_name(self, speaker: str) -> str:
        """A speaker's name, a role in the model's spelling."""
        return preparation.prepared_name(speaker, self._roles)

    @property
    def _roles(self) -> tuple[str, ...]:
        return (*self.config.respond_as, *self.config.roles)

    def begin(self, questions: Sequence[Question]) -> list[Replies]:
        """The replies to each question before anything is decoded; the contexts are encoded together.

        Raises:
            ConfigError: see `check`.
        """
        for question in questions:
            self.check(question)
        asked = [_extended(each.conversation, Utterance(each.respond_as, "")) for each in questions]
        corpus = self.codec.encode_asked(asked)
        ends: NDArray[np.int64] = corpus.starts[1:] - 1  # the last utterance of each conversation: its empty reply
        condition = self.engine.condition(self.codec.batch(corpus, ends))
        accepts = [self._accepting(question) for question in questions]
        return [
            Replies(
                question,
                condition.part(slice(index, index + 1)),
                self.engine.latent_weight,
                self.text,
                accepts[index],
                self.codec.seen(corpus, end, conversation),
                self._retrieved(question, accepts[index]),
                None if self.common is None else self.common.information,
            )
            for index, (question, conversation, end) in enumerate(zip(questions, asked, ends.tolist(), strict=True))
        ]

    def _accepting(self, question: Question) -> Callable[[str], bool] | None:
        """A function that says whether the word filter and the guard accept a reply; None accepts all."""
        accepts = self.accepts
        if self.guard is None:
            return accepts
        allowed = self.guard.allowed(question.conversation, question.respond_as)
        return allowed if accepts is None else lambda text: accepts(text) and allowed(text)

    def _retrieved(self, question: Question, accepts: Callable[[str], bool] | None) -> list[Retrieved]:
        """Accepted replies of training conversations to similar contexts that the model could have written."""
        if self.index is None or not question.retrieved:
            return []
        special, decoding = self.codec.special, question.decoding
        never = {special.end, *special.forbidden} | (set() if decoding.allow_unknown else {special.unknown})

        def usable(text: str) -> bool:
            tokens = self.codec.reply_tokens(text)
            scorable = 1 < len(tokens) <= decoding.max_tokens and never.isdisjoint(tokens[:-1])
            return scorable and (accepts is None or accepts(text))

        found = self.index.nearest(question.conversation, question.respond_as, question.retrieved, usable)
        return [Retrieved(each.text, self.codec.reply_tokens(each.text)) for each in found]

    def draw(
        self,
        corpus: Any,
        utterances: NDArray[np.int64],
        rngs: Sequence[np.random.Generator],
        samples: int,
        decoding: Decoding,
    ) -> Iterator[list[Draw]]:
        """Draw `samples` times for each context, each time with a new z from the prior; equal draws are kept.

        This is how the paper samples. For the service's replies see `respond`.

        Args:
            corpus: from `encode`.
            utterances: (B,) the utterances that the draws replace.
            rngs: one generator for each context; its numbers alone decide the context's draws.
            samples: draws for each context.
            decoding: how tokens are drawn; `candidates` has no effect.
        """
        condition = self.engine.condition(self.codec.batch(corpus, utterances))
        latent = condition.prior_mean.shape[1]
        noise = np.stack([rng.standard_normal((samples, latent), dtype=np.float32) for rng in rngs])  # (B, S, Z)
        uniforms = np.concatenate([rng.random((samples, decoding.max_tokens), dtype=np.float32) for rng in rngs])
        std = np.float32(decoding.prior_temperature) * np.exp(0.5 * condition.prior_logvar)[:, None]
        z: Floats = (condition.prior_mean[:, None] + std * noise).reshape(len(rngs) * samples, latent)
        contexts = [context for context in condition.contexts for _ in range(samples)]
        start = Start(contexts, z, uniforms)
        draws = decode(self.engine, start, decoding, self.codec.special, self.codec.vocabulary)
        for begin in range(0, len(draws), samples):
            yield draws[begin : begin + samples]

    def text(self, draw: Draw) -> str:
        """The text of a draw; it may be empty. See `Codec.text`."""
        return self.codec.text(draw.tokens)


def _extended(conversation: Conversation, utterance: Utterance) -> Conversation:
    return Conversation(
        conversation.id,
        (*conversation.utterances, utterance),
        conversation.topic,
        conversation.prompt,
        conversation.speakers,
    )
