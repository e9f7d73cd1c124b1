"""Measurements of one case: functions that are called in a process of their own (`processes`)."""

import collections
import dataclasses
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.data.store import Store
from paper_lib.engine import pool
from paper_lib.engine.bench.flops import flops
from paper_lib.run import lanes, loop, rollout, train
from paper_lib.run.learner import Learner

CALLS = 3  # minimum number of timed calls, unless that takes five times the requested time
SIDES = {'cpu': 2048, 'gpu': 8192}  # of the square matrices whose product is taken for the device's peak


@dataclasses.dataclass(frozen=True)
class Case:
    """A program to measure: `lanes` runs of one spec, timed for `seconds`."""

    spec: RunSpec
    seconds: float
    lanes: int = 1

    @property
    def spaces(self) -> envs.Spaces:
        return envs.make(self.spec.task, 0, **self.spec.options).spaces


@dataclasses.dataclass(frozen=True)
class Updates:
    """What updates cost."""

    compile_seconds: float
    milliseconds: float  # per update of all lanes
    flops: float  # per update of one lane
    host_bytes: int  # the most that the process held
    device_bytes: int | None  # the most on the device, where that is not the host


@dataclasses.dataclass(frozen=True)
class BetweenUpdates:
    """What a run does between its updates, in seconds."""

    collect: float  # per agent step of collection
    evaluate: float  # per evaluation


def updates(case: Case) -> Updates:
    """Compile the case's updates and time them on random batches."""
    program, args = _program(case)
    began = time.perf_counter()
    chunk = program.chunk.lower(*args).compile()
    compile_seconds = time.perf_counter() - began
    state, *rest = args

    def call():
        nonlocal state
        state, metrics = chunk(state, *rest)
        jax.block_until_ready((state, metrics))

    seconds = _median_seconds(call, case.seconds)
    on_host = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
    milliseconds = 1e3 * seconds / case.spec.schedule.chunk_updates
    return Updates(compile_seconds, milliseconds, update_flops(case), on_host, on_device)


def update_flops(case: Case) -> float:
    """FLOPs per update of one lane."""
    program, args = _program(dataclasses.replace(case, lanes=1))
    return flops(program.chunk, *args) / case.spec.schedule.chunk_updates


def between_updates(case: Case) -> BetweenUpdates:
    """Time collection and evaluation in a real run with hardly any updates."""
    chunk = case.spec.schedule.evaluate_every // 5
    few = {'budget': 2 * case.spec.eval_every, 'prefill': chunk, 'chunk': chunk, 'ratio': 1 / chunk, 'expl_until': 0}
    spec = dataclasses.replace(case.spec, **few)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        with train.opened([spec], store) as (run,):
            run.restart()
            training = train.make_training([train.make_lane(run, None, case.spaces)], case.spaces)
            times = seconds_before(loop.events(training, 0), training.learner)
    collect = statistics.median(times[loop.Collected][2:]) / chunk
    return BetweenUpdates(collect, times[loop.Evaluated][-1])  # the first evaluation compiles


def seconds_before(events: Iterator[loop.Event], learner: Learner) -> dict[type, list[float]]:
    """Seconds that lie before each event, by its kind; the device is waited for, so that no step pays for another."""
    times = collections.defaultdict(list)
    began = time.perf_counter()
    for event in events:
        jax.block_until_ready(learner.state)
        times[type(event)].append(time.perf_counter() - began)
        began = time.perf_counter()
    return times


def environment_rate(case: Case) -> float:
    """Agent steps per second of random actions in the task's parallel environments."""
    task = tasks.get(case.spec.task)
    seeds = [(0, index) for index in range(task.envs)]
    rng = np.random.default_rng(0)
    batch = envs.Batch(task.id, seeds, **case.spec.options)
    reset = np.ones(task.envs, bool)

    def call():
        nonlocal reset
        action = rng.uniform(-1, 1, (task.envs, batch.spaces.action))
        reset = batch.step({'action': action, 'reset': reset})['is_last']

    return task.envs / _median_seconds(call, case.seconds)


def peak(case: Case) -> float:
    """FLOP/s of a large matrix product in the case's precision: what the tables call 100 %."""
    side = SIDES['cpu' if jax.default_backend() == 'cpu' else 'gpu']
    matrix = jnp.ones((side, side), case.spec.model.precision)
    product = jax.jit(lambda x: x @ x)
    return 2 * side**3 / _median_seconds(lambda: jax.block_until_ready(product(matrix)), 1.0)


def random_batch(layout: dict[str, tuple], lead: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A random batch of replay windows of leading shape `lead`, as `Replay.gather` returns it."""
    rng = np.random.default_rng(0)
    batch = {name: np.zeros(lead, bool) for name in ('is_first', 'is_terminal')}
    batch['reward'] = rng.normal(size=lead).astype(np.float32)
    for name, (shape, dtype) in layout.items():
        if dtype == 'uint8':
            batch[name] = rng.integers(256, size=(*lead, *shape), dtype=np.uint8)
        else:
            batch[name] = rng.uniform(-1, 1, (*lead, *shape)).astype(np.float32)
    return batch


def _program(case: Case) -> tuple[lanes.Program, tuple[Any, ...]]:
    """The case's program, and the arguments of a chunk of updates on random batches."""
    model, specs = case.spec.model, [case.spec] * case.lanes
    program = lanes.Program(lanes.networks_of(case.spec, case.spaces), case.lanes)
    lead = (case.lanes, case.spec.schedule.chunk_updates, model.batch, model.length)
    batches = random_batch(rollout.layout(case.spaces), lead)
    state, keys = program.initial_state(specs), lanes.keys(specs, 'train')
    return program, (state, batches, lanes.hyper(specs), keys, np.int32(0))


def _median_seconds(call: Callable[[], Any], seconds: float) -> float:
    """Median duration of a call, over as many as fit in `seconds` (see CALLS). A first call does not count."""
    call()
    pool.meet()  # cases that are measured together are timed at the same time
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not times or (len(times) < CALLS and sum(times) < 5 * seconds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
