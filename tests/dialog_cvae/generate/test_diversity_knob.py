"""`decoding_for`: its values at both ends and between, and the settings that it does not change."""

from __future__ import annotations

import pytest

from dialog_cvae.config import Decoding
from dialog_cvae.errors import ConfigError
from dialog_cvae.generate.decoding import decoding_for, nearest_diversity

BASE = Decoding(0.3, 0.95, 25, candidates=48)


@pytest.mark.parametrize(
    ("diversity", "temperature", "prior"),
    [(0.0, 0.0, 0.4), (0.001, 0.0, 0.4008), (0.5, 0.4, 0.8), (0.75, 0.6, 1.0), (1.0, 0.8, 1.2)],
)
def test_written_out_values(diversity: float, temperature: float, prior: float):
    chosen = decoding_for(diversity, BASE)
    assert chosen.temperature == pytest.approx(temperature)
    assert chosen.prior_temperature == pytest.approx(prior)
    assert (chosen.top_p, chosen.max_tokens, chosen.candidates) == (0.95, 25, 48)


def test_replies_are_selected_even_where_the_checkpoint_does_not():
    assert decoding_for(0.5, Decoding()).candidates == 32


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_out_of_range(diversity: float):
    with pytest.raises(ConfigError, match=f"^diversity must be from 0 to 1, but is {diversity}$"):
        decoding_for(diversity, BASE)


@pytest.mark.parametrize(("temperature", "diversity"), [(0.0, None), (0.4, 0.5), (0.8, 1.0), (2.0, 1.0)])
def test_the_nearest_diversity_has_the_same_temperature(temperature: float, diversity: float | None):
    assert nearest_diversity(Decoding(temperature)) == diversity
