"""The command `paper-lib diagnose`, without the training itself, which `tests/run/test_recordings.py` tests."""

import dataclasses
import html
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from paper_lib import cli
from paper_lib.contract import tasks
from paper_lib.contract.errors import Diverged, RunError
from paper_lib.data import formats
from paper_lib.data.replay import FIRST, LAST, TERMINAL
from paper_lib.data.store import Store
from paper_lib.diagnose import order
from paper_lib.study import diagnosis, scales

LENGTH = 70
PENDULUM = 'gym:Pendulum-v1'


def recording(episodes=25, length=LENGTH, discrete=False, **changes):
    """Arrays of a recording without a fault; `changes` are functions of the arrays of their names."""
    rng = np.random.default_rng(0)
    row = np.tile(np.arange(length), episodes)
    action = rng.uniform(-1, 1, (len(row), 2))
    action = np.eye(2)[rng.integers(2, size=len(row))] if discrete else action
    arrays = {
        'vector': np.cumsum(rng.normal(size=(episodes, length, 3)), 1).reshape(-1, 3).astype(np.float32),
        'action': action.astype(np.float32),
        'reward': (rng.random(len(row)) * (row > 0)).astype(np.float32), 'is_first': row == 0,
        'is_last': row == length - 1, 'is_terminal': np.zeros(len(row), bool),
    }  # fmt: skip
    return arrays | {name: change(arrays[name].copy()) for name, change in changes.items()}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command on arrays; training is left out, and its measures are those of its seed."""
    trained = []

    def ensured(specs, store, workers):
        trained.extend(specs)

    def metrics(store, spec):
        at = np.arange(5)
        return pd.DataFrame({'env_step': at, 'score': 10.0 * spec.seed} | dict.fromkeys(diagnosis.MEASURES, 1.0))

    monkeypatch.setattr(order.ensure, 'ensure', ensured)
    monkeypatch.setattr(Store, 'metrics', metrics)
    monkeypatch.setattr(order, 'across', lambda specs, store: [{'return_across_15': 2.0 + spec.seed} for spec in specs])
    monkeypatch.setattr(order.diagnosis_report.drawing, 'png', lambda figure: b'')
    monkeypatch.setattr(order.reference, 'random_scores', lambda ids, episodes: [{'mean': 0.5}])

    def run(arrays, *options):
        np.savez(tmp_path / 'mine.npz', **arrays)
        places = ['--runs', str(tmp_path / 'runs'), '--output', str(tmp_path / 'out')]
        return cli.main(['diagnose', str(tmp_path / 'mine.npz'), *places, *options])

    run.trained, run.folder = trained, tmp_path
    return run


def read(folder, name='mine'):
    page = (folder / 'out' / f'{name}.html').read_text()
    return json.loads((folder / 'out' / f'{name}.json').read_text()), page


def forget(folder, name='mine'):
    """Remove a diagnosis."""
    for suffix in ('json', 'html'):
        (folder / 'out' / f'{name}.{suffix}').unlink()


def test_agents_are_the_known_runs_followers_and_take_no_step(command, capsys):
    assert command(recording()) == 0
    assert [spec.seed for spec in command.trained] == [0, 1, 2]
    (spec, *_) = command.trained
    assert spec.task == 'recording:v3-a2-l69' and not tasks.suite_of(tasks.get(spec.task)).playable
    values = scales.get('laptop').values('walker_walk-proprio', 'passive', 'study')
    assert spec.schedule.updates == (values['budget'] // 2 - spec.prefill) // 2  # an action of walker_walk is repeated
    assert spec.schedule.steps == 30 * spec.schedule.evaluate_every and spec.measures == 1
    values, page = read(command.folder)
    assert values['verdict']['verdict'] in page and values['check'] is None
    assert values['audit'] == [] and [agent['return_across_15'] for agent in values['agents']] == [2, 3, 4]
    assert 'other values than the known runs' not in page
    assert capsys.readouterr().out.startswith(values['verdict']['verdict'])
    assert (command.folder / 'runs' / 'datasets' / spec.source_id / 'dataset.json').exists()


def test_a_page_needs_no_network(command):
    command(recording(), '--agents', '1')
    _, page = read(command.folder)
    assert 'http' not in page and '<script' not in page and 'color-scheme: light dark' in page


def test_other_values_than_the_known_runs_and_discrete_actions_are_doubts(command):
    assert command(recording(discrete=True), '--scale', 'smoke', '--agents', '1') == 0
    assert command.trained[0].task == 'recording:v3-d2-l69'
    values, _ = read(command.folder)
    assert values['verdict']['verdict'] == 'cannot tell'
    assert {reason.split()[0] for reason in values['verdict']['reasons']} >= {'The', 'Actions'}
    forget(command.folder)
    assert command(recording(), '--budget', '30000', '--agents', '1') == 0  # as the known runs
    assert 'other values than the known runs' not in read(command.folder)[1]
    forget(command.folder)
    assert command(recording(), '--budget', '3000', '--agents', '1') == 0
    assert command.trained[-1].budget == 3000
    assert 'other values than the known runs' in read(command.folder)[1]


def diverge(lost):
    """A training in which these agents are lost, and an error of another kind if `lost` holds the seed 9."""

    def ensured(specs, store, workers):
        errors = {spec: Diverged(f'{spec.run_id}: diverged') for spec in specs if spec.seed in lost}
        raise order.ensure.Failed(({specs[0]: RunError('the disk is full')} if 9 in lost else {}) | errors)

    return ensured


@pytest.mark.parametrize('options', [(), ('--env', PENDULUM)])
def test_an_agent_that_diverges_has_no_measures_and_the_others_have(options, command, monkeypatch):
    monkeypatch.setattr(order.ensure, 'ensure', diverge([1]))
    assert command(recording(action=lambda action: action[:, :1]), *options) == 0
    values, page = read(command.folder, 'mine_played' if options else 'mine')
    assert [agent['return_across_15'] for agent in values['agents']] == [2, None, 4]
    assert values['verdict']['verdict'] == 'cannot tell' and '1 of 3 agents diverged.' in page
    assert values['check'] is None or values['check']['scores'] == [0, 20]


@pytest.mark.parametrize(('lost', 'words'), [([0, 1, 2], 'diverged'), ([1, 9], 'the disk is full')])
def test_without_an_agent_or_for_another_reason_there_is_no_page(lost, words, command, monkeypatch, capsys):
    monkeypatch.setattr(order.ensure, 'ensure', diverge(lost))
    assert command(recording()) == 2
    assert words in capsys.readouterr().err and not (command.folder / 'out').exists()


def test_nothing_is_fitted_to_runs_on_the_task_of_the_recording(command, monkeypatch):
    assert command(recording(), '--agents', '1') == 0
    values, page = read(command.folder)
    assert set(scales.TESTED) == values['rule']['pairs'].keys() and 'nothing is fitted to it' not in page
    walker = dataclasses.replace(formats.read(command.folder / 'mine.npz'), task=scales.MAIN[0])
    assert order.Order('mine', '', walker, env=scales.MAIN[1]).own_tasks == set(scales.MAIN)
    monkeypatch.setattr(formats, 'read', lambda *_: walker)
    forget(command.folder)
    assert command(recording(), '--agents', '1') == 0
    values, page = read(command.folder)
    assert set(scales.TESTED) - values['rule']['pairs'].keys() == {scales.MAIN[0]}
    assert 'The recording is of walker_walk-proprio. Known runs on this task are left out' in page
    assert values['tasks_left_out'] == [scales.MAIN[0]]


def test_with_an_environment_the_agents_are_played_in_it(command):
    reach = {'action': lambda action: action[:, :1]}
    assert command(recording(**reach), '--env', PENDULUM, '--agents', '2') == 0
    assert {spec.task for spec in command.trained} == {PENDULUM}
    values, page = read(command.folder, 'mine_played')
    assert values['check']['scores'] == [0, 10] and values['check']['random'] == 0.5
    assert html.escape(values['check']['outcome']) in page
    assert values['check']['outcome'].startswith('Recorded episodes are cut after at most 69 steps')  # of 200
    is_last = recording()['is_last']
    forget(command.folder, 'mine_played')
    ends = {'is_terminal': lambda flags: is_last}
    assert command(recording(**reach, **ends), '--env', PENDULUM, '--agents', '2') == 0
    outcome = read(command.folder, 'mine_played')[0]['check']['outcome']
    assert outcome.endswith('There was no verdict that could be right or wrong.')


@pytest.mark.parametrize(('lengths', 'terminal', 'limit', 'expected'), [
    ((30, 20), (0, 1), 50, 30), ((30, 20), (0, 1), 30, None), ((30, 20), (1, 0), 50, None), ((30, 30), (1, 0), 50, 30),
])  # fmt: skip
def test_episodes_are_cut_if_a_longest_one_ends_before_the_limit_and_is_not_terminal(
    lengths, terminal, limit, expected
):
    flags = []
    for length, is_terminal in zip(lengths, terminal):
        flags += [FIRST, *[0] * (length - 1), LAST | (TERMINAL * is_terminal)]
    assert order.cut_at(np.array(flags), limit) == expected


def test_a_page_of_something_else_is_not_overwritten_and_its_own_is(command, capsys):
    assert command(recording(), '--agents', '1') == 0
    before = read(command.folder)
    trained = len(command.trained)
    assert command(recording(), '--agents', '2') == 2
    words = 'has mine.json, a diagnosis of other data or with other options; move it, or name another folder'
    assert words in capsys.readouterr().err
    assert read(command.folder) == before and len(command.trained) == trained
    assert command(recording(), '--agents', '1') == 0
    (command.folder / 'out' / 'mine.json').write_text('{}')
    assert command(recording(), '--agents', '1') == 2
    (command.folder / 'out' / 'mine.json').unlink()
    capsys.readouterr()
    assert command(recording(), '--agents', '1') == 2  # the page may be anything
    assert words.replace('mine.json', 'mine.html') in capsys.readouterr().err
    assert (command.folder / 'out' / 'mine.html').read_text() == before[1]


def test_a_recording_with_equal_returns_has_no_verdict(command):
    assert command(recording(reward=np.ones_like), '--agents', '1') == 1  # the audit calls it an error
    equal = recording(reward=lambda reward: (np.arange(len(reward)) % LENGTH).astype(np.float32))
    assert command(equal, '--agents', '1') == 0
    reasons = read(command.folder)[0]['verdict']['reasons']
    assert 'All episodes have the same return, so none shows what a good one earns.' in reasons


def planted(arrays):
    arrays['is_first'][7] = True
    arrays['reward'][:] = 0
    return arrays


def test_with_an_error_in_the_audit_nothing_is_trained(command, capsys):
    assert command(planted(recording())) == 1
    assert not command.trained and not (command.folder / 'runs').exists()
    values, page = read(command.folder)
    assert {'misplaced_first', 'zero_rewards'} <= {finding['kind'] for finding in values['audit']}
    assert 'misplaced_first' in page and values['agents'] == [] and values['remedies'] == []
    assert capsys.readouterr().out.startswith('cannot tell: The audit found errors')


def test_why_no_verdict_is_possible_is_said_before_anything_is_trained(command, capsys):
    assert command(planted(recording()), '--budget', '20000') == 1
    assert not command.trained
    said = capsys.readouterr().err
    assert "the verdict will be 'cannot tell', whatever is measured: " in said
    assert 'other values than the known runs' in said


@pytest.mark.parametrize(
    ('arrays', 'options', 'message'),
    [
        (recording(), ['--agents', '0'], 'agents=0: must be from 1 to 20'),
        (recording(), ['--scale', 'paper'], "scale='paper': its runs record no measures"),
        (recording(), ['--scale', 'mine'], "scale='mine'"),
        (recording(), ['--budget', '1234'], 'budget=1234: must be a multiple of eval_every=1000'),
        (recording(), ['--env', 'mine-proprio'], "task='mine-proprio': unknown"),
        (recording(), ['--env', PENDULUM], 'gym:Pendulum-v1 has (1,)'),
        (recording(), ['--env', 'recording:v3-a2-l69'], 'cannot be played'),
        (recording(), ['--workers', '-1'], 'workers=-1: must be from 1'),
        (recording(), ['--output', '/proc/version'], "output=/proc/version: must be a folder"),
        (recording(), ['--output', '/proc/new'], 'output=/proc/new: must be a folder that can be written'),
        (recording(is_last=lambda last: last & (np.arange(len(last)) < len(last) - 1)), [], 'ends with is_last'),
        (recording(episodes=1, length=40), [], 'length=64: must be at most 40'),
        ({'image': np.zeros((9, 8, 8, 3), np.uint8)} | {k: v[:9] for k, v in recording().items() if k != 'vector'},
         [], 'has images'),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(arrays, options, message, command, capsys):
    assert command(arrays, *options) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and message in line
    assert not (command.folder / 'runs').exists() and not (command.folder / 'out').exists()


def test_a_run_is_no_dataset_before_it_is_exported(tmp_path, capsys):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'spec.json').touch()
    for name in ('mine', str(tmp_path / 'mine')):
        for args in (['diagnose', name], ['train', '--task', PENDULUM, '--agent', 'passive', '--dataset', name]):
            assert cli.main([*args, '--runs', str(tmp_path)]) == 2
            assert f'error: {name}: is a run; `paper-lib export-dataset' in capsys.readouterr().err


def whole(folder, *options):
    """Arguments of a diagnosis that takes a minute."""
    np.savez(folder / 'mine.npz', **recording(action=lambda action: action[:, :1]))
    given = ['--scale', 'smoke', '--agents', '2', '--workers', '1', *options]
    return [
        'diagnose',
        str(folder / 'mine.npz'),
        *given,
        '--runs',
        str(folder / 'runs'),
        '--output',
        str(folder / 'out'),
    ]


@pytest.mark.slow
@pytest.mark.parametrize('options', [(), ('--env', PENDULUM)])
def test_the_whole_command_trains_and_does_not_train_again(options, tmp_path, capsys):
    name = 'mine_played' if options else 'mine'
    args = whole(tmp_path, *options)
    assert cli.main(args) == 0
    values, page = read(tmp_path, name)
    assert all(np.isfinite(agent['return_across_15']) for agent in values['agents'])
    assert not options or np.isfinite([*values['check']['scores'], values['check']['random']]).all()
    capsys.readouterr()
    assert cli.main(args) == 0
    assert 'runs to train' not in capsys.readouterr().err
    assert read(tmp_path, name) == (values, page)


@pytest.mark.slow
def test_a_diagnosis_that_is_killed_goes_on_and_says_the_same(tmp_path):
    folders = [tmp_path / 'whole', tmp_path / 'killed']
    for folder in folders:
        folder.mkdir()
    assert cli.main(whole(folders[0])) == 0
    args = whole(folders[1])
    process = subprocess.Popen([sys.executable, '-m', 'paper_lib.cli', *args], start_new_session=True)
    runs, end = folders[1] / 'runs', time.monotonic() + 300
    try:
        while not (done := list(runs.glob('*/done.json'))):
            assert process.poll() is None and time.monotonic() < end, 'no agent was finished'
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (first,) = done  # of two agents
    written = first.stat().st_mtime_ns
    assert not (folders[1] / 'out').exists()
    assert cli.main(args) == 0
    assert first.stat().st_mtime_ns == written and len(list(runs.glob('*/done.json'))) == 2
    ours, theirs = (read(folder)[0] for folder in folders)
    assert ours.pop('asked')['data'] != theirs.pop('asked')['data']
    assert ours == theirs
