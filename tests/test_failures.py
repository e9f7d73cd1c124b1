"""What a user may meet, through the command line: one line that says what to do, nothing lost, and then it goes on.

Training happens in this process, so that its program is compiled once for all tests of this file.
"""

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from paper_lib import cli
from paper_lib.contract import files
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import SCHEMA
from paper_lib.data import writer
from paper_lib.data.store import Store
from paper_lib.engine import ensure, pool
from paper_lib.run import lanes
from paper_lib.study import plan, scales

ROOT = Path(__file__).resolve().parents[1]
TASK = 'point_mass_maze-proprio'
SMOKE = scales.get('smoke')
ACTIVE = plan.make('active', TASK, 0, SMOKE)
PASSIVE = plan.make('passive', TASK, 0, SMOKE)
TRAIN = ['train', '--task', TASK, '--scale', 'smoke', '--agent']
VARYING = ('provenance.json', 'lease.json', 'failed.json', 'attempts.jsonl')


class Here(pool.Worker):
    """In place of a process: works in this one, at once."""

    def call(self, function, *args):
        self.outcome = pool._outcome(function, args)

    def receive(self):
        return self.outcome


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(pool, 'Worker', Here)
    monkeypatch.setattr(pool, 'ready', lambda workers, seconds: workers)
    monkeypatch.setattr(ensure, 'RETRY', 0.1)


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """(folder of an interrupted run, with checkpoints at 2480 and 2500; folder with the same run finished)."""
    from paper_lib.run.train import train

    def interrupt(clock):
        if clock == 2500:
            raise KeyboardInterrupt

    partial, whole = tmp_path_factory.mktemp('partial'), tmp_path_factory.mktemp('whole')
    with contextlib.suppress(KeyboardInterrupt):
        train([ACTIVE], Store(partial), interrupt, checkpoint_seconds=0)
    train([ACTIVE], Store(whole))
    return partial, whole


@pytest.fixture
def partial(trained, tmp_path):
    return Path(shutil.copytree(trained[0], tmp_path / 'runs'))


@pytest.fixture
def whole(trained, tmp_path):
    return Path(shutil.copytree(trained[1], tmp_path / 'runs'))


def contents(root, spec=ACTIVE):
    path = Store(root).path(spec)
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob('*') if file.is_file()}
    return {name: data for name, data in found.items() if name not in VARYING}


@pytest.fixture
def call(capfd):
    """Run a command -> (exit code, lines on stderr)."""

    def run(*args, runs):
        code = cli.main([*args, '--runs', str(runs)])
        return code, capfd.readouterr().err.splitlines()

    return run


@pytest.fixture
def refused(call):
    """Run a command that has to end in one line with these words."""

    def run(*args, runs, words):
        code, (line,) = call(*args, runs=runs)
        assert code == 2
        assert line.startswith('error: ')
        for word in words:
            assert word in line

    return run


@pytest.fixture
def goes_on(call, trained):
    """The same command then ends well, with the bytes of a run that met no trouble."""

    def run(*args, runs):
        assert call(*args, runs=runs)[0] == 0
        assert contents(runs) == contents(trained[1])

    return run


# Mistakes, found before anything is made.


