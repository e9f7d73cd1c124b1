"""Saves a group of runs at intervals, and restores it bit for bit."""

import time
from typing import Any

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.data.writer import Run
from paper_lib.run import lanes, provenance
from paper_lib.run.learner import Lane
from paper_lib.run.loop import Advanced, Evaluated, Parts
from paper_lib.run.recorder import Recorder

SHARE = 0.05  # the largest share of a run's time that saving may take


class Checkpoints:
    """A consumer of the loop's events.

    It also restores checkpoints and counts the seconds of training.
    """

    def __init__(self, group: list[Lane], setting: dict[str, Any], parts: Parts, recorder: Recorder, every: float):
        """`setting` is that of `provenance.setting`.

        `every` is in seconds; 0 saves after every chunk.
        """
        self.group = group
        self.setting = setting
        self.parts = parts
        self.recorder = recorder
        self.every = every
        self.started = time.monotonic()
        self.due = self.started + every
        self.seconds_before = 0.0  # seconds of training before an interruption
        self.code = [provenance.CODE]  # the hashes of all code that the runs were trained with

    @property
    def seconds(self) -> float:
        """Seconds of training, including those before an interruption."""
        return self.seconds_before + time.monotonic() - self.started

    def __call__(self, event: Any) -> None:
        if not isinstance(event, Advanced):
            return
        # A checkpoint at the end lets a group resume that is killed after only some of its runs are finished.
        is_last = event.clock == self.parts.schedule.steps
        if is_last or time.monotonic() >= self.due:
            self._save(event.clock)

    def _save(self, clock: int) -> None:
        began = time.monotonic()
        arrays = lanes.flatten(self._trees())
        evaluated = self.recorder.evaluated
        meta = {'setting': self.setting, 'seconds': self.seconds, 'code': self.code}
        meta |= {'added': self.parts.added, 'lost': self.parts.lost}
        rows = self.parts.own_rows(clock)
        updates = self.parts.schedule.updates_at(clock)
        for number, lane in enumerate(self.group):
            lane_arrays = {name: array[number] for name, array in arrays.items()}
            if evaluated and evaluated.clock == clock:
                for name, array in evaluated.traces[number].items():
                    lane_arrays[f'trace/{name}'] = array
            lane.run.save(clock, lane_arrays, meta, rows=rows, updates=updates)
        now = time.monotonic()
        pause = max(self.every, (now - began) / SHARE) if self.every else 0.0
        self.due = now + pause

    def _trees(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on.

        All arrays begin with the lane axis.
        """
        trees = {'state': self.parts.learner.state}
        if self.parts.collector:
            trees['carry'] = self.parts.collector.carry
        chunks = self.recorder.updates
        if chunks:
            trees['updates'] = {}
            for name in chunks[0]:
                values = [np.asarray(chunk[name]) for chunk in chunks]
                trees['updates'][name] = np.stack(values, 1)  # (L, chunks)
        return trees

    def restore(self) -> int:
        """Return to the newest checkpoint that all runs have, else to the beginning.

        Returns the clock.
        """
        clocks = [set(lane.run.checkpoints()) for lane in self.group]
        common = set.intersection(*clocks)
        if not common and all(clocks):
            paths = ', '.join(str(lane.run.path) for lane in self.group)
            raise RunError(f'{paths}: have no common checkpoint; resume them with the command that began them')
        if not common:
            for lane in self.group:
                lane.run.restart()
            return 0
        clock = max(common)
        self._load(clock)
        return clock

    def _load(self, clock: int) -> None:
        loaded = [self._read(lane.run, clock) for lane in self.group]
        learner, collector = self.parts.learner, self.parts.collector
        learner.state = lanes.unflatten(learner.state, _stacked(loaded, 'state'))
        if collector:
            carry = lanes.unflatten(collector.carry, _stacked(loaded, 'carry'))
            collector.restore(carry, self.parts.own_rows(clock))
        updates = _stacked(loaded, 'updates')  # (L, chunks) per name
        if updates:
            count = next(iter(updates.values())).shape[1]
            chunks = []
            for chunk in range(count):
                chunks.append({name: array[:, chunk] for name, array in updates.items()})
            self.recorder.updates = chunks
        traces = [_branch(arrays, 'trace') for arrays in loaded]
        if all(traces):
            self.recorder.evaluated = Evaluated(clock, [], traces)

    def _read(self, run: Run, clock: int) -> dict[str, np.ndarray]:
        """The arrays of one run.

        Raises RunError if it was trained in another setting so far.
        """
        arrays, meta = run.load(clock)
        setting = meta['setting']
        changed = [name for name, value in self.setting.items() if setting.get(name) != value]
        if clock == self.parts.schedule.steps:
            self.setting = setting  # all is trained, and only the final files are written here
        elif changed:
            was = ', '.join(f'{name}={setting.get(name)}' for name in changed)
            raise RunError(f'{run.path}: was begun with {was}; resume it so, or delete the directory to train it again')
        self.seconds_before = meta['seconds']
        self.code = list(dict.fromkeys([*meta['code'], provenance.CODE]))
        self.parts.added = meta['added']
        self.parts.lost = meta.get('lost', {})  # older checkpoints have none
        return arrays


def _branch(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays below `name/`, without that prefix."""
    prefix = f'{name}/'
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _stacked(loaded: list[dict[str, np.ndarray]], name: str) -> dict[str, np.ndarray]:
    """The branch `name/` of all lanes: one array per key, with the lane axis first."""
    branches = [_branch(arrays, name) for arrays in loaded]
    return {key: np.stack([branch[key] for branch in branches]) for key in branches[0]}
