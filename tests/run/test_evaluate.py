"""What an evaluation measures, on arrays made by hand; who acts while collecting and while evaluating."""

import dataclasses
import functools
import types

import jax
import numpy as np
import pytest
import smoke

from paper_lib import envs
from paper_lib.agent import dreamer
from paper_lib.agent.networks import Networks
from paper_lib.contract import tasks
from paper_lib.contract.maze_layout import GOAL
from paper_lib.data.replay import Replay
from paper_lib.run import evaluate, lanes, rollout, train, watch
from paper_lib.run.learner import Lane

SPEC = dataclasses.replace(smoke.ACTIVE, model=dataclasses.replace(smoke.MODEL, discount_horizon=2.0))  # gamma 1/2


def test_discounted_return_starts_after_the_reset():
    reward = np.array([[100.0, 1.0, 2.0, 4.0], [0.0, 0.0, 8.0, 0.0]])
    np.testing.assert_array_equal(evaluate.discounted(reward, 0.5), [3.0, 4.0])


def test_means_are_over_the_steps_of_each_episode():
    values, valid = np.array([[1.0, 3.0, 99.0], [10.0, 20.0, 30.0]]), np.array([[1, 1, 0], [1, 1, 1]], bool)
    assert evaluate.episode_means(values, valid).tolist() == [2.0, 20.0]


def assessed(**values):
    """Two episodes of 3 and 2 steps, teacher-forced with one step of padding that must not count."""
    valid = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    values = {key: np.where(valid, np.array(value)[:, None], 1e6) for key, value in values.items()}
    return values | {'valid': valid}


def test_summary():
    episodes = {'reward': np.array([[0, 2, 4], [0, 6, 0]], np.float32), 'valid': assessed()['valid'][:, :3]}
    result = assessed(wm_loss=[6, 2], wm_obs=[3, 1], recon_loss=[1, 2], value=[9, 4])
    result['value'][:, 1:] = 1e6  # only the first state's value is compared with the return
    row = evaluate.summary(SPEC, episodes, result, assessed(wm_loss=[1, 3]))
    assert row == {
        'score': 6.0, 'wm_loss': 4.0, 'wm_obs': 2.0, 'wm_loss_replay': 2.0,
        'ood_ratio': 2.0, 'value': 6.5, 'mc_return': 5.0, 'value_error': 1.5, 'recon_loss': 1.5, 'length': 1.5,
        'score_ep0': 6.0, 'score_ep1': 6.0, 'wm_loss_ep0': 6.0, 'wm_loss_ep1': 2.0, 'value_ep0': 9.0, 'value_ep1': 4.0,
        'mc_return_ep0': 4.0, 'mc_return_ep1': 6.0, 'value_error_ep0': 5.0, 'value_error_ep1': -2.0,
        'recon_loss_ep0': 1.0, 'recon_loss_ep1': 2.0, 'length_ep0': 2.0, 'length_ep1': 1.0,
    }  # fmt: skip
    row = evaluate.summary(SPEC, episodes, result, None)
    assert row['wm_loss_replay'] is None and row['ood_ratio'] is None


LENGTHS = ((2, 9, 3, 30), (4, 14, 30))  # per environment; the last episodes are still running at row 36


@pytest.fixture(scope='module')
def replay(tmp_path_factory):
    """36 rows of two environments; the vector of a step is (number of its episode, step within it)."""
    path = tmp_path_factory.mktemp('replay')
    replay = Replay.create(path / 'replay', {'vector': ((2,), 'float32'), 'action': ((1,), 'float32')}, 36, 2)
    tracks = []
    for env, lengths in enumerate(LENGTHS):
        steps = [(10 * env + i, t, t == 0, t == n - 1) for i, n in enumerate(lengths) for t in range(n)]
        tracks.append(np.array(steps[:36], np.float32))
    for row, step in enumerate(np.stack(tracks, 1)):
        flags = {'is_first': step[:, 2] > 0, 'is_last': step[:, 3] > 0, 'is_terminal': np.zeros(2, bool)}
        replay.write(row, {'vector': step[:, :2], 'action': np.ones((2, 1)), 'reward': step[:, 1], **flags})
    return replay


