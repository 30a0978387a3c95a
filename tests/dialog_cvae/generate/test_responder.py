"""Replies are distinct, ranked and reproducible, and depend on exactly the input that the model may see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dialog_cvae
from dialog_cvae.config import Decoding, TokenizerConfig
from dialog_cvae.data.batches import collate
from dialog_cvae.engines.torch_engine import TorchEngine
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import Draw
from dialog_cvae.generate.opening import dialog_codec
from dialog_cvae.generate.pool import Start
from dialog_cvae.generate.replies import Replies
from dialog_cvae.generate.responder import Question, Reply, Responder
from dialog_cvae.model.build import build_model, weights_of
from dialog_cvae.model.cvae import CVAE, TensorBatch
from dialog_cvae.model_config import ModelConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from dialog_cvae.text.tokenizer import Tokenizer
from dialog_cvae.text.words import normalised
from dialog_cvae.types import Conversation, Profile, Utterance

SAMPLED = Decoding(temperature=1.0, max_tokens=10)
TALK = (Utterance("A", "we like cats"), Utterance("B", "they hate dogs"), Utterance("A", "you see birds"))


def responder_of(checkpoint: Checkpoint) -> Responder:
    return Responder(TorchEngine(build_model(checkpoint)), dialog_codec(checkpoint), checkpoint.config, "tiny")


@pytest.fixture
def responder(tiny_checkpoint: Checkpoint) -> Responder:
    return responder_of(tiny_checkpoint)


def talk(*utterances: Utterance, **fields: object) -> Conversation:
    return Conversation("talk", utterances or TALK, **fields)  # type: ignore[arg-type]


def without(checkpoint: Checkpoint, *names: str) -> Responder:
    """The model with some weights set to zero."""
    weights = {n: np.zeros_like(a) if n.startswith(names) else a for n, a in checkpoint.weights.items()}
    return responder_of(replace(checkpoint, weights=weights))


def assert_well_formed(replies: list[Reply], n: int) -> None:
    assert len(replies) <= n
    assert len({normalised(reply.text) for reply in replies}) == len(replies)
    assert all(reply.text.strip() and reply.log_prob < 0 and reply.tokens >= 1 for reply in replies)
    ranks = [reply.log_prob / reply.tokens for reply in replies]
    assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("decoding", [None, SAMPLED, Decoding(0.7, 0.8, 6)])
@pytest.mark.parametrize("n", [1, 5, 20])
def test_distinct_ranked_replies(responder, decoding, n):
    replies = responder.respond(talk(), respond_as="B", n=n, seed=3, decoding=decoding)
    assert_well_formed(replies, n)
    assert len(replies) == n
    known = set(responder.codec.tokenizer.pieces)
    assert all(word in known for reply in replies for word in reply.text.split())


def test_fewer_replies_are_among_more_replies(responder):
    five, nine = (responder.respond(talk(), respond_as="B", n=n, decoding=SAMPLED) for n in (5, 9))
    assert {reply.text for reply in five} < {reply.text for reply in nine}


@pytest.mark.parametrize(("n", "candidates", "draws"), [(1, 1, 1), (5, 40, 40), (5, 3, 5), (20, 20, 20)])
def test_replies_are_selected_from_exactly_the_candidates(responder, n, candidates, draws, monkeypatch):
    pool: list[Reply] = []
    take = Replies.take

    def spied(replies: Replies, index: int, draw: Draw) -> None:
        take(replies, index, draw)
        pool.append(Reply(replies._text(draw), draw.log_prob, draw.length, draw.finished))

    monkeypatch.setattr(Replies, "take", spied)
    decoding = replace(SAMPLED, candidates=candidates)
    replies = responder.respond(talk(), respond_as="B", n=n, seed=3, decoding=decoding)
    assert len(pool) == draws
    assert {reply.text for reply in replies} <= {reply.text for reply in pool}
    distinct = {normalised(reply.text) for reply in pool}
    assert len(replies) == len({normalised(reply.text) for reply in replies}) == min(n, len(distinct))
    assert responder.respond(talk(), respond_as="B", n=n, seed=3, decoding=decoding) == replies
    if candidates > n:
        assert responder.respond(talk(), respond_as="B", n=n + 2, seed=3, decoding=decoding)[:n] == replies


def counted_draws(responder: Responder, question: Question) -> tuple[list[Reply], int]:
    (begun,) = responder.begin([question])
    return responder.finish([begun])[0], begun.draws


def refusing(texts: list[str]) -> Callable[[str], bool]:
    return lambda text: normalised(text) not in {normalised(each) for each in texts}


def test_refused_candidates_are_replaced_if_too_few_are_left(responder):
    """Of n = 8 candidates all but the last one are refused: as many draws as were refused follow, until 8 are found."""
    question = Question(talk(), "B", 8, 3, replace(SAMPLED, candidates=8))
    first, draws = counted_draws(responder, question)
    assert (len(first), draws) == (8, 8)
    responder.accepts = refusing([reply.text for reply in first[:7]])
    replies, draws = counted_draws(responder, question)
    assert len(replies) == 8
    assert first[7].text in {reply.text for reply in replies}
    assert draws >= 15
    assert not {reply.text for reply in replies} & {reply.text for reply in first[:7]}
    assert counted_draws(responder, question) == (replies, draws)


@pytest.mark.parametrize(("candidates", "draws"), [(0, 1), (8, 8)])
def test_a_single_reply_is_a_single_draw_unless_there_are_candidates(responder, candidates, draws):
    question = Question(talk(), "B", 1, 3, replace(SAMPLED, candidates=candidates))
    assert counted_draws(responder, question)[1] == draws


def test_refused_candidates_are_not_replaced_if_enough_are_left(responder):
    question = Question(talk(), "B", 2, 3, replace(SAMPLED, candidates=8))
    first, _ = counted_draws(responder, question)
    responder.accepts = refusing([first[0].text])
    replies, draws = counted_draws(responder, question)
    assert (len(replies), draws) == (2, 8)


@pytest.mark.parametrize(("n", "candidates", "most"), [(5, 8, 128), (40, 32, 160), (5, 200, 200)])
def test_draws_end_if_all_are_refused(responder, n, candidates, most):
    responder.accepts = lambda text: False
    question = Question(talk(), "B", n, 3, replace(SAMPLED, candidates=candidates, max_tokens=2))
    assert counted_draws(responder, question) == ([], most)


def test_equal_candidates_are_not_replaced(tiny_checkpoint):
    collapsed = without(tiny_checkpoint, "decoder.start", "decoder.gru", "decoder.output.weight")
    decoding = Decoding(candidates=8, max_tokens=4)
    replies, draws = counted_draws(collapsed, Question(talk(), "B", 5, 3, decoding))
    assert (len(replies), draws) == (1, 8)


@pytest.mark.parametrize(("fewer", "more"), [(4, 5), (6, 7), (4, 20)])
def test_more_replies_than_candidates_keep_the_earlier_draws(responder, fewer, more):
    """Four candidates: the draws for `fewer` replies are the first ones for `more`."""
    decoding = replace(SAMPLED, candidates=4)
    few, many = (responder.respond(talk(), respond_as="B", n=n, seed=3, decoding=decoding) for n in (fewer, more))
    assert (len(few), len(many)) == (fewer, more)
    assert {(each.text, each.log_prob) for each in few} < {(each.text, each.log_prob) for each in many}


def test_unreadable_draws_are_never_selected(responder, monkeypatch):
    monkeypatch.setattr(responder.codec.tokenizer, "decode", lambda ids: "")
    assert responder.respond(talk(), respond_as="B", decoding=replace(SAMPLED, candidates=8)) == []


def test_the_prior_temperature_scales_the_spread_of_z(responder, monkeypatch):
    drawn: dict[float, np.ndarray] = {}
    encoded = responder.encode([talk()])
    for scale in (0.0, 0.5, 1.0):
        monkeypatch.setattr(
            "dialog_cvae.generate.responder.decode",
            lambda _, start, *__, scale=scale: drawn.update({scale: start.z}) or [],
        )
        decoding = Decoding(prior_temperature=scale)
        list(responder.draw(encoded, np.array([2]), [np.random.default_rng(1)], 6, decoding))
    np.testing.assert_array_equal(drawn[0.0], np.tile(drawn[0.0][0], (6, 1)))
    assert np.ptp(drawn[1.0], axis=0).min() > 0
    np.testing.assert_allclose(drawn[0.5] - drawn[0.0], (drawn[1.0] - drawn[0.0]) / 2, atol=1e-6)


def test_the_seed_decides(responder, tiny_checkpoint):
    first = responder.respond(talk(), respond_as="B", seed=1, decoding=SAMPLED)
    assert responder.respond(talk(), respond_as="B", seed=1, decoding=SAMPLED) == first
    assert responder_of(tiny_checkpoint).respond(talk(), respond_as="B", seed=1, decoding=SAMPLED) == first
    others = [responder.respond(talk(), respond_as="B", seed=seed, decoding=SAMPLED) for seed in (0, 2, 2**32 + 1)]
    assert len({str(replies) for replies in (first, *others)}) == 4
    assert_well_formed(responder.respond(talk(), respond_as="B", seed=2**63 - 1), 5)


def test_an_earlier_request_does_not_affect_a_later_one(responder):
    first = responder.respond(talk(), respond_as="B", seed=1)
    responder.respond(talk(Utterance("A", "rain")), respond_as="C", n=20, seed=9, decoding=SAMPLED)
    np.random.default_rng(0).random()
    torch.manual_seed(99)
    assert responder.respond(talk(), respond_as="B", seed=1) == first


SCRIPT = """
import sys, dialog_cvae
from dialog_cvae import Conversation, Utterance
said = Conversation("talk", (Utterance("A", "we like cats"),))
for reply in dialog_cvae.load(sys.argv[1]).respond(said, respond_as="B", n=4, seed=5):
    print(reply)
