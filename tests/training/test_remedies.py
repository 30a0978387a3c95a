"""Each remedy against posterior collapse, compared with its equation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dialog_cvae
from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.nn.distributions import kl, sample
from dialog_cvae.types import Conversation, ElboTerms, Utterance
from eval import dialog
from tests.training.processes import together
from tests.training.tiny_runs import Fit, assert_same_run, metrics
from training import arguments
from training.adam import GuardedAdam
from training.batch import Batch
from training.config import FitConfig, TrainConfig
from training.dialog_batches import DialogBatches
from training.loop import restart
from training.objectives import kl_at_least, weighted
from training.phases import Control, Phase, Trained, beta_warnings, phase
from training.schedules import BetaSchedule, beta
from training.state import load_progress
from training.update import update


def _batch(encoded: EncodedCorpus, model: CVAE, **fields: Any) -> tuple[Batch, TrainConfig]:
    config = TrainConfig.model_validate({"batch_size": 6} | fields)
    return next(DialogBatches(encoded, config, model.config).from_step(0)), config


def test_free_bits_are_the_maximum_by_example_or_by_dimension() -> None:
    divergence = torch.tensor([[0.5, 3.0], [0.2, 0.1], [2.0, 2.0]], requires_grad=True)
    assert kl_at_least(divergence, 1.0).tolist() == [1 + 3, 1 + 1, 2 + 2]
    assert kl_at_least(divergence.sum(-1), 1.0).tolist() == pytest.approx([3.5, 1.0, 4.0])
    (gradient,) = torch.autograd.grad(kl_at_least(divergence, 1.0).sum(), divergence)
    assert gradient.tolist() == [[0, 1], [0, 0], [1, 1]]  # a KL within its free bits has no gradient
    (gradient,) = torch.autograd.grad(kl_at_least(divergence.sum(-1), 1.0).sum(), divergence)
    assert gradient.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_free_bits_change_the_loss_and_records_have_the_kl_itself() -> None:
    nothing = torch.zeros(2)
    terms = ElboTerms(torch.tensor([10.0, 20.0]), torch.tensor([1.0, 4.0]), None, nothing)
    objective = weighted(terms, 0.5, 1.0, 2, 2.0)
    assert float(objective.loss) == 15 + 0.5 * (2 + 4) / 2
    assert float(objective.parts["kl"]) == 2.5
    by_dimension = terms._replace(kl=torch.tensor([[0.5, 0.5], [1.0, 3.0]]))
    objective = weighted(by_dimension, 0.5, 1.0, 2, 2.0, "dimension")
    assert float(objective.loss) == 15 + 0.5 * (2 + 2 + 2 + 3) / 2
    assert float(objective.parts["kl"]) == 2.5


@pytest.mark.parametrize("kind", ["total", "dimension"])
def test_an_update_minimises_the_loss_with_free_bits(tiny_model: CVAE, encoded: EncodedCorpus, kind: str) -> None:
    batch, config = _batch(encoded, tiny_model, free_bits=0.7, free_bits_in=kind, clip_norm=1e9)
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.0)
    loss = float(update(tiny_model, optimiser, batch, config, 0.5)[0])
    found = {name: each.grad.clone() for name, each in tiny_model.named_parameters() if each.grad is not None}
    (part,) = batch.parts
    terms, state = tiny_model(part.windows, part.noise), tiny_model.encode(part.windows)
    divergence = kl(tiny_model.posterior(state), tiny_model.prior(state.condition))
    limited = divergence if kind == "dimension" else divergence.sum(-1, keepdim=True)
    free = torch.where(limited > 0.7, limited, torch.tensor(0.7)).sum(-1)
    assert terms.bag_of_words is not None
    expected = (terms.reconstruction + 0.5 * free + terms.bag_of_words).mean()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    tiny_model.zero_grad()
    expected.backward()  # type: ignore[no-untyped-call]
    for name, parameter in tiny_model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_dropout_acts_on_the_decoders_inputs_and_before_the_softmax(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    batch, _ = _batch(encoded, tiny_model, dropout=0.4)
    (part,) = batch.parts
    dropout = batch.extras[0].dropout
    assert dropout is not None
    found = tiny_model(part.windows, part.noise, dropout).reconstruction
    terms, decoder = tiny_model.encode(part.windows), tiny_model.decoder
    z = sample(tiny_model.posterior(terms), part.noise)
    for row, length in enumerate(part.windows.target_lengths.tolist()):
        state = decoder.initial_state(terms.condition[row : row + 1], z[row : row + 1])[None]
        loss = 0.0
        for step in range(length):  # one token at a time
            word = tiny_model.embedding(part.windows.inputs[row, step]) * dropout.inputs[row, step]
            output, state = decoder.gru(word[None, None], state)
            logits = decoder.output(output[0, 0] * dropout.outputs[row, step])
            loss -= float(torch.log_softmax(logits, -1)[part.windows.targets[row, step]])
        assert float(found[row]) == pytest.approx(loss, rel=1e-4)


def test_dropout_zeroes_its_share_keeps_the_mean_and_is_a_function_of_seed_and_step(
    tiny_model: CVAE, encoded: EncodedCorpus
) -> None:
    config = TrainConfig(batch_size=30, dropout=0.25)
    batches = DialogBatches(encoded, config, tiny_model.config).from_step(0)
    first, second = next(batches).extras[0].dropout, next(batches).extras[0].dropout
    assert first is not None
    assert second is not None
    for multipliers in first:
        assert sorted(multipliers.unique().tolist()) == pytest.approx([0, 4 / 3])
        assert float((multipliers == 0).float().mean()) == pytest.approx(0.25, abs=0.06)
    again = next(DialogBatches(encoded, config, tiny_model.config).from_step(1)).extras[0].dropout
    assert again is not None
    assert all(torch.equal(one, other) for one, other in zip(second, again, strict=True))
    assert not torch.equal(first.inputs[:5, :2], second.inputs[:5, :2])


def test_dropout_does_not_depend_on_how_a_batch_is_divided(tiny_model: CVAE, encoded: EncodedCorpus) -> None:
    losses = []
    for parts in (1, 3):
        batch, config = _batch(encoded, tiny_model, dropout=0.5, accumulation=parts)
        losses.append(float(update(tiny_model, GuardedAdam(tiny_model.parameters(), lr=0.0), batch, config, 1.0)[0]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_run_with_remedies_resumes_bit_for_bit(fit: Fit, kill_at: Callable[..., None], corpus_file: Path) -> None:
    options = ("--train.dropout", 0.3, "--train.free-bits", 0.2, "--train.free-bits-in", "dimension")
    options += ("--model.skip", "--model.posterior-norm", 0.5, "--bow")
    assert fit("--out", "whole", *options).status == 0
    kill_at(6, "--out", "run", *options)
    assert fit("--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), Path("whole"))
    talk = Conversation("c", (Utterance("A", "you and me"), Utterance("B", "cats now")))
    replies = [
        dialog_cvae.load("run/best", engine=engine).respond(talk, respond_as="A", n=3, seed=1)
        for engine in ("onnx", "torch")
    ]
    assert [reply.text for reply in replies[0]] == [reply.text for reply in replies[1]]
    asked = ["run/best", "--data", str(corpus_file), "--samples", "2", "--max-tokens", "6", "--out", "scores"]
    assert dialog.main(asked) == 0
    scores = json.loads(Path("scores/metrics.json").read_text())
    assert scores["kl"] > 0
    assert fit("--out", "more", "--init", "run/best", *options).status == 0


def test_a_posterior_is_normalised_over_whole_batches_only(
    fit: Fit, corpus_file: Path, config_file: Path, tmp_path: Path
) -> None:
    refused = fit("--out", "run", "--model.posterior-norm", 0.5, "--train.accumulation", 2)
    assert "train.accumulation must be 1, but is 2" in refused.complaint
    options = ["--data", corpus_file, "--config", config_file, "--model.posterior-norm", 0.5, "--out", "run"]
    lead, _ = together(2, options)
    assert lead.status == 2
    assert "a whole batch, which must be in one process, but there are 2" in lead.error
    assert not (tmp_path / "run" / "best").exists()


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--train.dropout", 1.0, "train.dropout: Input should be less than 1"),
        ("--train.free-bits", -1, "train.free_bits: Input should be greater than or equal to 0"),
    ],
)
def test_a_remedy_out_of_its_range_is_refused(fit: Fit, option: str, value: float, complaint: str) -> None:
    assert fit("--out", "run", option, value).complaint.startswith(complaint)


def test_an_autoencoder_comes_first_then_the_decoder_restarts_and_beta_rises() -> None:
    config, schedule = TrainConfig(autoencoder_share=0.3), BetaSchedule(kind="monotonic", ratio=0.5)
    found = [phase(config, schedule, step, 20) for step in range(1, 21)]
    assert found[:6] == [Phase(0.0, samples=False)] * 6
    assert [each.beta for each in found[6:]] == [beta(schedule, step, 14) for step in range(1, 15)]
    assert [each.restarts for each in found] == [step == 7 for step in range(1, 21)]
    assert all(each.samples for each in found[6:])
    assert not any(phase(TrainConfig(autoencoder_share=1), schedule, step, 20).restarts for step in range(1, 21))
    assert not any(phase(TrainConfig(), schedule, step, 20).restarts for step in range(1, 21))


def test_the_decoder_lags_behind_for_its_share_of_the_run() -> None:
    config, schedule = TrainConfig(lagging_updates=2, lagging_share=0.5), BetaSchedule()
    trained = [phase(config, schedule, step, 14).trained for step in range(1, 15)]
    assert trained == ["inference", "inference", "generation"] * 2 + ["inference"] + ["all"] * 7


@pytest.mark.parametrize("trained", ["inference", "generation"])
def test_a_partial_update_does_not_change_other_weights_and_moments(
    tiny_model: CVAE, encoded: EncodedCorpus, trained: Trained
) -> None:
    batch, config = _batch(encoded, tiny_model)
    update(tiny_model, GuardedAdam(tiny_model.parameters(), lr=0.0), batch, config, 1.0)
    learnt = {name for name, each in tiny_model.named_parameters() if each.grad is not None and each.grad.any()}
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.1)
    before = {name: each.clone() for name, each in tiny_model.named_parameters()}
    update(tiny_model, optimiser, batch, config, 1.0, trained=trained)
    changed = {name for name, each in tiny_model.named_parameters() if not torch.equal(each, before[name])}
    phi = {name for name in before if name.startswith("recognition_network")}
    assert phi
    assert phi < learnt
    assert changed == (phi if trained == "inference" else learnt - phi)
    moved = {name for name, each in tiny_model.named_parameters() if each in optimiser.state}
    assert moved == changed


def test_the_controller_follows_its_equation_and_stays_within_its_limits() -> None:
    config = TrainConfig(kl_target=3.0, control_p=0.5, control_i=0.1)
    first = Control().after(5.0, config, 1.0)  # e = -2: I = 0.2, P = 0.5 / (1 + exp(-2))
    assert first == pytest.approx((0.2, 0.2 + 0.5 / (1 + math.exp(-2))))
    second = first.after(3.5, config, 1.0)
    assert second == pytest.approx((0.25, 0.25 + 0.5 / (1 + math.exp(-0.5))))
    state = second
    for _ in range(50):
        state = state.after(9.0, config, 1.0)
    assert state.beta == 1.0
    assert state.integral <= 1.0
    for _ in range(3):  # having stood at the limit it comes back at once
        state = state.after(1.0, config, 1.0)
    assert state.beta < 0.7
    for _ in range(50):
        state = state.after(0.0, config, 1.0)
    assert 0 <= state.beta < 0.03
    assert Control().after(0.0, TrainConfig(kl_target=1e6), 1.0).beta == 0.0  # no overflow


def test_the_controller_brings_the_kl_of_a_plant_to_its_target() -> None:
    config = TrainConfig(kl_target=4.0, control_p=0.01, control_i=0.002)
    state, kl = Control(), 10.0
    for _ in range(5_000):  # a KL that follows beta as a VAE's does: the less, the higher beta
        kl += 0.05 * (10 * math.exp(-3 * state.beta) - kl)
        state = state.after(kl, config, 1.0)
    assert kl == pytest.approx(4.0, abs=0.05)


def test_the_controller_does_not_wind_up_while_the_schedule_holds_beta_down() -> None:
    config = TrainConfig(kl_target=4.0, control_p=0.01, control_i=0.002)
    schedule = BetaSchedule(kind="cyclical", cycles=4)
    state, kl, least = Control(), 10.0, []
    for step in range(1, 20_001):
        limit = beta(schedule, step, 20_000)
        kl += 0.05 * (10 * math.exp(-3 * min(limit, state.beta)) - kl)
        state = state.after(kl, config, limit)
        least += [kl] if step > 5_000 else []  # from the second cycle on
    assert min(least) > 3.8


def test_the_controller_of_a_run_is_limited_by_the_schedule_of_each_update(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    def after(self: Control, kl: float, config: TrainConfig, limit: float) -> Control:
        limits.append(limit)
        return Control(1.0, 1.0)

    monkeypatch.setattr(Control, "after", after)
    options = ("--train.kl-target", 4, "--schedule", "monotonic", "--beta.ratio", 1, "--max-steps", 6)
    assert fit("--out", "run", *options).status == 0
    schedule = BetaSchedule(kind="monotonic", ratio=1)
    assert limits == [beta(schedule, step, 6) for step in range(1, 7)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--train.lagging-updates", 2),
        ("--train.svi.steps", 2),
        ("--train.kl-target", 2.0),
        ("--train.autoencoder-share", 0.5),
        ("--model.posterior-norm", 0.5),
    ],
)
def test_what_is_about_z_needs_one(fit: Fit, option: str, value: float) -> None:
    refused = fit("--out", "run", option, value, "--model.latent-size", 0).complaint
    name = option.removeprefix("--model.").removeprefix("--").replace("-", "_")
    assert f"latent_size must be at least 1 with {name} {value}, but is 0" in refused


def test_a_restarted_decoder_is_new_and_the_rest_is_unchanged(tiny_model: CVAE) -> None:
    optimiser = GuardedAdam(tiny_model.parameters(), lr=0.1)
    sum(parameter.square().sum() for parameter in tiny_model.parameters()).backward()  # type: ignore[union-attr]
    optimiser.step()
    with torch.no_grad():
        tiny_model.embedding.weight[0] = 0  # as in every model that was not filled with noise
    before = {name: each.clone() for name, each in tiny_model.named_parameters()}
    restart(tiny_model, optimiser, 3)
    after = {name: each.detach().clone() for name, each in tiny_model.named_parameters()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith(("decoder.", "bow_head."))}
    assert float(after["decoder.output.weight"].abs().max()) <= 0.08  # as the configuration starts it
    assert {name for name, each in tiny_model.named_parameters() if each not in optimiser.state} == changed
    restart(tiny_model, optimiser, 3)
    assert all(torch.equal(each, after[name]) for name, each in tiny_model.named_parameters())


@pytest.mark.parametrize(
    "options",
    [
        ("--train.kl-target", 0.5, "--train.control-i", 0.1),
        ("--train.autoencoder-share", 0.4),
        ("--train.lagging-updates", 2, "--train.lagging-share", 0.7),
        ("--train.autoencoder-share", 1.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("recipe", [(), ("--recipe", "toy", "--data", "toy", "--train.keep-posteriors", 4)], ids=str)
def test_a_run_with_phases_resumes_bit_for_bit(
    fit: Fit, kill_at: Callable[..., None], options: tuple[object, ...], recipe: tuple[object, ...]
) -> None:
    assert fit(*recipe, *options, "--out", "whole").status == 0
    kill_at(6, *recipe, *options, "--out", "run")
    assert fit(*recipe, *options, "--out", "run", "--resume").status == 0
    assert_same_run(Path("run"), Path("whole"))
    if recipe:
        assert Path("run/latents.jsonl").read_bytes() == Path("whole/latents.jsonl").read_bytes()
        assert len(Path("run/latents.jsonl").read_text().splitlines()) == 4


def test_validations_of_an_autoencoder_at_the_start_do_not_count(fit: Fit) -> None:
    options = ("--train.autoencoder-share", 0.75, "--beta.cycles", 1, "--train.early-stopping", "--train.patience", 1)
    done = fit(*options, "--out", "run")
    assert [record["step"] for record in metrics(Path("run"), "valid")] == [3, 6, 9, 12]
    progress, best = load_progress(Path("run")), json.loads(Path("run/best/metrics.json").read_text())
    assert (progress.step, progress.stopping.done) == (12, 1)
    assert best["step"] == 12
    assert -progress.stopping.best == best["elbo"]
    assert done.out.count("(best so far)") == 1
    assert "\nbest model: step 12, " in done.out


def test_the_controller_waits_for_the_end_of_an_autoencoder(fit: Fit) -> None:
    controlled = ("--train.kl-target", 0.001, "--beta.kind", "constant")
    assert fit("--train.autoencoder-share", 0.75, *controlled, "--out", "run").status == 0
    betas = [record["beta"] for record in metrics(Path("run"), "train")]
    assert betas[:10] == [0.0] * 10  # 9 updates of the autoencoder, and the first by the controller


def test_cycles_that_do_not_fit_after_an_autoencoder_are_refused_at_the_start(fit: Fit) -> None:
    complaint = fit("--train.autoencoder-share", 0.9, "--out", "run").complaint
    message = "beta, after the autoencoder: cycles must be at most the total number of steps, 1, but is 4 "
    assert complaint.startswith(message)
    assert not Path("run").exists()
    assert fit("--train.autoencoder-share", 1, "--max-steps", 2, "--out", "run").status == 0  # without beta, no cycles


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ((), None),
        (("--beta.cycles", 12), "0 in these 12 steps, not to 1: give fewer --beta.cycles, or more steps"),
        (("--beta.cycle-steps", 48), "0.46 in these 12 steps, not to 1: give a smaller --beta.cycle-steps"),
        (
            ("--beta.kind", "monotonic", "--beta.warmup-steps", 20),
            "0.55 in these 12 steps, not to 1: give fewer --beta.w",
        ),
        (("--beta.kind", "monotonic", "--beta.ratio", 1), "0.92 in these 12 steps, not to 1: give a smaller --beta.r"),
        (("--train.autoencoder-share", 0.67), "0 in these 4 steps, not to 1: give fewer --beta.cycles"),
        (("--train.autoencoder-share", 1), None),
        (("--model.latent-size", 0, "--beta.cycles", 12), None),
    ],
)
def test_a_beta_that_does_not_rise_fully_is_warned_of(options: tuple[object, ...], warning: str | None) -> None:
    config = arguments.layered(FitConfig(), arguments.parse([str(word) for word in options]))
    found = beta_warnings(config, 12)
    assert len(found) == bool(warning)
    if warning:
        assert found[0].startswith(f"beta rises to at most {warning}")


def test_an_autoencoder_has_no_noise_and_is_scored_by_its_reconstruction(fit: Fit) -> None:
    options = ("--train.autoencoder-share", 1.0, "--out", "run")
    assert fit(*options).status == 0
    assert {record["beta"] for record in metrics(Path("run"), "train")} == {0.0}
    best = min(record["reconstruction"] for record in metrics(Path("run"), "valid"))
    assert load_progress(Path("run")).stopping.best == pytest.approx(best)
