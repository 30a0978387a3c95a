"""What is measured of a fitted VAE of sentences, kept in its run's folder so that it is measured once.

Open it to see what a figure of a sentence experiment is, or to read the model of a run.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dialog_cvae.config import SviConfig
from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.corpora import Split
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.model.build import build_model
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.sentence_vae import SentenceVAE
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.files import write_atomically
from eval.latent.likelihood import importance_weighted_nll, posteriors
from eval.latent.model_scores import latent_figures
from experiments.framework.fitting import say
from training import folder, task
from training.config import FitConfig
from training.folder import BEST_FOLDER, CONFIG_FILE
from training.metrics_log import SPEED_FILE, read_metrics
from training.state import checksum_of, load_weights
from training.training_corpus import TrainingCorpus

LAST_FILE, BEST_FILE = "measures.json", "measures-best.json"


def config_of(run: Path) -> FitConfig:
    """The configuration of a run."""
    return FitConfig.model_validate_json((run / CONFIG_FILE).read_bytes())


def final_model(run: Path) -> SentenceVAE:
    """The model with the weights of a run's last update, which Table 1 reports, in evaluation mode."""
    model = task.new_model(config_of(run), folder.stored_vocabulary(run))
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


def split_of(run: Path, split: Split) -> Sentences:
    """A split of the corpus that a run was fitted on, in its vocabulary.

    Raises:
        DataError: the corpus is missing or malformed.
    """
    config = config_of(run)
    corpus = TrainingCorpus(config.corpus, open_cache(None, say), say)
    return Sentences.of(corpus.encoded(split, folder.stored_vocabulary(run), task.task_of(config).max_tokens(config)))


def kept(path: Path, origin: Mapping[str, Any], name: str, make: Callable[[], Any]) -> Any:
    """What a file keeps, or what is made and written to it if the file is missing or of another origin.

    Args:
        path: the JSON file.
        origin: all that decides the content; as JSON.
        name: of the content in the file.
        make: makes the content; as JSON.
    """
    if path.is_file() and (stored := json.loads(path.read_bytes()))["origin"] == origin:
        return stored[name]
    made = make()
    write_atomically(path, (json.dumps({"origin": origin, name: made}, indent=2) + "\n").encode())
    return made


def measured(run: Path, draws: int, scored: int, *, best: bool = False, seed: int = 0) -> dict[str, float]:
    """Figures of a run on its test split; what was measured before is read.

    reconstruction, kl, elbo, perplexity_bound, active_units, nats_from_z: see `ElboReport`, of all sentences. iw_nll,
    iw_perplexity: by importance sampling, and mi, mi_cap: the plug-in mutual information and its upper limit, on some
    sentences chosen at random. nats_by_iw: how far the bound is from the importance-weighted likelihood on those. If
    the run refines its posteriors, all are of the refined ones.

    Args:
        run: folder of the run.
        draws: of z for the importance-weighted likelihood.
        scored: number of sentences, at most, that it and the mutual information are measured on.
        best: whether the weights are those of the best validation, and not of the last update.
        seed: of everything that is drawn.
    """
    origin = {"state": checksum_of(run), "split": "test", "draws": draws, "scored": scored, "seed": seed}

    def make() -> dict[str, float]:
        say(f"measuring {run.name}")
        model = best_model(run) if best else final_model(run)
        return _measure(model, split_of(run, "test"), draws, scored, seed, config_of(run).train.svi)

    return dict(kept(run / (BEST_FILE if best else LAST_FILE), origin, "figures", make))


def _measure(
    model: SentenceVAE, sentences: Sentences, draws: int, scored: int, seed: int, svi: SviConfig
) -> dict[str, float]:
    report = evaluate_elbo(model, sentences, seed=seed, svi=svi)
    count = min(scored, sentences.windows)
    chosen = np.sort(np.random.default_rng(seed).permutation(sentences.windows)[:count])
    weighted = importance_weighted_nll(model, sentences, chosen, [1, draws], svi=svi, seed=seed)
    figures = {name: float(value) for name, value in report.figures().items() if value is not None}
    figures |= {
        "iw_nll": weighted.nats[draws],
        "iw_perplexity": weighted.perplexity[draws],
        "nats_by_iw": weighted.nats[1] - weighted.nats[draws],
        "mi_cap": math.log(count),
    }
    if model.config.latent_size and count > 1:
        found = latent_figures(posteriors(model, sentences, svi=svi, seed=seed), seed, most=scored)
        known = found.get("mutual_information")  # missing if the model diverged
    else:
        known = 0.0
    return figures if known is None else {**figures, "mi": known}