"""


def test_another_process_gives_the_same_replies(tiny_checkpoint, tmp_path):
    tiny_checkpoint.save(tmp_path / "best")
    here = dialog_cvae.load(tmp_path / "best").respond(talk(TALK[0]), respond_as="B", n=4, seed=5)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "best")], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [str(reply) for reply in here]


def test_a_collapsed_model_gives_what_it_has(tiny_checkpoint):
    collapsed = without(tiny_checkpoint, "decoder.start", "decoder.gru", "decoder.output.weight")
    replies = collapsed.respond(talk(), respond_as="B", n=5)
    assert len(replies) == 1
    assert_well_formed(replies, 5)


def test_as_many_replies_as_a_server_may_ask_for(responder):
    replies = responder.respond(talk(), respond_as="B", n=300, decoding=Decoding(1.0, max_tokens=8))
    assert_well_formed(replies, 300)
    assert len(replies) == 300


@pytest.mark.parametrize(("field", "value", "least"), [("n", 0, 1), ("n", -3, 1), ("seed", -1, 0)])
def test_invalid_questions_are_refused(responder, field, value, least):
    with pytest.raises(ConfigError, match=f"^{field} must be at least {least}, but is {value}$"):
        responder.respond(talk(), respond_as="B", **{field: value})


def test_z_is_drawn_from_the_prior_of_the_context(responder, tiny_model, encoded, monkeypatch):
    drawn: list[np.ndarray] = []

    def note(engine: object, start: Start, *_: object) -> list[None]:
        drawn.append(start.z)
        return [None] * len(start.z)

    monkeypatch.setattr("dialog_cvae.generate.responder.decode", note)
    windows = encoded.responses[[2, 9]]
    rngs = [np.random.default_rng(seed) for seed in (0, 1)]
    list(responder.draw(encoded, windows, rngs, 20_000, Decoding(max_tokens=1)))
    batch = TensorBatch.from_arrays(collate(encoded, windows, responder.max_context))
    with torch.no_grad():
        mean, logvar = tiny_model.prior(tiny_model.encode(batch).condition)
    std = (0.5 * logvar).exp().numpy()
    for row, z in enumerate(drawn[0].reshape(2, 20_000, -1)):
        np.testing.assert_array_less(np.abs(z.mean(axis=0) - mean[row].numpy()), 0.03 * std[row])
        np.testing.assert_allclose(z.std(axis=0), std[row], rtol=0.03)
        assert abs(np.corrcoef(z.T)[0, 1]) < 0.03


# What decides a reply.


def answer(responder: Responder, conversation: Conversation, respond_as: str = "B") -> str:
    return str(responder.respond(conversation, respond_as=respond_as, n=3))


def test_the_topic_matters_in_any_spelling_and_an_unknown_one_is_refused(responder):
    pets, weather, none = (answer(responder, talk(topic=t)) for t in ("PETS", "WEATHER", None))
    assert len({pets, weather, none}) == 3
    assert answer(responder, talk(topic=" pets")) == pets
    for topic in ("CHESS", ""):
        with pytest.raises(ConfigError, match=f'topic: should be one of the 2 known topics, got "{topic}".*PETS'):
            answer(responder, talk(topic=topic))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conversation": ["hi"]}, r"conversation must be a Conversation, but is ['hi'] (list)"),
        ({"conversation": Conversation("t", ("hi",))}, "utterances, item 0, must be an Utterance, but is 'hi' (str)"),
        ({"respond_as": 7}, "respond_as must be the name of a speaker, but is 7 (int)"),
        ({"n": 2.5}, "n must be a whole number, but is 2.5 (float)"),
        ({"n": "x" * 200}, f"n must be a whole number, but is '{'x' * 79}… (str)"),
        ({"seed": None}, "seed must be a whole number, but is None (NoneType)"),
        ({"seed": ()}, "seed must have at least one number, but has none"),
    ],
)
def test_an_argument_of_another_type_is_named_with_its_value(responder, change, message):
    with pytest.raises(ConfigError) as error:
        responder.respond(**{"conversation": talk(), "respond_as": "B"} | change)
    assert str(error.value) == message


def test_numbers_of_numpy_are_seeds(responder):
    asked = [responder.respond(talk(), respond_as="B", n=2, seed=seed) for seed in (3, np.int64(3), (np.int64(3),))]
    assert asked[0] == asked[1] == asked[2]


def test_the_speaker_who_answers_matters(responder):
    as_a, as_b, as_c = (answer(responder, talk(), name) for name in "ABC")
    assert len({as_a, as_b, as_c}) == 3  # A spoke first and last, B between them, C never
    assert answer(responder, talk(), "Nobody else") == as_c


def test_only_floors_tell_speakers_apart(responder):
    """Names mean nothing: with three speakers only who answers and who does not is known."""
    names = {"A": "x", "B": "y", "C": "z"}
    three = (*TALK, Utterance("C", "now"), Utterance("B", "here"))
    renamed = tuple(replace(u, speaker=names[u.speaker]) for u in three)
    assert answer(responder, talk(*three), "C") == answer(responder, talk(*renamed), "z")
    merged = tuple(replace(u, speaker="C" if u.speaker == "C" else "B") for u in three)
    assert answer(responder, talk(*three), "C") == answer(responder, talk(*merged), "C")


def test_roles_are_matched_by_name(roles_checkpoint):
    """A and B are roles; with the same floors, who says what and who replies matters."""
    responder = responder_of(roles_checkpoint)

    def answered(names: str, speaker: str) -> str:
        renamed = dict(zip("AB", names, strict=True))
        spoken = tuple(replace(u, speaker=renamed.get(u.speaker, u.speaker)) for u in TALK)
        return answer(responder, talk(*spoken), speaker)

    assert answered("ab", "b") == answered("AB", "B")
    assert answered("xy", "y") == answered("yx", "x")  # names of no roles
    assert len({answered("AB", "B"), answered("BA", "A"), answered("xy", "y")}) == 3


def test_profiles_matter(responder):
    mine, others = Profile("female", 70, 0), Profile("male", 20, 3)
    answers = [
        answer(responder, talk(speakers=speakers))
        for speakers in ({}, {"B": mine}, {"A": mine}, {"A": others, "B": mine}, {"A": mine, "B": others})
    ]
    assert len(set(answers)) == 5
    assert answer(responder, talk(speakers={"B": Profile()})) == answers[0]


def test_only_the_last_utterances_count(responder, tiny_config):
    seen = tuple(Utterance("AB"[i % 2], word) for i, word in enumerate(["rain", "sun", "we like", "you"]))
    assert len(seen) == tiny_config.max_context
    before = tuple(Utterance("AB"[i % 2], "they hate dogs now") for i in range(300))
    other = tuple(Utterance("AB"[i % 2], "cats") for i in range(4))
    long, longer = (answer(responder, talk(*earlier, *seen), "A") for earlier in (other, before))
    assert long == longer
    assert answer(responder, talk(*before, Utterance("A", "birds"), *seen[1:]), "A") != longer


@pytest.mark.parametrize(("utterances", "read"), [(0, 0), (3, 3), (4, 4), (200, 4)])
def test_only_the_utterances_that_are_read_are_tokenized(responder, monkeypatch, utterances, read):
    encoded: list[str] = []
    encode = Tokenizer.encode
    monkeypatch.setattr(Tokenizer, "encode", lambda self, text: encoded.append(text) or encode(self, text))
    said = [Utterance("AB"[at % 2], f"we hear {at}") for at in range(utterances)]
    responder.begin([Question(Conversation("talk", tuple(said)), "A", 1, 0, SAMPLED)])
    assert [text for text in encoded if text] == [each.text for each in said[utterances - read :]]


def test_only_the_first_tokens_of_a_long_utterance_count(responder, tiny_config):
    limit = tiny_config.max_utterance_tokens
    cut = answer(responder, talk(Utterance("A", " ".join(["cats"] * (limit - 2)))))
    assert answer(responder, talk(Utterance("A", " ".join(["cats"] * 50_000)))) == cut


@pytest.mark.parametrize(
    "context",
    [
        (),
        (Utterance("A", "😀 👩‍👩‍👧‍👦 🇫🇷"),),
        (Utterance("A", "zweiundvierzig unbekannte Wörter"), Utterance("B", "кошки 猫 हिन्दी")),
        (Utterance("A", ""), Utterance("B", "   "), Utterance("A", "\ud800\x00\u202e")),
        (Utterance("A", "<pad> <s> </s> <d> <unk>"),),
        (Utterance("", "cats"),),
    ],
    ids=["empty", "emoji", "unknown words", "blank and broken", "names of special tokens", "nameless"],
)
@pytest.mark.parametrize("decoding", [None, SAMPLED])
def test_any_context_is_answered(responder, context, decoding):
    replies = responder.respond(Conversation("odd", context), respond_as="B", decoding=decoding)
    assert_well_formed(replies, 5)
    assert len(replies) == 5


def test_all_unknown_words_have_the_same_effect(responder):
    first, second = (answer(responder, talk(Utterance("A", text))) for text in ("quux cats", "猫 cats"))
    assert first == second != answer(responder, talk(Utterance("A", "dogs cats")))


# A vocabulary of pieces.


@pytest.fixture(scope="module")
def pieces() -> Responder:
    texts = ["Les élèves aiment le café.", "Naïve façade, déjà vu!", "I'm sure you're right.", "猫が好き。"] * 3
    tokenizer = Tokenizer.train(texts, TokenizerConfig(mode="unigram", vocab_size=400))
    model = ModelConfig(
        embedding_size=6, utterance_size=5, context_size=7, latent_size=4, decoder_size=9, topic_size=2, prior_size=5
    )
    torch.manual_seed(1)
    network = CVAE(model, len(tokenizer), 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)
    config = CheckpointConfig(
        model=model, vocab_size=len(tokenizer), topics=(), provenance=Provenance(data="pieces", step=0)
    )
    return responder_of(Checkpoint(config, weights_of(network), tokenizer))


@settings(deadline=None, derandomize=True, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30), seed=st.integers(0, 2**63 - 1), hot=st.sampled_from([0.0, 1.0, 5.0]))
def test_pieces_never_make_broken_text(pieces, text, seed, hot):
    replies = pieces.respond(
        talk(Utterance("A", text)), respond_as="B", n=8, seed=seed, decoding=Decoding(hot, max_tokens=12)
    )
    assert_well_formed(replies, 8)
    assert replies
    for reply in replies:
        reply.text.encode("utf-8")
        assert not any(
            broken in reply.text for broken in ("\ufffd", "▁", "<0x", "<s>", "</s>", "<pad>", "<d>", "<unk>")
        )
        assert reply.text == " ".join(reply.text.split())


def test_bytes_never_spell_control_characters(pieces):
    byte = {value: i for i, value in pieces.codec.tokenizer._bytes.items()}
    word = pieces.codec.tokenizer.encode("sure")
    tokens = (*word, byte[0xC2], byte[0x8A], *word)  # U+008A between two words
    assert "\x8a" in pieces.codec.tokenizer.decode(tokens)
    assert pieces.text(Draw(tokens, -1.0, len(tokens))) == "sure sure"


def test_replies_of_only_broken_bytes_are_left_out(pieces, monkeypatch):
    """Half a character decodes to nothing, and nothing is no reply."""
    halves = [i for i, byte in pieces.codec.tokenizer._bytes.items() if byte == 0xE7]
    decode = pieces.codec.tokenizer.decode
    assert decode(halves) == ""
    texts: list[str] = []

    def every_second_is_broken(ids: tuple[int, ...]) -> str:
        texts.append(decode(halves if len(texts) % 2 else ids))
        return texts[-1]

    monkeypatch.setattr(pieces.codec.tokenizer, "decode", every_second_is_broken)
    replies = pieces.respond(talk(), respond_as="B", n=6, decoding=SAMPLED)
    assert "" in texts
    assert len(replies) == 6
    assert_well_formed(replies, 6)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yes.", "yes", True),
        ("uh-huh", "Uh huh!", True),
        ("I'm sure", "i ' m sure", True),
        ("STRASSE", "straße", True),
        ("yes", "yeah", False),
        ("?", "!", False),
        ("cats dogs", "dogs cats", False),
        ("catsdogs", "cats dogs", False),
    ],
)
def test_what_makes_two_replies_the_same(one, other, same):
    assert (normalised(one) == normalised(other)) is same


def test_the_unknown_word_is_spoken_only_if_allowed(tiny_checkpoint):
    weights = {name: array.copy() for name, array in tiny_checkpoint.weights.items()}
    weights["decoder.output.bias"][tiny_checkpoint.tokenizer.unk_id] += 6.0
    responder = responder_of(replace(tiny_checkpoint, weights=weights))
    spoken: Callable[[bool], str] = lambda allowed: str(  # noqa: E731
        responder.respond(talk(), respond_as="B", decoding=Decoding(1.0, max_tokens=5, allow_unknown=allowed))
    )
    assert "<unk>" not in spoken(False)
    assert "<unk>" in spoken(True)


def test_threads_of_a_loaded_model_can_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(Responder, "load", lambda path, **options: asked.update(options))
    dialog_cvae.load("best", threads=2)
    assert asked == {"device": "cpu", "engine": "auto", "threads": 2, "backbone": None}


def test_loading_needs_no_training_configuration(tiny_checkpoint, tmp_path: Path):
    config = tiny_checkpoint.config.model_copy(update={"provenance": Provenance(data="mine", step=7)})
    replace(tiny_checkpoint, config=config).save(tmp_path / "best")
    loaded = dialog_cvae.load(str(tmp_path / "best"))
    assert (loaded.name, loaded.topics, loaded.max_context) == ("mine, step 7", ("PETS", "WEATHER"), 4)
