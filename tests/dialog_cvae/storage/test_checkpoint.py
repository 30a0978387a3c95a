"""A checkpoint comes back as it was saved, or is refused by the name of the part at fault."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as serialise_weights

from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.reply_index import ReplyIndex
from dialog_cvae.errors import CheckpointError, DialogCvaeError
from dialog_cvae.model.build import build_model
from dialog_cvae.storage.checkpoint import CARD, COMMON_WORDS, CONFIG, METRICS, REPLIES, TOKENIZER, WEIGHTS, Checkpoint
from dialog_cvae.storage.files import write_atomically

PARTS = (CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD)


@pytest.fixture
def saved(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "best"
    tiny_checkpoint.save(path)
    return path


def resealed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change `config.json` and give it the checksum that fits, as a newer version of this package might."""
    content = json.loads((path / CONFIG).read_bytes())
    del content["checksum"]
    change(content)
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (path / CONFIG).write_text(json.dumps(content), encoding="utf-8")


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.config == expected.config
    assert found.tokenizer.to_bytes() == expected.tokenizer.to_bytes()
    assert (found.metrics, found.card) == (expected.metrics, expected.card)
    assert found.weights.keys() == expected.weights.keys()
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)


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


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(saved, part):
    (saved / part).unlink()
    with pytest.raises(CheckpointError, match=rf"best/{part}: missing"):
        Checkpoint.load(saved)


@pytest.mark.parametrize("part", [CONFIG, WEIGHTS, TOKENIZER, METRICS])
@pytest.mark.parametrize("keep", [0, 1, 0.5, -1])
def test_a_truncated_part_is_named(saved, part, keep):
    data = (saved / part).read_bytes()
    cut = data[: int(len(data) * keep)] if isinstance(keep, float) else data[:keep]
    if part == CONFIG and keep == -1:
        cut = cut[:-1]  # the last byte is a line end, without which nothing is lost
    (saved / part).write_bytes(cut)
    with pytest.raises(CheckpointError, match=f"best/{part}: "):
        Checkpoint.load(saved)


@pytest.mark.parametrize("part", [WEIGHTS, TOKENIZER, METRICS])
def test_one_changed_byte_anywhere_is_refused(saved, part):
    data = (saved / part).read_bytes()
    for position in np.linspace(0, len(data) - 1, 25).astype(int):
        changed = bytearray(data)
        changed[position] ^= 1
        (saved / part).write_bytes(changed)
        with pytest.raises(CheckpointError, match=f"best/{part}: truncated or changed"):
            Checkpoint.load(saved)


def test_one_changed_byte_of_the_configuration_is_refused_or_changes_nothing(saved, tiny_checkpoint):
    data = (saved / CONFIG).read_bytes()
    harmless = 0
    for position in range(0, len(data), 3):
        for value in (data[position] ^ 1, data[position] ^ 0x20, ord(" "), ord("0"), 0xFF):
            changed = bytearray(data)
            changed[position] = value
            (saved / CONFIG).write_bytes(changed)
            try:
                found = Checkpoint.load(saved)
            except CheckpointError as error:
                assert "best/config.json: " in str(error)  # noqa: PT017
            else:
                assert found.config == tiny_checkpoint.config
                harmless += 1
    assert harmless > 0  # white space


def test_line_ends_of_windows_in_text_change_nothing(saved, tiny_checkpoint):
    for part in (CONFIG, METRICS, CARD):
        (saved / part).write_bytes((saved / part).read_bytes().replace(b"\n", b"\r\n"))
    assert_same(Checkpoint.load(saved), tiny_checkpoint)


def test_the_folder_of_a_run_is_as_good_as_its_best_checkpoint(tiny_checkpoint, tmp_path):
    tiny_checkpoint.save(tmp_path / "run" / "best")
    assert_same(Checkpoint.load(tmp_path / "run"), tiny_checkpoint)


def test_people_may_write_into_the_card(saved):
    text = f"---\nlicense: mit\n---\n{(saved / CARD).read_text()}"
    (saved / CARD).write_text(text)
    assert Checkpoint.load(saved).card == text
    resealed(saved, lambda content: content["files"].update({CARD: "0" * 64}))  # as earlier versions listed it
    assert Checkpoint.load(saved).card == text


