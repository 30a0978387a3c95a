"""Windows by index against windows built by hand, one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.data.batches import collate, drop_conditions, drop_roles
from dialog_cvae.data.encoded_corpus import NO_SPEAKER
from dialog_cvae.data.windows import epoch_order
from dialog_cvae.model.cvae import TensorBatch
from dialog_cvae.types import Conversation, DialogBatch, Profile, Utterance
from tests.dialog_cvae.data.drawn_conversations import (
    MAX_TOKENS,
    TOKENIZER,
    TOPICS,
    addressee_of,
    conversations,
    encode,
)

ROLE_OF = {"A": 2, "B": 1}
OPENING = [TOKENIZER.bos_id, TOKENIZER.dialog_start_id, TOKENIZER.eos_id]


def _ids(text: str) -> list[int]:
    ids = [TOKENIZER.bos_id, *TOKENIZER.encode(text), TOKENIZER.eos_id]
    return ids[:MAX_TOKENS]


def _as_context(text: str) -> list[int]:
    ids = [TOKENIZER.bos_id, *TOKENIZER.encode(text), TOKENIZER.eos_id]
    return ids if len(ids) <= MAX_TOKENS else ids[:3] + ids[-3:]


def _features(profile: Profile) -> list[float | None]:
    """Age, education, female, male; None where not known."""
    sex = [None, None] if profile.sex is None else [float(profile.sex == "female"), float(profile.sex == "male")]
    education = None if profile.education is None else profile.education / 3
    return [None if profile.age is None else profile.age / 100, education, *sex]


def _naive_windows(spoken: list[Conversation], max_context: int) -> list[dict[str, object]]:
    """Every response with its own copy of its context."""
    windows = []
    for conversation in spoken:
        before: list[tuple[str | None, list[int]]] = [(None, OPENING)]
        for position, (speaker, text) in enumerate((u.speaker, u.text) for u in conversation.utterances):
            context = before[-max_context:]
            other = addressee_of(conversation, position, speaker)
            windows.append(
                {
                    "context": [ids for _, ids in context],
                    "floors": [float(name == speaker) for name, _ in context],
                    "response": _ids(text),
                    "topic": 1 + TOPICS.index(conversation.topic) if conversation.topic in TOPICS else 0,
                    "mine": _features(conversation.profile(speaker)),
                    "theirs": [None] * 4 if other is None else _features(conversation.profile(other)),
                    "roles": [ROLE_OF.get(name, 0) for name, _ in context],
                    "role": ROLE_OF.get(speaker, 0),
                }
            )
            before.append((speaker, _as_context(text)))
    return windows


def _window(batch: DialogBatch, row: int) -> dict[str, object]:
    """One window of a batch, in the naive form."""

    def tokens(index: int) -> list[int]:
        assert not batch.tokens[index, batch.lengths[index] :].any()
        return batch.tokens[index, : batch.lengths[index]].tolist()

    def known(party: int) -> list[float | None]:
        pairs = zip(batch.profiles[row, party], batch.profiles_known[row, party], strict=True)
        return [pytest.approx(float(value)) if flag else None for value, flag in pairs]

    length = batch.context_lengths[row]
    assert not batch.context[row, length:].any()
    assert not batch.floors[row, length:].any()
    assert not batch.roles[row, length:].any()
    return {
        "context": [tokens(index) for index in batch.context[row, :length]],
        "floors": batch.floors[row, :length].tolist(),
        "response": tokens(batch.response[row]),
        "topic": int(batch.topic[row]),
        "mine": known(0),
        "theirs": known(1),
        "roles": batch.roles[row, :length].tolist(),
        "role": int(batch.role[row]),
    }


@given(st.lists(conversations, min_size=1, max_size=5), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_collate_equals_windows_built_one_at_a_time(
    spoken: list[Conversation], max_context: int, random: object
) -> None:
    corpus, naive = encode(spoken), _naive_windows(spoken, max_context)
    chosen = [random.randrange(len(naive)) for _ in range(7)]
    batch = collate(corpus, corpus.responses[chosen], max_context)
    assert batch.size == len(chosen)
    assert [_window(batch, row) for row in range(batch.size)] == [naive[index] for index in chosen]


@given(st.lists(conversations, min_size=1, max_size=5))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_each_utterance_stands_once_in_a_batch(spoken: list[Conversation]) -> None:
    corpus = encode(spoken)
    batch = collate(corpus, corpus.responses, 9)
    # All windows of whole conversations: each utterance and <d>, and a long one again as the context of later ones.
    read_twice = set(corpus.long) - set(corpus.starts[1:] - 1)
    assert len(batch.tokens) == len(corpus.speaker) + len(read_twice)
    used = {*batch.context[batch.context_lengths[:, None] > np.arange(batch.context.shape[1])], *batch.response}
    assert used == set(range(len(batch.tokens)))


def _windows(batch: DialogBatch) -> list[dict[str, object]]:
    return [_window(batch, row) for row in range(batch.size)]


@given(st.lists(conversations, min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_with_a_role_its_utterances_alone_are_responses(
    spoken: list[Conversation], segment: int, seed: int, epoch: int
) -> None:
    whole, corpus = encode(spoken), encode([replace(each, respond_as=("A", "C")) for each in spoken])
    said = [each.speaker in "AC" for conversation in spoken for each in conversation.utterances]
    assert corpus.responses.tolist() == whole.responses[said].tolist()
    assert corpus.windows == sum(said)
    # The windows are those of the whole corpus.
    ours, theirs = (_windows(collate(each, corpus.responses, 3)) for each in (corpus, whole))
    assert ours == theirs
    # The order of training is that of conversations that have the role's utterances alone.
    alone = [replace(each, utterances=tuple(u for u in each.utterances if u.speaker in "AC")) for each in spoken]
    numbers = epoch_order(encode(alone), segment, seed, epoch)
    place = {int(number): response for number, response in zip(encode(alone).responses, corpus.responses, strict=True)}
    assert epoch_order(corpus, segment, seed, epoch).tolist() == [place[int(number)] for number in numbers]


def test_the_first_window_sees_the_start_of_the_dialog() -> None:
    corpus = encode([Conversation("c", (Utterance("A", "a"), Utterance("A", "b")))])
    batch = collate(corpus, corpus.responses, 9)
    assert corpus.speaker.tolist() == [NO_SPEAKER, 0, 0]
    assert _window(batch, 0)["context"] == [OPENING]
    assert _window(batch, 0)["floors"] == [0.0]
    assert _window(batch, 1)["context"] == [OPENING, _ids("a")]
    assert _window(batch, 1)["floors"] == [0.0, 1.0]


def test_a_long_message_keeps_its_question_as_context_and_does_not_end_as_a_reply() -> None:
    said = (Utterance("A", "a a a a a a a g h"), Utterance("B", "b"), Utterance("A", "c d"))
    corpus = encode([Conversation("c", said)])
    windows = [_window(collate(corpus, corpus.responses, 9), row) for row in range(3)]
    assert windows[0]["response"] == [TOKENIZER.bos_id, *TOKENIZER.encode("a a a a a")]  # no </s>
    for window in windows[1:]:
        assert window["context"][1] == [TOKENIZER.bos_id, *TOKENIZER.encode("a a g h"), TOKENIZER.eos_id]
    assert windows[1]["floors"] == [0.0, 0.0]
    assert windows[2]["floors"] == [0.0, 1.0, 0.0]
    tensors = TensorBatch.from_arrays(collate(corpus, corpus.responses, 9))
    assert tensors.target_lengths.tolist() == [5, 2, 3]
    assert TOKENIZER.eos_id not in tensors.targets[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_conditions_are_forgotten_independently_in_that_share(share: float) -> None:
    spoken = [
        Conversation("c", (Utterance("A", "a"), Utterance("B", "b")) * 400, "PETS", speakers=dict.fromkeys("AB", p))
        for p in [Profile("female", 30, 1)]
    ]
    batch = collate(encode(spoken), encode(spoken).responses, 2)
    forgotten = drop_conditions(batch, share, np.random.default_rng(0).random((batch.size, 3)))
    gone = np.column_stack((forgotten.topic == 0, ~forgotten.profiles_known.any(-1)))  # topic, mine, theirs
    assert np.allclose(gone.mean(0), share, atol=0.05)
    assert np.allclose((gone[:, 0] & gone[:, 1]).mean(), share**2, atol=0.05)
    assert (forgotten.profiles_known.all(-1) | ~forgotten.profiles_known.any(-1)).all()
    assert batch.topic.all()  # the batch itself is unchanged
    assert np.array_equal(forgotten.tokens, batch.tokens)


def test_roles_are_dropped_in_the_share_of_windows_and_half_of_them_together():
    corpus = encode([Conversation("c", tuple(Utterance("AB"[index % 2], "a") for index in range(8)))])
    batch = collate(corpus, np.resize(corpus.responses, 20_000), 3)
    assert batch.role.all()
    dropped = drop_roles(batch, 0.2, np.random.default_rng(0).random((20_000, 3)))
    context, responder = ~dropped.roles.any(axis=1), dropped.role == 0
    long = batch.roles.any(axis=1)  # a first utterance follows no speaker
    assert np.isclose(context[long].mean(), 0.2, atol=0.01)
    assert np.isclose(responder.mean(), 0.2, atol=0.01)
    assert np.isclose((context & responder)[long].mean(), 0.1 + 0.1 * 0.2, atol=0.01)
    np.testing.assert_array_equal(dropped.roles[~context], batch.roles[~context])
    np.testing.assert_array_equal(dropped.role[~responder], batch.role[~responder])
    everything = drop_roles(batch, 1.0, np.full((20_000, 3), 0.99))
    assert not everything.roles.any()
    assert not everything.role.any()
