"""DeepMind Control through our interface, against dm_control itself."""

import numpy as np
import pytest

from paper_lib import envs
from paper_lib.contract import tasks

pytest.importorskip('dm_control')
TASKS = [t.id for t in tasks.known() if t.suite == 'dmc' and t.obs == 'proprio']
SIZES = {
    'cheetah_run': (6, (8, 9)), 'cup_catch': (2, (4, 4)), 'finger_turn_hard': (2, (4, 3, 2, 2, 1)),
    'hopper_hop': (4, (6, 7, 2)), 'humanoid_walk': (21, (21, 1, 12, 3, 3, 27)),
    'quadruped_run': (12, (44, 3, 1, 6, 24)), 'reacher_hard': (2, (2, 2, 2)), 'walker_walk': (6, (14, 1, 9)),
}  # fmt: skip


def play(env, actions):
    """Vectors (n + 1, D) and rewards (n + 1,) of a new episode."""
    steps = [env.step({'action': None, 'reset': True})]
    steps += [env.step({'action': action, 'reset': False}) for action in actions]
    return np.array([s['vector'] for s in steps]), np.array([s['reward'] for s in steps])


def draw_actions(env, n, seed=0):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (n, env.spaces.action)).astype(np.float32)


@pytest.mark.parametrize('task_id', TASKS)
def test_equals_the_suite_stepped_by_hand(task_id):
    env = envs.make(task_id, 3)
    assert (env.spaces.action, env.spaces.vector) == SIZES[tasks.get(task_id).short]
    actions = draw_actions(env, 10)
    vectors, rewards = play(env, actions)
    from dm_control import suite

    theirs = suite.load(*tasks.get(task_id).name.split('-'), task_kwargs={'random': 0})
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(3, spawn_key=(0,)))).get_state()
    theirs.task.random.set_state(state)
    step, spec = theirs.reset(), theirs.action_spec()
    for row in range(11):
        flat = np.concatenate([np.ravel(step.observation[key]) for key in theirs.observation_spec()])
        np.testing.assert_allclose(vectors[row], flat, rtol=1e-4, atol=1e-5)
        if row < 10:
            share = (np.clip(actions[row].astype(np.float64), -1, 1) + 1) / 2
            control = spec.minimum + share * (spec.maximum - spec.minimum)
            first, step = theirs.step(control), theirs.step(control)
            np.testing.assert_allclose(rewards[row + 1], first.reward + step.reward, rtol=1e-4, atol=1e-7)


def test_quadruped_actions_span_its_own_bounds():
    env = envs.make('quadruped_run-proprio', 0)
    play(env, [])
    physics = env._simulator._env.physics
    for sign in (1, -1):
        env.step({'action': np.full(12, 5.0 * sign), 'reset': False})
        want = np.array([1, 1.1, 0.8] * 4) if sign > 0 else np.array([-1, -1, -0.8] * 4)
        np.testing.assert_allclose(physics.control(), want, atol=1e-12)


def test_episode_ends_at_row_500_without_being_terminal():
    env = envs.make('cheetah_run-proprio', 0)
    env.step({'action': None, 'reset': True})
    for _ in range(499):
        assert not env.step({'action': np.zeros(6), 'reset': False})['is_last']
    assert not env._simulator._step.last()
    last = env.step({'action': np.zeros(6), 'reset': False})
    assert last['is_last'] and not last['is_terminal']
    assert env._simulator._step.last()  # the suite agrees
