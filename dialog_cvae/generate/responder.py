"""A loaded checkpoint that replies: from a conversation to ranked, distinct replies.

Open it to load a model and reply, as the service and evaluation do.

z ~ p(z | c) and the draws within the decoder come from NumPy generators that the caller seeds. So a reply depends on
its question and seed alone, not on what else is decoded in the same pool.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dialog_cvae.config import Decoding
from dialog_cvae.data.batches import EncodedCorpus, collate, encode_corpus
from dialog_cvae.data.cache import open_cache
from dialog_cvae.engines.base import Engine, Floats
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import Draw, SpecialIds
from dialog_cvae.generate.pool import Pool, Start, decode
from dialog_cvae.generate.replies import Question, Replies, Reply, Seed, seed_numbers
from dialog_cvae.storage.checkpoint import WEIGHTS, Checkpoint, CheckpointConfig
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, Utterance

EngineName = Literal["auto", "onnx", "onnx-int8", "torch"]

__all__ = ["Decoding", "EngineName", "Question", "Reply", "Responder"]

_log = logging.getLogger(__name__)


class Responder:
    """A loaded checkpoint that replies.

    Attributes:
        name: what the model was fitted on, for display.
        config: the checkpoint's configuration.
        topics: the topics it knows.
        max_context: the most utterances of a context that it sees.
        decoding: how replies are drawn by default.
        accepts: a word filter; replies that it refuses are never returned. None accepts all.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, config: CheckpointConfig, name: str) -> None:
        self.engine, self.tokenizer, self.config, self.name = engine, tokenizer, config, name
        self.topics: tuple[str, ...] = config.topics
        self.max_context: int = config.model.max_context
        self.decoding: Decoding = config.decoding
        self.accepts: Callable[[str], bool] | None = None

    @classmethod
    def load(
        cls, path: str | Path, *, device: str = "cpu", engine: EngineName = "auto", threads: int | None = None
    ) -> Responder:
        """Open a checkpoint folder.

        Args:
            path: a folder such as `runs/mine/best`.
            device: where the model runs, "cpu" or a CUDA device.
            engine: "onnx" is fast on a CPU and needs no PyTorch, "onnx-int8" faster and less exact, "torch" is the
                reference and takes any device; "auto" is "onnx" on a CPU where it is installed.
            threads: of ONNX Runtime; default one for each core. PyTorch has its own setting.

        Raises:
            CheckpointError: a part is missing, truncated or does not fit; the message names it.
            ConfigError: the engine is unknown, not installed or not for this device.
        """
        chosen = _engine_name(engine, device)
        checkpoint = Checkpoint.load(path)
        name = f"{checkpoint.config.provenance.data}, step {checkpoint.config.provenance.step}"
        model = _opened(checkpoint, f"{path}/{WEIGHTS}", chosen, device, threads)
        return cls(model, checkpoint.word_tokenizer, checkpoint.config, name)

    @property
    def special(self) -> SpecialIds:
        """The token ids that decoding treats specially."""
        t = self.tokenizer
        never = tuple(token for token in t.never_generated if token != t.unk_id)
        return SpecialIds(t.eos_id, t.unk_id, never)

    def pool(self) -> Pool[tuple[Replies, int]]:
        """A pool in which the rows of any number of `Replies` are decoded together."""
        return Pool(self.engine, self.special, len(self.tokenizer))

    def encode(self, conversations: Sequence[Conversation]) -> EncodedCorpus:
        """Conversations as the model reads them."""
        return encode_corpus(conversations, self.tokenizer, self.topics, self.config.model.max_utterance_tokens)

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
        """At most `n` distinct replies.

        Without `decoding.candidates` they are the first `n` distinct draws, not the likeliest of many: a fair sample of
        what the model would say, best log probability per token first. With it they are selected from exactly that many
        draws, the most typical first (see `selection`). There are fewer if fewer were distinct; see `replies`.

        Args:
            conversation: what was said so far; profiles and topic are used if given.
            respond_as: the speaker who answers.
            n: replies wanted, at least 1.
            seed: equal seeds give equal replies; see `Seed`.
            decoding: how they are drawn; default the checkpoint's.
            at: all are decoded from this place of the context's latent map (see `latent_map`).
            places: give the place of each reply on that map.

        Raises:
            ConfigError: `n` or `seed` is out of its range, or the model has no z to choose a place of.
        """
        decoding = decoding or self.decoding
        begun = self.begin([Question(conversation, respond_as, n, seed, decoding, at, places)])
        return self.finish(begun)[0]

    def finish(self, begun: Sequence[Replies]) -> list[list[Reply]]:
        """Decode all that these replies still want, in one pool; the replies to each question."""
        pool, waiting = self.pool(), deque(begun)
        working: list[Replies] = []
        while working or waiting:
            # start on the next questions as soon as there is room for their rows
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
            ConfigError: `n` or `seed` is out of its range, or the model has no z to choose a place of.
        """
        least_seed = min(seed_numbers(question.seed))
        for name, value, least in (("n", question.n, 1), ("seed", least_seed, 0)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, but is {value}")
        if question.at is not None and not self.config.model.latent_size:
            raise ConfigError("at: this model has no latent variable, and so no map of it")

    def begin(self, questions: Sequence[Question]) -> list[Replies]:
        """The replies to each question, of which nothing is decoded yet; the contexts are encoded together.

        Raises:
            ConfigError: see `check`.
        """
        for question in questions:
            self.check(question)
        encoded = self.encode([_extended(each.conversation, Utterance(each.respond_as, "")) for each in questions])
        condition = self.engine.condition(collate(encoded, encoded.starts[1:] - 1, self.max_context))
        return [
            Replies(
                question,
                condition.part(slice(index, index + 1)),
                self.engine.latent_weight,
                self.text,
                self.accepts,
            )
            for index, question in enumerate(questions)
        ]

    def draw(
        self,
        corpus: EncodedCorpus,
        utterances: NDArray[np.int64],
        rngs: Sequence[np.random.Generator],
        samples: int,
        decoding: Decoding,
    ) -> Iterator[list[Draw]]:
        """Draw `samples` times for each context, each z from the prior; keep every draw, equal ones too.

        This is how the paper samples. For replies as the service gives them see `respond`.

        Args:
            corpus: encoded conversations.
            utterances: (B,) the utterances that the draws take the place of.
            rngs: one generator for each context; its numbers alone decide the context's draws.
            samples: draws for each context.
            decoding: how tokens are drawn; `candidates` has no effect.
        """
        condition = self.engine.condition(collate(corpus, utterances, self.max_context))
        latent = condition.prior_mean.shape[1]
        noise = np.stack([rng.standard_normal((samples, latent), dtype=np.float32) for rng in rngs])  # (B, S, Z)
        uniforms = np.concatenate([rng.random((samples, decoding.max_tokens), dtype=np.float32) for rng in rngs])
        std = np.float32(decoding.prior_temperature) * np.exp(0.5 * condition.prior_logvar)[:, None]
        z: Floats = (condition.prior_mean[:, None] + std * noise).reshape(len(rngs) * samples, latent)
        contexts = [context for context in condition.contexts for _ in range(samples)]
        start = Start(contexts, z, uniforms)
        draws = decode(self.engine, start, decoding, self.special, len(self.tokenizer))
        for begin in range(0, len(draws), samples):
            yield draws[begin : begin + samples]

    def text(self, draw: Draw) -> str:
        """The text of a draw, without control characters, which byte pieces can spell; it may be empty."""
        read = self.tokenizer.decode(draw.tokens)
        if not read.isprintable():
            read = "".join(c for c in read if unicodedata.category(c) != "Cc")
        return " ".join(read.split())


def _extended(conversation: Conversation, utterance: Utterance) -> Conversation:
    return Conversation(
        conversation.id,
        (*conversation.utterances, utterance),
        conversation.topic,
        conversation.prompt,
        conversation.speakers,
    )


def _engine_name(engine: str, device: str) -> str:
    """The engine to use.

    Raises:
        ConfigError: it is unknown, not installed, or ONNX Runtime on another device than the CPU.
    """
    if engine not in get_args(EngineName):
        raise ConfigError(f"engine must be one of {', '.join(get_args(EngineName))}, but is {engine!r}")
    if engine == "auto":
        return "onnx" if device == "cpu" and _installed("onnxruntime") and _installed("onnx") else "torch"
    if engine != "torch" and device != "cpu":
        raise ConfigError(f"engine {engine} runs on the cpu, but the device is {device}: take engine torch")
    needed = ("torch",) if engine == "torch" else ("onnxruntime", "onnx")
    if missing := [package for package in needed if not _installed(package)]:
        raise ConfigError(f"engine {engine} needs the package {missing[0]}, which is not installed")
    return engine


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def _opened(checkpoint: Checkpoint, source: str, engine: str, device: str, threads: int | None) -> Engine:
    if engine == "torch":
        from dialog_cvae.engines.torch_engine import TorchEngine
        from dialog_cvae.model.build import build_model
        from dialog_cvae.model.cvae import CVAE

        return TorchEngine(build_model(checkpoint, source, required=CVAE), device)
    from dialog_cvae.engines.onnx_engine import OnnxEngine

    cache = open_cache(None, _log.info, "graphs")
    return OnnxEngine.of(checkpoint, source, cache, threads=threads, int8=engine == "onnx-int8")
