"""The chat in the terminal, interactive and from a pipe."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from api import chat
from api.batcher import Batcher
from api.chat import Chat, Partner, RefusedError, main
from api.room import Busy
from dialog_cvae.errors import ConfigError

ROOT = Path(__file__).parents[2]


class Echo:
    """Proposes replies that show the request."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    def __call__(self, asked: dict[str, object]) -> list[str]:
        self.asked.append(asked)
        return [f"reply {number} to {asked['context'][-1]['text']}" for number in (1, 2, 3)]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def talk(echo, monkeypatch, capsys):
    """Run a chat: `talk("line", ..., interactive=False)` returns the conversation and the output."""

    def run(*lines: str, interactive: bool = False, answer=echo, most_chars: int = 2000, **options):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        held = Chat(Partner("m", None, 200, most_chars, answer), ("A", "B"), options, interactive)
        held.run()
        return held.turns, capsys.readouterr()

    return run


def test_a_number_picks_a_reply(talk, echo):
    turns, shown = talk("hello", "2", "and you?", "1")
    assert turns == [("A", "hello"), ("B", "reply 2 to hello"), ("A", "and you?"), ("B", "reply 1 to and you?")]
    assert shown.out.splitlines()[:4] == [
        "  1  reply 1 to hello",
        "  2  reply 2 to hello",
        "  3  reply 3 to hello",
        "B> reply 2 to hello",
    ]
    assert [turn["speaker"] for turn in echo.asked[1]["context"]] == ["A", "B", "A"]
    assert {asked["respond_as"] for asked in echo.asked} == {"B"}


def test_a_picked_reply_keeps_characters_that_are_not_shown(talk):
    written = "👨‍👩‍👧 می‌خواهم co­op  "
    turns, shown = talk("hello", "1", answer=lambda asked: [written])
    assert turns[1] == ("B", written)
    assert shown.out.splitlines()[0] == "  1  👨‍👩‍👧 می‌خواهم coop  "


def test_a_reply_that_can_not_be_sent_back_is_not_picked(talk):
    def answer(asked):
        assert all(len(turn["text"]) <= 5 for turn in asked["context"])
        return ["too long", "short"]

    turns, shown = talk("hello", "1", "2", "bye", "1", "own", interactive=True, answer=answer, most_chars=5)
    assert turns == [("A", "hello"), ("B", "short"), ("A", "bye"), ("B", "own")]
    wrong = "error: a line has at most 5 characters, this one has 8; choose again"
    assert shown.err.splitlines() == [wrong] * 2
    with pytest.raises(RefusedError, match="at most 5"):
        talk("hello", "1", answer=answer, most_chars=5)


@pytest.mark.parametrize("own", ["I am fine", "-1", "1.0", "²", "2 cats"])
def test_any_other_text_is_the_reply(talk, own):
    assert talk("hello", own)[0][1] == ("B", own)


@pytest.mark.parametrize("number", ["4", "0", "٤", "9" * 20, "000000000001"])
def test_a_number_without_a_reply_is_asked_for_again(talk, echo, number):
    turns, shown = talk("hello", number, "3", interactive=True)
    assert turns == [("A", "hello"), ("B", "reply 3 to hello")]
    assert shown.err.startswith(f"error: there is no reply {number[:9]}")
    assert shown.err.endswith(": the replies have the numbers 1 to 3; choose again\n")
    assert len(echo.asked) == 1
    with pytest.raises(RefusedError, match="there is no reply"):
        talk("hello", number)


def test_the_chat_says_that_no_reply_was_found(talk):
    turns, shown = talk("hello", "1", "my own", interactive=True, answer=lambda _asked: [])
    assert turns == [("A", "hello"), ("B", "my own")]
    assert shown.err.splitlines() == [
        "no reply was found; an empty line draws again",
        "error: there is no reply 1: no replies are shown; choose again",
    ]


