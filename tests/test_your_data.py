"""What `docs/your_data.md` shows does what it says, and bad input is one line and writes nothing."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from recorded import write_minari

from paper_lib import cli, envs
from paper_lib.contract import agents, tasks
from paper_lib.data.audit import ERROR, KINDS, NOTE, WARNING
from paper_lib.data.store import Store
from paper_lib.run import train
from paper_lib.study import plan, scales

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs/your_data.md').read_text()
PENDULUM = 'gym:Pendulum-v1'


def blocks(language):
    """The blocks of code of the page."""
    return re.findall(rf'```{language}\n(.*?)```', PAGE, re.DOTALL)


def commands():
    """The arguments of every command of the page."""
    lines = [line for block in blocks('sh') for line in block.splitlines()]
    return [shlex.split(line.partition('paper-lib ')[2]) for line in lines]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv('PAPER_LIB_RUNS', str(tmp_path / 'runs'))
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)


def recorded(episodes=3, steps=201):
    """A recording of Pendulum."""
    env, rng = envs.make(PENDULUM, 0), np.random.default_rng(0)
    rows = []
    for _ in range(episodes):
        step = env.step({'action': None, 'reset': True})
        for count in range(steps):
            action = rng.uniform(-1, 1, 1).astype(np.float32)
            rows.append(step | {'action': action * (not step['is_last'])})
            if count < steps - 1:
                step = env.step({'action': action, 'reset': False})
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


@pytest.fixture
def line(tmp_path, monkeypatch):
    """The environment that the page writes, as a task."""
    (tmp_path / 'my_env.py').write_text(blocks('python')[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tasks, '_tasks', dict(tasks._tasks))
    return 'gym:my_env:Line-v0'


def test_the_environment_of_the_page_is_reproducible(line):
    exec(blocks('python')[1])
    assert line in blocks('python')[1] and tasks.get(line).limit == 100


@pytest.mark.slow
@pytest.mark.parametrize('task', [PENDULUM, 'gym:CartPole-v1', 'gym:my_env:Line-v0'])
def test_every_agent_of_the_study_trains_on_it(task, line, quick, tmp_path):
    store = Store(tmp_path / 'runs')
    for agent in agents.AGENTS:
        spec = plan.make(agent, task, 0, scales.get('smoke'))
        for run in (spec.source, spec):
            if run and store.status(run) != 'done':
                train.train([run], store)
        metrics = store.metrics(spec)
        assert np.isfinite(metrics[['wm_loss', 'score']].to_numpy()).all(), agent


def test_the_commands_of_the_page_are_commands(line, tmp_path, capsys):
    """Those that train are only planned here."""
    np.savez(tmp_path / 'mine.npz', **recorded())
    seen = set()
    for args in commands():
        if args[0] == 'train':
            assert cli.main([*args, '--scale', 'smoke', *(['--dry-run'] * ('--dry-run' not in args))]) == 0, args
        elif args[0] == 'audit':
            assert cli.main(args) == 0, args
        else:
            assert args[0] == 'export-dataset' and cli.main(args) == 2
        seen.add(args[0])
    assert seen == {'train', 'audit', 'export-dataset'} and not (tmp_path / 'runs').exists()
    assert 'RUN: is neither the folder of a run' in capsys.readouterr().err


def test_the_code_of_the_page_runs(tmp_path):
    np.savez(tmp_path / 'mine.npz', **recorded())
    done = subprocess.run([sys.executable, '-c', blocks('python')[2]], capture_output=True, text=True, check=True,
                          env={'PYTHONPATH': str(ROOT), 'PATH': ''})  # fmt: skip
    rows, *_, dataset_id = done.stdout.split()
    assert rows == '603' and dataset_id.startswith('mine_') and (tmp_path / 'runs/datasets' / dataset_id).is_dir()


def test_the_page_lists_what_the_audit_finds():
    for severity, listed in re.findall(r'^\| (error|warning|note): .*?\| (.*) \|$', PAGE, re.MULTILINE):
        assert re.findall('`(.*?)`', listed) == [kind for kind, (own, _) in KINDS.items() if own == severity]
    assert {severity for severity, _ in KINDS.values()} == {ERROR, WARNING, NOTE}


def mistakes():
    """(name, changed arrays, words of the message) of recordings that do not fit Pendulum."""
    arrays = recorded()
    rows = len(arrays['reward'])
    yield 'nan', {'vector': arrays['vector'] * np.nan}, 'vector: row 0 is not finite'
    yield 'objects', {'reward': arrays['reward'].astype(object)}, 'Python objects are never unpickled'
    yield 'short', {'reward': arrays['reward'][:-1]}, f'has shape ({rows - 1},)'
    yield (
        'wide',
        {'vector': np.zeros((rows, 5), np.float32)},
        f'vector of shape (5,) and type float32; {PENDULUM} has (3,)',
    )
    yield 'seeing', {'image': np.zeros((rows, 8, 8, 3), np.uint8)}, f'has image, which {PENDULUM} has not'
    yield 'doing', {'action': np.zeros((rows, 2), np.float32)}, 'has action of shape (2,)'
    yield 'between', {'is_first': arrays['is_first'] * 2.5}, 'is_first: row 0 is 2.5; must be 0 or 1'


TRAIN = ['train', '--task', PENDULUM, '--agent', 'passive', '--dataset']


@pytest.mark.parametrize(
    'command', [[*TRAIN], [*TRAIN[:1], '--dry-run', *TRAIN[1:]], ['diagnose', '--env', PENDULUM, '--output', 'out']]
)
def test_a_recording_that_does_not_fit_is_one_line_and_writes_nothing(command, tmp_path, capsys):
    def refused(name, words):
        assert cli.main([*command, str(name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith('error: ') and words in line and str(name) in line, line

    for name, changed, words in mistakes():
        if name == 'nan' and command[0] == 'diagnose':  # its audit says so, on a page
            continue
        np.savez(f'{name}.npz', **recorded() | changed)
        refused(tmp_path / f'{name}.npz', words)
    for name, size in {'truncated': 3000, 'nothing': 0}.items():
        boxes = gymnasium.spaces.Box(-9, 9, (3,)), gymnasium.spaces.Box(-2, 2, (1,))
        write_minari(tmp_path / name, [(np.zeros((9, 3)), np.zeros((8, 1)), np.zeros(8), False)], boxes, 'hdf5')
        path = tmp_path / name / 'main_data.hdf5'
        path.write_bytes(path.read_bytes()[:size])
        refused(tmp_path / name, 'cannot be read as a Minari dataset')
    (tmp_path / 'empty.npz').write_bytes(b'')
    refused(tmp_path / 'empty.npz', 'cannot be read as an .npz file of plain arrays')
    refused(tmp_path / 'gone.npz', 'does not exist')
    refused('no/such-v0', 'does not exist')
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken/metadata.json').write_text('{')
    refused(tmp_path / 'broken', 'cannot be read as the metadata of a Minari dataset')
    assert not (tmp_path / 'runs').exists() and not (tmp_path / 'out').exists()


def test_the_hash_of_a_dataset_does_not_depend_on_its_file(tmp_path):
    np.savez('mine.npz', **recorded())
    np.savez_compressed('other.npz', **recorded())
    ids = []
    for name in ('mine.npz', 'other.npz'):
        (spec,) = cli.Train(PENDULUM, 'passive', scale='smoke', dataset=name).specs()
        ids.append(spec.source.sha256)
    assert ids[0] == ids[1] and not (tmp_path / 'runs').exists()
