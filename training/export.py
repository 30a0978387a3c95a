"""Copy a checkpoint in half precision, for distribution: `python -m training.export --help`.

Open it to change what a copy leaves out, or how exact it must be.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.config import DataConfig, Decoding
from dialog_cvae.data.common_words import CommonWords, said_in
from dialog_cvae.data.corpora import load_split
from dialog_cvae.data.reply_index import MAX_UTTERANCES, MIN_CONVERSATIONS, ReplyIndex
from dialog_cvae.engines.language_weights import adapter_shapes
from dialog_cvae.errors import CheckpointError, ConfigError, DataError
from dialog_cvae.model.weights import checked_weights, fitting_weights
from dialog_cvae.storage.checkpoint import BEST, REPLIES, WEIGHTS, Checkpoint
from dialog_cvae.types import Conversation
from training.run_paths import STATE_FILE

PRECISIONS: dict[str, type[np.floating[Any]]] = {"fp16": np.float16, "fp32": np.float32}
BOW_HEAD = "bow_head."
NORMALISED = ("recognition_network.", "mean_norm.")
MOST_CHANGE = 1e-3  # twice the largest change of a normal number in half precision, 2^-11

EXPLANATION = """\
Copies a checkpoint into a new, smaller folder: with weights in half precision, half as large, and, on request,
without the bag-of-words head, which only training uses. Everything else is kept, also the recognition network: the copy
can be served, evaluated (python -m eval.dialog) and trained further (python -m training.fit --init). Its config.json
lists the changes. A recognition network with normalised means (posterior_norm) stays in single precision, because the
means and their errors are divided by a standard deviation, which can be very small.

  python -m training.export runs/mine models/mine --drop-bow --card CARD.md

Of a model on a language model, the copy holds the adapters, the tokenizer and the card. It can be served wherever the
language model itself is: `dialog-cvae backbone` gets the default one. The copy names it and its SHA-256, and no other
one is accepted.

With --with-index the copy can offer replies of the training conversations beside its own (candidates_from: corpus or
both). Such a copy holds text of these conversations; publish it only if you may publish them.

