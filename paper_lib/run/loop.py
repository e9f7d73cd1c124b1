"""The training loop, as a generator of events.

Its consumers record, save and show what happens.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from paper_lib.contract.errors import Diverged
from paper_lib.contract.schedule import Schedule
from paper_lib.contract.spec import RunSpec
from paper_lib.run.evaluate import Evaluation
from paper_lib.run.learner import Learner
from paper_lib.run.rollout import Collector


@dataclasses.dataclass
class Training:
    """The training of a group of runs of one signature.

    It is changed only by the loop and when a checkpoint is restored.
    """

    schedule: Schedule
    learner: Learner
    evaluation: Evaluation
    collector: Collector | None  # None for runs that write no replay
    source_rows: int  # rows of the recording that is learned from; 0 for runs that learn from a growing replay
    added: int = 0  # rows that an offline run has added
    diverged: dict[str, int] = dataclasses.field(default_factory=dict)  # run ids: the clock at which each diverged

    def rows(self, clock: int) -> int:
        """Number of rows that are learned from at this time."""
        if self.source_rows:
            return self.source_rows + self.added
        return self.schedule.rows_at(clock)

    def own_rows(self, clock: int) -> int:
        """Number of rows that each run has collected itself by this time."""
        return self.schedule.rows_at(clock) if self.schedule.online else self.added

    def collect(self, row: int, clock: int) -> None:
        """Write one row of the runs' own replays."""
        diverged = self.collector.collect(self.learner.params, row)
        self.note_diverged(diverged, clock)

    def note_diverged(self, diverged: np.ndarray, clock: int) -> None:
        """Note which lanes (L,) have diverged. Raises Diverged if all have.

        A diverged lane stays in the program, where it does not change the bits of the other lanes.
        """
        run_ids = [lane.spec.run_id for lane in self.learner.group]
        for run_id, has_diverged in zip(run_ids, diverged):
            if has_diverged:
                self.diverged.setdefault(run_id, clock)
        if self.diverged.keys() >= set(run_ids):
            self.check_diverged()

    def check_diverged(self) -> None:
        """Raise Diverged if runs have diverged."""
        if self.diverged:
            run_ids = ', '.join(self.diverged)
            clocks = ', '.join(map(str, self.diverged.values()))
            raise Diverged(f'{run_ids}: diverged before agent step {clocks}; lower the learning rates')


@dataclasses.dataclass(frozen=True)
class Collected:
    """The online runs have written the rows of this chunk."""

    clock: int


@dataclasses.dataclass(frozen=True)
class Updated:
    """The updates of this chunk are made."""

    clock: int
    metrics: dict[str, Any]  # by name: (L,) means over the updates


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation has ended."""

    clock: int
    metrics: list[dict[str, Any]]  # per lane: a row of metrics
    traces: list[dict[str, Any]]  # per lane: the arrays of the episodes


@dataclasses.dataclass(frozen=True)
class Advanced:
    """The chunk has ended.

    Weights, replays and logs now belong to the same time, so a checkpoint can be saved.
    """

    clock: int


Event = Collected | Updated | Evaluated | Advanced


def events(training: Training, clock: int) -> Iterator[Event]:
    """Train from `clock` to the end of the schedule, chunk by chunk."""
    schedule = training.schedule
    learner = training.learner
    while clock < schedule.steps:
        clock += schedule.chunk
        for row in schedule.rows_due(clock):
            training.collect(row, clock)
        yield Collected(clock)

        if numbers := schedule.updates_due(clock):
            metrics = learner.update(numbers, training.rows(clock), schedule.explorer_rests(clock))
            yield Updated(clock, metrics)

        evaluated = None
        if schedule.evaluation_due(clock):
            training.note_diverged(learner.diverged(), clock)
            evaluated = evaluate(training, clock)
            yield evaluated

        if schedule.interaction_due(clock) and wants_data(learner.group[0].spec, evaluated):
            interact(training, clock)

        yield Advanced(clock)


def evaluate(training: Training, clock: int) -> Evaluated:
    """Evaluate the present weights. The last evaluation keeps images too."""
    number = training.schedule.evaluation_at(clock)
    is_last = clock == training.schedule.steps
    state = training.learner.state
    norm = state['norm']['task']['task']  # of the task behaviour, for the task's reward
    metrics, traces = training.evaluation(state['params'], number, training.rows(clock), is_last, norm)
    training.note_diverged(training.evaluation.diverged, clock)
    return Evaluated(clock, metrics, traces)


def wants_data(spec: RunSpec, evaluated: Evaluated | None) -> bool:
    """Whether a run adds data when this is due: always without a limit, else if its measure is beyond it (Alg. 2).

    A run that adds data is trained alone; it is the first lane. A measure without a finite value says nothing, so no
    data are added then.
    """
    if not spec.is_adaptive:
        return True
    value = evaluated.metrics[0][spec.interact_by]
    if value is None or not math.isfinite(value):
        return False
    if spec.interact_below:
        return value < spec.interact_below
    return value > spec.interact_above


def interact(training: Training, clock: int) -> None:
    """Add rows with the present policy. Unfinished episodes of the previous interaction go on."""
    for _ in range(training.schedule.interact_rows):
        training.collect(training.added, clock)
        training.added += 1
