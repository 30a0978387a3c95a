"""Answers to valid requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.generate.responder import Responder
from dialog_cvae.types import Profile, Utterance

QUESTION = {"speaker": "A", "text": "do you have pets ?"}


def test_the_request_reaches_the_model_and_the_answer_has_ranked_texts(client, stub):
    body = {
        "context": [QUESTION, {"speaker": "B", "text": "two\n  cats"}],
        "topic": "air pollution ",
        "num_responses": 2,
        "seed": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 12,
        "respond_as": "C",
    }
    answer = client.post("/respond", json=body)
    assert answer.status_code == 200
    reply = answer.json()
    assert [set(each) for each in reply.pop("responses")] == [{"text", "log_prob", "source", "finish_reason"}] * 2
    expected = {"topic": "Air Pollution", "seed": 7, "model": "stub", "context_used": 2, "context_cut": False}
    assert reply == expected
    ((conversation, asked),) = stub.calls
    assert conversation.utterances == (Utterance("A", "do you have pets ?"), Utterance("B", "two cats"))
    assert conversation.topic == "Air Pollution"
    assert asked == {"respond_as": "C", "n": 2, "seed": 7, "decoding": Decoding(0.5, 0.9, 12)}


def test_profiles_of_speakers_reach_the_model(client, stub):
    speakers = {" A ": {"sex": "female", "age": 41.0}, "B": {"education": 3, "age": None}, "C": {}}
    assert client.post("/respond", json={"context": [QUESTION], "speakers": speakers}).status_code == 200
    ((conversation, _),) = stub.calls
    assert conversation.speakers == {"A": Profile("female", 41), "B": Profile(education=3), "C": Profile()}


def test_profiles_of_speakers_change_the_replies(serve, tiny_checkpoint, tmp_path):
    tiny_checkpoint.save(tmp_path / "tiny")
    client = serve(Responder.load(tmp_path / "tiny", engine="torch"))

    def log_probs(**more):
        answer = client.post("/respond", json={"context": [QUESTION], "seed": 1, "num_responses": 2, **more})
        return [each["log_prob"] for each in answer.json()["responses"]]

    profile = {"sex": "female", "age": 90, "education": 3}
    assert log_probs() == log_probs(speakers={}) == log_probs(speakers={"A": {}}) == log_probs(speakers=None)
    assert log_probs(speakers={"A": profile}) != log_probs()
    assert log_probs(speakers={"B": profile}) != log_probs()


def test_one_role_is_answered_by_the_other_one(serve, stub):
    roles = {"model": stub.config.model.model_copy(update={"role_size": 2}), "roles": ("customer", "agent")}
    stub.config = stub.config.model_copy(update=roles)
    client = serve(stub)
    for speaker, more in (("Customer", {}), ("agent", {}), ("Ann", {}), ("customer", {"respond_as": "Bo"})):
        assert client.post("/respond", json={"context": [{"speaker": speaker, "text": "hi"}]} | more).status_code == 200
    assert [asked["respond_as"] for _, asked in stub.calls] == ["agent", "customer", "B", "Bo"]


@pytest.mark.parametrize(
    ("speakers", "answers"),
    [(["customer", "Customer"], "agent"), (["customer", "agent", "Agent"], "customer"), (["AGENT"], "customer")],
)
def test_spellings_of_a_role_are_one_speaker(serve, stub, speakers, answers):
    stub.config = stub.config.model_copy(update={"roles": ("customer", "agent")})
    body = {"context": [{"speaker": name, "text": "hi"} for name in speakers]}
    assert serve(stub).post("/respond", json=body).status_code == 200
    assert stub.calls[0][1]["respond_as"] == answers


def test_names_of_roles_get_the_spelling_that_the_model_learnt(serve, stub):
    stub.config = stub.config.model_copy(update={"roles": ("customer", "agent")})
    turns = [{"speaker": name, "text": "hi"} for name in ("Customer", " AGENT", "Ann")]
    body = {"context": turns, "respond_as": "Agent", "speakers": {"CUSTOMER": {}}}
    assert serve(stub).post("/respond", json=body).status_code == 200
    ((conversation, asked),) = stub.calls
    assert [turn.speaker for turn in conversation.utterances] == ["customer", "agent", "Ann"]
    assert (asked["respond_as"], [*conversation.speakers]) == ("agent", ["customer"])


def test_defaults_come_from_the_settings(serve, stub):
    client = serve(stub, temperature=0.7, top_p=0.8, max_tokens=9, max_responses=3)
    assert len(client.post("/respond", json={"context": ["hello"]}).json()["responses"]) == 3
    client.post("/respond", json={"context": ["hello"], "temperature": 0, "top_p": 1, "max_tokens": 1})
    (_, first), (_, second) = stub.calls
    assert first["decoding"] == Decoding(0.7, 0.8, 9)
    assert second["decoding"] == Decoding(0.0, 1.0, 1)


@pytest.mark.parametrize(
    ("asked", "speakers", "answers"),
    [
        ({}, ["A"], "agent"),
        ({"context": ["hi", "hello", "help"]}, ["A", "agent", "A"], "agent"),
        (
            {"context": [{"speaker": "Ann", "text": "hi"}, {"speaker": "Agent", "text": "yes?"}]},
            ["Ann", "agent"],
            "agent",
        ),
        ({"respond_as": "Bo"}, ["A"], "Bo"),
    ],
)
def test_a_model_of_a_role_answers_as_that_role_unless_the_request_names_a_speaker(
    serve, stub, asked, speakers, answers
):
    stub.config = stub.config.model_copy(update={"respond_as": ("agent",)})
    client = serve(stub)
    assert client.get("/model").json()["respond_as"] == ["agent"]
    assert client.post("/respond", json={"context": ["hi"]} | asked).status_code == 200
    ((conversation, drawn),) = stub.calls
    assert [turn.speaker for turn in conversation.utterances] == speakers
    assert drawn["respond_as"] == answers


@pytest.mark.parametrize(
    ("speakers", "read", "answers"),
    [
        (["Customer", "agent", "Customer"], ["customer", "agent", "customer"], "agent"),
        (["customer", "agent"], ["customer", "agent"], "customer"),
        (["Ann", "AGENT"], ["customer", "agent"], "customer"),
    ],
)
def test_of_two_roles_the_one_that_did_not_speak_last_answers(client, stub, speakers, read, answers):
    stub.config = stub.config.model_copy(update={"respond_as": ("customer", "agent")})
    turns = [{"speaker": speaker, "text": "hi"} for speaker in speakers]
    assert client.post("/respond", json={"context": turns}).status_code == 200
    ((conversation, asked),) = stub.calls
    assert ([each.speaker for each in conversation.utterances], asked["respond_as"]) == (read, answers)


OPTIONAL = ("topic", "num_responses", "seed", "temperature", "top_p", "max_tokens", "respond_as")


@pytest.mark.parametrize("limit", [3, 20])
def test_null_means_the_default(serve, stub, limit):
    client = serve(stub, max_responses=limit)
    absent = client.post("/respond", json={"context": ["hello"]}).json()
    null = client.post("/respond", json={"context": ["hello"]} | dict.fromkeys(OPTIONAL)).json()
    assert len(null["responses"]) == len(absent["responses"]) == min(5, limit)
    (_, first), (_, second) = stub.calls
    assert first | {"seed": None} == second | {"seed": None}


def test_whole_floats_are_accepted_as_integers(client, stub):
    for number in ("5", "5.0", "5e0"):
        body = f'{{"context": ["hi"], "num_responses": {number}, "seed": {number}}}'
        assert client.post("/respond", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    assert [(asked["n"], asked["seed"], type(asked["n"])) for _, asked in stub.calls] == [(5, 5, int)] * 3


def test_strings_alternate_as_the_same_objects_do(client, stub):
    answers = [
        client.post("/respond", json={"context": context, "seed": 1}).json()
        for context in (
            ["hi", "hello", "how are you ?"],
            [{"speaker": s, "text": t} for s, t in zip("ABA", ["hi", "hello", "how are you ?"], strict=True)],
        )
    ]
    assert answers[0] == answers[1]
    assert [turn.speaker for turn in stub.calls[0][0].utterances] == ["A", "B", "A"]


@pytest.mark.parametrize(
    ("speakers", "responder"),
    [
        (["A"], "B"),
        (["B"], "A"),
        (["Ann"], "B"),
        (["A", "B"], "A"),
        (["A", "B", "A"], "B"),
        (["A", "B", "B"], "A"),
        (["x", "y", "z", "y"], "z"),
        (["x", "y", "z", "z"], "y"),
        ([" B ", "B"], "A"),
    ],
)
def test_the_most_recent_other_speaker_answers(client, stub, speakers, responder):
    context = [{"speaker": speaker, "text": "well"} for speaker in speakers]
    assert client.post("/respond", json={"context": context}).status_code == 200
    assert stub.calls[0][1]["respond_as"] == responder


@pytest.mark.parametrize(
    ("sent", "known"), [("MUSIC", "MUSIC"), ("music", "MUSIC"), ("  mUsIc\n", "MUSIC"), (None, None)]
)
def test_topics_match_in_any_case(client, sent, known):
    assert client.post("/respond", json={"context": ["hi"], "topic": sent}).json()["topic"] == known


def test_among_topics_that_differ_only_in_case_the_exact_one_is_chosen(serve, make_stub):
    client = serve(make_stub(topics=("Pets", "PETS")))
    names = {
        sent: client.post("/respond", json={"context": ["hi"], "topic": sent}).json()["topic"]
        for sent in ("PETS", "pets")
    }
    assert names == {"PETS": "PETS", "pets": "Pets"}


def test_a_random_seed_reproduces_its_answer_and_is_exact_as_a_double(client):
    answers = [client.post("/respond", json={"context": ["hi"]}).json() for _ in range(2)]
    assert answers[0]["seed"] != answers[1]["seed"]
    for answer in answers:
        assert int(float(answer["seed"])) == answer["seed"]
        assert client.post("/respond", json={"context": ["hi"], "seed": answer["seed"]}).json() == answer


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63 - 1])
def test_seeds_are_returned_unchanged(client, stub, seed):
    assert client.post("/respond", json={"context": ["hi"], "seed": seed}).json()["seed"] == seed
    assert stub.calls[0][1]["seed"] == seed


@pytest.mark.parametrize(("distinct", "note"), [(2, "2 of 5 responses"), (0, "0 of 5 responses"), (5, None)])
def test_fewer_responses_come_with_a_note(serve, make_stub, distinct, note):
    answer = serve(make_stub(distinct=distinct)).post("/respond", json={"context": ["hi"]}).json()
    assert len(answer["responses"]) == distinct
    assert answer["note"].startswith(note) if note else "note" not in answer


def test_concurrent_requests_get_the_answers_of_single_ones(client, stub):
    bodies = [{"context": [f"hello {i % 5}"], "seed": i % 5} for i in range(40)]
    alone = [client.post("/respond", json=body).json() for body in bodies[:5]]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda body: client.post("/respond", json=body).json(), bodies))
    assert together == alone * 8
    assert len(stub.threads) == 1


def test_a_context_at_every_limit_is_accepted(serve, stub):
    client = serve(stub, max_context=3, max_text_chars=10)
    text = "\U0001f600" * 10  # four bytes each, twelve as an escape
    context = [{"speaker": "s" * 64, "text": text}] * 3
    answer = client.post("/respond", json={"context": context, "num_responses": 20, "max_tokens": 40})
    assert answer.status_code == 200


@pytest.mark.parametrize("text", ["🙂", "ну да", "naïve café", 'it\'s "fine"\t\\', "¿qué?", "\U000e0041a", "."])
def test_any_visible_text_is_accepted(client, text):
    assert client.post("/respond", json={"context": [text]}).status_code == 200