It is an error if a weight exceeds the range of half precision, or if rounding changes a row by more than a thousandth
of the row's norm, so that even the embedding of a rare word stays exact enough. A bias counts as one row.
"""


class Rounding(NamedTuple):
    """The row that rounding changed most; a vector counts as one row.

    Attributes:
        change: norm of the difference / norm of the row; 0 if nothing changed.
        row: its name, for messages.
    """

    change: float
    row: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status: 0 success, 2 invalid arguments or failure, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    return exit_status(lambda: _export(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m training.export", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder, or a checkpoint's")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; must not exist yet")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp16", help="precision of the weights (default fp16)"
    )
    parser.add_argument("--drop-bow", action="store_true", help="leave out the bag-of-words head")
    parser.add_argument("--card", type=Path, metavar="FILE", help="Markdown file that replaces the model card")
    parser.add_argument("--licence", metavar="TEXT", help="licence of the weights, such as CC BY-SA 4.0")
    parser.add_argument(
        "--decoding",
        metavar="JSON",
        help='default decoding settings, such as {"temperature": 0.7, "top_p": 0.9, "candidates": 32}; see '
        "dialog_cvae.config.Decoding",
    )
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="file with a JSON object that replaces metrics.json"
    )
    _add_index(parser)
    return parser


def _add_index(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--with-index",
        action="store_true",
        help="add an index of replies, so that the model can offer replies of its training conversations too. The copy "
        f"then holds people's text word for word; at most {MAX_UTTERANCES:,} utterances are indexed",
    )
    parser.add_argument(
        "--min-conversations",
        type=whole(1, 10**6),
        default=MIN_CONVERSATIONS,
        metavar="K",
        help="the index keeps only replies and words of at least K different conversations (default "
        f"{MIN_CONVERSATIONS}); with 1 it also offers what a single person was told, such as names and numbers",
    )
    parser.add_argument(
        "--with-common-words",
        action="store_true",
        help="add the list of words and numbers that many training conversations have, for the service's guard; fit "
        "writes it, but checkpoints from before lack it",
    )
    parser.add_argument(
        "--data", metavar="CORPUS", help="corpus of both; default: the one that the checkpoint was fitted on"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder with the corpora, searched before $DIALOG_CVAE_DATA and the cache"
    )


def _export(arguments: argparse.Namespace) -> int:
    source, out = arguments.source, arguments.out
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"OUT: {out} exists already; remove it or give another folder")
    if (source / STATE_FILE).exists() or (source / BEST).exists():  # a run's folder
        source = source / BEST
    checkpoint = Checkpoint.load(source)
    _check_weights(checkpoint, f"{source}/{WEIGHTS}")
    checkpoint = _described(checkpoint, arguments)
    if arguments.drop_bow:
        checkpoint = without_bow(checkpoint)
    if checkpoint.config.decoding.candidates_from != "model" and not (arguments.with_index or checkpoint.replies):
        raise ConfigError(
            f"--decoding: candidates_from {checkpoint.config.decoding.candidates_from} needs an index of replies; give "
            "--with-index too"
        )
    if arguments.with_index:
        checkpoint = with_index(checkpoint, arguments.min_conversations, arguments.data, arguments.data_dir)
    if arguments.with_common_words:
        checkpoint = with_common_words(checkpoint, arguments.data, arguments.data_dir)
    checkpoint, rounding = rounded(checkpoint, arguments.precision)
    checkpoint.save(out)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(
        f"wrote {out}: {sum(weight.size for weight in checkpoint.weights.values()):,} weights in "
        f"{arguments.precision}, {size / 1e6:.1f} MB; largest relative change {rounding.change:.2g}"
        + (f" ({rounding.row})" if rounding.change else "")
    )
    if (index := checkpoint.replies) is not None:
        print(
            f"{REPLIES} holds {len(index.replies):,} replies word for word, each said in at least "
            f"{index.min_conversations} training conversation(s)"
        )
    if (base := checkpoint.config.base) is not None:
        print(f"to serve it, the language model {base.name} is needed (SHA-256 {base.sha256})")
    return 0


def _described(checkpoint: Checkpoint, arguments: argparse.Namespace) -> Checkpoint:
    """The checkpoint with the card, the metrics, the licence and the decoding that were given."""
    config = checkpoint.config
    if arguments.licence is not None:
        provenance = config.provenance.model_copy(update={"licence": arguments.licence})
        config = config.model_copy(update={"provenance": provenance})
    if arguments.decoding is not None:
        config = config.model_copy(update={"decoding": _decoding(arguments.decoding)})
    checkpoint = replace(checkpoint, config=config)
    if arguments.card is not None:
        checkpoint = replace(checkpoint, card=_read(arguments.card))
    if arguments.metrics is not None:
        checkpoint = replace(checkpoint, metrics=_json_object(arguments.metrics))
    return checkpoint


def _check_weights(checkpoint: Checkpoint, source: str) -> None:
    """Check that all weights fit; an error names the one that does not."""
    config = checkpoint.config
    if config.language is not None and config.base is not None:
        fitting_weights(checkpoint.weights, adapter_shapes(config.language, config.base.sizes), source)
    else:
        checked_weights(checkpoint, source, "dialog model")


def without_bow(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without its bag-of-words head, which neither replies nor likelihoods need.

    Raises:
        ConfigError: it has none.
    """
    section = "model" if checkpoint.config.language is None else "language"
    sizes = getattr(checkpoint.config, section)
    if not sizes.bow:
        raise ConfigError("--drop-bow: the checkpoint has no bag-of-words head")
    without = {section: sizes.model_copy(update={"bow": False})}
    weights = {name: weight for name, weight in checkpoint.weights.items() if not name.startswith(BOW_HEAD)}
    config = checkpoint.config.model_copy(update=without)
    return _changed(replace(checkpoint, config=config, weights=weights), "bag-of-words head left out")


def with_index(
    checkpoint: Checkpoint, min_conversations: int, name: str | None = None, folder: Path | None = None
) -> Checkpoint:
    """The checkpoint with an index of the replies of its training split; no other split is read.

    Args:
        checkpoint: of a dialog model or a language model.
        min_conversations: see `dialog_cvae.data.reply_index`.
        name: of the corpus; default: the one that the checkpoint was fitted on.
        folder: with the corpora.

    Raises:
        ConfigError: the checkpoint does not say what it was fitted on, or no reply was said in enough conversations.
        DataError: the corpus is missing or malformed.
    """
    data, conversations = _training_split(checkpoint, "--with-index", name, folder)
    indexed = replace(checkpoint, replies=ReplyIndex.of(conversations, min_conversations))
    return _changed(indexed, f"index of replies of {data} added")


def with_common_words(checkpoint: Checkpoint, name: str | None = None, folder: Path | None = None) -> Checkpoint:
    """The checkpoint with the list of words and numbers that many conversations of its training split have.

    Args:
        checkpoint: of a dialog model or a language model.
        name: of the corpus; default: the one that the checkpoint was fitted on.
        folder: with the corpora.

    Raises:
        ConfigError: the checkpoint does not say what it was fitted on.
        DataError: the corpus is missing or malformed.
    """
    data, conversations = _training_split(checkpoint, "--with-common-words", name, folder)
    listed = replace(checkpoint, common=CommonWords.of(said_in(conversations)))
    return _changed(listed, f"common words of {data} listed")


