"""The premise of the study, bit for bit: determinism, Tandem exactness, resume after kill -9."""

import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import smoke

from paper_lib.agent import dreamer
from paper_lib.contract import files, quantities
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.lease import Busy
from paper_lib.data.replay import Replay
from paper_lib.data.store import Finished, Store
from paper_lib.engine import jobs
from paper_lib.run import checkpoints, cost, lanes, learner, loop, train, windows

WEIGHTS = {'wm': {'encoder': {}, 'rssm': {}}, 'task': {'actor': {}}}  # of an agent without any
FINAL = ('metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'lengths.bin')


def content(store, spec):
    """Every byte that a finished run promises to repeat."""
    path = store.path(spec)
    names = [path / name for name in FINAL] + sorted(path.glob('replay/*.bin'))
    return {str(name.relative_to(path)): name.read_bytes() for name in names}


def test_a_run_that_was_taken_over_is_written_no_further(tmp_path):
    """By a process that was thought dead: it stops within the chunk, before rows of the next one are written."""
    store = Store(tmp_path)
    lease = store.path(smoke.ACTIVE) / 'lease.json'

    def take_over(clock):
        lease.write_text('{"host": "elsewhere", "pid": 1, "token": "theirs"}')
        taken.append(clock)

    taken = []
    with pytest.raises(Busy, match='process 1 on elsewhere'):
        train.train([smoke.ACTIVE], store, take_over)
    assert len(taken) == 1
    actions = np.fromfile(store.path(smoke.ACTIVE) / 'replay/action.bin', np.float32)
    written = actions.reshape(smoke.ACTIVE.schedule.rows, -1).any(1).sum()
    assert 0 < written <= 2 * smoke.ACTIVE.chunk // 4  # of the chunk that was trained, and of the one that was begun
    assert json.loads(lease.read_text())['token'] == 'theirs'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A store with finished runs of every kind, and what the compiled program was given in each of them."""
    store, received = Store(tmp_path_factory.mktemp('runs')), {}
    program = lanes.program(group_networks(), 1)
    with pytest.MonkeyPatch.context() as patch:
        for spec in (smoke.ACTIVE, smoke.TANDEM, smoke.CONTROL, smoke.PASSIVE):
            calls = received[spec] = []
            patch.setattr(program, 'chunk', Recorded(program.chunk, calls))
            train.train([spec], store)
            patch.undo()
    return store, received


class Recorded:
    """A compiled function that keeps what it is given."""

    def __init__(self, function, calls):
        self.function, self.calls, self.lower = function, calls, function.lower

    def __call__(self, *args):
        self.calls.append(copied(args[1:]))
        return self.function(*args)


def copied(args):
    """Host copies of a call's arguments, keys as numbers."""
    batches, hyper, keys, update = args
    return jax.tree.map(np.array, (batches, hyper, jax.random.key_data(keys), update))


@pytest.fixture(scope='module')
def store(trained):
    return trained[0]


def test_same_spec_twice_gives_the_same_bytes(store, tmp_path):
    again = Store(tmp_path)
    train.train([smoke.ACTIVE], again)
    assert content(again, smoke.ACTIVE) == content(store, smoke.ACTIVE)


def test_replays_on_the_device_give_the_same_bytes(store, tmp_path, monkeypatch):
    """As where there is a GPU; a run of every source of batches, the source's replay included."""
    monkeypatch.setattr(windows, 'fit', lambda replays: True)
    there = Store(tmp_path)
    for spec in (smoke.ACTIVE, smoke.TANDEM, smoke.PASSIVE):
        train.train([spec], there)
        assert content(there, spec) == content(store, spec)


def test_windows_cut_on_the_device_are_those_on_the_disk(tmp_path, monkeypatch):
    """Of two lanes, while the replays grow, pictures and flags included."""
    monkeypatch.setattr(windows, 'SLAB', 4)
    rng, like = np.random.default_rng(0), {'image': ((4, 4, 3), 'uint8'), 'action': ((2,), 'float32')}
    replays = [Replay.create(tmp_path / str(lane), like, rows=30, envs=3) for lane in range(2)]
    disk, device = windows.OnDisk(replays, 5), windows.OnDevice(replays, 5)
    for row in range(30):
        for replay in replays:
            flags = dict(zip(('is_first', 'is_last', 'is_terminal'), rng.integers(2, size=(3, 3))))
            replay.write(row, {'image': rng.integers(256, size=(3, 4, 4, 3)), 'action': rng.normal(size=(3, 2)),
                               'reward': rng.normal(size=3), **flags})  # fmt: skip
        if row == 20:
            device = windows.OnDevice(replays, 5)  # as after a resume
        if row in (9, 12, 15, 25, 29):
            starts = rng.integers(replays[0].windows(row + 1, 5), size=(2, 3, 8), dtype=np.int32)
            ours, theirs = (place.gather(starts, row + 1) for place in (device, disk))
            assert set(ours) == set(theirs) and ours['image'].shape == (2, 3, 8, 5, 4, 4, 3)
            for key, value in theirs.items():
                assert ours[key].dtype == value.dtype
                np.testing.assert_array_equal(ours[key], value)


def test_replays_go_to_a_device_that_has_a_memory_with_room_for_them(monkeypatch):
    def fits(platform, stats, *sizes):
        device = types.SimpleNamespace(platform=platform, memory_stats=lambda: stats)
        monkeypatch.setattr(jax, 'devices', lambda: [device])
        arrays = {'reward': np.zeros((1, 1), np.uint8)}  # of the source alone, where a run adds to its data
        return windows.fit([types.SimpleNamespace(arrays=arrays, rows=size, even=True) for size in sizes])

    assert fits('gpu', {'bytes_limit': 1000}, 250, 249)
    assert not fits('gpu', {'bytes_limit': 1000}, 250, 250)
    assert not fits('cpu', {'bytes_limit': 1000}, 1) and not fits('gpu', None, 1) and not fits('gpu', {}, 1)


def test_another_seed_gives_another_run(store, tmp_path):
    other, spec = Store(tmp_path), dataclasses.replace(smoke.ACTIVE, seed=1)
    train.train([spec], other)
    ours, theirs = content(other, spec), content(store, smoke.ACTIVE)
    same = [name for name in ours if ours[name] == theirs[name]]
    assert same == ['lengths.bin', 'replay/flags.bin', 'replay/reward.bin']  # nobody meets the goal so early


@pytest.mark.parametrize(('source', 'control'), [
    pytest.param(smoke.ACTIVE, smoke.CONTROL, id='active'),
    pytest.param(smoke.EXPLORER, smoke.EXPLORER_CONTROL, id='explorer'),
])  # fmt: skip
def test_tandem_with_alpha_0_is_the_active_run(source, control, store):
    for spec in (source, control):
        train.train([spec], store)
    active, tandem = (store.weights(spec) for spec in (source, control))
    assert set(tandem) == set(active)
    assert all(np.array_equal(tandem[name], active[name]) for name in tandem)
    assert np.array_equal(store.batches(source), store.batches(control))
    assert np.array_equal(store.lengths(source), store.lengths(control))
    frames = [store.metrics(spec) for spec in (source, control)]
    assert {'score', 'ood_ratio', 'train_model_loss', 'train_actor_loss'} <= set(frames[0].columns)
    assert frames[0].equals(frames[1])


def test_the_exploring_behaviour_rests_when_it_will_not_act_again(store):
    metrics = store.metrics(smoke.EXPLORER).set_index('env_step')
    assert metrics.train_expl_entropy.notna().to_dict() == {2000: True, 4000: True, 6000: False}  # it acts until 3000
    assert metrics.train_entropy.notna().all()


def test_tandem_is_given_the_batches_of_the_active_run_and_learns_something_else(trained):
    """Bit for bit, in what the compiled program receives: batches, learning rates, keys, counter."""
    store, received = trained
    ours, theirs = received[smoke.TANDEM], received[smoke.ACTIVE]
    assert len(ours) == len(theirs) == smoke.ACTIVE.schedule.updates // smoke.ACTIVE.schedule.chunk_updates
    for pair in zip(ours, theirs):
        jax.tree.map(np.testing.assert_array_equal, *pair)
    weights = [store.weights(spec) for spec in (smoke.TANDEM, smoke.ACTIVE)]
    assert any(not np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_active_batches_lie_in_the_replay_of_their_time_and_passive_ones_in_all_of_it(store):
    spec = smoke.ACTIVE
    ends = store.batches(spec) // 4 + spec.model.length
    assert (ends <= store.lengths(spec)[:, None]).all() and ends[-1].max() > spec.schedule.rows / 2
    assert (store.lengths(smoke.PASSIVE) == spec.schedule.rows).all()
    assert (store.batches(smoke.PASSIVE)[: spec.schedule.updates // 4] // 4).max() > spec.schedule.rows / 2


@pytest.mark.parametrize(
    'spec', [smoke.ACTIVE, smoke.PASSIVE, smoke.TANDEM, smoke.EXPLORER], ids=lambda spec: spec.agent
)
def test_measures_leave_the_agent_and_all_that_it_does_as_they_are(spec, store):
    """Its weights, batches, replay, episodes and metrics, to the bit."""
    measured = dataclasses.replace(spec, measures=1)
    assert spec.run_id == dataclasses.replace(spec, measures=0).run_id != measured.run_id
    for each in (spec, measured):
        train.train([each], store)
    with_them, without = content(store, measured), content(store, spec)
    assert {name for name in without if without[name] != with_them[name]} == {'metrics.parquet'}
    metrics = store.metrics(measured)
    assert metrics[store.metrics(spec).columns].equals(store.metrics(spec))
    assert {*quantities.measures(), 'reward_predicted', 'reward_collected'} <= set(metrics.columns)
    assert np.isfinite(metrics.imagined_disagreement).all() and metrics.promise.notna().iloc[-1]


def test_watching_networks_learn_once_in_so_many_updates_of_the_agent(store, tmp_path, monkeypatch):
    """They have the batch and the key of the last update of the chunk in which it falls."""
    assert learner.WATCH_EVERY == 8
    monkeypatch.setattr(learner, 'WATCH_EVERY', 32)
    program, updates, watched = lanes.program(group_networks(), 1), [], []
    monkeypatch.setattr(program, 'chunk', Recorded(program.chunk, updates))
    monkeypatch.setattr(program, 'watch', Recorded(program.watch, watched))
    (tmp_path / smoke.ACTIVE.run_id).symlink_to(store.path(smoke.ACTIVE))
    train.train([WATCHED], Store(tmp_path))
    size, total = WATCHED.schedule.chunk_updates, WATCHED.schedule.updates
    assert 1 < size < 32 and len(updates) == total // size
    numbers = [int(number) for *_, number in watched]
    assert numbers == [-(-32 * count // size) * size - 1 for count in range(1, total // 32 + 1)]
    for _, batch, keys, number in watched:
        batches, _, keys_of_chunk, first = updates[number // size]
        assert first + size - 1 == number and np.array_equal(keys, keys_of_chunk)
        jax.tree.map(np.testing.assert_array_equal, batch, {name: array[:, -1] for name, array in batches.items()})


WATCHED = dataclasses.replace(smoke.PASSIVE, measures=1)
ASKS = dataclasses.replace(WATCHED, interact_every=2000, interact_steps=400, interact_by='density_ess',
                           interact_below=1e6)  # fmt: skip


@pytest.mark.parametrize('spec', [WATCHED, ASKS], ids=['watched', 'asks'])
def test_measures_go_on_as_if_they_had_not_been_interrupted(spec, store, tmp_path):
    """The watching networks are part of a checkpoint. So a run that asks a measure adds the same data."""

    def stop(clock):
        if clock > 1500:
            raise KeyboardInterrupt

    other = Store(tmp_path)
    (tmp_path / smoke.ACTIVE.run_id).symlink_to(store.path(smoke.ACTIVE))
    train.train([spec], store)
    with pytest.raises(KeyboardInterrupt):
        train.train([spec], other, stop, checkpoint_seconds=0)
    train.train([spec], other)
    assert content(other, spec) == content(store, spec)
    metrics = other.metrics(spec)
    assert metrics.imagined_disagreement.is_monotonic_decreasing  # they learn
    assert not spec.interact_every or metrics.added.tolist() == [0, 400, 800]


@pytest.mark.slow  # it compiles for half a minute
def test_a_run_on_pictures_keeps_them_and_takes_the_space_that_was_foretold(tmp_path):
    store, spec = Store(tmp_path), smoke.VISION
    train.train([spec], store)
    images = store.require(spec).replay().arrays['image']
    assert images.shape == (spec.schedule.rows, 4, 64, 64, 3) and images.dtype == np.uint8
    assert len(np.unique(images.reshape(spec.schedule.rows * 4, -1), axis=0)) > 900  # the mass moves
    metrics = store.metrics(spec)
    assert len(metrics) == 1 and np.isfinite(metrics.train_model_loss).all()
    traces = store.traces(spec)
    assert (
        traces['decoded'].shape
        == traces['image'].shape
        == (1, 501, 64, 64, 3)
        == (1, *traces['wm_loss'][0].shape, 64, 64, 3)
    )
    assert traces['decoded'].std() > 0 and traces['place'].shape == (1, 501, 2)
    assert traces['visits'].sum() == 4 * spec.schedule.rows
    size = sum(path.stat().st_size for path in store.path(spec).rglob('*') if path.is_file())
    assert size <= cost.disk(spec).finished < size + cost.HEADERS


@pytest.mark.parametrize('spec', [smoke.ACTIVE, smoke.PASSIVE], ids=['active', 'passive'])
def test_a_finished_run_takes_the_disk_space_that_was_foretold(store, spec):
    size = sum(path.stat().st_size for path in store.path(spec).rglob('*') if path.is_file())
    assert size <= cost.disk(spec).finished < size + cost.HEADERS


def test_no_two_steps_share_their_random_numbers(store, monkeypatch):
    """Batches, prefill actions, and the keys of updates, of acting and of assessing."""
    for spec in (smoke.ACTIVE, smoke.PASSIVE):
        assert len(np.unique(store.batches(spec), axis=0)) == spec.schedule.updates
    prefill = store.replay(smoke.ACTIVE).arrays['action'][: smoke.ACTIVE.prefill // 4 - 1].reshape(-1, 2)
    prefill = prefill[(prefill != 0).any(1)]  # no action after a last step
    assert len(np.unique(prefill, axis=0)) == len(prefill) > 300
    monkeypatch.setattr(dreamer, 'train_chunk', lambda nets, state, batches, values, keys: jax.random.key_data(keys))
    monkeypatch.setattr(dreamer, 'act', lambda nets, params, carry, obs, key: jax.random.key_data(key))
    monkeypatch.setattr(dreamer, 'assess', lambda nets, params, episodes, key: jax.random.key_data(key))
    program, keys = lanes.Program(group_networks(), 1), lanes.keys([smoke.ACTIVE], 'train')
    updates = [program.chunk({}, {'reward': np.zeros((1, 3))}, {}, keys, first)[0] for first in (0, 3)]
    assert len(np.unique(np.concatenate(updates), axis=0)) == 6
    acting = [program.act('task', WEIGHTS, {}, {}, keys=keys, counter=counter) for counter in range(3)]
    assessing = [program.assess({}, {}, keys, counter) for counter in range(3)]
    for used in (acting, assessing):
        assert len(np.unique(np.concatenate(used), axis=0)) == 3


def test_alpha_mixes_initial_weights():
    program = lanes.program(group_networks(), 1)
    specs = {alpha: dataclasses.replace(smoke.TANDEM, alpha=alpha) for alpha in (0.0, 0.25, 1.0)}
    trees = {alpha: lanes.flatten(program.initial_state([spec])['params']) for alpha, spec in specs.items()}
    active = lanes.flatten(program.initial_state([smoke.ACTIVE])['params'])
    for key, mixed in trees[0.25].items():
        assert np.array_equal(trees[0.0][key], active[key])
        np.testing.assert_allclose(mixed, 0.75 * active[key] + 0.25 * trees[1.0][key], rtol=1e-6)


def group_networks():
    from paper_lib import envs
    from paper_lib.agent.networks import Networks

    spaces = envs.make(smoke.ACTIVE.task, 0).spaces
    return Networks(smoke.MODEL, spaces.vector, spaces.image, spaces.action, spaces.discrete)


def test_grouped_runs_are_each_trained_on_their_own(store, tmp_path):
    grouped = Store(tmp_path)
    others = [dataclasses.replace(smoke.PASSIVE, seed=seed, init_seed=seed) for seed in (1000, 1001)]
    (tmp_path / smoke.ACTIVE.run_id).symlink_to(store.path(smoke.ACTIVE))
    train.train(others, grouped)
    spec = others[0]
    assert np.array_equal(grouped.batches(spec), store.batches(spec))
    assert np.array_equal(grouped.lengths(spec), store.lengths(spec))
    solo, lane = store.metrics(spec), grouped.metrics(spec)
    np.testing.assert_allclose(lane.train_model_loss[0], solo.train_model_loss[0], rtol=1e-3)
    assert grouped.metrics(others[0]).train_model_loss[0] != grouped.metrics(others[1]).train_model_loss[0]


PAIR = [smoke.ACTIVE, dataclasses.replace(smoke.ACTIVE, seed=1, init_seed=1)]


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """Two runs that were trained as one program."""
    store = Store(tmp_path_factory.mktemp('pair'))
    train.train(PAIR, store)
    return store


@pytest.mark.parametrize('saves', [1, 99, 100])
def test_an_interrupted_group_goes_on_together_and_ends_with_the_same_bytes(saves, pair, tmp_path, monkeypatch):
    """Stopped when one of two runs has its first checkpoint, a newer one than the other, or the same one."""
    store = Store(tmp_path)

    smoke.stop_after(saves, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train.train(PAIR, store, checkpoint_seconds=0)
    monkeypatch.undo()
    assert jobs.programs(PAIR[::-1], 1, jobs.begun(PAIR, store)) == [tuple(PAIR)]
    train.train(PAIR, store)
    for spec in PAIR:
        assert content(store, spec) == content(pair, spec)


def test_a_run_that_was_begun_alone_is_not_begun_anew_with_another(pair, tmp_path, monkeypatch):
    store = Store(tmp_path)
    smoke.stop_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train.train(PAIR[:1], store, checkpoint_seconds=0)
    monkeypatch.undo()
    saved = sorted(store.path(PAIR[0]).glob('checkpoint-*'))
    with pytest.raises(RunError, match='was begun with other runs; resume it with the command that began it'):
        train.train(PAIR, store)
    assert sorted(store.path(PAIR[0]).glob('checkpoint-*')) == saved != []


def test_runs_of_different_programs_are_not_grouped(tmp_path):
    for other in (smoke.EXPLORER, smoke.PASSIVE, smoke.TANDEM):
        with pytest.raises(UserError, match='cannot share a program'):
            train.train([smoke.ACTIVE, other], Store(tmp_path))
    assert smoke.PASSIVE.signature != smoke.TANDEM.signature  # all of a replay against as much as there was
    exact = [dataclasses.replace(smoke.CONTROL, init_seed=seed) for seed in (1, 2)]
    with pytest.raises(UserError, match='of its source to the bit must be trained alone'):
        train.train(exact, Store(tmp_path))


def test_what_must_have_its_sources_bits_is_trained_alone_as_that_was(store, tmp_path):
    same = [dataclasses.replace(smoke.CONTROL, init_seed=seed) for seed in (1, 2)]
    assert jobs.programs(same, 8, {}) == [tuple(same)]
    assert jobs.programs(same, 8, {}, set(same)) == [(spec,) for spec in same]
    path = tmp_path / smoke.ACTIVE.run_id
    shutil.copytree(store.path(smoke.ACTIVE), path)
    about = files.read_json(path / 'provenance.json')['provenance']
    files.write_json(path / 'provenance.json', {'run_id': smoke.ACTIVE.run_id, 'provenance': about | {'threads': '7'}})
    with pytest.raises(RunError, match='was trained with threads=7; train it again here, alone, because tandem'):
        train.train([same[0]], Store(tmp_path))
    assert not Store(tmp_path).path(same[0]).exists()


def test_what_has_not_its_sources_bits_ends_at_its_first_evaluation(store, tmp_path, monkeypatch):
    """As where the source was trained by code that rounds differently."""
    spec, own = dataclasses.replace(smoke.CONTROL, init_seed=3), Finished.metrics
    (tmp_path / smoke.ACTIVE.run_id).symlink_to(store.path(smoke.ACTIVE))
    monkeypatch.setattr(Finished, 'metrics', lambda self: own(self).assign(train_model_loss=1.5))
    with pytest.raises(RunError, match='other code: its world-model loss before step 2000 is .*, and 1.5 in'):
        train.train([spec], Store(tmp_path))
    assert Store(tmp_path).status(spec) == 'failed'


def test_a_run_does_not_go_on_with_another_recording(store, tmp_path):
    """As where its source was deleted and trained again, on a machine that rounds differently."""

    def stop(clock):
        if clock == 2000:
            raise KeyboardInterrupt

    path = tmp_path / smoke.ACTIVE.run_id
    shutil.copytree(store.path(smoke.ACTIVE), path)
    with pytest.raises(KeyboardInterrupt):
        train.train([smoke.TANDEM], Store(tmp_path), stop, checkpoint_seconds=0)
    done = files.read_json(path / 'done.json')
    files.write_json(
        path / 'done.json', done | {'files': done['files'] | {'of_another_training': {'size': 0, 'sha256': ''}}}
    )
    with pytest.raises(RunError, match=r'was begun with sources=\[.*resume it so, or delete the directory'):
        train.train([smoke.TANDEM], Store(tmp_path))
    files.write_json(path / 'done.json', done)
    train.train([smoke.TANDEM], Store(tmp_path))
    assert Store(tmp_path).status(smoke.TANDEM) == 'done'


def test_source_must_be_finished(tmp_path):
    with pytest.raises(UserError, match=smoke.ACTIVE.run_id):
        train.train([smoke.TANDEM], Store(tmp_path))


def test_nothing_is_compiled_twice_in_a_process(store, tmp_path):
    """A second run of the same kind uses the programs of the first."""
    compiled = []

    def listen(name, *_, **__):
        if 'backend_compile' in name:
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        lanes.Program(group_networks(), 1).initial_state([smoke.ACTIVE])
        assert compiled  # a fresh program is: the event still has this name
        compiled.clear()
        train.train([dataclasses.replace(smoke.ACTIVE, seed=2, init_seed=2)], Store(tmp_path))
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(('cost', 'times'), [
    (0, [60, 120, 180, 240, 300]),
    (3, [60, 123, 186, 249, 312]),
    (6, [60, 186, 312]),  # saving takes a twentieth of the time at most
])  # fmt: skip
def test_checkpoints_are_saved_every_minute_or_less_often_and_at_the_end(cost, times, monkeypatch):
    now, saved = [0.0], []

    def save(clock, arrays, meta, rows, updates):
        saved.append(now[0])
        now[0] += cost

    schedule = types.SimpleNamespace(steps=300, updates_at=lambda clock: 0)
    empty = {'learner': types.SimpleNamespace(state={}), 'collector': None, 'added': 0, 'diverged': {}}
    training = types.SimpleNamespace(schedule=schedule, own_rows=lambda clock: 0, **empty)
    recorder = types.SimpleNamespace(evaluated=None, updates=[])
    monkeypatch.setattr(checkpoints.time, 'monotonic', lambda: now[0])
    lane = types.SimpleNamespace(run=types.SimpleNamespace(save=save))
    keep = checkpoints.Checkpoints([lane], {}, training, recorder, every=60)
    for clock in range(1, 301):  # a chunk takes a second
        now[0] += 1
        keep(loop.Advanced(clock))
    assert saved == times


CACHED = """
import sys
from paper_lib.run import train
from jax import monitoring
from paper_lib.data.store import Store
import smoke
events = []
monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition('/')[2]))
train.train([smoke.ACTIVE], Store(sys.argv[1]))
print(events.count('cache_hits'))
"""


@pytest.mark.slow
def test_the_next_process_compiles_no_large_program_again_and_ends_with_the_same_bytes(store, tmp_path):
    settings = {key: value for key, value in os.environ.items() if not key.startswith('JAX_COMPILATION_CACHE')}
    settings |= {'XDG_CACHE_HOME': str(tmp_path / 'cache'), 'PYTHONPATH': os.pathsep.join(sys.path),
                 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}  # fmt: skip
    hits = []
    for name in ('first', 'second'):
        command = [sys.executable, '-c', CACHED, str(tmp_path / name)]
        hits.append(int(subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout))
        assert content(Store(tmp_path / name), smoke.ACTIVE) == content(store, smoke.ACTIVE)
    kept = list((tmp_path / 'cache/paper-lib').glob('*/*-cache'))
    assert hits == [0, len(kept)] and kept


RESIDENT = """
import resource, subprocess, sys
subprocess.run([sys.executable, '-m', 'paper_lib.cli', *sys.argv[1:]], check=True)
print(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='counts kB only there')
def test_the_largest_run_of_a_laptop_holds_less_than_its_share_of_memory(tmp_path):
    """The explorer of the game, compiled from nothing: never 1.5 GB in any of its processes."""
    ours = ('JAX_COMPILATION_CACHE_DIR', 'GLIBC_TUNABLES', 'NPROC')
    settings = {key: value for key, value in os.environ.items() if key not in ours}
    settings |= {'XDG_CACHE_HOME': str(tmp_path / 'cache'), 'PYTHONPATH': os.pathsep.join(sys.path)}
    run = ['train', '--task', 'breakout-vision', '--agent', 'active_expl', '--workers', '1', '--budget', '4000',
           '--eval-every', '2000', '--runs', str(tmp_path)]  # fmt: skip
    command = [sys.executable, '-c', RESIDENT, *run]
    done = subprocess.run(command, env=settings, check=True, capture_output=True, text=True)
    assert int(done.stdout.splitlines()[-1]) < 1.5e9


@pytest.mark.parametrize(('given', 'flags'), [
    ('', ['--xla_gpu_enable_triton_gemm=false', '--xla_gpu_autotune_level=0']),
    ('--xla_gpu_autotune_level=4', ['--xla_gpu_autotune_level=4', '--xla_gpu_enable_triton_gemm=false']),
])  # fmt: skip
def test_flags_of_the_user_come_before_ours_for_gpus(given, flags):
    show = 'import os; from paper_lib.run import backend; backend.prepare(); print(os.environ["XLA_FLAGS"])'
    command = [sys.executable, '-c', show]
    done = subprocess.run(command, env=os.environ | {'XLA_FLAGS': given}, check=True, capture_output=True, text=True)
    assert done.stdout.split() == flags


# Killed anywhere. A child process kills itself with SIGKILL at the n-th call of a function, before or after it.

MOMENTS = {  # moment: (owner, function, most calls to wait for)
    'collection': ('paper_lib.run.rollout.Collector', 'collect', 400),
    'update': ('paper_lib.run.learner.Learner', 'update', 60),
    'evaluation': ('paper_lib.run.rollout.Evaluator', 'play', 3),
    'episode': ('paper_lib.envs.Batch', 'step', 2000),
    'metrics': ('paper_lib.data.writer.Run', 'append', 3),
    'checkpoint': ('paper_lib.contract.files', '_digest', 3),
    'flush': ('os', 'fsync', 30),
    'rename': ('os', 'replace', 8),
    'finishing': ('paper_lib.data.writer.Run', 'finish', 1),
    'completing': ('paper_lib.data.writer', 'complete', 1),
}
KILLS = 20
CHILD = """
import os, pkgutil, signal, sys
sys.path.insert(0, {tests!r})
import smoke
from paper_lib.data.store import Store
from paper_lib.run.train import train
root, name, owner, function, count, after = sys.argv[1:]
owner, calls = pkgutil.resolve_name(owner), 0
original = getattr(owner, function)

def kill(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(count) and after == 'False':
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if calls == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, function, kill)
train([getattr(smoke, name)], Store(root), checkpoint_seconds=0)
"""


def child(root, name, cache, moment, count, after):
    """Exit code of a process that trains the run and dies at the moment, or 0 if the run ended before."""
    code = CHILD.format(tests=str(pathlib.Path(__file__).parent))
    settings = {'JAX_COMPILATION_CACHE_DIR': str(cache), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
    args = [str(root), name, *MOMENTS[moment][:2], str(count), str(after)]
    return subprocess.run([sys.executable, '-c', code, *args], env=os.environ | settings, check=False).returncode


@pytest.mark.parametrize(('name', 'kills'), [
    ('ACTIVE', 4),
    pytest.param('ACTIVE', KILLS, marks=pytest.mark.slow),
    pytest.param('EXPLORER', KILLS, marks=pytest.mark.slow),
    pytest.param('PASSIVE', KILLS, marks=pytest.mark.slow),
])  # fmt: skip
def test_killed_at_random_moments_and_resumed(name, kills, store, tmp_path):
    """The run ends with the same bytes as one that was never stopped."""
    spec, rng, done = getattr(smoke, name), random.Random(kills), 0
    if store.status(spec) != 'done':
        train.train([spec], store)
    moments = [moment for moment in MOMENTS if spec.data == 'own' or moment != 'collection']
    roots = [tmp_path / 'run0']
    while done < kills:
        if not roots[-1].exists():
            roots[-1].mkdir()
            if spec.source:
                (roots[-1] / spec.source.run_id).symlink_to(store.path(spec.source))
        moment = moments[done % len(moments)] if kills > len(moments) else rng.choice(moments)
        count, after = rng.randint(1, MOMENTS[moment][2]), rng.random() < 0.5
        code = child(roots[-1], name, tmp_path / 'cache', moment, count, after)
        assert code in (0, -signal.SIGKILL)
        done += code != 0
        if Store(roots[-1]).status(spec) == 'done':
            assert content(Store(roots[-1]), spec) == content(store, spec)
            roots.append(tmp_path / f'run{len(roots)}')
    if roots[-1].exists():
        train.train([spec], Store(roots[-1]))
        assert content(Store(roots[-1]), spec) == content(store, spec)
