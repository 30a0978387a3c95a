"""Texts for tests of tokenizers: ordinary ones, and ones with every character that is easily lost."""

CHAT = ("I'm fine, thanks.", "uh-huh", "How are you doing today?", "The cat's name is Zoë.", "how ARE you?")
NASTY = (
    "▁ a▁b ▅ x▅y \0 a\0b \x1f q\x1fr \ufeff \u2028 \u00a0 \u200b ⁇ <0x41> <s> </s> <d> <pad> < s >",
    "日本語のテキスト हिन्दी naïve e\u0301 ½ x² 🙂👩‍👩‍👧 İstanbul ß ﬁ ＡＢＣ",
    "tabs\tand\nnewlines\r\n  and   runs ",
    "",
    "   ",
)
