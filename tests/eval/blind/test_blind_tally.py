"""The tally of readers, against cases worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.blind.intervals import paired_difference, share, wilson
from eval.blind.ratings import Ratings, read_ratings
from eval.blind.sheet import Key, KeyContext
from eval.blind.tally import BOTH, CONTEXT, MEASURES, tally
from eval.blind.tally_report import as_text

N = np.nan


def small() -> Key:
    """Two contexts and three sources: `m` gives two replies to the first, one of them twice to the second."""
    return Key(
        sheet="s123456",
        made={},
        texts={"a": "Uh-huh.", "b": "I have two.", "c": "Blue.", "d": "Right."},
        contexts=[
            KeyContext(conversation="x", position=2, replies={"m": ["a", "b"], "people": ["b"], "none": []}),
            KeyContext(
                conversation="y", position=3, replies={"m": ["d", "d", "c"], "people": ["c"], "none": [None, "d"]}
            ),
        ],
    )


#            fluent fits specific, of a, b, c, d
FIRST = [[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0]]
SECOND = [[1, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]]


def ratings(*readers: list[list[float]]) -> Ratings:
    return Ratings(tuple(f"r{i}" for i in range(len(readers))), np.array(readers, dtype=float))


def means(found: dict, name: str, kind: str = "mean") -> list[float]:
    return [found[kind]["sources"][name][measure]["mean"] for measure in MEASURES]


def test_one_reader():
    found = tally(small(), ratings(FIRST))
    # m: the first context has 2 of 2 fluent, 2 of 2 fit, 1 of 2 specific, 1 of 2 both, so a hit; the second has d twice
    # and c: 2 of 3 fluent, 2 of 3 fit, 1 of 3 specific, none both, no hit
    assert means(found, "m") == pytest.approx([5 / 6, 5 / 6, 5 / 12, 1 / 4, 1 / 2])
    # people: b is all, c is specific alone
    assert means(found, "people") == pytest.approx([1 / 2, 1 / 2, 1, 1 / 2, 1 / 2])
    # none: no reply, then an empty one and d
    assert means(found, "none") == pytest.approx([1 / 4, 1 / 4, 0, 0, 0])
    assert "all" not in found
    assert "agreement" not in found
    assert found["mean"]["sources"]["people"][CONTEXT]["low"] is None


def test_two_readers():
    found = tally(small(), ratings(FIRST, SECOND))
    # of the second reader m has 1, 1, 0, 0, 0 and 2/3, 1/3, 1/3, 1/3, 1
    first = np.array([5 / 6, 5 / 6, 5 / 12, 1 / 4, 1 / 2])
    second = np.array([5 / 6, 2 / 3, 1 / 6, 1 / 6, 1 / 2])
    assert means(found, "m") == pytest.approx((first + second) / 2)
    # both say yes: a fluent, fits; b fluent, fits; c specific; d fluent
    assert means(found, "m", "all") == pytest.approx([5 / 6, 1 / 2, 1 / 6, 0, 0])
    (pair,) = found["agreement"]
    assert pair["readers"] == ["r0", "r1"]
    assert (pair["fluent"]["percent"], pair["fluent"]["kappa"]) == (1, pytest.approx(1))
    # fits: 1 1 0 1 and 1 1 1 0; p_o = 2/4, p_e = 3/4 * 3/4 + 1/4 * 1/4 = 10/16
    assert (pair["fits"]["percent"], pair["fits"]["kappa"]) == (0.5, pytest.approx((0.5 - 0.625) / 0.375))
    # specific: 0 1 1 0 and 0 0 1 0; p_o = 3/4, p_e = 1/2 * 1/4 + 1/2 * 3/4 = 1/2
    assert pair["specific"]["kappa"] == pytest.approx(0.5)
    assert pair[BOTH]["percent"] == 0.5


def test_differences_are_those_of_the_shares():
    found = tally(small(), ratings(FIRST, SECOND))
    shares, rows = found["mean"]["sources"], found["mean"]["differences"]
    assert [(row["first"], row["second"]) for row in rows] == [("m", "people"), ("m", "none"), ("people", "none")]
    for row in rows:
        for measure in MEASURES:
            expected = shares[row["first"]][measure]["mean"] - shares[row["second"]][measure]["mean"]
            assert row[measure]["mean"] == pytest.approx(expected)
            assert row[measure]["p"] <= row[measure]["p_holm"] <= 1
    # specific of people and none: 1 and 1 of the first reader, 0 and 1 of the second; two differences, so p = 1/2
    assert rows[2]["specific"]["mean"] == pytest.approx(0.75)
    assert rows[2]["specific"]["p"] == 0.5


def test_texts_are_counted():
    texts = tally(small(), ratings(FIRST))["texts"]
    assert texts["m"] == {
        "replies": 5,
        "contexts_without_reply": 0,
        "distinct": 2,
        "listening_noises": pytest.approx((1 / 2 + 2 / 3) / 2),
    }
    assert texts["none"] == {"replies": 2, "contexts_without_reply": 1, "distinct": 0.5, "listening_noises": 1}


def test_missing_answers_are_counted_and_left_out():
    found = tally(small(), ratings([[1, N, 0], [N, N, N], [0, 0, N], [1, 1, 1]]))
    assert found["missing"] == {"r0": {"fluent": 1, "fits": 2, "specific": 2}}
    sources = found["mean"]["sources"]
    # a fluent, b unknown; then 2 of 3
    assert sources["m"]["fluent"]["mean"] == pytest.approx((1 + 2 / 3) / 2)
    # fits and specific: a, b and c are unknown, although a no would decide a and c; d, given twice, is yes
    assert (sources["m"][BOTH]["mean"], sources["m"][BOTH]["contexts"]) == (1, 1)
    # d is a yes, but c is unknown
    assert (sources["m"][CONTEXT]["mean"], sources["m"][CONTEXT]["contexts"]) == (None, 0)
    assert sources["people"]["fits"]["contexts"] == 1
    json.dumps(found, allow_nan=False)
    text = as_text(found)
    assert "r0: no answer for some of 4 replies (fluent 1, fits 2, specific 2); shares leave out what needs" in text
    assert "| people | 0% of 1 |" in text


def test_what_a_reader_left_out_at_random_moves_no_share() -> None:
    rng = np.random.default_rng(0)
    contexts = [
        KeyContext(conversation=str(c), position=2, replies={"m": [f"r{c}_{r}" for r in range(5)]}) for c in range(300)
    ]
    texts = {one: "Blue." for context in contexts for one in context.replies["m"] if one is not None}
    key = Key(sheet="s123456", made={}, texts=texts, contexts=contexts)
    answers = (rng.random((len(texts), 3)) < 0.5).astype(float)
    gaps, left = rng.random(len(texts)) < 0.1, answers.copy()
    left[gaps] = N
    whole = tally(key, ratings(answers.tolist(), answers.tolist()))
    found = tally(key, ratings(answers.tolist(), left.tolist()))
    for kind in ("mean", "all"):
        assert means(found, "m", kind) == pytest.approx(means(whole, "m", kind), abs=0.04)
    alone = tally(key, ratings(left.tolist()))
    assert means(alone, "m") == pytest.approx(means(whole, "m"), abs=0.04)


def test_equal_values_have_no_interval() -> None:
    conversations = range(12)
    assert share(np.full(12, 0.5), conversations) == (0.5, None, None, 12)
    assert share(np.ones(12), conversations)[1:3] == wilson(12, 12)
    assert paired_difference(np.ones(12), np.zeros(12), conversations) == (1, None, None, 2 / 2**12, 12)
    assert paired_difference(np.ones(12), np.ones(12), conversations) == (0, None, None, 1, 12)


def test_a_reader_who_judged_nothing_changes_no_mean():
    nothing = np.full((4, 3), N).tolist()
    found, alone = tally(small(), ratings(FIRST, nothing)), tally(small(), ratings(FIRST))
    assert found["mean"] == alone["mean"]
    assert found["agreement"][0]["fits"] == {"replies": 0, "percent": None, "kappa": None, "low": None, "high": None}
    assert "no answer" in as_text(found)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_order_of_rows_and_of_readers_changes_nothing(key, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("ratings")
    cells = st.sampled_from(["0", "1", ""])
    answers = {reader: {one: [data.draw(cells) for _ in range(3)] for one in key.texts} for reader in ("ann", "bo")}

    def found(orders: dict[str, list[str]]) -> dict:
        paths = []
        for reader, order in orders.items():
            lines = ["id,fluent,fits,specific", *(",".join([one, *answers[reader][one]]) for one in order)]
            paths.append(folder / f"{reader}.csv")
            paths[-1].write_text("\n".join(lines), encoding="utf-8")
        return tally(key, read_ratings(paths, key))

    plain = found({reader: list(key.texts) for reader in answers})
    shuffled = found({reader: data.draw(st.permutations(list(key.texts))) for reader in ("bo", "ann")})
    for kind in ("mean", "all"):
        for name, shares in plain[kind]["sources"].items():
            for measure, figure in shares.items():
                again = shuffled[kind]["sources"][name][measure]
                assert again == {
                    part: value if value is None else pytest.approx(value) for part, value in figure.items()
                }
    assert plain["missing"] == shuffled["missing"]
    for judgement in ("fluent", "fits", "specific"):
        first, second = (each["agreement"][0][judgement] for each in (plain, shuffled))
        assert first["percent"] == second["percent"]
        assert first["kappa"] == (None if second["kappa"] is None else pytest.approx(second["kappa"]))


def many(conversations: int) -> Key:
    """12 contexts of some conversations, each with one reply."""
    contexts = [
        KeyContext(conversation=str(number % conversations), position=2 + number, replies={"m": [f"r{number}"]})
        for number in range(12)
    ]
    texts = {f"r{number}": "Blue." for number in range(12)}
    return Key(sheet="s123456", made={}, texts=texts, contexts=contexts)


def test_conversations_are_the_unit():
    answers = ratings([[1, number % 2, 0] for number in range(12)], [[1, number % 3 == 0, 0] for number in range(12)])
    for key, low in ((many(12), wilson(6, 12)[0]), (many(6), None)):
        found = tally(key, answers)
        assert found["conversations"] == len({context.conversation for context in key.contexts})
        if low is None:
            assert found["mean"]["sources"]["m"]["fits"]["low"] is None
            assert found["agreement"][0]["fits"]["low"] is None
        else:
            assert tally(key, ratings(answers.values[0].tolist()))["mean"]["sources"]["m"]["fits"]["low"] == low
            assert found["agreement"][0]["fits"]["low"] is not None
    text = as_text(tally(many(6), answers))
    assert "12 contexts of 6 conversations, 12 replies, 2 readers" in text
    assert "no intervals: they need at least 10 conversations" in text
    assert "no intervals" not in as_text(tally(many(12), answers))


def test_the_text_shows_the_figures():
    text = as_text(tally(small(), ratings(FIRST, SECOND)))
    (line,) = [line for line in text.splitlines() if line.startswith("| m |")][:1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == "83%"
    assert cells[-3:] == ["5", "2.00", "58%"]
    assert "| r0 and r1 | 100%, 1.00" in text
    assert "m - people" in text