@pytest.mark.parametrize(('args', 'words'), [
    (['--task', 'point_mass_maz'], ["task='point_mass_maz': unknown", TASK]),
    (['--agent', 'tandm'], ["agent='tandm': must be one of", "did you mean 'tandem'?"]),
    (['--scale', 'latpop'], ["scale='latpop'", 'smoke, laptop, paper', "'laptop'?"]),
    (['--size', 'XL'], ["size='XL': must be one of S, smoke, laptop, laptop_toy_maze"]),
    (['--budget', '-6000'], ['budget=-6000: must be from 1 to 1,000,000,000,000']),
    (['--budget', '0'], ['budget=0: must be from 1 to']),
    (['--budget', '1e6'], ["budget='1e6': must be int"]),
    (['--ratio', 'half'], ["ratio='half': must be float"]),
    (['--ratio', '0'], ['ratio=0.0: must be above 0, at most 10000']),
    (['--ratio', '1e-12'], ['chunk=20: must be such that chunk x ratio (1e-12) is a whole number of updates']),
    (['--agent', 'tandem', '--alpha', '1.5'], ['alpha=1.5: must be from 0 to 1']),
    (['--alpha', '0.5'], ['alpha=0.5: must be 1 for a run without a source']),
    (['--agent', 'active_expl', '--w-expl', '-1'], ['w_expl=-1.0: must be from 0 to 1']),
    (['--seed', '-1'], ['seed=-1: must be from 0 to 999']),
    (['--seed', '1000'], ['seed=1000: must be from 0 to 999']),
    (['--budget', '1000000000000'], ['training needs', 'disk space', 'PAPER_LIB_RUNS']),
    (['--budget', '1000000000001'], ['budget=1000000000001: must be from 1 to 1,000,000,000,000']),
    (['--goal-radius', '0'], ['goal_radius=0.0: must be above 0, at most 0.065']),
    (['--goal-radius', '0.2'], ['goal_radius=0.2: must be above 0, at most 0.065']),
    (['--task', 'cup_catch-proprio', '--goal-radius', '0.05'], ['goal_radius=0.05: must be 0.015']),
    (['--render', 'suite'], ["render='suite': must be 'fast'", 'has no such option']),
    (['--task', 'cup_catch-vision', '--render', 'nice'], ["render='nice': must be 'fast' or 'suite'"]),
    (['--model.deter', '0'], ['deter=0: must be from 1 to 65,536']),
    (['--w-expl', '0.5', '--model.ensemble', '1'], ['ensemble=1: must be at least 2 for a run that explores']),
    (['--model.bins', '1'], ['bins=1: must be from 2 to 65,536']),
    (['--model.deter', '1.5'], ["deter='1.5': must be int"]),
    (['--model.gradient', 'v2'], ["gradient='v2': must be 'v1' or 'reinforce'"]),
    (['--workers', '-1'], ['workers=-1: must be from 1 to 1000']),
    (['--workers', '3000000000'], ['workers=3000000000: must be from 1 to 1000']),
    (['--task', 'a\nb\x1b[31m'], [r"task='a\nb\x1b[31m': unknown"]),
    (['--scale', 'x' * 100_000], ["scale='xxx", 'xxx ... ', 'smoke, laptop, paper']),
])  # fmt: skip
def test_wrong_value_is_named(refused, tmp_path, args, words):
    refused(*TRAIN, 'active', *args, runs=tmp_path / 'runs', words=words)
    refused(*TRAIN, 'active', *args, '--dry-run', runs=tmp_path / 'runs', words=words)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(('args', 'line'), [
    (['train', '--task', TASK, '--buget', '6000'],
     'Unrecognized options: --buget, 6000; Perhaps you meant: --budget INT; see `paper-lib train --help`'),
    (['train'], 'Missing from paper-lib train: --task STR; see `paper-lib train --help`'),
    (['train', TASK, '--bugdet', '5'], 'Missing from paper-lib train: --task STR; '
     f'Unrecognized options: {TASK} --bugdet 5; see `paper-lib train --help`'),
    (['trian'], f"command='trian': must be one of {', '.join(cli.COMMANDS)}; did you mean 'train'?; "
     'see `paper-lib --help`'),
    (['train', '--task', TASK, '--seed', 'one'], "Error parsing --seed: invalid literal for int() with base 10: 'one'; "
     'expected --seed INT; see `paper-lib train --help`'),
    (['bench', '--lanes', 'x'], "Error parsing --lanes: Could not find valid parse for arguments: ['x']; "
     'expected --lanes [INT [INT ...]]; see `paper-lib bench --help`'),
])  # fmt: skip
def test_wrong_option_is_named(capsys, args, line):
    assert cli.main(args) == 2
    assert capsys.readouterr().err == f'error: {line}\n'


def test_source_with_another_goal_is_named():
    with pytest.raises(UserError, match=r"goal_radius=0.05: must be the source's 0.015"):
        dataclasses.replace(PASSIVE, goal_radius=0.05)


def test_source_that_is_drawn_otherwise_is_named():
    task = 'point_mass_maze-vision'
    model = dataclasses.replace(ACTIVE.model, disag_target='stoch')
    source = dataclasses.replace(ACTIVE, task=task, model=model, render='suite')
    with pytest.raises(UserError, match=r"render='fast': must be the source's suite"):
        dataclasses.replace(PASSIVE, task=task, model=model, source=source)


