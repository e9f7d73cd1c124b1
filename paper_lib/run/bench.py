"""What this machine does in a second, and what the study would cost on it.

Every measurement runs in a process of its own, with as many threads as it has cores, and compiles anew.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import resource
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.store import Store
from paper_lib.envs import Spaces
from paper_lib.run import cost, ensure, lanes, loop, rollout, train, variables
from paper_lib.run.learner import Learner

CALLS = 3  # timed calls at least, if they take less than five times the seconds that they should
SLOW = 2.0  # seconds per update from which more lanes are not tried
WIDTHS = {'program': 30, 'plan': 30, 'way': 30, 'task': 24}  # of columns whose first entry need not be the longest
SIDES = {'cpu': 2048, 'gpu': 8192}  # of the square matrices whose product is taken for the device's peak


@dataclasses.dataclass(frozen=True)
class Case:
    """A program to measure: `lanes` runs of one spec."""

    spec: RunSpec
    seconds: float  # of measuring
    lanes: int = 1

    @property
    def spaces(self) -> Spaces:
        return envs.make(self.spec.task, 0, **self.spec.options).spaces


# Measurements: functions of a case that are called in a process of their own.


def updates(case: Case) -> dict:
    """Seconds of compilation, ms per update of all lanes, memory, FLOPs per update of one lane."""
    program, args = _program(case)
    began = time.perf_counter()
    chunk = program.chunk.lower(*args).compile()
    compiled, (state, *rest) = time.perf_counter() - began, args

    def call():
        nonlocal state
        state, metrics = chunk(state, *rest)
        jax.block_until_ready((state, metrics))

    ms = 1e3 * _median(call, case.seconds) / case.spec.schedule.chunk_updates
    return {'compile': compiled, 'ms': ms} | memory() | {'flops': work(case)}


def work(case: Case) -> float:
    """FLOPs per update of one lane."""
    program, args = _program(dataclasses.replace(case, lanes=1))
    return flops(program.chunk, *args) / case.spec.schedule.chunk_updates


def _program(case):
    """The case's program, and the arguments of a chunk of updates on random batches."""
    model, count, specs = case.spec.model, case.spec.schedule.chunk_updates, [case.spec] * case.lanes
    program = lanes.Program(lanes.networks_of(case.spec, case.spaces), case.lanes)
    batches = _random(rollout.layout(case.spaces), (case.lanes, count, model.batch, model.length))
    state, keys = program.initial_state(specs), lanes.keys(specs, 'train')
    return program, (state, batches, lanes.hyper(specs), keys, np.int32(0))


def around(case: Case) -> dict:
    """Seconds per agent step of collection and per evaluation, of a real run with hardly any updates."""
    chunk = case.spec.schedule.evaluate_every // 5
    spec = dataclasses.replace(case.spec, budget=2 * case.spec.eval_every, prefill=chunk, chunk=chunk, ratio=1 / chunk,
                               expl_until=0)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        with train.opened([spec], store) as (run,):
            run.restart()
            parts = train.make_parts([train.make_lane(run, None, case.spaces)], case.spaces)
            times = timed(loop.events(parts, 0), parts.learner)
    *_, evaluation = times[loop.Evaluated]  # the first one compiles
    return {'collect': statistics.median(times[loop.Collected][2:]) / chunk, 'evaluate': evaluation}


def timed(events: Iterator[loop.Event], learner: Learner) -> dict[type, list[float]]:
    """Seconds that lie before each event, by its kind; the device is waited for, so that no step pays for another."""
    times, began = collections.defaultdict(list), time.perf_counter()
    for event in events:
        jax.block_until_ready(learner.state)
        times[type(event)].append(time.perf_counter() - began)
        began = time.perf_counter()
    return times


def frames(case: Case) -> float:
    """Agent steps per second of random actions in the task's parallel environments."""
    task = tasks.get(case.spec.task)
    seeds, rng = [(0, index) for index in range(task.envs)], np.random.default_rng(0)
    batch = envs.Batch(task.id, seeds, **case.spec.options)
    reset = np.ones(task.envs, bool)

    def call():
        nonlocal reset
        reset = batch.step({'action': rng.uniform(-1, 1, (task.envs, batch.spaces.action)), 'reset': reset})['is_last']

    return task.envs / _median(call, case.seconds)


