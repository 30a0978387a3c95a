"""Types of fields with their limits, for settings and for the bodies of requests.

Open it to change what is readable text, or what a name or a number may be in every request.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from dialog_cvae.config import MAX_TEMPERATURE, MIN_TEMPERATURE
from dialog_cvae.limits import MAX_SPEAKER_CHARS, normal, visible

MAX_SEED = 2**63 - 1
MAX_MODEL_CHARS = 200  # longest name of a model
MAP_EDGE = 6.0  # standard deviations of the prior; values of z in training are within it
READABLE_CONTROLS = "\t\n\r"


def _representable(temperature: float) -> float:
    """Refuse temperatures between 0 and `MIN_TEMPERATURE`: logits divided by them would overflow float32."""
    if 0.0 < temperature < MIN_TEMPERATURE:
        raise ValueError(f"should be 0 (greedy) or at least {MIN_TEMPERATURE}")
    return temperature


def readable(text: str) -> str:
    """The text in Unicode's normal form C.

    Control characters, lone surrogates, and text without any visible character are refused.
    """
    categories = {char: unicodedata.category(char) for char in set(text)}
    for char, category in categories.items():
        if category == "Cs" or (category == "Cc" and char not in READABLE_CONTROLS):
            raise PydanticCustomError(
                "unreadable_character",
                "should have no control characters or lone surrogates, has U+{code} at character {position}",
                {"code": f"{ord(char):04X}", "position": text.index(char)},
            )
    if not visible(text):
        raise PydanticCustomError("blank", "should have at least one visible character")
    return normal(text)


def _whole(number: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Temperature = Annotated[float, Field(ge=0.0, le=MAX_TEMPERATURE, allow_inf_nan=False), AfterValidator(_representable)]
TopP = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Diversity = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
WHOLE = BeforeValidator(_whole)
Text = Annotated[str, AfterValidator(readable)]
Coordinate = Annotated[float, Field(ge=-MAP_EDGE, le=MAP_EDGE, allow_inf_nan=False)]
Speaker = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SPEAKER_CHARS), AfterValidator(readable)
]
