"""Makes sure that runs exist: trains what is missing, sources first, on all cores or one GPU.

Each worker is a process of its own on its share of the cores, by default one core each: on a CPU two small runs side by
side are faster than one on two cores, and a notebook's process never holds JAX.
"""

import math
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from paper_lib import machine
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.lease import STALE, Busy
from paper_lib.data.store import Store
from paper_lib.engine import jobs, pool
from paper_lib.engine.jobs import Job, Program
from paper_lib.engine.progress import Progress

GPU_LANES = 8  # runs that train as one program where there is a GPU
MOST = 1000  # workers, and lanes
RETRY = 5.0  # seconds until a run that another process works on is looked at again
PATIENCE = 2 * STALE  # seconds after which a job steps aside: the lease of a dead process is free by then


def layout() -> tuple[int, int]:
    """(workers, lanes) by default: one pinned worker per core, or one program of several lanes on a GPU."""
    return (1, GPU_LANES) if machine.trains_on_gpu() else (len(machine.cores()), 1)


class Failed(RunError):
    """Runs that could not be trained, each with its error."""

    def __init__(self, errors: dict[RunSpec, UserError]):
        first, *more = dict.fromkeys(map(str, errors.values()))
        super().__init__(first + (f' (and {len(more)} more: see paper-lib runs)' if more else ''))
        self.errors = errors

    def __reduce__(self):
        return type(self), (self.errors,)


def ensure(specs: list[RunSpec], store: Store | None = None, workers: int = 0, lanes: int = 0) -> None:
    """Train every run that is not finished. Sources must be among `specs` or finished.

    Returns when all are finished. Raises Failed, when the others are finished, if some could not be trained, and
    UserError for anything else that the user can mend; runs then go on where they stopped when the same call is made
    again. A run that another process works on is waited for.
    """
    store = store or Store()
    waiting = unfinished(specs, store, workers, lanes)
    default_workers, default_lanes = layout()
    begun = jobs.begun(waiting, store)
    planned = jobs.plan(waiting, lanes or default_lanes, begun=begun)
    train([program for job in planned for program in job.programs], store, workers or default_workers)


def work(job: Job, store: Store, patience: float = PATIENCE) -> None:
    """Train the runs of a job that are not finished, in one process at a time. Raises as `ensure`.

    Raises Busy if another process goes on working on a run for so many seconds. Runs whose source is not finished come
    last; RunError says so if it is not finished then.
    """
    left_out = [spec for spec in job.specs if not has_source(spec, store)]
    programs = []
    for program in job.programs:
        waiting = unfinished([spec for spec in program if spec not in left_out], store)
        programs += jobs.programs(waiting, len(program), jobs.begun(waiting, store))
    train(programs, store, workers=1, patience=patience)
    for spec in left_out:
        store.source(spec.source)
    if left_out:  # another process has finished their sources
        work(job, store, patience)


def train(programs: list[Program], store: Store, workers: int, patience: float = math.inf) -> None:
    """Train these programs, whose runs are not finished, in the order in which their sources are. Raises as `work`."""
    if not programs:
        return
    waiting = list(programs)
    specs = [spec for program in waiting for spec in program]
    progress = Progress(sum(spec.schedule.steps for spec in specs))
    with progress, Crew(workers, store.root, progress) as crew:
        lanes = max(len(program) for program in waiting)
        crew.check([spec for spec in specs if store.status(spec) == 'missing'], workers * lanes)
        if len(specs) > 1:
            progress.note(f'runs to train: {len(specs)}, agent steps: {progress.total:,}')
        while waiting or crew.working:
            ready = [program for program in waiting if all(has_source(spec, store) for spec in program)]
            if not (ready or crew.working):
                source = next(spec.source for spec in waiting[0] if not has_source(spec, store))
                raise RunError(f'{source.run_id}: is not there any more; run the same command again')
            for program in ready[: len(crew.idle)]:
                crew.start(program)
                waiting.remove(program)
            again = crew.wait()
            if again and not crew.working and time.monotonic() - crew.moved > patience:
                raise again[0].error
            waiting += [each.program for each in again]
            waiting = _without_followers(waiting, crew.failed)
            if waiting or crew.working:
                for error in crew.failed.values():
                    progress.note(f'failed: {error}')
    if crew.failed:  # the others are finished
        raise Failed(crew.failed)


def _without_followers(programs: list[Program], failed: Collection[RunSpec]) -> list[Program]:
    """The programs without the runs that would learn from a failed one."""
    kept = [tuple(spec for spec in program if spec.source not in failed) for program in programs]
    return [program for program in kept if program]


def has_source(spec: RunSpec, store: Store) -> bool:
    """Whether the run can be trained now: it has no source, or a dataset, or a finished run."""
    return not isinstance(spec.source, RunSpec) or store.status(spec.source) == 'done'


