"""The rules that every suite shares, on a simulator that counts."""

import numpy as np
import pytest

from paper_lib.contract.errors import UserError
from paper_lib.contract.tasks import Task
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


def make(simulator, repeat=1, limit=10, seed=0):
    return Env(simulator, Task('counter', 'none', 'counter', 'vision', repeat, limit), seed)


def step(env, action=(0, 0, 1, 0)):
    return env.step({'action': np.array(action, np.float32), 'reset': False})


def reset(env):
    return env.step({'action': None, 'reset': True})


def flags(record):
    return record['is_first'], record['is_last'], record['is_terminal']


def test_reset_then_steps_sum_the_reward_over_the_repeat():
    env = make(Counter(), repeat=3)
    first, second = reset(env), step(env)
    assert set(first) == {'image', 'reward', 'is_first', 'is_last', 'is_terminal'}
    assert first['reward'] == 0 and flags(first) == (True, False, False)
    assert second['reward'] == 1 + 2 + 3 and second['reward'].dtype == np.float32
    assert flags(second) == (False, False, False)
    assert second['image'].dtype == np.uint8 and (second['image'] - first['image'] == 3).all()


def test_one_hot_actions_reach_the_simulator_as_indices():
    simulator = Counter()
    env = make(simulator)
    reset(env)
    step(env, (0, 0, 1, 0)), step(env, (1, 0, 0, 0))
    assert simulator.actions == [2, 0]


def test_repeat_stops_where_the_simulator_ends():
    env = make(Counter(end=4), repeat=3)
    reset(env)
    step(env)
    last = step(env)
    assert last['reward'] == 4 and flags(last) == (False, True, True)
    with pytest.raises(RuntimeError, match='reset=True'):
        step(env)


def test_time_limit_and_simulated_end_are_last_but_not_terminal():
    for simulator, limit in ((Counter(), 2), (Counter(end=2, terminal=False), 9)):
        env = make(simulator, limit=limit)
        reset(env)
        assert flags(step(env)) == (False, False, False)
        assert flags(step(env)) == (False, True, False)
        assert flags(reset(env)) == (True, False, False)


def test_step_before_the_first_reset_is_an_error():
    with pytest.raises(RuntimeError, match='none has begun'):
        step(make(Counter()))


def test_episode_counts_resets_and_seeds_them():
    def draw(seed, episode):
        env = make(Counter(), seed=seed)
        env.episode = episode
        pixel = int(reset(env)['image'][0, 0, 0])
        assert env.episode == episode + 1
        return pixel

    draws = [draw(seed, episode) for seed in (0, 1, (0, 1), (1, 1)) for episode in range(3)]
    assert len(set(draws)) == len(draws)
    assert draw(5, 2) == draw((5, 0), 2)


@pytest.mark.parametrize('action', [np.zeros(3), np.zeros((1, 4)), 0.0, [0, 0, np.nan, 0], [0, np.inf, 0, 0]])
def test_bad_actions(action):
    env = make(Counter())
    reset(env)
    with pytest.raises(ValueError, match='action'):
        env.step({'action': action, 'reset': False})


@pytest.mark.parametrize('where', ['reset', 'step'])
@pytest.mark.parametrize('key, value, words', [
    ('vector', [0, np.nan], 'its observation is nan at step {}'),
    ('vector', [-np.inf, 0], 'its observation is -inf at step {}'),
    ('place', [0, np.inf], 'its observation is inf at step {}'),
    ('vector', [0, 1, 2], 'observes 3 numbers at step {}'),
])  # fmt: skip
def test_what_no_agent_can_learn_from_is_one_line_in_every_suite(where, key, value, words):
    simulator = Counter()
    simulator.spaces = Spaces((2,), None, 4, discrete=True)
    env = make(simulator, repeat=3)
    good = {'vector': np.zeros(2, np.float32), 'place': np.zeros(2, np.float32)}
    bad = good | {key: np.array(value, np.float32)}
    simulator.observe = lambda: good
    for _ in range(2):  # steps are counted in each episode
        reset(env)
        step(env)
    if where == 'reset':
        simulator.observe = lambda: bad
    with pytest.raises(UserError) as caught:
        reset(env)
        simulator.observe = lambda: bad
        step(env)
    assert str(caught.value).startswith(f"task='counter': {words.format(int(where == 'step'))} of an episode; it")


@pytest.mark.parametrize('value', [np.nan, -np.inf, 1e300, -1.2e38])
@pytest.mark.filterwarnings('error')
def test_a_reward_must_be_finite_after_the_repeat(value):
    """The last one is finite in each control step alone."""
    simulator = Counter()
    env = make(simulator, repeat=3)
    simulator.act = lambda action: (value, False, False)
    reset(env)
    with pytest.raises(UserError, match=r"task='counter': its reward is (nan|-?inf|-?[0-9.]+e\+[0-9]+) at step 1 of"):
        step(env)
    simulator.act = lambda action: (float(np.finfo(np.float32).max) / 3, False, False)
    assert np.isfinite(step(env)['reward'])
