"""What the bench counts and works out; it measures nothing here but that it can."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import smoke

from paper_lib import cli, machine
from paper_lib.contract.errors import UserError
from paper_lib.engine import ensure, pool
from paper_lib.engine.bench import costs, measure, tables
from paper_lib.engine.bench.flops import flops
from paper_lib.engine.bench.measure import BetweenUpdates, Case, Updates
from paper_lib.engine.bench.processes import together
from paper_lib.study import plan, scales


def test_flops_are_counted_as_often_as_loops_run():
    """By hand: a product of (m, k) and (k, n) takes 2 m k n FLOPs; loops within loops, with lanes, compiled or not."""
    a, b = jnp.ones((5, 7)), jnp.ones((7, 7))

    def body(x, _):
        inner, _ = jax.lax.scan(lambda y, _: (y @ b, None), x, None, length=3)
        return inner @ b, None

    def program(x):
        return jax.lax.scan(jax.jit(body), x @ b, None, length=11)[0]

    product, count = 2 * 5 * 7 * 7, 1 + 11 * (3 + 1)
    assert flops(program, a) == pytest.approx(count * product, rel=0.02)  # and some for the loops' counters
    assert flops(jax.vmap(jax.jit(program)), a[None].repeat(4, 0)) == pytest.approx(4 * count * product, rel=0.02)


def test_an_update_of_a_real_run_is_measured():
    found = measure.updates(Case(smoke.ACTIVE, 0.01))
    assert 0 < found.milliseconds < 1e4 and found.compile_seconds > 0 and found.host_bytes > 1e8


def test_flops_of_an_update_are_those_of_its_products_by_hand():
    """At scale laptop, of the base agent; 15 % for all that is no product. Biases and norms are left out."""
    spec = plan.make('active', 'walker_walk-proprio', 0, scales.get('laptop'))
    m, vector, action = spec.model, 24, 6
    latent, feat = m.stoch * m.classes, m.deter + m.stoch * m.classes

    def head(inputs, outputs, units=m.units, layers=m.layers):
        """Weights of the first layer, and of all layers."""
        first = inputs * units
        return first, first + (layers - 1) * units**2 + units * outputs

    sequence = (latent + action) * m.units + (m.units + m.deter) * 3 * m.deter
    prior = m.deter * m.units + m.units * latent
    posterior = (m.deter + m.mlp_units) * m.units + m.units * latent
    reward, cont, actor = head(feat, m.bins), head(feat, 1), head(feat, 2 * action)
    encoder, decoder = head(vector, 0, m.mlp_units, m.mlp_layers), head(feat, vector, m.mlp_units, m.mlp_layers)
    probe = 2 * (feat * m.probe_units + m.probe_units * (m.probe_units // 4)), 0
    # World model: forward, and two products of the backward pass for each of it; observations need no gradient.
    model = 3 * (sequence + prior + posterior + reward[1] + cont[1] + encoder[1] + decoder[1]) - encoder[0]
    model += 3 * sum(probe) - feat * m.probe_units
    # A step of imagination: gradients with respect to states alone; those of the actor with respect to its weights.
    learns = 3 * actor[1] - actor[0]  # forward, and backward with respect to all but its input
    step = 2 * (sequence + prior) + 2 * learns + 2 * reward[1] + cont[1] + 2 * reward[1]
    step += 3 * reward[1] - reward[0] + reward[1]  # critic as wide as reward: its loss, and the slow one
    by_hand = 2 * (m.batch * m.length * model + m.starts * m.horizon * step)
    assert measure.update_flops(Case(spec, 1.0)) == pytest.approx(by_hand, rel=0.15)


def wait(path):
    path.write_text(str(os.getpid()))
    time.sleep(60)


def measure_until_killed(path):
    together(wait, [path], [[0]])


def test_a_measurement_ends_with_the_process_that_asked_for_it(tmp_path):
    context = multiprocessing.get_context('spawn')
    parent = context.Process(target=measure_until_killed, args=(tmp_path / 'pid',))
    parent.start()
    while not (tmp_path / 'pid').exists() or not (pid := (tmp_path / 'pid').read_text()):
        time.sleep(0.1)
    parent.kill()
    parent.join()
    until = time.monotonic() + 10
    while time.monotonic() < until and Path(f'/proc/{pid}').exists():
        time.sleep(0.2)
    assert not Path(f'/proc/{pid}').exists()


def measure_until_interrupted(path):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    measure_until_killed(path)


def test_an_interrupted_measurement_is_not_waited_for(tmp_path):
    parent = multiprocessing.get_context('spawn').Process(target=measure_until_interrupted, args=(tmp_path / 'pid',))
    parent.start()
    while not (tmp_path / 'pid').exists() or not (tmp_path / 'pid').read_text():
        time.sleep(0.1)
    os.kill(parent.pid, signal.SIGINT)
    parent.join(10)  # `wait` would sleep for a minute
    assert parent.exitcode is not None and not Path(f'/proc/{(tmp_path / "pid").read_text()}').exists()


def test_the_cost_of_a_plan_is_worked_out_from_one_run_of_each_program(monkeypatch):
    follower = dataclasses.replace(smoke.PASSIVE, source=smoke.EXPLORER)
    plan = [smoke.EXPLORER, smoke.ACTIVE, smoke.TANDEM, follower]
    ms = {False: 18.0, True: 36.0}  # of both cores: an exploring run's update takes twice as long, for half of the run
    assert smoke.EXPLORER.expl_until == smoke.EXPLORER.budget / 2
    monkeypatch.setattr(costs, 'busy_milliseconds', lambda case: ms[case.spec.w_expl > 0])
    monkeypatch.setattr(costs, 'alone', lambda measure, case: BetweenUpdates(0.01, 7.0))
    monkeypatch.setattr(ensure, 'layout', lambda: (2, 1))
    (row,) = tables.study_rows({'some plan': plan}, 1.0)
    spec = smoke.ACTIVE
    work = spec.schedule.updates * (3.5 * 0.018 + 0.5 * 0.036)
    around = (4 * 3 * 7.0 + 2 * spec.schedule.steps * 0.01) / 2
    assert row['plan'] == 'some plan' and row['runs'] == 4 and row['updates'] == 4 * spec.schedule.updates
    assert row['hours'] == round((work + around) / 3600, 1)
    assert row['of them collecting and evaluating'] == f'{around / (work + around):.0%}'


def test_on_a_gpu_runs_that_train_alone_are_worked_out_with_one_lane(monkeypatch):
    """An update takes 10 ms with one lane, 10 / 8 ms with eight: of a plan of four, two share a program."""
    others = [dataclasses.replace(smoke.ACTIVE, seed=seed) for seed in (1, 2)]
    monkeypatch.setattr(costs, 'busy_milliseconds', lambda case: 10.0 / case.lanes)
    monkeypatch.setattr(costs, 'alone', lambda measure, case: BetweenUpdates(0.0, 0.0))
    monkeypatch.setattr(ensure, 'layout', lambda: (1, 8))
    predicted = costs.predicted([*others, smoke.ACTIVE, smoke.CONTROL], 1.0)
    assert predicted.updating == pytest.approx(smoke.ACTIVE.schedule.updates * (2 * 10 + 2 * 10 / 8) / 1e3)
    assert predicted.between == 0


@pytest.mark.parametrize(('free', 'runs'), [(100, 2), (59, 1), (5, 1)])
def test_as_many_runs_at_once_as_memory_holds(free, runs, monkeypatch):
    """Each takes 30 bytes here; 8 ms an update, whatever is beside it."""
    measured = Updates(1.0, 8.0, 1e9, 30, None)
    monkeypatch.setattr(machine, 'free_memory', lambda: free)
    monkeypatch.setattr(costs, 'alone', lambda measure, case: measured)
    monkeypatch.setattr(costs, 'together', lambda measure, cases, cores: [measured] * len(cases))
    monkeypatch.setattr(ensure, 'layout', lambda: (2, 1))
    monkeypatch.setattr(machine, 'cores', lambda: [0, 1])
    costs.busy_milliseconds.cache_clear()
    assert costs.busy_milliseconds(Case(smoke.ACTIVE, 1.0)) == 8.0 / runs
    costs.busy_milliseconds.cache_clear()
    monkeypatch.setattr(ensure, 'layout', lambda: (1, 4))  # as on a GPU
    assert costs.busy_milliseconds(Case(smoke.ACTIVE, 1.0, 4)) == 8.0 / 4
    costs.busy_milliseconds.cache_clear()


def test_processes_that_measure_together_have_their_own_cores():
    cores = machine.cores()[:2]
    case = Case(smoke.ACTIVE, 0.01)
    found = together(affinity, [case] * len(cores), [[core] for core in cores])
    assert found == [[core] for core in cores]


OWN, ONE = 'glibc.malloc.hugetlb=0', 'glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1'


@pytest.mark.skipif(sys.platform != 'linux', reason='reads what a process was started with')
@pytest.mark.parametrize(('given', 'arenas'), [
    ({'NPROC': '2'}, [True, False]),
    ({'NPROC': '2', 'GLIBC_TUNABLES': ONE}, [True, False]),  # a process of ours started this one
    ({'GLIBC_TUNABLES': OWN}, [False, False]),
])  # fmt: skip
def test_a_process_of_one_thread_alone_has_one_arena_of_malloc(given, arenas):
    """A process reads GLIBC_TUNABLES before any of our code: they must be right when it starts."""
    free = {name: value for name, value in os.environ.items() if name not in ('GLIBC_TUNABLES', 'NPROC')}
    free |= {'PYTHONPATH': os.pathsep.join(sys.path)}
    command = [sys.executable, '-c', 'import test_bench; test_bench.show()']
    done = subprocess.run(command, env=free | given, capture_output=True, text=True, check=True)
    one, two, here = json.loads(done.stdout)
    assert one == ['1', arenas[0]] and two == ['2', arenas[1]]
    assert here == given


def show():
    """Print of a process for one core and of one for two: threads, and whether it has one arena; and what is set here.

    The two processes are given the same core.
    """
    core, case = machine.cores()[0], Case(smoke.ACTIVE, 0.01)
    found = [together(started, [case], [cores])[0] for cores in ([core], [core, core])]
    here = {name: os.environ[name] for name in ('NPROC', 'GLIBC_TUNABLES') if name in os.environ}
    print(json.dumps([*found, here]))


def started(case):
    return os.environ['NPROC'], 'arena_max=1' in Path('/proc/self/environ').read_text()


def test_a_measurement_that_fails_ends_all_of_them():
    cores = machine.cores()
    cases = [Case(smoke.ACTIVE, 0.01), Case(smoke.TANDEM, 0.01)]
    for fails in (refused, killed):
        with pytest.raises(UserError, match='out of memory'):
            together(fails, cases, [cores, cores])


def test_a_table_that_fails_ends_with_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(tables, 'alone', lambda measure, case: refused(case))
    every = tables.tables({'some plan': [smoke.TANDEM]}, [1], ['float32'], 1.0)
    assert list(next(rows for _, rows in every)) == [{'failed': 'out of memory'}]


def refused(case):
    if case.spec.source:
        raise UserError('out of memory')
    pool.meet()


def killed(case):
    if case.spec.source:
        os.kill(os.getpid(), signal.SIGKILL)
    pool.meet()


@pytest.mark.slow
def test_every_table_is_measured(capsys, monkeypatch):
    smoke = scales.get('smoke')
    base = tuple(entry for entry in smoke.planned if entry.chapter == 'base_agent')
    one = dataclasses.replace(smoke, planned=base)
    monkeypatch.setitem(scales.SCALES, 'smoke', one)  # a process for every number: the whole plan takes half an hour
    options = ['--scales', 'smoke', '--lanes', '1', '2', '--precisions', 'float32', '--seconds', '0.01', '--json']
    assert cli.main(['bench', *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 5 and all(found.values())
    assert [row['lanes'] for row in found['Updates, on one core or on the GPU']] == [1, 2]
    assert all(row['hours'] >= 0 for row in list(found.values())[-1])


def affinity(case):
    return machine.cores()


def test_random_batches_look_like_those_of_a_replay():
    layout = {'image': ((4, 4, 3), 'uint8'), 'action': ((2,), 'float32')}
    batch = measure.random_batch(layout, (1, 2, 3))
    shapes = {key: (value.shape, value.dtype.name) for key, value in batch.items()}
    assert shapes == {'image': ((1, 2, 3, 4, 4, 3), 'uint8'), 'action': ((1, 2, 3, 2), 'float32'),
                      'reward': ((1, 2, 3), 'float32'), 'is_first': ((1, 2, 3), 'bool'),
                      'is_terminal': ((1, 2, 3), 'bool')}  # fmt: skip
    assert len(np.unique(batch['image'])) > 50