def _training_split(
    checkpoint: Checkpoint, option: str, name: str | None, folder: Path | None
) -> tuple[str, Sequence[Conversation]]:
    """The name of a checkpoint's corpus, and its training conversations."""
    stored = checkpoint.config.provenance.fit.get("corpus", {})
    if name is None and not stored:
        raise ConfigError(f"{option}: the checkpoint does not say what it was fitted on; give --data")
    asked: dict[str, Any] = {key: value for key, value in (("name", name), ("dir", folder)) if value is not None}
    if stored and "reading" not in stored:
        asked["reading"] = 1  # as the checkpoint's fit divided the corpus
    data = DataConfig.model_validate(stored).model_copy(update=asked)
    if data.of_sentences:
        raise ConfigError(f"{option}: {data.name} has sentences, and no conversations")
    _, conversations = load_split(data, "train")
    return Path(data.name).name, conversations


def rounded(checkpoint: Checkpoint, precision: str) -> tuple[Checkpoint, Rounding]:
    """The checkpoint with its weights rounded, except the `NORMALISED` ones, and the largest change.

    Args:
        checkpoint: of finite weights.
        precision: fp16 or fp32.

    Raises:
        CheckpointError: a weight has values beyond that precision's range, or a row that loses more than `MOST_CHANGE`.
    """
    kind = PRECISIONS[precision]
    kept = NORMALISED if checkpoint.config.model.posterior_norm else ()
    with np.errstate(over="ignore"):
        weights = {
            name: np.asarray(weight, np.float32 if name.startswith(kept) else kind)
            for name, weight in checkpoint.weights.items()
        }
    roundings = []
    for name, weight in checkpoint.weights.items():
        if not np.isfinite(weights[name]).all():
            limit, value = np.finfo(kind).max, np.abs(weight).max()
            _refuse(f"weight {name} reaches {value:g}, but {precision} ends at {limit:g}", precision)
        roundings.append(_rounding(name, weight, weights[name]))
    worst = max(roundings)
    if worst.change > MOST_CHANGE:
        _refuse(
            f"{precision} would change {worst.row} by {worst.change:.2g} of its norm, and {MOST_CHANGE:g} is the limit",
            precision,
        )
    checkpoint = replace(checkpoint, weights=weights)
    return (_changed(checkpoint, f"weights rounded to {precision}") if worst.change else checkpoint), worst


def _rounding(name: str, before: NDArray[Any], after: NDArray[Any]) -> Rounding:
    """The largest change in one weight; rows of zeros do not change."""
    exact = np.asarray(before, np.float64)
    if not exact.size:
        return Rounding(0.0, f"weight {name}")
    rows = exact.reshape(len(exact) if exact.ndim > 1 else 1, -1)
    differences = np.linalg.norm(rows - after.reshape(rows.shape), axis=1)
    changes = np.divide(differences, np.linalg.norm(rows, axis=1), out=np.zeros(len(rows)), where=differences > 0)
    worst = int(changes.argmax())
    row = f"row {worst} of weight {name}" if exact.ndim > 1 else f"weight {name}"
    return Rounding(float(changes[worst]), row)


def _refuse(reason: str, precision: str) -> NoReturn:
    raise CheckpointError(reason + (" (--precision fp32 keeps it)" if precision == "fp16" else ""))


def _changed(checkpoint: Checkpoint, change: str) -> Checkpoint:
    """The checkpoint with a change added to its provenance."""
    provenance = checkpoint.config.provenance
    provenance = provenance.model_copy(update={"changes": (*provenance.changes, change)})
    return replace(checkpoint, config=checkpoint.config.model_copy(update={"provenance": provenance}))


def _decoding(text: str) -> Decoding:
    try:
        return TypeAdapter(Decoding).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f" {part}:" for part in first["loc"])
        raise ConfigError(f"--decoding:{place} {first['msg']}, got {text}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(path, f"not UTF-8 text ({error.reason} at byte {error.start})") from None


def _json_object(path: Path) -> Mapping[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    def finite(number: str) -> float:
        if math.isinf(value := float(number)):
            raise ValueError(f"{number:.40} is beyond {sys.float_info.max:.2g}, the largest number")
        return value

    try:
        content = json.loads(_read(path), parse_constant=refuse, parse_float=finite)
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(path, f"not valid JSON ({half!r} is half of a surrogate pair, and no character)") from None
    except (ValueError, RecursionError) as error:
        raise DataError(path, f"not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise DataError(path, f"must hold a JSON object, not {type(content).__name__}")
    return content


if __name__ == "__main__":
    sys.exit(main())
