"""What a run says of itself at its end."""

from __future__ import annotations

from typing import Any

import pytest

from dialog_cvae.model_config import ModelConfig
from training.closing import closing_lines
from training.config import FitConfig, TrainConfig
from training.recipes.language import smollm2


def valid(step: int, loss: float, **figures: Any) -> dict[str, Any]:
    healthy = {
        "windows": 9,
        "tokens": 90,
        "reconstruction": loss - 4,
        "kl": 4.0,
        "elbo": -loss,
        "rec_perplexity": 8.0,
        "perplexity_bound": 9.0,
        "active_units": 30,
        "nats_from_z": 2.0,
        "nats_shuffled": 2.0,
        "beta": 1.0,
    }
    return {"kind": "valid", "step": step} | healthy | figures


def closing(
    *records: dict[str, Any],
    config: FitConfig | None = None,
    steps: int = 400,
    total: int | None = None,
    per_epoch: int = 40,
) -> list[str]:
    return closing_lines(
        [{"kind": "train", "step": 1}, *records],
        config or FitConfig(),
        steps,
        total or steps,
        per_epoch,
        sizes_are_fixed=False,
    )


UNUSED = {"kl": 0.05, "nats_from_z": 0.02, "active_units": 0}


def test_a_healthy_run_is_one_line() -> None:
    assert closing(valid(200, 31), valid(300, 30.2), valid(400, 30)) == [
        "best model: step 400, perplexity at most 9.0 a token, KL 4.00 nats"
    ]
    assert closing() == []


def test_a_collapse_names_options_that_are_not_on() -> None:
    _, line = closing(valid(300, 30.2), valid(400, 30, **UNUSED))
    assert "z is not used (it gains 0.02 nats, active units 0 of 200)" in line
    assert "try --model.skip or --bow or --train.free-bits 4 or --beta.cycles 8 or --beta.stop 0.5" in line
    assert len(closing(valid(400, 30, **UNUSED), config=FitConfig(model=ModelConfig(latent_size=0)))) == 1


def test_a_collapse_before_full_beta_names_no_options() -> None:
    low = valid(400, 30, **UNUSED, beta=0.5)
    _, line = closing(low)
    assert line.endswith(
        "by the chance of drawing words; no validation had full beta, 1: first give it a shorter rise, or the run more "
        "steps"
    )
    assert "try --model.skip" in closing(valid(300, 40), low)[1]
    assert "try --model.skip" in closing(low, config=FitConfig(train=TrainConfig(kl_target=3)))[1]


def test_a_language_model_after_few_updates_has_not_collapsed() -> None:
    early = valid(99, 30.77, kl=0.8, nats_from_z=0.08, active_units=0, without_z=29.96)
    first, line = closing(early, config=smollm2(), steps=99, per_epoch=99)
    assert first.endswith("without z it is 0.81 nats a reply better than this bound")
    assert line.startswith("z is hardly used yet, as is normal after 1,584 training replies")
    assert "more of --epochs helps" in line
    _, late = closing(early | {"step": 1_000}, config=smollm2(), steps=1_000, per_epoch=1_000)
    assert "z is not used" in late
    assert "bow" not in late  # is on


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((40, 30, 31), "validation rose again after step 200 (loss 30.00, then 31.00)"),
        ((40, 31, 30), "validation still improved at the end (loss 31.00 at step 200, 30.00 now): more of --max-steps"),
        ((30, 30, 30.1), ""),
    ],
)
def test_the_course_of_the_validation(losses: tuple[float, ...], said: str) -> None:
    records = [valid(100 * number, loss) for number, loss in enumerate(losses, start=1)]
    low = valid(250, 99, beta=0.1)  # a cycle begins: its KL costs nothing yet, and it is no fall
    lines = closing(
        *records[:2], low, records[2], config=FitConfig(train=TrainConfig(max_steps=300)), steps=300, per_epoch=90
    )
    assert [line for line in lines[1:] if said not in line or not said] == []
    assert len(lines) == 1 + bool(said)


def test_less_than_a_pass_is_mentioned() -> None:
    config = smollm2()
    config = config.model_copy(update={"train": config.train.model_copy(update={"max_minutes": 20.0})})
    *_, line = closing(valid(270, 26), config=config, steps=270, per_epoch=450)
    assert line == "the run read 60% of the training replies: more of --max-minutes reads the rest"


@pytest.mark.parametrize(
    ("duration", "total", "option"),
    [
        ({"max_minutes": 20.0, "epochs": 2}, 79, "--max-minutes"),
        ({"max_minutes": 20.0, "epochs": 2}, 80, "--epochs"),  # the minutes were enough for all of them
        ({"max_minutes": 20.0, "max_steps": 300}, 299, "--max-minutes"),
        ({"max_minutes": 20.0, "max_steps": 300}, 300, "--max-steps"),
        ({"max_minutes": 20.0}, 600, "--epochs"),
    ],
)
def test_advice_names_the_option_that_limited_the_run(duration: dict[str, Any], total: int, option: str) -> None:
    records = (valid(step, loss) for step, loss in ((total // 2, 31), (total, 30)))
    *_, line = closing(*records, config=FitConfig(train=TrainConfig(**duration)), steps=total)
    assert line.endswith(f"30.00 now): more of {option} helps")
