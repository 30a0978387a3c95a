"""`training.check`: counts, problems by line, exit status."""

import itertools
import json
import random
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dialog_cvae.data.readers import jsonl, sample
from dialog_cvae.data.readers.jsonl_line import parse_line
from dialog_cvae.data.turns import encode_turns
from dialog_cvae.errors import CheckpointError, DataError
from dialog_cvae.text.byte_pairs import BytePairs
from dialog_cvae.types import Conversation
from tests.dialog_cvae.storage.tiny_bases import drawn, letters, write_gguf
from training import arguments, language_task
from training.check import __main__ as check
from training.check import advice, tokenization
from training.check.__main__ import FORMAT, main
from training.config import FitConfig


@pytest.fixture(autouse=True)
def _untimed_without_a_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise CheckpointError(name)

    monkeypatch.setattr(check, "replies_per_second", lambda *_: None)
    monkeypatch.setattr(advice, "locate", missing)


def line(text: str, **fields: object) -> str:
    return (
        json.dumps({"utterances": [{"speaker": "A", "text": text}, {"speaker": "B", "text": "yes"}], **fields}) + "\n"
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for conversation in sample.read(conversations=20).train:
            utterances = [{"speaker": u.speaker, "text": u.text} for u in conversation.utterances]
            file.write(json.dumps({"topic": conversation.topic, "utterances": utterances}) + "\n")
    return path


def test_a_valid_file(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = jsonl.read(own, valid_share=0.1, test_share=0.1)
    conversations = [*corpus.train, *corpus.valid, *corpus.test]
    utterances = sum(len(c.utterances) for c in conversations)
    assert main([str(own)]) == 0
    out = capsys.readouterr().out
    assert "conversations 16\n" in out
    assert f"utterances    {utterances:,};" in out
    assert "speakers      2: A 16, B 16" in out
    assert "topics        10: pets 2" in out
    assert "dialog acts   none given" in out
    assert "sex known of 0%" in out
    assert f"train {len(corpus.train)}, valid {len(corpus.valid)}, test {len(corpus.test)}" in out
    assert "100.0% of the words of train" in out
    assert "\nno problems found\n" in out


def test_counts_of_a_small_file_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.jsonl"
    long = " ".join(["word"] * 39)
    profiles = {"A": {"sex": "male", "age": 3}, "C": {"age": 4}}
    path.write_text(line("i'm here", topic="x", speakers=profiles) + line("a") + line("b") + line(long))
    assert main([str(path), "--valid-share", "0.25"]) == 0
    out = capsys.readouterr().out
    assert "words         49\n" in out  # i ' m here, a, b, 39 times word, and 4 times yes
    assert "least 3, 25% 3, median 3, 75% 3, 95% 41, most 41" in out
    assert "1 (12.5%) exceed the model's 40" in out
    assert "topics        1: x 1, (none given) 3" in out
    assert "sex known of 12%, age known of 12%, education known of 0%" in out
    assert "1 belong to speakers without utterances" in out
    assert "train 2, valid 1, test 1" in out


def test_roles_and_the_option_that_trains_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.jsonl"
    scripts = ["customer", "help desk", "customer", "help desk"], ["customer", "help desk", "boss"], ["customer", "Ann"]
    lines = [
        {"utterances": [{"speaker": who, "text": f"{number} {at}"} for at, who in enumerate(script)]}
        for number, script in enumerate(scripts)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert (
        "roles         2, each in at least 67% of the conversations; of the utterances: customer 44%, help desk 33%"
        in out
    )
    assert "take --respond-as 'help desk' to train" in out
    # Where each conversation has other speakers there are none.
    lines = [{"utterances": [{"speaker": f"{who}{i}", "text": f"{i}"} for who in "AB"]} for i in range(5)]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert main([str(path)]) == 0
    assert "--respond-as" not in capsys.readouterr().out


def test_every_problem_by_line(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own.open("ab") as file:
        file.write(b'{"utterances": [{"speaker": "A", "text": ""}], "mood": 1}\n\n\xff\n{\n')
        file.write(b'{"utterances": [{"speaker": "A", "text": "alone"}]}\n')
    assert main([str(own)]) == 1
    out = capsys.readouterr().out
    assert "4 problems:" in out
    assert "line 17: utterances[0].text is blank\n" in out
    assert 'line 17: unknown field "mood"' in out
    assert "line 19: not UTF-8 at byte 1 (0xff)\n" in out
    assert "line 20: not a JSON object" in out
    assert "1 with a single utterance (lines 21)" in out
    assert main([str(own), "--max-problems", "1"]) == 1
    out = capsys.readouterr().out
    assert out.count("\nline ") == 1
    assert "... and 3 more; --max-problems 4 lists all" in out


@pytest.mark.parametrize(
    "extra", ["", '{"utterances": 3}\n', line("new", id="line-1"), line("new", split="test"), line("\x07")]
)
def test_check_and_read_agree(extra: str, own: Path) -> None:
    with own.open("a") as file:
        file.write(extra)
    try:
        jsonl.read(own, valid_share=0.1, test_share=0.1)
        fine = True
    except DataError:
        fine = False
    assert (main([str(own)]) == 0) is fine is (not extra)


def test_too_few_conversations_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("")
    assert main([str(path)]) == 1
    assert "needs at least 3 different conversations" in capsys.readouterr().out


def test_the_unknown_word_is_not_counted_as_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.jsonl"
    conversations = [
        [{"speaker": "A", "text": "<unk> " * (i + 1)}, {"speaker": "B", "text": "<unk>"}] for i in range(4)
    ]
    path.write_text("".join(json.dumps({"utterances": utterances}) + "\n" for utterances in conversations))
    assert main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "words         0\n" in out
    assert "1 problem:\nthe training conversations contain no word\n" in out
    path.write_text(path.read_text() + "".join(line(f"hello <unk> {i}") for i in range(40)))
    assert main([str(path)]) == 0
    assert "words         120\n" in capsys.readouterr().out  # hello, a number and yes, 40 times each


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.jsonl", "cannot be read (No such file"),
        ("sample", "cannot be read (No such file"),
        (".", "none of its 0 files is in a known format"),
    ],
)
def test_unreadable_files_exit_with_2(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("given", [[], ["own.jsonl", "--max-problems", "many"], ["own.jsonl", "--bogus"]])
def test_invalid_arguments_give_one_error_line(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(given)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_shares_are_checked(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(own), "--valid-share", "0.9", "--test-share", "0.2"]) == 2
    assert "are 0.9 + 0.2" in capsys.readouterr().err


def test_the_format_shown_is_the_format_read() -> None:
    example = next(text for text in FORMAT.splitlines() if text.startswith("  {"))
    assert parse_line(example.encode(), 1).conversation.topic == "pets"


def test_as_a_command_with_an_ascii_terminal_and_a_closed_pipe(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(line(str(i), topic="école\u202e") for i in range(4)), encoding="utf-8")
    command = [sys.executable, "-m", "training.check", str(path), "--no-timing"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONIOENCODING": "ascii"}, check=True)
    assert "\\xe9cole\\u202e 4" in done.stdout
    assert done.stderr == ""
    piped = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | true', "bash", *command], capture_output=True, text=True, check=False
    )
    assert piped.stderr == ""


# What the tokenizer makes of the text.


def talks(path: Path, texts: list[str], **fields: object) -> Path:
    path.write_text("".join(line(text, **fields) for text in texts), encoding="utf-8")
    return path


def unspaced(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choice("上周店员拆开了那个手机所以昨天") for _ in range(20)) for _ in range(count)]


def test_text_without_spaces_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = talks(tmp_path / "own.jsonl", unspaced(200))
    for mode in ((), ("--tokenizer.mode", "space")):
        assert main([str(path), *mode]) == 0
        out = capsys.readouterr().out
        assert (
            "a whole message is one word, and replies repeat messages word for word; take --tokenizer.mode uni" in out
        )
        assert "no problems found" not in out
    assert main([str(path), "--tokenizer.mode", "unigram", "--tokenizer.vocab-size", "400"]) == 0
    out = capsys.readouterr().out
    assert "\nno problems found\n" in out
    assert "pieces; 100.0% of the tokens of valid and test are no single" in out


def test_a_vocabulary_that_knows_few_held_out_words_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["".join(letters) for letters in itertools.product("abcdefgh", repeat=4)]
    path = talks(tmp_path / "own.jsonl", [" ".join(words[i : i + 4]) for i in range(0, 4000, 4)])
    assert main([str(path)]) == 0
    assert "has only 20.0% of the words of held-out text" in capsys.readouterr().out  # the word "yes"
    assert main([str(path), "--tokenizer.mode", "unigram", "--tokenizer.vocab-size", "20"]) == 2
    assert "tokenizer.vocab_size must be at least 288" in capsys.readouterr().err


def test_long_messages_are_warned_of_in_the_tokens_of_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = talks(tmp_path / "own.jsonl", [f"{i} " + "so what " * 30 for i in range(20)])
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "20 (50.0%) exceed the model's 40; 34.8% of all tokens" in out  # 63 tokens instead of 40; the replies have 3
    assert "--model.max-utterance-tokens 63 is enough for 95% of the messages" in out


def test_names_of_special_tokens_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = talks(tmp_path / "own.jsonl", [f"<s> hello {i} </s>" for i in range(20)])
    for mode in ("word", "space", "unigram"):
        assert main([str(path), "--tokenizer.mode", mode, "--tokenizer.vocab-size", "400"]) == 0
        assert "names of special tokens are in the text (<s> in 20, </s> in 20 messages)" in capsys.readouterr().out


def test_copies_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = talks(tmp_path / "own.jsonl", [*["hello there"] * 10, *(f"{w} order 17" for w in "abcdefgh"), "a order 18"])
    assert main([str(path)]) == 0
    assert (
        "copies        9 conversations repeat the texts of an earlier one; 1 more differ from"
        in capsys.readouterr().out
    )


def test_copies_in_named_splits_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.jsonl"
    said = [("train", "a b"), ("train", "c"), ("valid", "A  b"), ("valid", "d"), ("test", "e")]
    path.write_text("".join(line(text, split=split) for split, text in said))
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "1 of the valid conversations have the same texts as training conversations" in out
    assert "of the test conversations" not in out


def test_a_suffix_in_capitals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(talks(tmp_path / "OWN.JSONL", ["a", "b", "c"]))]) == 0
    assert "\nno problems found\n" in capsys.readouterr().out


def test_the_tokens_of_a_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = SimpleNamespace(
        tokenizer=BytePairs.from_tables(letters(), ["h e"], "gpt-2"), facts=SimpleNamespace(name="x")
    )
    path = talks(tmp_path / "own.jsonl", ["hehe " * 60 for _ in range(3)] + [f"{i}" for i in "abc"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenization, "locate", lambda name: Path(name))
        patch.setattr(tokenization, "open_backbone", lambda path: base)
        assert main([str(path), "--recipe", "smollm2"]) == 0
    out = capsys.readouterr().out
    assert "in an utterance, with its line break: least 3" in out  # " a" and the line break
    assert "exceed the model's 96" in out
    assert "of x: " in out
    assert "tokens a character" in out
    assert "--language.max-reply-tokens" in out


# What to do next.


def support(path: Path, count: int, text: str = "what would you like to know about that") -> Path:
    """Conversations in which a customer asks first and an agent answers."""
    said = [
        [{"speaker": "customer", "text": f"{text} {number}"}, {"speaker": "agent", "text": f"{text} there"}]
        for number in range(count)
    ]
    path.write_text("".join(json.dumps({"utterances": each}) + "\n" for each in said), encoding="utf-8")
    return path


def next_steps(out: str) -> str:
    return out[out.index("what to do next:") :]


def test_an_english_file_of_two_roles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = support(tmp_path / "own chat.jsonl", 20)
    assert main([str(path)]) == 0
    out = next_steps(capsys.readouterr().out)
    assert "about 16 replies of agent to learn from, in English" in out
    assert "best: a language model that knows English" in out
    assert "run           dialog-cvae backbone\n" in out
    assert (
        f"  dialog-cvae fit --data '{path}' --recipe smollm2 --respond-as agent --epochs 10 --train.validate-every 2 "
        "--max-minutes 20 --out runs/own-chat\n"
    ) in out
    assert "too few replies to learn from" in out
    assert "an estimate" in out


def test_the_speed_here_decides_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def speed(config: FitConfig, conversations: list[Conversation]) -> float:
        seen.append((config.language is None, config.tokenizer.mode, len(conversations)))
        return 0.5

    monkeypatch.setattr(check, "replies_per_second", speed)
    path = support(tmp_path / "own.jsonl", 300)
    options = ("--recipe", "small", "--tokenizer.mode", "unigram", "--tokenizer.vocab-size", "400")
    assert main([str(path), *options]) == 0
    out = next_steps(capsys.readouterr().out)
    assert "measured here: 0.5 replies a second" in out
    assert "20 minutes for a first run; 10 passes would take 80 min" in out  # 240 replies
    assert seen == [(True, "unigram", 200)]
    assert f"{' '.join(options)} --respond-as agent --max-minutes 20" in out
    assert "--recipe smollm2 is better for such text" in out
    assert main([str(path), "--no-timing", *options]) == 0
    assert len(seen) == 1


def test_other_languages_are_not_for_the_language_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[FitConfig] = []
    monkeypatch.setattr(check, "replies_per_second", lambda config, _: timed.append(config))
    path = talks(tmp_path / "own.jsonl", unspaced(200))
    assert main([str(path)]) == 0
    out = next_steps(capsys.readouterr().out)
    assert "in another script than Latin" in out
    assert "--recipe small --tokenizer.mode unigram --bow --model.skip --respond-as B --max-minutes 20" in out
    (config,) = timed
    assert (config.tokenizer.mode, config.model.bow, config.model.skip) == ("unigram", True, True), "of what is advised"
    assert "backbone\n" not in out
    german = support(tmp_path / "german.jsonl", 20, "wo ist denn mein Paket, ich habe es vor zwei Wochen bestellt")
    assert main([str(german)]) == 0
    out = next_steps(capsys.readouterr().out)
    assert "not in English" in out
    assert "--recipe small --tokenizer.mode unigram --bow --model.skip --respond-as agent" in out


def test_a_role_that_a_split_lacks_is_not_advised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(split: str, *speakers: str) -> str:
        return line(split, split=split, utterances=[{"speaker": who, "text": f"{split} {who}"} for who in speakers])

    path = tmp_path / "own.jsonl"
    talks = [said("train", "customer", "agent", f"x{i}") for i in range(9)]
    path.write_text("".join([*talks, said("valid", "customer", "Bo"), said("test", "customer", "agent")]))
    assert main([str(path)]) == 0
    assert "--respond-as agent" not in next_steps(capsys.readouterr().out)
    assert main([str(path), "--respond-as", "agent"]) == 2
    assert "corpus.respond_as: split valid of own has no reply of agent" in capsys.readouterr().err


def test_long_messages_get_a_limit_in_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = talks(tmp_path / "own.jsonl", [f"{i} " + "so what " * 30 for i in range(20)])
    assert main([str(path), "--recipe", "small"]) == 0
    out = next_steps(capsys.readouterr().out)
    assert "--recipe small --respond-as B --model.max-utterance-tokens 63 --max-minutes" in out


@pytest.mark.parametrize(
    ("letters_each", "options"),
    [
        (10, []),
        (60, ["--language.block", "5"]),
        (150, ["--language.max-reply-tokens", "152", "--language.block", "2"]),
        (400, ["--language.block", "1"]),  # no block fits with 402 tokens of each message
    ],
)
def test_the_advised_blocks_have_positions(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    letters_each: int,
    options: list[str],
) -> None:
    base = write_gguf(tmp_path / "tiny.gguf", drawn())  # 512 positions, a token for each letter
    for module in (advice, tokenization, language_task):
        monkeypatch.setattr(module, "locate", lambda _: base)
    path, texts = tmp_path / "own.jsonl", [letter * letters_each for letter in "abcdefghi"]
    said = [[{"speaker": "AB"[turn % 2], "text": text} for turn in range(20)] for text in texts]
    path.write_text("".join(line("", topic="letters", utterances=each) for each in said))
    assert main([str(path), "--recipe", "smollm2"]) == 0
    command = shlex.split(next(each for each in capsys.readouterr().out.splitlines() if "dialog-cvae fit" in each))
    first = command.index("B") + 1
    assert command[first : first + len(options)] == options
    assert sum(word.startswith("--language.") for word in command) == len(options) / 2
    # It is what a fit accepts.
    config = arguments.layered(arguments.recipe("smollm2"), arguments.parse(options))
    assert config.language is not None
    train = jsonl.read(path, valid_share=0.1, test_share=0.1).train
    turns = encode_turns(train, language_task.backbone_of(config.language).tokenizer, config.language.max_reply_tokens)
    language_task.check_blocks(turns, config.language, 512)


def test_a_speaker_that_is_named_like_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = support(tmp_path / "own.jsonl", 20)
    path.write_text(path.read_text().replace('"agent"', '"-agent"'))
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "take --respond-as=-agent to train" in out
    command = shlex.split(next(each for each in out.splitlines() if "dialog-cvae fit" in each))
    assert arguments.parse(command[command.index("--data") :])["corpus"]["respond_as"] == ["-agent"]


def test_a_start_from_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swda = Path(__file__).parents[3] / "models" / "swda"
    path = support(tmp_path / "own.jsonl", 20)
    assert main([str(path), "--init", str(swda), "--respond-as", "Customer"]) == 0
    out = next_steps(capsys.readouterr().out)
    assert f"yours: start from {swda}" in out
    assert f"--init {swda} --respond-as Customer --max-minutes 20" in out
    assert "--recipe smollm2 in 72%" in out
    assert main([str(path), "--init", str(tmp_path / "none")]) == 2
    assert "no checkpoint folder there" in capsys.readouterr().err


def test_a_file_with_problems_is_corrected_first(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own.open("a") as file:
        file.write("{\n")
    assert main([str(own)]) == 1
    out = next_steps(capsys.readouterr().out)
    assert "correct the problem above (fit refuses the file), then check it again" in out
    assert "dialog-cvae fit" not in out


def test_speakers_without_roles_and_a_single_speaker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for names, said in ((("A", "A"), "all messages have the same speaker"), (("A{}", "B{}"), "no roles: if one side")):
        path = tmp_path / "own.jsonl"
        lines = [{"utterances": [{"speaker": name.format(i), "text": f"{i}"} for name in names]} for i in range(12)]
        path.write_text("".join(json.dumps(each) + "\n" for each in lines))
        assert main([str(path)]) == 0
        assert said in capsys.readouterr().out
