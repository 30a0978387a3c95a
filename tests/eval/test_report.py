"""The table of sampled replies, and the rule that chooses what it shows."""

from dialog_cvae.types import Utterance
from eval.contexts import AnsweredContext
from eval.report import RULE, chosen_contexts, comparison_table, sample_table, summary


def sampled(conversation: str, position: int) -> AnsweredContext:
    context = tuple(Utterance("AB"[i % 2], f"said {i}") for i in range(position))
    reference = Utterance("AB"[position % 2], f"said {position}")
    return AnsweredContext(
        conversation, position, None if conversation == "c0" else "PETS", context, reference, ("yes", "no")
    )


EVERYTHING = [sampled(f"c{number}", position) for number in range(6) for position in range(1, 6)]


def test_the_middle_context_of_evenly_spaced_conversations() -> None:
    chosen = chosen_contexts(EVERYTHING, 3)
    assert [(one.conversation, one.position) for one in chosen] == [("c0", 3), ("c2", 3), ("c4", 3)]


def test_a_small_corpus_shows_all_its_conversations() -> None:
    # six conversations of five contexts: ten of them, at least one of each
    chosen = chosen_contexts(EVERYTHING, 10)
    assert [one.conversation for one in chosen] == ["c0", "c0", "c1", "c1", "c2", "c2", "c3", "c3", "c4", "c5"]
    assert [one.position for one in chosen] == [2, 4, 2, 4, 2, 4, 2, 4, 3, 3]
    assert "10 contexts of all conversations" in sample_table(EVERYTHING)
    assert chosen_contexts(EVERYTHING[:1], 10) == EVERYTHING[:1]
    assert chosen_contexts(EVERYTHING[:1] + EVERYTHING[5:10], 4) == [
        EVERYTHING[0],
        *(EVERYTHING[5 + i] for i in (0, 2, 4)),
    ]
    assert chosen_contexts([], 10) == []


def test_the_table_states_its_rule_and_edits_nothing() -> None:
    table = sample_table(EVERYTHING, 2)
    assert "2 evenly spaced" in table
    assert "## 1. c0, utterance 3, topic unknown" in table
    assert "## 2. c3, utterance 3, topic PETS" in table
    assert "> **A:** said 2" in table
    assert "What B said: said 3" in table
    assert "1. yes\n2. no" in table


def replying(*replies: str) -> list[AnsweredContext]:
    return [one._replace(replies=replies) for one in EVERYTHING]


def test_models_stand_side_by_side_by_the_same_rule() -> None:
    text = comparison_table({"M": replying("i'm not sure", "i'm | not sure"), "C": replying("yes", "no, it is")}, 2)
    assert RULE.format(count=2) in text
    assert "### 2. c3, utterance 3, topic PETS" in text
    assert text.count("|  | M | C |") == 2
    assert "| 1 | i'm not sure | yes |\n| 2 | i'm \\| not sure | no, it is |" in text


def test_a_model_with_fewer_replies_leaves_cells_empty() -> None:
    text = comparison_table({"M": replying("one"), "C": replying("one", "two")}, 1)
    assert "| 1 | one | one |\n| 2 |  | two |" in text


def test_the_summary_shows_numbers_and_nested_figures_but_not_the_long_parts() -> None:
    metrics = {
        "data": "swda",
        "contexts": 3,
        "kl": 0.25,
        "vectors": None,
        "bleu": {"precision": 0.1, "recall": 0.2, "f1": 0.15},
        "gold": {"bleu": {"precision": 0.3, "recall": 0.4, "f1": 0.35}},
        "single_reference": {"length": 7.5},
        "kl_per_dimension": [0.1, 0.2],
        "floor_change": {"contexts": 2},
    }
    lines = [line.split() for line in summary(metrics).splitlines()]
    assert lines == [
        ["measure", "precision", "recall"],
        ["data", "swda"],
        ["contexts", "3"],
        ["kl", "0.250"],
        ["bleu", "0.100", "0.200"],
        ["gold:", "bleu", "0.300", "0.400"],
        ["single_reference:", "length", "7.500"],
    ]
