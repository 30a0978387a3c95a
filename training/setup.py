"""From a configuration to the parts of a run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dialog_cvae.data.batches import EncodedCorpus
from dialog_cvae.data.corpora import find_vectors
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.build import build_model
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.text.tokenizer import Tokenizer
from training.config import FitConfig
from training.vocabulary import Vocabulary


def unknown_share(corpus: EncodedCorpus) -> float:
    """Share of tokens that are the unknown word."""
    return float((corpus.tokens == Tokenizer.unk_id).mean())


def new_model(config: FitConfig, vocabulary: Vocabulary) -> CVAE | SentenceVAE:
    """A model with fresh weights, which are a function of `train.seed`."""
    torch.manual_seed(config.train.seed)
    if config.corpus.of_sentences:
        return SentenceVAE(config.sentence, len(vocabulary.tokenizer))
    return CVAE(config.model, len(vocabulary.tokenizer), len(vocabulary.topics))


def fine_tuned_model(checkpoint: Checkpoint, vocabulary: Vocabulary) -> CVAE | SentenceVAE:
    """A checkpoint's model; each new topic starts as the `<unknown>` one."""
    model = build_model(checkpoint, "the checkpoint of --init")
    if isinstance(model, SentenceVAE):
        return model.train()
    rows = model.topic.weight.detach()
    added = len(vocabulary.topics) - len(checkpoint.config.topics)
    model.topic = nn.Embedding(len(rows) + added, rows.shape[1])
    model.topic.weight = nn.Parameter(torch.cat((rows, rows[:1].expand(added, -1))))
    return model.train()


@torch.no_grad()
def put_vectors(model: CVAE | SentenceVAE, vocabulary: Vocabulary, source: str, folder: Path | None) -> float:
    """Start the embeddings of known words from word vectors; returns the share of words that have one.

    Args:
        model: whose embedding is changed.
        vocabulary: its words; of a unigram vocabulary, the pieces that begin a word, lower-cased.
        source: a file, a published name found in a folder `glove` beside the corpora, or a gensim downloader name.
        folder: where corpora are looked for.

    Raises:
        ConfigError: the vectors' width is not the embedding's.
        DataError: there are no such vectors, or they are malformed.
    """
    words = vocabulary.tokenizer.whole_words
    path = None if Path(source).exists() else find_vectors(source, folder)
    vectors = load_vectors(path or source, set(words.values()))
    width = model.embedding.embedding_dim
    if vectors.dimension != width:
        raise ConfigError(
            f"train.vectors: {source} has {vectors.dimension} dimensions, but model.embedding_size is {width}"
        )
    rows = {index: vectors.rows[word] for index, word in words.items() if word in vectors.rows}
    model.embedding.weight[list(rows)] = torch.from_numpy(vectors.matrix[list(rows.values())])
    return len(rows) / len(words)


def device_of(name: str) -> torch.device:
    """`auto` is a CUDA device where there is one.

    Raises:
        ConfigError: the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: must be auto, cpu or cuda, but is {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device: must be auto, cpu or cuda, but is {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device: {name} was asked for, but PyTorch sees no CUDA device here")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device: {name} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return device
