"""Meta-World through our interface, against the package itself, played by its scripted policies."""

import numpy as np
import pytest

from paper_lib import envs
from paper_lib.contract import tasks

metaworld = pytest.importorskip('metaworld')
policies = pytest.importorskip('metaworld.policies')
TASKS = [task.id for task in tasks.known() if task.suite == 'metaworld']


def reset(env):
    return env.step({'action': None, 'reset': True})


def step(env, action):
    return env.step({'action': action, 'reset': False})


def scripted(task_id):
    """A policy that solves the task, as a function of our vectors."""
    policy, noise = policies.ENV_POLICY_MAP[tasks.get(task_id).name](), np.random.default_rng(0)
    return lambda vector: np.clip(policy.get_action(vector.astype(np.float64)) + noise.normal(0, 0.1, 4), -1, 1)


@pytest.mark.filterwarnings('ignore:Constant')
@pytest.mark.parametrize('task_id', TASKS)
def test_equals_the_package_whatever_was_played_before(task_id):
    """The second episode, with contacts before and in it, of an environment of ours and of a fresh one of theirs."""
    env, act = envs.make(task_id, 3), scripted(task_id)
    first = record = reset(env)
    for _ in range(30):
        record = step(env, act(record['vector']))
    theirs = metaworld.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f'{tasks.get(task_id).name}-goal-observable'](seed=9)
    theirs._freeze_rand_vec, theirs.seeded_rand_vec = False, True
    theirs.np_random = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(1,)))
    record, (vector, _), goal = reset(env), theirs.reset(), first['vector'][-3:]
    assert (record['vector'][4:7] != first['vector'][4:7]).any() or (record['vector'][-3:] != goal).any()
    np.testing.assert_array_equal(record['vector'][:18], record['vector'][18:36])
    for _ in range(30):
        np.testing.assert_array_equal(record['vector'], vector.astype(np.float32))
        action = act(record['vector'])
        record = step(env, action)
        (_, one, *_), (vector, two, *_) = theirs.step(action), theirs.step(action)
        assert record['reward'] == np.float32(one + two) and 0 <= record['reward'] <= 20


@pytest.mark.filterwarnings('ignore:Constant')
def test_scripted_policy_earns_far_more_than_random_and_less_than_the_highest_score():
    env, act = envs.make('pick-place-proprio', 0), scripted('pick-place-proprio')
    record, scores = reset(env), []
    for _ in range(250):
        assert not record['is_last']
        record = step(env, act(record['vector']))
        scores.append(record['reward'])
    assert record['is_last'] and not record['is_terminal']
    assert env._simulator._env.curr_path_length == env._simulator._env.max_path_length  # the package agrees
    assert 3000 < sum(scores) < tasks.get('pick-place-proprio').highest == 5000


def test_every_episode_has_its_own_goal_and_shows_it():
    env = envs.make('pick-place-proprio', 0)
    goals = np.array([reset(env)['vector'][-3:] for _ in range(5)])
    assert (np.ptp(goals, 0) > 0.02).all()
    assert ((goals >= [-0.1, 0.8, 0.05]) & (goals <= np.float32([0.1, 0.9, 0.3]))).all()
    np.testing.assert_array_equal(step(env, np.ones(4))['vector'][-3:], goals[-1])
