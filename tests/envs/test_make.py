"""make, Batch and the one-line errors."""

import ctypes.util
import os
import subprocess
import sys

import numpy as np
import pytest

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError

MAZE = 'point_mass_maze-proprio'


def one_line(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    assert '\n' not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_unknown_task_names_the_nearest():
    one_line(lambda: envs.make('point_mass_mase-proprio', 0), 'point_mass_mase-proprio', MAZE)
    one_line(lambda: envs.make('walker', 0), "'walker'", 'nearest: walker_walk-proprio, walker_walk-vision;')
    one_line(lambda: envs.make('zzz', 0), "task='zzz': unknown; `paper-lib tasks` lists all 31")


def play(env, n, seed):
    """Records of n random steps of a new episode, fewer where it ends before."""
    actions = np.random.default_rng(seed).uniform(-1.2, 1.2, (n, env.spaces.action))
    records = [env.step({'action': None, 'reset': True})]
    for action in actions:
        if not records[-1]['is_last']:
            records.append(env.step({'action': action, 'reset': False}))
    return records


def equal(records, others):
    """Whether all of two lists of records is equal, to the bit."""
    pairs = list(zip(records, others))
    return len(records) == len(others) and all(np.array_equal(a[key], b[key]) for a, b in pairs for key in a)


@pytest.mark.parametrize('task', tasks.known(), ids=lambda task: task.id)
def test_every_task_is_a_function_of_seed_and_episode(task):
    """Whatever was played before; and every record is what the spaces say."""
    if task.rendered and not (ctypes.util.find_library('EGL') or ctypes.util.find_library('OSMesa')):
        pytest.skip('no GL library on this machine')
    n = {'vision': 2, 'proprio': 10}[task.obs] if task.suite != 'minatar' else 40
    played, sought, other = (envs.make(task.id, seed) for seed in (3, 3, 4))
    want = [play(played, n, seed) for seed in (0, 1, 2)][2]
    sought.episode = other.episode = 2
    again, following, different = play(sought, n, 2), play(sought, n, 2), play(other, n, 2)
    assert equal(again, want) and not equal(again, following) and not equal(again, different)
    spaces = played.spaces
    key, shape = ('image', spaces.image) if spaces.image else ('vector', (sum(spaces.vector),))
    assert key == {'vision': 'image', 'proprio': 'vector'}[task.obs] and not (spaces.image and spaces.vector)
    assert all(record[key].shape == shape for record in again)
    assert again[0][key].dtype == (np.uint8 if spaces.image else np.float32)
    assert spaces.image in (None, (task.image, task.image, 3))


def test_highest_scores():
    most = {task.suite: task.highest for task in tasks.known()}
    assert most == {'dmc': 1000, 'maze': 1000, 'metaworld': 5000, 'minatar': None}


@pytest.mark.parametrize('version', [(3, 10, 9), (3, 13, 0)])
def test_wrong_python(monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version)
    one_line(lambda: envs.make(MAZE, 0), f'Python 3.{version[1]}', '3.11 or 3.12')


@pytest.mark.parametrize('task_id, module', [
    (MAZE, 'mujoco'), ('cheetah_run-proprio', 'dm_control'), ('soccer-proprio', 'metaworld'),
    ('seaquest-vision', 'minatar'), ('gym:Acrobot-v1', 'gymnasium'),
])  # fmt: skip
def test_missing_simulator_names_the_command(monkeypatch, task_id, module):
    monkeypatch.setitem(sys.modules, module, None)
    one_line(lambda: envs.make(task_id, 0), f"'{module}' is missing", f'{module}==')


def test_missing_rendering_back_end():
    code = (f'from paper_lib import envs\nfrom paper_lib.contract.errors import UserError\n'
            f'try: envs.make({MAZE!r}, 0)\nexcept UserError as error: print(error)')  # fmt: skip
    bad = os.environ | {'MUJOCO_GL': 'none-such', 'PYTHONPATH': os.pathsep.join(sys.path)}
    lines = subprocess.run([sys.executable, '-c', code], env=bad, capture_output=True, text=True, check=True).stdout
    assert lines.count('\n') == 1 and 'MUJOCO_GL=none-such' in lines and 'MUJOCO_GL=disabled' in lines


def test_package_import_is_light_and_vectors_need_no_rendering():
    code = (
        f'import os, sys\nfrom paper_lib import envs\nassert not {{"mujoco", "dm_control"}} & set(sys.modules)\n'
        f'envs.make({MAZE!r}, 0)\nassert "dm_control" not in sys.modules\nprint(os.environ["MUJOCO_GL"])'
    )
    clean = {k: v for k, v in os.environ.items() if k != 'MUJOCO_GL'} | {'PYTHONPATH': os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, '-c', code], env=clean, capture_output=True, text=True, check=True).stdout
    assert out.strip() == 'disabled'


def test_batch_equals_single_environments_in_order():
    batch, singles = envs.Batch(MAZE, [(7, 0), (7, 1), (7, 2)]), [envs.make(MAZE, (7, i)) for i in range(3)]
    assert batch.spaces == singles[0].spaces
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 3, 2)).astype(np.float32)
    for row, action in enumerate(actions):
        resets = np.array([row == 0, row in (0, 9), row == 0])
        got = batch.step({'action': action, 'reset': resets})
        want = [e.step({'action': a, 'reset': r}) for e, a, r in zip(singles, action, resets, strict=True)]
        for key, value in got.items():
            np.testing.assert_array_equal(value, [w[key] for w in want])
    assert {k: (v.shape, v.dtype.name) for k, v in got.items()} == {
        'vector': ((3, 4), 'float32'), 'reward': ((3,), 'float32'),
        'is_first': ((3,), 'bool'), 'is_last': ((3,), 'bool'), 'is_terminal': ((3,), 'bool'),
    }  # fmt: skip
    assert len(np.unique(got['vector'], axis=0)) == 3
    assert batch.episodes == [1, 2, 1]


def test_batch_episodes_can_be_set():
    played, sought = envs.Batch(MAZE, [(7, 0), (7, 1)]), envs.Batch(MAZE, [(7, 0), (7, 1)])
    both, none = np.ones(2, bool), np.zeros((2, 2), np.float32)
    for _ in range(3):
        want = played.step({'action': none, 'reset': both})
    sought.episodes = [2, 2]
    np.testing.assert_array_equal(sought.step({'action': none, 'reset': both})['vector'], want['vector'])
    assert sought.episodes == played.episodes == [3, 3]
    with pytest.raises(ValueError):
        sought.episodes = [1]


@pytest.mark.parametrize('actions, resets', [((3, 2), 2), ((2, 2), 3), ((2, 3), 2), ((2,), 2)])
def test_batch_shapes(actions, resets):
    batch = envs.Batch(MAZE, [(0, 0), (0, 1)])
    batch.step({'action': np.zeros((2, 2)), 'reset': np.ones(2, bool)})
    with pytest.raises(ValueError, match='action'):
        batch.step({'action': np.zeros(actions), 'reset': np.zeros(resets, bool)})
