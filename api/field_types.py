"""Types of fields that requests and settings share, with their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from dialog_cvae.config import MAX_TEMPERATURE, MIN_TEMPERATURE


def _representable(temperature: float) -> float:
    """Refuse temperatures between 0 and `MIN_TEMPERATURE`: logits divided by them would overflow float32."""
    if 0.0 < temperature < MIN_TEMPERATURE:
        raise ValueError(f"should be 0 (greedy) or at least {MIN_TEMPERATURE}")
    return temperature


Temperature = Annotated[float, Field(ge=0.0, le=MAX_TEMPERATURE, allow_inf_nan=False), AfterValidator(_representable)]
TopP = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Diversity = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
