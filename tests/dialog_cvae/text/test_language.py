"""Which text is English."""

import pytest

from dialog_cvae.data.readers import sample
from dialog_cvae.text.language import language_of

GERMAN = (
    "Guten Tag, wo ist mein Paket? Ich habe es vor zwei Wochen bestellt, was kann man da tun? Wir haben das geschickt."
)
DUTCH = "Hallo, waar is mijn pakje? Ik heb het twee weken geleden besteld. Wat was het adres? We hebben het gestuurd."
CHINESE = "你好,我的包裹在哪里?两周前订的。请稍等,我看一下。"


def test_the_sample_is_english() -> None:
    texts = [u.text for conversation in sample.read(conversations=20).train for u in conversation.utterances]
    assert language_of(texts) == "English"
    assert language_of([*texts, *[GERMAN] * (len(texts) // 3)]) == "mixed"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([GERMAN] * 20, "other"),
        ([DUTCH] * 20, "other"),
        ([CHINESE], "other script"),
        (["where is my parcel"], "unknown"),
        (["12 34 :-)"] * 200, "unknown"),
        ([], "unknown"),
    ],
)
def test_other_text(texts: list[str], found: str) -> None:
    assert language_of(texts) == found