def test_source_of_another_task_is_named():
    with pytest.raises(UserError, match=f"source='{TASK}': must be a recording of the same task, walker_walk-proprio"):
        dataclasses.replace(PASSIVE, task='walker_walk-proprio')


def test_what_must_be_its_source_to_the_bit_learns_as_that_does():
    control = plan.make('tandem_alpha_0', TASK, 0, SMOKE)
    assert control.exact and not dataclasses.replace(PASSIVE, alpha=0.0).exact  # other batches: only the same start
    for values in ({'seed': 7}, {'lr_model': 0.5}, {'lr_actor': 0.5}, {'lr_critic': 0.5}):
        with pytest.raises(UserError, match=f"{next(iter(values))}=.*: must be the source's"):
            dataclasses.replace(control, **values)


def test_a_device_that_is_not_there_is_named(tmp_path):
    for option in ((), ('--dry-run',)):
        command = [sys.executable, '-m', 'paper_lib.cli', *TRAIN, 'active', *option, '--runs', str(tmp_path / 'runs')]
        found = subprocess.run(command, env=os.environ | {'JAX_PLATFORMS': 'tpu'}, capture_output=True, text=True)
        assert (found.returncode, found.stderr.count('\n')) == (2, 1)
        assert found.stderr.startswith("error: JAX_PLATFORMS='tpu': ")
    assert not (tmp_path / 'runs').exists()


def test_prune_does_not_take_a_damaged_run_for_one_without_a_source(refused, partial):
    (Store(partial).path(ACTIVE) / 'spec.json').write_text(json.dumps({'schema': SCHEMA}))
    refused(
        'prune',
        '--scale',
        'smoke',
        runs=partial,
        words=['spec.json: damaged', 'restore it'],
    )


def test_source_that_is_missing_or_unfinished_is_named(partial, tmp_path):
    with pytest.raises(RunError, match=f'{ACTIVE.run_id}: this run does not exist; train it first'):
        ensure.ensure([PASSIVE], Store(tmp_path / 'empty'))
    with pytest.raises(RunError, match=f'{ACTIVE.run_id}: this run is unfinished; resume it first'):
        ensure.ensure([PASSIVE], Store(partial))
    assert not Store(partial).path(PASSIVE).exists()


@pytest.mark.parametrize('args', [[*TRAIN, 'active'], [*TRAIN, 'active', '--dry-run'], ['runs'], ['prune'], ['export']])
def test_folder_that_cannot_hold_runs_is_named(refused, tmp_path, args):
    path = tmp_path / 'file'
    path.write_text('')
    refused(*args, runs=path, words=[f'{path}: Not a directory; remove the cause'])
    refused(*args, runs='', words=["path='': must be the name of a file or folder"])


@pytest.mark.parametrize('args', [[*TRAIN, 'active'], [*TRAIN, 'active', '--dry-run'], ['runs', '--scale', 'smoke'],
                                  ['prune', '--scale', 'smoke']])  # fmt: skip
def test_folder_that_may_not_be_read_is_named(refused, args):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        runs = Path(folder) / 'runs'
        runs.mkdir(0)
        os.chmod(folder, 0o755)
        with bound_by_permissions(runs):
            refused(*args, runs=runs, words=[f'{runs}/', 'Permission denied'])


def command(*args, **environment):
    """(exit code, stdout, stderr) of a command in a process of its own."""
    done = subprocess.run([sys.executable, '-m', 'paper_lib.cli', *args], env=os.environ | environment, text=True,
                          capture_output=True, timeout=60, cwd=ROOT)  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('columns', ['1', '10'])
def test_help_in_a_narrow_terminal_ends(columns):
    code, out, err = command('train', '--help', COLUMNS=columns)
    assert (code, err) == (0, '')
    assert '--task' in out


def test_path_with_letters_that_the_output_has_not_is_printed_escaped(tmp_path):
    (tmp_path / 'é').mkdir()
    code, out, err = command('prune', '--scale', 'smoke', '--runs', str(tmp_path / 'é'), PYTHONIOENCODING='ascii')
    assert (code, out, err) == (0, f'{tmp_path}/\\xe9: no replay to drop\n', '')


