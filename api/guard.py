"""Which replies are refused, by the settings: those with a blocked word, and those that may give a person away.

Open it to change when the guard is on. See `api.word_filter` for the words and `dialog_cvae.generate.guard` for the
guard.
"""

from __future__ import annotations

from collections.abc import Callable

from api import logs
from api.settings import Settings
from dialog_cvae.generate.guard import Guard
from dialog_cvae.generate.responder import Responder


def set_refusals(responder: Responder, settings: Settings, accepts: Callable[[str], bool] | None) -> None:
    """Give a model the word filter and the guard.

    Args:
        responder: the model.
        settings: say whether the guard is on.
        accepts: the word filter, see `api.word_filter.configured_filter`.
    """
    responder.accepts = accepts
    set_guard(responder, settings)


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
