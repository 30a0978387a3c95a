"""What is printed about the coverage of word vectors."""

from __future__ import annotations

import numpy as np

from dialog_cvae.data.vectors import Coverage, WordVectors
from dialog_cvae.types import Conversation, Utterance
from eval.contexts import AnsweredContext
from eval.held_out import HeldOut
from eval.references.multi_reference import ReferenceRow
from eval.vector_coverage import described


def test_missing_words_are_counted_and_a_low_share_is_warned_of() -> None:
    complete = described("glove.6B.50d", 50, Coverage(1_000, 970, (("tv", 20), ("uh", 10))))
    assert complete == [
        "word vectors glove.6B.50d: 50 dimensions, 97.0% of 1,000 tokens; most frequent without a vector: 'tv' 20, "
        "'uh' 10"
    ]
    line, warning = described("mine.txt", 6, Coverage(1_000, 969, tuple((f"w{n}", 1) for n in range(31))))
    assert line.endswith("'w6' 1, 'w7' 1")  # eight are shown
    assert warning.startswith("warning: embedding scores ignore 3.1% of the tokens, which have no vector; below 97% ")
    assert described("mine.txt", 6, Coverage(5, 5, ())) == ["word vectors mine.txt: 6 dimensions, 100.0% of 5 tokens"]


def test_tokens_of_replies_and_of_all_references_are_counted(tmp_path) -> None:
    (tmp_path / "vectors.txt").write_text("yes 1 2\nno 3 4\n")
    said = (Utterance("A", "well"), Utterance("B", "Yes, yes"))
    references = {("1", 1): ReferenceRow(said[:1], "B", ("Yes, yes", "I no"), (None, None))}
    held_out = HeldOut("tiny", "test", [Conversation("1", said)], references, tmp_path / "vectors.txt")
    data = held_out.scoring_data([AnsweredContext("1", 1, None, said[:1], said[1], ("no", "i i"))])
    assert isinstance(data.vectors, WordVectors)
    assert np.array_equal(data.vectors.matrix, [[1, 2], [3, 4]])
    # no, i i; yes , yes; yes , yes, i no
    assert data.coverage == Coverage(11, 6, (("i", 3), (",", 2)))
