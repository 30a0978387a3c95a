"""The figures: that what was measured is what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from eval.metrics.probe import Probe
from experiments.plots import charts, curves, latent_maps, style

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were saved."""
    figures: list[Figure] = []
    save = style.save

    def saved(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(style, "save", saved)
    return figures


def records(*values: float | None) -> list[dict[str, Any]]:
    valid = [{"kind": "valid", "step": 10 * i, "elbo": v, "reconstruction": v, "kl": v} for i, v in enumerate(values)]
    return [{"kind": "train", "step": 5, "elbo": 99.0}, *valid]


def test_curves_are_means_over_seeds_with_their_band(drawn, tmp_path):
    curves.draw_curves({"M": [records(1, 2), records(3, 6, 8)], "C": [records(5, None, 7)]}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    (figure,) = drawn
    for axes in figure.axes:
        m, c = axes.get_lines()
        assert m.get_xydata().tolist() == [[0, 2], [10, 4], [20, 8]]
        assert c.get_xydata().tolist() == [[0, 5], [20, 7]]
        band = axes.collections[0].get_paths()[0].vertices
        assert (band[:, 1].min(), band[:, 1].max()) == (1, 8)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["M", "C"]


def test_curves_with_a_bound_show_the_negative_elbo_the_loss_and_the_floor(drawn, tmp_path):
    found = [*records(-5, -3), {"kind": "train", "step": 5, "loss": 2.0}, {"kind": "train", "step": 15, "loss": 1.0}]
    curves.draw_bounded_curves({"M": [found]}, 2.3, tmp_path / "a.png")
    bound, reconstruction, kl = drawn[0].axes
    loss, elbo, floor = (line.get_xydata().tolist() for line in bound.get_lines())
    assert (loss, elbo) == ([[5, 2], [15, 1]], [[0, 5], [10, 3]])
    assert [y for _, y in floor] == [2.3, 2.3]
    assert [text.get_text() for text in bound.get_legend().get_texts()] == ["M", "entropy of the data"]
    low, high = bound.get_ylim()
    assert low == 0
    assert 5 < high < 6  # all that is drawn
    curves.draw_bounded_curves({"M": [records(-2.5, -2.4)]}, 2.3, tmp_path / "b.png")
    assert drawn[1].axes[0].get_ylim() == pytest.approx((0, 1.75 * 2.3))
    for axes in (reconstruction, kl):
        assert axes.get_lines()[0].get_ydata().tolist() == [-5, -3]


def test_a_heat_map_has_its_values_written_in(drawn, tmp_path):
    charts.draw_heat_maps(
        {"KL": [[1.0, float("nan")], [0.25, 3.0]]}, ("M", ["1", "2"]), ("R", ["0.5", "1"]), tmp_path / "a.png"
    )
    (axes,) = drawn[0].axes
    assert {text.get_text(): text.get_position() for text in axes.texts} == {
        "1.00": (0, 0),
        "0.25": (0, 1),
        "3.00": (1, 1),
    }
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("R", "M", "KL")


def test_a_plane_names_each_row(drawn, tmp_path):
    charts.draw_plane({"M": (1.0, 2.0), "C": (3.0, 4.0)}, ("x", "y"), tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert {text.get_text(): text.xy for text in axes.texts} == {"M": (1.0, 2.0), "C": (3.0, 4.0)}


def test_kl_is_sorted_within_each_seed(drawn, tmp_path):
    curves.draw_kl_by_dimension({"M": [np.array([0.1, 3.0]), np.array([1.0, 0.3])]}, tmp_path / "a.png")
    line = drawn[0].axes[0].get_lines()[0]
    assert line.get_xydata() == pytest.approx(np.array([[1, 2.0], [2, 0.2]]))


def test_bars_for_every_row_and_gaps_for_what_it_lacks(drawn, tmp_path):
    rows = {"model": {"a": 2.0, "b": 0.5}, "people": {"a": 3.0}}
    charts.draw_bars(rows, {"a": "first", "b": "second"}, tmp_path / "a.png")
    first, second = drawn[0].axes
    assert [bar.get_width() for bar in first.patches] == [2.0, 3.0]
    assert np.isnan(second.patches[1].get_width())
    assert [label.get_text() for label in first.get_yticklabels()] == ["model", "people"]
    charts.draw_bars(rows, {"a": "first"}, tmp_path / "b.png")  # a single panel


def test_the_map_shows_each_window_once_by_its_label(drawn, tmp_path):
    rng = np.random.default_rng(0)
    labels = [None, *("abcdefghij"[i % 10] for i in range(89))]
    means = {"M": rng.standard_normal((90, 5)), "C": rng.standard_normal((90, 5))}
    latent_maps.draw_latents(means, labels, tmp_path / "a.png")
    for axes in drawn[0].axes:
        counts = {group.get_label(): len(group.get_offsets()) for group in axes.collections}
        assert sum(counts.values()) == 90
        assert len(counts) == latent_maps.NAMED_LABELS + 1
        assert counts["other"] == 1 + 9 + 8  # without a label, and the two rarest of ten
    assert drawn[0].axes[0].get_xlim() == drawn[0].axes[1].get_xlim()


def test_a_map_of_many_windows_shows_a_seeded_choice(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_maps, "POINTS", 12)
    means = {"M": np.random.default_rng(0).standard_normal((90, 3))}
    for seed in (1, 1, 2):
        latent_maps.draw_latents(means, ["a"] * 90, tmp_path / "a.png", seed=seed)
    shown = [figure.axes[0].collections[0].get_offsets().tolist() for figure in drawn]
    assert [len(points) for points in shown] == [12] * 3
    assert shown[0] == shown[1] != shown[2]


def test_a_collapsed_posterior_can_be_drawn(tmp_path):
    latent_maps.draw_latents({"M": np.ones((5, 2), np.float32)}, ["a"] * 5, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def clusters(count: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    return rng.standard_normal((count, 5)) + 30 * classes[:, None], [
        "negative" if one else "positive" for one in classes
    ]


def test_neighbours_stay_together_by_label_and_by_seed(drawn, tmp_path):
    codes, labels = clusters(60)
    means = {"apart": codes, "one point": np.zeros((60, 5))}
    for name in ("a.png", "b.png"):
        latent_maps.draw_neighbours(means, labels, tmp_path / name, points=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    apart, collapsed = drawn[0].axes
    first, second = (np.asarray(each.get_offsets()) for each in apart.collections)
    assert len(first) + len(second) == 40
    within = max(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max())
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > within / 2
    assert [each.get_label() for each in apart.collections] == ["negative", "positive"]
    assert not np.asarray(collapsed.collections[0].get_offsets()).any()


def test_neighbours_of_a_handful_of_sentences(tmp_path):
    codes, labels = clusters(4)
    latent_maps.draw_neighbours({"few": codes}, labels, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_accuracy_against_labels_with_intervals(drawn, tmp_path):
    found = [Probe(100, 5, 0.7, 0.05, 0.65, (0.7,), 0.6), Probe(1_000, 1, 0.9, None, 0.9, (0.9,), 0.6)]
    curves.draw_accuracy({"AE": found}, tmp_path / "a.png")
    (axes,) = drawn[0].axes
    line, *_ = axes.get_lines()
    assert line.get_xydata().tolist() == [[100, 0.7], [1_000, 0.9]]
    (bars,) = axes.collections
    assert bars.get_segments()[0][:, 1].tolist() == pytest.approx([0.65, 0.75])
    assert bars.get_segments()[1][:, 1].tolist() == pytest.approx([0.9, 0.9])
    assert axes.get_lines()[-1].get_ydata()[0] == 0.6
