"""Windows by index against windows built by hand, one at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.batches import (
    NO_SPEAKER,
    EncodedCorpus,
    addressees,
    both_ends,
    collate,
    drop_conditions,
    drop_roles,
    encode_corpus,
    epoch_order,
    truncate,
)
from dialog_cvae.model.cvae import TensorBatch
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.types import Conversation, DialogBatch, Profile, Utterance
from training.config import TrainConfig
from training.dialog_batches import DialogBatches
from training.training_corpus import fingerprint

TOKENIZER = Tokenizer.train(["a b c d e f g h"] * 3, TokenizerConfig())
TOPICS = ("PETS", "WEATHER")
ROLES = ("b", "A")  # C has none
ROLE_OF = {"A": 2, "B": 1}
OPENING = [TOKENIZER.bos_id, TOKENIZER.dialog_start_id, TOKENIZER.eos_id]
MAX_TOKENS = 6

texts = st.lists(st.sampled_from("abcdefghz"), min_size=1, max_size=9).map(" ".join)
utterances = st.lists(st.builds(Utterance, st.sampled_from("ABC"), texts), min_size=1, max_size=7).map(tuple)
profiles = st.builds(
    Profile,
    st.sampled_from([None, "female", "male"]),
    st.none() | st.integers(0, 99),
    st.none() | st.integers(0, 3),
)
conversations = st.builds(
    Conversation,
    st.just("id"),
    utterances,
    st.sampled_from([None, "PETS", "WEATHER", "NEW"]),
    speakers=st.dictionaries(st.sampled_from("ABCD"), profiles),
)


def _encode(spoken: list[Conversation]) -> EncodedCorpus:
    return encode_corpus(spoken, TOKENIZER, TOPICS, MAX_TOKENS, roles=ROLES)


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


def _addressee(conversation: Conversation, position: int, speaker: str) -> str | None:
    """Whom a speaker talks to, looked up for one utterance by itself."""
    names = {u.speaker for u in conversation.utterances} | set(conversation.speakers)
    if len(names) == 2:
        return (names - {speaker}).pop()
    before = (u.speaker for u in reversed(conversation.utterances[:position]))
    return next((name for name in before if name != speaker), None)


def _naive_order(corpus: EncodedCorpus, segment: int, seed: int, epoch: int) -> list[int]:
    """The order of a pass, window by window: cut where the conversation or the block changes, and shuffled."""
    rng = np.random.default_rng((seed, epoch))
    shift = int(rng.integers(segment))
    pieces: dict[tuple[int, int], list[int]] = {}
    for conversation, (begin, end) in enumerate(pairwise(corpus.starts.tolist())):
        for utterance in range(begin + 1, end):
            pieces.setdefault((conversation, (utterance - begin + shift) // segment), []).append(utterance)
    segments = list(pieces.values())
    return [utterance for index in rng.permutation(len(segments)) for utterance in segments[index]]


def _naive_windows(spoken: list[Conversation], max_context: int) -> list[dict[str, object]]:
    """Every response with its own copy of its context."""
    windows = []
    for conversation in spoken:
        before: list[tuple[str | None, list[int]]] = [(None, OPENING)]
        for position, (speaker, text) in enumerate((u.speaker, u.text) for u in conversation.utterances):
            context = before[-max_context:]
            other = _addressee(conversation, position, speaker)
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
    corpus, naive = _encode(spoken), _naive_windows(spoken, max_context)
    chosen = [random.randrange(len(naive)) for _ in range(7)]
    batch = collate(corpus, corpus.responses[chosen], max_context)
    assert batch.size == len(chosen)
    assert [_window(batch, row) for row in range(batch.size)] == [naive[index] for index in chosen]


@given(st.lists(conversations, min_size=1, max_size=5))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_each_utterance_stands_once_in_a_batch(spoken: list[Conversation]) -> None:
    corpus = _encode(spoken)
    batch = collate(corpus, corpus.responses, 9)
    # All windows of whole conversations: each utterance and <d>, and a long one again as the context of later ones.
    read_twice = set(corpus.long) - set(corpus.starts[1:] - 1)
    assert len(batch.tokens) == len(corpus.speaker) + len(read_twice)
    used = {*batch.context[batch.context_lengths[:, None] > np.arange(batch.context.shape[1])], *batch.response}
    assert used == set(range(len(batch.tokens)))


@given(st.lists(conversations, min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_an_epoch_has_every_window_once_in_segments(
    spoken: list[Conversation], segment: int, seed: int, epoch: int
) -> None:
    corpus = _encode(spoken)
    order = epoch_order(corpus, segment, seed, epoch)
    assert order.tolist() == _naive_order(corpus, segment, seed, epoch)
    assert sorted(order) == corpus.responses.tolist()
    assert len(order) == corpus.windows
    joined = 0  # windows that follow their neighbour; at least those that segments of this length must join
    conversation, _ = corpus.places(order)
    for index, (before, after) in enumerate(pairwise(order)):
        joined += bool(after == before + 1 and conversation[index] == conversation[index + 1])
    lengths = Counter(corpus.places(corpus.responses)[0].tolist()).values()
    assert joined >= sum(length - (2 + (length - 2) // segment if length > 1 else 1) for length in lengths)


@given(st.lists(conversations, min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_with_a_role_its_utterances_alone_are_responses(
    spoken: list[Conversation], segment: int, seed: int, epoch: int
) -> None:
    whole, corpus = _encode(spoken), _encode([replace(each, respond_as=("A", "C")) for each in spoken])
    said = [each.speaker in "AC" for conversation in spoken for each in conversation.utterances]
    assert corpus.responses.tolist() == whole.responses[said].tolist()
    assert corpus.windows == sum(said)
    # The windows are those of the whole corpus.
    ours, theirs = (_windows(collate(each, corpus.responses, 3)) for each in (corpus, whole))
    assert ours == theirs
    # The order of training is that of conversations that have the role's utterances alone.
    alone = [replace(each, utterances=tuple(u for u in each.utterances if u.speaker in "AC")) for each in spoken]
    numbers = epoch_order(_encode(alone), segment, seed, epoch)
    place = {int(number): response for number, response in zip(_encode(alone).responses, corpus.responses, strict=True)}
    assert epoch_order(corpus, segment, seed, epoch).tolist() == [place[int(number)] for number in numbers]


def _windows(batch: DialogBatch) -> list[dict[str, object]]:
    return [_window(batch, row) for row in range(batch.size)]


def test_segments_begin_elsewhere_in_another_epoch() -> None:
    corpus = _encode([Conversation("c", tuple(Utterance("AB"[i % 2], "a") for i in range(40)))])
    orders = [epoch_order(corpus, 5, 0, epoch).tolist() for epoch in range(8)]
    cuts = {tuple(sorted(b for a, b in pairwise(order) if b != a + 1)) for order in orders}
    assert len(cuts) > 4
    assert orders != [epoch_order(corpus, 5, 1, epoch).tolist() for epoch in range(8)]


@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_the_batch_of_a_step_does_not_depend_on_where_training_began(encoded: EncodedCorpus, size: int) -> None:
    config = TrainConfig(batch_size=size, condition_dropout=0.3, word_dropout=0.2, segment=3)
    windows = DialogBatches(encoded, config, ModelConfig(max_context=4, latent_size=2))
    per_epoch = -(-len(encoded.responses) // size)
    total = min(3 * per_epoch, 30)
    whole = list(islice(windows.from_step(0), total))
    assert sum(batch.size for batch in whole[:per_epoch]) in (len(encoded.responses), total * size)
    assert all(batch.size == len(batch.parts[0].noise) for batch in whole)
    for step in {0, 1, per_epoch - 1, per_epoch, per_epoch + 1, total - 1} & set(range(total)):
        (ours,), (expected,) = next(windows.from_step(step)).parts, whole[step].parts
        assert torch.equal(ours.noise, expected.noise)
        for name, tensor in ours.windows._asdict().items():
            assert torch.equal(tensor, getattr(expected.windows, name)), (step, name)


def test_the_first_window_sees_the_start_of_the_dialog() -> None:
    corpus = _encode([Conversation("c", (Utterance("A", "a"), Utterance("A", "b")))])
    batch = collate(corpus, corpus.responses, 9)
    assert corpus.speaker.tolist() == [NO_SPEAKER, 0, 0]
    assert _window(batch, 0)["context"] == [OPENING]
    assert _window(batch, 0)["floors"] == [0.0]
    assert _window(batch, 1)["context"] == [OPENING, _ids("a")]
    assert _window(batch, 1)["floors"] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("length", "limit", "kept"), [(4, 4, [0, 1, 2, 3]), (5, 4, [0, 1, 2, 4]), (9, 4, [0, 1, 2, 8]), (1, 4, [0])]
)
def test_truncation_keeps_the_first_and_the_last(length: int, limit: int, kept: list[int]) -> None:
    assert truncate(range(length), limit) == kept


@pytest.mark.parametrize(
    ("length", "limit", "kept"),
    [(4, 4, [0, 1, 2, 3]), (5, 4, [0, 1, 3, 4]), (9, 5, [0, 1, 6, 7, 8]), (1, 4, [0]), (100, 4, [0, 1, 98, 99])],
)
def test_both_ends_of_a_long_message(length: int, limit: int, kept: list[int]) -> None:
    assert both_ends(range(length), limit) == kept


def test_a_long_message_keeps_its_question_as_context_and_does_not_end_as_a_reply() -> None:
    said = (Utterance("A", "a a a a a a a g h"), Utterance("B", "b"), Utterance("A", "c d"))
    corpus = _encode([Conversation("c", said)])
    windows = [_window(collate(corpus, corpus.responses, 9), row) for row in range(3)]
    assert windows[0]["response"] == [TOKENIZER.bos_id, *TOKENIZER.encode("a a a a a")]  # no </s>
    for window in windows[1:]:
        assert window["context"][1] == [TOKENIZER.bos_id, *TOKENIZER.encode("a a g h"), TOKENIZER.eos_id]
    assert windows[1]["floors"] == [0.0, 0.0]
    assert windows[2]["floors"] == [0.0, 1.0, 0.0]
    tensors = TensorBatch.from_arrays(collate(corpus, corpus.responses, 9))
    assert tensors.target_lengths.tolist() == [5, 2, 3]
    assert TOKENIZER.eos_id not in tensors.targets[0]


@given(st.lists(conversations, min_size=1, max_size=4))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_the_first_reading_is_the_same_where_nothing_is_long(spoken: list[Conversation]) -> None:
    old, new = (encode_corpus(spoken, TOKENIZER, TOPICS, MAX_TOKENS, reading) for reading in (1, 2))
    assert not len(old.long)
    if not len(new.long):
        assert all(np.array_equal(one, other) for one, other in zip(old, new, strict=True))
        assert fingerprint(old) == fingerprint(new)
    ends = old.tokens[old.offsets[1:].astype(int) - 1]
    assert set(ends.tolist()) == {TOKENIZER.eos_id}


def test_topics_are_found_in_either_normal_form() -> None:
    spoken = [Conversation("c", (Utterance("A", "a"),), topic) for topic in ("Caf\u00e9", "Cafe\u0301", "Cafe", None)]
    for known in ("Caf\u00e9", "Cafe\u0301"):
        assert encode_corpus(spoken, TOKENIZER, (known,), MAX_TOKENS).topic.tolist() == [1, 1, 0, 0]
    both = encode_corpus(spoken, TOKENIZER, ("Cafe\u0301", "Caf\u00e9"), MAX_TOKENS)  # as an older model may have them
    assert both.topic.tolist() == [2, 1, 0, 0]


def test_whom_a_speaker_talks_to() -> None:
    said = tuple(Utterance(name, "a") for name in "ABCAAC")
    assert addressees(Conversation("c", said)) == [None, "A", "B", "C", "C", "A"]
    alone = (Utterance("A", "a"),)
    assert addressees(Conversation("c", alone)) == [None]
    assert addressees(Conversation("c", alone, speakers={"B": Profile("male")})) == ["B"]
    assert addressees(Conversation("c", ())) == []


@given(conversations)
@settings(deadline=None, derandomize=True)
def test_addressees_are_those_found_one_at_a_time(spoken: Conversation) -> None:
    speakers = [u.speaker for u in spoken.utterances]
    assert addressees(spoken) == [_addressee(spoken, i, speaker) for i, speaker in enumerate(speakers)]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_conditions_are_forgotten_independently_in_that_share(share: float) -> None:
    spoken = [
        Conversation("c", (Utterance("A", "a"), Utterance("B", "b")) * 400, "PETS", speakers=dict.fromkeys("AB", p))
        for p in [Profile("female", 30, 1)]
    ]
    batch = collate(_encode(spoken), _encode(spoken).responses, 2)
    forgotten = drop_conditions(batch, share, np.random.default_rng(0).random((batch.size, 3)))
    gone = np.column_stack((forgotten.topic == 0, ~forgotten.profiles_known.any(-1)))  # topic, mine, theirs
    assert np.allclose(gone.mean(0), share, atol=0.05)
    assert np.allclose((gone[:, 0] & gone[:, 1]).mean(), share**2, atol=0.05)
    assert (forgotten.profiles_known.all(-1) | ~forgotten.profiles_known.any(-1)).all()
    assert batch.topic.all()  # the batch itself is unchanged
    assert np.array_equal(forgotten.tokens, batch.tokens)


def test_no_conversations_encode_to_empty_arrays() -> None:
    corpus = _encode([])
    assert corpus.parties.shape == (0, 2)
    assert corpus.profiles.shape == (1, 4)
    assert corpus.windows == len(corpus.responses) == 0
    assert corpus.starts.tolist() == corpus.offsets.tolist() == [0]
    assert epoch_order(corpus, 5, 0, 0).tolist() == []


def test_a_conversation_without_utterances_has_no_window() -> None:
    corpus = _encode([Conversation("c", ()), Conversation("d", (Utterance("A", "a"),)), Conversation("e", ())])
    assert epoch_order(corpus, 5, 0, 0).tolist() == corpus.responses.tolist() == [2]
    assert corpus.windows == 1
    assert [array.tolist() for array in corpus.places(np.arange(4))] == [[0, 1, 1, 2], [0, 0, 1, 0]]


@pytest.mark.parametrize("speakers", [2, 127, 128, 129, 300])
def test_numbers_fit_their_types(speakers: int) -> None:
    names = [f"speaker {index}" for index in range(speakers)]
    profiles = {name: Profile(age=index) for index, name in enumerate(names)}
    corpus = _encode([Conversation("c", tuple(Utterance(name, "a") for name in names), speakers=profiles)])
    assert corpus.speaker.tolist() == [NO_SPEAKER, *range(speakers)]
    ages = 100 * corpus.profiles[corpus.parties[:, 0], 0]
    assert ages.round().tolist() == [0, *range(speakers)]
    assert corpus.known[corpus.parties[:, 0], 0].tolist() == [0] + [1] * speakers


def test_roles_are_dropped_in_the_share_of_windows_and_half_of_them_together():
    corpus = _encode([Conversation("c", tuple(Utterance("AB"[index % 2], "a") for index in range(8)))])
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


def test_without_roles_no_utterance_takes_more():
    spoken = [Conversation("c", (Utterance("A", "a"), Utterance("B", "b")))]
    without = encode_corpus(spoken, TOKENIZER, TOPICS, MAX_TOKENS)
    batch = collate(without, without.responses, 3)
    assert (len(without.role), batch.roles.any(), batch.role.tolist()) == (0, False, [0, 0])
    assert fingerprint(without) != fingerprint(_encode(spoken))


def test_beside_its_tokens_an_utterance_takes_little() -> None:
    said = tuple(Utterance("AB"[index % 2], "a b c") for index in range(1000))
    profiles = {name: Profile("female", age) for name, age in zip("AB", (31, 32), strict=True)}
    corpus = encode_corpus([Conversation("c", said, speakers=profiles)] * 100, TOKENIZER, TOPICS, MAX_TOKENS)
    assert corpus.tokens.itemsize == 2
    assert sum(array.nbytes for array in corpus) - corpus.tokens.nbytes < 8 * corpus.windows
