"""The base of all bodies of requests and responses."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """Base of all bodies: values are not converted, and unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    times: ClassVar[int] = 1  # as many JSON items may be in a body as in so many requests to /respond
