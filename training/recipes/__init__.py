"""Recipes: each is a function that returns a full configuration; a variant changes a field of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from training.config import FitConfig
from training.recipes import dialog, language, sentences

RECIPES: Mapping[str, Callable[[], FitConfig]] = {
    "paper": dialog.paper,
    "released": dialog.released,
    "small": dialog.small,
    "glove100": dialog.glove100,
    "sample": dialog.sample,
    "smollm2": language.smollm2,
    "toy": sentences.toy,
    "ptb": sentences.ptb,
    "ptb-small": sentences.ptb_small,
    "yelp": sentences.yelp,
    "yelp-small": sentences.yelp_small,
}
