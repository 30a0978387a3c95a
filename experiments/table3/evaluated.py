"""The results of Table 3: its rows with their figures, and the evaluations behind them.

Open it to see which results the page is made from, and in which order its rows come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from eval.evaluation import Evaluation
from eval.evaluation_settings import Settings
from eval.held_out import HeldOut
from eval.measures import flat
from experiments.framework.fitting import Fitted
from experiments.framework.rows import Result, Row, Run, results_of
from experiments.table3.cells import VARIANTS, square
from experiments.table3.evaluate import Failure


@dataclass(frozen=True)
class Evaluated:
    """All that the page is made from.

    Attributes:
        rows: that are fitted.
        fitted: how far each run is.
        evaluations: by the names of runs that are finished, and of rows without a model.
        held_out: what was evaluated on.
        references: a description of the references.
        built: whether they were built from training contexts.
        settings: of the evaluations.
        asked: number of seeds.
        command: that repeats the table.
    """

    rows: Sequence[Row]
    fitted: Fitted
    evaluations: Mapping[str, Evaluation | Failure]
    held_out: HeldOut
    references: str
    built: bool
    settings: Settings
    asked: int
    command: str

    @property
    def runs(self) -> list[Run]:
        """The runs that have figures."""
        return [run for run in self.fitted.finished if isinstance(self.evaluations.get(run.name), Evaluation)]

    @property
    def failures(self) -> dict[str, str]:
        """Why runs or rows could not be evaluated, by name."""
        return {name: one.reason for name, one in self.evaluations.items() if isinstance(one, Failure)}

    @cached_property
    def results(self) -> list[Result]:
        """Cells, then the decoder without z, then rows without a model."""
        own = []
        for result in results_of(self.rows, self.runs, self.asked):
            figures = {seed: flat(one.figures) for seed, one in self.of(result).items()}
            own.append(replace(result, figures=figures))
        names = {one.run.name for one in self.fitted.found}
        others = {
            name: found
            for name, found in self.evaluations.items()
            if name not in names and isinstance(found, Evaluation)
        }
        seed = self.settings.seed
        return own + [Result(Row(name, name), figures={seed: flat(one.figures)}) for name, one in others.items()]

    @property
    def cells(self) -> list[Result]:
        """The cells that have figures."""
        return [result for result in self.results if result.row.key in VARIANTS and result.runs]

    def of(self, result: Result) -> dict[int, Evaluation]:
        """The evaluations of a row's runs, by seed."""
        found = {seed: self.evaluations[run.name] for seed, run in result.runs.items()}
        return {seed: one for seed, one in found.items() if isinstance(one, Evaluation)}

    @property
    def pairs(self) -> list[tuple[int, dict[str, Evaluation]]]:
        """The paper's M and C by name, without and with bag of words, and the first seed that they have in common."""
        cells = {result.row.key: result for result in self.cells}
        found = []
        for bow in (False, True):
            m, c = (cells.get(key) for key in (square(bow).neither, square(bow).both))
            if m and c and (common := m.runs.keys() & c.runs.keys()):
                seed = min(common)
                found.append((seed, {one.row.name: self.of(one)[seed] for one in (m, c)}))
        return found
