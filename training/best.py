"""The best checkpoint of a run: weights, provenance, metrics and card in `OUT/best`.

Open it to add a fact about the run to its checkpoint, or to see which paths are shortened for privacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.model.build import weights_of
from dialog_cvae.model.elbo import ElboReport
from dialog_cvae.model.latent_model import LatentModel
from dialog_cvae.storage.checkpoint import Checkpoint
from dialog_cvae.storage.checkpoint_config import CheckpointConfig, Provenance
from training.config import FitConfig
from training.corpus_summary import Summary
from training.folder import Start
from training.model_card import joint_licence
from training.task import task_of
from training.vocabulary import Vocabulary

_AFTER = ", after "  # between the names of corpora


@dataclass(frozen=True)
class BestCheckpoint:
    """Writes `OUT/best`; see `training.observer.BestKeeper`.

    Attributes:
        path: folder of the checkpoint.
        vocabulary: tokenizer, topics and roles.
        corpus: facts about the corpus.
        config: of the run.
        start: what the run was started with.
        common: words and numbers of many training conversations; None for sentences.
        trained: the training conversations, with those of the checkpoint of `--init`; None if they are not the user's.
    """

    path: Path
    vocabulary: Vocabulary
    corpus: Summary
    config: FitConfig
    start: Start
    common: CommonWords | None = None
    trained: TrainedConversations | None = None

    def __call__(self, model: LatentModel, step: int, report: ElboReport) -> None:
        """Save the model with its metrics and card. Paths lose their folders, which may be private."""
        fitted = self.config.model_dump(mode="json", exclude={"corpus": {"dir"}})
        fitted["corpus"]["name"] = Path(fitted["corpus"]["name"]).name
        if (vectors := fitted["train"]["vectors"]) is not None:
            fitted["train"]["vectors"] = Path(vectors).name
        task = task_of(self.config)
        sizes = task.checkpoint_sizes(self.config, model)
        if fitted["language"] is not None:
            fitted["language"]["backbone"] = sizes["language"].backbone
        origin = self.start.origin
        licences = [self.corpus.licence, *([] if origin is None else [origin.licence])]
        if (backbone := sizes.get("base")) is not None:
            licences.append(backbone.licence or f"that of {backbone.name}, which its file does not state")
        provenance = Provenance(
            data=self.corpus.name if origin is None else trained_on(self.corpus.name, origin.data),
            style=self.config.corpus.style if self.config.corpus.name == "swda" else None,
            licence=joint_licence(licences),
            step=step,
            fit=fitted,
        )
        tokenizer, topics = self.vocabulary.tokenizer, self.vocabulary.topics
        if self.start.decoding is not None:
            sizes |= {"decoding": self.start.decoding}
        config = CheckpointConfig(
            **sizes,
            vocab_size=len(tokenizer),
            topics=topics,
            respond_as=self.corpus.respond_as,
            roles=self.vocabulary.roles,
            provenance=provenance,
        )
        metrics = {"split": "valid", "step": step} | report.figures()
        card = task.card(config, metrics, self.start.command)
        Checkpoint(config, weights_of(model), tokenizer, metrics, card, common=self.common, trained=self.trained).save(
            self.path
        )


def trained_on(corpus: str, before: str) -> str:
    """The corpora of a model, the last first: "mine, after swda"; a corpus is named once."""
    return _AFTER.join(dict.fromkeys((corpus, *before.split(_AFTER))))
