"""The training loop as a generator of events. What is recorded, saved or shown is the business of its consumers."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from paper_lib.contract.schedule import Schedule
from paper_lib.run.evaluate import Evaluation
from paper_lib.run.learner import Learner
from paper_lib.run.rollout import Collector


@dataclasses.dataclass
class Parts:
    """What trains a group of runs of one signature. The loop changes it, and nothing else does."""

    schedule: Schedule
    learner: Learner
    evaluation: Evaluation
    collector: Collector | None  # of runs that write a replay
    source_rows: int  # rows of the recording that runs learn from whose source is finished, else 0
    surprising: float  # an offline run adds data where its OOD ratio is above this; 0: always
    added: int = 0  # rows that an offline run has added

    def rows(self, clock: int) -> int:
        """Rows in use: all of a finished recording and what was added, else those written by now."""
        return self.source_rows + self.added if self.source_rows else self.schedule.rows_at(clock)

    def own_rows(self, clock: int) -> int:
        """Rows that the runs have written themselves."""
        return self.schedule.rows_at(clock) if self.schedule.online else self.added


@dataclasses.dataclass(frozen=True)
class Collected:
    """The online runs have written the rows of this chunk."""

    clock: int


@dataclasses.dataclass(frozen=True)
class Updated:
    """The updates of this chunk are made; `metrics` are their means, (L,) per name."""

    clock: int
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation: per lane one row of metrics, and the arrays of the episodes behind it."""

    clock: int
    metrics: list[dict[str, Any]]
    traces: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Interacted:
    """Offline runs have added data of their own."""

    clock: int


@dataclasses.dataclass(frozen=True)
class Advanced:
    """The chunk is over: weights, replays and logs fit each other, and a checkpoint can be made."""

    clock: int


Event = Collected | Updated | Evaluated | Interacted | Advanced


def events(parts: Parts, clock: int) -> Iterator[Event]:
    """Train from `clock` to the end of the schedule, chunk by chunk."""
    schedule, learner = parts.schedule, parts.learner
    while clock < schedule.steps:
        clock += schedule.chunk
        for row in schedule.rows_due(clock):
            parts.collector.collect(learner.params, row)
        yield Collected(clock)

        if numbers := schedule.updates_due(clock):
            metrics = learner.update(numbers, parts.rows(clock), schedule.explorer_rests(clock))
            yield Updated(clock, metrics)

        evaluated = None
        if schedule.evaluation_due(clock):
            learner.check_finite(clock)
            evaluated = evaluate(parts, clock)
            yield evaluated

        if schedule.interaction_due(clock) and (not parts.surprising or surprised(parts, evaluated)):
            interact(parts)
            yield Interacted(clock)

        yield Advanced(clock)


def evaluate(parts: Parts, clock: int) -> Evaluated:
    """Play the evaluation's episodes with the weights as they are now."""
    number = parts.schedule.evaluation_at(clock)
    last = clock == parts.schedule.steps
    state = parts.learner.state
    norm = state['norm']['task']['task']
    metrics, traces = parts.evaluation(state['params'], number, parts.rows(clock), last, norm)
    return Evaluated(clock, metrics, traces)


def surprised(parts: Parts, evaluated: Evaluated) -> bool:
    """Whether the OOD ratio of the evaluation is above the threshold (Alg. 2, adaptive). Such a run is alone."""
    ratio = evaluated.metrics[0]['ood_ratio']
    return ratio is not None and ratio > parts.surprising


def interact(parts: Parts) -> None:
    """Add rows with the policy as it is now; episodes go on where they stood the last time."""
    for _ in range(parts.schedule.interact_rows):
        parts.collector.collect(parts.learner.params, parts.added)
        parts.added += 1
