"""Measures of degradation at an evaluation. The formulas are in `paper_lib.agent.measures`."""

import math
from typing import Any

import numpy as np

from paper_lib.agent import measures
from paper_lib.agent.measures import Shown
from paper_lib.contract import quantities
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.data.sources import Source
from paper_lib.run import lanes

KEYS = ('image', 'vector', 'action', 'reward', 'is_first', 'is_terminal')  # entries of a step that the model reads


class Record:
    """The best that the episodes of a source show. Each episode is read only once, though the source may grow."""

    def __init__(self, source: Source, gamma: float):
        self.source = source
        self.gamma = gamma
        self.by_episode = {}

    def best(self, rows: int) -> Shown | None:
        """The best return and rate of the complete episodes in the first `rows` rows; None if none has a transition."""
        all_shown = []
        for episode in map(tuple, self.source.episodes(rows).tolist()):
            if episode not in self.by_episode:
                steps = self.source.episode(*episode)
                is_terminal = bool(steps['is_terminal'][-1])
                has_transition = len(steps['reward']) > 1
                shown = measures.shown(steps['reward'], is_terminal, self.gamma) if has_transition else None
                self.by_episode[episode] = shown
            if self.by_episode[episode]:
                all_shown.append(self.by_episode[episode])
        if not all_shown:
            return None
        best_return = max(shown.best_return for shown in all_shown)
        best_rate = max(shown.best_rate for shown in all_shown)
        return Shown(best_return, best_rate)


class Measures:
    """Computes the measures of every lane of a group. They depend on weights, recordings and index alone."""

    def __init__(self, program: lanes.Program, specs: list[RunSpec], sources: list[Source]):
        self.program = program
        self.specs = specs
        self.sources = sources
        self.gamma = specs[0].model.gamma
        self.records = [Record(source, self.gamma) for source in sources]
        self.keys = lanes.keys(specs, 'measure')

    def __call__(
        self, params: dict[str, Any], norm: dict[str, Any], index: int, rows: int, on_replay: list[dict | None]
    ) -> list[dict[str, float | None]]:
        """The values of `quantities.measures()` for each lane, at evaluation `index` with the first `rows` rows in use.

        `on_replay` has the measures (n, N) of recorded episodes for each lane, or None if none is complete. A value
        is None if there is nothing to measure yet.
        """
        measured = self.on_windows(params, norm, index, rows)
        columns = []
        for lane, recorded in enumerate(on_replay):
            found = dict.fromkeys(quantities.measures()) | measured[lane]
            record = self.records[lane].best(rows) if recorded else None
            if record:
                found |= measures.promise(recorded['value'][:, 0], record, self.gamma)
            columns.append(found)
        return columns

    def on_windows(
        self, params: dict[str, Any], norm: dict[str, Any], index: int, rows: int
    ) -> list[dict[str, float | None]]:
        """What the program measures for each lane, in windows of its source that are drawn for this evaluation.

        There is nothing if the source has no whole window yet.
        """
        length = self.specs[0].model.length
        if rows < length:
            return [{}] * len(self.specs)
        lane_windows = []
        for spec, source in zip(self.specs, self.sources):
            rng = streams.rng(spec.seed, 'windows', index)
            starts = source.sample(rng, rows, measures.WINDOWS, length)
            lane_windows.append(source.gather(starts, length))
        windows = {key: np.stack([arrays[key] for arrays in lane_windows]) for key in KEYS if key in lane_windows[0]}
        values = self.program.measure(params, norm, windows, self.keys, np.int32(index))
        values = {name: np.asarray(array) for name, array in values.items()}
        columns = []
        for lane in range(len(self.specs)):
            columns.append({name: finite(array[lane]) for name, array in values.items()})
        return columns


def finite(value: float) -> float | None:
    """The value, or None if it is not finite."""
    return float(value) if math.isfinite(value) else None


def foreseen(episodes: dict[str, np.ndarray], predicted: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Mean reward per agent step of played episodes (n, N): the reward that the model predicts, and the collected one.

    Both are means over the steps of each episode, then over episodes. The reset, which has no reward, does not count.
    """
    steps = valid[:, 1:]
    length = steps.sum(1)
    predicted_rates = (predicted[:, 1:] * steps).sum(1) / length
    collected_rates = episodes['reward'].sum(1, dtype=np.float64) / length
    return {
        'reward_predicted': float(predicted_rates.mean()),
        'reward_collected': float(collected_rates.mean()),
    }
