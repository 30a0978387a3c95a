"""How many updates fit into a number of minutes, by a speed that is measured before the run.

Open this to change what `--max-minutes` counts. After the measurement, weights and optimiser are as before it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

from dialog_cvae.errors import ConfigError
from dialog_cvae.model.elbo import BATCH_SIZE, evaluate_elbo
from dialog_cvae.model.latent_model import Examples, LatentModel
from dialog_cvae.model.svi import evaluation_batch_size
from training.adam import GuardedAdam
from training.batch import Batch, Batches
from training.config import TrainConfig
from training.distributed import World
from training.update import update

UPDATES = 3  # timed updates, after one that is not timed because it compiles kernels
BETA = 0.5  # beta of the timed updates; their duration does not depend on it
VALIDATED = 4  # batches, evenly spaced, whose validation is timed


def steps_within(
    minutes: float,
    model: LatentModel,
    optimiser: GuardedAdam,
    batches: Batches,
    validation: Examples,
    config: TrainConfig,
    world: World,
) -> int:
    """The most updates that take at most `minutes` with their validations, at the speed of this machine now.

    Args:
        minutes: time for updates and validations; reading the corpus, building the model and this measurement (a few
            updates and batches of the validation) are not counted.
        model: as the run starts with it; left as it was.
        optimiser: without moments; left as it was.
        batches: of the training split; a few typical ones are timed.
        validation: encoded validation split.
        config: of the run.
        world: the processes of the run; the first one's time counts.

    Raises:
        ConfigError: not even one update fits.
    """
    weights = copy.deepcopy(model.state_dict())
    seconds = _update_seconds(model, optimiser, batches, config, world)
    validating = _validation_seconds(model, validation, config, world.size)
    model.load_state_dict(weights)
    optimiser.state.clear()
    optimiser.found_inf.zero_()
    interval = config.validation_interval(batches.per_epoch)
    steps = int((60 * minutes - validating) / (seconds + validating / interval))
    steps = world.broadcast_result(lambda: steps, str, int)
    if steps < 1:
        raise ConfigError(
            f"train.max_minutes: {minutes:g} minutes are too few: an update takes {seconds:.1f} s and a validation "
            f"{validating:.0f} s here"
        )
    return steps


def _validation_seconds(model: LatentModel, validation: Examples, config: TrainConfig, processes: int) -> float:
    """The seconds of a validation, from those of a few batches: of a corpus of sentences, of all lengths."""
    size = evaluation_batch_size(config.svi, BATCH_SIZE)
    count = len(validation.chunks(validation.first(config.valid_examples), size))
    own = -(-count // processes)  # each process measures a part of them
    stride = max(1, count // VALIDATED)
    part = (stride // 2, stride)
    seconds = _timed(lambda: evaluate_elbo(model, validation, svi=config.svi, first=config.valid_examples, part=part))
    return seconds * own / len(range(part[0], count, stride))


def _update_seconds(
    model: LatentModel, optimiser: GuardedAdam, batches: Batches, config: TrainConfig, world: World
) -> float:
    """The mean seconds of an update; changes the model and the optimiser."""

    def advance(timed: Iterator[Batch]) -> None:
        for batch in timed:
            update(model, optimiser, batch, config, BETA, world).cpu()  # waits for it

    advance(batches.typical(1))
    typical = batches.typical(UPDATES)
    return _timed(lambda: advance(typical)) / UPDATES


def _timed(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