def test_an_empty_line_draws_new_replies(talk, echo):
    talk("hello", "", "", "1", seed=5)
    assert [asked["seed"] for asked in echo.asked] == [5, 6, 7]
    assert len({str(asked["context"]) for asked in echo.asked}) == 1


def test_empty_lines_before_the_first_utterance_are_ignored(talk, echo):
    assert talk("", "  ", "hello", "1")[0][0] == ("A", "hello")
    assert len(echo.asked) == 1


def test_the_end_of_input_ends_the_chat_at_any_point(talk):
    assert talk()[0] == []
    assert talk("hello")[0] == [("A", "hello")]


def test_every_request_has_the_options(talk, echo):
    talk("hello", "1", "bye", "1", topic="PETS", num_responses=3, diversity=0.5)
    assert [(asked["topic"], asked["num_responses"], asked["diversity"]) for asked in echo.asked] == [
        ("PETS", 3, 0.5)
    ] * 2


def test_control_characters_in_a_reply_are_removed(talk):
    _, shown = talk("hello", answer=lambda _asked: ["\x1b[2J\x07 fine \u202e"])
    assert shown.out.splitlines() == ["  1   [2J  fine  "]


def failing(_asked: dict[str, object]) -> list[str]:
    raise ConfigError("it is busy")


def test_an_error_ends_a_pipe_but_not_an_interactive_chat(talk):
    with pytest.raises(ConfigError, match="busy"):
        talk("hello", answer=failing)
    turns, shown = talk("hello", "my own", interactive=True, answer=failing)
    assert turns == [("A", "hello"), ("B", "my own")]
    assert "error: it is busy" in shown.err


@pytest.mark.parametrize("line", ["\x1b[A", "x" * 2001, "\u200b", "a\udc80"])
def test_a_line_that_can_not_be_said_changes_nothing(talk, echo, line):
    turns, shown = talk(line, "hello", line, "my own", interactive=True)
    assert turns == [("A", "hello"), ("B", "my own")]
    assert shown.err.count("this line is not used") == 2
    assert len(echo.asked) == 1
    with pytest.raises(RefusedError):
        talk("hello", line)


def test_a_refused_line_is_removed_and_the_chat_goes_on(talk):
    def choosy(asked):
        texts = [turn["text"] for turn in asked["context"]]
        if "bad" in texts:
            raise RefusedError("context.0.text: bad")
        return [f"reply to {texts[-1]}"]

    turns, shown = talk("bad", "hello", "1", "bad", "bad", "and you?", "1", interactive=True, answer=choosy)
    assert turns == [("A", "hello"), ("B", "reply to hello"), ("A", "and you?"), ("B", "reply to and you?")]
    assert shown.err.count("error: context.0.text: bad; this line is not used") == 3


def test_a_long_conversation_sends_its_last_utterances(talk, echo):
    turns, _ = talk(*["hello", "1"] * 130)
    assert len(turns) == 260
    assert max(len(asked["context"]) for asked in echo.asked) == 200
    assert echo.asked[-1]["context"] == [{"speaker": speaker, "text": text} for speaker, text in turns[59:259]]


def test_a_service_answers_over_http(serve, stub, monkeypatch, capsys):
    from api import client as module

    transport = serve(stub, api_keys="a-key-of-some-length")._transport
    real = module.Client
    monkeypatch.setattr(module, "Client", lambda url, api_key: real(url, api_key=api_key, transport=transport))
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n1\n"))
    monkeypatch.setenv(chat.KEY, "a-key-of-some-length")
    assert main(["http://testserver", "-n", "2", "--topic", "pets", "--speakers", "Ann", "Bo"]) == 0
    assert capsys.readouterr().out.count("\n") == 3
    ((conversation, asked),) = stub.calls
    assert (conversation.topic, conversation.utterances[0].speaker) == ("PETS", "Ann")
    assert (asked["n"], asked["respond_as"]) == (2, "Bo")


