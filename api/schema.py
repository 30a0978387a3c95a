"""The base of all bodies of requests and responses.

Open it to change what all bodies refuse.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from api.settings import Settings


class Schema(BaseModel):
    """Base of all bodies: values are not converted, and unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def times(cls, settings: Settings) -> int:
        """A body may have as many JSON items as this number of requests to `/respond`."""
        return 1
