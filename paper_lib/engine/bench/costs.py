"""What many runs cost on this machine, worked out from one run of each program among them."""

import dataclasses
import functools
import statistics
from typing import NamedTuple

from paper_lib import machine
from paper_lib.contract import tasks
from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.engine import ensure, estimate, jobs
from paper_lib.engine.bench.measure import Case, between_updates, updates
from paper_lib.engine.bench.processes import alone, together


class Program(NamedTuple):
    """What decides how fast a run is updated."""

    model: ModelSpec
    explores: bool
    side: int  # pixels of its pictures; 0: vectors


class Loop(NamedTuple):
    """What decides, nearly, how fast a run collects and is evaluated."""

    suite: str
    program: Program


@dataclasses.dataclass(frozen=True)
class Seconds:
    """What runs take."""

    updating: float  # of the machine, all of its workers at work
    between: float  # of one worker, for collection and evaluation

    def hours(self, workers: int) -> float:
        """Hours of a machine that has so many workers."""
        return (self.updating + self.between / workers) / 3600

    def share_between(self, workers: int) -> float:
        """Share of the time that goes into collection and evaluation."""
        return self.between / workers / (self.updating + self.between / workers)


def predicted(specs: list[RunSpec], seconds: float) -> Seconds:
    """What all these runs take; each program is measured for so many seconds."""
    programs, loops = one_of_each_program(specs), one_of_each_loop(specs)
    trained_alone = jobs.trained_alone(specs)
    _, most_lanes = ensure.layout()
    updating, between = 0.0, 0.0
    for spec in specs:
        lanes = 1 if spec in trained_alone else most_lanes
        exploring = program_of(spec)
        resting = exploring._replace(explores=False)
        if resting not in programs:
            resting = exploring
        share = estimate.exploring_share(spec)
        milliseconds = share * busy_milliseconds(Case(programs[exploring], seconds, lanes))
        milliseconds += (1 - share) * busy_milliseconds(Case(programs[resting], seconds, lanes))
        updating += spec.schedule.updates * milliseconds / 1e3
        cost = alone(between_updates, Case(loops[loop_of(online(spec))], seconds))
        between += spec.budget // spec.eval_every * cost.evaluate
        between += spec.own_rows * tasks.get(spec.task).envs * cost.collect
    return Seconds(updating, between)


@functools.cache
def busy_milliseconds(case: Case) -> float:
    """Milliseconds of the machine per update of one run, with all its workers training as they do by default.

    With fewer of them where memory does not hold so many.
    """
    workers, _ = ensure.layout()
    cores = [machine.cores()]
    if workers > 1:
        single = alone(updates, case)
        free = machine.free_memory()
        fitting = workers if free is None else min(workers, free // single.host_bytes)
        cores = [[core] for core in machine.cores()[:fitting]]
        if len(cores) < 2:
            return single.milliseconds / case.lanes
    measured = together(updates, [case] * len(cores), cores)
    return statistics.mean(each.milliseconds for each in measured) / case.lanes / len(cores)


def online(spec: RunSpec) -> RunSpec:
    """The run that collects the data: the run itself or its source."""
    return spec.source or spec


def program_of(spec: RunSpec) -> Program:
    return Program(spec.model, spec.like.w_expl > 0, tasks.get(spec.task).side)


def loop_of(spec: RunSpec) -> Loop:
    return Loop(tasks.get(spec.task).suite, program_of(spec))


def one_of_each_program(specs: list[RunSpec]) -> dict[Program, RunSpec]:
    """The first run of every program that updates."""
    return {program_of(spec): spec for spec in reversed(specs)}


def one_of_each_loop(specs: list[RunSpec]) -> dict[Loop, RunSpec]:
    """The first run of every loop that collects; an offline run is evaluated as fast as its source."""
    return {loop_of(spec): spec for spec in map(online, reversed(specs))}
