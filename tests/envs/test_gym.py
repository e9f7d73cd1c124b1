"""Tasks of Gymnasium, against the environments themselves stepped by hand."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.store import Store
from paper_lib.envs.check import check_reproducible
from paper_lib.study import plan, scales

gymnasium = pytest.importorskip('gymnasium')
from gymnasium import spaces  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import probe  # noqa: E402

UNIT = spaces.Box(-1, 1, (2,))
PENDULUM, CART, SEER = 'gym:Pendulum-v1', 'gym:CartPole-v1', 'gym:probe:Probe/Seer-v0'


@pytest.fixture
def make(monkeypatch):
    """Makes the environment around a Probe with such arguments; its class gets `probe` to look into."""
    monkeypatch.setattr(tasks, '_tasks', dict(tasks._tasks))

    def make(observation, value, action=None, limit=None, **values):
        kwargs = {'observation_space': observation, 'value': value, 'action_space': action} | values
        monkeypatch.delitem(gymnasium.registry, 'Probe-v0', raising=False)
        gymnasium.register('Probe-v0', probe.Probe, kwargs=kwargs, max_episode_steps=limit)
        tasks._tasks.pop('gym:Probe-v0', None)
        env = envs.make('gym:Probe-v0', 0)
        env.probe = env._simulator._env.unwrapped
        return env

    return make


def reset(env):
    return env.step({'action': None, 'reset': True})


def step(env, action):
    return env.step({'action': np.asarray(action), 'reset': False})


def by_hand(name, seed, episode):
    """The environment itself, and what it first observes of this episode."""
    theirs = gymnasium.make(name)
    word = int(np.random.SeedSequence(seed, spawn_key=(episode,)).generate_state(1)[0])
    return theirs, theirs.reset(seed=word % 2**31)[0]


# Episodes.


def test_pendulum_is_the_environment_itself_up_to_its_time_limit():
    env, rng = envs.make(PENDULUM, 3), np.random.default_rng(0)
    assert tasks.get(PENDULUM) == tasks.Task(PENDULUM, 'gym', 'Pendulum-v1', 'proprio', repeat=1, limit=200)
    assert env.spaces == envs.Spaces((3,), None, 1)
    for episode in range(2):
        theirs, observation = by_hand('Pendulum-v1', 3, episode)
        np.testing.assert_array_equal(reset(env)['vector'], observation)
        for row in range(1, 201):
            action = rng.uniform(-1.5, 1.5, 1)
            record = step(env, action)
            torque = (2 * action.clip(-1, 1)).astype(np.float32)  # bounds are -2 and 2
            observation, reward, terminated, truncated, _ = theirs.step(torque)
            np.testing.assert_array_equal(record['vector'], observation)
            assert record['reward'] == np.float32(reward) and record['vector'].dtype == np.float32
            assert (record['is_last'], record['is_terminal']) == (truncated, terminated) == (row == 200, False)


def test_a_pole_that_falls_is_terminal():
    env, (theirs, observation) = envs.make(CART, 3), by_hand('CartPole-v1', 3, 0)
    assert env.spaces == envs.Spaces((4,), None, 2, discrete=True) and tasks.get(CART).limit == 500
    record, terminated = reset(env), False
    while not terminated:
        np.testing.assert_array_equal(record['vector'], observation)
        assert not record['is_last']
        record = step(env, [0.1, 0.9])
        observation, reward, terminated, truncated, _ = theirs.step(1)
        assert record['reward'] == reward == 1 and not truncated
    assert record['is_last'] and record['is_terminal']


@pytest.mark.parametrize('end, limit, truncates, terminal', [
    (3, 5, False, True), (5, 3, False, False), (3, 3, False, True), (3, 5, True, False),
])  # fmt: skip
def test_only_a_termination_is_terminal(make, end, limit, truncates, terminal):
    env = make(UNIT, np.zeros(2), limit=limit, end=end, truncates=truncates)
    reset(env)
    for _ in range(2):
        assert not step(env, [1, 0])['is_last']
    record = step(env, [1, 0])
    assert (record['is_last'], record['is_terminal']) == (True, terminal)


def test_an_environment_without_a_limit_has_one(make):
    env = make(UNIT, np.zeros(2), end=2000)
    assert tasks.get('gym:Probe-v0').limit == 1000
    reset(env)
    assert [step(env, [1, 0])['is_last'] for _ in range(1000)] == [False] * 999 + [True]


def test_every_episode_has_a_seed_of_its_own(make):
    env = make(UNIT, np.zeros(2))
    for episode in (0, 1, 1):
        env.episode = episode
        reset(env)
    first, second, again = env.probe.seeds
    assert first != second == again and all(type(seed) is int and 0 <= seed < 2**31 for seed in (first, second))


@pytest.mark.parametrize('task', [PENDULUM, CART, 'gym:Blackjack-v1', SEER])
def test_episodes_are_functions_of_seed_and_index(task):
    check_reproducible(task)


def test_what_a_reset_leaves_behind_is_named():
    line = "task='gym:probe:Probe/Forgetful-v3': is not reproducible: 'vector' differs at step 0 of an episode"
    with pytest.raises(UserError, match=re.escape(line)):
        check_reproducible('gym:probe:Probe/Forgetful-v3')


# Actions.


def test_continuous_actions_are_rescaled_to_the_bounds(make):
    low, high = np.array([[-1, 0]], np.float32), np.array([[3, 10]], np.float32)
    env = make(UNIT, np.zeros(2), spaces.Box(low, high))
    reset(env)
    for action in ([-1, 1], [0, 0.5], [-9, 9]):
        step(env, action)
    np.testing.assert_array_equal(env.probe.actions, [[[-1, 10]], [[1, 7.5]], [[-1, 10]]])
    assert all(action.dtype == np.float32 and env.probe.action_space.contains(action) for action in env.probe.actions)


def test_discrete_actions_count_from_their_start(make):
    env = make(UNIT, np.zeros(2), spaces.Discrete(3, start=-1))
    assert (env.spaces.action, env.spaces.discrete) == (3, True)
    reset(env)
    for action in np.eye(3):
        step(env, action)
    assert env.probe.actions == [-1, 0, 1]


# Observations.


def test_entries_of_a_dict_stand_in_the_order_of_their_names(make):
    inner = spaces.Dict([('z', spaces.Discrete(3, start=5)), ('a', spaces.Box(-9, 9, (1,)))])
    space = spaces.Dict([('last', spaces.MultiDiscrete([2, 2])), ('first', inner), ('grid', spaces.Box(0, 9, (2, 2)))])
    value = {'grid': np.array([[1, 2], [3, 4]]), 'first': {'a': np.array([-7.0]), 'z': 6}, 'last': np.array([1, 0])}
    env = make(space, value)
    assert env.spaces.vector == (1, 3, 4, 4)
    record = reset(env)
    np.testing.assert_array_equal(record['vector'], [-7, 0, 1, 0, 1, 2, 3, 4, 0, 1, 1, 0])
    assert record['vector'].dtype == np.float32


@pytest.mark.parametrize('shape, side', [
    ((96, 80, 3), 64), ((10, 10), 32), ((32, 7, 1), 32), ((33, 20, 3), 64), ((64, 64, 3), 64),
])  # fmt: skip
def test_images_are_resized_by_the_nearest_cell(make, shape, side):
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    env = make(spaces.Box(0, 255, shape, np.uint8), pixels)
    assert env.spaces == envs.Spaces((), (side, side, 3), 2, discrete=True)
    task = tasks.get('gym:Probe-v0')
    assert (task.obs, task.image, task.rendered) == ('vision', side, False)
    image = reset(env)['image']
    assert image.shape == (side, side, 3) and image.dtype == np.uint8
    for row, column in ((0, 0), (5, 11), (side - 1, side - 2)):
        cell = pixels[int((row + 0.5) * shape[0] / side), int((column + 0.5) * shape[1] / side)]
        np.testing.assert_array_equal(image[row, column], np.broadcast_to(cell, 3))


def test_an_image_inside_a_dict_is_seen(make):
    pixels = np.full((8, 8, 3), 7, np.uint8)
    env = make(spaces.Dict(camera=spaces.Box(0, 255, (8, 8, 3), np.uint8)), {'camera': pixels})
    assert (reset(env)['image'] == 7).all()


def test_an_image_and_the_vector_beside_it_are_both_seen(make):
    pixels = np.full((8, 8, 3), 7, np.uint8)
    inner = spaces.Dict(camera=spaces.Box(0, 255, (8, 8, 3), np.uint8), arm=spaces.Box(-1, 1, (2,)))
    env = make(spaces.Tuple([inner, spaces.Discrete(2)]), ({'camera': pixels, 'arm': np.array([0.5, -1])}, 1))
    assert env.spaces == envs.Spaces((2, 2), (32, 32, 3), 2, discrete=True)
    assert (tasks.get('gym:Probe-v0').obs, tasks.get('gym:Probe-v0').image) == ('both', 32)
    record = reset(env)
    assert (record['image'] == 7).all()
    np.testing.assert_array_equal(record['vector'], [0.5, -1, 0, 1])


@pytest.mark.parametrize('value, reward, words', [
    ([0, np.nan], 1, 'its observation is nan at step 2 of an episode; it must be finite'),
    ([0, 0, 0], 1, 'observes 3 numbers at step 2 of an episode; its observation space has 2'),
    ([0, 0], np.nan, 'its reward is nan at step 2 of an episode; it must be finite'),
    ([0, 0], 1e300, 'its reward is 1e+300 at step 2 of an episode; it must be finite'),
])  # fmt: skip
@pytest.mark.filterwarnings('error')
def test_what_no_agent_can_learn_from_is_one_line_with_its_step(make, monkeypatch, value, reward, words):
    env = make(UNIT, np.zeros(2))
    for _ in range(2):  # steps are counted in each episode
        reset(env)
        step(env, [1, 0])
    monkeypatch.setattr(env.probe, 'step', lambda action: (np.array(value), reward, False, False, {}))
    with pytest.raises(UserError) as caught:
        step(env, [1, 0])
    assert str(caught.value) == f"task='gym:Probe-v0': {words}"


PICTURE = spaces.Box(0, 255, (8, 8, 3), np.uint8)


@pytest.mark.parametrize('space, good, bad, words', [
    (PICTURE, np.zeros((8, 8, 3), np.uint8), np.zeros((9, 9, 3), np.uint8), 'image of shape (9, 9, 3) and type uint8'),
    (PICTURE, np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 0.5), 'image of shape (8, 8, 3) and type float64'),
    (spaces.Dict(a=UNIT, b=UNIT), {'a': np.zeros(2), 'b': np.zeros(2)}, {'a': np.zeros(2)}, "KeyError: 'b'"),
    (spaces.Discrete(3), 2, 7, '7 is not in Discrete(3)'),
    (spaces.Discrete(3), 2, -1, '-1 is not in Discrete(3)'),
    (spaces.MultiDiscrete([3, 3]), np.array([2, 0]), np.array([3, 0]), '[3 0] is not in MultiDiscrete([3 3])'),
    (UNIT, np.zeros(2), [10**400, 0], 'OverflowError'),
])  # fmt: skip
def test_an_observation_that_does_not_fit_its_space_is_one_line(make, space, good, bad, words):
    env = make(space, good)
    reset(env)
    step(env, [1, 0])
    env.probe.value = bad
    with pytest.raises(UserError) as caught:
        step(env, [1, 0])
    text = str(caught.value)
    assert text.startswith("task='gym:Probe-v0': observes what its observation space has not (") and words in text


def test_numbers_of_a_box_are_observed_as_they_are(make):
    """Also those that its type or its bounds do not have."""
    env = make(spaces.Box(0, 10, (2,), int), [0.7, 11])
    np.testing.assert_array_equal(reset(env)['vector'], np.float32([0.7, 11]))
    env = make(spaces.Box(0, 255, (2,), np.uint8), [1, 300])
    np.testing.assert_array_equal(reset(env)['vector'], [1, 300])


@pytest.mark.parametrize(('space', 'value', 'marks'), [
    (spaces.MultiDiscrete([3, 2], dtype=np.int32), np.array([2, 0]), [0, 0, 1, 1, 0]),
    (spaces.MultiDiscrete([3, 2]), [2, 0], [0, 0, 1, 1, 0]),
    (spaces.Discrete(2), np.bool_(True), [0, 1]),
    (spaces.Discrete(3, start=1), np.array([2]), [0, 1, 0]),
    (spaces.MultiBinary(2), [True, False], [1, 0]),
])  # fmt: skip
def test_values_of_any_type_of_numbers_are_marked(make, space, value, marks):
    np.testing.assert_array_equal(reset(make(space, value))['vector'], marks)


def test_numbers_of_two_axes_are_no_picture(make):
    env = make(spaces.MultiDiscrete([[2, 3], [2, 2]], dtype=np.uint8), np.array([[1, 2], [0, 1]], np.uint8))
    assert env.spaces.image is None
    np.testing.assert_array_equal(reset(env)['vector'], [0, 1, 0, 0, 1, 1, 0, 0, 1])


def old_reset():
    return np.zeros(2)


def without_options(seed=None):
    return np.zeros(2), {}


for function in (old_reset, without_options):
    function.__qualname__ = function.__name__ = 'Probe.reset'  # what Python calls it in an error


@pytest.mark.parametrize('method, old', [
    ('reset', old_reset),
    ('reset', without_options),
    ('reset', lambda seed, options: np.zeros(2)),
    ('step', lambda action: (np.zeros(2), 1.0, False, {})),
])  # fmt: skip
def test_the_interface_of_the_older_gym_is_one_line(make, monkeypatch, method, old):
    env = make(UNIT, np.zeros(2))
    reset(env)
    monkeypatch.setattr(env.probe, method, old)
    with pytest.raises(UserError, match=r"^task='gym:Probe-v0': must have the interface of Gymnasium 1: .*info$"):
        step(env, [1, 0])
        reset(env)


def test_a_mistake_of_the_environment_itself_is_no_older_gym(make, monkeypatch):
    env = make(UNIT, np.zeros(2))
    monkeypatch.setattr(env.probe, 'reset', lambda seed, options: np.zeros(2) + (lambda: 0)(seed=seed))
    with pytest.raises(TypeError, match='lambda'):
        reset(env)


@pytest.mark.parametrize('reward', [None, 'one', np.ones(2)])
def test_a_reward_that_is_no_number_is_one_line(make, monkeypatch, reward):
    env = make(UNIT, np.zeros(2))
    reset(env)
    monkeypatch.setattr(env.probe, 'step', lambda action: (np.zeros(2), reward, False, False, {}))
    with pytest.raises(UserError, match=r"task='gym:Probe-v0': its reward is .*; it must be a number"):
        step(env, [1, 0])


def test_an_environment_without_spaces_is_one_line(monkeypatch):
    class Bare(gymnasium.Env):
        pass

    monkeypatch.delitem(gymnasium.registry, 'Bare-v0', raising=False)
    gymnasium.register('Bare-v0', Bare)
    with pytest.raises(UserError, match="task='gym:Bare-v0': .*no attribute 'observation_space'"):
        envs.make('gym:Bare-v0', 0)


@pytest.mark.parametrize('observation, action, words', [
    (spaces.Dict(a=PICTURE, b=UNIT, c=PICTURE), None, 'observes 2 images; an agent takes one'),
    (spaces.Box(0, 255, (4, 84, 84), np.uint8), None, 'uint8 of shape (4, 84, 84); must be uint8 of H x W'),
    (spaces.Box(0, 1, (8, 8, 3)), None, 'float32 of shape (8, 8, 3); must be uint8 of H x W'),
    (spaces.Text(5), None, 'must be Box, Discrete, MultiDiscrete or MultiBinary'),
    (spaces.Sequence(UNIT), None, 'must be Box, Discrete, MultiDiscrete or MultiBinary'),
    (spaces.Dict(), None, 'is empty'),
    (UNIT, spaces.Box(-np.inf, 1, (2,)), 'without finite bounds'),
    (UNIT, spaces.Box(0, 9, (2,), np.int32), 'must be Discrete, or a Box of floating-point numbers'),
    (UNIT, spaces.MultiDiscrete([2, 3]), 'must be Discrete, or a Box of floating-point numbers'),
])  # fmt: skip
def test_spaces_that_no_agent_can_use_are_one_line(make, observation, action, words):
    with pytest.raises(UserError) as caught:
        make(observation, None, action)
    text = str(caught.value)
    assert text.startswith("task='gym:Probe-v0': ") and words in text and '\n' not in text


# Ids.


@pytest.mark.parametrize('task, words', [
    ('gym:Pendulum', 'must name its version, e.g. gym:Pendulum-v1'),
    ('gym:Pendulumm-v1', 'Did you mean: `Pendulum`?'),
    ('gym:no_module:Some-v0', "No module named 'no_module'"),
    ('gym:', 'Malformed environment ID'),
])  # fmt: skip
@pytest.mark.filterwarnings('error')
def test_ids_that_mean_nothing_are_one_line(task, words):
    with pytest.raises(UserError) as caught:
        RunSpec(task)
    assert words in str(caught.value) and task in str(caught.value) and '\n' not in str(caught.value)


def test_a_run_has_the_name_of_a_folder():
    run_id = RunSpec('gym:probe:Probe/Forgetful-v3').run_id
    assert re.fullmatch(r'gym-probe-Probe-Forgetful-v3_active_s0_[0-9a-f]{16}', run_id)
    assert tasks.get('gym:probe:Probe/Forgetful-v3').short == 'gym:probe:Probe/Forgetful-v3'


# Training.


VALUES = {'budget': 320, 'eval_every': 160, 'eval_episodes': 1, 'prefill': 80, 'chunk': 20, 'ratio': 0.05}


@pytest.mark.parametrize('task', [PENDULUM, CART])
def test_they_train(task, quick, tmp_path):
    from paper_lib.run import train

    store, spec = Store(tmp_path), plan.make('active', task, 0, scales.get('smoke'), **VALUES)
    train.train([spec], store)
    metrics = store.metrics(spec)
    assert store.status(spec) == 'done' and metrics.env_step.tolist() == [160, 320]
    assert np.isfinite(metrics.wm_loss).all() and np.isfinite(metrics.score).all()


def test_an_image_and_a_vector_train_online_and_offline(quick, tmp_path):
    """Also with alpha 0, which gives the source again."""
    from paper_lib.run import train

    store, active = Store(tmp_path), plan.make('active', SEER, 0, scales.get('smoke'), **VALUES)
    passive = dataclasses.replace(active, agent='passive', data='final', source=active, seed=1, init_seed=1)
    control = dataclasses.replace(active, agent='tandem', data='batches', source=active, init_seed=1, alpha=0.0)
    for spec in (active, passive, control):
        train.train([spec], store)
        assert np.isfinite(store.metrics(spec)[['wm_loss', 'score', 'ood_ratio']].to_numpy()).all()
        traces = store.traces(spec)
        assert traces['image'].shape == traces['decoded'].shape == (1, 21, 32, 32, 3)
        assert traces['vector'].shape == (1, 21, 5)
    assert store.metrics(control).equals(store.metrics(active))
    ours, theirs = store.weights(control), store.weights(active)
    assert {name.split('/')[3] for name in ours if name.startswith('wm/encoder/')} == {'image', 'vector'}
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize('scale', ['smoke', 'laptop'])
def test_the_command_line_finds_values_for_them(scale):
    from paper_lib import cli

    (spec,) = cli._parse(['train', '--task', PENDULUM, '--scale', scale]).specs()
    assert spec == plan.make('active', PENDULUM, 0, scales.get(scale))