def test_umask_that_closes_files_to_their_owner_is_named(refused, tmp_path):
    mask = os.umask(0o777)
    try:
        refused(*TRAIN, 'active', runs=tmp_path / 'runs', words=['umask=0777: ', 'run `umask 022` first'])
    finally:
        os.umask(mask)
    assert not (tmp_path / 'runs').exists()


def test_flag_that_jax_does_not_know_is_named(tmp_path):
    code, _, err = command(*TRAIN, 'active', '--workers', '1', '--runs', str(tmp_path), XLA_FLAGS='--xla_nosuch=1')
    assert code == 2
    line = err.splitlines()[-1]
    assert line.startswith("error: XLA_FLAGS='--xla_nosuch=1")
    assert line.endswith(': jax does not start with it; see the line above')


def claims(monkeypatch, capfd, figures):
    """Line on stderr of a command that reads the archive in a folder that holds none."""
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(figures))
    assert cli.main(['claims', '--scale', 'smoke']) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


def test_folder_of_the_figures_is_named_where_it_cannot_be_used(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert f'no runs in {tmp_path}/there/data/smoke' in claims(monkeypatch, capfd, '~/there')
    long = tmp_path / ('x' * 300)
    assert claims(monkeypatch, capfd, long).startswith(f'error: {long}: File name too long')
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        figures = Path(folder) / 'figures'
        figures.mkdir(0)
        os.chmod(folder, 0o755)
        with bound_by_permissions(figures):
            line = claims(monkeypatch, capfd, figures)
    assert line.startswith(f'error: {figures}: Permission denied; make it writable or name another folder')


@pytest.mark.parametrize(('folder', 'reason'), [('gone', 'No such file or directory'), ('', 'File too large')])
def test_folder_for_temporary_files_is_named_where_it_is_missing_or_full(monkeypatch, capfd, tmp_path, folder, reason):
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(tempfile, 'tempdir', str(tmp_path / folder))
            assert cli.main(['verify', '--scale', 'laptop']) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('error: ')
    for word in (str(tmp_path / folder / 'paper-lib-'), reason, '; remove the cause and run again'):
        assert word in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('option', [(), ('--dry-run',)])
def test_source_whose_replay_was_dropped_is_named(refused, whole, option):
    Store(whole).drop_replay(ACTIVE)
    refused(*TRAIN, 'passive', *option, runs=whole, words=[ACTIVE.run_id, 'its replay was dropped'])
    assert not Store(whole).path(PASSIVE).exists()


def test_a_run_that_fails_does_not_stop_the_others(here, tmp_path, monkeypatch):
    """Divergence: an infinite learning rate, which no spec can have, makes the first weights after the prefill so."""
    bad, lost = (plan.make(agent, TASK, 1, SMOKE, prefill=980) for agent in ('active', 'passive'))
    hyper = lanes.hyper

    def infinite(specs):
        return hyper(specs) | ({'lr_actor': np.array([np.inf], np.float32)} if specs == [bad] else {})

    monkeypatch.setattr(lanes, 'hyper', infinite)
    with pytest.raises(RunError, match=f'{bad.run_id}.*diverged.*lower the learning rates'):
        ensure.ensure([bad, lost, ACTIVE], Store(tmp_path))
    assert [Store(tmp_path).status(spec) for spec in (bad, lost, ACTIVE)] == ['failed', 'missing', 'done']


# Damage.


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_in_the_zip(path):
    """A bit of the zip's directory that says that a member is encrypted."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b'PK\x01\x02') + 8] ^= 1
    path.write_bytes(data)


def forget_weights(path):
    """Take the weights out of the list of final files."""
    found = files.read_json(path)
    found['files'].pop('weights.npz')
    files.write_json(path, found)


def other_schema(path):
    text = path.read_text()
    path.write_text(text.replace(f'"schema": {SCHEMA}', '"schema": 99'))
    assert path.read_text() != text


@pytest.mark.parametrize(('name', 'damage', 'words'), [
    ('metrics.jsonl', halve, ['truncated or damaged; restore it']),
    ('checkpoint-2500.npz', flip, ['damaged', 'delete it to resume from checkpoint-2480.npz']),
    ('checkpoint-2500.npz', halve, ['damaged', 'delete it to resume from checkpoint-2480.npz']),
    ('checkpoint-2500.npz', flip_in_the_zip, ['damaged', 'delete it to resume from checkpoint-2480.npz']),
    ('batches.bin', halve, ['bytes, not', 'restore it']),
    ('replay/reward.bin', flip, ['damaged (checksum); restore it']),
    ('replay/action.bin', Path.unlink, ['missing; restore it']),
    ('replay/vector.bin', halve, ['bytes, not', 'restore it']),
    ('batches.bin', flip, ['damaged (checksum); restore it']),
    ('spec.json', Path.unlink, ['missing; restore it']),
    ('spec.json', other_schema, [f'has schema 99, this code reads schema {SCHEMA}']),
])  # fmt: skip
def test_damage_to_an_unfinished_run(here, refused, goes_on, partial, trained, name, damage, words):
    path = Store(partial).path(ACTIVE) / name
    damage(path)
    before = contents(partial)
    refused(*TRAIN, 'active', runs=partial, words=[str(path), *words])
    assert contents(partial) == before
    if 'delete it' in words[-1]:
        path.unlink()
    else:
        path.write_bytes((Store(trained[0]).path(ACTIVE) / name).read_bytes())
    goes_on(*TRAIN, 'active', runs=partial)


@pytest.mark.parametrize(('name', 'damage', 'words'), [
    ('metrics.parquet', halve, ['bytes, not', 'restore it']),
    ('replay/vector.bin', flip, ['damaged (checksum); restore it']),
    ('batches.bin', Path.unlink, ['missing; restore it']),
    ('done.json', other_schema, [f'has schema 99, this code reads schema {SCHEMA}']),
    ('done.json', forget_weights, ['does not list weights.npz; restore it']),
    ('provenance.json', halve, ['damaged; restore it']),
])  # fmt: skip
def test_damage_to_a_finished_source(here, refused, goes_on, whole, trained, name, damage, words):
    path = Store(whole).path(ACTIVE) / name
    damage(path)
    before = contents(whole)
    refused(*TRAIN, 'tandem', runs=whole, words=[str(path), *words])
    refused(*TRAIN, 'active', runs=whole, words=[str(path), *words])
    assert contents(whole) == before
    assert len(list(whole.iterdir())) == 1
    path.write_bytes((Store(trained[1]).path(ACTIVE) / name).read_bytes())
    goes_on(*TRAIN, 'tandem', runs=whole)


def test_damage_to_a_checkpoint_that_is_not_needed_is_no_matter(here, goes_on, partial):
    flip_in_the_zip(Store(partial).path(ACTIVE) / 'checkpoint-2480.npz')
    goes_on(*TRAIN, 'active', runs=partial)


def test_damaged_list_of_final_files_costs_no_checkpoint(here, refused, goes_on, partial):
    path = Store(partial).path(ACTIVE)
    (path / 'finishing.json').write_text('{}')
    before = contents(partial)
    refused(*TRAIN, 'active', runs=partial, words=['finishing.json: damaged', f'delete {path}/finishing.json to'])
    assert contents(partial) == before
    (path / 'finishing.json').unlink()
    goes_on(*TRAIN, 'active', runs=partial)


def test_a_worker_that_meets_a_damaged_source_names_it(here, whole):
    """Without the check that the command line makes first: what a notebook sees."""
    flip(Store(whole).path(ACTIVE) / 'replay/vector.bin')
    with pytest.raises(RunError, match=r'replay/vector.bin: damaged \(checksum\)'):
        ensure.ensure([PASSIVE], Store(whole))


def test_damaged_run_in_a_notebook(refused, whole, tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    path = Store(whole).path(ACTIVE) / 'metrics.parquet'
    halve(path)
    command = ['notebooks', '1_toy_maze', '--scale', 'smoke', '--output', str(tmp_path / 'out'), '-p', 'train', 'no']
    words = [f'1_toy_maze: {path}: has', 'restore it', f'{tmp_path / "out" / "1_toy_maze.partial.ipynb"}']
    refused(*command, runs=whole, words=words)
    assert not list(tmp_path.rglob('*.html'))
    assert not (tmp_path / 'figures').exists()


# Other processes, disks, interrupts.

HOLD = """
import sys, time
from paper_lib.data.store import Store
from paper_lib.study import plan, scales
with Store(sys.argv[2]).lease(plan.make('active', sys.argv[1], 0, scales.get('smoke'))):
    print('held', flush=True)
    time.sleep(600)
"""


def process(*args):
    env, pipe = os.environ | {'PYTHONPATH': str(ROOT)}, subprocess.PIPE
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    try:
        return subprocess.Popen([sys.executable, *args], env=env, stdout=pipe, stderr=pipe, text=True,
                                start_new_session=True)  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, handler)


def test_run_that_another_process_works_on_is_waited_for(here, goes_on, partial, capfd):
    holder = process('-c', HOLD, TASK, str(partial))
    assert holder.stdout.readline() == 'held\n'
    threading.Timer(2, holder.kill).start()
    assert cli.main([*TRAIN, 'active', '--runs', str(partial)]) == 0
    notes = [line for line in capfd.readouterr().err.splitlines() if 'waiting' in line]
    assert len(notes) == 1
    assert f'process {holder.pid} on' in notes[0]
    holder.communicate()
    goes_on(*TRAIN, 'active', runs=partial)


@pytest.fixture
def midway(monkeypatch):
    """Let something happen after the second evaluation of a run that saves a checkpoint after each."""
    from paper_lib.run.train import train

    def arrange(event):
        rows, append = [], writer.Run.append

        def wrapped(run, row):
            append(run, row)
            rows.append(row)
            if len(rows) == 2:
                event()

        monkeypatch.setattr(writer.Run, 'append', wrapped)
        monkeypatch.setattr(train, '__defaults__', (None, 0.0, False))

    return arrange


def test_run_folder_that_is_deleted_in_the_middle(here, midway, refused, goes_on, tmp_path):
    path = Store(tmp_path).path(ACTIVE)
    midway(lambda: shutil.rmtree(path))
    refused(*TRAIN, 'active', runs=tmp_path, words=[f'{path}: this folder was deleted while its run was trained here'])
    goes_on(*TRAIN, 'active', runs=tmp_path)


def test_disk_that_is_full_in_the_middle(here, midway, refused, goes_on, tmp_path, capfd):
    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    midway(lambda: limit(20_000))
    try:
        refused(*TRAIN, 'active', runs=tmp_path, words=['checkpoint-2000.npz: ', 'free some space', 'command again'])
    finally:
        limit(resource.RLIM_INFINITY)
    assert cli.main(['runs', '--scale', 'smoke', '--json', '--runs', str(tmp_path)]) == 0
    row = next(row for row in json.loads(capfd.readouterr().out) if row['run_id'] == ACTIVE.run_id)
    assert row['state'] == 'failed'
    assert 'free some space' in row['reason']
    goes_on(*TRAIN, 'active', runs=tmp_path)


@contextlib.contextmanager
def bound_by_permissions(folder):
    """Be a user whom permissions bind, who owns a folder; root becomes one for the time."""
    user = os.geteuid()
    if not user:
        shutil.chown(folder, 65534)
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_directory_that_becomes_read_only_in_the_middle(here, midway, refused, goes_on):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        runs = Path(folder) / 'runs'
        runs.mkdir()
        os.chmod(folder, 0o755)
        midway(lambda: Store(runs).path(ACTIVE).chmod(0o555))
        with bound_by_permissions(runs):
            refused(*TRAIN, 'active', runs=runs, words=['checkpoint-2000.npz: Permission denied', 'make it writable'])
        Store(runs).path(ACTIVE).chmod(0o755)
        goes_on(*TRAIN, 'active', runs=runs)


def test_interrupt_leaves_a_run_that_resumes(here, goes_on, partial):
    command = process('-m', 'paper_lib.cli', *TRAIN, 'active', '--workers', '2', '--runs', str(partial))
    lease = Store(partial).path(ACTIVE) / 'lease.json'
    for _ in range(600):
        if lease.exists() or command.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(1)  # until the second worker, which has nothing to do, is up too
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out, err) == (130, '', 'interrupted; a training resumes with the same command\n')
    goes_on(*TRAIN, 'active', runs=partial)