def drawn(replay, rows, draws):
    """Numbers of the episodes that many evaluations draw; each drawn one is whole, and zero behind its end."""
    spec, numbers = dataclasses.replace(SPEC, eval_episodes=4), []
    for index in range(draws):
        group = evaluate.replay_episodes(spec, replay, rows, index)
        assert len(group['reward']) == 4 and group['valid'].shape[1] == group['valid'].sum(1).max()
        for vector, valid, last in zip(group['vector'], group['valid'], group['is_last']):
            number, length = int(vector[0, 0]), valid.sum()
            assert length == LENGTHS[number // 10][number % 10] and last[length - 1] and valid[:length].all()
            np.testing.assert_array_equal(vector[:length, 1], np.arange(length))
            assert not vector[length:].any()
            numbers.append(number)
    return np.array(numbers)


def test_replay_episodes_are_complete_and_uniform(replay):
    assert evaluate.replay_episodes(SPEC, replay, 1, 0) is None
    assert set(drawn(replay, 10, 20)) == {0, 10}  # neither running ones nor those of later rows
    numbers, counts = np.unique(drawn(replay, 36, 500), return_counts=True)
    assert numbers.tolist() == [0, 1, 2, 10, 11]
    np.testing.assert_allclose(counts, 400, atol=75)  # 4 standard deviations; by length 0 would have 125, 11 875


def test_replay_episodes_follow_from_seed_and_index(replay):
    def draw(seed, index):
        spec = dataclasses.replace(SPEC, seed=seed, eval_episodes=16)
        return evaluate.replay_episodes(spec, replay, 36, index)['vector'][:, 0, 0].tolist()

    assert draw(0, 1) == draw(0, 1)
    assert len({tuple(draw(*args)) for args in ((0, 1), (0, 2), (1, 1))}) == 3


def test_a_lane_without_a_complete_episode_does_not_stop_the_others(replay, monkeypatch):
    short = types.SimpleNamespace(episodes=lambda rows: [])
    played = {**dict.fromkeys(watch.KEYS, np.zeros((4, 30))), 'valid': np.ones((4, 30), bool)}
    monkeypatch.setattr(rollout, 'Evaluator', lambda *_: types.SimpleNamespace(play=lambda *_: [played] * 2))
    measures = dict.fromkeys(('wm_loss', 'recon_loss', 'value'), np.ones((4, 30))) | {'valid': played['valid']}
    monkeypatch.setattr(evaluate, 'assess', lambda *args, **_: [measures] * 2)
    spec = dataclasses.replace(SPEC, eval_episodes=4)
    program = types.SimpleNamespace(assess=None)
    metrics, _ = evaluate.Evaluation(program, [spec] * 2, [short, replay])(None, 0, 36)
    assert [row['ood_ratio'] for row in metrics] == [None, 1.0]
    metrics, _ = evaluate.Evaluation(program, [spec] * 2, [short, short])(None, 0, 36)
    assert [row['wm_loss_replay'] for row in metrics] == [None, None]


@pytest.mark.parametrize('task', ['walker_walk-proprio', 'asterix-vision'])
def test_padded_lengths_hold_the_episode_and_are_few(task):
    task = tasks.get(task)
    whole = task.limit + 1
    lengths = {longest: evaluate.padded_length(task, longest) for longest in range(2, whole + 1)}
    assert evaluate.padded_length(task, whole + 1) > whole  # a recorded episode may be longer than the task's own
    assert all(longest <= length <= min(whole, max(64, 2 * longest - 1)) for longest, length in lengths.items())
    assert len(set(lengths.values())) <= 7


def test_visits_are_counted_where_the_recording_is_in_use():
    vector = np.random.default_rng(0).uniform((-0.29, 0.0, -9, -9), (0.1, 0.29, 9, 9), (50, 4, 4)).astype(np.float32)
    seen = np.ones((50, 4), bool)
    seen[:10] = False
    source = types.SimpleNamespace(
        arrays={'vector': vector},
        steps=lambda key, rows: {'vector': vector}[key][:rows][seen[:rows]],
    )
    edges = np.linspace(-0.3, 0.3, 61)
    points = vector[10:, :, :2].reshape(-1, 2)
    expected, _, _ = np.histogram2d(points[:, 0], points[:, 1], (edges, edges))
    np.testing.assert_array_equal(train.visits(Lane(SPEC, None, source, None), 50)['visits'], expected)
    assert expected.sum() == 160 and expected[:, :30].sum() == 0  # x goes first


# Who acts.


class Recorder:
    """Stands in for a program: notes who was asked to act, and stands still."""

    def __init__(self):
        self.asked = {}

    def carry(self, size):
        return {'action': np.zeros((1, size, 2), np.float32)}

    def act(self, behaviour, params, carry, obs, keys, counter):
        self.asked[counter] = behaviour
        return carry


def collectors(spec, rows):
    """Who acted in each row after the prefill."""
    program, replay = Recorder(), types.SimpleNamespace(write=lambda row, step: None)
    collector = rollout.Collector(program, [spec], [replay])
    for row in range(rows):
        collector.collect(None, row)
    return program.asked


def test_the_explorer_collects_until_its_step_and_the_task_policy_after_it():
    spec = dataclasses.replace(smoke.EXPLORER, prefill=80, expl_until=400)  # environment steps: 8 are a row
    assert collectors(spec, 60) == {row: 'expl' if row < 50 else 'task' for row in range(20, 60)}


@pytest.mark.parametrize(('w_expl', 'behaviour'), [(0.5, 'expl'), (0.0, 'task')])
def test_without_such_a_step_one_policy_collects_everything(w_expl, behaviour):
    spec = dataclasses.replace(smoke.ACTIVE, prefill=80, w_expl=w_expl, expl_until=0)
    assert set(collectors(spec, 760).values()) == {behaviour}


def test_a_run_acts_and_is_evaluated_with_its_own_goal():
    wide = dataclasses.replace(smoke.ACTIVE, goal_radius=0.05)
    assert wide.signature != smoke.ACTIVE.signature  # lanes of one program share the settings of their environments
    program = Recorder()
    for spec in (smoke.ACTIVE, wide):
        for worlds in (rollout.Collector(program, [spec], [None]).envs, rollout.Evaluator(program, [spec]).envs):
            for env in worlds.envs:
                env.step({'action': None, 'reset': True})
                env._simulator._qpos[:] = GOAL[0] - 0.04, GOAL[1]
                reward = env.step({'action': np.zeros(2, np.float32), 'reset': False})['reward']
                assert (reward > 1) == (spec is wide)


def collected(specs):
    """What five rows of random actions write, by seed."""
    log = {spec.seed: [] for spec in specs}
    replays = [types.SimpleNamespace(write=lambda row, step, own=own: own.append(step)) for own in log.values()]
    collector = rollout.Collector(Recorder(), specs, replays)
    for row in range(5):
        collector.collect(None, row)
    return log


def test_lanes_collect_in_environments_of_their_own():
    specs = [dataclasses.replace(smoke.ACTIVE, seed=seed) for seed in (3, 4)]
    rows = {(len(chosen), chosen[0].seed): collected(chosen) for chosen in (specs, specs[:1], specs[1:])}
    assert (rows[2, 3][3][4]['vector'] != rows[2, 3][4][4]['vector']).any()
    for seed in (3, 4):
        for ours, alone in zip(rows[2, 3][seed], rows[1, seed][seed], strict=True):
            assert ours.keys() == alone.keys()
            assert all(np.array_equal(value, alone[key]) for key, value in ours.items())


def test_an_exploring_run_is_evaluated_with_its_task_policy(monkeypatch):
    spec, spaces = smoke.EXPLORER, envs.make(smoke.EXPLORER.task, 0).spaces
    nets = Networks(spec.model, spaces.vector, None, spaces.action, spaces.discrete, True)
    task = dataclasses.replace(tasks.get(spec.task), limit=5)
    monkeypatch.setitem(tasks._tasks, task.id, task)
    shapes = jax.eval_shape(functools.partial(dreamer.init, nets), jax.random.key(0))['params']
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(size=(1, *x.shape)).astype(np.float32), shapes)

    def actions(**other):
        return rollout.Evaluator(lanes.program(nets, 1), [spec]).play(params | other, 0)[0]['action'][:, :5]

    zero = {name: jax.tree.map(np.zeros_like, params[name]) for name in ('expl', 'task')}
    np.testing.assert_array_equal(actions(), actions(expl=zero['expl']))
    assert (actions() != actions(task=zero['task'])).any()
