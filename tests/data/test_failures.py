"""What may happen to a run while it trains: damage, kills, competitors, full and read-only disks."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import toy
from toy import OTHER, SPEC

from paper_lib.contract import files
from paper_lib.contract.errors import RunError
from paper_lib.data import writer
from paper_lib.data.lease import Busy
from paper_lib.data.store import Store

CHILD = Path(__file__).with_name('child.py')


def child(*args, prefix=(), **kwargs):
    env = {**os.environ, 'PYTHONPATH': str(CHILD.parents[2])}
    return subprocess.Popen([*prefix, sys.executable, CHILD, *map(str, args)], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)  # fmt: skip


def succeed(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


# Runs that cannot be resumed.


def refuses_to_resume(root, match):
    before = toy.contents(root)
    with pytest.raises(RunError, match=match) as caught:
        toy.train(root)
    assert '\n' not in str(caught.value) and toy.contents(root) == before


@pytest.mark.parametrize('position', [0, 30, 5000, -1])
def test_damaged_checkpoint_is_named_and_the_older_one_serves(trained, tmp_path, position):
    path = toy.interrupted(tmp_path).path(SPEC) / 'checkpoint-30.npz'
    toy.flip(path, position)
    refuses_to_resume(tmp_path, r'checkpoint-30.npz: damaged .*; delete it to resume from checkpoint-20.npz')
    path.unlink()
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_checkpoint_under_another_name_is_refused(tmp_path):
    path = toy.interrupted(tmp_path).path(SPEC)
    os.rename(path / 'checkpoint-30.npz', path / 'checkpoint-40.npz')
    refuses_to_resume(tmp_path, 'checkpoint-40.npz: of another run or time; delete it')


@pytest.mark.parametrize('name', ['vector', 'action', 'reward', 'flags'])
def test_flipped_byte_in_the_replay_of_an_unfinished_run_is_named(tmp_path, name):
    path = toy.interrupted(tmp_path).path(SPEC) / f'replay/{name}.bin'
    toy.flip(path, path.stat().st_size * 30 // 50 - 1)  # in the last row that the checkpoint knows
    refuses_to_resume(tmp_path, f'replay/{name}.bin: damaged')


@pytest.mark.parametrize('name', ['batches', 'lengths'])
def test_flipped_byte_in_the_batch_log_of_an_unfinished_run_is_named(tmp_path, name):
    toy.flip(toy.interrupted(tmp_path).path(SPEC) / f'{name}.bin', 100)
    refuses_to_resume(tmp_path, f'{name}.bin: damaged')


@pytest.mark.parametrize('name', ['batches', 'lengths', 'replay/reward'])
def test_truncated_file_of_an_unfinished_run_is_named_and_left_as_it_is(tmp_path, name):
    path = toy.interrupted(tmp_path).path(SPEC) / f'{name}.bin'
    size = path.stat().st_size
    os.truncate(path, size - 4)
    refuses_to_resume(tmp_path, f'{name}.bin: has {size - 4} bytes, not {size}; restore it')


def test_rows_behind_the_checkpoint_are_written_again(trained, tmp_path):
    path = toy.interrupted(tmp_path).path(SPEC)
    toy.flip(path / 'replay/reward.bin', 32 * 16)
    toy.flip(path / 'lengths.bin', -1)
    with open(path / 'metrics.jsonl', 'a') as file:
        file.write('{"agent_step": 1')  # a line that a kill cut
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_truncated_or_changed_metrics_are_named(tmp_path):
    path = toy.interrupted(tmp_path).path(SPEC) / 'metrics.jsonl'
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b'40', b'41'), b''):
        path.write_bytes(damaged)
        refuses_to_resume(tmp_path, 'metrics.jsonl: truncated or damaged')
    path.unlink()
    refuses_to_resume(tmp_path, 'metrics.jsonl: missing')


def test_finished_run_without_its_seal_is_not_trained_again(trained, tmp_path):
    shutil.copytree(trained, tmp_path / 'runs')
    (Store(tmp_path / 'runs').path(SPEC) / 'done.json').unlink()
    refuses_to_resume(tmp_path / 'runs', 'done.json: missing, though the run was finished')


@pytest.mark.parametrize('name', ['spec.json', 'replay/vector.bin', 'checkpoint-30.npz'])
def test_missing_file_of_an_unfinished_run(tmp_path, name):
    store = toy.interrupted(tmp_path)
    (store.path(SPEC) / name).unlink()
    if name == 'checkpoint-30.npz':
        toy.train(tmp_path)
    else:
        refuses_to_resume(tmp_path, f'{name}: missing')


def test_append_after_a_refused_one_leaves_no_trace(tmp_path):
    store = Store(tmp_path)
    with store.lease(SPEC) as held:
        run = store.open(SPEC, held)
        run.restart()
        run.append({'score': 1})
        with open(store.path(SPEC) / 'metrics.jsonl', 'a') as file:
            file.write('{"score": 1234567')
        run.append({'score': 2})
    assert (store.path(SPEC) / 'metrics.jsonl').read_text() == '{"score": 1}\n{"score": 2}\n'


def test_writer_that_lost_its_lease_stops(tmp_path):
    store = Store(tmp_path)
    with store.lease(SPEC) as held:
        run = store.open(SPEC, held)
        run.restart()
        (store.path(SPEC) / 'lease.json').write_text('{"token": "theirs", "host": "elsewhere", "pid": 7}')
        with pytest.raises(Busy, match=r'process 7 on elsewhere'):
            run.save(1, {}, {}, rows=0, updates=0)
        with pytest.raises(Busy):
            run.finish({}, {}, {})
    assert not list(store.path(SPEC).glob('*.npz'))


# Kills, competitors, disks.


def test_killed_before_every_change_of_the_directory(tmp_path):
    points = int(succeed(child('crash', tmp_path)).split()[0])
    assert points > 40


def test_killed_holder_is_succeeded_at_once(trained, tmp_path):
    holder = child('hold', tmp_path)
    assert holder.stdout.readline() == 'held\n'
    assert Store(tmp_path).status(SPEC) == 'running'
    with pytest.raises(Busy, match=f'process {holder.pid} on'):
        toy.train(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert Store(tmp_path).status(SPEC) != 'running'
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_processes_that_race_for_one_run(trained, tmp_path):
    outputs = [succeed(process) for process in [child('compete', tmp_path) for _ in range(4)]]
    assert all('waited' in output for output in outputs)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_run_killed_while_it_was_tidied_is_completed_without_training(trained, tmp_path):
    shutil.copytree(trained, tmp_path / 'runs')
    store = Store(tmp_path / 'runs')
    path = store.path(SPEC)
    os.rename(path / 'done.json', path / 'finishing.json')
    for left in ('checkpoint-50.npz', 'metrics.jsonl'):
        (path / left).write_bytes(b'')
    assert store.status(SPEC) == 'partial'
    with store.lease(SPEC):
        assert store.status(SPEC) == 'done'
    assert toy.contents(store.root) == toy.contents(trained)


@pytest.fixture
def tidying(tmp_path, monkeypatch):
    """A run that was killed when its final files were written and nothing was deleted yet; its folder."""
    monkeypatch.setattr(writer, 'complete', lambda path: None)
    toy.train(tmp_path)
    monkeypatch.undo()
    return Store(tmp_path).path(SPEC)


def other_run(path):
    files.write_json(path / 'finishing.json', files.read_json(path / 'finishing.json') | {'run_id': OTHER.run_id})


def shorter_list(name):
    def damage(path):
        found = files.read_json(path / 'finishing.json')
        found['files'].pop(name)
        files.write_json(path / 'finishing.json', found)

    return damage


@pytest.mark.parametrize(('damage', 'match'), [
    (lambda path: toy.flip(path / 'finishing.json', 40), 'finishing.json: damaged'),
    (lambda path: (path / 'finishing.json').write_text('{}'), 'finishing.json: '),
    (lambda path: (path / 'finishing.json').write_text('[' * 100_000), 'finishing.json: damaged'),
    (lambda path: (path / 'finishing.json').write_text(''), 'finishing.json: damaged'),
    (other_run, f'finishing.json: of another run, {OTHER.run_id}'),
    (shorter_list('weights.npz'), 'finishing.json: does not list weights.npz'),
    (shorter_list('replay/reward.bin'), 'finishing.json: does not list replay/reward.bin'),
    (lambda path: toy.flip(path / 'weights.npz', 90), r'weights.npz: damaged \(checksum\)'),
    (lambda path: (path / 'traces.npz').unlink(), 'traces.npz: missing'),
    (lambda path: os.truncate(path / 'metrics.parquet', 9), 'metrics.parquet: has 9 bytes, not'),
])  # fmt: skip
def test_nothing_is_deleted_for_a_damaged_list_of_final_files(trained, tidying, damage, match):
    damage(tidying)
    refuses_to_resume(tidying.parent, f'{match}.*; delete {tidying}/finishing.json to finish the run again from its')
    assert len(list(tidying.glob('checkpoint-*.npz'))) == 2
    (tidying / 'finishing.json').unlink()
    toy.train(tidying.parent)
    assert toy.contents(tidying.parent) == toy.contents(trained)


def test_damaged_list_of_final_files_without_a_checkpoint_is_no_reason_to_delete_it(tidying):
    toy.flip(tidying / 'finishing.json', 40)
    for path in tidying.glob('checkpoint-*.npz'):
        path.unlink()
    refuses_to_resume(tidying.parent, 'finishing.json: damaged.*; restore it, or delete the run directory')


def test_run_whose_folder_is_deleted_while_it_trains_says_so(trained, tmp_path):
    store = Store(tmp_path)
    match = f'{SPEC.run_id}: this folder was deleted while its run was trained here; run the same command again'
    with store.lease(SPEC) as held:
        run = store.open(SPEC, held)
        run.restart()
        shutil.rmtree(run.path)
        for write in (lambda: run.append({}), lambda: run.save(1, {}, {}, rows=0, updates=0),
                      lambda: run.finish({}, {}, {})):  # fmt: skip
            with pytest.raises(RunError, match=match) as caught:
                write()
            assert not isinstance(caught.value, Busy)  # nobody has it: there is nothing to wait for
        run.fail('it was deleted')
    assert not run.path.exists()
    toy.train(tmp_path)
    assert toy.contents(tmp_path) == toy.contents(trained)


def test_files_that_may_not_grow(tmp_path):
    assert 'full disks' in succeed(child('file_limit', tmp_path))


def test_full_disk(tmp_path):
    mounted = ['unshare', '-m', 'sh', '-c', f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"', 'sh']
    if os.getuid() or not shutil.which('unshare') or subprocess.run([*mounted, 'true'], stderr=-3).returncode:
        pytest.skip('needs the right to mount a file system')
    assert 'full disks' in succeed(child('full_disk', tmp_path, prefix=mounted))


def test_read_only_directory():
    with tempfile.TemporaryDirectory() as root:  # pytest's own folders are closed to the user that root becomes
        assert 'refused' in succeed(child('read_only', root))


def test_file_in_place_of_the_directory(tmp_path):
    (tmp_path / 'runs').write_text('')
    with pytest.raises(RunError, match=r'then run the same command again'):
        toy.train(tmp_path / 'runs')
    (tmp_path / 'runs').unlink()
    toy.train(tmp_path / 'runs')


def test_no_temporary_files_outlive_a_run(tmp_path):
    store = toy.interrupted(tmp_path)
    (store.path(SPEC) / '.checkpoint-40.npz.tmp').write_bytes(b'half')
    toy.train(tmp_path)
    assert set(toy.contents(tmp_path)) | {'provenance.json'} == toy.FILES