def peak(case: Case) -> float:
    """FLOP/s of a large matrix product in the case's precision: what is called 100 % here."""
    side = SIDES['cpu' if jax.default_backend() == 'cpu' else 'gpu']
    a = jnp.ones((side, side), case.spec.model.precision)
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(a))
    return 2 * side**3 / _median(lambda: jax.block_until_ready(product(a)), 1.0)


def memory() -> dict:
    """Bytes: the most that this process held, and the most on its device where that is not the host."""
    stats = jax.devices()[0].memory_stats() or {}
    return {'host': 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 'device': stats.get('peak_bytes_in_use')}


def flops(fn, *args) -> float:
    """FLOPs of one call: XLA's count of the program as it is written, loop bodies as often as they run.

    XLA counts the body of a loop once, and so that of a loop in it; the other times are added here.
    """
    program = jax.make_jaxpr(fn)(*args)
    return _counted(program) + _repeated(program)


def _counted(program):
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in program.in_avals]
    return jax.jit(jax.extend.core.jaxpr_as_fun(program)).lower(*shapes).cost_analysis()['flops']


def _repeated(program):
    """What XLA's count lacks: all but the first turn of every loop."""
    return sum((length - 1) * _counted(body) + length * _repeated(body) for length, body in _scans(program.jaxpr))


def _scans(program):
    """(length, body) of every loop of a program that is in no other loop."""
    for equation in program.eqns:
        if equation.primitive.name == 'scan':
            yield equation.params['length'], equation.params['jaxpr']
        else:
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
                if _is_program(inner):
                    yield from _scans(getattr(inner, 'jaxpr', inner))


def _is_program(value):
    return isinstance(value, (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr))


def _random(layout, lead):
    """A random batch of replay windows of leading shape `lead`, as `Replay.gather` returns it."""
    rng = np.random.default_rng(0)
    batch = {key: rng.integers(256, size=(*lead, *shape), dtype=np.uint8) if dtype == 'uint8'
             else rng.uniform(-1, 1, (*lead, *shape)).astype(np.float32)
             for key, (shape, dtype) in layout.items()}  # fmt: skip
    flags = {name: np.zeros(lead, bool) for name in ('is_first', 'is_terminal')}
    return batch | flags | {'reward': rng.normal(size=lead).astype(np.float32)}


def _median(call, seconds):
    """Median duration of a call, over as many as fit in `seconds` (see CALLS), after one that does not count."""
    call()
    if _start:
        _start.wait()
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or not times or (len(times) < CALLS and sum(times) < 5 * seconds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


# Processes and tables.

_start = None  # where processes that measure at the same time wait for each other


def together(measure, cases: list[Case], cores: list[list[int]]) -> list:
    """What `measure` says of each case, all at the same time, each in a fresh process with its own cores.

    UserError, one line, where one of them fails, for want of memory above all.
    """
    context = multiprocessing.get_context('spawn')
    barrier = context.Barrier(len(cases))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='paper-lib-'))  # a process may be terminated
        each = [(own, barrier, os.getpid(), folder) for own in cores]
        pools = [stack.enter_context(concurrent.futures.ProcessPoolExecutor(1, context, _pin, own)) for own in each]
        jobs = [_submit(pool, own, measure, case) for pool, own, case in zip(pools, cores, cases)]
        try:
            for job in concurrent.futures.as_completed(jobs):
                if isinstance(job.exception(), BrokenProcessPool):
                    barrier.abort()  # else the others would wait for it
        except KeyboardInterrupt:
            for pool in pools:
                ensure.terminate(pool)
            raise
        errors = [job.exception() for job in jobs if job.exception()]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise UserError('killed: out of memory?') if isinstance(error, BrokenProcessPool) else error
        return [job.result() for job in jobs]


def _submit(pool, cores, measure, case):
    """Submit to a pool, whose process starts now: as many threads as cores."""
    own = variables(str(len(cores)))
    before = {name: os.environ[name] for name in own}
    os.environ.update(own)
    try:
        return pool.submit(_measured, measure, case)
    finally:
        os.environ.update(before)


def _pin(cores, barrier, parent, folder):
    """Set a process up before JAX starts its threads; nothing compiled comes from another process."""
    global _start
    _start, tempfile.tempdir = barrier, folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches every process; the parent says so
    threading.Thread(target=ensure.follow, args=(parent,), daemon=True).start()
    jax.config.update('jax_enable_compilation_cache', False)
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, cores)


def _measured(measure, case):
    try:
        return measure(case)
    except JaxRuntimeError as error:
        _start.abort()
        raise UserError(str(error).partition('\n')[0]) from None
    except Exception:
        _start.abort()
        raise


