"""The fit command: learning, schedules at each step, and the files of a run."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import dialog_cvae
from dialog_cvae.config import DataConfig, Decoding
from dialog_cvae.data.common_words import CommonWords, said_in
from dialog_cvae.data.corpora import load_corpus, load_split
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.types import Conversation, Utterance
from tests.training.tiny_runs import CONFIG, Fit, conversation, metrics, state, without_report, write_corpus
from training import fit as command_line
from training import loop
from training.best import trained_on
from training.model_card import OWN_LICENCE, joint_licence
from training.schedules import BetaSchedule, LearningRateSchedule, beta, learning_rate
from training.state import load_progress

KillAt = Callable[..., None]


def _memorable() -> list[dict[str, object]]:
    """The same three conversations for training and for validation: topic and context determine the response."""
    scripts = [("hello", "who are you", "a cat", "bye"), ("rain again", "no sun", "so cold"), ("dogs", "i like dogs")]
    spoken = [[{"speaker": "AB"[i % 2], "text": text} for i, text in enumerate(script)] for script in scripts]
    return [
        {"topic": f"T{number}", "utterances": utterances, "split": split}
        for split in ("train", "valid", "test")
        for number, utterances in enumerate(spoken)
    ]


@pytest.mark.parametrize("bow", ["--bow", "--no-bow"])
def test_a_tiny_set_is_memorised(raw_fit: Fit, bow: str) -> None:
    sizes = {name.replace("_size", ""): 24 for name in CONFIG["model"]}
    config = {
        "model": {f"{name}_size": size for name, size in sizes.items()},
        "train": CONFIG["train"] | {"max_steps": 150, "batch_size": 9, "validate_every": 50, "condition_dropout": 0},
        "learning_rate": {"peak": 0.03},
    }
    Path("config.json").write_text(json.dumps(config))
    corpus = write_corpus(Path("mine.jsonl"), _memorable())
    assert raw_fit("--data", corpus, "--config", "config.json", bow, "--out", "run").status == 0
    first, last = metrics(Path("run"), "train")[0], metrics(Path("run"), "train")[-1]
    assert first["reconstruction"] > 5
    assert last["reconstruction"] < 0.1
    assert ("bag_of_words" in last) == (bow == "--bow")
    if bow == "--bow":
        assert last["bag_of_words"] < 0.5 * first["bag_of_words"]
    assert metrics(Path("run"), "valid")[-1]["reconstruction"] < 0.1
    reply = dialog_cvae.load("run/best").respond(
        Conversation("c", (Utterance("A", "hello"), Utterance("B", "who are you")), "T0"), respond_as="A", n=1
    )
    assert reply[0].text.lower().rstrip(".") == "a cat"


def test_a_decoder_without_z_can_be_fitted(fit: Fit) -> None:
    model = ("--model.latent-size", 0, "--bow")
    done = fit(*model, "--beta.kind", "constant")
    assert done.status == 0
    assert "warning" not in done.out
    (run,) = Path("runs").iterdir()
    assert run.name == "mine-hred-bow-constant-seed0"
    kept = Checkpoint.load(run / "best")
    assert (kept.config.model.latent_size, kept.metrics["kl"], kept.metrics["active_units"]) == (0, 0.0, 0)
    assert kept.card.startswith("# Decoder without z with bag-of-words loss fitted on mine")
    assert all(record["kl"] == 0 for record in metrics(run, "train"))
    assert metrics(run, "train")[-1]["loss"] < metrics(run, "train")[0]["loss"]
    assert fit(*model, "--init", run / "best", "--out", "again").status == 0


def test_replies_of_one_speaker_alone_are_fitted_and_stored(fit: Fit, raw_fit: Fit, corpus_file: Path) -> None:
    done = fit("--respond-as", "b", "--beta.kind", "constant", "--max-steps", 2, "--out", "run")
    assert done.status == 0
    said = [u["speaker"] for line in corpus_file.read_text().splitlines() for u in json.loads(line)["utterances"]]
    assert int(re.search(r"(\d+) windows", done.out)[1]) < said.count("B") < len(said)
    kept, card = Checkpoint.load("run/best").config, Checkpoint.load("run/best").card
    assert "Fitted on: mine, replies of B alone;" in card
    assert kept.respond_as == ("B",)
    assert kept.provenance.fit["corpus"]["respond_as"] == ["b"]
    assert raw_fit("--out", "run", "--resume").status == 0
    refused = raw_fit("--out", "run", "--resume", "--respond-as", "A")
    assert (refused.status, "respond_as" in refused.error) == (2, True)
    refused = fit("--respond-as", "agent", "--out", "other")
    assert (refused.status, "'agent'; it has A" in refused.error) == (2, True)


def test_roles_are_learnt_stored_kept_by_init_and_resumed(fit: Fit, raw_fit: Fit, at_step: Callable[..., None]) -> None:
    roles = ("--model.role-size", 3, "--beta.kind", "constant", "--max-steps", 3, "--train.save-every", 1)
    at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert fit(*roles, "--out", "run").status == 130
    assert raw_fit("--out", "run", "--resume").status == 0
    checkpoint = Checkpoint.load("run/best")
    names = checkpoint.config.roles
    assert (sorted(names), checkpoint.weights["role.weight"].shape) == (["A", "B"], (3, 3))
    assert f"topics; roles {names[0]}, {names[1]};" in checkpoint.card
    again = fit("--init", "run/best", "--beta.kind", "constant", "--max-steps", 1, "--out", "again")
    assert (again.status, Checkpoint.load("again/best").config.roles) == (0, names)
    refused = fit("--init", "run/best", "--model.role-size", 4, "--out", "other")
    assert "model.role_size: the checkpoint of --init has 3, but 4 was asked for" in refused.error
    Path("run/roles.json").write_text('["A", "a"]')
    assert "run/roles.json: broken (" in raw_fit("--out", "run", "--resume").error


def test_schedules_are_applied_at_each_step(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    original = loop.update

    def update(model: object, optimiser: torch.optim.Adam, *args: object) -> object:
        rates.extend(group["lr"] for group in optimiser.param_groups)
        return original(model, optimiser, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "update", update)
    options = ("--beta.shape", "cosine", "--beta.cycles", 2, "--learning-rate.kind", "cosine_restarts")
    assert fit("--out", "run", *options, "--learning-rate.cycles", 3).status == 0
    rise = BetaSchedule(shape="cosine", cycles=2)
    restarts = LearningRateSchedule(kind="cosine_restarts", cycles=3)
    records = metrics(Path("run"), "train")
    assert [record["step"] for record in records] == list(range(1, 13))
    assert [record["beta"] for record in records] == [beta(rise, t, 12) for t in range(1, 13)]
    assert rates == [learning_rate(restarts, t, 12) for t in range(1, 13)] == [r["learning_rate"] for r in records]
    for record in records:
        assert record["loss"] == pytest.approx(record["reconstruction"] + record["beta"] * record["kl"], rel=1e-6)


def test_bag_of_words_loss_is_weighted_and_never_annealed(fit: Fit) -> None:
    assert fit("--out", "run", "--bow", "--train.bow-weight", 0.25).status == 0
    for record in metrics(Path("run"), "train"):
        expected = record["reconstruction"] + record["beta"] * record["kl"] + 0.25 * record["bag_of_words"]
        assert record["loss"] == pytest.approx(expected, rel=1e-6)


def test_early_stopping_never_rescales_the_schedule(fit: Fit, whole_run: Path) -> None:
    stopped = fit("--out", "run", "--train.early-stopping", "--train.patience", 2)
    assert "stopped early" in stopped.out
    ours, theirs = metrics(Path("run"), "train"), metrics(whole_run, "train")
    assert len(ours) < len(theirs)
    assert ours == theirs[: len(ours)]
    progress = load_progress(Path("run"))
    assert (progress.step, progress.total_steps, progress.finished) == (6, 12, True)


def test_patience_may_count_only_validations_at_full_beta(fit: Fit) -> None:
    # Two cycles of 6 steps: beta is 0, 0.33 and 0.67 in steps 1 to 3, then 1.
    options = ("--beta.cycles", 2, "--train.validate-every", 1, "--train.early-stopping", "--train.patience", 2)
    options = (*options, "--learning-rate.peak", 1e-9)  # without progress
    assert fit("--out", "all", *options, "--no-train.patience-at-full-beta").status == 0
    assert fit("--out", "full", *options).status == 0  # as in the recipe paper
    assert [load_progress(Path(out)).step for out in ("all", "full")] == [2, 5]
    assert load_progress(Path("full")).stopping.done == 2
    best = json.loads(Path("full/best/metrics.json").read_text())
    assert best["elbo"] == max(record["elbo"] for record in metrics(Path("full"), "valid"))


def test_a_run_begins_with_the_warning_about_beta(fit: Fit, whole_run: Path) -> None:
    done = fit("--beta.cycles", 12, "--max-steps", 12, "--out", "run")
    assert done.out.index("warning: beta rises to at most 0") < done.out.index("step 3: ")
    assert "--beta.cycles 24" not in done.out
    assert fit("--out", whole_run, "--resume").out.count("beta rises") == 0


def test_the_best_checkpoint_has_the_best_validation(fit: Fit, whole_run: Path, corpus_file: Path) -> None:
    records = metrics(whole_run, "valid")
    assert [record["step"] for record in records] == [3, 6, 9, 12]
    assert all(r["elbo"] == pytest.approx(-(r["reconstruction"] + r["kl"]), rel=1e-9) for r in records)
    best = max(records, key=lambda record: record["elbo"])
    kept = Checkpoint.load(whole_run / "best")
    assert kept.metrics["step"] == best["step"] == kept.config.provenance.step
    assert kept.metrics["elbo"] == best["elbo"]
    assert kept.config.provenance.fit["train"]["max_steps"] == 12
    assert "mine" in kept.config.provenance.data
    assert kept.common is not None
    train = load_split(DataConfig(name=str(corpus_file)), "train")[1]
    assert kept.common == CommonWords.of(said_in(train))
    assert kept.trained is not None
    assert kept.trained.to_bytes() == TrainedConversations.of(train).to_bytes()


def test_splits_that_a_file_names_cannot_move(fit: Fit) -> None:
    lines = [conversation(i) | {"split": ("train", "valid", "test")[i % 3]} for i in range(12)]
    assert fit("--data", write_corpus(Path("named.jsonl"), lines), "--out", "run").status == 0
    assert Checkpoint.load("run/best").trained is None


def test_a_fine_tuned_model_says_what_its_checkpoint_was_trained_on(fit: Fit, whole_run: Path, kill_at: KillAt) -> None:
    base = Checkpoint.load(whole_run / "best").trained
    assert base is not None
    grown = write_corpus(Path("grown.jsonl"), [conversation(i) for i in range(40)])
    corpus = load_corpus(DataConfig(name=str(grown), valid_share=0.4))
    seen = int(base.contain(list(corpus.valid)).sum())
    assert seen
    options = ("--data", grown, "--corpus.valid-share", 0.4, "--out", "run")
    kill_at(5, *options, "--init", whole_run / "best")
    done = fit(*options, "--resume")
    assert f"warning: the checkpoint of --init was trained on {seen} of the {len(corpus.valid)} validation" in done.out
    kept = Checkpoint.load("run/best").trained
    assert kept is not None
    assert kept.to_bytes() == (base | TrainedConversations.of(corpus.train)).to_bytes()
    Path("run/trained_before.safetensors").write_bytes(b"{}")
    complaint = fit(*options, "--resume").complaint
    assert complaint.startswith("run/trained_before.safetensors: not a readable safetensors file")


def test_no_output_contains_the_users_folders(whole_run: Path, corpus_file: Path) -> None:
    folder = str(corpus_file.parent)
    for part in ("README.md", "config.json", "metrics.json"):
        assert folder not in (whole_run / "best" / part).read_text(), part
    assert "--data mine.jsonl" in (whole_run / "best" / "README.md").read_text()


def test_learning_curves_are_drawn(corpus_file: Path, config_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--data", corpus_file, "--config", config_file, "--out", out)
    assert command_line.main(without_report(options)) == 0
    assert (out / "learning_curves.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_run_is_a_function_of_its_seed(fit: Fit, whole_run: Path) -> None:
    assert fit("--out", "same").status == 0
    assert fit("--out", "other", "--seed", 1).status == 0
    assert metrics(Path("same"), "train") == metrics(whole_run, "train")
    assert metrics(Path("other"), "train")[0]["loss"] != metrics(whole_run, "train")[0]["loss"]


def test_durations_in_epochs(fit: Fit) -> None:
    assert fit("--out", "run", "--epochs", 2).status == 0
    windows = 43  # utterances of the ten training conversations; a batch holds 7
    assert load_progress(Path("run")).total_steps == 2 * math.ceil(windows / 7)


def test_training_starts_from_word_vectors(fit: Fit, kill_at: KillAt) -> None:
    rows = {"cats": [0.5 + i for i in range(8)], "rain": [-1.0] * 8, "unseen": [9.0] * 8}
    text = "".join(f"{word} {' '.join(map(str, values))}\n" for word, values in rows.items())
    Path("vectors.txt").write_text(text)
    kill_at(1, "--out", "plain")
    kill_at(1, "--out", "run", "--vectors", "vectors.txt")
    plain, ours = (state(Path(out))["model.embedding.weight"] for out in ("plain", "run"))
    pieces = dialog_cvae.text.tokenizer.Tokenizer.load(Path("run/tokenizer.model")).pieces
    for index, word in enumerate(pieces):
        expected = torch.tensor(rows[word]) if word in rows else plain[index]
        assert torch.equal(ours[index], expected), word
    shutil.rmtree("run")
    here = Path("vectors.txt").resolve()
    assert fit("--out", "run", "--vectors", here, "--learning-rate.peak", 1e-9).status == 0
    assert "word vectors vectors.txt: " in fit("--out", "again", "--vectors", "vectors.txt").out
    trained = Checkpoint.load("run/best").weights["embedding.weight"]
    assert Checkpoint.load("run/best").config.provenance.fit["train"]["vectors"] == "vectors.txt"
    assert trained[pieces.index("cats")] == pytest.approx(rows["cats"], abs=1e-6)


def test_vectors_of_another_width_are_refused_with_both_numbers(fit: Fit) -> None:
    Path("vectors.txt").write_text("cats 1 2 3\nrain 3 2 1\n")
    complaint = fit("--out", "run", "--vectors", "vectors.txt").complaint
    assert complaint == "train.vectors: vectors.txt has 3 dimensions, but model.embedding_size is 8"
    assert not Path("run").exists()


def test_fine_tuning_keeps_the_vocabulary_and_adds_topics(
    raw_fit: Fit, config_file: Path, whole_run: Path, kill_at: KillAt
) -> None:
    base = whole_run / "best"
    old = Checkpoint.load(base)
    lines = [conversation(20 + i, ("WEATHER", "CARS", "ART")) for i in range(12)]
    lines[0]["utterances"][0]["text"] = "entirely new words"
    more = write_corpus(Path("more.jsonl"), lines)
    common = ("--init", base, "--config", config_file)
    kill_at(1, "--init", base, "--data", more, "--out", "start")
    assert raw_fit("--data", more, *common, "--recipe", "small", "--out", "run").status == 0
    new = Checkpoint.load("run/best")
    assert new.config.topics == ("ART", "CARS", "WEATHER", "PETS")  # the corpus's own first
    assert new.tokenizer.to_bytes() == old.tokenizer.to_bytes()
    begun, before = state(Path("start")), old.weights
    assert old.config.topics == ("PETS", "WEATHER")
    # a new topic starts as the unknown one
    assert begun["model.topic.weight"].tolist() == before["topic.weight"][[0, 0, 0, 2, 1]].tolist()
    for name in before.keys() - {"topic.weight"}:
        assert begun[f"model.{name}"].numpy().tobytes() == before[name].tobytes(), name
    assert raw_fit("--data", more, *common, "--recipe", "small", "--out", "run", "--resume").status == 0


def test_a_fine_tuned_model_keeps_the_licence_of_its_checkpoint(fit: Fit, whole_run: Path) -> None:
    base = Checkpoint.load(whole_run / "best")
    provenance = base.config.provenance.model_copy(update={"data": "Phone calls", "licence": "CC BY-NC-SA 3.0"})
    changes = {"provenance": provenance, "decoding": Decoding(temperature=0.5, candidates=16)}
    dataclasses.replace(base, config=base.config.model_copy(update=changes)).save(Path("base"))
    out = fit("--init", "base", "--out", "run").out
    assert out.count("starting from Phone calls: the sizes of its weights and its tokenizer are kept\n") == 1
    tuned = Checkpoint.load("run/best")
    assert tuned.config.provenance.licence == "CC BY-NC-SA 3.0 and that of the user's own conversations"
    assert "Phone calls" in tuned.config.provenance.data
    assert tuned.config.decoding == changes["decoding"]
    assert f"Licence of the weights: {tuned.config.provenance.licence}." in tuned.card


@pytest.mark.parametrize(
    ("corpus", "before", "expected"),
    [
        ("mine", "swda", "mine, after swda"),
        ("swda", "swda", "swda"),
        ("mine", "theirs, after mine, after swda", "mine, after theirs, after swda"),
    ],
)
def test_a_model_names_each_of_its_corpora_once(corpus: str, before: str, expected: str) -> None:
    assert trained_on(corpus, before) == expected


@pytest.mark.parametrize(
    ("licences", "joint"),
    [
        ([None], None),
        ([None, None], None),
        (["MIT"], "MIT"),
        (["MIT", "MIT"], "MIT"),
        (["MIT", "CC BY 4.0"], "MIT; CC BY 4.0"),
        ([None, "MIT"], f"MIT and {OWN_LICENCE}"),
        (["MIT", None], f"MIT and {OWN_LICENCE}"),
        (["MIT", f"CC BY 4.0; MIT and {OWN_LICENCE}"], f"MIT; CC BY 4.0 and {OWN_LICENCE}"),
        ([None, f"MIT and {OWN_LICENCE}"], f"MIT and {OWN_LICENCE}"),
    ],
)
def test_the_joint_licence_has_every_sources_licence(licences: list[str | None], joint: str | None) -> None:
    assert joint_licence(licences) == joint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--model.latent-size", 9), "model.latent_size: the checkpoint of --init has 4, but 9 was asked for"),
        (("--tokenizer.mode", "unigram"), "tokenizer.mode: the checkpoint of --init has 'word', but 'unigram' was"),
        (("--vectors", "v.txt"), "train.vectors: the checkpoint of --init has its own embeddings, but 'v.txt'"),
    ],
)
def test_options_that_contradict_the_checkpoint_are_refused(
    fit: Fit, whole_run: Path, options: tuple[object, ...], complaint: str
) -> None:
    assert fit("--init", whole_run / "best", "--out", "run", *options).complaint.startswith(complaint)


def test_a_checkpoint_without_a_bag_of_words_head_gets_one(fit: Fit, raw_fit: Fit, whole_run: Path) -> None:
    done = fit("--init", whole_run / "best", "--bow", "--learning-rate.peak", 1e-9, "--out", "run")
    assert done.status == 0
    assert "the checkpoint has no bag-of-words head: a new one is trained" in done.out
    before, after = Checkpoint.load(whole_run / "best"), Checkpoint.load("run/best")
    assert (before.config.model.bow, after.config.model.bow) == (False, True)
    added = {f"bow_head.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")}
    assert after.weights.keys() - before.weights.keys() == added
    for name, weights in before.weights.items():
        np.testing.assert_allclose(after.weights[name], weights, atol=1e-6)
    assert all(record["bag_of_words"] > 0 for record in metrics(Path("run"), "train"))
    assert raw_fit("--out", "run", "--resume").status == 0
    again = fit("--init", "run/best", "--out", "again")  # without --bow, a head is kept
    assert again.status == 0
    assert "a new one is trained" not in again.out
    assert Checkpoint.load("again/best").config.model.bow


def test_a_checkpoint_overrides_the_vectors_of_a_recipe(fit: Fit, whole_run: Path) -> None:
    assert fit("--init", whole_run / "best", "--recipe", "glove100", "--out", "run").status == 0
    assert json.loads(Path("run/config.json").read_text())["train"]["vectors"] is None


@pytest.mark.parametrize("part", ["config.json", "model.safetensors", "tokenizer.model"])
def test_a_broken_checkpoint_for_init_is_refused_with_its_path(fit: Fit, whole_run: Path, part: str) -> None:
    shutil.copytree(whole_run / "best", "base")
    content = (Path("base") / part).read_bytes()
    (Path("base") / part).write_bytes(content[: len(content) // 2])
    assert f"base/{part}: " in fit("--init", "base", "--out", "run").complaint
    assert "nowhere: no checkpoint folder there" in fit("--init", "nowhere", "--out", "run").complaint
    assert not Path("run").exists()


def test_unknown_topics_and_profiles_are_trained(fit: Fit) -> None:
    assert fit("--out", "never", "--train.condition-dropout", 0, "--learning-rate.peak", 0.01).status == 0
    assert fit("--out", "half", "--train.condition-dropout", 0.5, "--learning-rate.peak", 0.01).status == 0
    never, half = (state(Path(out))["model.unknown_profile"] for out in ("never", "half"))
    assert half.abs().min() > 0  # even the features that every speaker of the corpus lacks or has
    assert not torch.equal(never, half)


def test_tensorboard_files_have_each_step_once(fit: Fit, at_step: Callable[..., None]) -> None:
    at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert fit("--out", "run").status == 143
    assert fit("--out", "run", "--resume").status == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own making
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator("run/tensorboard").Reload()
    assert {"train/loss", "train/beta", "train/learning_rate", "valid/kl", "valid/active_units"} <= set(
        events.Tags()["scalars"]
    )
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(r["step"], pytest.approx(r["loss"], rel=1e-6)) for r in metrics(Path("run"), "train")]


def test_progress_without_a_terminal_is_plain_lines(fit: Fit) -> None:
    out = fit("--out", "run").out
    assert "\r" not in out
    assert "\x1b" not in out
    assert "step 12/12: rec " in out
    assert "examples/s" in out
    assert "step 3: valid ELBO " in out
    assert out.endswith("serve it: dialog-cvae serve run/best\n")
