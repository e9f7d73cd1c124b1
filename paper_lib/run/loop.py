"""The training loop, as a generator of events.

Its consumers record, save and show what happens.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.contract.schedule import Schedule
from paper_lib.run.evaluate import Evaluation
from paper_lib.run.learner import Learner
from paper_lib.run.rollout import Collector


@dataclasses.dataclass
class Parts:
    """What trains a group of runs of one signature.

    Only the loop changes it, and the restoring of a checkpoint.
    """

    schedule: Schedule
    learner: Learner
    evaluation: Evaluation
    collector: Collector | None  # None for runs that write no replay
    source_rows: int  # rows of a finished recording; 0 for runs that learn from a growing replay
    threshold: float  # an offline run adds data if its OOD ratio is above this; 0: always
    added: int = 0  # rows that an offline run has added
    lost: dict[str, int] = dataclasses.field(default_factory=dict)  # ids of runs that have diverged: the time of it

    def rows(self, clock: int) -> int:
        """Number of rows to learn from at this time."""
        if self.source_rows:
            return self.source_rows + self.added
        return self.schedule.rows_at(clock)

    def own_rows(self, clock: int) -> int:
        """Number of rows that each run has written itself by this time."""
        return self.schedule.rows_at(clock) if self.schedule.online else self.added

    def collect(self, row: int, clock: int) -> None:
        """Write this row of the runs' own replays."""
        self.lose(self.collector.collect(self.learner.params, row), clock)

    def lose(self, diverged: np.ndarray, clock: int) -> None:
        """Note which lanes (L,) have diverged. They go on beside the others, whose bits they do not change.

        Raises RunError if there are no others.
        """
        run_ids = [lane.spec.run_id for lane in self.learner.group]
        for run_id, bad in zip(run_ids, diverged):
            if bad:
                self.lost.setdefault(run_id, clock)
        if self.lost.keys() >= set(run_ids):
            self.fail()

    def fail(self) -> None:
        """Raise RunError, which names them, if runs have diverged."""
        if self.lost:
            run_ids, clocks = ', '.join(self.lost), ', '.join(map(str, self.lost.values()))
            raise RunError(f'{run_ids}: diverged before agent step {clocks}; lower the learning rates')


@dataclasses.dataclass(frozen=True)
class Collected:
    """The online runs have written the rows of this chunk."""

    clock: int


@dataclasses.dataclass(frozen=True)
class Updated:
    """The updates of this chunk are made. `metrics` has their means, (L,) per name."""

    clock: int
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation has ended.

    Each lane has a row of metrics, and the arrays of its episodes.
    """

    clock: int
    metrics: list[dict[str, Any]]
    traces: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Interacted:
    """Offline runs have added data of their own."""

    clock: int


@dataclasses.dataclass(frozen=True)
class Advanced:
    """The chunk has ended.

    Weights, replays and logs belong together now, so that a checkpoint can be saved.
    """

    clock: int


Event = Collected | Updated | Evaluated | Interacted | Advanced


def events(parts: Parts, clock: int) -> Iterator[Event]:
    """Train from `clock` to the end of the schedule, chunk by chunk."""
    schedule, learner = parts.schedule, parts.learner
    while clock < schedule.steps:
        clock += schedule.chunk
        for row in schedule.rows_due(clock):
            parts.collect(row, clock)
        yield Collected(clock)

        if numbers := schedule.updates_due(clock):
            metrics = learner.update(numbers, parts.rows(clock), schedule.explorer_rests(clock))
            yield Updated(clock, metrics)

        evaluated = None
        if schedule.evaluation_due(clock):
            parts.lose(learner.diverged(), clock)
            evaluated = evaluate(parts, clock)
            yield evaluated

        if schedule.interaction_due(clock) and wants_data(parts, evaluated):
            interact(parts, clock)
            yield Interacted(clock)

        yield Advanced(clock)


def evaluate(parts: Parts, clock: int) -> Evaluated:
    """Evaluate the present weights; the last evaluation keeps images too."""
    number = parts.schedule.evaluation_at(clock)
    is_last = clock == parts.schedule.steps
    state = parts.learner.state
    norm = state['norm']['task']['task']
    metrics, traces = parts.evaluation(state['params'], number, parts.rows(clock), is_last, norm)
    parts.lose(parts.evaluation.evaluator.diverged, clock)
    return Evaluated(clock, metrics, traces)


def wants_data(parts: Parts, evaluated: Evaluated | None) -> bool:
    """Whether a run adds data when that is due: always, or if its OOD ratio is above the threshold (Alg. 2).

    A run that interacts is trained alone, so that the first lane decides.
    """
    if not parts.threshold:
        return True
    ratio = evaluated.metrics[0]['ood_ratio']
    return ratio is not None and ratio > parts.threshold


def interact(parts: Parts, clock: int) -> None:
    """Add rows with the present policy. Episodes continue from the last time."""
    for _ in range(parts.schedule.interact_rows):
        parts.collect(parts.added, clock)
        parts.added += 1