def tables(plans: dict[str, list[RunSpec]], lanes: list[int], precisions: list[str], seconds: float) -> Iterator:
    """(title, rows) of every table, each measured when its rows are asked for. `plans`: name -> runs."""
    cases = {}
    for plan, specs in plans.items():
        for (model, explores, side), spec in models(specs).items():
            if (model, explores, side) not in [_program_of(case.spec) for case in cases.values()]:
                name = f'{plan}{f", {side} x {side}" if side else ""}{", exploring" if explores else ""}'
                cases[name] = Case(spec, seconds)
    first = next(iter(cases))
    yield 'Updates, on one core or on the GPU', _to_the_end(update_rows(cases, sorted(set(lanes)), precisions))
    if ensure.layout()[1] == 1:
        yield f'{first}: ways to share {len(ensure.cores())} cores', _to_the_end(grouping_rows(cases[first]))
    yield 'Collection and evaluation, on one core', loop_rows(plans, seconds)
    yield 'Environments alone: agent steps/s of vectors and of pictures', _to_the_end(frame_rows(seconds))
    yield 'The study on this machine; replays are kept until `paper-lib prune`', study_rows(plans, seconds)


def _to_the_end(rows):
    """A failure that no row can show is the table's last row, and the next tables are measured."""
    try:
        yield from rows
    except UserError as error:
        yield {'failed': str(error)}


def update_rows(cases: dict[str, Case], lanes: list[int], precisions: list[str]) -> Iterator[dict]:
    """Table of update rates. A program that takes over SLOW seconds an update, or does not fit, gets no more lanes."""
    for precision in precisions:
        top = _alone(peak, _precise(next(iter(cases.values())), precision))
        for name, case in cases.items():
            for count in lanes:
                row = {'program': name, 'precision': precision, 'lanes': count}
                try:
                    found = _alone(updates, dataclasses.replace(_precise(case, precision), lanes=count))
                except UserError as error:
                    yield row | {'compile s': str(error)}
                    break
                rate = 1e3 * count / found['ms']
                yield row | {
                    'compile s': round(found['compile'], 1), 'ms': round(found['ms'], 2), 'updates/s': round(rate, 2),
                    'GFLOP/update': round(found['flops'] / 1e9, 3), 'of peak': f'{rate * found["flops"] / top:.0%}',
                    'host MB': found['host'] // 10**6, 'device MB': found['device'] and found['device'] // 10**6,
                }  # fmt: skip
                if found['ms'] > 1e3 * SLOW:
                    break


@functools.cache
def _alone(measure, case):
    """What `measure` says of a case in a process of its own on one core."""
    return together(measure, [case], [ensure.cores()[:1]])[0]


