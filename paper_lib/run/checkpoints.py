"""Saves a group of runs now and then, and brings it back to where it was saved, bit for bit."""

import time
from typing import Any

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.run import lanes, provenance
from paper_lib.run.learner import Lane
from paper_lib.run.loop import Advanced, Evaluated, Parts
from paper_lib.run.recorder import Recorder

SHARE = 0.05  # of a run's time, at most, goes into saving


class Checkpoints:
    """A consumer of the loop's events, which also restores what it has saved and counts the seconds of training."""

    def __init__(self, group: list[Lane], setting: dict[str, Any], parts: Parts, recorder: Recorder, every: float):
        """`setting` decides the last bits of the runs (`provenance.setting`); `every` is in seconds, 0: every chunk."""
        self.group, self.setting, self.parts, self.recorder = group, setting, parts, recorder
        self.every, self.due = every, time.monotonic() + every
        self.started, self.seconds_before = time.monotonic(), 0.0
        self.code = [provenance.CODE]  # all code that a run was trained with

    @property
    def seconds(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self.seconds_before + time.monotonic() - self.started

    def __call__(self, event: Any) -> None:
        if not isinstance(event, Advanced):
            return
        last = event.clock == self.parts.schedule.steps
        if last or time.monotonic() >= self.due:  # the last one keeps a group killed between two finishes whole
            self._save(event.clock)

    def _save(self, clock):
        began = time.monotonic()
        arrays = lanes.flatten(self._trees())
        evaluated = self.recorder.evaluated
        meta = {'setting': self.setting, 'seconds': self.seconds, 'code': self.code, 'added': self.parts.added}
        for number, lane in enumerate(self.group):
            own = {name: array[number] for name, array in arrays.items()}
            if evaluated and evaluated.clock == clock:
                own |= {f'trace/{name}': array for name, array in evaluated.traces[number].items()}
            rows, updates = self.parts.own_rows(clock), self.parts.schedule.updates_at(clock)
            lane.run.save(clock, own, meta, rows=rows, updates=updates)
        now = time.monotonic()
        self.due = now + (max(self.every, (now - began) / SHARE) if self.every else 0.0)

    def _trees(self):
        """Everything that the rest of the training follows from; all arrays begin with the lane axis."""
        trees = {'state': self.parts.learner.state}
        if self.parts.collector:
            trees['carry'] = self.parts.collector.carry
        if chunks := self.recorder.updates:
            trees['updates'] = {name: np.stack([np.asarray(chunk[name]) for chunk in chunks], 1) for name in chunks[0]}
        return trees

    def restore(self) -> int:
        """Go to the newest checkpoint that all runs have, or to the beginning; returns the clock."""
        clocks = [set(lane.run.checkpoints()) for lane in self.group]
        common = set.intersection(*clocks)
        if not common and all(clocks):
            paths = ', '.join(str(lane.run.path) for lane in self.group)
            raise RunError(f'{paths}: no checkpoint in common; resume them with the command that began them')
        if not common:
            for lane in self.group:
                lane.run.restart()
            return 0
        clock = max(common)
        self._load(clock)
        return clock

    def _load(self, clock):
        loaded = [self._read(lane.run, clock) for lane in self.group]
        learner, collector = self.parts.learner, self.parts.collector
        learner.state = lanes.unflatten(learner.state, _stacked(loaded, 'state'))
        if collector:
            carry = lanes.unflatten(collector.carry, _stacked(loaded, 'carry'))
            collector.restore(carry, self.parts.own_rows(clock))
        updates = _stacked(loaded, 'updates')  # (L, chunks) per name
        if updates:
            count = next(iter(updates.values())).shape[1]
            self.recorder.updates = [
                {name: array[:, chunk] for name, array in updates.items()} for chunk in range(count)
            ]
        traces = [_branch(arrays, 'trace') for arrays in loaded]
        if all(traces):
            self.recorder.evaluated = Evaluated(clock, [], traces)

    def _read(self, run, clock):
        arrays, meta = run.load(clock)
        changed = [name for name, value in self.setting.items() if meta['setting'].get(name) != value]
        if changed and clock < self.parts.schedule.steps:
            was = ', '.join(f'{name}={meta["setting"].get(name)}' for name in changed)
            raise RunError(f'{run.path}: was begun with {was}; resume it so, or delete the directory to train it again')
        self.seconds_before, self.code = meta['seconds'], list(dict.fromkeys([*meta['code'], provenance.CODE]))
        self.parts.added = meta['added']
        return arrays


def _branch(arrays, name):
    """The arrays below `name/`, without that prefix."""
    prefix = f'{name}/'
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _stacked(loaded, name):
    """The branch of every lane, one array per key with the lane axis first."""
    branches = [_branch(arrays, name) for arrays in loaded]
    return {key: np.stack([branch[key] for branch in branches]) for key in branches[0]}
