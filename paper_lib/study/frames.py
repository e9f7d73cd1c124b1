"""What figures, tables and claims are made of: the archived rows of some runs, and which of these have none."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from paper_lib.contract.maze_layout import CELLS
from paper_lib.contract.spec import RunSpec

KEYS = ['run_id', 'task', 'agent', 'pair_seed', 'seed']
TABLES = ('runs', 'metrics', 'traces', 'visits', 'pictures')


def keys(spec: RunSpec) -> dict:
    """The values of KEYS of a run."""
    return dict(zip(KEYS, (spec.run_id, spec.task, spec.agent, spec.pair_seed, spec.seed), strict=True))


@dataclasses.dataclass(frozen=True)
class Frames:
    """Archived rows of `specs`.

    `runs` has a row per run (its spec and provenance), `metrics` one per evaluation, `traces` one per step of the
    final evaluation's episodes, `visits` one per visited cell of the maze, `pictures` one per step that is shown.
    """

    specs: tuple[RunSpec, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    traces: pd.DataFrame
    visits: pd.DataFrame
    pictures: pd.DataFrame
    optional: frozenset[str] = frozenset()  # ids of the runs that are trained only when asked for
    scale: str = ''
    warning: str = ''  # stands on every figure

    @functools.cached_property
    def missing(self) -> list[RunSpec]:
        """Planned runs without a result."""
        return [spec for spec in self._absent if spec.run_id not in self.optional]

    @functools.cached_property
    def optional_missing(self) -> list[RunSpec]:
        """Optional runs without a result."""
        return [spec for spec in self._absent if spec.run_id in self.optional]

    @functools.cached_property
    def _absent(self) -> list[RunSpec]:
        there = set(self.runs.run_id)
        return [spec for spec in self.specs if spec.run_id not in there]

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(spec.task for spec in self.specs))

    @property
    def first(self) -> int:
        """The pair seed that single-run panels show: the lowest planned, fixed before any result is seen."""
        return min(spec.pair_seed for spec in self.specs)

    def of(self, names, key: str = 'agent') -> 'Frames':
        """The part of these agents, or of these tasks with key='task'."""
        specs = tuple(spec for spec in self.specs if getattr(spec, key) in names)
        tables = {name: getattr(self, name) for name in TABLES}
        kept = {name: table[table[key].isin(names)] for name, table in tables.items()}
        return dataclasses.replace(self, specs=specs, **kept)

    def wanted(self, agent: str) -> list[RunSpec]:
        return [spec for spec in self.specs if spec.agent == agent]

    def episode(self, agent: str) -> pd.DataFrame:
        """Steps of the first final-evaluation episode of the first pair seed; no rows if that run is missing."""
        t = self.traces
        return t[(t.agent == agent) & (t.pair_seed == self.first) & (t.episode == 0)].sort_values('step')

    def map(self, run_id: str) -> np.ndarray:
        """Visits per cell, (CELLS, CELLS) indexed [ix, iy]."""
        grid = np.zeros((CELLS, CELLS), int)
        rows = self.visits[self.visits.run_id == run_id]
        grid[rows.ix, rows.iy] = rows['count']
        return grid
