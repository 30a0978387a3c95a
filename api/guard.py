"""The guard's setting. The guard refuses replies that may give a person away; see `dialog_cvae.generate.guard`.

Open it to change when the guard is on.
"""

from __future__ import annotations

from api import logs
from api.settings import Settings
from dialog_cvae.generate.guard import Guard
from dialog_cvae.generate.responder import Responder


def set_guard(responder: Responder, settings: Settings) -> None:
    """Give a model its guard if the settings turn it on, and log what the guard knows."""
    common = responder.common
    responder.guard = None
    if not settings.guard:
        return
    responder.guard = Guard(common, lower_case=responder.codec.lower_case)
    if common is None:
        known = "the checkpoint has no list of common words: links, e-mail addresses and long numbers alone are refused"
    else:
        known = (
            f"{len(common.counts)} words and numbers are common, in {common.min_conversations} conversations or more"
        )
    logs.event("guard", state="on", known=known)
