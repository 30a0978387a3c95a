"""Builds the parts of a run from its plan: corpus, vocabulary, model, batches, optimiser and progress.

Open this to change how a run is started or resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from dialog_cvae.data.cache import open_cache
from dialog_cvae.data.common_words import CommonWords
from dialog_cvae.data.corpora import Split, find_vectors
from dialog_cvae.data.trained_conversations import TrainedConversations
from dialog_cvae.data.vectors import load_vectors
from dialog_cvae.errors import ConfigError
from dialog_cvae.model.latent_model import Examples, LatentModel
from training import folder
from training.adam import GuardedAdam
from training.base_task import EncodedData, Task
from training.batch import Batches
from training.config import FitConfig
from training.corpus_summary import SPLITS, Summary
from training.coverage import run_warnings
from training.fingerprint import fingerprint
from training.pace import steps_within
from training.phases import autoencoder_steps, beta_warnings
from training.plan import Plan
from training.resume import resume_state
from training.state import Progress, broadcast_state, load_progress, save_state
from training.stopping import Stopping
from training.task import new_model, task_of
from training.training_corpus import TrainingCorpus
from training.vocabulary import Vocabulary

TRAINING_SPLITS: tuple[Split, ...] = ("train", "valid")


@dataclass(frozen=True)
class Parts:
    """The parts of a run.

    Attributes:
        summary: of the corpus.
        vocabulary: tokenizer, topics and roles.
        model, optimiser: on the device of the run, with the state that the run starts from.
        batches: of the training split.
        validation: encoded validation split.
        progress: of the run; its state is on disk.
        common: words and numbers of many training conversations, for the guard of the service.
        trained: the training conversations, with those of the checkpoint of `--init`, in the first process.
    """

    summary: Summary
    vocabulary: Vocabulary
    model: LatentModel
    optimiser: GuardedAdam
    batches: Batches
    validation: Examples
    progress: Progress
    common: CommonWords | None = None
    trained: TrainedConversations | None = None


def build(plan: Plan) -> Parts:
    """Build a run's parts, start or resume the run in its folder, and describe it.

    Raises:
        DialogCvaeError: the corpus, the checkpoint or the stored run is missing, broken or does not fit the plan.
    """
    config, world = plan.config, plan.world
    task = task_of(config)

    # The first process of each machine reads the corpus; the others then find it in the cache.
    corpus = world.local_main_first(lambda: _open_corpus(config, plan.cache))
    vocabulary, initialised = world.broadcast_result(
        lambda: _vocabulary_and_model(plan, corpus),
        lambda made: made[0].to_json(),
        lambda text: (Vocabulary.from_json(text), None),
    )
    model = new_model(config, vocabulary) if initialised is None else initialised
    train, valid = world.local_main_first(
        lambda: [task.encoded(config, corpus, split, vocabulary) for split in TRAINING_SPLITS]
    )
    if not plan.resume:
        task.check(config, train)
    common = world.local_main_first(lambda: corpus.common_words) if task.served else None
    model = model.to(plan.device)
    batches = task.batches(train, config, world, plan.device)
    optimiser = GuardedAdam(model.parameters(), lr=config.learning_rate.peak)
    validation = task.validation(valid)
    total = _total_steps(plan, model, optimiser, batches, validation)
    _check(config, total, world.size)

    # The first process reads or writes the state at the start, then all processes receive its weights.
    new = _new_progress(plan, total, fingerprint(train, valid))
    world.check_equal("fingerprint of the conversations", new.data)
    progress = world.broadcast_result(
        lambda: _start(plan, vocabulary, model, optimiser, new), Progress.to_json, Progress.from_json
    )
    broadcast_state(world, model, optimiser, progress.step)
    _describe(plan, vocabulary, model, train, total)
    warnings = run_warnings(config, vocabulary, train, valid, kept=plan.start.origin is not None)
    for line in (*beta_warnings(config, total), *warnings):
        print(f"warning: {line}", flush=True)
    trained = world.on_main(lambda: _trained(plan, corpus)) if task.served else None
    return Parts(corpus.summary, vocabulary, model, optimiser, batches, validation, progress, common, trained)


def _new_progress(plan: Plan, total: int, data: str) -> Progress:
    """The progress of a run that has not made an update; `data` is the fingerprint of its conversations."""
    return Progress(
        step=0,
        total_steps=total,
        data=data,
        seed=plan.config.train.seed,
        threads=torch.get_num_threads(),
        stopping=Stopping(plan.config.train.patience),
        processes=plan.world.size,
    )


def _total_steps(plan: Plan, model: LatentModel, optimiser: GuardedAdam, batches: Batches, validation: Examples) -> int:
    """T: as configured, or fewer if a limit of minutes allows only these; a resumed run keeps its own."""
    config, world = plan.config.train, plan.world
    total = config.total_steps(batches.per_epoch)
    if config.max_minutes is None:
        return total
    if plan.resume:
        return world.broadcast_result(lambda: load_progress(plan.out).total_steps, str, int)
    return min(total, steps_within(config.max_minutes, model, optimiser, batches, validation, config, world))


def _open_corpus(config: FitConfig, cache: str | None) -> TrainingCorpus:
    """Open the corpus and print its description."""

    def log(line: str) -> None:
        print(line, flush=True)

    corpus = TrainingCorpus(config.corpus, open_cache(cache, log), log, cache)
    summary = corpus.summary
    sizes = ", ".join(
        f"{split} {summary.sizes[split].conversations} conversations, {summary.sizes[split].utterances} utterances"
        for split in SPLITS
    )
    for line in (f"corpus {summary.name}: {sizes}", *(f"  {note}" for note in summary.notes)):
        log(line)
    return corpus


def _vocabulary_and_model(plan: Plan, corpus: TrainingCorpus) -> tuple[Vocabulary, LatentModel | None]:
    """The vocabulary, and the model if it starts from a checkpoint or word vectors."""
    config = plan.config
    if plan.resume:
        return folder.stored_vocabulary(plan.out), None
    if (init := plan.init) is not None:
        print(
            f"starting from {init.config.provenance.data}: the sizes of its weights and its tokenizer are kept",
            flush=True,
        )
        vocabulary = task_of(config).vocabulary(config, corpus, init)
        return vocabulary, _with_bow_head(task_of(config).load(init, vocabulary, config), vocabulary, config)
    vocabulary = task_of(config).vocabulary(config, corpus, None)
    if (source := config.train.vectors) is None:
        return vocabulary, None
    model = new_model(config, vocabulary)
    share = put_vectors(task_of(config), model, vocabulary, source, config.corpus.dir)
    print(f"word vectors {source}: {share:.1%} of the vocabulary start from them", flush=True)
    return vocabulary, model


def _with_bow_head(loaded: LatentModel, vocabulary: Vocabulary, config: FitConfig) -> LatentModel:
    """The model, with a new bag-of-words head if only the run has one; a copy by `export --drop-bow` has none."""
    if not config.sizes.bow or loaded.config.bow:
        return loaded
    print("the checkpoint has no bag-of-words head: a new one is trained", flush=True)
    model = new_model(config, vocabulary)
    model.load_state_dict({**model.state_dict(), **loaded.state_dict()})
    return model.train()


@torch.no_grad()
def put_vectors(task: Task, model: LatentModel, vocabulary: Vocabulary, source: str, data_dir: Path | None) -> float:
    """Initialise the embeddings of known words with word vectors; returns the share of words that have a vector.

    Args:
        task: of the model.
        model: changed in place.
        vocabulary: gives the words; for a unigram vocabulary, the pieces that begin a word, lower-cased.
        source: a file, the name of a published file in the folder `glove` next to the corpora, or a gensim downloader
            name.
        data_dir: folder with the corpora.

    Raises:
        ConfigError: the vectors' width is not the embedding's.
        DataError: there are no such vectors, or they are malformed.
    """
    embeddings = task.word_embeddings(model)
    words = vocabulary.word_tokenizer.whole_words
    path = None if Path(source).exists() else find_vectors(source, data_dir)
    vectors = load_vectors(path or source, set(words.values()))
    width = embeddings[0].embedding_dim
    if vectors.dimension != width:
        raise ConfigError(
            f"train.vectors: {source} has {vectors.dimension} dimensions, but {task.section}.embedding_size is {width}"
        )
    rows = {index: vectors.rows[word] for index, word in words.items() if word in vectors.rows}
    for embedding in embeddings:
        embedding.weight[list(rows)] = torch.from_numpy(vectors.matrix[list(rows.values())])
    return len(rows) / len(words)


def _check(config: FitConfig, total: int, processes: int) -> None:
    """Check the configuration against the number of steps and processes."""
    annealed = total - autoencoder_steps(config.train, total)  # 0: beta is 0 throughout
    beta = "beta" if annealed == total else "beta, after the autoencoder"
    schedules = [(beta, config.beta, annealed)] if annealed else []
    for name, schedule, steps in (*schedules, ("learning_rate", config.learning_rate, total)):
        try:
            schedule.check(steps)
        except ValueError as error:
            raise ConfigError(f"{name}: {error} (give --beta.cycles, --learning-rate.cycles or more steps)") from None
    if config.sizes.posterior_norm and processes > 1:
        raise ConfigError(
            "posterior_norm takes the statistics of a whole batch, which must be in one process, "
            f"but there are {processes}"
        )
    if config.train.svi.is_joint and processes > 1:
        raise ConfigError(
            f"train.svi.scope batch refines a whole batch, which must be in one process, but there are {processes}"
        )


def _start(plan: Plan, vocabulary: Vocabulary, model: LatentModel, optimiser: GuardedAdam, new: Progress) -> Progress:
    """Load the state of a resumed run, or write the files of a new one."""
    if plan.resume:
        return resume_state(plan.out, model, optimiser, new)
    folder.new_out(plan.out, plan.config)  # another process may have finished a run there since the plan was made
    folder.write_start(plan.out, plan.config, vocabulary, plan.start, _trained_before(plan))
    save_state(plan.out, model, optimiser, new)
    return new


def _trained_before(plan: Plan) -> TrainedConversations | None:
    """The conversations that the checkpoint of `--init` was trained on, if it says so."""
    if plan.resume:
        return folder.stored_before(plan.out)
    return None if plan.init is None else plan.init.trained


def _trained(plan: Plan, corpus: TrainingCorpus) -> TrainedConversations | None:
    """The training conversations, with those before `--init`; warns of those that are in the validation split now."""
    now, before = corpus.trained_conversations, _trained_before(plan)
    if now is None or before is None:
        return now or before
    if seen := corpus.trained_in_validation(before):
        print(
            f"warning: the checkpoint of --init was trained on {seen:,} of the "
            f"{corpus.summary.sizes['valid'].conversations:,} validation conversations: validation figures are too "
            "good. `eval` leaves such conversations out",
            flush=True,
        )
    return now | before


def _describe(plan: Plan, vocabulary: Vocabulary, model: LatentModel, train: EncodedData, total: int) -> None:
    processes = f"{plan.world.size} processes of " if plan.world.size > 1 else ""
    roles = f", {len(vocabulary.roles)} roles" if vocabulary.roles else ""
    unknown = float((train.tokens == vocabulary.tokenizer.unk_id).mean())
    print(
        f"model: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, vocabulary "
        f"{len(vocabulary.tokenizer)}, {len(vocabulary.topics)} topics{roles}, unknown words "
        f"{unknown:.2%}; {train.windows} windows, {total} steps, "
        f"{processes}{torch.get_num_threads()} threads; writing to {plan.out}",
        flush=True,
    )