@pytest.mark.parametrize("part", [WEIGHTS, TOKENIZER, METRICS])
def test_a_part_of_another_checkpoint_is_refused(saved, tiny_checkpoint, part, tmp_path):
    weights = {name: array + 1 for name, array in tiny_checkpoint.weights.items()}
    tokenizer = type(tiny_checkpoint.tokenizer).train(["quite another text"], _word_mode())
    other = Checkpoint(
        tiny_checkpoint.config.model_copy(update={"vocab_size": len(tokenizer)}), weights, tokenizer, {"kl": 2.5}, "# B"
    )
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / part, saved / part)
    with pytest.raises(CheckpointError, match=f"best/{part}: truncated or changed"):
        Checkpoint.load(saved)


def test_the_configuration_of_another_checkpoint_is_refused(saved, tiny_checkpoint, tmp_path):
    weights = {name: array + 1 for name, array in tiny_checkpoint.weights.items()}
    replace(tiny_checkpoint, weights=weights).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / CONFIG, saved / CONFIG)
    with pytest.raises(CheckpointError, match=f"best/{WEIGHTS}: truncated or changed"):
        Checkpoint.load(saved)


def test_a_newer_format_is_named(saved):
    resealed(saved, lambda content: content.update(format=2))
    with pytest.raises(CheckpointError, match=r"format 2; this version reads format 1"):
        Checkpoint.load(saved)


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


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100_000, '{"model_type": "gpt2"}', "\ufeff{}", "9" * 9999])
def test_what_is_no_configuration_is_refused(saved, text):
    (saved / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"best/config\.json: "):
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


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere: no checkpoint folder there"):
        Checkpoint.load(tmp_path / "nowhere")
    for path, shown in (("", "''"), ("a\0b", r"'a\\x00b'")):
        with pytest.raises(CheckpointError, match=rf"^{shown}: no checkpoint folder there$"):
            Checkpoint.load(path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file: is a file; a checkpoint is a folder"):
        Checkpoint.load(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty/config\.json: missing"):
        Checkpoint.load(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint.load(tmp_path / ("n" * 300))


def test_a_part_that_may_not_be_read_is_named(saved, monkeypatch):
    # root may read anything, so the permission is refused here
    def refuse(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read \(Permission denied\)"):
        Checkpoint.load(saved)


def test_a_folder_in_the_place_of_a_part_is_named(saved):
    (saved / WEIGHTS).unlink()
    (saved / WEIGHTS).mkdir()
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: cannot be read"):
        Checkpoint.load(saved)


class Crash(BaseException):
    """The process dies."""


def test_a_crash_between_the_two_renames_loses_nothing(saved, tiny_checkpoint, monkeypatch):
    rename = Path.rename

    def crash_at_the_second(self: Path, target: Path) -> Path:
        if Path(target).name == "best":
            raise Crash
        return rename(self, target)

    newer = replace(tiny_checkpoint, metrics={"kl": 9.0})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash_at_the_second)
        with pytest.raises(Crash):
            newer.save(saved)
    assert not saved.exists()
    assert_same(Checkpoint.load(saved), tiny_checkpoint)
    newer.save(saved)
    assert_same(Checkpoint.load(saved), newer)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]


@pytest.mark.parametrize("files_before", range(5))
def test_a_crash_while_writing_leaves_the_old_one(saved, tiny_checkpoint, monkeypatch, files_before):
    synced = []

    def crash(descriptor: int) -> None:
        if len(synced) == files_before:
            raise Crash
        synced.append(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(Crash):
            replace(tiny_checkpoint, metrics={"kl": 9.0}).save(saved)
    assert_same(Checkpoint.load(saved), tiny_checkpoint)


def test_what_a_killed_process_left_is_no_hindrance(saved, tiny_checkpoint):
    (saved.parent / ".best.new").mkdir()
    (saved.parent / ".best.new" / WEIGHTS).write_bytes(b"half of it")
    shutil.copytree(saved, saved.parent / ".best.previous")
    newer = replace(tiny_checkpoint, metrics={"kl": 9.0})
    newer.save(saved)
    assert_same(Checkpoint.load(saved), newer)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]


def test_a_full_disk_is_an_error_of_one_line_and_leaves_the_old_one(saved, tiny_checkpoint, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DialogCvaeError, match=r"best: cannot be written \(No space left on device\)"):
            replace(tiny_checkpoint, metrics={"kl": 9.0}).save(saved)
        with pytest.raises(DialogCvaeError, match=r"metrics\.json: cannot be written \(No space left on device\)"):
            write_atomically(saved / METRICS, b"{}")
    assert_same(Checkpoint.load(saved), tiny_checkpoint)
    assert [p.name for p in saved.parent.iterdir()] == ["best"]
    assert sorted(p.name for p in saved.iterdir()) == sorted(PARTS)


def test_a_file_is_not_replaced_by_a_checkpoint(tiny_checkpoint, tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(CheckpointError, match=r"notes: is a file; a checkpoint is a folder"):
        tiny_checkpoint.save(tmp_path / "notes")
    with pytest.raises(DialogCvaeError, match=r"best: cannot be written"):
        tiny_checkpoint.save(tmp_path / "notes" / "best")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "the path has no final name"),
        ("/", "the path has no final name"),
        ("..", "busy"),
        ("a\0b", "null byte"),
    ],
)
def test_what_names_nothing_is_not_written(tiny_checkpoint, tmp_path, monkeypatch, path, reason):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for write in (tiny_checkpoint.save, lambda place: write_atomically(place, b"x")):
        with pytest.raises(DialogCvaeError) as refused:
            write(Path(path))
        assert str(refused.value).startswith(f"{path}: cannot be written (")
        assert reason in str(refused.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["here"]


def test_half_of_a_surrogate_pair_stays_what_it_is(tiny_checkpoint, tmp_path):
    odd = replace(tiny_checkpoint, metrics={"a\udfff": ["\ud800", "\\ud800", "🐈"]})
    odd.save(tmp_path / "odd")
    assert_same(Checkpoint.load(tmp_path / "odd"), odd)


def test_readers_meet_a_whole_checkpoint_while_it_is_replaced(saved, tiny_checkpoint):
    versions = [
        replace(
            tiny_checkpoint, metrics={"kl": value}, weights={n: a + value for n, a in tiny_checkpoint.weights.items()}
        )
        for value in (1.0, 2.0)
    ]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for version in versions:
                version.save(saved)

    versions[0].save(saved)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            found = Checkpoint.load(saved)
            assert_same(found, versions[int(found.metrics["kl"]) - 1])
    finally:
        stop.set()
        writer.join()


def weights_changed(checkpoint: Checkpoint, **changes: np.ndarray | None) -> Checkpoint:
    weights = dict(checkpoint.weights) | changes
    return replace(checkpoint, weights={name: array for name, array in weights.items() if array is not None})


NAME = "decoder.output.weight"


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
    data = type(tiny_checkpoint.tokenizer).train(["quite another text"], _word_mode()).to_bytes()
    (saved / TOKENIZER).write_bytes(data)
    resealed(saved, lambda content: content["files"].update({TOKENIZER: hashlib.sha256(data).hexdigest()}))
    with pytest.raises(CheckpointError, match=rf"{TOKENIZER}: has \d+ pieces, but config.json says vocab_size \d+"):
        Checkpoint.load(saved)


def test_a_type_of_number_that_numpy_lacks_is_refused(saved, tiny_checkpoint):
    data = serialise_weights({"ww": np.zeros(2, np.float16)}).replace(b'"F16"', b'"BF16"').replace(b'"ww"', b'"w"')
    (saved / WEIGHTS).write_bytes(data)
    resealed(saved, lambda content: content["files"].update({WEIGHTS: hashlib.sha256(data).hexdigest()}))
    with pytest.raises(CheckpointError, match=f"best/{WEIGHTS}: not a readable safetensors file"):
        Checkpoint.load(saved)


def _word_mode() -> Any:
    from dialog_cvae.config import TokenizerConfig

    return TokenizerConfig()


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


def test_an_unreadable_index_of_replies_is_refused_by_its_path(tiny_checkpoint, conversations, tmp_path):
    class Unreadable(ReplyIndex):
        def to_bytes(self) -> bytes:
            return b"pickle"

    replace(tiny_checkpoint, replies=Unreadable.of(conversations, 1)).save(tmp_path / "indexed")
    with pytest.raises(CheckpointError, match=r"indexed/replies\.safetensors: not a readable safetensors file"):
        Checkpoint.load(tmp_path / "indexed")
