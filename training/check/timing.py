"""How fast a configuration trains on this machine, from a few seconds of updates in a separate process.

Open this to change what is timed. `training.check` uses it to say how long a run will take. The process has a limit of
seconds. If memory runs out, only this process is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dialog_cvae.types import Conversation, Utterance

ROOT = Path(__file__).resolve().parents[2]  # folder of the package `training`
SECONDS = 14.0  # age of the process after which no further update begins
LIMIT = 20.0  # seconds after which the process is ended
PART = 16  # replies in a timed update of a language model; its time per reply hardly depends on their number


def replies_per_second(config: Any, conversations: Sequence[Conversation], limit: float = LIMIT) -> float | None:
    """Replies trained per second, on the device that `training.fit` would use; None if it cannot be measured.

    Args:
        config: of the run, a `FitConfig`.
        conversations: a sample; it is sent to the process and not written to a file.
        limit: seconds.
    """
    sample = {"config": config.model_dump(mode="json"), "conversations": [_packed(each) for each in conversations]}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "training.check.timing"],
            input=json.dumps(sample),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            encoding="utf-8",
            timeout=limit,
            check=True,
        )
        return float(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, TypeError, subprocess.SubprocessError):
        return None


def main() -> None:
    """Read a sample from standard input and print the replies per second."""
    began = time.monotonic()
    content = json.loads(sys.stdin.read())
    print(json.dumps(_measured(content["config"], [_unpacked(each) for each in content["conversations"]], began)))


def _measured(settings: Any, conversations: Sequence[Conversation], began: float) -> float:
    from training.adam import GuardedAdam
    from training.config import FitConfig
    from training.device import device_of
    from training.distributed import SINGLE_PROCESS
    from training.task import new_model, task_of
    from training.update import update

    config = FitConfig.model_validate(settings)
    if config.language is not None:
        small = {"batch_size": PART, "accumulation": 1}
        config = config.model_copy(update={"train": config.train.model_copy(update=small)})
    device, task = device_of("auto"), task_of(config)
    vocabulary, encoded = _encoded(config, conversations)
    model = new_model(config, vocabulary).to(device)
    batches = task.batches(encoded, config, SINGLE_PROCESS, device)
    optimiser = GuardedAdam(model.parameters(), lr=config.learning_rate.peak)
    stream = batches.from_step(0)

    def advance() -> None:
        update(model, optimiser, next(stream), config.train, 0.5, SINGLE_PROCESS).cpu()  # waits for it

    advance()  # the first one compiles kernels
    updates, start = 0, time.monotonic()
    while not updates or time.monotonic() - began < SECONDS:
        advance()
        updates += 1
    size = min(config.train.batch_size, encoded.windows)
    return float(updates * size / (time.monotonic() - start))


def _encoded(config: Any, conversations: Sequence[Conversation]) -> tuple[Any, Any]:
    """The vocabulary and the token ids of a sample."""
    from dialog_cvae.data.encoding import encode_corpus
    from dialog_cvae.data.turns import encode_turns
    from dialog_cvae.text.tokenizer import Tokenizer
    from training.language_task import backbone_of
    from training.vocabulary import Vocabulary

    reading = config.corpus.reading
    if config.language is not None:
        tokenizer = backbone_of(config.language).tokenizer
        return Vocabulary(tokenizer, ()), encode_turns(
            conversations, tokenizer, config.language.max_reply_tokens, reading
        )
    texts = (utterance.text for conversation in conversations for utterance in conversation.utterances)
    words = Tokenizer.train(texts, config.tokenizer)
    topics = tuple(sorted({each.topic for each in conversations if each.topic is not None}))
    limit = config.model.max_utterance_tokens
    return Vocabulary(words, topics), encode_corpus(conversations, words, topics, limit, reading)


def _packed(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "topic": conversation.topic,
        "utterances": [[each.speaker, each.text] for each in conversation.utterances],
        "respond_as": list(conversation.respond_as),
    }


def _unpacked(content: Any) -> Conversation:
    said = tuple(Utterance(speaker, text) for speaker, text in content["utterances"])
    return Conversation(content["id"], said, content["topic"], respond_as=tuple(content["respond_as"]))


if __name__ == "__main__":
    main()
