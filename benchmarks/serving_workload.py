"""The requests of the serving benchmark, their cost in operations, and the time of the naive implementation.

Open it to change what the clients say, or how the operations of a reply are counted.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from benchmarks.naive_replies import naive_replies
from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoding import encode_corpus
from dialog_cvae.generate.decoding import SpecialIds
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.weights import condition_size
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance

TOKENS_OF_AN_UTTERANCE = 13  # <s> and </s> included; about the average of the sentences below

SENTENCES = (
    "Do you have any pets?",
    "Yes, we have two dogs and a cat that is about fifteen years old by now.",
    "Uh-huh.",
    "Well, I grew up on a farm, so there were always animals around the house.",
    "That must have been nice.",
    "I think it was, but you know, somebody has to feed them at five in the morning.",
    "Right.",
    "So what do you do in your free time?",
    "I used to play tennis quite a bit, and now I mostly work in the yard on weekends.",
    "Oh, really?",
    "Yeah, my wife and I put in a vegetable garden last spring, and the tomatoes did very well.",
    "We tried that once, but the deer ate everything before we could.",
    "I know what you mean.",
    "Have you seen any good movies lately?",
    "We hardly ever go to the theater any more, because it costs so much to take the whole family.",
    "That's true.",
    "I read in the paper that they want to build a new school over on the north side of town.",
    "I'm not sure that is such a good idea.",
)


def talks(turns: int, count: int, seed: int) -> list[list[str]]:
    """`count` conversations of `turns` utterances: the sentences above with shuffled words, so hardly any are equal."""
    rng = np.random.default_rng(seed)

    def sentence() -> str:
        return " ".join(rng.permutation(SENTENCES[rng.integers(0, len(SENTENCES))].split()))

    return [[sentence() for _ in range(turns)] for _ in range(count)]


def talk_requests(turns: int, replies: int, count: int, seed: int) -> list[bytes]:
    """Bodies for POST /respond, each with another seed."""
    return [
        json.dumps({"context": context, "num_responses": replies, "seed": index}).encode()
        for index, context in enumerate(talks(turns, count, seed))
    ]


def context_operations(config: ModelConfig, utterances: int) -> float:
    """Multiplications and additions to encode a context, with its prior and the first state of one decoder."""
    utterance = 2 * 3 * config.utterance_size * (config.embedding_size + config.utterance_size)  # both directions
    context = 3 * config.context_size * (2 * config.utterance_size + 2 + config.context_size)
    condition = condition_size(config)
    prior = config.prior_size * (condition + 2 * config.latent_size)
    start = config.decoder_size * (condition + config.latent_size)
    return 2.0 * (utterances * (TOKENS_OF_AN_UTTERANCE * utterance + context) + prior + start)


def row_operations(config: ModelConfig, vocabulary: int) -> float:
    """Multiplications and additions for one token of one reply."""
    gates = 3 * config.decoder_size * (config.embedding_size + config.decoder_size)
    return 2.0 * (gates + config.decoder_size * vocabulary)


def naive_seconds(checkpoint: Checkpoint, turns: int, replies: int, tokens: int, count: int) -> float:
    """Seconds per request of the field's PyTorch code: the mean of `count` requests, after one to warm up.

    Each context is encoded separately; its replies are decoded step by step, with `tokens` tokens each.
    """
    model, t = build_model(checkpoint, required=CVAE), checkpoint.word_tokenizer
    special = SpecialIds(t.eos_id, t.unk_id, (*t.never_generated, t.eos_id))
    rng, total = np.random.default_rng(0), 0.0
    for index, context in enumerate(talks(turns, count + 1, seed=3)):
        utterances = tuple(Utterance("AB"[i % 2], text) for i, text in enumerate((*context, "")))
        begin = time.perf_counter()
        corpus = encode_corpus(
            [Conversation("talk", utterances)],
            t,
            checkpoint.config.topics,
            model.config.max_utterance_tokens,
            roles=checkpoint.config.roles,
        )
        batch = collate(corpus, corpus.responses[-1:], model.config.max_context)
        noise = rng.standard_normal((replies, model.config.latent_size), dtype=np.float32)
        with torch.inference_mode():
            naive_replies(model, batch, noise, tokens, special)
        total += (time.perf_counter() - begin) if index else 0.0
    return total / count
