"""Measures of degradation at evaluations: what they read of a recording, and what they find in a known world."""

import dataclasses
import types

import numpy as np
import pytest
import smoke
import tiny

from paper_lib import envs
from paper_lib.agent.measures import Shown
from paper_lib.contract import quantities
from paper_lib.data import sources, streams
from paper_lib.data.replay import Replay
from paper_lib.data.store import Store
from paper_lib.run import lanes, train, watch

GAMMA = 0.5
# Per environment the rewards of its episodes, the first of which belongs to the reset, and whether they end.
EPISODES = (
    [([0, 4, 0], True), ([0, 1, 1, 1], False), ([0, 9], True)],
    [([0, 0, 8, 0, 0], True), ([0, 2, 2, 2], False)],
)


@pytest.fixture
def replay(tmp_path):
    replay = Replay.create(tmp_path / 'replay', {'vector': ((1,), 'float32'), 'action': ((1,), 'float32')}, 9, 2)
    tracks = []
    for episodes in EPISODES:
        steps = []
        for rewards, ends in episodes:
            last = len(rewards) - 1
            steps += [(reward, step == 0, step == last, step == last and ends) for step, reward in enumerate(rewards)]
        tracks.append(steps)
    for row, steps in enumerate(zip(*tracks)):
        reward, first, last, terminal = np.array(steps).T
        flags = {'is_first': first, 'is_last': last, 'is_terminal': terminal}
        replay.write(row, {'vector': np.zeros((2, 1)), 'action': np.zeros((2, 1)), 'reward': reward, **flags})
    return replay


def test_the_record_is_the_best_of_the_complete_episodes(replay):
    """The cut ones pay 1 or 2 for ever, which is worth 2 or 4 from their first state."""
    record = watch.Record(replay, GAMMA)
    assert record.best(2) is None
    assert record.best(3) == Shown(4, 2)
    assert record.best(5) == Shown(4, 2)  # the 8 is worth 4 at the first state
    replay.arrays['reward'][2] = 99  # what was read is not read again
    assert record.best(9) == Shown(9, 9)


def test_an_episode_without_a_transition_shows_nothing():
    """Episodes of one and of two steps, as a recording of others may have them."""
    rewards = {0: np.array([3.0]), 1: np.array([0.0, 9.0])}
    source = types.SimpleNamespace(
        episodes=lambda rows: np.arange(rows)[:, None],
        episode=lambda number: {'reward': rewards[number], 'is_terminal': np.array([True])},
    )
    record = watch.Record(source, GAMMA)
    assert record.best(1) is None and record.best(2) == Shown(9, 9)


def test_the_record_is_that_of_what_a_learner_may_see(replay):
    record = watch.Record(sources.latest(replay, 6), GAMMA)
    assert record.best(7) == Shown(pytest.approx(2), 1)  # rows 1 to 6: whole is only the second episode of the first
    assert record.best(9) == Shown(9, 9)


def test_a_source_that_is_too_short_is_not_measured():
    spec = dataclasses.replace(smoke.ACTIVE, measures=1)
    measured = watch.Measures(None, [spec], [None])(None, None, 1, spec.model.length - 1, [None])
    assert measured == [dict.fromkeys(quantities.measures())]


def test_rewards_along_an_episode_are_compared_behind_its_reset():
    valid = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    predicted = np.array([[50.0, 2, 4, 99], [50, 7, 99, 99]])
    episodes = {'reward': np.array([[0, 1, 2], [0, 6, 0]], np.float32)}
    assert watch.foreseen(episodes, predicted, valid) == {'reward_predicted': 5.0, 'reward_collected': 3.75}


class Pays(tiny.Noise):
    """A world of random numbers that pays 1 at every step."""

    def act(self, action):
        return 1.0, False, False


MODEL = dataclasses.replace(tiny.MODEL, discount_horizon=2.0, length=4)
PAID = tiny.run(tiny.task(Pays, limit=5), model=MODEL, budget=40, eval_every=20, prefill=6, measures=1)


def test_measures_of_a_run_in_a_world_that_is_known(quick, tmp_path, monkeypatch):
    """What every recording shows there is 1 each step, for ever; what watches draws from streams of its own."""

    def rng(seed, name, *counters):
        used.add(name)
        return original(seed, name, *counters)

    original, used, store = streams.rng, set(), Store(tmp_path)
    monkeypatch.setattr(streams, 'rng', rng)
    train.train([PAID], store)
    agents = {'init', 'env', 'prefill', 'policy', 'replay', 'train', 'eval_env', 'eval_policy', 'eval_model', 'ood'}
    assert used == agents | {'watch', 'measure', 'windows'}
    monkeypatch.undo()
    adding = tiny.follower(PAID, seed=1000, interact_every=10, interact_steps=5)
    train.train([adding], store)
    rows = [store.metrics(spec).iloc[-1] for spec in (PAID, adding)]
    assert [(row.record_return, row.record_rate, row.reward_collected) for row in rows] == [(2, 1, 1)] * 2
    row = rows[0]
    assert row.promise_ratio == pytest.approx(row.promise / 2) == pytest.approx(row.promise_rate_ratio)
    assert row.density_auc < 0.9 and row.kl_recorded > 0


@pytest.mark.slow  # it compiles two programs of each kind
def test_measures_of_lanes_are_those_of_runs_alone(quick):
    """Up to rounding; the watching networks of every lane learn on their own."""
    specs = [dataclasses.replace(PAID, seed=seed, init_seed=seed) for seed in (1, 2)]
    rng = np.random.default_rng(0)
    shape = (2, 8, MODEL.length)
    windows = {
        'vector': rng.normal(size=(*shape, 2)).astype(np.float32),
        'action': rng.uniform(-1, 1, (*shape, 1)).astype(np.float32),
        'reward': rng.normal(size=shape).astype(np.float32),
        'is_first': np.zeros(shape, bool),
        'is_terminal': np.zeros(shape, bool),
    }
    nets = lanes.networks_of(PAID, envs.make(PAID.task, 0).spaces)

    def measured(*chosen):
        own, program = [specs[lane] for lane in chosen], lanes.Program(nets, len(chosen))
        seen = {key: value[list(chosen)] for key, value in windows.items()}
        state, keys = program.initial_state(own), lanes.keys(own, 'measure')
        watchers = program.watch(program.init_watchers(keys, 0), state['params'], seen, keys, np.int32(3))
        params = state['params'] | {'watch': watchers.params}
        return lanes.flatten(program.measure(params, state['norm']['task']['task'], seen, keys, np.int32(1)))

    grouped, alone = measured(0, 1), [measured(0), measured(1)]
    for name, values in grouped.items():
        expected = np.concatenate([lane[name] for lane in alone])
        np.testing.assert_allclose(values, expected, rtol=0.02, atol=1e-4, err_msg=name)
