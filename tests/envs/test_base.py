"""The rules that every suite shares, on a simulator that counts."""

import numpy as np
import pytest

from paper_lib.envs.base import Env, Spaces


class Counter:
    """Rewards 1, 2, 3 ...; shows its seed and step as a picture; ends at `end`; keeps the actions it was given."""

    spaces = Spaces((), (2, 2, 3), 4, discrete=True)

    def __init__(self, end=99, terminal=True):
        self.end, self.terminal, self.actions = end, terminal, []

    def reset(self, seeds):
        self.time, self.draw = 0, int(seeds.generate_state(1)[0] % 200)

    def act(self, action):
        self.time += 1
        self.actions.append(action)
        return float(self.time), self.time == self.end, self.time == self.end and self.terminal

    def observe(self):
        return {'image': np.full((2, 2, 3), self.draw + self.time, np.uint8)}


def step(env, action=(0, 0, 1, 0)):
    return env.step({'action': np.array(action, np.float32), 'reset': False})


def reset(env):
    return env.step({'action': None, 'reset': True})


def flags(record):
    return record['is_first'], record['is_last'], record['is_terminal']


def test_reset_then_steps_sum_the_reward_over_the_repeat():
    env = Env(Counter(), repeat=3, limit=10, seed=0)
    first, second = reset(env), step(env)
    assert set(first) == {'image', 'reward', 'is_first', 'is_last', 'is_terminal'}
    assert first['reward'] == 0 and flags(first) == (True, False, False)
    assert second['reward'] == 1 + 2 + 3 and second['reward'].dtype == np.float32
    assert flags(second) == (False, False, False)
    assert second['image'].dtype == np.uint8 and (second['image'] - first['image'] == 3).all()


def test_one_hot_actions_reach_the_simulator_as_indices():
    simulator = Counter()
    env = Env(simulator, repeat=1, limit=10, seed=0)
    reset(env)
    step(env, (0, 0, 1, 0)), step(env, (1, 0, 0, 0))
    assert simulator.actions == [2, 0]


def test_repeat_stops_where_the_simulator_ends():
    env = Env(Counter(end=4), repeat=3, limit=10, seed=0)
    reset(env)
    step(env)
    last = step(env)
    assert last['reward'] == 4 and flags(last) == (False, True, True)
    with pytest.raises(RuntimeError, match='reset=True'):
        step(env)


def test_time_limit_and_simulated_end_are_last_but_not_terminal():
    for simulator, limit in ((Counter(), 2), (Counter(end=2, terminal=False), 9)):
        env = Env(simulator, repeat=1, limit=limit, seed=0)
        reset(env)
        assert flags(step(env)) == (False, False, False)
        assert flags(step(env)) == (False, True, False)
        assert flags(reset(env)) == (True, False, False)


def test_step_before_the_first_reset_is_an_error():
    with pytest.raises(RuntimeError, match='none has begun'):
        step(Env(Counter(), 1, 10, seed=0))


def test_episode_counts_resets_and_seeds_them():
    def draw(seed, episode):
        env = Env(Counter(), 1, 10, seed)
        env.episode = episode
        pixel = int(reset(env)['image'][0, 0, 0])
        assert env.episode == episode + 1
        return pixel

    draws = [draw(seed, episode) for seed in (0, 1, (0, 1), (1, 1)) for episode in range(3)]
    assert len(set(draws)) == len(draws)
    assert draw(5, 2) == draw((5, 0), 2)


@pytest.mark.parametrize('action', [np.zeros(3), np.zeros((1, 4)), 0.0, [0, 0, np.nan, 0], [0, np.inf, 0, 0]])
def test_bad_actions(action):
    env = Env(Counter(), 1, 10, seed=0)
    reset(env)
    with pytest.raises(ValueError, match='action'):
        env.step({'action': action, 'reset': False})
