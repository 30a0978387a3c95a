"""The table of sampled replies, and the rule that chooses what it shows."""

from dialog_cvae.types import Utterance
from eval.generation import Sampled
from eval.report import chosen_contexts, sample_table


def sampled(conversation: str, position: int) -> Sampled:
    context = tuple(Utterance("AB"[i % 2], f"said {i}") for i in range(position))
    reference = Utterance("AB"[position % 2], f"said {position}")
    return Sampled(conversation, position, None if conversation == "c0" else "PETS", context, reference, ("yes", "no"))


EVERYTHING = [sampled(f"c{number}", position) for number in range(6) for position in range(1, 6)]


def test_the_middle_context_of_evenly_spaced_conversations() -> None:
    chosen = chosen_contexts(EVERYTHING, 3)
    assert [(one.conversation, one.position) for one in chosen] == [("c0", 3), ("c2", 3), ("c4", 3)]


def test_a_small_corpus_shows_what_it_has() -> None:
    assert [one.conversation for one in chosen_contexts(EVERYTHING, 10)] == [f"c{number}" for number in range(6)]
    assert chosen_contexts(EVERYTHING[:1], 10) == EVERYTHING[:1]


def test_the_table_states_its_rule_and_edits_nothing() -> None:
    table = sample_table(EVERYTHING, 2)
    assert "2 evenly spaced" in table
    assert "## 1. c0, utterance 3, topic unknown" in table
    assert "## 2. c3, utterance 3, topic PETS" in table
    assert "> **A:** said 2" in table
    assert "What B said: said 3" in table
    assert "1. yes\n2. no" in table
