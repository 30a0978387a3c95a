"""What is measured of a fitted VAE of sentences, kept beside its run so that it is measured once."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dialog_cvae.config import SviConfig
from dialog_cvae.data.cache import Cache, open_cache
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.model.build import build_model
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.files import write_atomically
from eval.latent.information import Posteriors, mutual_information
from eval.latent.likelihood import importance_weighted_nll, posteriors
from experiments.plan import Budget, Fitted, say
from training import folder, setup
from training.config import FitConfig
from training.folder import BEST_FOLDER, CONFIG_FILE
from training.metrics_log import SPEED_FILE, read_metrics
from training.state import checksum_of, load_weights
from training.sweep.summary import Estimate, estimate
from training.training_corpus import TrainingCorpus

KEPT, KEPT_OF_BEST = "measures.json", "measures-best.json"
Figures = Mapping[str, float]


def config_of(run: Path) -> FitConfig:
    """The configuration of a run."""
    return FitConfig.model_validate_json((run / CONFIG_FILE).read_bytes())


def final_model(run: Path) -> SentenceVAE:
    """The model with the weights of a run's last update, which Table 1 reports, in evaluation mode."""
    model = setup.new_model(config_of(run), folder.stored_vocabulary(run))
    load_weights(run, model)
    assert isinstance(model, SentenceVAE)
    model.eval()
    return model


def best_model(run: Path) -> SentenceVAE:
    """The model with the weights of a run's best validation, in evaluation mode."""
    return build_model(Checkpoint.load(run / BEST_FOLDER), required=SentenceVAE)


def pace(run: Path) -> float:
    """Median seconds of an update of a run, over what it logged."""
    return float(statistics.median(record["seconds_per_update"] for record in read_metrics(run, SPEED_FILE)))


def split_of(run: Path, split: str, cache: Cache | None = None) -> Sentences:
    """A split of the corpus that a run was fitted on, in its vocabulary.

    Raises:
        DataError: the corpus is missing or malformed.
    """
    config = config_of(run)
    corpus = TrainingCorpus(config.corpus, cache or open_cache(None, say), say)
    encoded = corpus.encoded(split, folder.stored_vocabulary(run), config.max_tokens)  # type: ignore[arg-type]
    return Sentences.of(encoded)


def measured(run: Path, budget: Budget, *, best: bool = False, split: str = "test", seed: int = 0) -> dict[str, float]:
    """Figures of a run's last update, or of its best validation, on a split; what was measured before is read.

    reconstruction, kl, elbo, perplexity_bound, active_units, nats_from_z: see `ElboReport`, of all
    sentences. iw_nll, iw_perplexity: by importance sampling with `budget.draws`, and mi, mi_cap: the plug-in mutual
    information and the log of the number it was measured on, on `budget.scored` sentences drawn at random. nats_by_iw:
    how far the bound is from the importance-weighted likelihood on those. Where the run refines its posteriors, all are
    of the refined ones.
    """
    origin = {"state": checksum_of(run), "split": split, "draws": budget.draws, "scored": budget.scored, "seed": seed}
    path = run / (KEPT_OF_BEST if best else KEPT)
    if path.is_file():
        content = json.loads(path.read_bytes())
        if content["origin"] == origin:
            return dict(content["figures"])
    say(f"measuring {run.name}")
    model = best_model(run) if best else final_model(run)
    svi = config_of(run).train.svi
    figures = _measure(model, split_of(run, split), budget, seed, svi)
    write_atomically(path, (json.dumps({"origin": origin, "figures": figures}, indent=2) + "\n").encode())
    return figures


def _measure(model: SentenceVAE, sentences: Sentences, budget: Budget, seed: int, svi: SviConfig) -> dict[str, float]:
    report = evaluate_elbo(model, sentences, seed=seed, svi=svi)
    count = min(budget.scored, sentences.windows)
    chosen = np.sort(np.random.default_rng(seed).permutation(sentences.windows)[:count])
    weighted = importance_weighted_nll(model, sentences, chosen, [1, budget.draws], svi=svi, seed=seed)
    figures = {name: float(value) for name, value in report.figures().items() if value is not None}
    figures |= {
        "iw_nll": weighted.nats[budget.draws],
        "iw_perplexity": weighted.perplexity[budget.draws],
        "nats_by_iw": weighted.nats[1] - weighted.nats[budget.draws],
        "mi": 0.0,
        "mi_cap": float(np.log(count)),
    }
    if model.config.latent_size and count > 1:
        found = posteriors(model, sentences, svi=svi, seed=seed)
        figures["mi"] = mutual_information(Posteriors(*(array[chosen] for array in found)), seed=seed).plug_in
    return figures


def estimates(rows: Sequence[Figures]) -> dict[str, Estimate]:
    """Mean and interval over seeds of every figure that all have."""
    return {name: estimate([row[name] for row in rows]) for name in rows[0] if all(name in row for row in rows)}


def measured_rows(rows: Sequence[Fitted], budget: Budget) -> dict[str, dict[int, dict[str, float]]]:
    """The figures of every finished run, by row and seed."""
    return {
        each.row.key: {seed: measured(run, budget, best=each.row.best) for seed, run in each.folders.items()}
        for each in rows
        if each.cells
    }


def as_json(value: Any) -> Any:
    """Estimates as objects, everything else as it is."""
    if isinstance(value, Estimate):
        return value._asdict()
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value