@pytest.mark.parametrize(("given", "speakers"), [((), ("A", "agent")), (("--speakers", "Ann", "Bo"), ("Ann", "Bo"))])
def test_replies_are_of_the_models_role_unless_speakers_are_named(echo, monkeypatch, capsys, given, speakers):
    monkeypatch.setattr(chat, "remote", lambda *_: Partner("m", None, 200, 2000, echo, ["agent", "bot"]))
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n1\n"))
    assert main(given) == 0
    assert capsys.readouterr().out.endswith(f"{speakers[1]}> reply 1 to hello\n")
    assert (echo.asked[0]["context"][0]["speaker"], echo.asked[0]["respond_as"]) == speakers


def test_an_unreachable_service_is_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["http://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: http://127.0.0.1:9")
    assert error.count("\n") == 1


def test_without_the_client_library_the_error_says_what_to_install(monkeypatch, capsys):
    for name in ("api.client", "api.client_errors"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    assert main([]) == 2
    assert "httpx2: pip install 'dialog-cvae[client]'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["-n", "many"], ["--diversity"], ["a", "b"], ["--speakers", "A"]])
def test_invalid_options_are_one_line_and_status_2(options, capsys):
    with pytest.raises(SystemExit) as error:
        main(options)
    assert error.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_in_this_process(tmp_path, tiny_checkpoint, monkeypatch, capsys):
    tiny_checkpoint.save(tmp_path / "tiny")

    def run(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("you like cats\n1\nme\n2\n"))
        return main(options), *capsys.readouterr()

    options = ("--checkpoint", str(tmp_path / "tiny"), "--seed", "3", "-n", "2")
    first = run(*options)
    assert first == run(*options)
    assert [line[:3] for line in first[1].splitlines()] == ["  1", "  2", "B> ", "  1", "  2", "B> "]
    status, shown, error = run(*options[:2], "--topic", "boats", "-n", "99")
    assert (status, shown) == (2, "")
    assert error == "error: num_responses: should be at most 20, got 99\n"
    status, _, error = run(*options, "--diversity", "2")
    assert (status, error.count("\n")) == (2, 1)
    assert "diversity: Input should be less than or equal to 1, got 2" in error
    assert run("--checkpoint", str(tmp_path / "no"))[0] == 2


def test_a_reply_of_this_process_that_takes_too_long_is_one_line(endless_folder, monkeypatch, capsys):
    async def too_late(*_):
        raise Busy("no answer within 0.001 seconds; try again later", 1, "timeout")

    monkeypatch.setattr(Batcher, "respond", too_late)
    options = "--checkpoint", str(endless_folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO("you like cats\n"))
    assert main(options) == 2
    assert capsys.readouterr().err == "error: no answer within 0.001 seconds; try again later\n"
    terminal = io.StringIO("you like cats\n\n\nmy own\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(options) == 0
    late = "error: no answer within 0.001 seconds; try again later; an empty line tries again"
    assert capsys.readouterr().err.splitlines() == [late] * 3


def test_a_model_in_this_process_has_the_services_word_filter_and_guard(stub, tmp_path, monkeypatch):
    (tmp_path / "words").write_text("darn")
    monkeypatch.setattr("api.app.load_responder", lambda _settings: stub)
    monkeypatch.setenv("DIALOG_CVAE_BLOCKED_WORDS", str(tmp_path / "words"))
    monkeypatch.setenv("DIALOG_CVAE_GUARD", "on")
    with ExitStack() as stack:
        chat.local("none", stack)
    assert (stub.accepts("darn"), stub.accepts("fine")) == (False, True)
    assert stub.guard is not None


def test_help_shows_examples_and_needs_no_model():
    command = [sys.executable, "-m", "api.chat", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Ctrl-D ends" in shown
    assert chat.KEY in shown


def test_input_that_is_not_utf8_is_refused(tiny_folder):
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "api.chat", "--checkpoint", str(tiny_folder)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, input=b"caf\xe9\n", capture_output=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == b"error: a line has no control characters, this one is 'caf '\n"
