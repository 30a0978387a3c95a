"""Copy a checkpoint in half precision, for distribution: `python -m training.export --help`.

Open it to change what can be asked of a copy. `export_parts` has what it leaves out or adds, and `half_precision` how
exact it is.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from dialog_cvae.cli import Parser, exit_status, whole
from dialog_cvae.config import Decoding
from dialog_cvae.data.reply_index import MAX_UTTERANCES, MIN_CONVERSATIONS
from dialog_cvae.engines.language_weights import adapter_shapes
from dialog_cvae.errors import ConfigError, DataError
from dialog_cvae.model.weights import checked_weights, fitting_weights
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import BEST, REPLIES, WEIGHTS
from training.export_parts import with_common_words, with_index, without_bow, without_trained
from training.half_precision import PRECISIONS, rounded
from training.run_paths import STATE_FILE

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
    parser.add_argument(
        "--drop-trained",
        action="store_true",
        help="leave out the hashes of the training conversations, with which anyone who can guess a conversation can "
        "confirm that it was among them",
    )
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
    if arguments.min_conversations is not None and not arguments.with_index:
        raise ConfigError("--min-conversations is for an index of replies; give --with-index too")
    if (arguments.data or arguments.data_dir) and not (arguments.with_index or arguments.with_common_words):
        raise ConfigError(
            "--data and --data-dir are for an index of replies or a list of common words; give --with-index or "
            "--with-common-words too"
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"OUT: {out} exists already; remove it or give another folder")
    if (source / STATE_FILE).exists() or (source / BEST).exists():  # a run's folder
        source = source / BEST
    checkpoint = Checkpoint.load(source)
    _check_weights(checkpoint, f"{source}/{WEIGHTS}")
    checkpoint = _described(checkpoint, arguments)
    if arguments.drop_bow:
        checkpoint = without_bow(checkpoint)
    if arguments.drop_trained:
        checkpoint = without_trained(checkpoint)
    if checkpoint.config.decoding.candidates_from != "model" and not (arguments.with_index or checkpoint.replies):
        raise ConfigError(
            f"--decoding: candidates_from {checkpoint.config.decoding.candidates_from} needs an index of replies; give "
            "--with-index too"
        )
    if arguments.with_index:
        checkpoint = with_index(
            checkpoint, arguments.min_conversations or MIN_CONVERSATIONS, arguments.data, arguments.data_dir
        )
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
    if (backbone := checkpoint.config.base) is not None:
        print(f"to serve it, the language model {backbone.name} is needed (SHA-256 {backbone.sha256})")
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
