"""Pictures of the vision tasks, against dm_control's own."""

import ctypes.util
import os
import subprocess
import sys

import numpy as np
import pytest

from paper_lib import envs, machine
from paper_lib.contract import maze_layout, tasks
from paper_lib.contract.errors import UserError

pytest.importorskip('dm_control')
pytestmark = pytest.mark.skipif(
    not (ctypes.util.find_library('EGL') or ctypes.util.find_library('OSMesa')), reason='no GL library on this machine'
)
TASKS = [task.id for task in tasks.known() if task.rendered]
CUP, MAZE, WALKER = 'cup_catch-vision', 'point_mass_maze-vision', 'walker_walk-vision'
CLEAN = {k: v for k, v in os.environ.items() if k not in ('MUJOCO_GL', 'PYOPENGL_PLATFORM')} | {
    'PYTHONPATH': os.pathsep.join(sys.path)
}
THEIRS = """
import sys
import numpy as np
from dm_control import mujoco
from paper_lib import envs
from paper_lib.envs.suites import maze
actions, pictures = np.random.default_rng(0).uniform(-1, 1, (5, 40)), {}
for task in sys.argv[2:]:
    env = envs.make(task.replace('vision', 'proprio'), 3)
    env.step({'action': None, 'reset': True})
    for action in actions:
        step = env.step({'action': action[:env.spaces.action], 'reset': False})
    if 'maze' in task:
        physics = mujoco.Physics.from_xml_string(maze.model_xml(0.015))
        with physics.reset_context():
            physics.data.qpos[:] = env._simulator._qpos
    else:
        physics = env._simulator._env.physics
    pictures[task] = physics.render(64, 64, camera_id=2 if 'quadruped' in task else 0)
np.savez(sys.argv[1], **pictures)
"""


def reset(env):
    return env.step({'action': None, 'reset': True})['image']


def play(env, n, seed=0):
    """Pictures (n + 1, H, W, 3) of a new episode."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (n, 40))[:, : env.spaces.action]
    return np.array([reset(env)] + [env.step({'action': a, 'reset': False})['image'] for a in actions])


def run(code, *args, **environment):
    return subprocess.run([sys.executable, '-c', code, *args], env=CLEAN | environment, capture_output=True, text=True)


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
    """What dm_control draws of the state after 5 steps of `play`, by task."""
    file = tmp_path_factory.mktemp('pictures') / 'theirs.npz'
    done = run(THEIRS, str(file), *TASKS, MUJOCO_GL='egl')
    assert done.returncode == 0, done.stderr
    with np.load(file) as pictures:
        return dict(pictures)


@pytest.mark.skipif(not ctypes.util.find_library('EGL'), reason='no EGL library to draw with in dm_control')
@pytest.mark.parametrize('task_id', TASKS)
def test_suite_is_dm_controls_picture_and_fast_is_close_to_it(task_id, theirs):
    suite, fast = (play(envs.make(task_id, 3, render=setting), 5) for setting in ('suite', 'fast'))
    assert suite.shape == (6, 64, 64, 3) and suite.dtype == np.uint8
    np.testing.assert_array_equal(suite[-1], theirs[task_id])
    assert np.abs(suite.astype(int) - fast).mean() < 0.2 and ((suite != fast).any() or task_id == MAZE)
    assert len(np.unique(suite[-1].reshape(-1, 3), axis=0)) > 20 and (suite[0] != suite[-1]).any()


@pytest.mark.parametrize('task_id', [CUP, 'reacher_hard-vision', MAZE])
def test_pictures_follow_from_seed_and_episode_whatever_is_drawn_in_between(task_id):
    """All environments of a task share one renderer; the reacher's target differs from episode to episode."""
    env, other, between = (envs.make(task, seed) for task, seed in ((task_id, 3), (task_id, 4), (WALKER, 0)))
    assert env.spaces.image == (64, 64, 3) and env.spaces.vector == ()
    want, unlike = play(env, 3), play(other, 3)
    assert (want[0] != unlike[0]).any()
    again = envs.make(task_id, 3)
    assert again._simulator._renderer is env._simulator._renderer is not between._simulator._renderer
    got = [reset(again)]
    for action in np.random.default_rng(0).uniform(-1, 1, (3, 40)):
        reset(between), reset(other)
        got.append(again.step({'action': action[: again.spaces.action], 'reset': False})['image'])
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize('task_id', [CUP, MAZE])
def test_pictures_do_not_change_the_physics(task_id):
    vision, vector = (envs.make(task, 3) for task in (task_id, task_id.replace('vision', 'proprio')))
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    play(vision, 0), vector.step({'action': None, 'reset': True})
    for action in actions:
        steps = [env.step({'action': action, 'reset': False}) for env in (vision, vector)]
        assert steps[0]['reward'] == steps[1]['reward']
        assert set(steps[0]) ^ set(steps[1]) == {'image', 'vector'} | ({'place'} if task_id == MAZE else set())
    states = [env._simulator for env in (vision, vector)]
    if task_id == MAZE:
        np.testing.assert_array_equal(states[0]._qpos, states[1]._qpos)
        np.testing.assert_array_equal(states[0]._qvel, states[1]._qvel)
    else:
        np.testing.assert_array_equal(*(state._env.physics.get_state() for state in states))


