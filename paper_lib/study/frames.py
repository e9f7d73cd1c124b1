"""What figures, tables and claims are made of: the archived rows of some runs, and which of these have none."""

import dataclasses
import functools
from collections.abc import Collection

import numpy as np
import pandas as pd

from paper_lib.contract import tasks
from paper_lib.contract.plane import CELLS, Plane
from paper_lib.contract.spec import RunSpec
from paper_lib.study.sealed import TABLES

KEYS = ['run_id', 'task', 'agent', 'pair_seed', 'seed']


def keys(spec: RunSpec) -> dict[str, str | int]:
    """The values of KEYS of a run."""
    return {name: getattr(spec, name) for name in KEYS}


@dataclasses.dataclass(frozen=True)
class Frames:
    """Archived rows of `specs`, in six tables.

    `runs` has one row per run (its spec and provenance), `metrics` one per evaluation, `episodes` one per episode of
    every evaluation, `traces` one per step of the final evaluation's episodes, `visits` one per visited cell of the
    task's plane, and `pictures` one per observed picture. Quantities that take several runs at once are columns of
    `metrics`; they have a value in the last row of a run, and are NaN in all others.
    """

    specs: tuple[RunSpec, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    episodes: pd.DataFrame
    traces: pd.DataFrame
    visits: pd.DataFrame
    pictures: pd.DataFrame
    optional: frozenset[str] = frozenset()  # ids of the runs that are trained only when asked for
    scale: str = ''
    warning: str = ''  # stands on every figure
    exploratory: tuple[str, ...] = ()  # tasks that no claim is tested on
    subject: tuple[str, ...] = ()  # agents that the figure is about

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
        archived = set(self.runs.run_id)
        return [spec for spec in self.specs if spec.run_id not in archived]

    @property
    def tasks(self) -> list[str]:
        """The tasks of the runs, each once, in the order of the runs."""
        return list(dict.fromkeys(spec.task for spec in self.specs))

    @property
    def suite(self) -> str:
        """The suite of the first run's task."""
        return tasks.get(self.specs[0].task).suite

    @property
    def plane(self) -> Plane | None:
        """The plane of the first run's task, in which figures of one task draw paths."""
        return tasks.get(self.specs[0].task).plane

    @property
    def archived_agents(self) -> set[str]:
        """The agents that have a result."""
        return set(self.runs.agent)

    @property
    def first(self) -> int:
        """The pair seed that single-run panels show: the lowest one. It is fixed before any result is seen."""
        return min(spec.pair_seed for spec in self.specs)

    def of(self, names: Collection[str], key: str = 'agent') -> 'Frames':
        """The part of these agents; with key='task' or 'run_id', the part of these tasks or runs."""
        specs = tuple(spec for spec in self.specs if getattr(spec, key) in names)
        parts = {}
        for name in TABLES:
            table = getattr(self, name)
            parts[name] = table[table[key].isin(names)]
        return dataclasses.replace(self, specs=specs, **parts)

    def of_pairs(self, names: Collection[str]) -> 'Frames':
        """The part of the pairs in which one of these agents has run; everything, if none of them has."""
        found = self.runs[self.runs.agent.isin(names)]
        pairs = set(zip(found.task, found.pair_seed, strict=True))
        if not pairs:
            return self
        return self.of({spec.run_id for spec in self.specs if (spec.task, spec.pair_seed) in pairs}, 'run_id')

    def wanted(self, agent: str) -> list[RunSpec]:
        """The runs of an agent, whether they have a result or not."""
        return [spec for spec in self.specs if spec.agent == agent]

    def episode(self, agent: str) -> pd.DataFrame:
        """Steps of the first final-evaluation episode of the first pair seed; no rows if that run is missing."""
        traces = self.traces
        chosen = (traces.agent == agent) & (traces.pair_seed == self.first) & (traces.episode == 0)
        return traces[chosen].sort_values('step')

    def map(self, run_id: str) -> np.ndarray:
        """Visits per cell, (CELLS, CELLS) indexed [ix, iy]."""
        grid = np.zeros((CELLS, CELLS), int)
        rows = self.visits[self.visits.run_id == run_id]
        grid[rows.ix, rows.iy] = rows['count']
        return grid
