"""A checkpoint's likelihoods of given responses, and the information in its latent code.

Open it to add a score that needs the model and the corpus but no replies.

Shape legend: W windows, in the corpus's order; Z latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dialog_cvae.data.encoded_corpus import EncodedCorpus
from dialog_cvae.data.turns import EncodedTurns
from dialog_cvae.model.cvae import CVAE
from dialog_cvae.model.elbo import evaluate_elbo
from dialog_cvae.model.language_cvae import LanguageCVAE
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.model.svi import in_effect
from dialog_cvae.model_config import SviConfig
from dialog_cvae.nn import distributions
from dialog_cvae.types import Gaussian
from eval.latent.information import Posteriors, kl_per_dimension, mutual_information
from eval.latent.likelihood import ImportanceWeighted, importance_weighted_nll, posteriors
from eval.latent.one_pass import score_once
from eval.latent.subset_perplexity import subset_perplexity

ON_ALL = 10  # most importance samples for every window; if more are requested, only FEW windows get them
FEW = 300
MIXTURE = 6_000  # most windows in the aggregate posterior: its cost grows with their square
LEAST_DRAWS = 2_500  # total draws of z for mutual information; the error of 500 is some hundredths of a nat

Bar = Callable[[int, str], "tqdm[Any]"]


class ModelScores(NamedTuple):
    """The scores of W responses under a checkpoint.

    Attributes:
        figures: by name, as JSON, nats for each response unless `elbo`, `information` or `likelihood`
            say otherwise; values that are not finite are None. Names with `paper_` follow the paper's protocol.
        columns: (W,) by name: `kl`; with importance samples, `iw_nll`, and `without_z` if the model can do without z.
        posterior_mean: (W, Z) mean of q(z | x, c).
    """

    figures: dict[str, Any]
    columns: dict[str, NDArray[np.float64]]
    posterior_mean: NDArray[np.float32]


def model_scores(
    model: CVAE,
    corpus: EncodedCorpus,
    *,
    svi: SviConfig | None = None,
    seed: int = 0,
    importance_samples: int = 0,
    bar: Bar,
) -> ModelScores:
    """Score every response of a corpus.

    Args:
        model: in evaluation mode.
        corpus: encoded for it, with at least one window.
        svi: how its posteriors are refined, if at all; the figures then say by how many steps, `refined_steps`.
        seed: of the noise.
        importance_samples: K, draws of z from the posterior for the importance-weighted likelihood; 0 for none. Every
            window gets at most ON_ALL draws; if K is more, FEW windows, chosen by the seed, get all K.
        bar: makes progress bars.
    """
    with bar(corpus.windows, "scoring") as shown:
        elbo = evaluate_elbo(model, corpus, svi=svi, seed=seed, advance=shown.update)
    found = posteriors(model, corpus, svi=svi, seed=seed)
    columns = {"kl": _kl(found)}
    figures = {**elbo.figures(), **_paper(model, corpus, svi, seed), **latent_figures(found, seed, MIXTURE)}
    if (refined := in_effect(svi, model)) is not None:
        figures["refined_steps"] = refined.steps
    if importance_samples:
        with bar(corpus.windows, "importance sampling") as shown:
            draws = min(importance_samples, ON_ALL)
            weighted = importance_weighted_nll(
                model, corpus, corpus.responses, [draws], svi=svi, seed=seed, advance=shown.update
            )
        _add_weighted(figures, columns, weighted, draws)
    if importance_samples > ON_ALL:
        figures["iw_few"] = _few(model, corpus, svi, seed, importance_samples, bar)
    return ModelScores(finite(figures), columns, found.posterior_mean.astype(np.float32))


def language_model_scores(
    model: LanguageCVAE, corpus: EncodedTurns, *, seed: int = 0, importance_samples: int = 0, bar: Bar
) -> ModelScores:
    """As `model_scores`, but in one pass, because running a language model on the contexts is the main cost.

    There are no figures of the paper's windows. The column `without_z` has -log p(x | c) of the same network without z.
    The figure `nats_z_cost` is the mean of `iw_nll` minus that of `without_z`: negative if z helps.

    Args:
        model: in evaluation mode.
        corpus: encoded for it, with at least one reply.
        seed: of the noise.
        importance_samples: see `model_scores`.
        bar: makes progress bars.
    """
    draws = min(importance_samples, ON_ALL)
    with bar(corpus.windows, "scoring") as shown:
        read = score_once(model, corpus, draws=draws, seed=seed, advance=shown.update)
    columns = {"kl": _kl(read.posteriors)}
    figures = {**read.elbo.figures(), **latent_figures(read.posteriors, seed, MIXTURE)}
    if read.weighted is not None:
        _add_weighted(figures, columns, read.weighted, draws)
    if importance_samples > ON_ALL:
        figures["iw_few"] = _few(model, corpus, None, seed, importance_samples, bar)
    return ModelScores(finite(figures), columns, read.posteriors.posterior_mean)


def _add_weighted(
    figures: dict[str, Any], columns: dict[str, NDArray[np.float64]], weighted: ImportanceWeighted, draws: int
) -> None:
    """Add the importance-weighted likelihood of every window, and its difference from the model without z."""
    columns["iw_nll"] = weighted.nll[draws]
    figures |= {"iw_samples": draws, "iw_nll": weighted.nats[draws], "iw_perplexity": weighted.perplexity[draws]}
    if weighted.without_z is not None:
        columns["without_z"] = weighted.without_z
        figures["nats_z_cost"] = weighted.nats[draws] - float(weighted.without_z.mean())


def _kl(found: Posteriors) -> NDArray[np.float64]:
    """KL of each window, (W,)."""
    tensors = [torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in found]
    kl: NDArray[np.float64] = distributions.kl(Gaussian(*tensors[:2]), Gaussian(*tensors[2:])).sum(-1).numpy()
    return kl


def _paper(model: CVAE, corpus: EncodedCorpus, svi: SviConfig | None, seed: int) -> dict[str, Any]:
    """Rec-P and KL as in the paper, whose windows take every utterance as a reply; empty if some are no replies."""
    if len(corpus.context_only):
        return {}
    subset = subset_perplexity(model, corpus, svi=svi, seed=seed)
    return {
        "paper_rec_perplexity": subset.perplexity,
        "paper_kl": subset.kl,
        "paper_windows": subset.windows,
        "paper_batches": subset.batches,
    }


def latent_figures(found: Posteriors, seed: int, most: int) -> dict[str, Any]:
    """KL by dimension, and the two parts of the KL in section 3.3 of the paper.

    Args:
        found: of all windows.
        seed: seed of the windows in the aggregate posterior, and of the draws of z.
        most: most windows in the aggregate posterior.

    Returns:
        The figures; none if a variance is not finite, only KL by dimension for a single window.
    """
    windows = len(found.posterior_mean)
    chosen = np.sort(np.random.default_rng(seed).permutation(windows)[:most])
    try:
        figures: dict[str, Any] = {"kl_per_dimension": kl_per_dimension(found).tolist()}
    except ValueError:  # the model is so bad that a variance is not finite
        return {}
    if windows > 1:
        draws = -(-LEAST_DRAWS // len(chosen))  # draws from each posterior
        parts = mutual_information(Posteriors(*(array[chosen] for array in found)), seed=seed, samples=draws)
        figures |= {
            "mutual_information": parts.plug_in,
            "mutual_information_leave_one_out": parts.leave_one_out,
            "mutual_information_cap": parts.cap,
            "mutual_information_windows": parts.n,
            "marginal_kl": parts.marginal_kl,
            "kl_from_context": parts.from_context,
        }
    return figures


def _few(
    model: LatentModel, corpus: EncodedCorpus | EncodedTurns, svi: SviConfig | None, seed: int, samples: int, bar: Bar
) -> dict[str, Any]:
    """Bounds of a few windows' likelihood with few and with many draws, which show how much the bound still falls."""
    chosen = np.sort(np.random.default_rng(seed).permutation(corpus.responses)[:FEW])
    ks = [1, ON_ALL, *(k for k in (50, 100) if k < samples), samples]
    with bar(len(chosen), f"importance sampling, {samples} draws") as shown:
        weighted = importance_weighted_nll(model, corpus, chosen, ks, svi=svi, seed=seed, advance=shown.update)
    nll = {str(k): weighted.nats[k] for k in ks}
    return {"responses": len(chosen), "samples": samples, "nll": nll, "perplexity": weighted.perplexity[samples]}


def finite(figures: Any) -> Any:
    """Figures with None for numbers that JSON does not have."""
    if isinstance(figures, dict):
        return {name: finite(value) for name, value in figures.items()}
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures
