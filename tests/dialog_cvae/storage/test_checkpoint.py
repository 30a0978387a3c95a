"""A checkpoint comes back as it was saved, or is refused by the name of the part at fault."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as serialise_weights

from dialog_cvae.config import TokenizerConfig
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.errors import CheckpointError
from dialog_cvae.model.build import build_model
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import COMMON_WORDS, REPLIES, TOKENIZER, TRAINED, WEIGHTS
from tests.dialog_cvae.storage.checkpoint_tools import PARTS, assert_same, resealed


def test_round_trip(saved, tiny_checkpoint):
    assert sorted(p.name for p in saved.iterdir()) == sorted(PARTS)
    assert_same(Checkpoint.load(saved), tiny_checkpoint)
    assert_same(Checkpoint.load(str(saved)), tiny_checkpoint)


def test_round_trip_of_text_beyond_ascii(tiny_checkpoint, tmp_path):
    config = tiny_checkpoint.config.model_copy(update={"topics": ("Кошки 🐈", "WEATHER")})
    odd = replace(tiny_checkpoint, config=config, card="# modèle\n", metrics={"größe": None})
    odd.save(tmp_path / "ein Ordner" / "best")
    assert_same(Checkpoint.load(tmp_path / "ein Ordner" / "best"), odd)


def test_roles_come_back_and_a_damaged_list_is_refused(roles_checkpoint, tmp_path):
    roles_checkpoint.save(tmp_path / "best")
    assert_same(Checkpoint.load(tmp_path / "best"), roles_checkpoint)
    assert build_model(Checkpoint.load(tmp_path / "best")).role.weight.shape == (3, 3)
    for roles, reason in (
        (list("ABCDEFGHI"), "field roles: at most 8 roles are possible, but there are 9"),
        (["A", "a"], "field roles: 'A' and 'a' are the same role"),
        ([1], "field roles.0: Input should be a valid string"),
    ):
        resealed(tmp_path / "best", lambda content, roles=roles: content.update(roles=roles))
        with pytest.raises(CheckpointError, match=reason):
            Checkpoint.load(tmp_path / "best")
    resealed(tmp_path / "best", lambda content: content.update(roles=["A"]))
    with pytest.raises(CheckpointError, match=r"role.weight has shape \(3, 3\), but config.json requires \(2, 3\)"):
        build_model(Checkpoint.load(tmp_path / "best"))
    resealed(tmp_path / "best", lambda content: content["model"].update(role_size=0))
    with pytest.raises(CheckpointError, match=r"roles has 1 names, but model\.role_size is 0"):
        Checkpoint.load(tmp_path / "best")


def test_a_checkpoint_from_before_roles_has_none(saved, tiny_checkpoint):
    resealed(saved, lambda content: (content.pop("roles"), content["model"].pop("role_size")))
    assert_same(Checkpoint.load(saved), tiny_checkpoint)


def test_equal_checkpoints_are_equal_bytes(saved, tiny_checkpoint, tmp_path):
    tiny_checkpoint.save(tmp_path / "again")
    for name in PARTS:
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("files"), "no field `files`"),
        (lambda c: c["files"].pop(WEIGHTS), f"config.json: field files: no SHA-256 of {WEIGHTS}$"),
        (lambda c: c["files"].clear(), f"config.json: field files: no SHA-256 of {WEIGHTS} and {TOKENIZER}$"),
        (lambda c: c.update(topics=["PETS", "A", "PETS"]), "field topics: duplicate topic 'PETS'"),
        (lambda c: c.update(surprise=1), "field surprise: Extra inputs are not permitted"),
        (lambda c: c["model"].update(latent_size=-1), "field model.latent_size: .* greater than or equal to 0"),
        (lambda c: c.update(topics="PETS"), "field topics: "),
        (lambda c: c["decoding"].update(top_p=2.0), "field decoding: top_p must be above 0 and at most 1, but is 2.0"),
        (lambda c: c["decoding"].update(heat=1), "field decoding.heat: "),
        (lambda c: c.update(vocab_size=7), r"pieces, but config.json says vocab_size 7"),
    ],
)
def test_a_configuration_that_does_not_fit_is_explained(saved, change, message):
    resealed(saved, change)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(saved)


class Explosive:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("part", [WEIGHTS, TOKENIZER])
def test_a_pickle_is_never_opened(saved, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Explosive())
    (saved / part).write_bytes(data)
    resealed(saved, lambda content: content["files"].update({part: hashlib.sha256(data).hexdigest()}))
    with pytest.raises(CheckpointError, match=f"best/{part}: "):
        Checkpoint.load(saved)
    assert not (tmp_path / "exploded").exists()


def test_half_of_a_surrogate_pair_stays_what_it_is(tiny_checkpoint, tmp_path):
    odd = replace(tiny_checkpoint, metrics={"a\udfff": ["\ud800", "\\ud800", "🐈"]})
    odd.save(tmp_path / "odd")
    assert_same(Checkpoint.load(tmp_path / "odd"), odd)


NAME = "decoder.output.weight"


def weights_changed(checkpoint: Checkpoint, **changes: np.ndarray | None) -> Checkpoint:
    weights = dict(checkpoint.weights) | changes
    return replace(checkpoint, weights={name: array for name, array in weights.items() if array is not None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {NAME: None}, rf"w\.safetensors: weight {NAME} is missing"),
        (lambda w: {"extra": w[NAME]}, r"weight extra is not part of this model"),
        (
            lambda w: {NAME: w[NAME].T.copy()},
            r"has shape \(7, \d+\), but config.json requires \(\d+, 7\)",
        ),
        (lambda w: {NAME: np.full_like(w[NAME], np.nan)}, rf"weight {NAME} has values that are not finite"),
        (lambda w: {NAME: np.full_like(w[NAME], -np.inf)}, rf"weight {NAME} has values that are not finite"),
        (lambda w: {NAME: np.full(w[NAME].shape, 1e300)}, rf"weight {NAME} has values that are not finite"),
    ],
)
def test_weights_that_are_not_the_models_are_named(tiny_checkpoint, tmp_path, change, message):
    weights_changed(tiny_checkpoint, **change(tiny_checkpoint.weights)).save(tmp_path / "best")
    with pytest.raises(CheckpointError, match=message):
        build_model(Checkpoint.load(tmp_path / "best"), "w.safetensors")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_another_precision_load(tiny_checkpoint, tmp_path, dtype):
    weights_changed(tiny_checkpoint, **{n: a.astype(dtype) for n, a in tiny_checkpoint.weights.items()}).save(
        tmp_path / "best"
    )
    for name, parameter in build_model(Checkpoint.load(tmp_path / "best")).state_dict().items():
        np.testing.assert_allclose(parameter.numpy(), tiny_checkpoint.weights[name], atol=2e-3)


def test_a_tokenizer_of_another_size_is_refused(saved, tiny_checkpoint):
    data = type(tiny_checkpoint.tokenizer).train(["quite another text"], TokenizerConfig()).to_bytes()
    (saved / TOKENIZER).write_bytes(data)
    resealed(saved, lambda content: content["files"].update({TOKENIZER: hashlib.sha256(data).hexdigest()}))
    with pytest.raises(CheckpointError, match=rf"{TOKENIZER}: has \d+ pieces, but config.json says vocab_size \d+"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    ("data", "before", "after"),
    [(np.zeros(2, np.float16), b'"F16"', b'"BF16"'), (np.zeros((0, 1), np.float32), b"[0,1]", b"[0,%d]" % 2**62)],
    ids=["a type of number that NumPy lacks", "a shape that NumPy lacks"],
)
def test_weights_that_are_no_arrays_are_refused(saved, data, before, after):
    data = serialise_weights({"w" * len(after): data}).replace(before, after)
    data = data.replace(b"w" * len(after), b"w" * len(before))  # the header keeps its length
    (saved / WEIGHTS).write_bytes(data)
    resealed(saved, lambda content: content["files"].update({WEIGHTS: hashlib.sha256(data).hexdigest()}))
    with pytest.raises(CheckpointError, match=f"best/{WEIGHTS}: not a readable safetensors file"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"), "truncated or changed: its SHA-256 is"),
        (lambda file: file.unlink(), "missing"),
    ],
)
def test_a_damaged_index_of_replies_is_refused_by_its_path(tiny_checkpoint, conversations, tmp_path, damage, reason):
    index = ReplyIndex.of(conversations, 1)
    replace(tiny_checkpoint, replies=index).save(tmp_path / "indexed")
    found = Checkpoint.load(tmp_path / "indexed").replies
    assert found is not None
    assert found.to_bytes() == index.to_bytes()
    damage(tmp_path / "indexed" / REPLIES)
    with pytest.raises(CheckpointError, match=rf"indexed/replies\.safetensors: {reason}"):
        Checkpoint.load(tmp_path / "indexed")


def test_a_list_of_common_words_is_kept_and_verified(tiny_checkpoint, tmp_path):
    common = CommonWords({"größe": 7, "4711": 3}, 9)
    replace(tiny_checkpoint, common=common).save(tmp_path / "listed")
    file = tmp_path / "listed" / COMMON_WORDS
    assert Checkpoint.load(tmp_path / "listed").common == common
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))  # as Git writes it on Windows
    assert Checkpoint.load(tmp_path / "listed").common == common
    file.write_bytes(file.read_bytes().replace(b"4711", b"4712"))
    with pytest.raises(CheckpointError, match=r"listed/common_words\.txt: truncated or changed"):
        Checkpoint.load(tmp_path / "listed")
    file.unlink()
    with pytest.raises(CheckpointError, match=r"listed/common_words\.txt: missing"):
        Checkpoint.load(tmp_path / "listed")
    tiny_checkpoint.save(tmp_path / "old")
    assert Checkpoint.load(tmp_path / "old").common is None


def test_the_training_conversations_are_kept_and_verified(tiny_checkpoint, conversations, tmp_path):
    trained = TrainedConversations.of(conversations)
    replace(tiny_checkpoint, trained=trained).save(tmp_path / "own")
    found = Checkpoint.load(tmp_path / "own").trained
    assert found is not None
    assert found.to_bytes() == trained.to_bytes()
    (tmp_path / "own" / TRAINED).write_bytes(TrainedConversations.of([]).to_bytes())
    with pytest.raises(CheckpointError, match=r"own/trained_conversations\.safetensors: truncated or changed"):
        Checkpoint.load(tmp_path / "own")


def test_an_unreadable_index_of_replies_is_refused_by_its_path(tiny_checkpoint, conversations, tmp_path):
    class Unreadable(ReplyIndex):
        def to_bytes(self) -> bytes:
            return b"pickle"

    replace(tiny_checkpoint, replies=Unreadable.of(conversations, 1)).save(tmp_path / "indexed")
    with pytest.raises(CheckpointError, match=r"indexed/replies\.safetensors: not a readable safetensors file"):
        Checkpoint.load(tmp_path / "indexed")
