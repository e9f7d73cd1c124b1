"""Measures of degradation at an evaluation: what they read, the program that computes them, the columns they fill.

The formulas are in `paper_lib.agent.measures`.
"""

import math
from typing import Any

import numpy as np

from paper_lib.agent import measures
from paper_lib.agent.measures import Shown
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.data.sources import Source
from paper_lib.run import lanes

KEYS = ('image', 'vector', 'action', 'reward', 'is_first', 'is_terminal')  # what the model reads of a step

PROMISE = ('promise', 'record_return', 'record_rate', 'promise_ratio', 'promise_rate_ratio')
MEASURED = (
    'kl_recorded',
    *(f'round_trip_{steps}' for steps in measures.TRIPS),
    'density_auc',
    'density_ess',
    'edge_spread',
    'imagined_disagreement',
    'imagined_return',
)


class Record:
    """The best that the episodes of a source show. Every episode is read once, also where the source grows."""

    def __init__(self, source: Source, gamma: float):
        self.source, self.gamma, self.episodes = source, gamma, {}

    def best(self, rows: int) -> Shown | None:
        """Best return and best rate among the complete episodes that a learner may see; None before the first."""
        found = []
        for episode in map(tuple, self.source.episodes(rows).tolist()):
            if episode not in self.episodes:
                steps = self.source.episode(*episode)
                self.episodes[episode] = measures.shown(steps['reward'], bool(steps['is_terminal'][-1]), self.gamma)
            found.append(self.episodes[episode])
        if not found:
            return None
        return Shown(max(each.best_return for each in found), max(each.best_rate for each in found))


class Measures:
    """Computes the measures of every lane of a group, from weights, recordings and index alone."""

    def __init__(self, program: lanes.Program, specs: list[RunSpec], sources: list[Source]):
        self.program, self.specs, self.sources = program, specs, sources
        self.gamma = 1 - 1 / specs[0].model.discount_horizon
        self.records = [Record(source, self.gamma) for source in sources]
        self.keys = lanes.keys(specs, 'measure')

    def __call__(
        self, params: dict[str, Any], norm: dict[str, Any], index: int, rows: int, seen: list[dict | None]
    ) -> list[dict[str, float | None]]:
        """Per lane the values of all columns, None where there is nothing to measure yet.

        `seen` holds what the agent makes of recorded episodes, or None for a lane without any.
        """
        measured = self.on_windows(params, norm, index, rows)
        found = []
        for lane, own in enumerate(seen):
            promise = dict.fromkeys(PROMISE)
            if own:
                promise = measures.promise(own['value'][:, 0], self.records[lane].best(rows), self.gamma)
            found.append(promise | measured[lane])
        return found

    def on_windows(
        self, params: dict[str, Any], norm: dict[str, Any], index: int, rows: int
    ) -> list[dict[str, float | None]]:
        """What is measured on windows of each lane's source, drawn for this evaluation."""
        length = self.specs[0].model.length
        if rows < length:
            return [dict.fromkeys(MEASURED)] * len(self.specs)
        drawn = []
        for spec, source in zip(self.specs, self.sources):
            rng = streams.rng(spec.seed, 'windows', index)
            drawn.append(source.gather(source.sample(rng, rows, measures.WINDOWS, length), length))
        windows = {key: np.stack([own[key] for own in drawn]) for key in KEYS if key in drawn[0]}
        values = self.program.measure(params, norm, windows, self.keys, np.int32(index))
        values = {name: np.asarray(values[name]) for name in MEASURED}
        return [{name: finite(values[name][lane]) for name in MEASURED} for lane in range(len(self.specs))]


def finite(value: float) -> float | None:
    """The number, or None where it is none."""
    return float(value) if math.isfinite(value) else None


def foreseen(episodes: dict[str, np.ndarray], predicted: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Mean reward per agent step that the model predicts along played episodes (n, N), and the one collected there.

    Means over the steps of each episode, then over episodes; a reset has no reward and does not count.
    """
    steps = valid[:, 1:]
    length = steps.sum(1)
    return {
        'reward_predicted': float(((predicted[:, 1:] * steps).sum(1) / length).mean()),
        'reward_collected': float((episodes['reward'].sum(1, dtype=np.float64) / length).mean()),
    }