def pixel(x, y):
    """Row and column that show a point of the maze's floor [m]: a camera 0.75 m above, which sees 45 degrees."""
    scale = 32 / (0.75 * np.tan(np.pi / 8))
    return 31.5 - y * scale, 31.5 + x * scale


def centre(mask):
    assert mask.any()
    return np.argwhere(mask).mean(0)


@pytest.mark.parametrize('radius', [0.015, 0.05])
def test_the_maze_shows_mass_goal_and_walls(radius):
    env = envs.make(MAZE, 0, goal_radius=radius)
    env.step({'action': None, 'reset': True})
    for x, y in ((-0.2, 0.25), (0.1, 0.1), (-0.25, -0.1)):
        env._simulator._qpos[:] = x, y
        r, g, b = np.moveaxis(env._simulator.observe()['image'].astype(int), -1, 0)
        np.testing.assert_allclose(centre((r > b + 20) & (g > b + 5)), pixel(x, y), atol=1)
        red = (r > g + 40) & (r > b + 40)
        np.testing.assert_allclose(centre(red & (g < b + 5)), pixel(*maze_layout.GOAL), atol=1)
        assert (red.sum() > 50) == (radius > 0.015)
        wall, floor = ([int(value) for value in np.round(pixel(*at))] for at in ((-0.1, 0), (-0.1, 0.05)))
        assert r[tuple(wall)] > r[tuple(floor)] + 40


# Processes


@pytest.fixture(scope='module')
def batches():
    """The same environments in this process and in two others."""
    with pytest.MonkeyPatch.context() as patch:
        made = []
        for cores in ([0], [0, 1]):
            patch.setattr(machine, 'cores', lambda cores=cores: cores)
            made.append(envs.Batch(CUP, [(7, 0), (7, 1), (7, 2)], render='fast'))
    assert [type(batch.envs[0]) for batch in made] == [envs.Env, envs.remote.Remote]
    return made


def step(batch, actions, resets):
    return batch.step({'action': actions, 'reset': np.array(resets)})


def test_the_number_of_processes_does_not_matter(batches):
    assert batches[0].spaces == batches[1].spaces
    for batch in batches:
        batch.episodes = [4, 0, 2]
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 3, 2))
    for row, action in enumerate(actions):
        here, there = (step(batch, action, [row == 0, row in (0, 4), row == 0]) for batch in batches)
        assert here.keys() == there.keys()
        for key, value in here.items():
            assert value.dtype == there[key].dtype
            np.testing.assert_array_equal(value, there[key])
    assert batches[0].episodes == batches[1].episodes == [5, 2, 3]
    one, other = (batch.envs[2].step({'action': actions[0, 0], 'reset': False})['image'] for batch in batches)
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(here['image'], axis=0)) == 3


