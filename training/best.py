"""The best checkpoint of a run: weights, provenance, metrics and card in `OUT/best`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dialog_cvae.model.build import weights_of
from dialog_cvae.model.elbo import ElboReport
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.storage.checkpoint import Checkpoint, CheckpointConfig, Provenance
from training.config import FitConfig
from training.folder import Start
from training.model_card import joint_licence, model_card
from training.training_corpus import Summary
from training.vocabulary import Vocabulary


@dataclass(frozen=True)
class BestCheckpoint:
    """Writes `OUT/best`; see `training.observer.BestKeeper`."""

    path: Path
    vocabulary: Vocabulary
    corpus: Summary
    config: FitConfig
    start: Start

    def __call__(self, model: LatentModel, step: int, report: ElboReport) -> None:
        """Save the model with its metrics and card."""
        fitted = self.config.model_dump(mode="json", exclude={"corpus": {"dir"}})
        fitted["corpus"]["name"] = Path(fitted["corpus"]["name"]).name  # a user's folders are nobody else's business
        if (vectors := fitted["train"]["vectors"]) is not None:
            fitted["train"]["vectors"] = Path(vectors).name
        origin = self.start.origin
        licences = [self.corpus.licence] if origin is None else [self.corpus.licence, origin.licence]
        provenance = Provenance(
            data=self.corpus.name if origin is None else f"{self.corpus.name}, after {origin.data}",
            style=self.config.corpus.style if self.config.corpus.name == "swda" else None,
            licence=joint_licence(licences),
            step=step,
            fit=fitted,
        )
        tokenizer, topics = self.vocabulary.tokenizer, self.vocabulary.topics
        of_sentences = self.config.corpus.of_sentences
        config = CheckpointConfig(
            model=self.config.model if of_sentences else model.config,
            sentence=self.config.sentence if of_sentences else None,
            vocab_size=len(tokenizer),
            topics=topics,
            provenance=provenance,
        )
        metrics = {"split": "valid", "step": step} | report.figures()
        card = model_card(provenance, config, metrics, self.start.command)
        Checkpoint(config, weights_of(model), tokenizer, metrics, card).save(self.path)
