"""MinAtar through our interface, against the package itself."""

import numpy as np
import pytest

from paper_lib import envs
from paper_lib.contract import tasks

minatar = pytest.importorskip('minatar')
TASKS = [task.id for task in tasks.known() if task.suite == 'minatar']
ACTIONS = {'asterix': 5, 'breakout': 3, 'freeway': 3, 'seaquest': 6, 'space_invaders': 4}


def reset(env):
    return env.step({'action': None, 'reset': True})


def step(env, action):
    return env.step({'action': np.eye(env.spaces.action)[action], 'reset': False})


def test_actions_are_the_minimal_sets():
    assert {tasks.get(t).name: envs.make(t, 0).spaces.action for t in TASKS} == ACTIONS


@pytest.mark.parametrize('task_id', TASKS)
def test_equals_the_package_with_its_own_colours(task_id):
    """Episodes to their end, or 100 steps, each beside a fresh game; its last action is not the last episode's."""
    from minatar.gym import BaseEnv

    env, rng, ends = envs.make(task_id, 3), np.random.default_rng(0), []
    for episode in range(5):
        theirs = BaseEnv(tasks.get(task_id).name, render_mode='rgb_array', use_minimal_action_set=True)
        theirs.game.seed(np.random.MT19937(np.random.SeedSequence(3, spawn_key=(episode,))))
        theirs.reset()
        record, reward, terminal = reset(env), 0, False
        for _ in range(100):
            cells = np.round(theirs.render() * 255).astype(np.uint8)
            assert record['image'].shape == (32, 32, 3) and record['image'].dtype == np.uint8
            nearest = ((np.arange(32) + 0.5) * 10 / 32).astype(int)
            np.testing.assert_array_equal(record['image'], cells[nearest][:, nearest])
            assert (record['reward'], record['is_terminal'], record['is_last']) == (reward, terminal, terminal)
            if terminal:
                break
            action = rng.integers(env.spaces.action)
            record = step(env, action)
            _, reward, terminal, _, _ = theirs.step(action)
        ends.append(terminal)
    assert any(ends) or task_id == 'freeway-vision'


def test_a_cell_has_the_colour_of_its_highest_channel():
    from paper_lib.envs.suites.minatar import PALETTES, colours

    for channels, palette in PALETTES.items():
        table = colours(channels)
        assert table.shape == (2**channels, 3) and len(set(palette)) == len(palette) == channels
        assert not table[0].any()
        for channel, colour in enumerate(palette):
            assert (table[1 << channel : 2 << channel] == colour).all()


def test_actions_stick_and_differ_between_episodes():
    """Right all the way: the paddle is late where the action before, at first none, was repeated."""
    env, late = envs.make('breakout-vision', 0), []
    for _ in range(40):
        reset(env)
        step(env, 2)
        late.append(env._simulator._game.env.pos == 4)
    assert 0 < np.mean(late) < 0.3


def test_freeways_time_limit_is_not_terminal():
    env = envs.make('freeway-vision', 0)
    reset(env)
    for _ in range(2499):
        record = step(env, 1)
        assert not record['is_last']
    record = step(env, 1)
    assert record['is_last'] and not record['is_terminal']
    assert env._simulator.act(1)[1:] == (True, True)  # the package's own end would have come one step later