def test_errors_of_another_process_are_those_of_this_one(batches):
    for batch in batches:
        step(batch, np.zeros((3, 2)), [True] * 3)
        with pytest.raises(ValueError, match='not finite'):
            step(batch, np.full((3, 2), np.nan), [False] * 3)
        with pytest.raises(ValueError, match=r'shape \(3,\), expected \(2,\)'):
            step(batch, np.zeros((3, 3)), [False] * 3)
        with pytest.raises(ValueError, match='lengths 2 and 3'):
            step(batch, np.zeros((2, 2)), [False] * 3)
        with pytest.raises(ValueError):
            batch.episodes = [1]
        assert not step(batch, np.zeros((3, 2)), [False] * 3)['is_first'].any()  # they go on


def test_a_task_that_cannot_be_made_in_another_process(monkeypatch):
    monkeypatch.setattr(machine, 'cores', lambda: [0, 1])
    monkeypatch.setenv('MUJOCO_GL', 'none-such')
    with pytest.raises(UserError, match='MUJOCO_GL=none-such'):
        envs.Batch(MAZE, [(0, 0), (0, 1)])


def test_processes_are_light_and_end_with_their_parent(tmp_path):
    """Without jax; and the pipe of the last one alive, which this process would read from, closes."""
    (tmp_path / 'script.py').write_text(f"""
import os, sys
from paper_lib import envs, machine

def modules(env):
    return os.getpid(), [name for name in ('jax', 'flax') if name in sys.modules]

if __name__ == '__main__':
    import jax
    machine.cores = lambda: [0, 1]
    batch = envs.Batch({MAZE!r}, [(0, 0), (0, 1)])
    print(*envs.remote.call(batch.envs, modules, [(), ()]), sep='\\n', flush=True)
    os.kill(os.getpid(), 9)
""")
    done = subprocess.run([sys.executable, tmp_path / 'script.py'], env=CLEAN, capture_output=True, text=True)
    found = [eval(line) for line in done.stdout.splitlines()]  # ends when the last process closes its output
    assert len({pid for pid, _ in found}) == 2 and all(names == [] for _, names in found), done.stderr


# What is missing


def test_no_back_end_is_an_error_of_one_line(monkeypatch):
    from paper_lib.envs import render

    monkeypatch.setattr(render, '_renderers', {})
    for name in render.BACK_ENDS:
        monkeypatch.setitem(sys.modules, f'mujoco.{name}', None)
    monkeypatch.setattr(render, '_forget', lambda platform: None)  # other tests go on drawing
    monkeypatch.setattr(render.machine, '_loads', lambda library: 'EGL' not in library)
    render._back_end.cache_clear()
    monkeypatch.delenv('MUJOCO_GL', raising=False)
    with pytest.raises(UserError) as caught:
        envs.make(CUP, 0)
    text = str(caught.value)
    assert '\n' not in text and 'egl: no libEGL.so.1; osmesa: ' in text and '`paper-lib doctor`' in text


@pytest.mark.parametrize('choice', ['', 'disabled', 'egl'])
def test_vectors_and_pictures_in_one_process(choice):
    code = f"""
import os, sys
from paper_lib import envs
vector = envs.make({MAZE.replace('vision', 'proprio')!r}, 0)
assert 'OpenGL' not in sys.modules or os.environ['MUJOCO_GL'] == 'egl'
print(envs.make({MAZE!r}, 0).step({{'action': None, 'reset': True}})['image'].mean() > 20)
print(vector.step({{'action': None, 'reset': True}})['vector'].shape, os.environ['MUJOCO_GL'])
"""
    done = run(code, **({'MUJOCO_GL': choice} if choice else {}))
    assert (done.stdout.split('\n')[:2], done.stderr) == (['True', f'(4,) {choice or "disabled"}'], '')
