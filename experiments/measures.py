"""What is measured of a fitted model, kept in its run's folder so that it is measured once.

Open it to see what a figure of an experiment is, or to read the model of a run.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.code_digest import code_digest
from dialog_cvae.data.corpora import Split
from dialog_cvae.data.sentences import Sentences
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model_config import SviConfig
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_files import BEST
from dialog_cvae.storage.files import write_atomically
from eval.latent.likelihood import importance_weighted_nll, posteriors
from eval.latent.model_scores import latent_figures
from eval.latent.one_pass import score_once
from experiments.framework.fitting import say
from training import folder, task
from training.config import FitConfig
from training.folder import CONFIG_FILE
from training.metrics_log import SPEED_FILE, read_metrics
from training.state import checksum_of, load_weights
from training.training_corpus import TrainingCorpus

CPU = torch.device("cpu")
LAST_FILE, BEST_FILE = "measures.json", "measures-best.json"


def config_of(run: Path) -> FitConfig:
    """The configuration of a run."""
    return FitConfig.model_validate_json((run / CONFIG_FILE).read_bytes())


def final_model(run: Path) -> LatentModel:
    """The model with the weights of a run's last update, which Table 1 reports, in evaluation mode."""
    model = task.new_model(config_of(run), folder.stored_vocabulary(run))
    load_weights(run, model)
    return model.eval()


def best_model(run: Path) -> LatentModel:
    """The model with the weights of a run's best validation, in evaluation mode."""
    config = config_of(run)
    model = task.task_of(config).load(Checkpoint.load(run / BEST), folder.stored_vocabulary(run), config)
    return model.eval()


def pace(run: Path) -> float:
    """Median seconds of an update of a run, over what it logged."""
    return float(statistics.median(record["seconds_per_update"] for record in read_metrics(run, SPEED_FILE)))


def split_of(run: Path, split: Split) -> Sentences | EncodedTurns:
    """A split of the corpus that a run was fitted on, in its vocabulary.

    Raises:
        DataError: the corpus is missing or malformed.
    """
    config = config_of(run)
    corpus, own = TrainingCorpus(config.corpus, open_cache(None, say), say), task.task_of(config)
    examples = own.validation(own.encoded(config, corpus, split, folder.stored_vocabulary(run)))
    assert isinstance(examples, Sentences | EncodedTurns)
    return examples


def sentences_of(run: Path, split: Split) -> Sentences:
    """The same of a run on sentences."""
    sentences = split_of(run, split)
    assert isinstance(sentences, Sentences)
    return sentences


def cached_json(path: Path, origin: Mapping[str, Any], name: str, make: Callable[[], Any]) -> Any:
    """What a file keeps, or what is made and written to it if the file is missing, or of another origin or other code.

    Args:
        path: the JSON file.
        origin: all that decides the content, apart from the code of `make`; as JSON.
        name: of the content in the file.
        make: makes the content; as JSON.
    """
    origin = {**origin, "code": code_digest(make.__module__)}
    if path.is_file() and (stored := json.loads(path.read_bytes()))["origin"] == origin:
        return stored[name]
    made = make()
    write_atomically(path, (json.dumps({"origin": origin, name: made}, indent=2) + "\n").encode())
    return made


def measured(
    run: Path, draws: int, scored: int, *, best: bool = False, seed: int = 0, device: torch.device = CPU
) -> dict[str, float]:
    """Figures of a run on its test split; what was measured before is read.

    reconstruction, kl, elbo, perplexity_bound, active_units, nats_from_z: see `ElboReport`, of all sentences. iw_nll,
    iw_perplexity: by importance sampling, and mi, mi_cap: the plug-in mutual information and its upper limit, on some
    sentences chosen at random. nats_by_iw: how far the bound is from the importance-weighted likelihood on those. If
    the run refines its posteriors, all are of the refined ones. Of a language model, whose replies share readings, all
    are of the first conversations that hold `scored` replies; nats_z_costs: iw_nll less that of the same without z. An
    autoencoder has a reconstruction, from the posterior mean, and active units alone, because it learns no variance.

    Args:
        run: folder of the run.
        draws: of z for the importance-weighted likelihood.
        scored: number of sentences, at most, that it and the mutual information are measured on.
        best: whether the weights are those of the best validation, and not of the last update.
        seed: of everything that is drawn.
        device: that the model runs on.
    """
    origin = {"state": checksum_of(run), "split": "test", "draws": draws, "scored": scored, "seed": seed}

    def make() -> dict[str, float]:
        say(f"measuring {run.name}")
        model = (best_model(run) if best else final_model(run)).to(device)
        examples = split_of(run, "test")
        if isinstance(examples, EncodedTurns):
            return _measure_replies(model, examples.beginning(scored), draws, seed)
        train = config_of(run).train
        if train.autoencoder_share == 1:
            return _finite(evaluate_elbo(model, examples, seed=seed, by_mean=True).figures())
        return _measure(model, examples, draws, scored, seed, train.svi)

    return dict(cached_json(run / (BEST_FILE if best else LAST_FILE), origin, "figures", make))


def _measure(
    model: LatentModel, sentences: Sentences, draws: int, scored: int, seed: int, svi: SviConfig
) -> dict[str, float]:
    report = evaluate_elbo(model, sentences, seed=seed, svi=svi)
    count = min(scored, sentences.windows)
    chosen = np.sort(np.random.default_rng(seed).permutation(sentences.windows)[:count])
    weighted = importance_weighted_nll(model, sentences, chosen, [1, draws], svi=svi, seed=seed)
    figures = report.figures() | {
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
    return _finite({**figures, "mi": known})


def _finite(figures: Mapping[str, float | None]) -> dict[str, float]:
    """The figures that are known and finite: a diverged seed has others too, of which there is no mean."""
    return {name: float(value) for name, value in figures.items() if value is not None and math.isfinite(value)}


def _measure_replies(model: LatentModel, turns: EncodedTurns, draws: int, seed: int) -> dict[str, float]:
    read = score_once(model, turns, draws=draws, seed=seed)
    assert read.weighted is not None
    nll = read.weighted.nats[draws]
    figures = read.elbo.figures() | {
        "iw_nll": nll,
        "nats_by_iw": -read.elbo.elbo - nll,
        "mi_cap": math.log(turns.windows),
    }
    if read.elbo.without_z is not None:
        figures["nats_z_costs"] = nll - read.elbo.without_z
    if not model.config.latent_size:
        return _finite({**figures, "mi": 0.0})
    known = latent_figures(read.posteriors, seed, most=turns.windows).get("mutual_information")
    return _finite({**figures, "mi": known})
