"""Saves a group of runs at intervals, and restores it bit for bit."""

import time
from typing import Any

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.data.writer import Run
from paper_lib.run import lanes, provenance
from paper_lib.run.learner import Lane
from paper_lib.run.loop import Advanced, Evaluated, Training
from paper_lib.run.recorder import Recorder

SHARE = 0.05  # the largest share of a run's time that saving may take


class Checkpoints:
    """Saves checkpoints when the loop's events say so, restores them, and counts the seconds of training."""

    def __init__(
        self, group: list[Lane], setting: dict[str, Any], training: Training, recorder: Recorder, every: float
    ):
        """`setting` comes from `provenance.setting`.

        `every` is the interval in seconds; with 0 a checkpoint is saved after every chunk.
        """
        self.group = group
        self.setting = setting
        self.training = training
        self.recorder = recorder
        self.every = every
        self.started = time.monotonic()
        self.due = self.started + every  # time of the next checkpoint
        self.seconds_before = 0.0  # seconds of training before an interruption
        self.code = [provenance.CODE]  # hashes of all versions of the code that the runs were trained with

    @property
    def seconds(self) -> float:
        """Seconds of training, including those before an interruption."""
        return self.seconds_before + time.monotonic() - self.started

    def __call__(self, event: Any) -> None:
        """Save a checkpoint if one is due when a chunk has ended."""
        if not isinstance(event, Advanced):
            return
        # With a checkpoint at the end, a group can resume if it is killed when only some of its runs are finished.
        is_last = event.clock == self.training.schedule.steps
        if is_last or time.monotonic() >= self.due:
            self._save(event.clock)

    def _save(self, clock: int) -> None:
        began = time.monotonic()
        arrays = lanes.flatten(self._trees())
        evaluated = self.recorder.evaluated
        meta = {
            'setting': self.setting,
            'seconds': self.seconds,
            'code': self.code,
            'added': self.training.added,
            'lost': self.training.diverged,
        }
        rows = self.training.own_rows(clock)
        updates = self.training.schedule.updates_at(clock)
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
        """All arrays that the rest of the training depends on. Their first axis is that of the lanes."""
        trees = {'state': self.training.learner.state}
        if self.training.collector:
            trees['carry'] = self.training.collector.carry
        chunks = self.recorder.updates
        if chunks:
            trees['updates'] = {}
            for name in chunks[0]:
                values = [np.asarray(chunk[name]) for chunk in chunks]
                trees['updates'][name] = np.stack(values, 1)  # (L, chunks)
        return trees

    def restore(self) -> int:
        """Return to the newest checkpoint that all runs have, or to the beginning. Returns the clock."""
        clocks = [set(lane.run.checkpoints()) for lane in self.group]
        common = set.intersection(*clocks)
        if not common and all(clocks):
            paths = ', '.join(str(lane.run.path) for lane in self.group)
            raise RunError(f'{paths}: have no common checkpoint; resume them with the command that began them')
        if not common:
            self._check_own(clocks)
            for lane in self.group:
                lane.run.restart()
            return 0
        clock = max(common)
        self._load(clock)
        return clock

    def _check_own(self, clocks: list[set[int]]) -> None:
        """Raise RunError if one of these runs was begun with others than these; else the first save was cut short."""
        for lane, saved in zip(self.group, clocks, strict=True):
            if saved and lane.run.load(max(saved))[1]['setting']['lanes'] != self.setting['lanes']:
                raise RunError(f'{lane.run.path}: was begun with other runs; resume it with the command that began it')

    def _load(self, clock: int) -> None:
        loaded = [self._read(lane.run, clock) for lane in self.group]
        learner = self.training.learner
        collector = self.training.collector
        learner.state = lanes.unflatten(learner.state, _stacked(loaded, 'state'))
        if collector:
            carry = lanes.unflatten(collector.carry, _stacked(loaded, 'carry'))
            collector.restore(carry, self.training.own_rows(clock))
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
        """Read the arrays of one run's checkpoint, and take over its counters.

        Raises RunError if the run was trained in another setting so far.
        """
        arrays, meta = run.load(clock)
        setting = meta['setting']
        changed = [name for name, value in self.setting.items() if setting.get(name) != value]
        if clock == self.training.schedule.steps:
            self.setting = setting  # the training has ended, and only the final files are written in this setting
        elif changed:
            was = ', '.join(f'{name}={setting.get(name)}' for name in changed)
            raise RunError(f'{run.path}: was begun with {was}; resume it so, or delete the directory to train it again')
        self.seconds_before = meta['seconds']
        self.code = list(dict.fromkeys([*meta['code'], provenance.CODE]))
        self.training.added = meta['added']
        self.training.diverged = meta.get('lost', {})  # older checkpoints have none
        return arrays


def _branch(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays below `name/`, without that prefix."""
    prefix = f'{name}/'
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _stacked(loaded: list[dict[str, np.ndarray]], name: str) -> dict[str, np.ndarray]:
    """The branch `name/` of all lanes: one array per key, with the lane axis first."""
    branches = [_branch(arrays, name) for arrays in loaded]
    return {key: np.stack([branch[key] for branch in branches]) for key in branches[0]}
