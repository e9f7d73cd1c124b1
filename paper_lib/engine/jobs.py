"""Jobs: what a plan becomes before anything trains it. The workers of this machine and a cluster take the same list.

A job holds programs, which it trains one after the other; a program holds the runs that train as its lanes. Small runs
are packed into one job, so that thousands of runs are hundreds of jobs.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from paper_lib.contract import files, plain
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.store import Store
from paper_lib.engine import estimate
from paper_lib.engine.estimate import Machine

MARGIN = 1.5  # minutes asked for, for each minute expected: a job at its limit is stopped and has to wait again
MOST_RUNS = 60  # of a job: its file stays below what is read
SHAPE = {
    'programs': [[files.ANY]], 'after': [str], 'cores': int, 'gpus': int, 'memory': int, 'minutes': int, 'disk': int,
}  # fmt: skip

# The runs of a program, in the order of its lanes.
Program = tuple[RunSpec, ...]


@dataclasses.dataclass(frozen=True)
class Job:
    """Programs that one process trains one after the other, the jobs that must end first, and what it needs."""

    programs: tuple[Program, ...]
    after: tuple[str, ...]  # ids of the jobs that train its sources
    cores: int
    gpus: int
    memory: int  # bytes of the host
    minutes: int  # with a margin
    disk: int  # bytes of its finished runs

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """Its runs."""
        return tuple(spec for program in self.programs for spec in program)

    @functools.cached_property
    def id(self) -> str:
        """A hash of the ids of its runs: jobs of the same runs are the same job, whoever plans them."""
        text = '\n'.join(sorted(spec.run_id for spec in self.specs))
        return f'job_{hashlib.sha256(text.encode()).hexdigest()[:16]}'

    def to_plain(self) -> dict[str, Any]:
        """Values for JSON; `read` is the inverse."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        programs = [[plain.to_plain(spec) for spec in program] for program in self.programs]
        return values | {'programs': programs, 'after': list(self.after)}


def write(path: Path, job: Job) -> None:
    """Write a job into a file of its own; makes its folder."""
    with files.guard(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, job.to_plain())


def read(path: Path) -> Job:
    """The job in a file. Raises RunError if it is damaged or holds something else."""
    advice = 'write it again with `paper-lib cluster submit`'
    values = files.read_json(path, SHAPE, advice)
    try:
        programs = tuple(tuple(plain.from_plain(spec) for spec in program) for program in values['programs'])
    except UserError as error:
        raise RunError(f'{path}: damaged ({error}); {advice}') from None
    numbers = {name: values[name] for name in SHAPE if SHAPE[name] is int}
    return Job(programs, tuple(values['after']), **numbers)


def plan(
    specs: Iterable[RunSpec],
    lanes: int = 1,
    minutes: float = 0,
    machine: Machine = estimate.CORE,
    begun: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Job]:
    """The jobs of these runs, task by task, sources before their followers.

    `lanes` is the largest number of runs in a program. Programs of a task are packed into a job until that is expected
    to take `minutes`; with 0 every program is a job. `begun` is what the function of this name returns.
    """
    specs = list(dict.fromkeys(specs))
    planned = set(specs)
    alone = trained_alone(specs)
    parts: dict[tuple[str, int], list[RunSpec]] = {}
    tasks = list(dict.fromkeys(spec.task for spec in specs))
    for spec in specs:
        parts.setdefault((spec.task, _level(spec, planned)), []).append(spec)
    made = []
    job_of: dict[RunSpec, str] = {}
    for key in sorted(parts, key=lambda key: (tasks.index(key[0]), key[1])):
        for packed in _packs(programs(parts[key], lanes, begun or {}, alone), minutes, machine):
            sources = [spec.source for program in packed for spec in program if spec.source in planned]
            job = _job(packed, tuple(dict.fromkeys(job_of[source] for source in sources)), machine)
            job_of |= dict.fromkeys(job.specs, job.id)
            made.append(job)
    return made


def left(planned: list[Job], done: Collection[RunSpec], machine: Machine) -> list[Job]:
    """The jobs without the runs that are done, and without those jobs of which nothing is left."""
    made = []
    names = {}
    for job in planned:
        kept = [tuple(spec for spec in program if spec not in done) for program in job.programs]
        kept = tuple(program for program in kept if program)
        if kept:
            made.append(_job(kept, tuple(names[name] for name in job.after if name in names), machine))
            names[job.id] = made[-1].id
    return made


def _level(spec: RunSpec, planned: Collection[RunSpec]) -> int:
    """How many planned runs must be trained before this one, one after the other."""
    level = 0
    while spec.source in planned:
        spec = spec.source
        level += 1
    return level


def programs(
    specs: list[RunSpec],
    lanes: int,
    begun: Mapping[str, tuple[str, ...]],
    alone: Collection[RunSpec] = frozenset(),
) -> list[Program]:
    """Split runs into programs of at most `lanes` runs, in the order given.

    Runs in `alone` share none. Runs that were interrupted go on with those that they were begun with, in the same
    order: another grouping would change their last bits.
    """
    alike: dict[tuple, list[RunSpec]] = {}
    for spec in specs:
        own = spec.run_id if spec in alone else ''
        alike.setdefault((spec.signature, begun.get(spec.run_id), own), []).append(spec)
    cut = []
    for (_, together, _), same in alike.items():
        if together:
            cut.append(tuple(sorted(same, key=lambda spec: together.index(spec.run_id))))
        else:
            cut += [tuple(same[i : i + lanes]) for i in range(0, len(same), lanes)]
    order = {spec: number for number, spec in enumerate(specs)}
    return sorted(cut, key=lambda program: order[program[0]])


def begun(specs: Iterable[RunSpec], store: Store) -> dict[str, tuple[str, ...]]:
    """Id of every run that has a checkpoint -> the ids of all lanes of its program, in their order."""
    found = {}
    for spec in specs:
        for path in store.path(spec).glob('checkpoint-*.npz'):
            meta = files.read_meta(path, {'meta': {'setting': {'lanes': [str]}}})
            together = meta['meta']['setting']['lanes'] if meta else []
            found |= dict.fromkeys(together, tuple(together))
    return found


def trained_alone(specs: Iterable[RunSpec]) -> set[RunSpec]:
    """The runs that must be trained alone because they, or a follower, must be equal to the bit."""
    return {run for spec in specs if spec.exact for run in (spec, spec.source)}


def _packs(each: list[Program], minutes: float, machine: Machine) -> list[tuple[Program, ...]]:
    """Programs next to each other, packed until they are expected to take so many minutes."""
    packs: list[list[Program]] = []
    expected, runs = math.inf, 0
    for program in each:
        more = _seconds(program, machine)
        if expected + more > 60 * minutes or runs + len(program) > MOST_RUNS:
            packs.append([])
            expected, runs = 0.0, 0
        packs[-1].append(program)
        expected += more
        runs += len(program)
    return [tuple(pack) for pack in packs]


def _seconds(program: Program, machine: Machine) -> float:
    return estimate.START + sum(estimate.seconds(spec, machine) for spec in program)


def _job(packed: tuple[Program, ...], after: tuple[str, ...], machine: Machine) -> Job:
    expected = sum(_seconds(program, machine) for program in packed)
    return Job(
        programs=packed,
        after=after,
        cores=machine.cores,
        gpus=int(machine.gpu),
        memory=max(estimate.memory(spec, len(program), machine) for program in packed for spec in program),
        minutes=math.ceil(MARGIN * expected / 60),
        disk=sum(estimate.disk(spec) for program in packed for spec in program),
    )
