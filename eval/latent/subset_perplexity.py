"""Reconstruction perplexity and KL as in the paper's Table 3, over the windows that the released code evaluates.

Open it to compare a model with the paper's figures; `likelihood` has the estimates over a whole corpus.

Shape legend: B windows of a batch, Z latent dimensions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dialog_cvae.data.batches import collate
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model.elbo import perplexity
from dialog_cvae.model.svi import Refiner
from dialog_cvae.model_config import SviConfig
from dialog_cvae.nn.devices import moved
from eval.latent.likelihood import Advance


class SubsetPerplexity(NamedTuple):
    """Likelihood figures of the paper's Table 3; see `subset_perplexity`.

    Attributes:
        perplexity: Rec-P, the mean over batches of exp(reconstruction / tokens).
        reconstruction: mean -log p(x | z, c) in nats for each window, with one z from the posterior.
        kl: mean KL(q(z | x, c) || p(z | c)) in nats for each window.
        windows: number of windows scored, repeats included.
        batches: number of batches, of equal size.
    """

    perplexity: float
    reconstruction: float
    kl: float
    windows: int
    batches: int


def subset_perplexity(
    model: CVAE,
    corpus: EncodedCorpus,
    *,
    svi: SviConfig | None = None,
    seed: int = 0,
    batch_size: int = 60,
    advance: Advance | None = None,
) -> SubsetPerplexity:
    """Reconstruction perplexity and KL as in the paper, over the windows that the released loader keeps.

    Perplexity is the mean over batches, with one z per window from the posterior; see `loader_batches` for the windows.

    Args:
        model: on any device.
        corpus: encoded for this model.
        svi: refinement of posteriors, if any.
        seed: of the noise.
        batch_size: conversations in parallel; 60 in the released code's evaluation.
        advance: receives the number of windows of each finished batch.
    """
    device = next(model.parameters()).device
    rng, rng_of_steps = (np.random.default_rng(seeds) for seeds in (seed, (seed, 1)))
    perplexities, sums, windows = [], np.zeros(2), 0
    refiner = Refiner(model, svi)
    with refiner.scoring():
        for responses, contexts in loader_batches(corpus, batch_size, model.config.max_context):
            batch = TensorBatch.from_arrays(collate(corpus, responses, contexts), device)
            shape = (len(responses), model.config.latent_size)
            drawn = rng.standard_normal(shape, dtype=np.float32)
            refine = refiner.refine(batch, refiner.noise([rng_of_steps] * len(responses)))
            terms = model(batch, moved(torch.from_numpy(drawn), device), refine=refine)
            reconstruction, kl = (float(term.double().sum()) for term in (terms.reconstruction, terms.kl))
            perplexities.append(perplexity(reconstruction, int(batch.target_lengths.sum())))
            sums += reconstruction, kl
            windows += len(responses)
            if advance is not None:
                advance(len(responses))
    reconstruction, kl = (sums / windows).tolist()
    return SubsetPerplexity(math.fsum(perplexities) / len(perplexities), reconstruction, kl, windows, len(perplexities))


def loader_batches(
    corpus: EncodedCorpus, batch_size: int, max_context: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The windows that the released loader produces for a batch size, and their context lengths; (B,) each.

    The loader sorts conversations by length, forms batches of `batch_size` conversations, drops the longest ones that
    do not fill a batch, and moves a window over all conversations of a batch in parallel, from the opening on. It stops
    when the window would begin at the last utterance of the shortest conversation, and never reaches the last utterance
    of the longest. A conversation that has already ended repeats its last utterance, with a shrinking context.

    Zhao et al.'s 60 validation conversations give 41 batches: 2,460 windows. There are two differences. A corpus of
    fewer than `batch_size` conversations is one batch here, but none in the loader. Conversations of equal length stay
    in the corpus's order, which is random in the loader.

    Args:
        corpus: with the opening pseudo-utterances, which count as utterances here.
        batch_size: conversations in parallel.
        max_context: maximum number of context utterances; 9 in the released code.

    Raises:
        ConfigError: `batch_size` is below 1, or the corpus leaves no window.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, but is {batch_size}")
    lengths = np.diff(corpus.starts)
    size = max(1, min(batch_size, len(lengths)))
    order = np.argsort(lengths, kind="stable")
    batches = []
    for begin in range(0, len(order) - size + 1, size):
        chosen = order[begin : begin + size]
        shortest, longest = (int(lengths[each]) for each in (chosen[0], chosen[-1]))
        for end in range(2, longest):
            first = max(0, end - max_context - 1)
            if first < shortest - 1:
                positions = np.minimum(end, lengths[chosen]) - 1
                batches.append((corpus.starts[chosen] + positions, positions - first))
    if not batches:
        raise ConfigError(f"{len(lengths)} conversations leave no window: the longest needs at least 2 utterances")
    return batches