@functools.cache
def _busy(case):
    """ms of the machine per update of one run as in training by default, with all its workers.

    Fewer of them where memory does not hold so many.
    """
    workers, pins = ensure.layout()[0], [ensure.cores()]
    if workers > 1:
        alone = _alone(updates, case)
        pins = [[core] for core in ensure.cores()[: min(workers, _free() // alone['host'])]]
        if len(pins) < 2:
            return alone['ms'] / case.lanes
    found = together(updates, [case] * len(pins), pins)
    return statistics.mean(each['ms'] for each in found) / case.lanes / len(pins)


def _free():
    """Bytes of memory that the host has to give."""
    with contextlib.suppress(OSError):
        fields = dict(line.split(':') for line in Path('/proc/meminfo').read_text().splitlines())
        return 1024 * int(fields['MemAvailable'].split()[0])
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


def _precise(case, precision):
    model = dataclasses.replace(case.spec.model, precision=precision)
    return dataclasses.replace(case, spec=dataclasses.replace(case.spec, model=model))


def grouping_rows(case: Case) -> Iterator[dict]:
    """Table of the ways to share all cores between runs of one program."""
    cores = ensure.cores()
    ways = {'one run on one core': (1, [cores[:1]]), 'one run on all cores': (1, [cores])}
    ways |= {f'{len(cores)} lanes on one core': (len(cores), [cores[:1]]),
             f'{len(cores)} lanes on all cores': (len(cores), [cores]),
             f'{len(cores)} runs, a core each (default)': (1, [[core] for core in cores])}  # fmt: skip
    alone = None
    for way, (lanes_each, sets) in ways.items():
        found = together(updates, [dataclasses.replace(case, lanes=lanes_each)] * len(sets), sets)
        rate = sum(1e3 * lanes_each / each['ms'] for each in found)
        alone = alone or rate
        yield {'way': way, 'updates/s': round(rate, 1), 'ratio': round(rate / alone, 2)}


def loop_rows(plans: dict[str, list[RunSpec]], seconds: float) -> Iterator[dict]:
    """Table of what a run does between its updates, by suite, shown by one of its tasks, and program."""
    for plan, specs in plans.items():
        for spec in loops(specs).values():
            row = {'plan': plan, 'task': spec.task, 'explores': spec.w_expl > 0}
            try:
                found = _alone(around, Case(spec, seconds))
            except UserError as error:
                yield row | {'steps/s collected': str(error)}
                continue
            rates = {'steps/s collected': round(1 / found['collect']), 's per evaluation': round(found['evaluate'], 2)}
            yield row | rates | {'episodes': spec.eval_episodes}


def frame_rows(seconds: float) -> Iterator[dict]:
    """Table of how fast environments step, with every setting of `render`."""
    cores = ensure.cores()
    for name in ('cup_catch', 'walker_walk', 'quadruped_run', 'point_mass_maze'):
        vectors, row = Case(RunSpec(f'{name}-proprio'), seconds), {'task': name}
        row['vectors'] = round(_alone(frames, vectors))
        for setting in ('fast', 'suite'):
            case = Case(RunSpec(f'{name}-vision', render=setting), seconds)
            for label, own in {'one core': cores[:1], f'{len(cores)} cores': cores}.items():
                try:
                    row[f'{setting}, {label}'] = round(together(frames, [case], [own])[0])
                except UserError as error:
                    row[f'{setting}, {label}'] = str(error)
        yield row


def study_rows(plans: dict[str, list[RunSpec]], seconds: float) -> Iterator[dict]:
    """Table of what each plan costs on this machine, worked out from one run of each program in it."""
    workers, _ = ensure.layout()
    for name, specs in plans.items():
        row = {'plan': name, 'runs': len(specs), 'updates': sum(spec.schedule.updates for spec in specs),
               'disk GB': round(sum(cost.disk(spec)[1] for spec in specs) / 1e9, 2)}  # fmt: skip
        try:
            work, around = _seconds(specs, seconds)
        except UserError as error:
            yield row | {'hours': str(error)}
            continue
        around /= workers
        hours = (work + around) / 3600
        yield row | {'hours': round(hours, 1), 'of them collecting and evaluating': f'{around / (work + around):.0%}'}


def _seconds(specs, seconds):
    """Of the machine for updating, and of one core for collecting and evaluating: all these runs."""
    programs, around_of, single, (_, most) = models(specs), loops(specs), ensure.single(specs), ensure.layout()
    work, around = 0.0, 0.0
    for spec in specs:
        lanes_each = 1 if spec in single or spec.interact_every else most
        model, explores, side = own = _program_of(spec)
        plain = (model, False, side) if (model, False, side) in programs else own
        ms, rest = (_busy(Case(programs[name], seconds, lanes_each)) for name in (own, plain))
        share = spec.like.expl_until / spec.like.budget if spec.like.expl_until else float(explores)
        work += spec.schedule.updates * (share * ms + (1 - share) * rest) / 1e3
        step = _alone(around, Case(around_of[_loop_of(_online(spec))], seconds))
        around += spec.budget // spec.eval_every * step['evaluate']
        around += spec.own_rows * tasks.get(spec.task).envs * step['collect']
    return work, around


def _online(spec):
    """The run that collects the data, itself or its source."""
    return spec.source or spec


def _program_of(spec):
    """What decides how fast a run is updated: its model, whether it explores, and the side of its pictures, or 0."""
    task = tasks.get(spec.task)
    return spec.model, spec.like.w_expl > 0, task.image if task.obs == 'vision' else 0


def _loop_of(spec):
    """What decides how fast a run collects and is evaluated, nearly: its suite and its program."""
    return tasks.get(spec.task).suite, *_program_of(spec)


def models(specs: list[RunSpec]) -> dict[tuple, RunSpec]:
    """One run of every program that updates."""
    return {_program_of(spec): spec for spec in reversed(specs)}


def loops(specs: list[RunSpec]) -> dict[tuple, RunSpec]:
    """One run of every suite and program that collects; an offline run is evaluated as fast as its source."""
    return {_loop_of(spec): spec for spec in map(_online, reversed(specs))}