def unfinished(specs: list[RunSpec], store: Store, workers: int = 0, lanes: int = 0) -> list[RunSpec]:
    """The runs that are not finished. Raises UserError for what shows before any is trained (as `ensure`)."""
    for name, value in {'workers': workers, 'lanes': lanes}.items():
        if not 0 <= value <= MOST:
            raise UserError(f'{name}={value}: must be from 1 to {MOST}, or 0 for as many as suit this machine')
    waiting = [spec for spec in dict.fromkeys(specs) if store.status(spec) != 'done']
    for spec in waiting:
        if isinstance(spec.source, RunSpec) and spec.source not in waiting:
            store.source(spec.source)
    if waiting:
        store.check_writable()
    return waiting


class Again(NamedTuple):
    """A program that must be tried again, since another process works on one of its runs."""

    program: Program
    error: Busy


class Crew:
    """The workers that train: each trains one program at a time and reports its clock."""

    def __init__(self, workers: int, root: Path, progress: Progress):
        threads = os.environ.get('NPROC', '1')
        if not (threads.isdecimal() and int(threads)):
            raise UserError(f'NPROC={threads!r}: must be a number of threads, at least 1')
        self.idle = [pool.Worker(cores, int(threads)) for cores in pool.shares(workers)]
        self.working: dict[pool.Worker, Program] = {}
        self.failed: dict[RunSpec, UserError] = {}
        self.root, self.progress = root, progress
        self.moved = time.monotonic()  # when a program was last heard of
        self._programs = {}  # worker: what decides which program it holds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in (*self.idle, *self.working):  # a run that is stopped resumes to the bit
            worker.stop()

    def check(self, specs: list[RunSpec], at_once: int) -> None:
        """Raise UserError if the disk cannot hold what these runs will write, or JAX does not start."""
        worker = self.idle[0]
        worker.call(_check, specs, self.root, at_once)
        match worker.receive():
            case pool.Raised(error):
                raise error
            case pool.Died(exit_code):
                flags = os.environ.get('XLA_FLAGS')
                if flags and exit_code > 0:  # JAX ended it, and no signal
                    raise UserError(f'XLA_FLAGS={flags!r}: jax does not start with it; see the line above')
                raise _killed(specs)

    def start(self, group: Program) -> None:
        """Give a program to an idle worker: to one that holds its program, if there is one.

        A worker that holds another program is replaced by a new process, since a process does not give back all of
        the memory that its compiled programs took. The new one loads its program from the compilation cache.
        """
        program = (group[0].signature, len(group))
        fitting = [worker for worker in self.idle if self._programs.get(worker) == program]
        worker = fitting[0] if fitting else min(self.idle, key=lambda worker: worker in self._programs)
        if self._programs.get(worker, program) != program:
            worker.stop()
        self._programs[worker] = program
        self.idle.remove(worker)
        self.working[worker] = group
        worker.call(_train, list(group), self.root)

    def wait(self) -> list[Again]:
        """Pass reports on, for a second or until a program ends; return those that must be tried again."""
        again = []
        for worker in pool.ready(list(self.working), 1.0):
            group = self.working[worker]
            match worker.receive():
                case pool.Reported(clock):
                    self.progress.update([spec.run_id for spec in group], clock)
                    self.moved = time.monotonic()
                    continue
                case pool.Returned():
                    self.moved = time.monotonic()
                case pool.Raised(Busy() as error):
                    self.progress.note(f'waiting: {str(error).partition(";")[0]}')
                    again.append(Again(group, error))
                case pool.Raised(UserError() as error):
                    store = Store(self.root)
                    unfinished = [spec for spec in group if store.status(spec) != 'done']
                    self.failed |= dict.fromkeys(unfinished, error)
                case pool.Raised(error):
                    raise error
                case pool.Died():
                    raise _killed(group)
            del self.working[worker]
            self.idle.append(worker)
        if again:
            time.sleep(RETRY)
        return again


def _killed(group):
    names = ', '.join(spec.run_id for spec in group)
    what = 'a training process was killed (out of memory?); run the same command again to resume'
    return RunError(f'{names}: {what}' if names else what)  # without runs while the disk is checked for none


def _check(specs, root, at_once):
    """In a worker's process."""
    from paper_lib.run import backend, cost

    backend.check_device()
    cost.check_space(specs, root, at_once)


def _train(group, root):
    """In a worker's process: train these runs, and report the clock once a second and at the end."""
    from jax.errors import JaxRuntimeError

    from paper_lib.run.train import train

    last = 0.0

    def report(clock):
        nonlocal last
        if time.monotonic() - last > 1 or clock == group[0].schedule.steps:
            last = time.monotonic()
            pool.report(clock)

    try:
        train(group, Store(root), report)
    except UserError:
        raise
    except JaxRuntimeError as error:
        names, reason = ', '.join(spec.run_id for spec in group), str(error).partition('\n')[0]
        raise RunError(f'{names}: {reason}; if this is for want of memory, choose a smaller model or batch') from error
    except OSError as error:
        reason = error.strerror or error
        what = f'{error.filename or root}: {reason}; remove the cause, then run the same command again'
        raise RunError(what) from error
