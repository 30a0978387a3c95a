"""Bases are read from both kinds of file into the same model, and broken ones are refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import RopeScalingType
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import WordLevel

from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.find_backbone import locate, open_backbone
from dialog_cvae.text.byte_pairs import BytePairs
from tests.dialog_cvae.generate.naive_language import language_checkpoint
from tests.dialog_cvae.storage.tiny_bases import BASE, drawn, letters, write_folder, write_gguf


def test_both_files_hold_the_same_model(tmp_path: Path) -> None:
    weights = drawn()
    for backbone in (
        open_backbone(write_folder(tmp_path / "tiny", weights)),
        open_backbone(write_gguf(tmp_path / "tiny.gguf", weights)),
    ):
        assert (backbone.name, backbone.licence) == ("tiny", "apache-2.0")
        assert backbone.config == BASE
        found = backbone.weights()
        assert found.keys() == weights.keys()
        assert all(np.array_equal(found[name], weights[name]) for name in weights)
        assert backbone.tokenizer.encode("he\n") == [256, backbone.tokenizer.line_break_id]


@pytest.mark.parametrize("text", ["A: Do you have any pets? 12\n", "ünïcode 😀", "<|im_end|> stays text", " "])
def test_any_text_comes_back(text: str) -> None:
    tokenizer = BytePairs.from_tables(letters(), ["h e"], "smollm")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bfloat16_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny", drawn())
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + length]), np.frombuffer(data[8 + length :], np.uint32)
    for entry in head.values():
        entry["dtype"], entry["data_offsets"] = "BF16", [offset // 2 for offset in entry["data_offsets"]]
    text = json.dumps(head).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + (body >> 16).astype(np.uint16).tobytes())
    found = open_backbone(folder).weights()
    assert all(np.allclose(found[name], array, rtol=2**-7) for name, array in drawn().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, r"config\.json: model_type must be llama, but is 'gpt2'"),
        ({"hidden_act": "gelu"}, r"config\.json: hidden_act must be silu, but is 'gelu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings must be true"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling is not supported"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rope_scaling is not supported"),
        ({"rope_parameters": [1]}, r"config\.json: rope_parameters must hold an object, but is \[1\]"),
        ({"num_attention_heads": 3}, r"config\.json: sizes: width 32 must be an even multiple of heads 3"),
        ({"intermediate_size": 23}, r"weight layers\.\d\.\w+ has shape .*24.* but the sizes ask .*23"),
        ({"num_hidden_layers": 3}, r"weight layers\.2\.attended is missing"),
        ({"num_hidden_layers": 1}, r"weight model\.layers\.1\.\S+ is not part of a Llama model"),
    ],
)
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    folder = write_folder(tmp_path / "tiny", drawn(), **changes)
    with pytest.raises(CheckpointError, match=message):
        open_backbone(folder).weights()


@pytest.mark.parametrize("left_out", [{"num_key_value_heads": None}, {}])
def test_sizes_that_a_folder_leaves_out_are_those_of_transformers(tmp_path: Path, left_out: dict[str, None]) -> None:
    file = write_folder(tmp_path / "tiny", drawn()) / "config.json"
    content = json.loads(file.read_bytes())
    del content["rms_norm_eps"], content["num_key_value_heads"]
    file.write_text(json.dumps(content | left_out))
    found = open_backbone(tmp_path / "tiny").config
    assert (found.kv_heads, found.norm_epsilon) == (BASE.heads, 1e-6)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", drawn())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"tiny\.gguf"):
        open_backbone(path).weights()


def test_a_damaged_file_is_refused_or_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", drawn())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    head = whole.index(b"token_embd.weight")
    refused = 0
    for place in rng.integers(4, head, 150).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        try:
            open_backbone(path).weights()
        except CheckpointError as error:
            refused += 1
            assert str(error).startswith(str(path))  # noqa: PT017
    assert refused > 50


def gguf_with(kind: int, value: bytes) -> bytes:
    """A GGUF file with one field and no tensor."""
    name = b"general.architecture"
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, len(name)) + name + struct.pack("<I", kind) + value


@pytest.mark.parametrize("kind", [0, 4, 8, 9, 12])  # items of 1 byte, 4 bytes, strings, arrays, 8 bytes
def test_an_array_longer_than_the_file_is_refused_at_once(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_with(9, struct.pack("<IQ", kind, 10**9) + bytes(8)))
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: .*array of 1000000000 items, but only 8 bytes are left"):
        open_backbone(path)


def test_arrays_of_arrays_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_with(9, struct.pack("<IQ", 9, 1) * 2000))
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: not a whole GGUF file"):
        open_backbone(path)


def test_text_is_neither_cut_nor_filled_up_and_may_be_broken(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny", drawn())
    library = HuggingFaceTokenizer.from_file(str(folder / "tokenizer.json"))
    library.enable_truncation(4)
    library.enable_padding(length=4)
    library.save(str(folder / "tokenizer.json"))
    tokenizer = open_backbone(folder).tokenizer
    assert len(tokenizer.encode("x" * 10)) == 10
    assert tokenizer.encode("h\ud800i") == tokenizer.encode("hi")
    (folder / "tokenizer.json").write_text(HuggingFaceTokenizer(WordLevel({"\n": 0}, "\n")).to_str())
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: its model must be BPE, but is WordLevel"):
        open_backbone(folder)


@pytest.mark.parametrize(("start", "line_break"), [("", "\n"), ("", "\r\n"), ("\n\t ", "\n"), ("\r\n", "\r\r\n")])
def test_a_checkpoint_with_any_layout_of_its_tokenizer_is_loaded_again(
    tmp_path: Path, start: str, line_break: str
) -> None:
    folder = write_folder(tmp_path / "tiny", drawn())
    file = folder / "tokenizer.json"
    plain = json.loads(file.read_bytes())
    file.write_bytes((start + json.dumps(plain, indent=1).replace("\n", line_break)).encode())
    language_checkpoint(folder).save(tmp_path / "saved")
    tokenizer = Checkpoint.load(tmp_path / "saved").tokenizer
    assert json.loads(tokenizer.to_bytes()) == plain
    assert tokenizer.encode("he\n") == [256, open_backbone(folder).tokenizer.line_break_id]


def test_a_tokenizer_with_more_ids_than_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny", drawn())
    assert open_backbone(folder).tokenizer.largest_id == BASE.vocab_size - 1
    library = HuggingFaceTokenizer.from_file(str(folder / "tokenizer.json"))
    library.add_special_tokens(["<|end|>"])
    library.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: its ids reach 257, but the embedding has 257 rows"):
        open_backbone(folder)


def test_a_gguf_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="architecture must be llama, but is 'qwen2'"):
        open_backbone(write_gguf(tmp_path / "a.gguf", drawn(), kind="qwen2"))
    with pytest.raises(CheckpointError, match="tokenizer 'bloom' is not known"):
        open_backbone(write_gguf(tmp_path / "b.gguf", drawn(), cut="bloom"))


def test_a_gguf_with_scaled_positions_is_refused(tmp_path: Path) -> None:
    scaled = {"rope_freqs.weight": np.array([1.0] * 7 + [8.0], np.float32)}
    with pytest.raises(CheckpointError, match=r"a\.gguf: rope scaling is not supported"):
        open_backbone(write_gguf(tmp_path / "a.gguf", drawn(), more=scaled))
    with pytest.raises(CheckpointError, match=r"b\.gguf: rope scaling is not supported"):
        open_backbone(write_gguf(tmp_path / "b.gguf", drawn(), scaling=RopeScalingType.LINEAR))
    plain = {"rope_freqs.weight": np.ones(8, np.float32)}
    path = write_gguf(tmp_path / "c.gguf", drawn(), more=plain, scaling=RopeScalingType.NONE)
    assert open_backbone(path).weights().keys() == drawn().keys()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("blk.0.attn_q.bias", (32,), r"weight blk\.0\.attn_q\.bias is not part of a Llama model"),
        ("blk.0.attn_k.bias", (15,), r"weight blk\.0\.attn_k\.bias is not part of a Llama model"),
        ("nothing", (3,), r"weight nothing is not part of a Llama model"),
    ],
)
def test_an_unknown_weight_of_a_gguf_is_refused_by_name(
    tmp_path: Path, name: str, shape: tuple[int, ...], message: str
) -> None:
    path = write_gguf(tmp_path / "a.gguf", drawn(), more={name: np.zeros(shape, np.float32)})
    with pytest.raises(CheckpointError, match=rf"a\.gguf: {message}"):
        open_backbone(path).weights()


@pytest.mark.parametrize(("name", "shape"), [("attn_q", (31, 32)), ("attn_q", (32,)), ("attn_k", (14, 32))])
def test_a_weight_of_another_shape_is_refused_by_name(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    own = {"attn_q": "query", "attn_k": "key"}[name]
    weights = {other: array for other, array in drawn().items() if other != f"layers.1.{own}"}
    path = write_gguf(tmp_path / "a.gguf", weights, more={f"blk.1.{name}.weight": np.zeros(shape, np.float32)})
    with pytest.raises(CheckpointError, match=rf"a\.gguf: weight layers\.1\.{own} has shape \({shape[0]},"):
        open_backbone(path).weights()


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="backbone nothing: no such file or folder"):
        locate("nothing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("dialog_cvae.storage.find_backbone.find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match="get it with: dialog-cvae backbone"):
        locate("smollm2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read \(No such file"):
        open_backbone(tmp_path / "empty")
