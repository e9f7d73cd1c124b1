"""Runs from their first file to `done.json`, and what a reader is told about those that are not whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy
from toy import OFFLINE, OTHER, SPEC

from paper_lib.contract import files, plain
from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.store import Store, default_root
from paper_lib.data.writer import check_spec


@pytest.fixture
def finished(trained, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(trained, tmp_path / 'runs')
    return Store(tmp_path / 'runs')


# A run that nothing happens to.


def test_finished_run_gives_back_what_was_written(trained):
    store = Store(trained)
    assert store.status(SPEC) == 'done' and store.failure(SPEC) is None
    assert set(toy.contents(trained)) | {'provenance.json'} == toy.FILES
    run = store.require(SPEC)
    run.verify()
    assert run.provenance() == {'note': ''}
    metrics = store.metrics(SPEC)
    assert metrics['agent_step'].tolist() == [40, 80, 120, 160, 200] and metrics['score'].dtype == float
    assert metrics['score'].iloc[-1] == store.weights(SPEC)['state'].sum()
    assert store.traces(SPEC)['reward'].shape == (4, 5)
    assert store.batches(SPEC).shape == (SPEC.schedule.updates, 2) and store.lengths(SPEC)[[0, -1]].tolist() == [11, 50]
    assert len(store.replay(SPEC).episodes(50)) == 28
    with pytest.raises(ValueError):
        store.batches(SPEC)[0] = 0


def test_recorded_starts_are_the_batches(trained):
    store = Store(trained)
    batch = store.replay(SPEC).gather(store.batches(SPEC)[7], 4)
    row, env = divmod(int(store.batches(SPEC)[7, 1]), 4)
    assert np.array_equal(batch['vector'][1, 2], toy.step(row + 2)['vector'][env])


def test_same_spec_same_bytes(trained, tmp_path):
    toy.train(tmp_path, note='another time, another place')
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_resumed_run_has_the_same_bytes(trained, tmp_path):
    store = toy.interrupted(tmp_path)
    assert store.status(SPEC) == 'partial'
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_stopped_before_the_first_checkpoint_starts_over(trained, tmp_path):
    toy.interrupted(tmp_path, every=100)
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_two_newest_checkpoints_stay_and_a_run_goes_back_to_either_or_to_nothing(trained, tmp_path):
    store = toy.interrupted(tmp_path)
    with store.lease(SPEC) as held:
        run = store.open(SPEC, held)
        assert run.checkpoints() == [30, 20]
        arrays, meta = run.load(20)
        assert meta == {'row': 20} and arrays['state'].shape == (1000, 3) and run.checkpoints() == [20]
        assert len((run.path / 'metrics.jsonl').read_text().splitlines()) == 2
        run.restart()
        assert run.checkpoints() == [] and (run.path / 'metrics.jsonl').read_text() == ''
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_offline_run_has_no_replay(tmp_path):
    store = Store(tmp_path)
    with store.lease(OFFLINE) as held:
        run = store.open(OFFLINE, held)
        run.restart()
        run.append({'score': np.float32(0.5), 'update': np.int64(1)})
        run.append({'score': 1, 'late': 2.5})
        run.save(0, {}, {}, rows=0, updates=0)
        run.load(0)
        run.finish({}, {}, {})
    assert not (store.path(OFFLINE) / 'replay').exists()
    metrics = store.metrics(OFFLINE)
    assert metrics['score'].tolist() == [0.5, 1] and metrics['update'].isna().tolist() == [False, True]
    with pytest.raises(RunError, match=r'read the replay of its source'):
        store.replay(OFFLINE)


def test_states_of_a_run(tmp_path):
    store = Store(tmp_path)
    assert store.status(SPEC) == 'missing'
    with store.lease(SPEC) as held:
        assert store.status(SPEC) == 'running'
        run = store.open(SPEC, held)
        run.restart()
        run.fail('loss is not a number')
    assert store.status(SPEC) == 'failed' and store.failure(SPEC) == 'loss is not a number'
    with store.lease(SPEC) as held:
        store.open(SPEC, held)
    assert store.status(SPEC) == 'partial'
    toy.train(tmp_path)
    assert store.status(SPEC) == 'done'


def test_a_process_that_lost_its_run_does_not_call_it_failed(tmp_path):
    store = Store(tmp_path)
    with store.lease(SPEC) as held:
        run = store.open(SPEC, held)
        run.restart()
        (run.path / 'lease.json').write_text(json.dumps({'host': 'elsewhere', 'pid': 1, 'token': 'theirs'}))
        run.fail('this process was suspended')
    assert not (run.path / 'failed.json').exists() and store.status(SPEC) == 'running'


def test_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('PAPER_LIB_RUNS', str(tmp_path))
    assert Store().root == tmp_path
    monkeypatch.delenv('PAPER_LIB_RUNS')
    assert default_root().name == 'runs'


# Runs that cannot be read.


def test_missing_unfinished_and_running_runs_are_named(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RunError, match=f'{SPEC.run_id}: this run does not exist; train it first'):
        store.require(SPEC)
    with store.lease(SPEC) as held, pytest.raises(RunError, match=r'is still running'):
        store.open(SPEC, held)
        store.require(SPEC)
    with pytest.raises(RunError, match=r'is unfinished'):
        store.require(SPEC)


def test_finished_run_is_never_overwritten(finished):
    with finished.lease(SPEC) as held, pytest.raises(RunError, match=r'is finished and is never overwritten'):
        finished.open(SPEC, held)


READERS = {'metrics.parquet': 'metrics', 'weights.npz': 'weights', 'traces.npz': 'traces', 'batches.bin': 'batches',
           'lengths.bin': 'lengths', 'replay/vector.bin': 'replay', 'replay/flags.bin': 'replay',
           'replay/layout.json': 'replay', 'spec.json': 'require', 'done.json': 'require'}  # fmt: skip


@pytest.mark.parametrize('name', READERS)
@pytest.mark.parametrize('damage', ['flip first', 'flip middle', 'flip last', 'truncate', 'remove'])
def test_damaged_file_of_a_finished_run_is_named(finished, name, damage):
    path = finished.path(SPEC) / name
    size = path.stat().st_size
    if damage == 'remove':
        path.unlink()
    elif damage == 'truncate':
        os.truncate(path, size - 1)
    else:
        toy.flip(path, {'first': 0, 'middle': size // 2, 'last': size - 1}[damage.split()[1]])
    expected = 'unfinished' if (name, damage) == ('done.json', 'remove') else path.name
    for reader in (getattr(finished, READERS[name]), lambda spec: finished.require(spec).verify()):
        with pytest.raises(RunError, match=expected) as caught:
            reader(SPEC)
        assert '\n' not in str(caught.value)


def test_a_dropped_replay_is_named_and_all_else_stays_whole(finished):
    sizes = [path.stat().st_size for path in finished.path(SPEC).glob('replay/*.bin')]
    assert finished.require(SPEC).size() == sum(sizes) > 0
    for _ in range(2):
        finished.drop_replay(SPEC)
        assert finished.require(SPEC).size() == 0
    for reader in (finished.replay, finished.source):
        with pytest.raises(RunError, match=r'its replay was dropped \(paper-lib prune\); to learn from it, delete'):
            reader(SPEC)
    finished.require(SPEC).verify()
    assert finished.status(SPEC) == 'done' and len(finished.metrics(SPEC)) == 5


def test_a_replay_that_is_gone_was_not_dropped_but_damaged(finished):
    for path in finished.path(SPEC).glob('replay/*.bin'):
        path.unlink()
    for reader in (finished.replay, lambda spec: finished.require(spec).verify()):
        with pytest.raises(RunError, match='.bin'):
            reader(SPEC)


def test_damage_elsewhere_does_not_hide_what_is_whole(finished):
    toy.flip(finished.path(SPEC) / 'replay/vector.bin', 5)
    assert len(finished.metrics(SPEC)) == 5


def test_flipped_provenance_is_named(finished):
    toy.flip(finished.path(SPEC) / 'provenance.json', 30)
    with pytest.raises(RunError, match=r'provenance.json'):
        finished.require(SPEC).verify()


def test_provenance_of_another_run_is_named(finished):
    toy.train(finished.root, spec=OTHER)
    shutil.copy(finished.path(OTHER) / 'provenance.json', finished.path(SPEC) / 'provenance.json')
    for reader in (finished.require(SPEC).provenance, finished.require(SPEC).verify):
        with pytest.raises(RunError, match=f'provenance.json: of another run, {OTHER.run_id}; restore it'):
            reader()


def test_mark_of_another_runs_dropped_replay_is_named(finished):
    toy.train(finished.root, spec=OTHER)
    finished.drop_replay(OTHER)
    shutil.copy(finished.require(OTHER).dropped, finished.require(SPEC).dropped)
    for reader in (lambda: finished.source(SPEC), finished.require(SPEC).verify):
        with pytest.raises(RunError, match=f'dropped.json: of another run, {OTHER.run_id}'):
            reader()


@pytest.mark.parametrize('name', sorted(toy.FILES - {'done.json', 'provenance.json'}))
def test_file_that_is_not_listed_any_more_is_named(finished, name):
    path = finished.path(SPEC) / 'done.json'
    done = files.read_json(path)
    files.write_json(path, done | {'files': {key: item for key, item in done['files'].items() if key != name}})
    with pytest.raises(RunError, match=f'done.json: does not list {name}; restore it'):
        finished.require(SPEC).verify()
    if name.startswith('replay/'):
        with pytest.raises(RunError, match=f'does not list {name}'):
            finished.replay(SPEC)


@pytest.mark.parametrize(('name', 'value'), [
    ('done.json', {}), ('done.json', {'run_id': 5, 'files': {}}), ('done.json', {'run_id': SPEC.run_id, 'files': []}),
    ('done.json', {'run_id': SPEC.run_id, 'files': {'spec.json': {}}}), ('provenance.json', {'run_id': SPEC.run_id}),
    ('provenance.json', {'provenance': {}}), ('failed.json', {}), ('failed.json', {'error': 5}),
])  # fmt: skip
def test_sealed_file_of_another_shape_is_named(finished, name, value):
    files.write_json(finished.path(SPEC) / name, value)
    with pytest.raises(RunError, match=rf'{name}: damaged \(.* is missing or of another type\)'):
        finished.failure(SPEC) if name == 'failed.json' else finished.require(SPEC).verify()


@pytest.mark.parametrize('text', ['[]', '{"a":' * 100_000, '{"schema": 2}'])
@pytest.mark.parametrize('name', ['spec.json', 'done.json', 'failed.json', 'provenance.json', 'replay/layout.json'])
def test_json_that_is_not_what_was_written_is_named(finished, name, text):
    (finished.path(SPEC) / name).write_text(text)
    with pytest.raises(RunError, match=f'{name}: (damaged|has .* bytes)') as caught:
        finished.failure(SPEC) if name == 'failed.json' else finished.require(SPEC).verify()
    assert '\n' not in str(caught.value)


def test_directory_of_another_spec_is_named(finished):
    os.rename(finished.path(SPEC), finished.path(OTHER))
    with pytest.raises(RunError, match=f'done.json: of another run, {SPEC.run_id}'):
        finished.require(OTHER)
    (finished.path(OTHER) / 'done.json').unlink()
    match = r'spec.json: of another spec \(differs in seed\)'
    with finished.lease(OTHER) as held, pytest.raises(RunError, match=match):
        finished.open(OTHER, held)


def test_a_value_that_differs_from_the_default_on_one_side_only_is_named(tmp_path):
    slow, fast = RunSpec(SPEC.task), RunSpec(SPEC.task, lr_model=1e-3)
    for theirs, ours in ((slow, fast), (fast, slow)):
        files.write_bytes(tmp_path / 'spec.json', files.json_text(plain.to_plain(theirs)).encode())
        with pytest.raises(RunError, match=r'of another spec \(differs in lr_model\)'):
            check_spec(tmp_path / 'spec.json', ours)


@pytest.mark.parametrize('name', ['spec.json', 'done.json'])
def test_another_schema_is_named(finished, name):
    path = finished.path(SPEC) / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {'schema': 99}))
    with pytest.raises(RunError, match=f'{name}: has schema 99, this code reads schema'):
        finished.require(SPEC)


def test_importing_the_wing_needs_neither_jax_nor_pyarrow():
    code = 'import sys, paper_lib.data.store; print(sorted({"jax", "pyarrow", "pandas"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout == '[]\n', done.stderr


def test_sha256_is_the_ordinary_one(trained):
    done = files.read_json(Store(trained).path(SPEC) / 'done.json')
    assert done['files']['weights.npz']['sha256'] == files.sha256(Store(trained).path(SPEC) / 'weights.npz')


def test_a_task_that_is_not_known_here_is_no_damage(finished):
    path = finished.path(SPEC) / 'spec.json'
    path.write_text(path.read_text().replace(SPEC.task, 'of_another_suite'))
    with pytest.raises(RunError, match="task='of_another_suite': unknown; .*name its module in PAPER_LIB_SUITES"):
        finished.require(SPEC)
